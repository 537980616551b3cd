"""Dialects of Sophia: how far each drifts from the paper, step by step, and what that does to the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sophia_ref.conformance.drift import Drift, furthest
from sophia_ref.plots.style import dress, figure, label_ends, scheme_of

# Colours in the middle of the brightness range, as for optimizers; estimators of one dialect differ in line and fill.
STYLES = {
    "paper-v2": ("#d04a0c", "o"),
    "paper-v1": ("#b03a24", "s"),
    "official": ("#1f7ae0", "D"),
    "optax": ("#00a672", "v"),
    "levanter": ("#7caa3c", "^"),
    "labml": ("#c380c6", "P"),
    "kozistr-4": ("#d38e02", "<"),
    "kozistr-3.9": ("#85674a", ">"),
    "kyegomez": ("#e0659b", "X"),
    "somax": ("#4f9496", "h"),
    "sciml": ("#6a707b", "p"),
}
LEAST = 1e-6  # of the largest distance: what lies below is not told apart from the axis


def drift_figure(found: Sequence[Drift], title: str, dark: bool = False) -> Figure:
    """Distances above, differences of the losses below, of those dialects that differ from the paper by more than
    rounding; the others are named in the title. Dialects that square gradients have a column of their own, beside those
    of Hutchinson's.

    Raises ValueError for none.
    """
    if not found:
        raise ValueError("found: empty; expected a list of Drift")
    papers = list({id(each.paper): each.paper for each in found}.values())
    fig = figure(7.5 * len(papers), 6.4, dark)
    axes = fig.subplots(2, len(papers), squeeze=False, sharex=True)
    fig.suptitle(title, fontsize=10, color=dress(axes[0, 0]).ink)
    for column, paper in zip(axes.T, papers, strict=True):
        mine = [each for each in found if each.paper is paper]
        drift_lines(column[0], mine)
        loss_lines(column[1], mine)
        same = [_name(each, mine) for each in mine if each.first is None and each.dialect != "paper-v2"]
        heading = f"against {_family(mine)}" + f"; the same to rounding: {', '.join(same)}" * bool(same)
        column[0].set_title(heading, fontsize=9)
    return fig


def drift_lines(ax: Axes, found: Sequence[Drift]) -> Axes:
    """The distance of theta from the paper's by step, on a logarithmic axis."""
    scheme = dress(ax)
    ax.grid(axis="y", color=scheme.quiet, alpha=0.2, linewidth=0.6)
    ax.set_yscale("log")
    for each in furthest(found):
        distances = np.where(each.distances > LEAST * np.nanmax(each.distances), each.distances, np.nan)
        _line(ax, each, found, distances)
    ax.set_ylabel("distance from the paper's θ")
    label_ends(ax)
    return ax


def loss_lines(ax: Axes, found: Sequence[Drift]) -> Axes:
    """By how much the loss lies above the paper's, by step; the paper's is the line at 0."""
    scheme = dress(ax)
    ax.axhline(0, color=scheme.quiet, linewidth=0.8)
    for each in furthest(found):
        n = min(len(each.run.losses), len(each.paper.losses))
        _line(ax, each, found, each.run.losses[:n] - each.paper.losses[:n])
    ax.set(xlabel="step", ylabel="loss above the paper's")
    label_ends(ax)
    return ax


def _line(ax: Axes, each: Drift, found: Sequence[Drift], heights: Any) -> None:
    color, marker = STYLES[each.dialect]
    second = each.estimator != next(e.estimator for e in found if e.dialect == each.dialect)
    style: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "--" if second else "-"}
    style["markerfacecolor"] = scheme_of(ax).paper if second else color
    steps = np.arange(len(heights))
    ax.plot(steps, heights, **style, linewidth=1.5, markersize=4, markevery=3, label=_name(each, found))


def _name(each: Drift, found: Sequence[Drift]) -> str:
    """The dialect, and its estimator where there are several of it."""
    several = sum(e.dialect == each.dialect for e in found) > 1
    return f"{each.dialect} {each.estimator}" if several else each.dialect


def _family(found: Sequence[Drift]) -> str:
    return f"Sophia-{'G' if any(e.dialect == 'paper-v2' and e.estimator == 'gnb' for e in found) else 'H'}"
