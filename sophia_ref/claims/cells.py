"""A cell of the map of speed-ups: whether Sophia wins it, what marks it, and how a table of cells is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sophia_ref.claims.claim import NO, OPEN, YES, answer, within


def wins(cell: Mapping[str, Any]) -> str:
    """Whether Sophia is faster: its loss is below AdamW's after as many steps, beyond the interval, and AdamW needs
    more steps for it. Where AdamW's longer runs are worse than its shorter ones, these two can disagree."""
    lower, speedup = answer(cell["minus_adamw"]), cell["speedup"][0]
    if (lower == YES and speedup <= 1) or (lower == NO and speedup >= 1):
        return OPEN
    return lower


def marks(cell: Mapping[str, Any]) -> str:
    return ("†" if cell["worse"] else "") + ("°" if cell["idle"] else "")


def speedups(ax: Any, cells: list[Any], x: str, y: str, x_label: str, y_label: str) -> None:
    """Speed-ups as a table of colours: above 1 warm, below 1 cold; those that are decided have a frame."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    from sophia_ref.plots.style import dress

    dress(ax)
    xs, ys = (sorted({cell[name] for cell in cells}) for name in (x, y))
    for cell in cells:
        i, j = xs.index(cell[x]), ys.index(cell[y])
        shade = 0.5 + 0.25 * float(np.clip(np.log2(cell["speedup"][0]), -2, 2))
        color, ink = colormaps["PuOr_r"](0.15 + 0.7 * shade), "#ffffff" if shade < 0.07 else "#111111"
        ax.add_patch(Rectangle((i + 0.03, j + 0.03), 0.94, 0.94, facecolor=color, edgecolor="none"))
        if wins(cell) != OPEN:
            ax.add_patch(Rectangle((i + 0.06, j + 0.07), 0.88, 0.86, fill=False, edgecolor=ink, linewidth=1.6))
        value, _, around = within(cell["speedup"], cell["ends"]).partition(" [")
        around = around.rstrip("]").replace(", ", " to ").replace("≤ ", "≤").replace("≥ ", "≥")
        ax.text(i + 0.5, j + 0.5, f"{value}{marks(cell)}\n{around}", ha="center", va="center", fontsize=6.8, color=ink)
    ax.set(xlim=(0, len(xs)), ylim=(0, len(ys)), xlabel=x_label, ylabel=y_label)
    ax.set_xticks(np.arange(len(xs)) + 0.5, [f"{v:g}" for v in xs])
    ax.set_yticks(np.arange(len(ys)) + 0.5, [f"{v:g}" for v in ys])
