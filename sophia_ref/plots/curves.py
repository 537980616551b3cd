"""Curves over the steps of runs, or over what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sophia_ref.plots.style import checked_runs, dress, figure, label_ends, style_of
from sophia_ref.run import Run

X_LABELS = {"steps": "step", "cost": "cost in gradients"}
# A loss is drawn from the start's over this, on a logarithmic axis, up to the start's times that.
FALL, RISE = 1e8, 100.0
GREATEST = 1e150  # heights are drawn up to here, so that no difference of two overflows


def losses(ax: Axes, runs: Run | Sequence[Run], x: str = "steps") -> Axes:
    """The loss of every run by step, or by cost in gradient-equivalents; over leading axes, a `band`.

    The axis is logarithmic where losses are nonnegative and lie further apart than a factor of 100. A loss beyond 100
    times the greatest at the start leaves the picture. Raises TypeError or ValueError, by name, for bad arguments.
    """
    runs = checked_runs(runs)
    if x not in X_LABELS:
        raise ValueError(f"x: {x!r}; expected 'steps' or 'cost'")
    values, starts = (_finite([run.losses[part] for run in runs]) for part in (slice(None), slice(1)))
    if not len(starts):
        raise ValueError("runs: no loss at a start is finite; expected losses that can be drawn")
    for run in runs:
        band(ax, getattr(run, x), run.losses.reshape(len(run.steps), -1).T, run.optimizer)
    ax.set_xlabel(X_LABELS[x])
    ax.set_ylabel("loss")
    start, low, high = np.abs(starts).max() or np.abs(values).max(), values.min(), values.max()
    if low >= 0 and high > 100 * low:
        ax.set_ylim(max(values[values > 0].min(), start / FALL) / 2, min(high, RISE * start) * 2)
        ax.set_yscale("log")
    elif np.abs(values).max() > RISE * start:
        low, high = max(low, -RISE * start), min(high, RISE * start)
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    label_ends(ax)
    return ax


def losses_figure(runs: Run | Sequence[Run], dark: bool = False) -> Figure:
    """`losses` by step and by cost, side by side on one axis of losses: who is ahead may depend on what is counted.

    Raises TypeError or ValueError, by name, for bad arguments.
    """
    fig = figure(9, 3.4, dark)
    left, right = fig.subplots(1, 2, sharey=True)
    losses(left, runs)
    losses(right, runs, x="cost")
    right.set_ylabel("")
    for artist in [artist for artist in (*left.texts, *left.lines) if artist.get_gid() == "end"]:
        artist.remove()  # the names beside the right one serve both
    return fig


def band(ax: Axes, x: Any, curves: Any, name: Any) -> Axes:
    """The mean of several curves as a line, and their range from least to greatest as a band around it.

    x: (n,). curves: (seeds, n), or (n,) for one curve, which has no band. name: an optimizer, or the name of one.
    Nothing is drawn where one of the curves is not finite: the mean of the others would flatter.
    Raises ValueError, by name, for bad arguments.
    """
    x, curves = np.asarray(x, np.float64), np.atleast_2d(np.asarray(curves, np.float64))
    if x.ndim != 1 or not len(x):
        raise ValueError(f"x: shape {x.shape}; expected (n,) with n >= 1")
    if curves.ndim != 2 or curves.shape[1] != len(x) or not len(curves):
        raise ValueError(f"curves: shape {curves.shape}; expected (seeds, {len(x)}), one curve over x for each seed")
    style, scheme = style_of(name), dress(ax)
    ax.grid(axis="y", color=scheme.quiet, alpha=0.2, linewidth=0.6)
    curves = np.where(np.isfinite(curves).all(axis=0), curves.clip(-GREATEST, GREATEST), np.nan)
    if len(curves) > 1:
        ax.fill_between(x, curves.min(axis=0), curves.max(axis=0), color=style["color"], alpha=0.2, linewidth=0)
    ax.plot(x, curves.mean(axis=0), **style, linewidth=1.6, markersize=4, markevery=max(1, len(x) // 8))
    label_ends(ax)
    return ax


def unclipped(ax: Axes, runs: Run | Sequence[Run]) -> Axes:
    """The share of coordinates whose update was not clipped, by step, for those runs whose rule clips.

    Raises TypeError or ValueError, by name, for bad arguments and where no rule clips.
    """
    runs = [run for run in checked_runs(runs) if np.isfinite(run.unclipped).any()]
    if not runs:
        raise ValueError("runs: no optimizer among them clips; expected one that does, such as Sophia")
    for run in runs:
        band(ax, run.steps, run.unclipped.reshape(len(run.steps), -1).T, run.optimizer)
    ax.set_xlabel(X_LABELS["steps"])
    ax.set_ylabel("unclipped share")
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter("{x:.0%}")
    label_ends(ax)
    return ax


def _finite(arrays: list[Any]) -> Any:
    """All finite numbers of some arrays, as they are drawn, (n,)."""
    values = np.concatenate([array.ravel() for array in arrays])
    return values[np.isfinite(values)].clip(-GREATEST, GREATEST)
