"""Claim 13: Sophia is more stable in the learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import NO, OPEN, YES, Claim, Numbers, TableOf, Verdict, combine, number, plain, spread
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, mean_over_seeds
from sophia_ref.claims.tuning import Budget, Change, Need, shown, text_arm

SOPHIAS = ("SophiaH", "SophiaG")
METHODS = ("AdamW", "Lion", "Signum", *SOPHIAS)
FACTORS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
WITHIN = 0.1  # nats of its best, which count as usable


def needs(budget: Budget) -> list[Need]:
    return [Need(text_arm(budget, method), tuple(map(_change, FACTORS))) for method in METHODS]


def _change(factor: float) -> Change:
    return Change(times=(("lr", factor),))


def measure(table: Table, budget: Budget) -> Numbers:
    losses = {
        method: np.array(
            [
                [table[spec].loss for spec in shown(table, text_arm(budget, method), budget.seeds, _change(factor))]
                for factor in FACTORS
            ]
        ).T
        for method in METHODS
    }  # (seeds, factors) each
    rows = [
        {
            "method": method,
            "lr": dict(text_arm(budget, method).best(table))["lr"],
            "losses": [bootstrap([own[:, i]], mean_over_seeds) for i in range(len(FACTORS))],
            "octaves": bootstrap([own], octaves),
            "more_than_adamw": bootstrap([own, losses["AdamW"]], lambda a, b: octaves(a) - octaves(b)),
            "rise_at_16": bootstrap([own[:, -1] - own[:, FACTORS.index(1.0)]], mean_over_seeds),
            "diverged": np.isinf(own).sum(axis=0),
        }
        for method, own in losses.items()
    ]
    return plain({"rows": rows, "steps": budget.lengths[1]})


def octaves(losses: Any) -> Any:
    """How many factors of two in the learning rate keep the mean loss within WITHIN of the best: losses (m, seeds,
    factors) -> (m,), counted between factors too, by lines."""
    means = np.minimum(losses.mean(axis=1), 1e6)  # (m, factors)
    excess = means - means.min(axis=1, keepdims=True) - WITHIN
    a, b = excess[:, :-1], excess[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(a == b, 0.0, np.abs(a) / np.abs(a - b))  # where the line meets zero, if it does
    share = np.where((a <= 0) & (b <= 0), 1.0, np.where(a <= 0, crossing, np.where(b <= 0, 1 - crossing, 0.0)))
    return share.sum(axis=1)


def verdict(numbers: Numbers) -> Verdict:
    answers = []
    for row in numbers["rows"]:
        if row["method"] in SOPHIAS:
            _, low, high = row["more_than_adamw"]
            answers.append(OPEN if low is None or high is None else YES if low > 0 else NO if high <= 0 else OPEN)
    width = ", ".join(f"{label(row['method'])} {number(row['octaves'][0], '.1f')}" for row in numbers["rows"])
    lost = [label(row["method"]) for row in numbers["rows"] if any(row["diverged"])]
    why = f"Octaves of the learning rate within {WITHIN} nats of a method's best: {width}. " + (
        f"Runs diverged with {', '.join(lost)}." if lost else "Nothing diverged, at 16 times the tuned rate either."
    )
    return Verdict(combine(answers), why, f"{numbers['steps']} steps; everything but the learning rate as tuned")


def headline(numbers: Numbers) -> str:
    rows = [row for row in numbers["rows"] if row["method"] in ("AdamW", *SOPHIAS)]
    return "usable octaves: " + ", ".join(f"{label(row['method'])} {number(row['octaves'][0], '.1f')}" for row in rows)


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), f"{row['lr']:.2g}",
         *("diverged" if row["diverged"][i] else number(row["losses"][i][0]) for i in range(len(FACTORS))),
         spread(row["octaves"], ".1f"), spread(row["more_than_adamw"], "+.1f")]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("method", "tuned lr", *(f"x {f:g}" for f in FACTORS), f"octaves within {WITHIN}", "minus AdamW's")
    return [("Validation loss by factor of the learning rate", header, rows)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, look_of, whiskers
    from sophia_ref.plots.style import figure, label_ends

    fig = figure(7.5, 3.8, dark)
    ax = fig.subplots()
    known = [x[0] for row in numbers["rows"] for x in row["losses"] if x[0] is not None]
    for i, row in enumerate(numbers["rows"]):
        whiskers(ax, np.array(FACTORS) * 1.03**i, row["losses"], **look_of(row["method"]))
    grid(ax)
    if known:
        ax.set_ylim(min(known) - 0.05, min(max(known), min(known) + 2) + 0.05)
    ax.set(xscale="log", xlabel="learning rate over the tuned one", ylabel="validation loss")
    ax.set_xticks(FACTORS, ["1/8", "1/4", "1/2", "1", "2", "4", "8", "16"])
    ax.minorticks_off()
    label_ends(ax)
    return fig


CLAIM = Claim(
    13,
    "learning_rate",
    "Stable in the learning rate",
    "Sophia tolerates a wider range of learning rates, where AdamW diverges.",
    "Liu et al. 2023, Figure (b) of the analysis: at 355M without a trick in attention AdamW at 3e-4 diverges, "
    "Sophia does not.",
    "The tuned learning rate times 1/8 to 16, all else as tuned. How many octaves stay within a tenth of a nat of "
    "the best.",
    "AdamW diverges where Sophia does not",
    "short warm-ups make Sophia diverge (Wen et al. 2025)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Loss by learning rate. A mark that is missing: some seed diverged.",
    needs,
)
