"""Steps to tolerance on quadratics: the experiment of claim 6, tuned with equal budgets, and the theorem's bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.quadratic import TUNED, Quadratic, instances
from sophia_ref.study import Settings, Space, sobol

Array = Any
DIMENSION = 8
DELTA, FALL = 0.5, 100.0  # the loss at the start, over the minimum's 0, and by what factor it is to fall

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


def steps_to_tolerance(opt: Any, bowl: tuple[Array, Array, Array], most: int) -> tuple[Array, Array]:
    """After how many steps the loss has first fallen by FALL, infinite if not within `most`, and the loss at the end.

    bowl: eigenvalues (d,), rotations (starts, d, d), starts (starts, d), as `instances` makes them, or other starts for
    each learning rate, (rates, starts, d). Both answers are (rates, starts), for a learning rate (rates, 1, 1), or one
    that is a number. All are rows of one theta, and it ends when all of them are there."""
    eigenvalues, rotations, starts = bowl
    rates = np.broadcast_shapes(np.shape(opt.lr), (1, 1, 1))[0]
    theta = np.broadcast_to(starts, (rates, *starts.shape[-2:]))
    state, steps = opt.init(theta), np.full(theta.shape[:2], np.inf)
    with np.errstate(all="ignore"):
        for t in range(most + 1):
            oracle = Quadratic(eigenvalues, rotations, theta, 0.0)
            there = oracle.loss() <= DELTA / FALL
            steps = np.where(there & np.isinf(steps), t, steps)
            if np.isfinite(steps).all() or t == most:
                break
            theta, state, _ = opt.step(theta, state, oracle)
            if not np.abs(theta).max() < 1e30:  # diverged: what is not there by now will not come
                break
        return steps, Quadratic(eigenvalues, rotations, theta, 0.0).loss()


def rank(steps: Array, losses: Array) -> tuple[float, float]:
    """The score of a trial, smaller is better: first the starts from which it does not arrive; then the slowest, where
    it does from all, or the loss that it ends with from those."""
    late = np.isinf(steps)
    if not late.any():
        return 0.0, float(steps.max())
    return float(late.sum()), float(np.nan_to_num(losses[late], nan=np.inf).mean())


def tuned(method: str, condition: float, rotated: bool, trials: int, most: int) -> Settings:
    """The best of the trials on the starts of TUNED."""
    bowl, limit = instances(TUNED, DIMENSION, condition, rotated), most
    best: tuple[float, float] = (np.inf, np.inf)
    settings: Settings = {}
    for trial in sobol(SPACES[method], trials):
        # a trial that is slower than the best so far need not be followed further
        score = rank(*steps_to_tolerance(rule(method, trial, condition), bowl, limit))
        if not settings or score < best:
            best, settings = score, trial
            limit = int(best[1]) if best[0] == 0 else most
    return settings


def worst_sign(condition: float) -> float:
    """Steps of SignGD on the theorem's bowl, x^2/2 + condition y^2/2, from the start of its proof, with the learning
    rate lr that is best for that.

    y starts at lr/2, from where it bounces to -lr/2 and back for ever, with the loss condition lr^2 / 8: lr must be so
    small that this is below DELTA / FALL. x starts as far out as then leaves a loss of DELTA, and comes lr nearer in a
    step."""
    rates = np.linspace(0.5, 1, 201) * np.sqrt(8 * DELTA / FALL / condition)
    starts = np.stack([np.sqrt(2 * DELTA - condition * rates**2 / 4), rates / 2], axis=-1)[:, None]  # (rates, 1, 2)
    bowl = np.array([1.0, condition]), np.eye(2)[None], starts
    steps, _ = steps_to_tolerance(sr.SignGD(rates[:, None, None]), bowl, int(7 * np.sqrt(condition)) + 8)
    return float(steps.min())


def sign_bound(condition: float) -> float:
    """At least so many steps of SignGD from the worst start on mu x^2/2 + beta y^2/2: (sqrt(Delta/eps) - sqrt 2)
    sqrt(beta/mu) / 2."""
    return float((FALL**0.5 - 2**0.5) * condition**0.5 / 2)


def newton_bound() -> float:
    """About at most so many steps of clipped Newton, at every condition number: d Delta / (mu R^2) + ln(mu R^2 / (32 d
    eps)), with R^2 = 2 Delta / mu, the distance within which the loss is below Delta."""
    R2 = 2 * DELTA
    return DIMENSION * DELTA / R2 + max(0.0, float(np.log(R2 / (32 * DIMENSION * DELTA / FALL))))
