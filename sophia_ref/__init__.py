"""sophia-ref: the executable reference for the Sophia optimizer (Liu et al. 2023), in plain NumPy.

    import numpy as np
    import sophia_ref as sr

    def valley(theta):
        return 100 * theta[0] ** 2 + theta[1] ** 2

    race = sr.run(valley, sr.Sophia(lr=0.1, gamma=1.0, every=1), steps=20, theta0=np.array([1.0, 1.0]))

Importing this needs NumPy alone; scipy, matplotlib and tqdm load when something uses them.
"""

from typing import TYPE_CHECKING, Any

import sophia_ref.memory  # noqa: F401  first: what follows makes arrays
from sophia_ref.autodiff import (
    Layout,
    check_grads,
    grad,
    hessian,
    hessian_diag,
    hvp,
    jvp,
    primitive,
    stop_gradient,
    value_and_grad,
    vjp,
)
from sophia_ref.checkpoint import CheckpointError, Checkpoints
from sophia_ref.curvature import (
    averaged,
    empirical_fisher,
    exact_diagonal,
    gnb,
    hutchinson,
    hutchinson_rademacher,
    on_part,
)
from sophia_ref.inspector import Inspector
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
    SaddleFreeNewton,
    SignGD,
    Signum,
    Sophia,
    SophiaG,
    SophiaH,
    Step,
    cosine,
    sophia_update,
)
from sophia_ref.oracle import Given, Oracle
from sophia_ref.run import Run, run
from sophia_ref.snapshot import Snapshot

if TYPE_CHECKING:
    from sophia_ref import plots as plots

__version__ = "0.1.0"

__all__ = [
    "AdaHessian", "Adam", "AdamW", "CheckpointError", "Checkpoints", "ClippedNewton", "DampedNewton", "Given",
    "GradientDescent", "Inspector", "Layout", "Lion", "Momentum", "Newton", "Oracle", "Run", "SaddleFreeNewton",
    "SignGD", "Signum",
    "Snapshot", "Sophia", "SophiaG", "SophiaH", "Step", "averaged", "check_grads", "cosine", "empirical_fisher",
    "exact_diagonal", "gnb", "grad", "hessian", "hessian_diag", "hutchinson", "hutchinson_rademacher", "hvp", "jvp",
    "on_part", "primitive", "run", "sophia_update", "stop_gradient",
    "value_and_grad", "vjp",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """sophia_ref.plots loads matplotlib, and does so when it is first used."""
    if name == "plots":
        from importlib import import_module

        return import_module("sophia_ref.plots")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
