"""Claim 6: heterogeneous curvature is hard for Adam. Steps to tolerance by condition number, from 1 to a million."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.claim import NO, YES, Claim, Numbers, TableOf, Verdict, combine, plain
from sophia_ref.claims.quadratic import SHOWN, TUNED, Quadratic, instances
from sophia_ref.claims.tuning import Budget
from sophia_ref.study import Space, sobol

Array = Any
DIMENSION = 8
DELTA, FALL = 0.5, 100.0  # the loss at the start, over the minimum's 0, and by what factor it is to fall
HARD = 10.0  # as many times the steps as at condition number 1 count as hard

# As many trials for each, from one Sobol sequence. lr of gradient descent is in units of 1 / condition, those of the
# others lengths, whatever the condition.
SPACES: dict[str, Space] = {
    "GradientDescent": {"lr": (0.2, 2.0)},
    "SignGD": {"lr": (1e-5, 1.0)},
    "Adam": {"lr": (1e-5, 1.0), "1-beta1": (0.05, 0.9), "1-beta2": (1e-3, 0.5)},
    "Newton": {"lr": (0.2, 2.0)},
    "ClippedNewton": {"lr": (0.2, 2.0), "rho": (0.02, 2.0)},
    "Sophia": {"lr": (1e-5, 1.0), "gamma": (1e-5, 1.0), "1-beta1": (0.05, 0.9)},
}


def rule(method: str, s: dict[str, float], condition: float) -> Any:
    """The method with these settings. Sophia has the exact diagonal, new in every step: what a diagonal can do at
    best."""
    if method == "GradientDescent":
        return sr.GradientDescent(s["lr"] / condition)
    if method == "SignGD":
        return sr.SignGD(s["lr"])
    if method == "Adam":
        return sr.Adam(s["lr"], beta1=1 - s["1-beta1"], beta2=1 - s["1-beta2"])
    if method == "Newton":
        return sr.Newton(s["lr"])
    if method == "ClippedNewton":
        return sr.ClippedNewton(s["lr"], rho=s["rho"])
    exact: dict[str, Any] = dict(beta2=0.0, every=1, estimator=lambda oracle: oracle.hessian_diag())
    return sr.Sophia(s["lr"], beta1=1 - s["1-beta1"], gamma=s["gamma"], **exact)


def steps_to_tolerance(opt: Any, condition: float, rotated: bool, seeds: Sequence[int], most: int) -> Array:
    """After how many steps the loss has first fallen by FALL, for each seed, (seeds,); infinite if not within `most`.

    Seeds are rows of one theta, and it ends when all of them are there."""
    eigenvalues, rotations, starts = instances(seeds, DIMENSION, condition, rotated)
    theta = starts[None]  # (1, seeds, d)
    state, steps = opt.init(theta), np.full(len(seeds), np.inf)
    with np.errstate(all="ignore"):
        for t in range(most + 1):
            oracle = Quadratic(eigenvalues, rotations, theta, 0.0)
            there = oracle.loss()[0] <= DELTA / FALL
            steps = np.where(there & np.isinf(steps), t, steps)
            if np.isfinite(steps).all() or t == most:
                break
            theta, state, _ = opt.step(theta, state, oracle)
            if not np.abs(theta).max() < 1e30:  # diverged: what is not there by now will not come
                break
    return steps


def measure(table: Any, budget: Budget) -> Numbers:
    conditions = budget.of((1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6), (1.0, 1e2, 1e4, 1e6), (1.0, 1e2))
    trials, most = budget.of((32, 4000), (8, 400), (4, 30))
    rows = []
    for method, space in SPACES.items():
        for rotated in (False, True):
            for condition in conditions:
                limit, best, settings = most, np.inf, sobol(space, 1)[0]
                for trial in sobol(space, trials):
                    # a trial that is slower than the best so far need not be followed further
                    found = steps_to_tolerance(rule(method, trial, condition), condition, rotated, TUNED, limit)
                    if found.max() < best:
                        best, settings, limit = float(found.max()), trial, int(found.max())
                shown = steps_to_tolerance(rule(method, settings, condition), condition, rotated, SHOWN, 2 * most)
                rows.append(
                    {"method": method, "rotated": rotated, "condition": condition, "median": np.median(shown),
                     "low": shown.min(), "high": shown.max(), "settings": settings}
                )  # fmt: skip
    return plain({"rows": rows, "conditions": conditions, "most": most, "trials": trials})


def sign_bound(condition: float) -> float:
    """At least so many steps of SignGD on mu x^2/2 + beta y^2/2: (sqrt(Delta/eps) - sqrt 2) sqrt(beta/mu) / 2."""
    return float((FALL**0.5 - 2**0.5) * condition**0.5 / 2)


def newton_bound() -> float:
    """About at most so many steps of clipped Newton, at every condition number: d Delta / (mu R^2) + ln(mu R^2 / (32 d
    eps)), with R^2 = 2 Delta / mu, the distance within which the loss is below Delta."""
    R2 = 2 * DELTA
    return DIMENSION * DELTA / R2 + max(0.0, float(np.log(R2 / (32 * DIMENSION * DELTA / FALL))))


def _steps(numbers: Numbers, method: str, rotated: bool, condition: float) -> float:
    for row in numbers["rows"]:
        if (row["method"], row["rotated"], row["condition"]) == (method, rotated, condition):
            return np.inf if row["median"] is None else float(row["median"])
    return np.inf


def verdict(numbers: Numbers) -> Verdict:
    first, last = numbers["conditions"][0], numbers["conditions"][-1]
    growth = {
        (method, rotated): _steps(numbers, method, rotated, last) / max(_steps(numbers, method, rotated, first), 1)
        for method in SPACES
        for rotated in (False, True)
    }
    answers = [YES if growth[method, False] > HARD else NO for method in ("GradientDescent", "SignGD", "Adam")]
    answers += [YES if growth[method, False] <= HARD else NO for method in ("Sophia", "Newton")]
    # rotated, where a diagonal has no right to be of use
    answers += [YES if growth["Adam", True] > HARD else NO, YES if growth["Sophia", True] <= HARD else NO]

    def words(rotated: bool) -> str:
        return ", ".join(
            f"{m} {_times(growth[m, rotated])}" for m in ("GradientDescent", "SignGD", "Adam", "Newton", "Sophia")
        )

    why = (
        f"From condition number {first:g} to {last:g} the steps grow by a factor: axes aligned, {words(False)}; "
        f"rotated, {words(True)}. What Sophia gains it gains where the curvature lies along the coordinates."
    )
    return Verdict(
        combine(answers), why, f"{DIMENSION} dimensions, no noise, exact curvature, the loss to fall by {FALL:g}"
    )


def _times(factor: float) -> str:
    return f"{factor:.3g}" if np.isfinite(factor) else "beyond what was run"


def headline(numbers: Numbers) -> str:
    last = numbers["conditions"][-1]
    parts = [
        f"{m} {_count(_steps(numbers, m, False, last))} aligned, {_count(_steps(numbers, m, True, last))} rotated"
        for m in ("Adam", "Sophia")
    ]
    return f"steps at {last:g}: " + "; ".join(parts)


def _count(steps: float) -> str:
    return f"{steps:,.0f}" if np.isfinite(steps) else "never"


def tables(numbers: Numbers) -> list[TableOf]:
    header = ("axes", "method", *(f"{condition:g}" for condition in numbers["conditions"]))
    rows = [
        ["rotated" if rotated else "aligned", method,
         *(_count(_steps(numbers, method, rotated, condition)) for condition in numbers["conditions"])]
        for rotated in (False, True)
        for method in SPACES
    ]  # fmt: skip
    bound = ["theorem", "SignGD, at least", *(f"{sign_bound(c):,.0f}" for c in numbers["conditions"])]
    other = ["theorem", "clipped Newton, about at most", *(f"{newton_bound():.0f}" for _ in numbers["conditions"])]
    return [("Steps until the loss has fallen to a hundredth, medians over five starts", header, [*rows, bound, other])]


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, whiskers
    from sophia_ref.plots.style import figure, label_ends, style_of

    fig = figure(10.5, 4, dark)
    axes = fig.subplots(1, 2, sharey=True)
    conditions = np.array(numbers["conditions"])
    for ax, rotated in zip(axes, (False, True), strict=True):
        for method in SPACES:
            rows = [row for row in numbers["rows"] if (row["method"], row["rotated"]) == (method, rotated)]
            intervals = [
                (row["median"] and max(row["median"], 0.8), row["low"] and max(row["low"], 0.8), row["high"])
                for row in rows
            ]
            whiskers(ax, [row["condition"] for row in rows], intervals, **style_of(method))
        scheme = grid(ax)
        ax.set(xscale="log", yscale="log", xlabel="condition number")
        ax.set_title("random axes" if rotated else "axes along the coordinates", fontsize=9, color=scheme.ink)
        ax.plot(conditions, list(map(sign_bound, conditions)), color=scheme.quiet, linestyle=":", label="_")
        ax.axhline(newton_bound(), color=scheme.quiet, linestyle="-.", linewidth=1)
        ax.annotate(
            "clipped Newton, about at most", (conditions[-1], newton_bound()), xytext=(0, 3), fontsize=7, ha="right",
            textcoords="offset points", color=scheme.quiet,
        )  # fmt: skip
        ax.annotate("SignGD, at least", (conditions[-1], sign_bound(conditions[-1])), xytext=(-16, 0), fontsize=7,
                    ha="right", textcoords="offset points", color=scheme.quiet)  # fmt: skip
    axes[0].set_ylabel("steps until the loss is a hundredth")
    for ax in axes:
        label_ends(ax)
    return fig


CLAIM = Claim(
    6,
    "heterogeneous",
    "Heterogeneous curvature is hard for Adam",
    "Gradient descent, sign descent and Adam slow down with the condition number; Newton's method and Sophia do not.",
    "The article; Liu et al. 2023, section 4: a bound without the condition number for clipped Newton, and one "
    "with its root for SignGD (from memory; constants derived anew).",
    "Quadratics in eight dimensions with eigenvalues from 1 to the condition number, axes along the coordinates or "
    "at random. Every method has as many trials for every condition number, on three starts; shown are five "
    "others. Sophia has the exact diagonal in every step, which is the most that it can know. The theorem is about "
    "a full matrix; it says nothing of a diagonal in a rotated bowl.",
    "T without the condition number; SignGD at least its root",
    "none needed: this is exact",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Steps to tolerance, medians and ranges over starts, with the theorem's curves.",
)
