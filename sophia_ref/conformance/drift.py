"""How far each dialect drifts from the paper, with settings converted to mean the same as far as they can.

All start from one point, see the same batches, and their n-th estimates draw the same probe or the same labels:
Gaussian probes, and the signs of these where an implementation takes signs. A dialect that estimates from
Hessian-vector products is compared with the paper's Sophia-H; one that squares gradients with its Sophia-G, or with
Sophia-H on a landscape, which has no labels to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sophia_ref.conformance.conversions import v2_to_official, v2_to_v1
from sophia_ref.conformance.dialects import DIALECTS, Dialect
from sophia_ref.conformance.engine import Variant
from sophia_ref.conformance.estimators import ESTIMATORS
from sophia_ref.oracle import Oracle
from sophia_ref.run import Run, run

Array = Any
STEPS = 30
ROUNDING = 1e-9  # a distance below this, relative to the largest |theta|, is rounding


class Drift(NamedTuple):
    """A dialect's run beside the paper's."""

    dialect: str
    estimator: str
    run: Run
    paper: Run
    distances: Array  # (steps + 1,), Euclidean, of theta from the paper's

    @property
    def first(self) -> int | None:
        """The first step after which theta is another, by more than rounding."""
        other = np.flatnonzero(~(self.distances <= ROUNDING * max(1.0, np.abs(self.paper.trajectory).max())))
        return int(other[0]) if len(other) else None


def signs_of_normals(oracle: Any) -> Array:
    """Hutchinson with the signs of the probe that `sophia_ref.hutchinson` would have drawn here."""
    u = np.sign(oracle.rng.standard_normal(oracle.theta.shape, oracle.theta.dtype))
    return u * oracle.hvp(u)


def spoken(dialect: Dialect, estimator: str, paper: dict[str, Any], B: float) -> Variant:
    """The dialect with the paper's settings lr, beta1, beta2, gamma, eps, weight_decay, every, converted.

    B: predictions in a batch. What a dialect does not let its user set stays as it is.
    """
    rest = {name: paper[name] for name in ("lr", "gamma", "eps", "weight_decay")}
    if dialect.knobs.batch_at_step:
        converted = v2_to_official(rest["lr"], rest["gamma"], B, weight_decay=rest["weight_decay"])
        converted["gamma"] = converted.pop("rho")
    elif dialect.form == "v1":
        converted = v2_to_v1(**rest)
        converted["clip"] = converted.pop("rho")
        if dialect.knobs.rate_over_clip:  # lr is eta rho already, also for the decay
            converted |= {name: rest[name] for name in ("lr", "weight_decay")}
    else:
        converted = rest
    converted |= {name: paper[name] for name in ("beta1", "beta2", "every")}
    own = {name: converted.get(dialect.canonical.get(name, name)) for name in dialect.settings}
    same_probe = signs_of_normals if estimator == "rademacher" else estimator
    return dialect.optimizer(same_probe, **{name: value for name, value in own.items() if value is not None})


def drift(problem: Any, paper: dict[str, Any], seed: int = 0, steps: int = STEPS) -> tuple[list[Drift], list[str]]:
    """Every dialect, with each of its estimators, beside the paper; and the names of those that need labels which this
    problem does not have.

    problem: a Problem. paper: settings of the paper's second form by name, as `spoken` takes them.
    """
    labels = hasattr(problem, "sampled_loss")
    B = 1.0
    if labels:
        rng = np.random.default_rng(seed)
        B = Oracle(problem, problem.init(rng), problem.batch(rng, ())).predictions()
    papers = {
        estimator: run(problem, spoken(DIALECTS["paper-v2"], estimator, paper, B), steps, seed=seed)
        for estimator in ("gaussian", *(["gnb"] if labels else []))
    }
    found, left_out = [], []
    for dialect in DIALECTS.values():
        for estimator in dialect.estimators:
            _, _, draws = ESTIMATORS[estimator]
            if draws and not labels:
                left_out.append(f"{dialect.name} ({estimator})")
                continue
            reference = papers["gnb" if labels and "u(Hu)" not in ESTIMATORS[estimator][1] else "gaussian"]
            done = run(problem, spoken(dialect, estimator, paper, B), steps, seed=seed)
            found.append(Drift(dialect.name, estimator, done, reference, _distances(done, reference)))
    return found, left_out


def _distances(one: Run, other: Run) -> Array:
    """Between the trajectories of two runs, for as long as both are finite."""
    n = min(len(one.steps), len(other.steps))
    distances = np.full(max(len(one.steps), len(other.steps)), np.nan)
    with np.errstate(over="ignore"):
        distances[:n] = np.linalg.norm(one.trajectory[:n] - other.trajectory[:n], axis=-1)
    return distances


def furthest(found: Sequence[Drift]) -> list[Drift]:
    """Those that differ, the furthest first."""
    return sorted((each for each in found if each.first is not None), key=lambda each: -np.nanmax(each.distances))
