"""Sophia: momentum over a running diagonal of the Hessian, clipped coordinate by coordinate.

Liu, Li, Hall, Liang, Ma (2023), "Sophia: A Scalable Stochastic Second-order Optimizer for Language Model
Pre-training", arXiv 2305.14342, Algorithm 3 in its later form, where gamma scales h and the clip is at 1. The first
form, theta - eta clip(m / max(h, eps1), rho) with decay lambda, is this rule with lr = rho eta, gamma = rho, eps =
rho eps1 and weight_decay = lambda / rho.

Nothing is bias-corrected and h starts at zero, so with beta2 = 0.99 and an estimate every 10 steps it takes thousands
of steps to grow to the size of the curvature: h holds 10% of it after 100 steps, 39% after 500, 63% after 1,000. Until
then more coordinates are clipped, whose steps are those of sign momentum. To show more than that, a toy problem needs
gamma near 1 and a smaller beta2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from sophia_ref.curvature import gnb, hutchinson
from sophia_ref.optimizers.base import Array, Estimator, Optimizer, Questions, Step, frozen


def sophia_update(
    theta: Array,
    m: Array,
    h: Array,
    g: Array,
    *,
    lr: float | Array,
    beta1: float,
    gamma: float | Array,
    clip: float,
    eps: float,
    weight_decay: float | Array,
) -> tuple[Array, Array, dict[str, Array]]:
    """Parameters theta, momentum m, curvature h, gradient g, all (..., P) -> new theta, new m, terms.

    Where h is zero or negative the denominator is eps, the ratio is huge, and clipping turns the step into lr * clip
    * sign(m). terms: g, m, h, denominator, ratio (before the clip), clipped (whether the clip changed it), update.
    """
    # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    m = beta1 * m + (1 - beta1) * g
    # ratio = m_t / max(γ h_t, ε)
    denominator = np.maximum(gamma * h, eps)
    ratio = m / denominator
    # update = clip(ratio, ρ),  clip(z, ρ) = max(min(z, ρ), -ρ),  ρ = 1 in the paper
    update = np.clip(ratio, -clip, clip)
    clipped = np.abs(ratio) > clip
    # θ_t ← θ_t - η_t λ θ_t
    theta = theta - lr * weight_decay * theta
    # θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), 1)
    theta = theta - lr * update
    terms = {"g": g, "m": m, "h": h, "denominator": denominator, "ratio": ratio, "clipped": clipped, "update": update}
    return theta, m, terms


class SophiaState(NamedTuple):
    t: int  # steps taken
    m: Array  # (..., P), running average of gradients
    h: Array  # (..., P), running average of curvature estimates


@dataclass(frozen=True, eq=False)
class Sophia(Optimizer):
    """Learning rate lr, momentum decay beta1, curvature decay beta2, curvature scale gamma, greatest ratio clip
    (np.inf: no clipping), least denominator eps, decoupled weight decay, and every how many steps estimator (oracle
    -> h_hat) is asked.

    It is asked before the steps t = 1, 1 + every, 1 + 2 every, ..., and their terms hold h_hat too. lr, gamma and
    weight_decay may be arrays that broadcast to theta; lr may be a schedule.

    >>> class Bowl:  # 2 x^2 at x = 3
    ...     def grad(self):
    ...         return np.array([12.0])
    ...     def curvature(self, estimator):
    ...         return np.array([4.0])
    >>> opt = Sophia(lr=0.5, beta1=0.0, beta2=0.0, gamma=1.0, clip=2.0)
    >>> theta = np.array([3.0])
    >>> step = opt.step(theta, opt.init(theta), Bowl())
    >>> step.terms["ratio"], step.terms["update"], step.theta  # Newton's 12/4 is clipped at 2
    (array([3.]), array([2.]), array([2.]))
    """

    beta1: float = 0.96
    beta2: float = 0.99
    gamma: float | Array = 0.01
    clip: float = 1.0
    eps: float = 1e-12
    weight_decay: float | Array = 0.0
    every: int = 10
    estimator: Estimator = hutchinson

    State: ClassVar[type[SophiaState]] = SophiaState

    def step(self, theta: Array, state: SophiaState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        gamma, weight_decay = self.at("gamma", theta), self.at("weight_decay", theta)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        h, estimate = state.h, {}
        # the paper's t mod k = 1 would never hold for k = 1
        if (t - 1) % self.every == 0:
            h_hat = self.checked("h_hat", oracle.curvature(self.estimator), theta.shape, theta.dtype)
            # h_t = β₂ h_{t-k} + (1 - β₂) ĥ_t
            h = frozen(self.beta2 * h + (1 - self.beta2) * h_hat)
            estimate = {"h_hat": h_hat}
        rest = {"beta1": self.beta1, "clip": self.clip, "eps": self.eps}
        theta, m, terms = sophia_update(theta, state.m, h, g, lr=lr, gamma=gamma, weight_decay=weight_decay, **rest)
        return Step(theta, SophiaState(t, frozen(m), h), terms | estimate)


@dataclass(frozen=True, eq=False)
class SophiaH(Sophia):
    """Sophia with Hutchinson's estimator, h_hat = u * (H u) with u ~ N(0, I), which can be negative.

    gamma = 0.01 as in the paper's experiments (from memory, not checked against a source).
    """


@dataclass(frozen=True, eq=False)
class SophiaG(Sophia):
    """Sophia with the Gauss-Newton-Bartlett estimator, h_hat = B g_hat * g_hat with labels sampled from the model,
    which is never negative. It needs a problem with a likelihood.

    gamma = 0.05 as in the paper's experiments (from memory, not checked against a source).
    """

    gamma: float | Array = 0.05
    estimator: Estimator = gnb
