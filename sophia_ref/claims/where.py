"""Where does Sophia win? Its speed-up over AdamW by batch size, curvature heterogeneity and length of the run.

Once on the made-up language, whose entropy is known, so that losses are what is left to learn; once on a quadratic,
where everything can be turned: noise of the gradient, condition number, length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sophia_ref.claims import quadratic
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
from sophia_ref.claims.statistics import bootstrap, difference, mean_over_seeds, speedup
from sophia_ref.claims.tuning import Arm, Budget, Need, shown

SOPHIAS = ("SophiaH", "SophiaG")
METHODS = ("AdamW", *SOPHIAS)


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
    for exponent in budget.zipf_exponents:
        for batch in budget.zipf_batches:
            losses = {
                (method, steps): np.array(
                    [table[s].loss for s in shown(table, arm(budget, exponent, batch, method, steps), budget.seeds)]
                )
                for method in METHODS
                for steps in lengths_of(method, budget.zipf_lengths)
            }
            others = lengths_of("AdamW", budget.zipf_lengths)
            adamw = np.stack([losses["AdamW", steps] for steps in others], axis=1)
            for method in SOPHIAS:
                for steps in budget.zipf_lengths:
                    own = losses[method, steps]
                    cells.append(
                        {
                            "exponent": exponent,
                            "tokens": batch * budget.zipf_model[0],
                            "method": method,
                            "steps": steps,
                            "excess": bootstrap([own], mean_over_seeds),
                            "adamw": bootstrap([losses["AdamW", steps]], mean_over_seeds),
                            "minus_adamw": difference(own, losses["AdamW", steps]),
                            "speedup": speedup(own, steps, others, adamw),
                        }
                    )
    return plain({"cells": cells, "lengths": budget.zipf_lengths, "quadratic": quadratic.map_of_speedups(budget)})


def wins(cell: Any) -> str:
    """Whether Sophia's loss is below AdamW's after as many steps."""
    return answer(cell["minus_adamw"])


def verdict(numbers: Numbers) -> Verdict:
    language = [(cell, wins(cell)) for cell in numbers["cells"]]
    quadratics = [(cell, wins(cell)) for cell in numbers["quadratic"]]
    won = [cell for cell, a in language if a == YES]
    where = "; ".join(
        f"{label(c['method'])} at exponent {c['exponent']:g}, {c['tokens']} tokens, {c['steps']} steps: "
        f"{number(c['speedup'][0], '.2f')}"
        for c in sorted(won, key=lambda c: -c["speedup"][0])[:3]
    )
    count = {name: [a for _, a in found].count for name, found in (("language", language), ("quadratic", quadratics))}
    why = (
        f"On the language Sophia is faster than AdamW in {count['language'](YES)} of {len(language)} cells and "
        f"slower in {count['language'](NO)}; on the quadratic faster in {count['quadratic'](YES)} of "
        f"{len(quadratics)} and slower in {count['quadratic'](NO)}. "
        + (f"Fastest on the language: {where}." if won else "It wins nowhere on the language.")
    )
    lengths = numbers["lengths"]
    return Verdict(
        combine([a for _, a in (*language, *quadratics)]),
        why,
        f"{lengths[0]} to {lengths[-1]} steps, each cell tuned anew",
    )


def headline(numbers: Numbers) -> str:
    language = [wins(cell) for cell in numbers["cells"]]
    quadratics = [wins(cell) for cell in numbers["quadratic"]]
    return (
        f"faster in {language.count(YES)} of {len(language)} cells of the language and {quadratics.count(YES)} of "
        f"{len(quadratics)} of the quadratic; slower in {language.count(NO)} and {quadratics.count(NO)}"
    )


def tables(numbers: Numbers) -> list[TableOf]:
    rows = [
        [label(c["method"]), f"{c['exponent']:g}", str(c["tokens"]), str(c["steps"]), spread(c["excess"]),
         spread(c["adamw"]), spread(c["speedup"], ".2f"), wins(c)]
        for c in numbers["cells"]
    ]  # fmt: skip
    header = ("method", "Zipf exponent", "tokens a step", "steps", "excess loss", "AdamW's", "speed-up", "wins")
    other = [
        ["rotated" if c["rotated"] else "aligned", f"{c['condition']:g}", f"{c['noise']:g}", str(c["steps"]),
         number(c["loss"][0], ".2g"), number(c["adamw"][0], ".2g"), spread(c["speedup"], ".2f"), wins(c)]
        for c in numbers["quadratic"]
    ]  # fmt: skip
    head = ("axes", "condition number", "noise", "steps", "loss", "AdamW's", "speed-up", "wins")
    return [("On the language of known entropy", header, rows), ("On the quadratic", head, other)]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.plots.style import figure

    lengths = numbers["lengths"]
    fig = figure(10.5, 11, dark)
    axes = fig.subplots(4, 3)
    for row, method in zip(axes[:2], SOPHIAS, strict=True):
        for ax, steps in zip(row, lengths, strict=True):
            cells = [c for c in numbers["cells"] if (c["method"], c["steps"]) == (method, steps)]
            _map(ax, cells, "tokens", "exponent", "tokens a step", "Zipf exponent")
            ax.set_title(f"{label(method)}, {steps} steps", fontsize=9)
    steps_of = sorted({c["steps"] for c in numbers["quadratic"]})
    for row, rotated in zip(axes[2:], (False, True), strict=True):
        for ax, steps in zip(row, steps_of, strict=True):
            cells = [c for c in numbers["quadratic"] if (c["rotated"], c["steps"]) == (rotated, steps)]
            _map(ax, cells, "noise", "condition", "noise of the gradient", "condition number")
            ax.set_title(f"quadratic, {'rotated' if rotated else 'aligned'}, {steps} steps", fontsize=9)
    return fig


def _map(ax: Any, cells: list[Any], x: str, y: str, x_label: str, y_label: str) -> None:
    """Speed-ups as a table of colours: above 1 warm, below 1 cold; those that are decided have a frame."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    from sophia_ref.plots.style import dress

    scheme = dress(ax)
    xs, ys = (sorted({cell[name] for cell in cells}) for name in (x, y))
    for cell in cells:
        i, j, value = xs.index(cell[x]), ys.index(cell[y]), cell["speedup"][0]
        shade = 0.5 if value is None else 0.5 + 0.25 * float(np.clip(np.log2(max(value, 1e-3)), -2, 2))
        color = colormaps["PuOr_r"](0.15 + 0.7 * shade)
        decided = wins(cell) != OPEN
        frame: dict[str, Any] = {
            "edgecolor": scheme.ink if decided else scheme.paper,
            "linewidth": 1.6 if decided else 0.5,
        }
        ax.add_patch(Rectangle((i + 0.03, j + 0.03), 0.94, 0.94, facecolor=color, **frame))
        text = "—" if value is None else f"{value:.2f}"
        _, low, high = cell["speedup"]
        around = "" if low is None or high is None else f"\n{low:.2f} to {high:.2f}"
        ink = "#111111" if 0.2 < shade < 0.8 else "#ffffff"
        ax.text(i + 0.5, j + 0.5, text + around, ha="center", va="center", fontsize=8, color=ink)
    ax.set(xlim=(0, len(xs)), ylim=(0, len(ys)), xlabel=x_label, ylabel=y_label)
    ax.set_xticks(np.arange(len(xs)) + 0.5, [f"{v:g}" for v in xs])
    ax.set_yticks(np.arange(len(ys)) + 0.5, [f"{v:g}" for v in ys])


CLAIM = Claim(
    17,
    "where",
    "The map: where does Sophia win?",
    "Where Sophia is faster than AdamW, by noise of the gradient, heterogeneity of the curvature and length of the "
    "run.",
    "Ours: nobody has drawn it. Noise goes with the batch, heterogeneity with the exponent of Zipf's law (Kunstner "
    "et al. 2024).",
    "A GPT on a made-up language whose entropy is known, for every exponent, batch and length, each tuned anew; "
    "the loss is the exact expectation above the entropy. And a quadratic in 32 dimensions with Gaussian noise on "
    "its gradients, its axes aligned with the coordinates or rotated, where Sophia has Hutchinson's estimate. The "
    "speed-up is how many times as many steps AdamW needs for the same loss, interpolated between its own runs: it "
    "ends at the shortest and the longest of them.",
    "2x everywhere that it was tried",
    "deficit shrinks as runs lengthen, in drafts of ours",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Speed-up over AdamW and its interval. Orange: Sophia is faster. Violet: slower. A frame: the difference of the "
    "losses is beyond its interval.",
    needs,
)
