"""Claim 2: curvature is needed only about every 10 steps. Loss for the same cost with k = 1, 2, 5, 10, 20, 50, 100."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, answer, number, plain, spread
from sophia_ref.claims.methods import cost_a_step, label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import difference, mean
from sophia_ref.claims.tuning import Arm, Need, milliseconds, results, text_arm, tuned

EVERY = (1, 2, 5, 10, 20, 50, 100)
NEVER = 0  # stands for Signum, which is the rule with every coordinate clipped
SOPHIAS = ("SophiaH", "SophiaG")
TOLERANCE = 0.01  # nats within which two k are as good


def arm(budget: Budget, method: str, every: int, length: int) -> Arm:
    """Of as many steps as cost what so many with k = 10 do. (k = 10 is then the arm of the other claims.)"""
    name = {10: method, NEVER: "Signum"}.get(every, f"{method}/every={every}")
    cost = length * cost_a_step(method, budget.batch)
    return text_arm(budget, name, max(1, round(cost / cost_a_step(name, budget.batch))))


def needs(budget: Budget) -> list[Need]:
    return [
        Need(arm(budget, method, every, length))
        for method in SOPHIAS
        for length in budget.ablated
        for every in (*EVERY, NEVER)
    ]


def measure(table: Table, budget: Budget) -> Numbers:
    rows = []
    for method in SOPHIAS:
        for length in budget.ablated:
            arms = {every: arm(budget, method, every, length) for every in (*EVERY, NEVER)}
            found = {every: tuned(table, own, budget.seeds) for every, own in arms.items()}
            best = min(EVERY, key=lambda every: found[every].losses.mean())
            for every, own in arms.items():
                runs = results(table, own, budget.seeds)
                rows.append(
                    {
                        "method": method,
                        "length": length,
                        "every": every,
                        "steps": own.steps,
                        "cost": max(run.cost for run in runs),
                        "seconds": milliseconds(table, own) * own.steps / 1e3,
                        "loss": mean(found[every]),
                        "minus_best": difference(found[every], found[best]),
                        "ten_minus_this": difference(found[10], found[every]),
                        "unclipped": np.mean([run.shares[-1] for run in runs]),
                    }
                )
    return plain({"rows": rows, "lengths": budget.ablated})


def as_good_as_the_best(numbers: Numbers, method: str, length: int) -> list[int]:
    """All k that no interval shows to be more than TOLERANCE worse than the best of them."""
    return [
        row["every"]
        for row in numbers["rows"]
        if (row["method"], row["length"]) == (method, length)
        and row["every"] != NEVER
        and answer(row["minus_best"], TOLERANCE) != NO
    ]


def _near_best(numbers: Numbers, length: int) -> str:
    return "; ".join(
        f"{label(method)} k = {', '.join(map(str, as_good_as_the_best(numbers, method, length)))}" for method in SOPHIAS
    )


def _named(beaten: list[Any]) -> str:
    """The comparisons that k = 10 has lost."""
    names = [f"{label(row['method'])}, T = {row['length']}: k = {row['every']} is better" for row in beaten]
    return f" ({'; '.join(names)})" if names else ""


def verdict(numbers: Numbers) -> Verdict:
    # as good as every other k for the same cost, within a hundredth of a nat
    rows, last = numbers["rows"], numbers["lengths"][-1]
    judged = [row for row in rows if row["every"] not in (10, NEVER)]
    answers = [answer(row["ten_minus_this"], TOLERANCE) for row in judged]
    beaten = [row for row, found in zip(judged, answers, strict=True) if found == NO]
    signs = [answer(row["ten_minus_this"]) for row in rows if row["every"] == NEVER]
    why = (
        f"For the same cost k = 10 is as good as another k within {TOLERANCE} nats in {answers.count(YES)} of "
        f"{len(answers)} comparisons, and worse by more in {answers.count(NO)}{_named(beaten)}. At T = {last} not "
        f"shown to be worse than the best by more than that: {_near_best(numbers, last)}. Signum, which has no "
        f"curvature, is worse than k = 10 for the same cost in {signs.count(YES)} of {len(signs)} comparisons and "
        f"better in {signs.count(NO)}"
        + (
            "; where it is not shown to be worse, k = 10 may be enough because curvature does not matter."
            if signs.count(YES) < len(signs)
            else "."
        )
    )
    lengths = ", ".join(map(str, numbers["lengths"]))
    return Verdict(answers, why, f"runs that cost as much as T = {lengths} steps with k = 10, each k tuned anew")


def headline(numbers: Numbers) -> str:
    last = numbers["lengths"][-1]
    return f"not shown to be worse than the best k at T = {last}: {_near_best(numbers, last)}"


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), str(row["length"]), "Signum" if row["every"] == NEVER else str(row["every"]),
         str(row["steps"]), number(row["cost"], ".0f"), number(row["seconds"], ".1f"), spread(row["loss"]),
         spread(row["ten_minus_this"], "+.3f"), spread(row["minus_best"], "+.3f"), number(row["unclipped"], ".0%")]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("method", "T", "k", "steps", "cost", "seconds", "validation loss", "k = 10 minus this",
              "minus the best k", "unclipped at the end")  # fmt: skip
    near = [
        [label(m), *(", ".join(map(str, as_good_as_the_best(numbers, m, length))) for length in numbers["lengths"])]
        for m in SOPHIAS
    ]
    return [
        (
            f"All k not shown to be worse than the best by more than {TOLERANCE} nats",
            ("method", *(f"T = {t}" for t in numbers["lengths"])),
            near,
        ),
        ("Runs of equal cost", header, rows),
    ]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, legend_below, look_of, near_the_best, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(10.5, 3.7, dark)
    axes = fig.subplots(1, len(numbers["lengths"]))
    places = [*EVERY, 300]  # Signum's
    for ax, length in zip(axes, numbers["lengths"], strict=True):
        scheme = grid(ax)
        for i, method in enumerate(SOPHIAS):
            rows = [row for row in numbers["rows"] if (row["method"], row["length"]) == (method, length)]
            apart = [place * (0.96, 1.04)[i] for place in places]
            look = look_of(method)
            whiskers(ax, apart[:-1], [row["loss"] for row in rows[:-1]], **look)
            sign = {**look, "label": f"Signum at the cost of {label(method)}", "markerfacecolor": "none"}
            whiskers(ax, apart[-1:], [rows[-1]["loss"]], **sign | {"linestyle": "none"})
        ax.set(xscale="log", xlabel="k, steps from one estimate to the next")
        ax.set_xticks(places, [*map(str, EVERY), "never"])
        ax.minorticks_off()
        ax.set_ylim(near_the_best([row["loss"] for row in numbers["rows"] if row["length"] == length]))
        ax.set_title(f"the cost of T = {length}", color=scheme.ink, fontsize=9)
    axes[0].set_ylabel("validation loss")
    legend_below(fig, axes[0], 4)
    return fig


CLAIM = Claim(
    2,
    "frequency",
    "Curvature only every ten steps",
    "Curvature estimated about every ten steps is enough, and best for the compute.",
    "Liu et al. 2023, section 2 and the ablation of k (from memory).",
    "Sophia-H and Sophia-G with k from 1 to 100 at three budgets: what T steps with k = 10 cost in gradients. Each k "
    "is tuned anew with as many trials, for as many steps as cost the same: with curvature in every step there are "
    "fewer of them. Signum, sign momentum without curvature, has as many steps as gradients. Every learning rate "
    "decays over its own run. Runs of equal cost do not say how k = 1 compares with k = 10 at equal steps. Equal cost "
    "is not equal time either: seconds are the processor time of such a run, the median over its trials.",
    "k = 10 best for the compute (from memory)",
    "none that we know of",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Loss at the end of runs of equal cost, by how rarely the curvature is estimated; never: Signum. What lies beyond "
    "the frame is far above the best, as where a run diverged: see the table.",
    needs,
)
