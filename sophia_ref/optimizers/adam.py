"""Adam and AdamW: momentum over the root of a running mean of squared gradients.

Kingma, Ba (2015), "Adam: A Method for Stochastic Optimization", arXiv 1412.6980, Algorithm 1: eps is added outside
the root. Loshchilov, Hutter (2019), "Decoupled Weight Decay Regularization", arXiv 1711.05101: AdamW's decay does not
pass through the running averages; as in PyTorch it is multiplied by the learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sophia_ref.optimizers.base import Array, Optimizer, Questions, Step, frozen


def adam_update(
    theta: Array, m: Array, v: Array, g: Array, *, t: int, lr: float | Array, beta1: float, beta2: float, eps: float
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Parameters theta, momentum m, mean square v, gradient g, all (..., P), at step t >= 1 -> new theta, m, v, terms.

    terms: g, m, v, m_hat, v_hat, denominator, update.
    """
    # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    m = beta1 * m + (1 - beta1) * g
    # v_t = β₂ v_{t-1} + (1 - β₂) g_t²
    v = beta2 * v + (1 - beta2) * g**2
    # m̂_t = m_t / (1 - β₁ᵗ),  v̂_t = v_t / (1 - β₂ᵗ)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    # θ_t = θ_{t-1} - η m̂_t / (√v̂_t + ε)
    denominator = np.sqrt(v_hat) + eps
    update = m_hat / denominator
    theta = theta - lr * update
    terms = {"g": g, "m": m, "v": v, "m_hat": m_hat, "v_hat": v_hat, "denominator": denominator, "update": update}
    return theta, m, v, terms


def adamw_update(
    theta: Array, m: Array, v: Array, g: Array, *, lr: float | Array, weight_decay: float | Array, **adam: Any
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Adam's rule from a decayed theta; the other arguments are adam_update's."""
    # θ_{t-1} ← θ_{t-1} - η λ θ_{t-1}
    theta = theta - lr * weight_decay * theta
    return adam_update(theta, m, v, g, lr=lr, **adam)


class AdamState(NamedTuple):
    t: int  # steps taken
    m: Array  # (..., P), running average of gradients
    v: Array  # (..., P), running average of squared gradients


@dataclass(frozen=True, eq=False)
class Adam(Optimizer):
    """Learning rate lr, momentum decay beta1, mean-square decay beta2, eps added to the denominator.

    lr may be a schedule, or an array that broadcasts to theta.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    State: ClassVar[type[AdamState]] = AdamState

    def step(self, theta: Array, state: AdamState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        rest = {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}
        theta, m, v, terms = adam_update(theta, state.m, state.v, g, t=t, lr=lr, **rest)
        return Step(theta, AdamState(t, frozen(m), frozen(v)), terms)


@dataclass(frozen=True, eq=False)
class AdamW(Adam):
    """Adam with decoupled weight_decay, a number or an array that broadcasts to theta.

    The Sophia paper compares with beta1 = 0.9, beta2 = 0.95, weight_decay = 0.1; the defaults here are PyTorch's.
    """

    weight_decay: float | Array = 0.01

    def step(self, theta: Array, state: AdamState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        weight_decay = self.at("weight_decay", theta)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        rest = {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}
        theta, m, v, terms = adamw_update(theta, state.m, state.v, g, t=t, lr=lr, weight_decay=weight_decay, **rest)
        return Step(theta, AdamState(t, frozen(m), frozen(v)), terms)
