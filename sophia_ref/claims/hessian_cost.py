"""Claim 5: estimating curvature the old way costs more than the work itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, combine, number, plain
from sophia_ref.claims.tasks import make_task
from sophia_ref.claims.tuning import Budget
from sophia_ref.oracle import COST_GRADIENT, COST_HVP

# name, questions to the oracle, what it is counted as in gradients for P parameters
WAYS: dict[str, tuple[Any, Callable[[int], float]]] = {
    "Hutchinson": (sr.hutchinson, lambda P: COST_HVP),
    "GNB": (sr.gnb, lambda P: COST_GRADIENT),
    "Hutchinson, 1/15 of the batch": (sr.on_part(sr.hutchinson, 1 / 15), lambda P: COST_HVP / 16),
    "GNB, half of the batch": (sr.on_part(sr.gnb, 1 / 2), lambda P: COST_GRADIENT / 2),
}
CHEAP = 0.1  # of a gradient a step


def measure(table: Any, budget: Budget) -> Numbers:
    task = make_task("text", budget.model, budget.batch).problem
    rng = np.random.default_rng(0)
    theta, batch = task.init(rng), task.batch(rng, ())
    rounds = budget.of(60, 20, 3)

    def oracle() -> sr.Oracle:
        return sr.Oracle(task, theta, batch, rng)

    gradient = _milliseconds(lambda: oracle().grad(), rounds)
    product = _milliseconds(lambda: oracle().hvp(theta), rounds)
    P = task.model.size
    ways = [{"name": "full Hessian, P products", "measured": P * product / gradient, "counted": P * COST_HVP}]
    for name, (estimator, counted) in WAYS.items():
        took = _milliseconds(partial(_ask, oracle, estimator), rounds)
        ways.append({"name": name, "measured": took / gradient, "counted": counted(P)})
    # what is extrapolated above, measured in full on a model small enough
    small = make_task("text", (8, 4, 1, 1), 2).problem
    small_theta, small_batch = small.init(rng), small.batch(rng, ())
    rows = small.model.size
    start = time.process_time()
    H = sr.Oracle(small, small_theta, small_batch).hessian()
    full = (time.process_time() - start) * 1e3
    start = time.process_time()
    np.linalg.solve(H.astype(np.float64) + np.eye(rows), np.ones(rows))
    solve = (time.process_time() - start) * 1e3
    small_gradient = _milliseconds(lambda: sr.Oracle(small, small_theta, small_batch).grad(), rounds)
    small_product = _milliseconds(lambda: sr.Oracle(small, small_theta, small_batch).hvp(small_theta), rounds)
    return plain(
        {
            "parameters": P,
            "gradient_ms": gradient,
            "ways": ways,
            "small": {"parameters": rows, "hessian": full / small_gradient,
                      "by_products": rows * small_product / small_gradient, "solve": solve / small_gradient},
        }
    )  # fmt: skip


def _ask(oracle: Callable[[], sr.Oracle], estimator: Any) -> Any:
    return oracle().curvature(estimator)


def _milliseconds(work: Any, rounds: int) -> float:
    """Processor time, the median of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append((time.process_time() - start) * 1e3)
    return float(np.median(times))


def verdict(numbers: Numbers) -> Verdict:
    full, *cheap = numbers["ways"]
    parts = [row for row in cheap if "batch" in row["name"]]
    answers = [YES if full["measured"] / 10 > 1 else NO]  # even every 10 steps
    answers += [YES if row["measured"] / 10 <= CHEAP else NO for row in parts]
    shares = ", ".join(f"{row['name']} {number(row['measured'] / 10, '.1%')}" for row in cheap)
    why = (
        f"A full Hessian costs {full['measured']:,.0f} gradients, {full['measured'] / 10:,.0f} a step when it is "
        f"taken every 10. Every 10 steps the estimates add to a gradient: {shares}."
    )
    return Verdict(combine(answers), why, f"{numbers['parameters']:,} parameters, processor time on one thread")


def headline(numbers: Numbers) -> str:
    full, *cheap = numbers["ways"]
    return f"full Hessian {full['measured']:,.0f} gradients, " + ", ".join(
        f"{row['name'].split(',')[0]} {number(row['measured'], '.2f')}" for row in cheap[:2]
    )


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [row["name"], number(row["counted"], ",.2f"), number(row["measured"], ",.2f"),
         number(1 + row["measured"], ",.2f"), number(1 + row["measured"] / 10, ",.3f")]
        for row in numbers["ways"]
    ]  # fmt: skip
    small = numbers["small"]
    checked = [
        [f"{small['parameters']:,}", number(small["hessian"], ",.0f"), number(small["by_products"], ",.0f"),
         number(small["solve"], ",.0f")]
    ]  # fmt: skip
    header = ("curvature", "counted, in gradients", "measured", "a step with it every step", "every 10")
    return [
        (f"Cost of one estimate; a gradient takes {numbers['gradient_ms']:.2f} ms", header, rows),
        (
            "The full Hessian, measured as a whole on a small model, in gradients",
            ("parameters", "all of it", "products times parameters", "solving with it"),
            checked,
        ),
    ]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import legend
    from sophia_ref.plots.style import dress, figure

    fig = figure(8.5, 3.2, dark)
    ax = fig.subplots()
    scheme = dress(ax)
    rows = numbers["ways"][::-1]
    places = np.arange(len(rows))
    for shift, every, color in ((0.2, 1, "#1f7ae0"), (-0.2, 10, "#d04a0c")):
        width = [row["measured"] / every for row in rows]
        name = "every step" if every == 1 else "every 10 steps"
        ax.barh(places + shift, width, height=0.38, color=color, label=f"curvature in {name}" if every == 1 else name)
        for place, value in zip(places + shift, width, strict=True):
            ax.annotate(f"{value:,.2g}" if value < 100 else f"{value:,.0f}", (value, place), xytext=(4, 0),
                        textcoords="offset points", va="center", fontsize=8, color=scheme.ink)  # fmt: skip
    ax.axvline(1, color=scheme.quiet, linewidth=1, linestyle=":")
    ax.set_yticks(places, [row["name"] for row in rows])
    ax.set(xscale="log", xlabel="added to a step, in gradients; dotted, the step itself")
    ax.margins(x=0.12)
    legend(ax, loc="lower right")
    return fig


CLAIM = Claim(
    5,
    "hessian_cost",
    "The old way costs more than the work itself",
    "Estimating curvature as Newton's method does costs more than the training itself; Sophia's estimates hardly "
    "cost anything.",
    "The article; Liu et al. 2023, section 2: about 5% a step.",
    "Timed on the model of the other claims: a gradient, a Hessian-vector product, and each estimate. The full "
    "Hessian is as many products as there are parameters; that this is what it takes is checked on a small model, "
    "where all of it is made.",
    "about 5% a step",
    "none needed: this is a count",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "What one estimate adds to a step.",
    alone=True,
)
