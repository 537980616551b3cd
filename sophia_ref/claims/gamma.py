"""Claim 14: sensitivity to gamma and beta2, and the rule that 10 to 50% of the coordinates should not be clipped."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, answer, number, plain, spread
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import interval, mean
from sophia_ref.claims.tuning import Change, Need, results, text_arm, tuned

Array = Any
SOPHIAS = ("SophiaH", "SophiaG")
GAMMAS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0)  # over the tuned one
MEMORIES = (0.1, 0.01, 0.001)  # 1 - beta2: the paper's 0.9, 0.99, 0.999
RULE = (0.1, 0.5)
FLAT, PRICE = 0.03, 0.02  # nats


def needs(budget: Budget) -> list[Need]:
    changes = tuple(_change(g, memory) for memory in MEMORIES for g in GAMMAS)
    return [Need(text_arm(budget, method, steps), changes) for method in SOPHIAS for steps in budget.ablated]


def _change(factor: float, memory: float) -> Change:
    return Change(times=(("gamma", factor),), to=(("1-beta2", memory),))


def measure(table: Table, budget: Budget) -> Numbers:
    rows, judged = [], []
    for arm, changes in needs(budget):
        own = [tuned(table, arm, budget.seeds, change) for change in changes]
        runs = [results(table, arm, budget.seeds, change) for change in changes]
        shares = [float(np.mean([run.shares for run in each])) for each in runs]  # over the run, as the rule means it
        gamma = dict(arm.best(table))["gamma"]
        rows += [
            {
                "method": arm.method,
                "steps": arm.steps,
                "beta2": 1 - memory,
                "gamma": gamma * factor,
                "loss": mean(own[i * len(GAMMAS) + j]),
                "unclipped": shares[i * len(GAMMAS) + j],
            }
            for i, memory in enumerate(MEMORIES)
            for j, factor in enumerate(GAMMAS)
        ]
        judged.append({"method": arm.method, "steps": arm.steps, **compared(own, np.array(shares))})
    return plain({"rows": rows, "judged": judged, "lengths": budget.ablated})


def compared(own: Any, shares: Array) -> dict[str, Any]:
    """What is asked of the settings of one arm, ordered by beta2 and then gamma.

    best: of all settings, its place. edge: whether it has the least or the greatest gamma, and so one neighbour. flat:
    by how much the loss differs over a factor of 4 in gamma to both sides of the best. memory: by how much the best
    over gamma differs between values of beta2. obey: how many settings obey the rule. price: what the best of those
    costs against the best of all. inside: the median loss of those above that of the others. None where none do, or
    all.
    """
    m, n = len(MEMORIES), len(GAMMAS)
    best = int(np.argmin([each.losses.mean() for each in own]))
    place = best % n
    near = [best + step for step in (-1, 0, 1) if 0 <= place + step < n]
    obey = (RULE[0] <= shares) & (shares <= RULE[1])  # not where it is nan: some run was lost

    def best_by_memory(means: Array) -> Array:
        return means.reshape(-1, m, n).min(axis=2)

    return {
        "best": best,
        "edge": place in (0, n - 1),
        "flat": interval(own, lambda means: means[:, near].max(axis=1) - means.min(axis=1)),
        "memory": interval(own, lambda means: np.ptp(best_by_memory(means), axis=1)),
        "obey": int(obey.sum()),
        "price": interval(own, lambda means: means[:, obey].min(axis=1) - means.min(axis=1)) if obey.any() else None,
        "inside": interval(own, lambda means: np.median(means[:, obey], axis=1) - np.median(means[:, ~obey], axis=1))
        if obey.any() and not obey.all()
        else None,
    }


def answers_of(row: Any) -> list[str]:
    """Flat in gamma, flat in beta2, the rule costs nothing, and those that obey it are better; a rule that no setting
    obeys finds none."""
    return [
        answer(row["flat"], FLAT),
        answer(row["memory"], FLAT),
        answer(row["price"], PRICE) if row["price"] else NO,
        answer(row["inside"] or [None] * 3),
    ]


def verdict(numbers: Numbers) -> Verdict:
    answers = [answers_of(row) for row in numbers["judged"]]
    of = len(MEMORIES) * len(GAMMAS)
    parts = []
    for name, own in zip(
        (f"flat within {FLAT} nats over a factor of 4 in gamma", f"flat within {FLAT} in beta2",
         f"a setting that obeys the rule within {PRICE} of the best", "those that obey better than the others"),
        zip(*answers, strict=True), strict=True,
    ):  # fmt: skip
        parts.append(f"{name}: {own.count(YES)} yes, {own.count(NO)} no")
    obey = ", ".join(f"{row['obey']} ({label(row['method'])}, T = {row['steps']})" for row in numbers["judged"])
    why = f"Of {len(answers)} cases each, {'; '.join(parts)}. Of {of} settings, so many obey: {obey}."
    edges = [f"{label(row['method'])} at T = {row['steps']}" for row in numbers["judged"] if row["edge"]]
    if edges:
        why += (
            f" The best gamma is the first or last that was tried, and compared to one side only: {', '.join(edges)}."
        )
    lengths = ", ".join(map(str, numbers["lengths"]))
    regime = f"T = {lengths} steps; the rest as tuned, intervals over seeds and not over the luck of the tuning"
    return Verdict([each for own in answers for each in own], why, regime)


def _best(numbers: Numbers, row: Any) -> Any:
    return [each for each in numbers["rows"] if _arm(each) == _arm(row)][row["best"]]


def _arm(row: Any) -> Any:
    return row["method"], row["steps"]


def headline(numbers: Numbers) -> str:
    last = numbers["lengths"][-1]
    rows = [row for row in numbers["judged"] if row["steps"] == last]
    return f"nats lost at T = {last}: " + "; ".join(
        f"{label(row['method'])} {spread(row['flat'])} over a factor of 4 in gamma, {spread(row['memory'])} over beta2"
        for row in rows
    )


def tables(numbers: Numbers) -> list[TableOf]:
    first = [
        [
            label(row["method"]), str(row["steps"]), f"{_best(numbers, row)['beta2']:g}",
            f"{_best(numbers, row)['gamma']:.3g}" + "*" * row["edge"], number(_best(numbers, row)["unclipped"], ".0%"),
            spread(row["flat"]), spread(row["memory"]), str(row["obey"]),
            spread(row["price"]) if row["price"] else "none obeys", spread(row["inside"] or [None] * 3, "+.3f"),
        ]
        for row in numbers["judged"]
    ]  # fmt: skip
    header = ("method", "T", "best beta2", "best gamma", "its unclipped share", "x4 in gamma", "between beta2",
              "settings that obey", "best of them minus best", "median of them minus others")  # fmt: skip
    rows = [
        [label(row["method"]), str(row["steps"]), f"{row['beta2']:g}", f"{row['gamma']:.3g}", spread(row["loss"]),
         number(row["unclipped"], ".0%")]
        for row in numbers["rows"]
    ]  # fmt: skip
    return [
        ("What it costs, nats; with a star, the best gamma is at the end of what was tried", header, first),
        ("Loss and unclipped share",
         ("method", "T", "beta2", "gamma", "validation loss", "unclipped over the run"), rows),
    ]  # fmt: skip


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import CYCLE, MARKERS, grid, legend_below, near_the_best, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(10.5, 6, dark)
    axes = fig.subplots(len(SOPHIAS), len(numbers["lengths"]), squeeze=False)
    for line, method in zip(axes, SOPHIAS, strict=True):
        for ax, steps in zip(line, numbers["lengths"], strict=True):
            scheme = grid(ax)
            own = [r for r in numbers["rows"] if _arm(r) == (method, steps)]
            for i, memory in enumerate(MEMORIES):
                rows = own[i * len(GAMMAS) : (i + 1) * len(GAMMAS)]
                obey = [r for r in rows if r["unclipped"] is not None and RULE[0] <= r["unclipped"] <= RULE[1]]
                look: dict[str, Any] = {
                    "color": CYCLE[i],
                    "marker": MARKERS[i],
                    "label": rf"$\beta_2$ = {1 - memory:g}",
                }
                hollow = {**look, "markerfacecolor": scheme.paper}
                whiskers(ax, [r["gamma"] for r in rows], [r["loss"] for r in rows], **hollow)
                filled = {**look, "label": "_", "linestyle": "none", "markersize": 5}
                ax.plot([r["gamma"] for r in obey], [r["loss"][0] for r in obey], **filled)
            ax.set(xscale="log", ylim=near_the_best([r["loss"] for r in own]))
            ax.set_title(f"{label(method)}, T = {steps}", color=scheme.ink, fontsize=9)
        line[0].set_ylabel("validation loss")
    for ax in axes[-1]:
        ax.set_xlabel(r"$\gamma$")
    legend_below(fig, axes[0, 0], len(MEMORIES))
    return fig


CLAIM = Claim(
    14,
    "gamma",
    "Insensitive to gamma and beta2",
    "The loss is flat in gamma and beta2, and gamma is found by keeping 10 to 50% of the coordinates unclipped.",
    "Liu et al. 2023, Figure (c) of the analysis at 30M, over rho and beta2: 3.373 to 3.39; the rule from memory.",
    "Gamma from 1/64 to 16 times the tuned one, beta2 of 0.9, 0.99 and 0.999, all else as tuned, at three run lengths. "
    f"The unclipped share is the mean over the run. Asked: is the loss flat within {FLAT} over a factor of 4 in gamma "
    f"to both sides of the best; does the best over gamma differ by no more than {FLAT} between values of beta2; does "
    f"some setting that obeys the rule come within {PRICE} of the best; are those that obey better than those that do "
    "not, in the median. A run that diverged counts as 10 nats. As settings are given, intervals hold seeds only.",
    "flat within 0.02 over a factor of 4 in rho and over beta2; the rule (from memory)",
    "flat over a factor of 4 in gamma (Wen et al. 2025)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Loss by gamma. Filled marks obey the rule: 10 to 50% of the coordinates were not clipped. What "
    "lies above a frame is more than half a nat above the best.",
    needs,
)
