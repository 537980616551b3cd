"""Methods that need the gradient alone and no mean square: gradient descent, momentum, and steps by sign.

Gradient descent with heavy-ball momentum: Polyak (1964), "Some methods of speeding up the convergence of iteration
methods". SignGD and Signum: Bernstein, Wang, Azizzadenesheli, Anandkumar (2018), "signSGD: Compressed Optimisation
for Non-Convex Problems", arXiv 1802.04434; the decoupled decay is that of the authors' implementations. Sophia with
every coordinate clipped is Signum with beta = beta1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from sophia_ref.optimizers.base import Array, Optimizer, Questions, Step, frozen


def gradient_descent_update(theta: Array, g: Array, *, lr: float | Array) -> tuple[Array, dict[str, Array]]:
    """Parameters theta, gradient g, both (..., P) -> new theta, terms (g, update)."""
    # θ_t = θ_{t-1} - η g_t
    theta = theta - lr * g
    return theta, {"g": g, "update": g}


def sign_gd_update(theta: Array, g: Array, *, lr: float | Array) -> tuple[Array, dict[str, Array]]:
    """Parameters theta, gradient g, both (..., P) -> new theta, terms (g, update)."""
    # θ_t = θ_{t-1} - η sign(g_t),  sign(0) = 0
    update = np.sign(g)
    theta = theta - lr * update
    return theta, {"g": g, "update": update}


def momentum_update(
    theta: Array, m: Array, g: Array, *, lr: float | Array, beta: float
) -> tuple[Array, Array, dict[str, Array]]:
    """Parameters theta, momentum m, gradient g, all (..., P) -> new theta, new m, terms (g, m, update)."""
    # m_t = β m_{t-1} + g_t
    m = beta * m + g
    # θ_t = θ_{t-1} - η m_t
    theta = theta - lr * m
    return theta, m, {"g": g, "m": m, "update": m}


def signum_update(
    theta: Array, m: Array, g: Array, *, lr: float | Array, beta: float, weight_decay: float | Array
) -> tuple[Array, Array, dict[str, Array]]:
    """Parameters theta, momentum m, gradient g, all (..., P) -> new theta, new m, terms (g, m, update)."""
    # m_t = β m_{t-1} + (1 - β) g_t
    m = beta * m + (1 - beta) * g
    # θ_{t-1} ← θ_{t-1} - η λ θ_{t-1},  θ_t = θ_{t-1} - η sign(m_t)
    update = np.sign(m)
    theta = theta - lr * weight_decay * theta
    theta = theta - lr * update
    return theta, m, {"g": g, "m": m, "update": update}


class Memoryless(NamedTuple):
    t: int  # steps taken, for schedules


class MomentumState(NamedTuple):
    t: int  # steps taken
    m: Array  # (..., P), running sum or average of gradients


@dataclass(frozen=True, eq=False)
class GradientDescent(Optimizer):
    """Learning rate lr: a number, an array that broadcasts to theta, or a schedule."""

    State: ClassVar[type[Memoryless]] = Memoryless

    def step(self, theta: Array, state: Memoryless, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        theta, terms = gradient_descent_update(theta, g, lr=lr)
        return Step(theta, Memoryless(t), terms)


@dataclass(frozen=True, eq=False)
class SignGD(Optimizer):
    """Every coordinate moves by the learning rate lr: a number, an array that broadcasts to theta, or a schedule."""

    State: ClassVar[type[Memoryless]] = Memoryless

    def step(self, theta: Array, state: Memoryless, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        theta, terms = sign_gd_update(theta, g, lr=lr)
        return Step(theta, Memoryless(t), terms)


@dataclass(frozen=True, eq=False)
class Momentum(Optimizer):
    """Learning rate lr, momentum decay beta. Gradients are summed, not averaged: far along a constant slope a step is
    lr / (1 - beta) times the gradient. lr may be an array that broadcasts to theta, or a schedule."""

    beta: float = 0.9

    State: ClassVar[type[MomentumState]] = MomentumState

    def step(self, theta: Array, state: MomentumState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        theta, m, terms = momentum_update(theta, state.m, g, lr=lr, beta=self.beta)
        return Step(theta, MomentumState(t, frozen(m)), terms)


@dataclass(frozen=True, eq=False)
class Signum(Optimizer):
    """Learning rate lr, momentum decay beta, decoupled weight_decay. lr may be a schedule; lr and weight_decay may be
    arrays that broadcast to theta."""

    beta: float = 0.9
    weight_decay: float | Array = 0.0

    State: ClassVar[type[MomentumState]] = MomentumState

    def step(self, theta: Array, state: MomentumState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        weight_decay = self.at("weight_decay", theta)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        theta, m, terms = signum_update(theta, state.m, g, lr=lr, beta=self.beta, weight_decay=weight_decay)
        return Step(theta, MomentumState(t, frozen(m)), terms)
