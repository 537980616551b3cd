"""Newton's method and three cures for its weaknesses, each a different division in the eigenbasis of the Hessian.

With H = V diag(s) Vᵀ, the gradient has the coordinates c = Vᵀ g. Newton's step divides each by its curvature, q = c /
s: it climbs where s < 0, and explodes where s is nearly 0. Damping shifts s, the saddle-free method takes |s|, and
clipping bounds q. Then theta moves by -lr V q.

Saddle-free: Dauphin et al. (2014), arXiv 1406.2572. Clipped: the theory section of Liu et al. (2023), arXiv
2305.14342 (from memory, not checked against a source), with lr = 1/2 on convex losses; its step count does not grow
with the condition number, as the tests show on quadratics.

Only the symmetric part of the Hessian is used. It is dense: P x P numbers and P³ work for each run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sophia_ref.optimizers.base import Array, Optimizer, Questions, Step
from sophia_ref.optimizers.first_order import Memoryless

Result = tuple[Array, dict[str, Array]]


def newton_update(theta: Array, g: Array, hessian: Array, *, lr: float | Array) -> Result:
    """Parameters theta and gradient g (..., P), hessian (..., P, P) -> new theta, terms: g, eigenvalues s (..., P),
    eigenvectors V (..., P, P) as columns, coordinates c (..., P), q (..., P), update = V q (..., P)."""
    s, V, c = _eigenbasis(g, hessian)
    # q = c / s
    q = _divide(c, s)
    return _descend(theta, lr, g, s, V, c, q)


def damped_newton_update(theta: Array, g: Array, hessian: Array, *, lr: float | Array, damping: float) -> Result:
    """As newton_update, with every eigenvalue raised by damping."""
    s, V, c = _eigenbasis(g, hessian)
    # q = c / (s + δ)
    q = _divide(c, s + damping)
    return _descend(theta, lr, g, s, V, c, q)


def saddle_free_newton_update(theta: Array, g: Array, hessian: Array, *, lr: float | Array, damping: float) -> Result:
    """As newton_update, with the magnitudes of the eigenvalues, raised by damping."""
    s, V, c = _eigenbasis(g, hessian)
    # q = c / (|s| + δ)
    q = _divide(c, np.abs(s) + damping)
    return _descend(theta, lr, g, s, V, c, q)


def clipped_newton_update(theta: Array, g: Array, hessian: Array, *, lr: float | Array, rho: float) -> Result:
    """As newton_update, with |q| at most rho; terms also hold ratio (before the clip) and clipped (whether the clip
    changed it), both in the eigenbasis."""
    s, V, c = _eigenbasis(g, hessian)
    # q = clip(c / s, ρ), to the letter: it climbs where s < 0, and where s = 0 it is ρ sign(c)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(c == 0, c, c / s)
    q = np.clip(ratio, -rho, rho)
    theta, terms = _descend(theta, lr, g, s, V, c, q)
    return theta, terms | {"ratio": ratio, "clipped": np.abs(ratio) > rho}


def _eigenbasis(g: Array, hessian: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues s, eigenvectors V, and the gradient's coordinates c."""
    # (H + Hᵀ) / 2 = V diag(s) Vᵀ,  c = Vᵀ g
    s, V = np.linalg.eigh((hessian + np.swapaxes(hessian, -1, -2)) / 2)
    c = (np.swapaxes(V, -1, -2) @ g[..., None])[..., 0]
    return s, V, c


def _divide(c: Array, s: Array) -> Array:
    """c / s, but 0 where |s| is rounding error beside the largest: directions without curvature are left alone."""
    size = np.abs(s)
    rounding = s.shape[-1] * np.finfo(s.dtype).eps * size.max(axis=-1, keepdims=True)
    return c / np.where(size > rounding, s, np.inf)


def _descend(theta: Array, lr: float | Array, g: Array, s: Array, V: Array, c: Array, q: Array) -> Result:
    # θ_t = θ_{t-1} - η V q
    update = (V @ q[..., None])[..., 0]
    theta = theta - lr * update
    return theta, {"g": g, "eigenvalues": s, "eigenvectors": V, "c": c, "q": q, "update": update}


class _SecondOrder(Optimizer):
    """Asks for gradient and Hessian, and leaves the rest to its rule."""

    State: ClassVar[type[Memoryless]] = Memoryless

    def step(self, theta: Array, state: Memoryless, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        hessian = self.checked("hessian", oracle.hessian(), (*theta.shape, theta.shape[-1]), theta.dtype)
        theta, terms = self.rule(theta, g, hessian, lr)
        return Step(theta, Memoryless(t), terms)

    def rule(self, theta: Array, g: Array, hessian: Array, lr: float | Array) -> Result:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Newton(_SecondOrder):
    """q = c / s, learning rate lr (a number, an array that broadcasts to theta, or a schedule).

    It is drawn to critical points of every kind. Directions without curvature, |s| <= P eps max|s| with the eps of the
    dtype, are left alone.
    """

    def rule(self, theta: Array, g: Array, hessian: Array, lr: float | Array) -> Result:
        return newton_update(theta, g, hessian, lr=lr)


@dataclass(frozen=True, eq=False)
class DampedNewton(_SecondOrder):
    """q = c / (s + damping), learning rate lr: downhill once the damping exceeds the most negative curvature."""

    damping: float

    def rule(self, theta: Array, g: Array, hessian: Array, lr: float | Array) -> Result:
        return damped_newton_update(theta, g, hessian, lr=lr, damping=self.damping)


@dataclass(frozen=True, eq=False)
class SaddleFreeNewton(_SecondOrder):
    """q = c / (|s| + damping), learning rate lr: downhill everywhere."""

    damping: float = 0.0

    def rule(self, theta: Array, g: Array, hessian: Array, lr: float | Array) -> Result:
        return saddle_free_newton_update(theta, g, hessian, lr=lr, damping=self.damping)


@dataclass(frozen=True, eq=False)
class ClippedNewton(_SecondOrder):
    """q = clip(c / s, rho), learning rate lr: no eigendirection moves further than lr * rho in a step."""

    rho: float

    def rule(self, theta: Array, g: Array, hessian: Array, lr: float | Array) -> Result:
        return clipped_newton_update(theta, g, hessian, lr=lr, rho=self.rho)
