"""The optimizers by the names that the command line gives them, with settings for toys and for language models.

On a landscape a learning rate has a unit: a length for methods that step by sign or clip, one over a curvature for
gradient descent, none for Newton's. So settings are made from the landscape's size and largest curvature. Sophia's
published gamma = 0.01, beta2 = 0.99 and every = 10 would leave nearly every step of a toy clipped, which is sign
momentum. Here gamma = lr, so that an unclipped step is Newton's by coordinates, and h follows within a few steps.
"""

from collections.abc import Callable
from typing import NamedTuple

from sophia_ref.curvature import exact_diagonal
from sophia_ref.optimizers import (
    AdaHessian,
    Adam,
    AdamW,
    ClippedNewton,
    DampedNewton,
    GradientDescent,
    Lion,
    Momentum,
    Newton,
    Optimizer,
    SaddleFreeNewton,
    SignGD,
    Signum,
    Sophia,
    SophiaG,
    SophiaH,
)


class Choice(NamedTuple):
    """summary: one line. toy(size, curvature): settings for a landscape whose domain's shorter side is `size`, and
    whose largest |eigenvalue| of the Hessian at the start and the critical points is `curvature`; None where a
    landscape cannot answer. language: settings for a small language model, lr the peak of its schedule; None where the
    dense Hessian is out of reach."""

    summary: str
    toy: Callable[[float, float], Optimizer] | None
    language: Optimizer | None


OPTIMIZERS = {
    "sophia": Choice(
        "clipped momentum over the exact Hessian diagonal",
        lambda size, curvature: Sophia(
            0.1 * size, gamma=0.1 * size, beta1=0.5, beta2=0.5, every=1, estimator=exact_diagonal
        ),
        None,
    ),
    "sophia-h": Choice(
        "Sophia with Hutchinson's estimate of the diagonal",
        lambda size, curvature: SophiaH(0.1 * size, gamma=0.1 * size, beta1=0.5, beta2=0.9, every=1),
        SophiaH(1e-3, weight_decay=0.2),
    ),
    "sophia-g": Choice(
        "Sophia with the Gauss-Newton-Bartlett estimate",
        None,
        SophiaG(1e-3, weight_decay=0.2),
    ),
    "adam": Choice(
        "momentum over the root mean square of the gradient",
        lambda size, curvature: Adam(0.1 * size, beta2=0.99),
        Adam(1e-2, beta2=0.95),
    ),
    "adamw": Choice(
        "Adam with decoupled weight decay",
        lambda size, curvature: AdamW(0.1 * size, beta2=0.99),
        AdamW(1e-2, beta2=0.95, weight_decay=0.1),
    ),
    "adahessian": Choice(
        "Adam over the root mean square of Hutchinson's estimate",
        lambda size, curvature: AdaHessian(0.3, beta2=0.9),
        AdaHessian(1e-2),
    ),
    "lion": Choice(
        "sign of momentum and gradient interpolated",
        lambda size, curvature: Lion(0.02 * size),
        Lion(1e-3, beta1=0.95, beta2=0.98, weight_decay=0.2),
    ),
    "gd": Choice(
        "gradient descent",
        lambda size, curvature: GradientDescent(1 / curvature),
        GradientDescent(0.3),
    ),
    "momentum": Choice(
        "gradient descent with heavy-ball momentum",
        lambda size, curvature: Momentum(0.2 / curvature),
        Momentum(0.1),
    ),
    "signgd": Choice(
        "sign of the gradient",
        lambda size, curvature: SignGD(0.02 * size),
        SignGD(1e-3),
    ),
    "signum": Choice(
        "sign of the momentum",
        lambda size, curvature: Signum(0.02 * size, beta=0.5),
        Signum(1e-3, weight_decay=0.2),
    ),
    "newton": Choice(
        "Newton's method, drawn to critical points of every kind",
        lambda size, curvature: Newton(1.0),
        None,
    ),
    "damped-newton": Choice(
        "Newton's method with H + damping I",
        lambda size, curvature: DampedNewton(1.0, damping=0.1 * curvature),
        None,
    ),
    "saddle-free-newton": Choice(
        "Newton's method with the eigenvalues' absolute values",
        lambda size, curvature: SaddleFreeNewton(1.0),
        None,
    ),
    "clipped-newton": Choice(
        "Newton's step, clipped in the eigenbasis of H",
        lambda size, curvature: ClippedNewton(1.0, rho=0.1 * size),
        None,
    ),
}

ESTIMATORS = {
    "hutchinson": "u * (H u), u normal: unbiased, may be negative",
    "hutchinson_rademacher": "u * (H u), u random signs: less variance",
    "gnb": "B g^2 with labels drawn from the model: never negative",
    "empirical_fisher": "B g^2 with the true labels: not a curvature",
    "exact_diagonal": "the diagonal itself, P products: for toys",
}
