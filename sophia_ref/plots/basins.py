"""Basins: where each start ends, by colour, and how soon, by shade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sophia_ref.basins import Basins, percent
from sophia_ref.plots.style import DARK, LIGHT, Scheme, dress, figure, scheme_of, style_of

# Minima are cool, saddles and maxima warm, what arrives nowhere is nearly paper and what diverges is ink. Chosen by
# search: all these stay apart in every shade, light and dark, for each kind of colour blindness.
MINIMA = ("#306b9b", "#6ae391", "#7685ee", "#03a08e", "#8c8bc2", "#6fb381")
SADDLE, MAXIMUM = "#e89910", "#8b0011"
NOWHERE = {LIGHT: "#e4e4e4", DARK: "#343a44"}
FADE = 0.7  # how much of the colour is left in the starts that took the most steps
KINDS = {"minima": "minimum", "saddles": "saddle", "maxima": "maximum"}
MARKERS = {"minima": "o", "saddles": "X", "maxima": "^"}


def basins(ax: Axes, found: Basins, longest: float | None = None) -> Axes:
    """Draw the grid of starts into ax: the colour of a start says at which critical point it ends, the shade how soon:
    the fainter, the more steps. Minima have a colour each, in turn; all saddles have one, and so have all maxima.

    longest: the number of steps from which on it is faintest, by default that of the slowest hundredth.
    """
    scheme, landscape = dress(ax), found.landscape
    other = _others(scheme)
    palette = [MINIMA[i % len(MINIMA)] for i in range(len(landscape.minima))]
    palette += [SADDLE] * len(landscape.saddles) + [MAXIMUM] * len(landscape.maxima)
    palette += [other["diverged"], other["nowhere"]]  # where the indices -2 and -1 point
    rgb = np.array([colors.to_rgb(color) for color in palette])[found.end]  # (rows, columns, 3)
    soon = np.log1p(found.steps) / np.log1p(max(_longest(found) if longest is None else longest, 1))
    strength = np.where(found.end >= 0, 1 - (1 - FADE) * soon.clip(0, 1), 1.0)[..., None]
    paper = np.array(colors.to_rgb(scheme.paper))
    (left, right), (bottom, top) = landscape.domain
    ax.imshow(
        paper + strength * (rgb - paper), extent=(left, right, bottom, top), origin="lower", aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    size = 5 * min(1, (15 / len(landscape.critical_points)) ** 0.4)  # where there are hundreds
    for kind, marker in MARKERS.items():
        ax.plot(*getattr(landscape, kind).T, **_point(marker, size))
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.set_title(style_of(found.optimizer)["label"], fontsize=10, color=scheme.ink)
    return ax


def basins_figure(found: Basins | Sequence[Basins], dark: bool = False) -> Figure:
    """Several optimizers on one landscape side by side, with the shares of starts by where they end.

    Raises ValueError for none, or for those of different landscapes.
    """
    found = [found] if isinstance(found, Basins) else list(found)
    if not found:
        raise ValueError("found: empty; expected Basins or a list of them")
    if any(item.landscape.name != found[0].landscape.name for item in found):
        raise ValueError(f"found: {[item.landscape.name for item in found]}; expected one landscape")
    columns = min(len(found), 3)
    rows = -(-len(found) // columns)
    spare = rows * columns > len(found)  # a place of the grid that the legend can have
    fig = figure(max(3.4 * columns, 4.2), 3.4 * rows + (0.3 if spare else 1.2), dark)
    axes: Any = fig.subplots(rows, columns, squeeze=False)
    for ax, item in zip(axes.flat, found, strict=False):
        basins(ax, item, max(map(_longest, found)))
        shares = [f"{kind} {percent(share)}" for kind, share in item.shares().items() if share > 0]
        ax.set_xlabel("   ".join(shares[:3]) + "\n" + "   ".join(shares[3:]))
    scheme, landscape = scheme_of(axes[0, 0]), found[0].landscape
    fig.suptitle(landscape.title, fontsize=12, color=scheme.ink)
    look: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": scheme.ink, "alignment": "left"}
    look |= {"title": "Where a start ends; the fainter, the more steps", "title_fontproperties": {"size": 9}}
    look |= {"handles": _legend(found, scheme)}
    for ax in axes.flat[len(found) :]:
        ax.axis("off")
    box = axes[-1, -1].legend(loc="center left", **look) if spare else fig.legend(
        loc="outside lower center", ncols=3 if columns > 1 else 2, **look
    )  # fmt: skip
    box.get_title().set_color(scheme.ink)
    return fig


def _legend(found: list[Basins], scheme: Scheme) -> list[Any]:
    landscape, shares = found[0].landscape, [item.shares() for item in found]
    seen = [kind for kind in shares[0] if any(share[kind] for share in shares)]
    look = {"minimum": MINIMA[0], "saddle": SADDLE, "maximum": MAXIMUM, **_others(scheme)}
    words = {"minimum": "at a minimum, a colour each", "saddle": "at a saddle", "maximum": "at a maximum"}
    edge: dict[str, Any] = {"edgecolor": scheme.quiet, "linewidth": 0.5}
    points = [name for name in MARKERS if len(getattr(landscape, name))]
    return [
        *(Patch(facecolor=look[kind], label=words.get(kind, kind), **edge) for kind in seen),
        *(Line2D([], [], **_point(MARKERS[name], 5), label=KINDS[name]) for name in points),
    ]


def _others(scheme: Scheme) -> dict[str, str]:
    """The colours of those that end at no critical point."""
    return {"nowhere": NOWHERE[scheme], "diverged": scheme.ink}


def _point(marker: str, size: float) -> dict[str, Any]:
    return {"marker": marker, "color": "white", "markeredgecolor": "black", "markersize": size,
            "markeredgewidth": size / 5, "linestyle": "none"}  # fmt: skip


def _longest(found: Basins) -> float:
    """The steps within which all but a hundredth of the starts that arrive have arrived."""
    steps = found.steps[found.end >= 0]
    return float(np.quantile(steps, 0.99)) if len(steps) else 1.0
