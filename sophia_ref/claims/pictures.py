"""What the figures of the claims share: intervals as marks with whiskers, and the look of methods and variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from sophia_ref.claims.methods import LABELS, label, parsed
from sophia_ref.plots.style import dress, style_of

BASES = {"SophiaE": ("#85674a", "X"), "SophiaR": ("#7caa3c", "P"), "SophiaA": ("#0f7089", "H")}
CYCLE = ("#1f7ae0", "#d04a0c", "#00a672", "#c380c6", "#d38e02", "#6a707b", "#e0659b", "#4f9496")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "h")


def look_of(method: str) -> dict[str, Any]:
    """color, marker, linestyle and label of a method, or of a variant of one, which is dotted."""
    base, options = parsed(method)
    if base in BASES:
        color, marker = BASES[base]
        style: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "-", "label": LABELS[base]}
    else:
        style = style_of(base)
    return {**style, "label": label(method), **({"linestyle": ":"} if options else {})}


def grid(ax: Axes) -> Any:
    """Dress ax, and draw quiet lines across it."""
    scheme = dress(ax)
    ax.grid(axis="y", color=scheme.quiet, alpha=0.2, linewidth=0.6)
    return scheme


def log_ticks(ax: Axes, values: Sequence[float], axis: str = "x") -> None:
    """A logarithmic axis that names these values and no others."""
    ax.set(**{f"{axis}scale": "log"})
    one = ax.xaxis if axis == "x" else ax.yaxis
    one.set_minor_locator(NullLocator())
    one.set_ticks(list(values), [f"{value:,g}" if value < 1e5 else f"{value / 1000:,.0f}k" for value in values])


def whiskers(ax: Axes, x: Any, intervals: Sequence[Sequence[Any]], **look: Any) -> None:
    """Values over x with their intervals; what is None is left out."""
    known = [(a, v, lo, hi) for a, (v, lo, hi) in zip(x, intervals, strict=True) if v is not None]
    if not known:
        ax.plot([], [], **look)
        return
    xs, values, lows, highs = zip(*known, strict=True)
    ends = [(v if lo is None else lo, v if hi is None else hi) for v, lo, hi in zip(values, lows, highs, strict=True)]
    ax.vlines(xs, *zip(*ends, strict=True), color=look["color"], alpha=0.55, linewidth=1.6)
    ax.plot(xs, values, **{"linewidth": 1.4, "markersize": 5, **look})


def near_the_best(intervals: Sequence[Sequence[Any]], far: float = 0.5) -> tuple[float, float]:
    """Limits of an axis of losses, so that what is further than `far` above the least of them does not press the others
    together."""
    end = min(value for value, _, _ in intervals) + far
    near = [interval for interval in intervals if interval[0] <= end]
    low, high = min(low for _, low, _ in near), min(end, max(high for _, _, high in near))
    margin = 0.05 * max(high - low, 1e-3)
    return low - margin, high + margin


def legend_below(fig: Any, ax: Axes, columns: int) -> None:
    """One legend for a figure whose axes show the same, those of ax."""
    ink = dress(ax).ink
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8, labelcolor=ink)


def legend(ax: Axes, **place: Any) -> None:
    """A legend in the colours of the figure."""
    scheme = dress(ax)
    box = ax.legend(frameon=False, fontsize=8, labelcolor=scheme.ink, **place)
    if box.get_title() is not None:
        box.get_title().set_color(scheme.ink)
