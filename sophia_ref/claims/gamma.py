"""Claim 14: sensitivity to gamma and beta2, and the rule that 10 to 50% of the coordinates should not be clipped."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, combine, number, plain, spread
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, mean_over_seeds
from sophia_ref.claims.tuning import Budget, Change, Need, shown, text_arm

SOPHIAS = ("SophiaH", "SophiaG")
GAMMAS = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0)  # over the tuned one
MEMORIES = (0.1, 0.01, 0.001)  # 1 - beta2: the paper's 0.9, 0.99, 0.999
RULE = (0.1, 0.5)
FLAT, PRICE = 0.03, 0.02  # nats


def needs(budget: Budget) -> list[Need]:
    changes = tuple(_change(g, memory) for memory in MEMORIES for g in GAMMAS)
    return [Need(text_arm(budget, method), changes) for method in SOPHIAS]


def _change(factor: float, memory: float) -> Change:
    return Change(times=(("gamma", factor),), to=(("1-beta2", memory),))


def measure(table: Table, budget: Budget) -> Numbers:
    rows = []
    for method in SOPHIAS:
        arm = text_arm(budget, method)
        gamma = dict(arm.best(table))["gamma"]
        for memory in MEMORIES:
            for factor in GAMMAS:
                runs = [table[spec] for spec in shown(table, arm, budget.seeds, _change(factor, memory))]
                shares = [[np.nan if x is None else x for x in run.unclipped] for run in runs]
                rows.append(
                    {
                        "method": method,
                        "beta2": 1 - memory,
                        "gamma": gamma * factor,
                        "loss": bootstrap([[run.loss for run in runs]], mean_over_seeds),
                        "unclipped": np.mean(shares),  # over the run, as the rule means it
                    }
                )
    return plain({"rows": rows, "steps": budget.lengths[1]})


def _losses(rows: list[Any]) -> Any:
    return np.array([np.inf if row["loss"][0] is None else row["loss"][0] for row in rows])


def judged(numbers: Numbers, method: str) -> dict[str, Any]:
    """best: of all settings. flat: by how much the loss differs over a factor of 4 in gamma around the best. inside,
    outside: the mean loss of the settings that obey the rule and of those that do not. price: what obeying the rule
    costs against the best."""
    rows = [row for row in numbers["rows"] if row["method"] == method]
    losses = _losses(rows)
    best = rows[int(np.argmin(losses))]
    near = [r for r in rows if r["beta2"] == best["beta2"] and 0.24 < r["gamma"] / best["gamma"] < 4.1]
    obey = np.array([r["unclipped"] is not None and RULE[0] <= r["unclipped"] <= RULE[1] for r in rows])
    inside = losses[obey].min(initial=np.inf)
    return {
        "best": best,
        "flat": float(_losses(near).max() - losses.min()),
        "obey": int(obey.sum()),
        "of": len(rows),
        "price": float(inside - losses.min()),
        "inside": float(np.median(losses[obey])) if obey.any() else np.inf,
        "outside": float(np.median(losses[~obey])) if not obey.all() else np.inf,
    }


def verdict(numbers: Numbers) -> Verdict:
    answers, words = [], []
    for method in SOPHIAS:
        found = judged(numbers, method)
        answers += [YES if found["flat"] <= FLAT else NO, YES if found["price"] <= PRICE else NO]
        answers += [YES if found["inside"] < found["outside"] else NO]
        words.append(
            f"{label(method)}: a factor of 4 in gamma costs {number(found['flat'])} nats; the best setting that "
            f"obeys the rule, of {found['obey']} in {found['of']}, is {number(found['price'])} from the best of "
            f"all, which has {number(found['best']['unclipped'], '.0%')} unclipped; the median is "
            f"{number(found['inside'])} inside the rule and {number(found['outside'])} outside"
        )
    return Verdict(combine(answers), "; ".join(words) + ".", f"{numbers['steps']} steps; the rest as tuned")


def headline(numbers: Numbers) -> str:
    return "; ".join(
        f"{label(m)}: x4 in gamma {number(judged(numbers, m)['flat'])}, best at beta2 "
        f"{judged(numbers, m)['best']['beta2']:g}"
        for m in SOPHIAS
    )


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [
            label(row["method"]),
            f"{row['beta2']:g}",
            f"{row['gamma']:.3g}",
            spread(row["loss"]),
            number(row["unclipped"], ".0%"),
        ]
        for row in numbers["rows"]
    ]
    return [
        ("Loss and unclipped share", ("method", "beta2", "gamma", "validation loss", "unclipped over the run"), rows)
    ]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import CYCLE, MARKERS, grid, legend, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(9.5, 6, dark)
    axes = fig.subplots(2, 2, sharey="row")
    for (left, right), method in zip(axes, SOPHIAS, strict=True):
        for i, memory in enumerate(MEMORIES):
            rows = [r for r in numbers["rows"] if r["method"] == method and abs(r["beta2"] + memory - 1) < 1e-9]
            look = {"color": CYCLE[i], "marker": MARKERS[i], "label": rf"$\beta_2$ = {1 - memory:g}"}
            whiskers(left, [r["gamma"] for r in rows], [r["loss"] for r in rows], **look)
            shares = [np.nan if r["unclipped"] is None else r["unclipped"] for r in rows]
            whiskers(right, shares, [r["loss"] for r in rows], **{**look, "linestyle": "none"})
        right.axvspan(*RULE, color="#8b919c", alpha=0.15, linewidth=0)
        for ax in (left, right):
            scheme = grid(ax)
            ax.set_title(label(method), color=scheme.ink, fontsize=9)
        left.set(xscale="log", xlabel=r"$\gamma$", ylabel="validation loss")
        right.set_xlabel("unclipped share over the run; shaded, the rule")
        right.xaxis.set_major_formatter("{x:.0%}")
    legend(axes[0, 0])
    return fig


CLAIM = Claim(
    14,
    "gamma",
    "Insensitive to gamma and beta2",
    "The loss is flat in gamma and beta2, and gamma is found by keeping 10 to 50% of the coordinates unclipped.",
    "Liu et al. 2023, Figure (c) of the analysis at 30M, over rho and beta2: 3.373 to 3.39; the rule from memory.",
    "Gamma from 1/64 to 16 times the tuned one, beta2 of 0.9, 0.99 and 0.999, all else as tuned. The unclipped "
    f"share is the mean over the run. Asked: is the loss flat within {FLAT} over a factor of 4 in gamma around the "
    f"best; does some setting that obeys the rule come within {PRICE} of the best; are those that obey better than "
    "those that do not.",
    "flat within 0.02 over a factor of 4 in rho",
    "flat over a factor of 4 in gamma (Wen et al. 2025)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Left: loss by gamma. Right: the same runs by the share of coordinates that was not clipped.",
    needs,
)
