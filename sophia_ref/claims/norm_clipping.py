"""Claim 12: Sophia hardly ever needs its gradient's norm clipped, AdamW most of the time."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import Claim, Numbers, TableOf, Verdict, answer, combine, number, plain, spread
from sophia_ref.claims.half_the_steps import METHODS
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, difference, mean_over_seeds
from sophia_ref.claims.tuning import Budget, Need, shown, text_arm

SOPHIAS = ("SophiaH", "SophiaG")


def needs(budget: Budget) -> list[Need]:
    return [Need(text_arm(budget, method, steps)) for method in METHODS for steps in budget.lengths]


def measure(table: Table, budget: Budget) -> Numbers:
    rows = []
    for steps in budget.lengths:
        shares = {}
        for method in METHODS:
            runs = [table[spec] for spec in shown(table, text_arm(budget, method, steps), budget.seeds)]
            shares[method] = np.array([run.norm_clipped for run in runs])
            norms = np.array([run.norms for run in runs], dtype=np.float64)
            rows.append(
                {
                    "method": method,
                    "steps": steps,
                    "share": bootstrap([shares[method]], mean_over_seeds),
                    "minus_adamw": difference(shares[method], shares["AdamW"]),
                    "norms": norms.mean(axis=0),
                }
            )
    return plain({"rows": rows})


def verdict(numbers: Numbers) -> Verdict:
    judged = [row for row in numbers["rows"] if row["method"] in SOPHIAS]
    answers = [answer(row["minus_adamw"]) for row in judged]
    last = max(row["steps"] for row in numbers["rows"])
    shares = ", ".join(
        f"{label(row['method'])} {number(row['share'][0], '.1%')}" for row in numbers["rows"] if row["steps"] == last
    )
    why = (
        f"Sophia's gradient is clipped less often than AdamW's in {answers.count('yes')} of {len(answers)} "
        f"comparisons and more often in {answers.count('no')}. Of {last} steps: {shares}. How often depends on the "
        "warm-up, in which a model of this size has its longest gradients, more than on the method."
    )
    return Verdict(combine(answers), why, "the norm is clipped at 1; the longest run has " + f"{last} steps")


def headline(numbers: Numbers) -> str:
    last = max(row["steps"] for row in numbers["rows"])
    rows = [row for row in numbers["rows"] if row["steps"] == last and row["method"] in ("AdamW", *SOPHIAS)]
    return ", ".join(f"{label(row['method'])} {number(row['share'][0], '.1%')}" for row in rows)


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), str(row["steps"]), spread(row["share"], ".1%"), spread(row["minus_adamw"], "+.1%"),
         " / ".join(number(x, ".2f") for x in row["norms"])]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("method", "steps", "steps clipped", "minus AdamW", "norm: tenth / median / nine tenths")
    return [("How often the gradient is longer than 1", header, rows)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, log_ticks, look_of, whiskers
    from sophia_ref.plots.style import figure, label_ends

    fig = figure(9.5, 3.4, dark)
    left, right = fig.subplots(1, 2)
    for i, method in enumerate(METHODS):
        rows = [row for row in numbers["rows"] if row["method"] == method]
        steps = [row["steps"] * 1.03**i for row in rows]
        whiskers(left, steps, [row["share"] for row in rows], **look_of(method))
        norms = [(row["norms"][1], row["norms"][0], row["norms"][2]) for row in rows]
        whiskers(right, steps, norms, **look_of(method))
    for ax in (left, right):
        grid(ax)
        ax.set_xlabel("steps of the run")
        log_ticks(ax, sorted({row["steps"] for row in numbers["rows"]}))
    left.set_ylabel("share of steps with a norm above 1")
    left.yaxis.set_major_formatter("{x:.0%}")
    right.set_ylabel("norm of the gradient")
    right.axhline(1, color="#8b919c", linewidth=0.8, linestyle=":")
    label_ends(left)
    label_ends(right)
    return fig


CLAIM = Claim(
    12,
    "norm_clipping",
    "The gradient's norm is rarely clipped",
    "With Sophia the gradient's norm is hardly ever clipped, with AdamW most of the time.",
    "Liu et al. 2023, Figure (a) of the analysis: at 125M AdamW about 72K of 100K steps, Lion 10K, Sophia about 0.",
    "Counted in the runs of claim 1.",
    "AdamW 72%, Lion 10%, Sophia 0%",
    "none that we know of",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Left: how often the norm was above 1. Right: the norm, its median and middle four fifths over the run.",
    needs,
)
