"""Curves over the steps of runs, or over what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sophia_ref.plots.style import checked_runs, dress, label_ends, style_of
from sophia_ref.run import Run

X_LABELS = {"steps": "step", "cost": "cost in gradients"}
DECADES = 10  # a loss that falls further than this is drawn to the bottom edge


def losses(ax: Axes, runs: Run | Sequence[Run], x: str = "steps") -> Axes:
    """The loss of every run by step, or by cost in gradient-equivalents; of a run with leading axes, a `band` over them.

    The axis is logarithmic where losses are positive and fall by more than a factor of 100.
    Raises TypeError or ValueError, by name, for bad arguments.
    """
    runs = checked_runs(runs)
    if x not in X_LABELS:
        raise ValueError(f"x: {x!r}; expected 'steps' or 'cost'")
    for run in runs:
        band(ax, getattr(run, x), run.losses.reshape(len(run.steps), -1).T, run.optimizer)
    ax.set_xlabel(X_LABELS[x])
    ax.set_ylabel("loss")
    heights = np.concatenate([run.losses.ravel() for run in runs])
    heights = heights[np.isfinite(heights)]
    if heights.min() >= 0 and heights.max() > 100 * heights.min():
        ax.set_yscale("log")
        positive = heights[heights > 0]
        ax.set_ylim(bottom=max(positive.min() / 2, positive.max() / 10**DECADES))
    label_ends(ax)
    return ax


def band(ax: Axes, x: Any, curves: Any, name: Any) -> Axes:
    """The mean of several curves as a line, and their range from least to greatest as a band around it.

    x: (n,). curves: (seeds, n), or (n,) for one curve, which has no band; NaN is left out. name: an optimizer, or
    the name of one.
    Raises ValueError, by name, for bad arguments.
    """
    x, curves = np.asarray(x, float), np.atleast_2d(np.asarray(curves, float))
    if x.ndim != 1 or not len(x):
        raise ValueError(f"x: shape {x.shape}; expected (n,) with n >= 1")
    if curves.shape[1:] != x.shape or not len(curves):
        raise ValueError(f"curves: shape {curves.shape}; expected (seeds, {len(x)}), a curve for each seed over x")
    style = style_of(name)
    dress(ax)
    # NaN only where every curve is: nanmean would warn there
    count = np.isfinite(curves).sum(axis=0)
    mean = np.where(count, np.where(np.isfinite(curves), curves, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
    if len(curves) > 1:
        low, high = np.fmin.reduce(curves), np.fmax.reduce(curves)
        ax.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
    ax.plot(x, mean, **style, linewidth=1.6, markersize=4, markevery=0.12)
    label_ends(ax)
    return ax


def unclipped(ax: Axes, runs: Run | Sequence[Run]) -> Axes:
    """The share of coordinates whose update was not clipped, by step, for the runs whose rule clips.

    Raises TypeError or ValueError, by name, for bad arguments and where no rule clips.
    """
    runs = [run for run in checked_runs(runs) if np.isfinite(run.unclipped).any()]
    if not runs:
        raise ValueError("runs: none of them clips, so that there is no unclipped share; expected one of Sophia")
    for run in runs:
        band(ax, run.steps, run.unclipped.reshape(len(run.steps), -1).T, run.optimizer)
    ax.set_xlabel(X_LABELS["steps"])
    ax.set_ylabel("unclipped share")
    ax.set_ylim(-0.03, 1.03)
    ax.yaxis.set_major_formatter("{x:.0%}")
    label_ends(ax)
    return ax
