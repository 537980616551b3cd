"""Claim 11: without clipping Sophia is unstable, and with clipping alone it is sign momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, above, answer, number, plain, spread
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import LOST, Table
from sophia_ref.claims.statistics import difference, mean
from sophia_ref.claims.tuning import Need, results, text_arm, tuned

SOPHIAS = ("SophiaH", "SophiaG")
FAR = 3.0  # nats above the best trial; what is further is drawn where those are that diverged
ABLATED = {"": "clipped", "/clip=off": "unclipped", "/clip=off/floor": "unclipped, floor tuned"}
METHODS = (*(base + option for base in SOPHIAS for option in ABLATED), "Signum")


def needs(budget: Budget) -> list[Need]:
    return [Need(text_arm(budget, method, steps)) for steps in budget.ablated for method in METHODS]


def measure(table: Table, budget: Budget) -> Numbers:
    rows = []
    for steps in budget.ablated:
        arms = {method: text_arm(budget, method, steps) for method in METHODS}
        found = {method: tuned(table, arm, budget.seeds) for method, arm in arms.items()}
        for method, arm in arms.items():
            rows.append(
                {
                    "method": method,
                    "steps": steps,
                    "loss": mean(found[method]),
                    "minus_clipped": difference(found[method], found[method.split("/")[0]]),
                    "minus_signum": difference(found[method], found["Signum"]),
                    "diverged": sum(run.diverged for run in results(table, arm, budget.seeds)),
                    "trials_diverged": sum(table[spec].diverged for spec in arm.tuning()),
                    "trials": found[method].scores,
                }
            )
    return plain({"rows": rows, "lengths": budget.ablated, "seeds": len(budget.seeds)})


def _row(numbers: Numbers, method: str, steps: int) -> Any:
    return next(row for row in numbers["rows"] if (row["method"], row["steps"]) == (method, steps))


def worse(unclipped: Any, clipped: Any) -> str:
    """Whether a rule without clipping is: YES where more seeds diverge, or where its loss is above."""
    return YES if unclipped["diverged"] > clipped["diverged"] else above(unclipped["minus_clipped"])


def verdict(numbers: Numbers) -> Verdict:
    lengths, last = numbers["lengths"], numbers["lengths"][-1]
    answers, words = [], []
    for option, name in list(ABLATED.items())[1:]:
        rows = [(_row(numbers, base + option, t), _row(numbers, base, t)) for base in SOPHIAS for t in lengths]
        found = [worse(*pair) for pair in rows]
        more = sum(row["diverged"] > clipped["diverged"] for row, clipped in rows)
        answers += found
        words.append(
            f"Sophia {name} is worse than clipped in {found.count(YES)} of {len(found)} comparisons, in {more} as more "
            f"seeds diverged, and better in {found.count(NO)}. "
        )
    signs = [answer(_row(numbers, base, t)["minus_signum"]) for base in SOPHIAS for t in lengths]
    apart = ", ".join(f"{label(base)} {spread(_row(numbers, base, last)['minus_signum'], '+.3f')}" for base in SOPHIAS)
    why = "".join(words) + (
        f"Clipping alone, sign momentum, is worse than Sophia in {signs.count(YES)} of {len(signs)} and better in "
        f"{signs.count(NO)}; at T = {last} Sophia's loss minus its: {apart} nats."
    )
    lengths = ", ".join(map(str, lengths))
    return Verdict([*answers, *signs], why, f"T = {lengths} steps; the gradient's norm is clipped at 1 throughout")


def headline(numbers: Numbers) -> str:
    last, parts = numbers["lengths"][-1], []
    for base in SOPHIAS:
        row, clipped = _row(numbers, base + "/clip=off", last), _row(numbers, base, last)
        diverges = f"diverges with {row['diverged']} of {numbers['seeds']} seeds"
        more = row["diverged"] > clipped["diverged"]
        ended = diverges if more else f"{number(row['minus_clipped'][0], '+.3f')} nats"
        parts.append(f"{label(base)} unclipped: {ended}, Signum: {spread(_above(clipped), '+.3f')} nats")
    return f"above clipped at T = {last}: " + "; ".join(parts)


def _above(clipped: Any) -> list[float]:
    """Signum's loss above that of Sophia."""
    value, low, high = clipped["minus_signum"]
    return [-value, -high, -low]


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), str(row["steps"]), spread(row["loss"]), spread(row["minus_clipped"], "+.3f"),
         spread(row["minus_signum"], "+.3f"), f"{row['diverged']} of {numbers['seeds']}",
         f"{row['trials_diverged']} of {len(row['trials'])}"]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("rule", "T", "validation loss", "minus clipped", "minus Signum", "seeds diverged", "trials diverged")
    return [("With and without clipping", header, rows)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, look_of
    from sophia_ref.plots.style import figure

    fig = figure(10.5, 3.6, dark)
    axes = fig.subplots(1, len(numbers["lengths"]), sharey=True)
    for ax, steps in zip(axes, numbers["lengths"], strict=True):
        scheme = grid(ax)
        rows = [_row(numbers, method, steps) for method in METHODS]
        known = [x for row in rows for x in row["trials"] if x < LOST] or [LOST]
        end = min(max(known), min(known) + FAR) + 0.2
        for i, row in enumerate(rows):
            look, losses = look_of(row["method"]), np.minimum(np.sort(row["trials"]), end)
            ax.plot(losses, i + np.linspace(-0.3, 0.3, len(losses)), linestyle="none", marker=look["marker"],
                    color=look["color"], markersize=4, alpha=0.8)  # fmt: skip
        ax.axvline(end, color=scheme.quiet, linewidth=0.8, linestyle=":")
        ax.set_xlabel("loss of each trial")
        ax.set_title(f"T = {steps}", color=scheme.ink, fontsize=9)
    names = [label(method).replace(", with", ",\nwith") for method in METHODS]
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    return fig


CLAIM = Claim(
    11,
    "clipping_ablation",
    "Without clipping it is unstable",
    "Without clipping the preconditioned step is unstable; clipping alone is sign momentum, and worse than Sophia.",
    "Liu et al. 2023, ablations (from memory).",
    "Sophia-H and Sophia-G clipped, unclipped to the letter (the denominator is at least 1e-12), and unclipped "
    "with that floor tuned from 1e-4 to 0.1, beside Signum, which is the rule with every coordinate clipped. Each "
    "tuned with as many trials for each of three run lengths. Judged are both halves: that a rule without clipping is "
    "worse than with it, by its loss or because more seeds diverge, and that Sophia is better than Signum. A run that "
    f"diverged counts as {LOST:g} nats, and so does one that stays finite and ends higher.",
    "unclipped is unstable; Sophia beats sign momentum (from memory)",
    "Signum recovers Adam (Zhao et al. 2024)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Every trial of the tuning, sorted, by rule and run length. On the dotted line: diverged, or far above the best.",
    needs,
)
