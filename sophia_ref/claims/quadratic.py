"""Quadratics in which everything can be turned: L = 1/2 sum_i lambda_i (r_i . theta)^2 with lambda from 1 to kappa.

Rows of theta are independent runs: trials times starts, all at once. Derivatives are exact and cost nothing, so that
ten thousands of steps of a thousand runs take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.runs import LOST
from sophia_ref.claims.statistics import Tuned, difference, mean, speedup
from sophia_ref.study import Space, sobol

Array = Any
TUNED, SHOWN = (1000, 1001, 1002), (0, 1, 2, 3, 4)  # seeds of rotations and starts: disjoint


class Quadratic:
    """What an optimizer may ask about rows theta (trials, seeds, d): eigenvalues (d,), rotations R (seeds, d, d), whose
    rows are the eigenvectors, noise (trials, seeds, d) to be added to the gradient."""

    def __init__(self, eigenvalues: Array, rotations: Array, theta: Array, noise: Array, rng: Any = None) -> None:
        self.eigenvalues, self.rotations, self.theta, self.noise, self.rng = eigenvalues, rotations, theta, noise, rng

    def loss(self) -> Array:
        """(trials, seeds)."""
        return (self.eigenvalues * self._turned(self.theta) ** 2).sum(-1) / 2

    def grad(self) -> Array:
        return self.hvp(self.theta) + self.noise

    def hvp(self, v: Array) -> Array:
        return np.einsum("sij,tsi->tsj", self.rotations, self.eigenvalues * self._turned(v))

    def hessian(self) -> Array:
        H = np.einsum("sij,i,sik->sjk", self.rotations, self.eigenvalues, self.rotations)
        return np.broadcast_to(H, (*self.theta.shape, self.theta.shape[-1]))

    def hessian_diag(self) -> Array:
        diagonal = np.einsum("sij,i,sij->sj", self.rotations, self.eigenvalues, self.rotations)
        return np.broadcast_to(diagonal, self.theta.shape)

    def curvature(self, estimator: Any) -> Array:
        return estimator(self)

    def _turned(self, v: Array) -> Array:
        """R v, (trials, seeds, d)."""
        return np.einsum("sij,tsj->tsi", self.rotations, v)


def instances(seeds: Sequence[int], d: int, condition: float, rotated: bool) -> tuple[Array, Array, Array]:
    """Eigenvalues (d,), spread evenly in their logarithm from 1 to condition; rotations (seeds, d, d), the identity or
    drawn from Haar's measure; and starts (seeds, d) drawn evenly from where the loss is 1/2."""
    eigenvalues = np.geomspace(1.0, condition, d)
    rotations, starts = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        Q, R = np.linalg.qr(rng.standard_normal((d, d)))
        Q = Q * np.sign(np.diag(R)) if rotated else np.eye(d)
        c = rng.standard_normal(d)
        rotations.append(Q)
        starts.append(Q.T @ (c / np.linalg.norm(c) / np.sqrt(eigenvalues)))
    return eigenvalues, np.array(rotations), np.array(starts)


def settings_of(space: Space, trials: int) -> dict[str, Array]:
    """Sobol points as columns: each setting (trials, 1, 1), to be broadcast to theta."""
    points = sobol(space, trials)
    return {name: np.array([point[name] for point in points])[:, None, None] for name in space}


# -- the map: AdamW against Sophia with noise on the gradient ----------------------------------------------------------

DIMENSION, START = 32, 0.5  # START: the loss there
MAP_SPACES: dict[str, Space] = {
    "AdamW": {"lr": (1e-5, 1.0)},
    "Sophia": {"lr": (1e-5, 1.0), "gamma": (1e-2, 1e2)},
}
# beta1, beta2: trial i has pair i modulo nine, an odd number, as every other Sobol point lies in one half of a range.
# Sophia's beta2 counts estimates, AdamW's counts steps.
BETAS = (0.8, 0.9, 0.96)
DECAYS = {
    "AdamW": tuple(product(BETAS, (0.9, 0.95, 0.99))),
    "Sophia": tuple(product(BETAS, (0.8, 0.9, 0.96))),
}
EVERY = 10
LEAST = 1e-300  # loss that is told from nothing
UNLEARNED = 0.98  # of the loss at the start: above it AdamW has learned next to nothing
COST = 1 + 3 / EVERY  # of a step of Sophia, by the oracle's price of a Hessian-vector product


def trials_of(budget: Any) -> int:
    """Of each method in each cell."""
    return int(budget.of(64, 16, 4))


