"""AdaHessian: Adam with a Hessian diagonal where Adam has the gradient in its mean square.

Yao, Gholami, Shen, Mustafa, Keutzer, Mahoney (2021), "ADAHESSIAN: An Adaptive Second Order Optimizer for Machine
Learning", arXiv 2006.00719, with its Hessian power at 1 and its estimate, u * (H u) with random signs u, drawn at
every step.

The estimate is averaged over blocks of each tensor, for less variance. The paper's equation averages the signed
estimates, as here; the authors' published code averages their magnitudes, which is larger wherever signs differ
within a block. Its decay, decoupled as here, is not in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from sophia_ref.autodiff import Layout
from sophia_ref.curvature import hutchinson_rademacher
from sophia_ref.optimizers.base import Array, Estimator, Optimizer, Questions, Step, frozen


def adahessian_update(
    theta: Array,
    m: Array,
    v: Array,
    g: Array,
    D: Array,
    *,
    t: int,
    lr: float | Array,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float | Array,
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """Parameters theta, momentum m, mean square v, gradient g, averaged Hessian diagonal D, all (..., P), at step t
    >= 1 -> new theta, m, v, terms (g, D, m, v, m_hat, v_hat, denominator, update)."""
    # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    m = beta1 * m + (1 - beta1) * g
    # v_t = β₂ v_{t-1} + (1 - β₂) D_t²
    v = beta2 * v + (1 - beta2) * D**2
    # m̂_t = m_t / (1 - β₁ᵗ),  v̂_t = v_t / (1 - β₂ᵗ)
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    # θ_{t-1} ← θ_{t-1} - η λ θ_{t-1},  θ_t = θ_{t-1} - η m̂_t / (√v̂_t + ε)
    denominator = np.sqrt(v_hat) + eps
    update = m_hat / denominator
    theta = theta - lr * weight_decay * theta
    theta = theta - lr * update
    terms = {"g": g, "D": D, "m": m, "v": v, "m_hat": m_hat, "v_hat": v_hat, "denominator": denominator}
    return theta, m, v, terms | {"update": update}


def spatial_average(h_hat: Array, layout: Layout) -> Array:
    """h_hat (..., P) with each entry replaced by the mean of its block: the rows of a tensor with two or more axes,
    the last two axes of one with four (a convolution's kernels). Tensors with one axis or none stay as they are."""
    tensors = layout.unpack(h_hat)
    for name, shape in layout.shapes.items():
        if len(shape) >= 2:
            # D̄[i b + j] = 1/b Σ_{k=1..b} D[i b + k]
            mean = tensors[name].mean(axis=(-2, -1) if len(shape) == 4 else -1, keepdims=True)
            tensors[name] = np.broadcast_to(mean, tensors[name].shape)
    averaged: Array = layout.pack(tensors)
    return averaged


class AdaHessianState(NamedTuple):
    t: int  # steps taken
    m: Array  # (..., P), running average of gradients
    v: Array  # (..., P), running average of squared curvature


@dataclass(frozen=True, eq=False)
class AdaHessian(Optimizer):
    """Learning rate lr, momentum decay beta1, mean-square decay beta2, eps added to the denominator, decoupled
    weight_decay, the layout whose tensors say which blocks are averaged (None: no averaging), and the estimator
    (oracle -> h_hat).

    lr may be a schedule; lr and weight_decay may be arrays that broadcast to theta. beta1, beta2 and eps are the
    authors'.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-4
    weight_decay: float | Array = 0.0
    layout: Layout | None = None
    estimator: Estimator = hutchinson_rademacher

    State: ClassVar[type[AdaHessianState]] = AdaHessianState

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.layout is None or isinstance(self.layout, Layout)):
            raise TypeError(f"AdaHessian: layout must be a Layout or None, got {self.layout!r}")

    def step(self, theta: Array, state: AdaHessianState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        weight_decay = self.at("weight_decay", theta)
        if self.layout is not None and self.layout.size != theta.shape[-1]:
            raise ValueError(
                f"AdaHessian: layout must describe the P = {theta.shape[-1]} numbers of theta, got {self.layout.size}"
            )
        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        h_hat = self.checked("h_hat", oracle.curvature(self.estimator), theta.shape, theta.dtype)
        D = h_hat if self.layout is None else spatial_average(h_hat, self.layout)
        rest = {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps, "weight_decay": weight_decay}
        theta, m, v, terms = adahessian_update(theta, state.m, state.v, g, D, t=t, lr=lr, **rest)
        return Step(theta, AdaHessianState(t, frozen(m), frozen(v)), terms | {"h_hat": h_hat})
