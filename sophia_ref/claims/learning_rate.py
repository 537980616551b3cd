"""Claim 13: Sophia is more stable in the learning rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, OPEN, YES, Claim, Numbers, TableOf, Verdict, above, number, plain, spread
from sophia_ref.claims.methods import label, told
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import interval, mean
from sophia_ref.claims.tuning import Change, Need, results, text_arm, tuned

Array = Any
SOPHIAS = ("SophiaH", "SophiaG")
METHODS = ("AdamW", "Lion", "Signum", *SOPHIAS)
FACTORS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0)  # as far down as up: tuned rates are coarse
WITHIN = 0.1  # nats of its best, which count as usable


def needs(budget: Budget) -> list[Need]:
    changes = tuple(map(_change, FACTORS))
    return [Need(text_arm(budget, method, steps), changes) for method in METHODS for steps in budget.ablated]


def _change(factor: float) -> Change:
    return Change(times=(("lr", factor),))


def measure(table: Table, budget: Budget) -> Numbers:
    arms = {(arm.method, arm.steps): arm for arm, _ in needs(budget)}
    found = {key: [tuned(table, arm, budget.seeds, _change(f)) for f in FACTORS] for key, arm in arms.items()}
    n, rows = len(FACTORS), []
    for (method, steps), own in found.items():
        runs = [results(table, arms[method, steps], budget.seeds, _change(f)) for f in FACTORS]
        rows.append(
            {
                "method": method,
                "steps": steps,
                "settings": dict(arms[method, steps].best(table)),
                "losses": [mean(each) for each in own],
                "octaves": interval(own, octaves),
                "ends": _usable(np.array([[each.losses.mean() for each in own]]))[0, [0, -1]],
                "more_than_adamw": interval(
                    [*own, *found["AdamW", steps]], lambda means: octaves(means[:, :n]) - octaves(means[:, n:])
                ),
                "diverged": [sum(run.diverged for run in each) for each in runs],
            }
        )
    return plain({"rows": rows, "lengths": budget.ablated, "seeds": len(budget.seeds)})


def _excess(means: Array) -> Array:
    """Above WITHIN of the best: (m, factors) -> (m, factors)."""
    return means - means.min(axis=1, keepdims=True) - WITHIN


def _usable(means: Array) -> Array:
    return _excess(means) <= 0


def octaves(means: Array) -> Array:
    """How many factors of two in the learning rate keep the mean loss within WITHIN of the best: (m, factors) -> (m,),
    counted between factors too, by lines."""
    excess = _excess(means)
    a, b = excess[:, :-1], excess[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(a == b, 0.0, np.abs(a) / np.abs(a - b))  # where the line meets zero, if it does
    share = np.where((a <= 0) & (b <= 0), 1.0, np.where(a <= 0, crossing, np.where(b <= 0, 1 - crossing, 0.0)))
    return share.sum(axis=1)


def _adamw(numbers: Numbers, steps: int) -> Any:
    return next(row for row in numbers["rows"] if (row["method"], row["steps"]) == ("AdamW", steps))


def answered(numbers: Numbers, row: Any) -> str:
    """Whether its range is wider than AdamW's. Where a range goes on beyond the factors that were tried, what its rest
    could turn round is open."""
    found = above(row["more_than_adamw"])
    if found == YES and any(_adamw(numbers, row["steps"])["ends"]):
        return OPEN
    return OPEN if found == NO and any(row["ends"]) else found


def verdict(numbers: Numbers) -> Verdict:
    answers = [answered(numbers, row) for row in numbers["rows"] if row["method"] in SOPHIAS]
    lengths = numbers["lengths"]
    width = "; ".join(f"T = {steps}, {_widths(numbers, steps, METHODS)}" for steps in lengths)
    lost = [
        f"{label(method)} {sum(sum(row['diverged']) for row in numbers['rows'] if row['method'] == method)}"
        for method in METHODS
    ]
    why = (
        f"Octaves of the learning rate within {WITHIN} nats of a method's best: {width}. Sophia's are more than "
        f"AdamW's in {answers.count(YES)} of {len(answers)} comparisons, and are not in {answers.count(NO)}. Of "
        f"{numbers['seeds'] * len(FACTORS) * len(lengths)} runs each diverged: {', '.join(lost)}.{_coarse(numbers)}"
    )
    regime = f"T = {', '.join(map(str, lengths))} steps; all but the learning rate as tuned"
    return Verdict(answers, why, regime + ", intervals over seeds and not over the luck of the tuning")


def _coarse(numbers: Numbers) -> str:
    """How far the learning rate that tuning found is from the best one here."""
    given = FACTORS.index(1)
    lost = [row["losses"][given][0] - min(loss[0] for loss in row["losses"]) for row in numbers["rows"]]
    if not any(lost):
        return ""
    i = int(np.argmax(lost))
    row = numbers["rows"][i]
    return (
        f" Another learning rate than the tuned one has the least mean in {sum(x > 0 for x in lost)} of {len(lost)} "
        f"rows, by up to {lost[i]:.3f} nats ({label(row['method'])}, T = {row['steps']}): so coarse is the tuning of "
        "all claims."
    )


def _widths(numbers: Numbers, steps: int, methods: Any) -> str:
    rows = [row for row in numbers["rows"] if row["steps"] == steps and row["method"] in methods]
    return ", ".join(f"{label(r['method'])} {_sign(r['ends'])}{number(r['octaves'][0], '.1f')}" for r in rows)


def _sign(more: Any, less: Any = ()) -> str:
    """Of a number that is larger if a range goes on, or smaller."""
    if any(more) and any(less):
        return "about "
    return "≥ " if any(more) else "≤ " if any(less) else ""


def headline(numbers: Numbers) -> str:
    last = numbers["lengths"][-1]
    return f"usable octaves at T = {last}: {_widths(numbers, last, ('AdamW', *SOPHIAS))}"


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), str(row["steps"]), *map(_loss, row["losses"], row["diverged"]),
         _sign(row["ends"]) + spread(row["octaves"], ".1f"),
         "" if row["method"] == "AdamW"
         else _sign(row["ends"], _adamw(numbers, row["steps"])["ends"]) + spread(row["more_than_adamw"], "+.1f")]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("method", "T", *(f"x {_factor(f)}" for f in FACTORS), f"octaves within {WITHIN}", "minus AdamW's")
    settings = [
        [label(row["method"]), str(row["steps"]), told(row["method"], row["settings"])] for row in numbers["rows"]
    ]
    return [
        ("Validation loss by factor of the learning rate, and how many runs diverged", header, rows),
        ("Best settings", ("method", "T", "settings"), settings),
    ]


def _loss(loss: Any, diverged: int) -> str:
    return number(loss[0]) + f" ({diverged} diverged)" * (diverged > 0)


def _factor(factor: float) -> str:
    return f"{factor:g}" if factor >= 1 else f"1/{1 / factor:g}"


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, legend_below, look_of, near_the_best, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(10.5, 4, dark)
    axes = fig.subplots(1, len(numbers["lengths"]))
    for ax, steps in zip(axes, numbers["lengths"], strict=True):
        rows = [row for row in numbers["rows"] if row["steps"] == steps]
        for i, row in enumerate(rows):
            whiskers(ax, np.array(FACTORS) * 1.05 ** (i - 2), row["losses"], **look_of(row["method"]))
        scheme = grid(ax)
        ax.set(xscale="log", xlabel="learning rate over the tuned one")
        ax.set_ylim(near_the_best([loss for row in rows for loss in row["losses"]], far=1.0))
        ax.set_xticks(FACTORS, [_factor(f) if math.log2(f) % 2 == 0 else "" for f in FACTORS])
        ax.minorticks_off()
        ax.set_title(f"T = {steps}", color=scheme.ink, fontsize=9)
    axes[0].set_ylabel("validation loss")
    legend_below(fig, axes[0], len(METHODS))
    return fig


CLAIM = Claim(
    13,
    "learning_rate",
    "Stable in the learning rate",
    "Sophia tolerates a wider range of learning rates, where AdamW diverges.",
    "Liu et al. 2023, Figure (b) of the analysis: at 355M without a trick in attention AdamW at 3e-4 diverges, "
    "Sophia does not.",
    "The tuned learning rate times 1/16 to 16, all else as tuned, at three run lengths. How many octaves stay within a "
    "tenth of a nat of the best: more than AdamW's? With ≥ where the loss is still so near at the end of what was "
    "tried. A run that diverged counts as 10 nats. As settings are given, intervals hold seeds only, and not how well "
    "a method happened to be tuned.",
    "AdamW diverges where Sophia does not",
    "short warm-ups make Sophia diverge (Wen et al. 2025)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Loss by learning rate. What lies above a frame is more than a nat above the best.",
    needs,
)
