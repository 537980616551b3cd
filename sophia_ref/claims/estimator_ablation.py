"""Claim 10: which estimate of the curvature: empirical Fisher, AdaHessian's, Hutchinson's, Gauss-Newton-Bartlett."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import Claim, Numbers, TableOf, Verdict, answer, combine, number, plain, spread
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, difference, mean_over_seeds
from sophia_ref.claims.tuning import Budget, Need, shown, text_arm

METHODS = ("SophiaG", "SophiaH", "SophiaR", "SophiaA", "SophiaE", "AdaHessian", "Signum")
# The paper's order: better, worse
ORDER = (
    ("SophiaG", "SophiaH"),
    ("SophiaH", "SophiaA"),
    ("SophiaH", "SophiaE"),
    ("SophiaG", "SophiaE"),
    ("SophiaG", "SophiaA"),
)


def needs(budget: Budget) -> list[Need]:
    return [Need(text_arm(budget, method)) for method in METHODS]


def measure(table: Table, budget: Budget) -> Numbers:
    runs = {m: [table[spec] for spec in shown(table, text_arm(budget, m), budget.seeds)] for m in METHODS}
    losses = {method: np.array([run.loss for run in found]) for method, found in runs.items()}
    rows = [
        {
            "method": method,
            "loss": bootstrap([own], mean_over_seeds),
            "minus_signum": difference(own, losses["Signum"]),
            "cost": runs[method][0].cost,
            "unclipped": runs[method][0].unclipped[-1],
            "settings": dict(text_arm(budget, method).best(table)),
        }
        for method, own in losses.items()
    ]
    order = [{"better": a, "worse": b, "minus": difference(losses[a], losses[b])} for a, b in ORDER]
    return plain({"rows": rows, "order": order, "steps": budget.lengths[1]})


def verdict(numbers: Numbers) -> Verdict:
    answers = [answer(row["minus"]) for row in numbers["order"]]
    ranked = sorted(numbers["rows"], key=lambda row: np.inf if row["loss"][0] is None else row["loss"][0])
    why = (
        f"Of the paper's order {answers.count('yes')} of {len(answers)} comparisons hold, {answers.count('no')} are "
        f"the other way round and {answers.count('open')} too close to call. From best to worst: "
        + ", ".join(f"{label(row['method'])} {number(row['loss'][0])}" for row in ranked)
        + "."
    )
    return Verdict(combine(answers), why, f"{numbers['steps']} steps, k = 10, all clipped but AdaHessian")


def headline(numbers: Numbers) -> str:
    ranked = sorted(numbers["rows"], key=lambda row: np.inf if row["loss"][0] is None else row["loss"][0])
    return "best to worst: " + ", ".join(label(row["method"]) for row in ranked[:4])


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), spread(row["loss"]), spread(row["minus_signum"], "+.3f"), number(row["cost"], ".0f"),
         number(row["unclipped"], ".0%"), ", ".join(f"{k} {v:.3g}" for k, v in row["settings"].items())]
        for row in numbers["rows"]
    ]  # fmt: skip
    order = [
        [label(r["better"]), label(r["worse"]), spread(r["minus"], "+.3f"), answer(r["minus"])]
        for r in numbers["order"]
    ]
    header = ("estimator", "validation loss", "minus Signum", "cost", "unclipped at the end", "best settings")
    return [
        ("The same steps", header, rows),
        ("The paper's order", ("should be better", "than", "difference", "is it"), order),
    ]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, look_of, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(8, 3.4, dark)
    ax = fig.subplots()
    rows = [row for row in numbers["rows"] if row["loss"][0] is not None]
    rows.sort(key=lambda row: row["loss"][0])
    for i, row in enumerate(rows):
        whiskers(ax, [i], [row["loss"]], **{**look_of(row["method"]), "markersize": 7})
    grid(ax)
    ax.set_xticks(range(len(rows)), [label(row["method"]).replace(" (", "\n(") for row in rows])
    ax.set_ylabel("validation loss")
    ax.margins(x=0.08)
    return fig


CLAIM = Claim(
    10,
    "estimator_ablation",
    "Which estimate of the curvature",
    "Within the clipped rule, GNB is at least as good as Hutchinson, and both are better than the empirical Fisher and "
    "AdaHessian's curvature.",
    "Liu et al. 2023, ablations (from memory).",
    "The same rule, clipped, with k = 10, over five estimates of the diagonal, and beside it AdaHessian itself and "
    "sign momentum, which has none. Each tuned with as many trials.",
    "GNB >= Hutchinson > AdaHessian, empirical Fisher",
    "none that we know of",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Loss after the same number of steps, by estimate of the curvature.",
    needs,
)
