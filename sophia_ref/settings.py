"""The optimizers by the names that the command line gives them, with settings for toys and for language models.

On a landscape a learning rate has a unit: a length for methods that clip or normalise, one over a curvature for
gradient descent, none for Newton's. So toy settings are made from the landscape's size and its largest curvature.

Sophia's defaults gamma = 0.01, beta2 = 0.99 and every = 10 would leave nearly every step of a toy clipped, which is
sign momentum. Here gamma = lr, so that an unclipped step is Newton's by coordinates, and h is renewed in every step.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sophia_ref.curvature import exact_diagonal, gnb, hutchinson, on_part
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
from sophia_ref.oracle import Oracle

OPTIMIZERS = {
    "sophia": "clipped momentum over the exact Hessian diagonal",
    "sophia-h": "Sophia with Hutchinson's estimate of the diagonal",
    "sophia-g": "Sophia with the Gauss-Newton-Bartlett estimate",
    "adam": "momentum over root mean square gradient",
    "adamw": "Adam with decoupled weight decay",
    "adahessian": "Adam with Hutchinson's estimate in the root",
    "lion": "sign of momentum and gradient interpolated",
    "gd": "gradient descent",
    "momentum": "gradient descent with heavy-ball momentum",
    "signgd": "sign of the gradient",
    "signum": "sign of the momentum",
    "newton": "Newton's method, drawn to any critical point",
    "damped-newton": "Newton's method with H + damping I",
    "saddle-free": "Newton's method with |eigenvalues| of H",
    "clipped-newton": "Newton's step, clipped in the eigenbasis of H",
}

# size: the shorter side of the landscape's domain. curvature: the largest |eigenvalue| of its Hessian at the start and
# the critical points, or over the domain where those are flat; > 0. A landscape has no labels to sample, so Sophia-G
# is not here.
TOYS: dict[str, Callable[[float, float], Optimizer]] = {
    "sophia": lambda size, curvature: Sophia(
        0.1 * size, gamma=0.1 * size, beta1=0.5, beta2=0.5, every=1, estimator=exact_diagonal
    ),
    "sophia-h": lambda size, curvature: SophiaH(0.1 * size, gamma=0.1 * size, beta1=0.5, beta2=0.9, every=1),
    "adam": lambda size, curvature: Adam(0.1 * size, beta2=0.99),
    "adamw": lambda size, curvature: AdamW(0.1 * size, beta2=0.99),
    "adahessian": lambda size, curvature: AdaHessian(0.3, beta2=0.9),
    "lion": lambda size, curvature: Lion(0.02 * size),
    "gd": lambda size, curvature: GradientDescent(1 / curvature),
    "momentum": lambda size, curvature: Momentum(0.2 / curvature),
    "signgd": lambda size, curvature: SignGD(0.02 * size),
    "signum": lambda size, curvature: Signum(0.02 * size, beta=0.5),
    "newton": lambda size, curvature: Newton(1.0),
    "damped-newton": lambda size, curvature: DampedNewton(1.0, damping=0.1 * curvature),
    "saddle-free": lambda size, curvature: SaddleFreeNewton(1.0),
    "clipped-newton": lambda size, curvature: ClippedNewton(1.0, rho=0.1 * size),
}


def toy(landscape: Any, name: str, lr: float | None = None) -> Any:
    """An optimizer with its toy settings for this landscape but for the learning rate, if one is given.

    Sophia's gamma is that rate too, or an unclipped step would no longer be Newton's; it must be > 0.
    """
    opt = TOYS[name](*scale(landscape))
    if lr is None:
        return opt
    return replace(opt, lr=lr, **({"gamma": lr} if hasattr(opt, "gamma") and lr > 0 else {}))


def scale(landscape: Any) -> tuple[float, float]:
    """What toy settings are made from: the shorter side of the landscape's domain, and its largest curvature."""
    return min(high - low for low, high in landscape.domain), _curvature(landscape)


def _curvature(landscape: Any) -> float:
    """The largest |eigenvalue| of the Hessian at the start and the critical points, or where it all but vanishes there,
    as on a monkey saddle, over the domain."""
    x, y = np.meshgrid(*(np.linspace(low, high, 21) for low, high in landscape.domain))
    points = np.concatenate([landscape.start[None], landscape.critical_points])
    here, anywhere = (
        float(np.abs(np.linalg.eigvalsh(Oracle(landscape, theta).hessian())).max())
        for theta in (points, np.stack([x, y], axis=-1))
    )
    return here if here > 1e-3 * anywhere else anywhere


# lr is the peak of a schedule: the best of a coarse grid for 300 to 1,000 steps of the 30k preset. The rest are the
# papers' settings. Curvature is estimated on the shares of a batch that the Sophia paper takes: 240 of 480 sequences
# for GNB, 32 for Hutchinson. Newton's dense Hessian is out of reach.
LANGUAGE: dict[str, Any] = {
    "sophia-g": SophiaG(1e-3, weight_decay=0.2, estimator=on_part(gnb, 1 / 2)),
    "sophia-h": SophiaH(1e-3, weight_decay=0.2, estimator=on_part(hutchinson, 1 / 15)),
    "adam": Adam(1e-2, beta2=0.95),
    "adamw": AdamW(1e-2, beta2=0.95, weight_decay=0.1),
    "adahessian": AdaHessian(0.1),
    "lion": Lion(3e-3, beta1=0.95, beta2=0.98, weight_decay=0.2),
    "gd": GradientDescent(1.0),
    "momentum": Momentum(0.3),
    "signgd": SignGD(3e-3),
    "signum": Signum(3e-3, weight_decay=0.2),
}

ESTIMATORS = {
    "hutchinson": "u * (H u), u normal: unbiased, may be negative",
    "hutchinson_rademacher": "u * (H u), u random signs: less variance",
    "gnb": "B g^2, labels drawn from the model: never negative",
    "empirical_fisher": "B g^2, true labels: not a curvature",
    "exact_diagonal": "the diagonal itself, for toys",
}
