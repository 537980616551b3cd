"""What a rule knows at one step, by coordinates: its numbers, and the ratio against the limits of the clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from sophia_ref.plots.style import scheme_of, style_of
from sophia_ref.replay import replay
from sophia_ref.run import Run

Array = Any
COORDINATES = ("x", "y")
SYMBOLS = {"denominator": "denominator", "update": "update"} | {
    name: f"${symbol}$"
    for name, symbol in {
        "g": "g", "m": "m", "v": "v", "h": "h", "D": "D", "m_hat": r"\hat m", "v_hat": r"\hat v"
    }.items()
}  # fmt: skip
EIGENBASIS = ("eigenvalues", "c", "q", "ratio", "clipped")  # whose entries are not those of x and y
COLUMNS, LEFT, RIGHT = (0.68, 0.98), 0.08, 0.76  # where numbers end, where gauges begin and end
BEYOND = 2.0  # a gauge shows the ratio up to this many times the clip


def state(ax: Axes, run: Run) -> Callable[[int], list[Artist]]:
    """Prepare ax for the state of a run in the plane; what is returned shows it at step 1, 2, ..., and returns the
    artists that have moved.

    A rule that clips coordinates, as Sophia does, has a gauge for each: the ratio, within the limits of the clip or
    beyond them, and as a bar what is left of it.
    Raises TypeError or ValueError for a run that is not in the plane, has no step, or does not repeat.
    """
    terms, opt, look, scheme = replay(run), run.optimizer, style_of(run.optimizer), scheme_of(ax)
    if run.theta.shape != (2,):
        raise ValueError(f"run: a theta of shape {run.theta.shape}; expected (2,), a run in the plane")
    if not terms:
        raise ValueError("run: no step was taken; expected one with a state to show")
    rows, count, clip = _rows(terms, opt), len(terms["g"]), getattr(opt, "clip", np.inf)
    clips = "h" in terms and "clipped" in terms and np.isfinite(clip)
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(max(len(rows) + (4.3 if clips else 1.6), 9.5), -0.5))
    small: dict[str, Any] = {"fontsize": 7.5, "va": "center", "color": scheme.ink}
    moving: dict[str, Any] = {"animated": True, "clip_on": False}
    ax.plot(0.02, 0, color=look["color"], marker=look["marker"], markersize=5, clip_on=False)
    title = ax.text(0.08, 0, "", **small | {"fontsize": 8.5}, **moving)
    for name, right in zip(COORDINATES, COLUMNS, strict=True):
        ax.text(right, 1, name, ha="right", **small)
    ax.plot([0, 1], [1.5, 1.5], color=scheme.quiet, linewidth=0.5)
    cells = []
    for row, (label, _) in enumerate(rows, 2):
        ax.text(0, row, label, ha="left", **small)
        cells.append([ax.text(right, row, "", ha="right", **small, **moving) for right in COLUMNS])

    def place(ratio: float) -> float:
        return float(LEFT + (RIGHT - LEFT) * (np.clip(ratio / clip / BEYOND, -1, 1) + 1) / 2)

    gauges, heights = [], len(rows) + 2.4 + np.arange(2)
    for name, y in zip(COORDINATES, heights if clips else (), strict=False):
        ax.text(0, y, name, ha="left", **small)
        ax.plot([LEFT, RIGHT], [y, y], color=scheme.quiet, linewidth=0.7)
        ax.fill_between([place(-clip), place(clip)], y - 0.36, y + 0.36, color=scheme.quiet, alpha=0.25, linewidth=0)
        (bar,) = ax.plot([], [], color=look["color"], linewidth=4, solid_capstyle="butt", **moving)
        (needle,) = ax.plot([], [], color=look["color"], markersize=6, **moving)
        gauges.append((bar, needle, ax.text(1, y, "clipped", ha="right", **small, **moving)))
    for ratio in (-clip, 0, clip) if clips else ():
        ax.plot([place(ratio)] * 2, heights + np.array([-0.36, 0.36]), color=scheme.quiet, linewidth=0.7)
        label = f"{ratio:g}".replace("-", "−")
        ax.text(place(ratio), heights[-1] + 0.85, label, ha="center", **small | {"fontsize": 6.5})

    def show(step: int) -> list[Artist]:
        i = min(step, count) - 1
        title.set_text(f"{look['label']}, step {i + 1}")
        for (_, values), pair in zip(rows, cells, strict=True):
            for cell, value in zip(pair, values[i], strict=True):
                cell.set_text(_number(value))
        for axis, (bar, needle, word) in enumerate(gauges):
            ratio, clipped = terms["ratio"][i, axis], bool(terms["clipped"][i, axis])
            far = abs(ratio) > BEYOND * clip
            bar.set_data([place(0), place(terms["update"][i, axis])], [heights[axis]] * 2)
            needle.set_data([place(ratio)], [heights[axis]])
            needle.set(
                marker="<o>"[int(far * np.sign(ratio)) + 1], markerfacecolor=scheme.paper if clipped else look["color"]
            )
            word.set_visible(clipped)
        return [title, *(cell for pair in cells for cell in pair), *(artist for gauge in gauges for artist in gauge)]

    return show


def _rows(terms: dict[str, Array], opt: Any) -> list[tuple[str, Array]]:
    """Labels and numbers (steps, 2) of what a rule knows of each coordinate, in the order in which it computes them."""
    if "ratio" in terms and "h" in terms:
        return [
            ("$g$", terms["g"]),
            ("$m$", terms["m"]),
            ("$h$", terms["h"]),
            (r"$\gamma h$", opt.gamma * terms["h"]),
            (r"$m / \max(\gamma h, \varepsilon)$", terms["ratio"]),
            (rf"$\mathrm{{clip}}(\cdot, {opt.clip:g})$", terms["update"]),
        ]
    skipped = {"h_hat", *(EIGENBASIS if "eigenvectors" in terms else ())}
    return [
        (SYMBOLS.get(name, name), array)
        for name, array in terms.items()
        if name not in skipped and array.shape[1:] == (2,) and array.dtype.kind == "f"
    ]


def _number(value: float) -> str:
    """Three digits, and two where there is an exponent.

    >>> [_number(x) for x in (-5.6832, 0.0, 12345.6, 1e-12, -27.968)]
    ['−5.68', '0', '12346', '1.0e−12', '−28.0']
    """
    size = abs(value)
    if value == 0:
        text = "0"
    elif 0.01 <= size < 999.5:
        text = f"{value:#.3g}".rstrip(".")
    elif 999.5 <= size < 1e5:
        text = f"{value:.0f}"
    else:
        text = f"{value:.1e}".replace("e+", "e").replace("e0", "e").replace("e-0", "e-")
    return text.replace("-", "−")