def map_of_speedups(budget: Any) -> list[dict[str, Any]]:
    """Cells of the map on the quadratic, each tuned anew for each length, with trials_of(budget) trials. Losses span a
    hundred decades, so all of it is in their logarithm."""
    conditions = budget.of((1.0, 1e2, 1e4), (1.0, 1e4), (1.0, 1e2))
    noises = budget.of((0.0, 0.1, 1.0), (0.0, 1.0), (0.0, 1.0))
    lengths = budget.of((100, 400, 1600), (20, 40, 80), (2, 4, 8))
    others = (lengths[0] // 2, *lengths, 2 * lengths[-1])
    idle = float(np.log10(UNLEARNED * START))
    cells = []
    for rotated, condition, noise in product((False, True), conditions, noises):
        found = {
            (method, steps): tuned_on(method, condition, rotated, noise, steps, trials_of(budget))
            for method, own in (("AdamW", others), ("Sophia", lengths))
            for steps in own
        }
        adamw = [found["AdamW", steps] for steps in others]
        cells += [
            {"axes": "rotated" if rotated else "aligned", "condition": condition, "noise": noise, "cost": COST,
             **compared(found["Sophia", steps], steps, others, adamw, idle)}
            for steps in lengths
        ]  # fmt: skip
    return cells


def compared(own: Tuned, steps: int, lengths: Sequence[int], adamw: Sequence[Tuned], idle: float) -> dict[str, Any]:
    """What the map holds of Sophia's runs of `steps` steps, beside AdamW's of these lengths. worse: whether AdamW's
    loss is above that of a shorter run of its own. idle: whether it is above the loss of this name."""
    i = list(lengths).index(steps)
    means = [float(np.mean(method.losses)) for method in adamw]
    return {
        "steps": steps,
        "loss": mean(own),
        "adamw": mean(adamw[i]),
        "minus_adamw": difference(own, adamw[i]),
        "speedup": speedup(own, steps, lengths, adamw),
        "ends": [lengths[0] / steps, lengths[-1] / steps],
        "worse": means[i] > min(means[: i + 1]),
        "idle": means[i] > idle,
    }


def tuned_on(method: str, condition: float, rotated: bool, noise: float, steps: int, trials: int) -> Tuned:
    """Its losses over SHOWN with the trial that is best over TUNED, and the trials' scores, (trials,), in log10."""
    settings, pairs = settings_of(MAP_SPACES[method], trials), DECAYS[method]
    mine = np.arange(trials) % len(pairs)
    scores = np.zeros(trials)
    for i, pair in enumerate(pairs):
        own = {name: values[mine == i] for name, values in settings.items()}
        if len(own["lr"]):
            scores[mine == i] = _descend(method, own, pair, condition, rotated, noise, steps, TUNED).mean(axis=1)
    best = int(np.argmin(scores))
    own = {name: values[best : best + 1] for name, values in settings.items()}
    return Tuned(_descend(method, own, pairs[mine[best]], condition, rotated, noise, steps, SHOWN)[0], scores)


def _descend(
    method: str,
    settings: dict[str, Array],
    decays: tuple[float, float],
    condition: float,
    rotated: bool,
    noise: float,
    steps: int,
    seeds: Sequence[int],
) -> Array:
    """log10 of the losses at the end, (trials, seeds), at most LOST, which a row has that left the finite numbers. The
    noise on the gradient is `noise` times the root of the curvature along each axis, as that of sampled data is:
    covariance noise^2 H / d."""
    eigenvalues, rotations, starts = instances(seeds, DIMENSION, condition, rotated)
    trials = len(settings["lr"])
    theta = np.broadcast_to(starts, (trials, *starts.shape)).copy()
    rngs = [np.random.default_rng([seed, 1]) for seed in seeds]
    probes = np.random.default_rng([seeds[0], 2])
    shape = sr.cosine(1.0, steps, warmup=steps // 10)
    scale = noise * np.sqrt(eigenvalues / DIMENSION)
    beta1, beta2 = decays
    rule: Any = None
    state: Any = None
    lost = np.zeros(theta.shape[:2], bool)
    with np.errstate(all="ignore"):
        for t in range(1, steps + 1):
            lr = settings["lr"] * shape(t)
            if method == "AdamW":
                rule = sr.AdamW(lr, beta1, beta2, weight_decay=0.0)
            else:
                rule = sr.Sophia(lr, beta1, beta2, gamma=settings["gamma"], every=EVERY)
            state = rule.init(theta) if state is None else state
            drawn = np.stack(
                [scale * rng.standard_normal(DIMENSION) for rng in rngs]
            )  # (seeds, d), alike for all trials
            xi = np.einsum("sij,si->sj", rotations, drawn)
            oracle = Quadratic(eigenvalues, rotations, theta, np.broadcast_to(xi, theta.shape), probes)
            new, state, _ = rule.step(theta, state, oracle)
            gone = ~np.isfinite(new).all(-1) | (np.abs(new).max(-1) > 1e50)
            lost |= gone
            theta = np.where(lost[..., None], theta, new)
        losses: Array = Quadratic(eigenvalues, rotations, theta, 0.0).loss()
    return np.log10(np.where(lost, LOST, losses).clip(LEAST, LOST))
