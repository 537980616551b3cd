"""Lion: the sign of an interpolation between momentum and gradient.

Chen et al. (2023), "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675, Algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sophia_ref.optimizers.base import Array, Optimizer, Questions, Step, frozen
from sophia_ref.optimizers.first_order import MomentumState


def lion_update(
    theta: Array,
    m: Array,
    g: Array,
    *,
    lr: float | Array,
    beta1: float,
    beta2: float,
    weight_decay: float | Array,
) -> tuple[Array, Array, dict[str, Array]]:
    """Parameters theta, momentum m, gradient g, all (..., P) -> new theta, new m, terms (g, m, c, update)."""
    # c_t = β₁ m_{t-1} + (1 - β₁) g_t
    c = beta1 * m + (1 - beta1) * g
    # θ_t = θ_{t-1} - η (sign(c_t) + λ θ_{t-1})
    update = np.sign(c) + weight_decay * theta
    theta = theta - lr * update
    # m_t = β₂ m_{t-1} + (1 - β₂) g_t
    m = beta2 * m + (1 - beta2) * g
    return theta, m, {"g": g, "m": m, "c": c, "update": update}


@dataclass(frozen=True, eq=False)
class Lion(Optimizer):
    """Learning rate lr, interpolation beta1 of the step, momentum decay beta2, decoupled weight_decay.

    lr may be a schedule; lr and weight_decay may be arrays that broadcast to theta. The Sophia paper compares with
    beta1 = 0.95, beta2 = 0.98.
    """

    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float | Array = 0.0

    State: ClassVar[type[MomentumState]] = MomentumState

    def step(self, theta: Array, state: MomentumState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        weight_decay = self.at("weight_decay", theta)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        theta, m, terms = lion_update(
            theta, state.m, g, lr=lr, beta1=self.beta1, beta2=self.beta2, weight_decay=weight_decay
        )
        return Step(theta, MomentumState(t, frozen(m)), terms)
