"""What implementations estimate the curvature with, beside the estimators of `sophia_ref.curvature`.

Each is a function oracle -> h_hat (..., P), like those; `ESTIMATORS` has all of them by the names of the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sophia_ref.curvature import gnb, hutchinson, hutchinson_rademacher

Array = Any


def row_sums(oracle: Any) -> Array:
    """h_hat = u * (H u) with u = -1 in every entry, that is H 1, the sums of H's rows: the diagonal only where H is
    diagonal.

    kozistr's pytorch_optimizer 3.9 draws its Rademacher probes with randint(0, 1), which is always 0, as 2 * 0 - 1.
    """
    u = np.full_like(oracle.theta, -1.0)
    return u * oracle.hvp(u)


def sampled_square(oracle: Any) -> Array:
    """h_hat = g_hat * g_hat with labels drawn from the model: GNB without B, which the official SophiaG multiplies by
    in each step."""
    g, _ = oracle.sampled_grad()
    return g * g


def training_square(oracle: Any) -> Array:
    """h_hat = g * g with the true labels, for nothing, as g is known: neither a curvature nor its diagonal."""
    g = oracle.grad()
    return g * g


@dataclass(frozen=True)
class norm_clipped_gnb:
    """GNB of a gradient that was first scaled down to a Euclidean norm of max_norm, as PyTorch's clip_grad_norm_ does
    it, row by row: where the norm is larger, h_hat is too small by the square of the ratio.

    max_norm: > 0.
    """

    max_norm: float = 1.0

    def __call__(self, oracle: Any) -> Array:
        g, B = oracle.sampled_grad()
        # PyTorch's own 1e-6 against a division by zero
        g = g * np.minimum(self.max_norm / (np.linalg.norm(g, axis=-1, keepdims=True) + 1e-6), 1.0).astype(g.dtype)
        return B * g * g


# name: (estimator, how the table says it, whether it draws labels)
ESTIMATORS: Mapping[str, tuple[Any, str, bool]] = {
    "gaussian": (hutchinson, "u(Hu), u normal", False),
    "rademacher": (hutchinson_rademacher, "u(Hu), u signs", False),
    "row-sums": (row_sums, "u(Hu), u = -1", False),
    "gnb": (gnb, "B g², labels drawn", True),
    "gnb-norm-clipped": (norm_clipped_gnb(), "B g², g to norm 1", True),
    "sampled-square": (sampled_square, "g², labels drawn", True),
    "training-square": (training_square, "g², true labels", False),
}
