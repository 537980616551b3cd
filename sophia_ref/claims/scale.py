"""Claim 7: the advantage grows with scale. Four model sizes, a fitted trend, and its interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import (
    NO,
    NOT,
    OPEN,
    PARTLY,
    REPRODUCED,
    UNDERPOWERED,
    YES,
    Claim,
    Numbers,
    TableOf,
    Verdict,
    answer,
    number,
    plain,
    spread,
)
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, difference
from sophia_ref.claims.tasks import make_task
from sophia_ref.claims.tuning import Arm, Budget, Model, Need, shown

SOPHIAS = ("SophiaH", "SophiaG")
METHODS = ("AdamW", *SOPHIAS)


def arm(budget: Budget, method: str, model: Model) -> Arm:
    return Arm("text", model, budget.batch, method, budget.lengths[1], budget.few_trials)


def needs(budget: Budget) -> list[Need]:
    return [Need(arm(budget, method, model)) for model in budget.sizes for method in METHODS]


def measure(table: Table, budget: Budget) -> Numbers:
    sizes = [make_task("text", model, budget.batch).problem.model.size for model in budget.sizes]
    losses = {
        method: np.array(
            [[table[s].loss for s in shown(table, arm(budget, method, m), budget.seeds)] for m in budget.sizes]
        )
        for method in METHODS
    }  # (sizes, seeds) each
    decades = np.log10(sizes)
    trends = {}
    for method in SOPHIAS:
        gains = losses["AdamW"] - losses[method]  # positive where Sophia is ahead
        trends[method] = {
            "gains": [difference(losses["AdamW"][i], losses[method][i]) for i in range(len(sizes))],
            "slope": bootstrap(list(gains), lambda *groups: _slope(decades, groups)),
            "line": np.polyfit(decades, gains.mean(axis=1), 1) if np.isfinite(gains).all() else [np.nan, np.nan],
        }
    means = {method: values.mean(axis=1) for method, values in losses.items()}
    return plain({"sizes": sizes, "losses": means, "trends": trends, "steps": budget.lengths[1]})


def _slope(x: Any, groups: tuple[Any, ...]) -> Any:
    """Least squares of means over seeds: x (sizes,), groups of (m, seeds) -> (m,)."""
    y = np.stack([group.mean(axis=1) for group in groups], axis=1)  # (m, sizes)
    centred = x - x.mean()
    return y @ centred / (centred @ centred)


def verdict(numbers: Numbers) -> Verdict:
    grows = {}
    for method in SOPHIAS:
        slope = numbers["trends"][method]["slope"]
        grows[method] = {YES: NO, NO: YES, OPEN: OPEN}[answer(slope)]  # whether it is above zero
    ahead = {m: answer(numbers["trends"][m]["gains"][-1]) == NO for m in SOPHIAS}
    if all(grows[m] == YES and ahead[m] for m in SOPHIAS):
        outcome = REPRODUCED
    elif YES in grows.values():
        outcome = PARTLY
    else:
        outcome = NOT if NO in grows.values() else UNDERPOWERED
    words = {YES: "rises", NO: "falls", OPEN: "has no clear trend"}
    why = "; ".join(
        f"{label(m)}'s advantage over AdamW {words[grows[m]]} with size, "
        f"{spread(numbers['trends'][m]['slope'], '+.3f')} nats a decade, and is "
        f"{spread(numbers['trends'][m]['gains'][-1], '+.3f')} at the largest"
        for m in SOPHIAS
    )
    if outcome == PARTLY:
        why += ". An advantage that rises from below zero is a deficit that shrinks"
    sizes = numbers["sizes"]
    return Verdict(outcome, why + ".", f"{sizes[0]:,} to {sizes[-1]:,} parameters, {numbers['steps']} steps each")


def headline(numbers: Numbers) -> str:
    return "nats a decade: " + ", ".join(
        f"{label(m)} {number(numbers['trends'][m]['slope'][0], '+.3f')}" for m in SOPHIAS
    )


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [f"{size:,}", *(number(numbers["losses"][m][i]) for m in METHODS),
         *(spread(numbers["trends"][m]["gains"][i], "+.3f") for m in SOPHIAS)]
        for i, size in enumerate(numbers["sizes"])
    ]  # fmt: skip
    header = ("parameters", *map(label, METHODS), *(f"{label(m)} ahead by" for m in SOPHIAS))
    return [("Validation loss, and the advantage over AdamW in nats", header, rows)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, log_ticks, look_of, whiskers
    from sophia_ref.plots.style import figure, label_ends

    fig = figure(9.5, 3.6, dark)
    left, right = fig.subplots(1, 2)
    sizes = np.array(numbers["sizes"])
    for method in METHODS:
        whiskers(left, sizes, [(y, y, y) for y in numbers["losses"][method]], **look_of(method))
    for i, method in enumerate(SOPHIAS):
        trend, look = numbers["trends"][method], look_of(method)
        whiskers(right, sizes * (1 + 0.03 * i), trend["gains"], **{**look, "linestyle": "none"})
        if trend["line"][0] is not None:
            right.plot(sizes, np.polyval(trend["line"], np.log10(sizes)), color=look["color"], linewidth=1, alpha=0.8,
                       label="_")  # fmt: skip
    for ax in (left, right):
        scheme = grid(ax)
        ax.set_xlabel("parameters")
        log_ticks(ax, numbers["sizes"])
    right.axhline(0, color=scheme.quiet, linewidth=0.8)
    left.set_ylabel("validation loss")
    right.set_ylabel("Sophia ahead of AdamW by, nats")
    label_ends(left)
    label_ends(right)
    return fig


CLAIM = Claim(
    7,
    "scale",
    "The advantage grows with scale",
    "The gap between Sophia and AdamW grows with the size of the model.",
    "Liu et al. 2023, Figure 1 and section 3 (125M: 0.020 to 0.026 nats, 355M: 0.046, 770M: 0.054).",
    "Four sizes of GPT, the same text, batches and number of steps, each method tuned anew for each size. The "
    "trend is a line of the advantage over the logarithm of the size; its interval resamples seeds. (Data do not "
    "grow with size.)",
    "gap 0.020 to 0.054 nats from 125M to 770M",
    "none: level at 130M, 300M and 520M (Wen et al. 2025)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Left: loss by size. Right: by how much Sophia is ahead of AdamW, with the fitted trend; below zero it is behind.",
    needs,
)
