"""Claim 5: estimating curvature the old way costs more than the work itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import Claim, Numbers, TableOf, Verdict, above, answer, number, plain, spread
from sophia_ref.claims.statistics import bootstrap
from sophia_ref.claims.tasks import make_task
from sophia_ref.oracle import COST_GRADIENT

Array = Any
Question = Callable[[sr.Oracle], Any]
WINDOW = "Hutchinson, 1/15 of the batch"
WAYS = {
    "Hutchinson": sr.hutchinson,
    "GNB": sr.gnb,
    WINDOW: sr.on_part(sr.hutchinson, 1 / 15),
    "GNB, half of the batch": sr.on_part(sr.gnb, 1 / 2),
}
CHEAP = 0.1  # of a gradient a step
SMALL = ((8, 4, 1, 1), 2)  # a model whose whole Hessian can be made again and again, and its batch


def measure(table: Any, budget: Budget) -> Numbers:
    basic: dict[str, Question] = {"gradient": sr.Oracle.grad, "product": lambda oracle: oracle.hvp(oracle.theta)}
    estimates: dict[str, Question] = {name: _curvature(estimator) for name, estimator in WAYS.items()}
    ask = _asker(make_task("text", budget.model, budget.batch).problem)
    P = ask().theta.size
    times = turns({**basic, **estimates}, ask, budget.of(200, 20, 3))
    ways = [
        {"name": "full Hessian, P products", "counted": P * _cost(basic["product"], ask),
         "measured": over(P * times["product"], times["gradient"])},
        *({"name": name, "counted": _cost(question, ask), "measured": over(times[name], times["gradient"])}
          for name, question in estimates.items()),
    ]  # fmt: skip
    # what is extrapolated above, as a whole, beside the products that it was extrapolated from
    small = _asker(make_task("text", *SMALL).problem)
    rows = small().theta.size
    H = small().hessian().astype(np.float64) + np.eye(rows)
    whole: dict[str, Question] = {
        "hessian": sr.Oracle.hessian,
        "solve": lambda oracle: np.linalg.solve(H, np.ones(rows)),
    }
    checked = turns({**basic, **whole}, small, budget.of(15, 5, 3))
    return plain(
        {
            "parameters": P,
            "batch": budget.batch,
            "window": max(1, round(budget.batch / 15)),
            "gradient_ms": np.median(times["gradient"]),
            "product": over(times["product"], times["gradient"]),
            "ways": ways,
            "small": {
                "parameters": rows,
                "hessian": over(checked["hessian"], checked["gradient"]),
                "by_products": over(rows * checked["product"], checked["gradient"]),
                "solve": over(checked["solve"], checked["gradient"]),
            },
        }
    )


def _asker(task: Any) -> Callable[[], sr.Oracle]:
    """Oracles that know nothing yet, all of one theta and batch."""
    rng = np.random.default_rng(0)
    theta, batch = task.init(rng), task.batch(rng, ())
    return lambda: sr.Oracle(task, theta, batch, rng)


def _curvature(estimator: Any) -> Question:
    return lambda oracle: oracle.curvature(estimator)


def _cost(question: Question, ask: Callable[[], sr.Oracle]) -> float:
    """As the oracle counts it, in gradients."""
    oracle = ask()
    question(oracle)
    return oracle.cost / COST_GRADIENT


def turns(
    questions: Mapping[str, Question], ask: Callable[[], sr.Oracle], rounds: int, clock: Any = time.process_time
) -> dict[str, Array]:
    """Milliseconds that each question takes, (rounds,). They take turns, so that what the machine does besides falls
    on all of them; a round before, which is not counted, warms up."""
    times: dict[str, list[float]] = {name: [] for name in questions}
    for _ in range(1 + rounds):
        for name, question in questions.items():
            oracle, start = ask(), clock()
            question(oracle)
            times[name].append(1e3 * (clock() - start))
    return {name: np.array(each[1:]) for name, each in times.items()}


def over(times: Array, gradients: Array) -> Any:
    """The median over rounds of a time over that of the round's gradient, and its interval."""
    return bootstrap([times / gradients], lambda ratios: np.median(ratios, axis=1))


def _tenth(interval: Any) -> list[float]:
    """Of a step, where it is asked for every 10."""
    return [x / 10 for x in interval]


def verdict(numbers: Numbers) -> Verdict:
    full, *cheap = numbers["ways"]
    answers = [above(_tenth(full["measured"]), 1)]
    answers += [answer(_tenth(row["measured"]), CHEAP) for row in cheap if "batch" in row["name"]]
    shares = ", ".join(f"{row['name']} {spread(_tenth(row['measured']), '.1%')}" for row in cheap)
    why = (
        f"A full Hessian costs {full['measured'][0]:,.0f} gradients, {full['measured'][0] / 10:,.0f} a step when it is "
        f"taken every 10. Every 10 steps the estimates add to a gradient: {shares}."
    )
    window = next(row for row in cheap if row["name"] == WINDOW)
    times = window["measured"][0] / window["counted"]
    regime = (
        f"{numbers['parameters']:,} parameters, processor time; 1/15 of a batch of {numbers['batch']} is "
        f"{numbers['window']} window{'s' * (numbers['window'] > 1)}, which takes Hutchinson {times:.1f} times its count"
    )
    return Verdict(answers, why, regime + ", most of it the interpreter's overhead" * (times > 2))


def headline(numbers: Numbers) -> str:
    full, *cheap = numbers["ways"]
    return f"in gradients: full Hessian {full['measured'][0]:,.0f}, " + ", ".join(
        f"{row['name']} {number(row['measured'][0], '.2f')}" for row in cheap
    )


def _gradients(x: float) -> str:
    """With two digits where there are few."""
    return number(x, ".2f" if x < 100 else ",.0f")


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [row["name"], _gradients(row["counted"]), "{} [{}, {}]".format(*map(_gradients, row["measured"])),
         _gradients(1 + row["measured"][0]), _gradients(1 + row["measured"][0] / 10)]
        for row in numbers["ways"]
    ]  # fmt: skip
    small = numbers["small"]
    checked = [
        [f"{small['parameters']:,}", *(spread(small[name], ",.0f") for name in ("hessian", "by_products", "solve"))]
    ]
    header = ("curvature", "counted, in gradients", "measured", "a step with it every step", "every 10")
    return [
        (
            f"Cost of one estimate; a gradient takes {numbers['gradient_ms']:.2f} ms, and a product "
            f"{spread(numbers['product'], '.2f')} gradients",
            header,
            rows,
        ),
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
        width = [row["measured"][0] / every for row in rows]
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
    "Timed on the model of the other claims: a gradient, a Hessian-vector product, and each estimate, which take "
    "turns. Shown are medians over rounds of the time over that of the round's gradient. The full Hessian is as many "
    "products as there are parameters; that this is what it takes is checked on a small model, where all of it is "
    "made, in turns with a product. Asked: does the full Hessian, every 10 steps, cost more than the gradients; and "
    f"does an estimate on the paper's share of the batch, every 10 steps, add no more than {CHEAP:.0%} of a gradient.",
    "about 5% a step",
    "none known",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "What one estimate adds to a step.",
    alone=True,
    takes=(49, 22),
)
