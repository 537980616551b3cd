"""Optimizers, one idea a file: each has its rule as a function of arrays, under the equations of its paper."""

from sophia_ref.optimizers.adahessian import AdaHessian, adahessian_update, spatial_average
from sophia_ref.optimizers.adam import Adam, AdamW, adam_update, adamw_update
from sophia_ref.optimizers.base import Optimizer, Step
from sophia_ref.optimizers.first_order import (
    GradientDescent,
    Momentum,
    SignGD,
    Signum,
    gradient_descent_update,
    momentum_update,
    sign_gd_update,
    signum_update,
)
from sophia_ref.optimizers.lion import Lion, lion_update
from sophia_ref.optimizers.newton import (
    ClippedNewton,
    DampedNewton,
    Newton,
    SaddleFreeNewton,
    clipped_newton_update,
    damped_newton_update,
    newton_update,
    saddle_free_newton_update,
)
from sophia_ref.optimizers.schedules import cosine
from sophia_ref.optimizers.sophia import Sophia, SophiaG, SophiaH, sophia_update

__all__ = [
    "AdaHessian",
    "Adam",
    "AdamW",
    "ClippedNewton",
    "DampedNewton",
    "GradientDescent",
    "Lion",
    "Momentum",
    "Newton",
    "Optimizer",
    "SaddleFreeNewton",
    "SignGD",
    "Signum",
    "Sophia",
    "SophiaG",
    "SophiaH",
    "Step",
    "adahessian_update",
    "adam_update",
    "adamw_update",
    "clipped_newton_update",
    "cosine",
    "damped_newton_update",
    "gradient_descent_update",
    "lion_update",
    "momentum_update",
    "newton_update",
    "saddle_free_newton_update",
    "sign_gd_update",
    "signum_update",
    "sophia_update",
    "spatial_average",
]
