"""What tuning buys: the loss to expect of the best of n trials, for every arm that a claim tunes.

A method that needs more trials for the same loss is worth less to who has to tune it, whatever its best is. The losses
are those of tuning: of the tuning seed, on the part of the held-out data that only tuning sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sophia_ref.claims.methods import cost_a_step
from sophia_ref.claims.runs import LOST, Table
from sophia_ref.claims.statistics import best_of
from sophia_ref.claims.tuning import Arm

Array = Any
Curve = dict[str, Any]  # as JSON has it: the Arm's fields, and "best", a list over n = 1, 2, ...
COLUMNS = 3
NEAR = 1.2  # times the cost, up to which runs cost the same
LINES = (":", "--", "-.")  # of variants, by method


def expected_best(scores: Array) -> Array:
    """best_of, with trials that diverged as bad as the worst that did not: what they would have cost a tuner. LOST
    where all did."""
    known = scores[scores < LOST]
    return best_of(np.minimum(scores, known.max())) if len(known) else scores


def curves(table: Table, arms: Iterable[Arm]) -> list[Curve]:
    """The curve of each arm, each once."""
    return [{**arm._asdict(), "best": expected_best(arm.scores(table))} for arm in dict.fromkeys(arms)]


def panels(found: Sequence[Curve]) -> list[tuple[str, list[Curve]]]:
    """(title, curves) of what can be compared: methods on one task, model and batch, for one run length."""
    kinds = ("task", "model", "batch", "steps")
    groups: dict[tuple[str, ...], list[Curve]] = {}
    for curve in found:
        groups.setdefault(tuple(str(curve[kind]) for kind in kinds), []).append(curve)
    alike = [group for group in groups.values() if len(group) > 1]
    if len(found) > 1 and 2 * sum(map(len, alike)) < len(found):  # methods have as many steps as cost the same
        return of_equal_cost(found)
    alike = alike or list(groups.values())
    told = [kind for kind in kinds if len({str(group[0][kind]) for group in alike}) > 1 or kind == "steps"]
    return [(", ".join(_words(kind, group[0][kind]) for kind in told), group) for group in alike]


def of_equal_cost(found: Sequence[Curve]) -> list[tuple[str, list[Curve]]]:
    """The same for runs of one task, model and batch that cost the same but for what NEAR allows."""
    costs = [curve["steps"] * cost_a_step(curve["method"], curve["batch"]) for curve in found]
    groups: list[list[int]] = []
    for i in sorted(range(len(found)), key=costs.__getitem__):
        if not groups or costs[i] > NEAR * costs[groups[-1][0]]:
            groups.append([])
        groups[-1].append(i)
    return [
        (f"the cost of {costs[group[0]]:.0f} to {costs[group[-1]]:.0f} gradients", [found[i] for i in sorted(group)])
        for group in groups
    ]


def looks(methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """look_of each, and for variants of a method, where there are several, a look of their own: the colour and the
    marker tell the variant, the line the method."""
    from sophia_ref.claims.pictures import CYCLE, MARKERS, look_of

    found = {method: look_of(method) for method in methods}
    bases = list(dict.fromkeys(method.split("/")[0] for method in methods))
    for base in bases:
        variants = [method for method in methods if method.startswith(base + "/")]
        for j, method in enumerate(variants if len(variants) > 1 else []):
            line = LINES[bases.index(base) % len(LINES)]
            found[method] |= {"color": CYCLE[j % len(CYCLE)], "marker": MARKERS[j % len(MARKERS)], "linestyle": line}
    return found


def _words(kind: str, value: Any) -> str:
    if kind == "model":  # of a GPT: context, width, heads, layers
        return f"width {value[1]}, {value[3]} layers" if len(value) == 4 else f"width {'-'.join(map(str, value))}"
    return f"{value} steps" if kind == "steps" else f"batch {value}" if kind == "batch" else str(value)


def draw(found: Sequence[Curve], dark: bool) -> Any:
    """A panel for each of `panels`: the expected best loss over the number of trials, without the first, which is the
    mean of all; what is far above the least loss is beyond the frame."""
    from sophia_ref.claims.pictures import grid, legend_below, log_ticks, near_the_best
    from sophia_ref.plots.style import figure

    groups = panels(found)
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    fig = figure(3.5 * columns, 2.3 * rows + 0.5, dark)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes[len(groups) :]:
        ax.set_visible(False)
    methods = list(dict.fromkeys(curve["method"] for curve in found))
    look = looks(methods)
    for i, (ax, (title, group)) in enumerate(zip(axes, groups, strict=False)):
        drawn: list[float] = []
        for method in methods:  # all of them in every legend
            known: list[tuple[float, float]] = []
            for own in (curve["best"] for curve in group if curve["method"] == method):
                known += [(np.nan, np.nan)] * bool(known)  # Signum may have several lengths of equal cost
                known += [(n, loss) for n, loss in enumerate(own, 1) if loss is not None and n > 1]
            ax.plot(*(zip(*known, strict=True) if known else ([], [])), **{**look[method], "markersize": 3.5})
            drawn += [loss for _, loss in known if not np.isnan(loss)]
        if drawn:
            ax.set_ylim(*near_the_best([(loss, loss, loss) for loss in drawn], far=1.0))
        scheme = grid(ax)
        ax.set_title(title, color=scheme.ink, fontsize=9)
        log_ticks(ax, [2**k for k in range(1, len(group[0]["best"]).bit_length())])
        if i >= len(groups) - columns:
            ax.set_xlabel("trials")
        if i % columns == 0:
            ax.set_ylabel("best loss to expect")
    legend_below(fig, axes[0], min(6, len(methods)))
    return fig
