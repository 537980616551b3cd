"""Claim 16: the Hessian's diagonal is spread over orders of magnitude."""

from __future__ import annotations

from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, number, plain
from sophia_ref.claims.tasks import make_task

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BINS = np.linspace(-10, 2, 61)  # of log10 of the positive entries
WIDE = 2.0  # decades from the fifth to the ninety-fifth of a hundred


def measure(table: Any, budget: Budget) -> Numbers:
    """The exact diagonal, by as many Hessian-vector products as there are parameters, at the start and at the
    end of a training with AdamW."""
    task = make_task("text", budget.model, min(budget.batch, 8)).problem
    stages = budget.of((0, 1600), (0, 100), (0, 10))
    opt = sr.AdamW(sr.cosine(1e-2, max(stages), warmup=max(stages) // 10), beta1=0.9, beta2=0.95, weight_decay=0.1)
    thetas = {0: task.init(np.random.default_rng(0))}

    def look(t: int, step: Any, oracle: Any) -> None:
        if t in stages:
            thetas[t] = step.theta

    sr.run(task, opt, max(stages), theta0=thetas[0], clip_norm=1.0, record=max(stages), callback=look)
    batch = task.batch(np.random.default_rng(1), ())
    rows = []
    for stage in stages:
        theta = thetas[stage]
        chosen = np.arange(theta.size)
        if budget.name != "full":  # a sample of the entries
            chosen = np.random.default_rng(2).choice(theta.size, min(theta.size, 1500), replace=False)
        h = _diagonal(task, theta, batch, chosen)
        positive = h[h > 0]
        logs = np.log10(positive)
        layers = {}
        for name, place in task.model.layout.slices.items():
            own = h[(chosen >= place.start) & (chosen < place.stop)]
            layers[name] = [float(np.median(own)) if len(own) else np.nan, len(own)]
        rows.append(
            {
                "stage": stage,
                "entries": len(h),
                "positive": (h > 0).mean(),
                "negative": (h < 0).mean(),
                "zero": (h == 0).mean(),
                "quantiles": np.quantile(positive, QUANTILES),
                "decades": np.quantile(logs, 0.95) - np.quantile(logs, 0.05),
                "histogram": np.histogram(logs, BINS)[0],
                "layers": layers,
            }
        )
    return plain({"rows": rows, "parameters": task.model.size})


def _diagonal(task: Any, theta: Any, batch: Any, chosen: Any) -> Any:
    """Entries of the Hessian's diagonal, in float64: the smallest lie near float32's rounding of the largest."""
    oracle = sr.Oracle(task, theta.astype(np.float64), batch)
    h = np.empty(len(chosen))
    for i, j in enumerate(chosen):
        e = np.zeros(theta.size)
        e[j] = 1.0
        h[i] = oracle.hvp(e)[j]
    return h


def verdict(numbers: Numbers) -> Verdict:
    answers = [YES if row["decades"] > WIDE else NO for row in numbers["rows"]]
    words = ", ".join(f"{number(row['decades'], '.1f')} after {row['stage']} steps" for row in numbers["rows"])
    negative = ", ".join(f"{number(row['negative'], '.0%')}" for row in numbers["rows"])
    why = f"Decades between the 5% and the 95% quantile of the positive entries: {words}. Negative are {negative}."
    return Verdict(answers, why, f"a GPT of {numbers['parameters']:,} parameters, one training, one batch")


def headline(numbers: Numbers) -> str:
    last = numbers["rows"][-1]
    return f"{number(last['decades'], '.1f')} decades, {number(last['negative'], '.0%')} negative"


def tables(numbers: Numbers) -> list[TableOf]:
    header = ("after steps", "entries", "positive", "negative", "zero", *(f"{q:.0%}" for q in QUANTILES), "decades")
    rows = [
        [str(row["stage"]), f"{row['entries']:,}", *(number(row[k], ".0%") for k in ("positive", "negative", "zero")),
         *(number(q, ".1e") for q in row["quantiles"]), number(row["decades"], ".1f")]
        for row in numbers["rows"]
    ]  # fmt: skip
    last = numbers["rows"][-1]
    layers = [[name, f"{n:,}", number(median, ".1e")] for name, (median, n) in last["layers"].items()]
    return [
        ("Quantiles of the positive entries", header, rows),
        (f"Median by tensor after {last['stage']} steps", ("tensor", "entries", "median"), layers),
    ]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import CYCLE, grid, legend
    from sophia_ref.plots.style import figure

    fig = figure(8, 3.4, dark)
    ax = fig.subplots()
    grid(ax)
    for i, row in enumerate(numbers["rows"]):
        share = np.array(row["histogram"]) / row["entries"]
        ax.stairs(share, BINS, color=CYCLE[i], linewidth=1.8, label=f"after {row['stage']} steps")
    ax.set(xlabel=r"$\log_{10}$ of the positive entries of the Hessian's diagonal", ylabel="share of all entries")
    ax.yaxis.set_major_formatter("{x:.0%}")
    legend(ax)
    return fig


CLAIM = Claim(
    16,
    "spread",
    "Curvature is spread over orders of magnitude",
    "The diagonal of a language model's Hessian is dispersed over orders of magnitude, so one step size cannot fit "
    "all.",
    "Liu et al. 2023, section 2 and its histogram of positive diagonal entries.",
    "The exact diagonal of the loss of one batch of up to 8 windows, at the start and at the end of one training with "
    "AdamW: an entry for every parameter on the full budget, for up to 1,500 drawn by chance on the others. "
    f"Reproduced means more than {WIDE:g} decades between the 5% and the 95% quantile of the positive ones, at both.",
    "a histogram over several decades",
    "none known",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Histogram of the positive entries.",
    takes=(1100, 57),
)
