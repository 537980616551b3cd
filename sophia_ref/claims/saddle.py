"""Claim 4: without clipping one lands on a saddle. Where starts end: Newton, Sophia unclipped, Sophia clipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import sophia_ref as sr
from sophia_ref.basins import basins, percent
from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, plain
from sophia_ref.optimizers.base import Array, Optimizer, Questions, Step
from sophia_ref.optimizers.first_order import Memoryless
from toy_problems.landscapes import REGISTRY

SURFACES = ("sophia_fig2", "himmelblau", "six_hump_camel", "styblinski_tang")  # those with saddles and several minima
KINDS = ("minimum", "saddle", "maximum", "nowhere", "diverged")
OFTEN, HARDLY = 0.01, 0.001  # shares of starts


@dataclass(frozen=True, eq=False)
class DiagonalNewton(Optimizer):
    """theta - lr g / diag H: Sophia without its clip and without the floor under h that keeps it positive."""

    State: ClassVar[type[Memoryless]] = Memoryless

    def step(self, theta: Array, state: Memoryless, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        h = oracle.curvature(sr.exact_diagonal)
        update = oracle.grad() / np.where(h == 0, np.inf, h)
        return Step(theta - lr * update, Memoryless(t), {"update": update})


def rules(size: float) -> dict[str, Optimizer]:
    """size: of the domain. A clipped step is at most a tenth of it, and gamma = lr makes an unclipped one Newton's,
    coordinate by coordinate. Curvature is exact and new in every step, and nothing is averaged."""
    length = 0.1 * size
    exact: dict[str, Any] = dict(gamma=length, beta1=0.0, beta2=0.0, every=1, estimator=sr.exact_diagonal)
    return {
        "Newton": sr.Newton(1.0),
        "Newton, small steps": sr.Newton(0.1),
        "Newton by coordinates": DiagonalNewton(1.0),
        "Sophia unclipped": sr.Sophia(length, **exact, clip=np.inf),
        "Sophia": sr.Sophia(length, **exact),
    }


def measure(table: Any, budget: Budget) -> Numbers:
    grid, steps = budget.of(((300, 300), 500), ((90, 90), 300), ((8, 8), 40))
    found = {}
    for name in SURFACES:
        landscape = REGISTRY[name]
        size = min(high - low for low, high in landscape.domain)
        found[name] = {rule: basins(landscape, opt, grid, steps).shares() for rule, opt in rules(size).items()}
    return plain({"shares": found, "grid": grid, "steps": steps})


def verdict(numbers: Numbers) -> Verdict:
    answers, words, floored, thrown = [], [], [], []
    for name, shares in numbers["shares"].items():
        trapped = {rule: share["saddle"] + share["maximum"] for rule, share in shares.items()}
        answers += [
            YES if trapped["Newton"] > OFTEN else NO,
            YES if trapped["Sophia unclipped"] > OFTEN else NO,
            YES if trapped["Sophia"] < HARDLY else NO,
        ]
        floored.append(trapped["Newton by coordinates"] > OFTEN and trapped["Sophia unclipped"] < HARDLY)
        thrown.append(shares["Sophia unclipped"]["diverged"] > OFTEN and shares["Sophia"]["diverged"] < HARDLY)
        words.append(
            f"{REGISTRY[name].title}: Newton {trapped['Newton']:.1%}, by coordinates "
            f"{trapped['Newton by coordinates']:.1%}, Sophia unclipped {trapped['Sophia unclipped']:.1%} (and "
            f"{shares['Sophia unclipped']['diverged']:.1%} thrown out), clipped {trapped['Sophia']:.1%}"
        )
    why = "Starts that end at a saddle or a maximum. " + "; ".join(words) + "."
    if all(floored):
        why += " The floor under h keeps Sophia from saddles: it does so without the clip too."
    if all(thrown):
        why += " The clip keeps its step over the floor from throwing it out."
    columns, rows = numbers["grid"]
    return Verdict(answers, why, f"{columns} x {rows} starts in two dimensions, exact curvature in every step")


def headline(numbers: Numbers) -> str:
    first = numbers["shares"]["sophia_fig2"]
    return (
        ", ".join(f"{rule} {first[rule]['saddle']:.1%}" for rule in ("Newton", "Sophia unclipped", "Sophia"))
        + " (Fig. 2)"
    )


def tables(numbers: Numbers) -> list[TableOf]:
    return [
        (
            REGISTRY[name].title,
            ("rule", *KINDS),
            [[rule, *(percent(share[kind]) for kind in KINDS)] for rule, share in shares.items()],
        )
        for name, shares in numbers["shares"].items()
    ]


def draw(numbers: Numbers, dark: bool) -> Any:
    from matplotlib.patches import Patch

    from sophia_ref.plots.basins import MAXIMUM, MINIMA, NOWHERE, SADDLE
    from sophia_ref.plots.style import dress, figure

    found = numbers["shares"]
    fig = figure(10.5, 4.4, dark)
    axes = fig.subplots(2, 2, sharex=True, sharey=True)
    for ax, (name, shares) in zip(axes.flat, found.items(), strict=True):
        scheme = dress(ax)
        colors = dict(zip(KINDS, (MINIMA[0], SADDLE, MAXIMUM, NOWHERE[scheme], scheme.ink), strict=True))
        left = np.zeros(len(shares))
        for kind in KINDS:
            width = np.array([share[kind] for share in shares.values()])
            ax.barh(range(len(shares)), width, left=left, color=colors[kind], height=0.7)
            left += width
        ax.set_yticks(range(len(shares)), list(shares))
        ax.set_title(REGISTRY[name].title, fontsize=9, color=scheme.ink)
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.set_xlim(0, 1)
    axes[0, 0].invert_yaxis()
    edge: dict[str, Any] = {"edgecolor": scheme.quiet, "linewidth": 0.5}
    handles = [Patch(facecolor=colors[kind], label=kind, **edge) for kind in KINDS]
    fig.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9, labelcolor=scheme.ink)
    return fig


CLAIM = Claim(
    4,
    "saddle",
    "Without clipping one lands on a saddle",
    "Newton's method is drawn to saddles, and so is a preconditioned step that is not clipped; Sophia is not.",
    "Liu et al. 2023, Figure 2 and its discussion.",
    "A grid of starts over four surfaces with known critical points. Newton in full and in small steps; Newton by "
    "coordinates, which divides by the diagonal as it is; Sophia's rule over max(gamma h, eps) without the clip; "
    "and with it, its curvature exact and new in every step. Asked of each surface: do more than "
    f"{OFTEN:.0%} of the starts end at a saddle or a maximum with Newton, and without the clip; and less than "
    f"{HARDLY:.1%} with it.",
    "Figure 2: Newton ends at the saddle, Sophia at the minimum",
    "none needed: this is exact",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Where the starts end, by rule.",
    takes=(52, 7),
)
