"""Basins: where each start ends, by colour, and how soon, by shade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sophia_ref.basins import Basins
from sophia_ref.plots.style import dress, figure, style_of

# Minima are cool and light, saddles and maxima warm: the two families stay apart for colour-blind eyes.
MINIMA = ("#2b7fc4", "#2aa8a0", "#7d8fe0", "#8ccf9b", "#1f5d8a", "#5fc3e0")
KINDS = {"saddle": "#e0662a", "maximum": "#b03060", "nowhere": "#9a9a9a", "diverged": "#1a1a1a"}
FADE = 0.62  # how much of the colour is left in the starts that took the most steps


def basins(ax: Axes, found: Basins) -> Axes:
    """Draw the grid of starts into ax: the colour of a start says at which critical point it ends, the shade how soon:
    the paler, the more steps. Minima have a colour each, in turn; all saddles have one, and so have all maxima."""
    scheme, landscape = dress(ax), found.landscape
    kinds = ["minimum"] * len(landscape.minima) + ["saddle"] * len(landscape.saddles)
    kinds += ["maximum"] * len(landscape.maxima)
    palette = [MINIMA[i % len(MINIMA)] if kind == "minimum" else KINDS[kind] for i, kind in enumerate(kinds)]
    palette += [KINDS["diverged"], KINDS["nowhere"]]  # where the indices -2 and -1 point
    rgb = np.array([colors.to_rgb(color) for color in palette])[found.end]  # (rows, columns, 3)
    soon = np.log1p(found.steps) / max(np.log1p(found.steps[found.end >= 0]).max(initial=0), 1e-9)
    strength = np.where(found.end >= 0, 1 - (1 - FADE) * soon.clip(0, 1), 1.0)[..., None]
    paper = np.array(colors.to_rgb(scheme.paper))
    (left, right), (bottom, top) = landscape.domain
    ax.imshow(
        paper + strength * (rgb - paper), extent=(left, right, bottom, top), origin="lower", aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for points, marker in ((landscape.minima, "o"), (landscape.saddles, "X"), (landscape.maxima, "^")):
        ax.plot(*points.T, marker, color="white", markeredgecolor="black", markersize=5, linewidth=0)
    ax.set(xlim=(left, right), ylim=(bottom, top), title=style_of(found.optimizer)["label"])
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
    fig = figure(3.4 * columns, 3.5 * rows + 0.4, dark)
    axes: Any = fig.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for ax, item in zip(axes.flat, found, strict=False):
        basins(ax, item)
        shares = [f"{kind} {share:.1%}" for kind, share in item.shares().items() if share > 0]
        ax.set_xlabel("   ".join(shares[:3]) + "\n" + "   ".join(shares[3:]))
    seen = {kind for item in found for kind, share in item.shares().items() if share > 0}
    legend = [Patch(color=MINIMA[0], label="minimum, a colour each")]
    legend += [Patch(color=color, label=kind) for kind, color in KINDS.items() if kind in seen]
    fig.legend(
        handles=legend,
        loc="outside lower center",
        ncols=len(legend),
        frameon=False,
        fontsize=8,
        labelcolor=dress(axes[0, 0]).ink,
    )
    for ax in axes.flat[len(found) :]:
        ax.remove()
    return fig
