"""Where does Sophia win? Its speed-up over AdamW by batch size, curvature heterogeneity and length of the run.

Once on the made-up language, whose entropy is known, so that losses are what is left to learn; once on a quadratic,
where everything can be turned: noise of the gradient, condition number, length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sophia_ref.claims import quadratic
from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.cells import marks, speedups, wins
from sophia_ref.claims.claim import NO, OPEN, YES, Claim, Numbers, TableOf, Verdict, number, plain, spread, within
from sophia_ref.claims.methods import cost_a_step, label
from sophia_ref.claims.quadratic import UNLEARNED
from sophia_ref.claims.runs import Table
from sophia_ref.claims.tasks import make_task
from sophia_ref.claims.tuning import Arm, Need, tuned

SOPHIAS = ("SophiaH", "SophiaG")
METHODS = ("AdamW", *SOPHIAS)
Cells = Sequence[Mapping[str, Any]]
# the parts of the map: where their cells are in the numbers, and what these are told by
PARTS = {"language": "cells", "quadratic": "quadratic"}
AXES: Mapping[str, Mapping[str, Callable[[Any], str]]] = {
    "language": {
        "method": label, "exponent": "exponent {:g}".format, "tokens": "{} tokens a step".format,
        "steps": "{} steps".format,
    },
    "quadratic": {
        "axes": "{} axes".format, "condition": "condition number {:g}".format, "noise": "noise {:g}".format,
        "steps": "{} steps".format,
    },
}  # fmt: skip


def arm(budget: Budget, exponent: float, batch: int, method: str, steps: int) -> Arm:
    return Arm(f"zipf={exponent}", budget.zipf_model, batch, method, steps, budget.few_trials)


def needs(budget: Budget) -> list[Need]:
    return [
        Need(arm(budget, exponent, batch, method, steps))
        for exponent in budget.zipf_exponents
        for batch in budget.zipf_batches
        for method in METHODS
        for steps in lengths_of(method, budget.zipf_lengths)
    ]


def lengths_of(method: str, lengths: Sequence[int]) -> list[int]:
    """AdamW also has half of the shortest and twice the longest, or its steps for Sophia's loss could not be told."""
    return [max(1, lengths[0] // 2), *lengths, 2 * lengths[-1]] if method == "AdamW" else list(lengths)


def measure(table: Table, budget: Budget) -> Numbers:
    cells = []
    others = lengths_of("AdamW", budget.zipf_lengths)
    for exponent in budget.zipf_exponents:
        for batch in budget.zipf_batches:
            task = make_task(f"zipf={exponent}", budget.zipf_model, batch)
            start = np.mean([task.score(task.problem.init(np.random.default_rng(s)), False) for s in budget.seeds])
            found = {
                (method, steps): tuned(table, arm(budget, exponent, batch, method, steps), budget.seeds)
                for method in METHODS
                for steps in lengths_of(method, budget.zipf_lengths)
            }
            adamw = [found["AdamW", steps] for steps in others]
            cells += [
                {"method": method, "exponent": exponent, "tokens": batch * budget.zipf_model[0],
                 "cost": cost_a_step(method, batch),
                 **quadratic.compared(found[method, steps], steps, others, adamw, UNLEARNED * float(start))}
                for method in SOPHIAS
                for steps in budget.zipf_lengths
            ]  # fmt: skip
    return plain(
        {
            "cells": cells,
            "quadratic": quadratic.map_of_speedups(budget),
            "trials": {"language": budget.few_trials, "quadratic": quadratic.trials_of(budget)},
        }
    )


def nowhere_more(cells: Cells, outcome: str, axes: Mapping[str, Callable[[Any], str]]) -> str:
    """The setting at which the largest share of cells has this outcome."""
    groups = {
        (name, value): [wins(cell) == outcome for cell in cells if cell[name] == value]
        for name in axes
        for value in sorted({cell[name] for cell in cells})
    }
    (name, value), found = max(groups.items(), key=lambda item: float(np.mean(item[1])))
    return f"{axes[name](value)} ({sum(found)} of {len(found)} cells)"


def told(part: str, cells: Cells) -> str:
    """The counts of a part, and where most are."""
    won, lost = ([cell for cell in cells if wins(cell) == outcome] for outcome in (YES, NO))
    words = f"On the {part} Sophia is faster than AdamW in {len(won)} of {len(cells)} cells and slower in {len(lost)}"
    if won:
        cheap = sum(cell["speedup"][1] > cell["cost"] for cell in won)
        words += f"; for the cost of its steps too, beyond the interval, in {cheap} of the {len(won)}"
    if failed := sum(cell["worse"] for cell in won):
        words += f"; in {failed} of the {len(won)} wins AdamW does worse than in a shorter run of its own"
    if idle := [cell for cell in (*won, *lost) if cell["idle"]]:
        words += f"; in {len(idle)} of the {len(won) + len(lost)} AdamW has learned next to nothing"
    most = [
        f"{name} are nowhere more frequent than with {nowhere_more(cells, outcome, AXES[part])}"
        for name, outcome, found in (("wins", YES, won), ("losses", NO, lost))
        if found
    ]
    return words + "".join(f"; {one}" for one in most) + "."


def verdict(numbers: Numbers) -> Verdict:
    why = " ".join(told(part, numbers[PARTS[part]]) for part in AXES)
    regime = "; ".join(
        f"{part}: T = {', '.join(map(str, steps_of(numbers[PARTS[part]])))} steps, {numbers['trials'][part]} trials "
        "of each method for each cell"
        for part in AXES
    )
    return Verdict([], why, regime)


def steps_of(cells: Cells) -> list[int]:
    return sorted({cell["steps"] for cell in cells})


def headline(numbers: Numbers) -> str:
    parts = []
    for part in AXES:
        found = [wins(cell) for cell in numbers[PARTS[part]]]
        parts.append(f"{part}: faster in {found.count(YES)}, slower in {found.count(NO)} of {len(found)} cells")
    return "; ".join(parts)


def tables(numbers: Numbers) -> list[TableOf]:
    columns = {
        "language": ("method", "Zipf exponent", "tokens a step"),
        "quadratic": ("axes", "condition number", "noise"),
    }
    titles = {
        "language": "On the language of known entropy, loss in excess of it",
        "quadratic": "On the quadratic, log10 of the loss",
    }
    found: list[TableOf] = []
    for part, axes in AXES.items():
        rows = [
            [
                *(_told(name, cell[name]) for name in axes),
                number(cell["loss"][0]), number(cell["adamw"][0]) + marks(cell),
                spread(cell["minus_adamw"], "+.3f"), within(cell["speedup"], cell["ends"]),
                _by_cost(cell),
                {YES: "faster", NO: "slower", OPEN: "open"}[wins(cell)],
            ]
            for cell in numbers[PARTS[part]]
        ]  # fmt: skip
        header = (*columns[part], "T", "loss", "AdamW's", "minus AdamW", "speed-up", "by its cost", "Sophia is")
        found.append((titles[part], header, rows))
    return found


def _told(name: str, value: Any) -> str:
    return label(value) if name == "method" else f"{value:g}" if isinstance(value, float) else str(value)


def _by_cost(cell: Mapping[str, Any]) -> str:
    return within([x / cell["cost"] for x in cell["speedup"]], [x / cell["cost"] for x in cell["ends"]])


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.plots.style import figure

    fig = figure(10.5, 11, dark)
    axes = fig.subplots(4, 3)
    language, quadratics = (numbers[PARTS[part]] for part in AXES)
    rows = [(f"{label(method)}, ", language, "method", method) for method in SOPHIAS]
    rows += [(f"quadratic, {kind}, ", quadratics, "axes", kind) for kind in ("aligned", "rotated")]
    for line, (title, cells, name, value) in zip(axes, rows, strict=True):
        for ax, steps in zip(line, steps_of(cells), strict=True):
            mine = [cell for cell in cells if (cell[name], cell["steps"]) == (value, steps)]
            if name == "method":
                speedups(ax, mine, "tokens", "exponent", "tokens a step", "Zipf exponent")
            else:
                speedups(ax, mine, "noise", "condition", "noise of the gradient", "condition number")
            ax.set_title(f"{title}{steps} steps", fontsize=9)
    return fig


def _ranges(method: str) -> str:
    spaces = [f"{name} {low:g} to {high:g}" for name, (low, high) in quadratic.MAP_SPACES[method].items()]
    values = zip(("beta1", "beta2"), zip(*quadratic.DECAYS[method], strict=True), strict=True)
    return ", ".join([*spaces, *(f"{name} of {', '.join(map(str, sorted(set(own))))}" for name, own in values)])


CLAIM = Claim(
    17,
    "where",
    "The map: where does Sophia win?",
    "Where Sophia is faster than AdamW, by noise of the gradient, heterogeneity of the curvature and length of the "
    "run.",
    "Ours. Noise goes with the batch, heterogeneity with the exponent of Zipf's law (Kunstner et al. 2024).",
    "A GPT on a made-up language whose entropy is known, for every exponent, batch and length, each tuned anew; the "
    "loss is the exact expectation above the entropy. There are many cells, so methods have fewer trials here than "
    "elsewhere. And a quadratic in 32 dimensions with Gaussian noise on its gradients, its axes aligned with the "
    "coordinates or rotated, where Sophia has Hutchinson's estimate, of a Hessian without noise, every ten steps. "
    "Its losses span many powers of ten, so their logarithms are compared. "
    f"Tuned there are, for AdamW, {_ranges('AdamW')}; for Sophia, {_ranges('Sophia')}. The speed-up is how many times "
    "as many steps AdamW needs for the same loss, interpolated between its own runs; it ends at the shortest (≤) and "
    "the longest (≥) of them. Sophia counts as faster where its loss is below AdamW's beyond the interval and the "
    "speed-up is above 1, as slower where both are the other way.",
    "2x at 125M to 1.5B",
    "none that we know of",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Speed-up over AdamW and its interval. Orange: above 1. Violet: below. A frame: Sophia is faster, or slower, "
    "beyond the interval. †: AdamW does worse there than in a shorter run of its own. °: AdamW has learned next to "
    f"nothing: its loss is above {UNLEARNED:.0%} of that at the start.",
    needs,
)
