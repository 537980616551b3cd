"""Claim 11: without clipping Sophia is unstable, and with clipping alone it is sign momentum."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import (
    NO,
    OPEN,
    YES,
    Claim,
    Numbers,
    TableOf,
    Verdict,
    answer,
    combine,
    number,
    plain,
    spread,
)
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, difference, mean_over_seeds
from sophia_ref.claims.tuning import Budget, Need, shown, text_arm

SOPHIAS = ("SophiaH", "SophiaG")
FAR = 3.0  # nats above the best trial; what is further is drawn as if it had diverged
ABLATED = {"": "clipped", "/clip=off": "unclipped", "/clip=off/floor": "unclipped, floor tuned"}
METHODS = (*(base + option for base in SOPHIAS for option in ABLATED), "Signum")


def needs(budget: Budget) -> list[Need]:
    return [Need(text_arm(budget, method)) for method in METHODS]


def measure(table: Table, budget: Budget) -> Numbers:
    losses = {
        m: np.array([table[spec].loss for spec in shown(table, text_arm(budget, m), budget.seeds)]) for m in METHODS
    }
    rows = []
    for method, own in losses.items():
        base = method.split("/")[0]
        scores = text_arm(budget, method).scores(table)
        rows.append(
            {
                "method": method,
                "loss": bootstrap([own], mean_over_seeds),
                "minus_clipped": difference(own, losses[base]),
                "minus_signum": difference(own, losses["Signum"]),
                "diverged": int(np.isinf(own).sum()),
                "trials_diverged": int(np.isinf(scores).sum()),
                "trials": scores,
            }
        )
    return plain({"rows": rows, "steps": budget.lengths[1], "seeds": len(budget.seeds)})


def _row(numbers: Numbers, method: str) -> Any:
    return next(row for row in numbers["rows"] if row["method"] == method)


def verdict(numbers: Numbers) -> Verdict:
    answers, words = [], []
    for base in SOPHIAS:
        for option in ("/clip=off", "/clip=off/floor"):
            row = _row(numbers, base + option)
            if row["diverged"] or row["loss"][0] is None:
                answers.append(YES)
                words.append(
                    f"{label(base)} {ABLATED[option]} diverged with {row['diverged']} of {numbers['seeds']} seeds"
                )
                continue
            # YES where the unclipped rule is worse
            answers.append({YES: NO, NO: YES, OPEN: OPEN}[answer(row["minus_clipped"])])
            words.append(f"{label(base)} {ABLATED[option]} is {spread(row['minus_clipped'], '+.3f')} from clipped")
    signs = ", ".join(f"{label(base)} {spread(_row(numbers, base)['minus_signum'], '+.3f')}" for base in SOPHIAS)
    why = (
        "; ".join(words)
        + f". What curvature adds to clipping alone, sign momentum: {signs} nats (below zero is better)."
    )
    return Verdict(combine(answers), why, f"{numbers['steps']} steps; the gradient's norm is clipped at 1 throughout")


def headline(numbers: Numbers) -> str:
    parts = []
    for base in SOPHIAS:
        row = _row(numbers, base + "/clip=off")
        ended = "diverges" if row["loss"][0] is None else f"{number(row['minus_clipped'][0], '+.3f')} nats"
        parts.append(f"{label(base)} unclipped: {ended}")
    return ", ".join(parts)


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), spread(row["loss"]), spread(row["minus_clipped"], "+.3f"),
         spread(row["minus_signum"], "+.3f"), f"{row['diverged']} of {numbers['seeds']}",
         f"{row['trials_diverged']} of {len(row['trials'])}"]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("rule", "validation loss", "minus clipped", "minus Signum", "seeds diverged", "trials diverged")
    return [("With and without clipping", header, rows)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, look_of
    from sophia_ref.plots.style import figure

    fig = figure(9, 3.6, dark)
    ax = fig.subplots()
    scheme = grid(ax)
    known = [x for row in numbers["rows"] for x in row["trials"] if x is not None]
    top = min(max(known, default=1.0), min(known, default=1.0) + FAR) + 0.2
    for i, row in enumerate(numbers["rows"]):
        look = look_of(row["method"])
        heights = sorted(top if x is None else min(x, top) for x in row["trials"])
        ax.plot(i + np.linspace(-0.25, 0.25, len(heights)), heights, linestyle="none", marker=look["marker"],
                color=look["color"], markersize=4, alpha=0.8)  # fmt: skip
    ax.axhline(top, color=scheme.quiet, linewidth=0.8, linestyle=":")
    ax.annotate("diverged, or far above", (0.995, top), xycoords=("axes fraction", "data"), ha="right", va="bottom",
                fontsize=8, color=scheme.quiet)  # fmt: skip
    names = [label(row["method"]).replace(", ", ",\n") for row in numbers["rows"]]
    ax.set_xticks(range(len(names)), names)
    ax.set_ylabel("loss of each trial")
    return fig


CLAIM = Claim(
    11,
    "clipping_ablation",
    "Without clipping it is unstable",
    "Without clipping the preconditioned step is unstable; clipping alone is sign momentum, and worse than Sophia.",
    "Liu et al. 2023, ablations (from memory).",
    "Sophia-H and Sophia-G clipped, unclipped to the letter (the denominator is at least 1e-12), and unclipped "
    "with that floor tuned from 1e-4 to 0.1, beside Signum, which is the rule with every coordinate clipped. Each "
    "tuned with as many trials.",
    "unclipped is unstable; Sophia beats sign momentum",
    "Signum recovers Adam (Zhao et al. 2024)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Every trial of the tuning, sorted, by rule.",
    needs,
)
