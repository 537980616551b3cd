"""Claim 12: Sophia hardly ever needs its gradient's norm clipped, AdamW most of the time."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, above, answer, number, plain, spread
from sophia_ref.claims.half_the_steps import METHODS
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import CLIP_NORM, Table
from sophia_ref.claims.statistics import Tuned, difference, mean
from sophia_ref.claims.tuning import Need, results, text_arm

SOPHIAS = ("SophiaH", "SophiaG")
HARDLY, MOSTLY = 0.05, 0.5  # shares of the steps: hardly ever, and most of the time


def needs(budget: Budget) -> list[Need]:
    return [Need(text_arm(budget, method, steps)) for method in METHODS for steps in budget.lengths]


def measure(table: Table, budget: Budget) -> Numbers:
    rows = []
    for steps in budget.lengths:
        arms = {method: text_arm(budget, method, steps) for method in METHODS}
        runs = {method: results(table, arm, budget.seeds) for method, arm in arms.items()}
        # of given settings: the luck of the tuning is in the spread over its trials
        shares = {method: Tuned(np.array([run.norm_clipped for run in own])) for method, own in runs.items()}
        for method, arm in arms.items():
            trials = [run.norm_clipped for run in map(table.__getitem__, arm.tuning()) if not run.diverged]
            rows.append(
                {
                    "method": method,
                    "steps": steps,
                    "share": np.clip(mean(shares[method]), 0, 1),
                    "minus_adamw": difference(shares[method], shares["AdamW"]),
                    "trials": np.quantile(trials, [0, 0.5, 1]) if trials else [None] * 3,
                    "norms": np.array([run.norms for run in runs[method]], dtype=np.float64).mean(axis=0),
                }
            )
    return plain({"rows": rows, "lengths": budget.lengths})


def verdict(numbers: Numbers) -> Verdict:
    sophia = [row for row in numbers["rows"] if row["method"] in SOPHIAS]
    hardly = [answer(row["share"], HARDLY) for row in sophia]
    mostly = [above(row["share"], MOSTLY) for row in numbers["rows"] if row["method"] == "AdamW"]
    less = [answer(row["minus_adamw"]) for row in sophia]
    last = numbers["lengths"][-1]
    rows = [row for row in numbers["rows"] if row["steps"] == last]
    shares = ", ".join(f"{label(row['method'])} {number(row['share'][0], '.1%')}" for row in rows)
    known = [row for row in rows if row["trials"][0] is not None]
    ranges = ", ".join(f"{label(row['method'])} {_range(row)}" for row in known)
    widest = max((row["trials"][2] - row["trials"][0] for row in known), default=0.0)
    why = (
        f"Sophia's gradient is clipped in less than {HARDLY:.0%} of the steps in {hardly.count(YES)} of {len(hardly)} "
        f"comparisons and in more in {hardly.count(NO)}; AdamW's in more than {MOSTLY:.0%} in {mostly.count(YES)} of "
        f"{len(mostly)} and in less in {mostly.count(NO)}. Sophia's is clipped less often than AdamW's in "
        f"{less.count(YES)} of {len(less)} and more often in {less.count(NO)}. Of {last} steps: {shares}. "
        + (
            f"The share depends on the settings{' more than on the method' if widest > _between(rows) else ''}: over "
            f"the trials of tuning at T = {last} that did not diverge it runs, least to most, {ranges}."
            if widest > HARDLY
            else f"Over the trials of tuning at T = {last} it differs by {widest:.1%} at most."
        )
    )
    lengths = ", ".join(map(str, numbers["lengths"]))
    return Verdict([*hardly, *mostly, *less], why, f"T = {lengths} steps, the norm clipped at {CLIP_NORM:g}")


def _range(row: Any) -> str:
    least, _, most = row["trials"]
    return f"{number(least, '.1%')} to {number(most, '.1%')}"


def _between(rows: list[Any]) -> float:
    """By how much the shares of methods differ at most."""
    shares = [float(row["share"][0]) for row in rows]
    return max(shares) - min(shares)


def headline(numbers: Numbers) -> str:
    last = numbers["lengths"][-1]
    rows = [row for row in numbers["rows"] if row["steps"] == last and row["method"] in ("AdamW", *SOPHIAS)]
    return f"at T = {last}: " + ", ".join(f"{label(row['method'])} {number(row['share'][0], '.1%')}" for row in rows)


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(row["method"]), str(row["steps"]), spread(row["share"], ".1%"), spread(row["minus_adamw"], "+.1%"),
         " / ".join(number(x, ".1%") for x in row["trials"]), " / ".join(number(x, ".2f") for x in row["norms"])]
        for row in numbers["rows"]
    ]  # fmt: skip
    header = ("method", "T", "steps clipped", "minus AdamW", "over the trials: least / median / most",
              "norm: tenth / median / nine tenths")  # fmt: skip
    return [(f"How often the gradient is longer than {CLIP_NORM:g}", header, rows)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, legend_below, log_ticks, look_of, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(10.5, 3.6, dark)
    left, middle, right = fig.subplots(1, 3)
    for i, method in enumerate(METHODS):
        rows = [row for row in numbers["rows"] if row["method"] == method]
        steps = [row["steps"] * 1.07 ** (i - 2) for row in rows]
        whiskers(left, steps, [row["share"] for row in rows], **look_of(method))
        trials = [(row["trials"][1], row["trials"][0], row["trials"][2]) for row in rows]
        whiskers(middle, steps, trials, **look_of(method))
        norms = [(row["norms"][1], row["norms"][0], row["norms"][2]) for row in rows]
        whiskers(right, steps, norms, **look_of(method))
    for ax in (left, middle, right):
        scheme = grid(ax)
        ax.set_xlabel("steps of the run")
        log_ticks(ax, numbers["lengths"])
    left.set_ylabel(f"share of steps with a norm above {CLIP_NORM:g}")
    middle.set_ylabel("the same over the trials of tuning")
    for ax in (left, middle):
        ax.yaxis.set_major_formatter("{x:.0%}")
        for share in (HARDLY, MOSTLY):
            ax.axhline(share, color=scheme.quiet, linewidth=0.8, linestyle=":")
    right.set_ylabel("norm of the gradient")
    right.axhline(CLIP_NORM, color=scheme.quiet, linewidth=0.8, linestyle=":")
    legend_below(fig, left, len(METHODS))
    return fig


CLAIM = Claim(
    12,
    "norm_clipping",
    "The gradient's norm is rarely clipped",
    "With Sophia the gradient's norm is hardly ever clipped, with AdamW most of the time.",
    "Liu et al. 2023, Figure (a) of the analysis: at 125M AdamW about 72K of 100K steps, Lion 10K, Sophia about 0.",
    f"Counted in the runs of claim 1. Hardly ever is taken as less than {HARDLY:.0%} of the steps, most of the time as "
    f"more than {MOSTLY:.0%}. Intervals hold the luck of the seeds, with the best settings of each method; other "
    "settings have other shares, and their range is that over the trials of tuning that did not diverge.",
    "AdamW about 72%, Lion 10%, Sophia 0%",
    "none that we know of",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Left: how often the norm was above 1. Middle: the same over the trials of tuning, their median and range. Right: "
    "the norm, its median and middle four fifths over the run.",
    needs,
)
