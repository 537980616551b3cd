"""Where a step's time goes: a bar for each layer, and how much of it the machine would need at least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sophia_ref.plots.style import dress, figure

if TYPE_CHECKING:
    from sophia_ref.profile import Profile

COLORS = {"forward": "#1f7ae0", "backward": "#d38e02", "": "#6a707b"}  # apart for colour-blind eyes, by brightness too
PALE = 0.35  # what lies above the floor


def profile_figure(profile: Profile, title: str, dark: bool = False) -> Figure:
    """`profile_bars` alone, as high as it has bars."""
    names = {part.name for part in profile.parts}
    fig = figure(8, 1.2 + 0.27 * len(names), dark)
    profile_bars(fig.subplots(), profile).set_title(title)
    return fig


def profile_bars(ax: Axes, profile: Profile) -> Axes:
    """A bar for each layer and each other part of a step, forward before backward. Of each the floor is solid, and what
    it takes beyond that pale; behind it stands the share of the floor, wherever there is one."""
    scheme = dress(ax)
    ends: dict[str, float] = {}
    for part in profile.parts:
        left, floor = ends.get(part.name, 0.0), min(profile.floor(part), part.seconds)
        color = COLORS[part.direction]
        ax.barh(part.name, 1e3 * floor, left=1e3 * left, color=color)
        ax.barh(part.name, 1e3 * (part.seconds - floor), left=1e3 * (left + floor), color=color, alpha=PALE)
        ends[part.name] = left + part.seconds
    for name, end in ends.items():
        floor = sum(profile.floor(part) for part in profile.parts if part.name == name)
        share = f", floor {floor / end:.0%}" if floor else ""
        label = f"{1e3 * end:.2f} ms{share}"
        ax.annotate(label, (1e3 * end, name), xytext=(4, 0), textcoords="offset points", fontsize=8, va="center",
                    color=scheme.ink)  # fmt: skip
    ax.invert_yaxis()
    ax.margins(x=0.25)
    ax.set_xlabel("ms a step")
    looks = [(name or "other", color, 1.0) for name, color in COLORS.items()]
    looks.append(("above the floor", scheme.quiet, PALE))
    handles = [Patch(color=color, alpha=alpha, label=label) for label, color, alpha in looks]
    ax.legend(handles=handles, fontsize=8, frameon=False, labelcolor=scheme.ink, loc="lower right")
    return ax
