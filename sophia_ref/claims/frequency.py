"""Claim 2: curvature is needed only about every 10 steps. Loss against cost for k = 1, 2, 5, 10, 20, 50, 100."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import Claim, Numbers, TableOf, Verdict, answer, combine, number, plain, spread
from sophia_ref.claims.methods import cost_a_step, label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, difference, mean_over_seeds
from sophia_ref.claims.tuning import Arm, Budget, Need, shown, text_arm

EVERY = (1, 2, 5, 10, 20, 50, 100)
SOPHIAS = ("SophiaH", "SophiaG")
TOLERANCE = 0.01  # nats within which two k are as good


def arm(budget: Budget, method: str, every: int) -> Arm:
    """Of as many steps as cost what the middle length costs with k = 10. (k = 10 is then the arm of the other
    claims.)"""
    name = method if every == 10 else f"{method}/every={every}"
    cost = budget.lengths[1] * cost_a_step(method, budget.batch)
    return text_arm(budget, name, round(cost / cost_a_step(name, budget.batch)))


def needs(budget: Budget) -> list[Need]:
    return [Need(arm(budget, method, every)) for method in SOPHIAS for every in EVERY]


def measure(table: Table, budget: Budget) -> Numbers:
    rows = []
    for method in SOPHIAS:
        ten = _losses(table, budget, method, 10)
        for every in EVERY:
            own, this = _losses(table, budget, method, every), arm(budget, method, every)
            runs = [table[spec] for spec in shown(table, this, budget.seeds)]
            rows.append(
                {
                    "method": method,
                    "every": every,
                    "steps": this.steps,
                    "cost": runs[0].cost,
                    "seconds": np.mean([run.seconds for run in runs]),
                    "loss": bootstrap([own], mean_over_seeds),
                    "ten_minus_this": difference(ten, own),
                    "unclipped": runs[0].unclipped[-1],
                    "curve": np.mean([run.curve for run in runs], axis=0),
                }
            )
    return plain({"rows": rows})


def _losses(table: Table, budget: Budget, method: str, every: int) -> Any:
    return np.array([table[spec].loss for spec in shown(table, arm(budget, method, every), budget.seeds)])


def verdict(numbers: Numbers) -> Verdict:
    # as good as every other k for the same cost, within a hundredth of a nat
    others = [row for row in numbers["rows"] if row["every"] != 10]
    answers = {(row["method"], row["every"]): answer(row["ten_minus_this"], TOLERANCE) for row in others}
    best = {method: min(_of(numbers, method), key=lambda row: row["loss"][0] or np.inf) for method in SOPHIAS}
    worse = [f"{label(method)} with k = {k}" for (method, k), a in answers.items() if a == "no"]
    why = (
        "; ".join(f"{label(method)} is best with k = {row['every']}" for method, row in best.items())
        + f" for the same cost. k = 10 is as good as another k within {TOLERANCE} nats in "
        f"{list(answers.values()).count('yes')} of {len(answers)} comparisons"
        + (f", and worse than {', '.join(worse)}." if worse else ", and clearly worse in none.")
    )
    rows = numbers["rows"]
    regime = (
        f"{min(r['steps'] for r in rows)} to {max(r['steps'] for r in rows)} steps of equal cost, each k tuned anew"
    )
    return Verdict(combine(list(answers.values())), why, regime)


def _of(numbers: Numbers, method: str) -> list[Any]:
    return [row for row in numbers["rows"] if row["method"] == method]


def headline(numbers: Numbers) -> str:
    best = {method: min(_of(numbers, method), key=lambda row: row["loss"][0] or np.inf) for method in SOPHIAS}
    return ", ".join(f"{label(method)}: best k = {row['every']}" for method, row in best.items())


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), str(row["every"]), str(row["steps"]), number(row["cost"], ".0f"),
         number(row["seconds"], ".1f"), spread(row["loss"]), spread(row["ten_minus_this"]),
         number(row["unclipped"], ".0%")]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("method", "k", "steps", "cost", "seconds", "validation loss", "k = 10 minus this", "unclipped at the end")
    return [("Runs of equal cost", header, rows)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, legend, look_of, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(11, 3.6, dark)
    first, *curves = fig.subplots(1, 3, width_ratios=(1.1, 1, 1))
    for method, ax in zip(SOPHIAS, curves, strict=True):
        rows = _of(numbers, method)
        whiskers(first, EVERY, [row["loss"] for row in rows], **look_of(method))
        scheme = grid(ax)
        finals = [row["loss"][0] for row in rows if row["loss"][0] is not None]
        for i, row in enumerate(rows):
            points = [x for x in zip(_costs(row), row["curve"], strict=True) if x[1] is not None]
            if points:
                ax.plot(*zip(*points, strict=True), color=_shade(i), linewidth=1.4, label=f"k = {row['every']}")
        if finals:
            ax.set_ylim(min(finals) - 0.03, min(finals) + 0.6)
        ax.set(xlabel="cost in gradients", ylabel="validation loss")
        ax.set_title(label(method), color=scheme.ink, fontsize=9)
    grid(first)
    first.set(xscale="log", xlabel="k, steps from one estimate to the next", ylabel="validation loss")
    first.set_xticks(EVERY, [str(k) for k in EVERY], minor=False)
    first.minorticks_off()
    legend(first)
    legend(curves[0], ncols=2)
    return fig


def _costs(row: Any) -> list[float]:
    return [row["cost"] * (i + 1) / len(row["curve"]) for i in range(len(row["curve"]))]


def _shade(i: int) -> Any:
    from matplotlib import colormaps

    return colormaps["viridis"](0.08 + 0.84 * i / (len(EVERY) - 1))


CLAIM = Claim(
    2,
    "frequency",
    "Curvature only every ten steps",
    "Curvature estimated about every ten steps is enough, and best for the compute.",
    "Liu et al. 2023, section 2 and the ablation of k (from memory).",
    "Sophia-H and Sophia-G with k from 1 to 100, each k tuned anew with as many trials, for as many steps as cost "
    "the same in gradients: with curvature in every step there are fewer of them. Every learning rate decays over "
    "its own run.",
    "k = 10 best for the compute",
    "k = 1 worse than 10 at equal steps in a draft of ours: a slow, mostly clipped h did better",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Left: loss at the end of runs of equal cost. Then: loss on the way, by cost.",
    needs,
)
