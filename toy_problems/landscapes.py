"""Two-dimensional landscapes whose critical points are known, each a Problem that optimizers can race on.

>>> import numpy as np
>>> fig2 = REGISTRY["sophia_fig2"]
>>> float(fig2.loss(fig2.minima[0])), str(fig2.classify(np.array([0.0, 4.0])))
(0.0, 'saddle')
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Landscape:
    """A function of theta = (x, y) with its critical points.

    ``surface(x, y)`` is plain elementwise NumPy. ``minima`` (the global ones first), ``saddles`` and ``maxima`` have shape
    (n, 2) and list the critical points inside ``domain`` = ((x low, x high), (y low, y high)): every one of them where
    ``complete``. Where the Hessian is singular, a point is filed under what it is, and ``note`` says why.
    ``formula`` is LaTeX. ``noise`` is None or a matrix A: the gradients then carry noise of covariance A A^T (see `noisy`).
    """

    name: str
    title: str
    surface: Callable[[Array, Array], Array]
    domain: tuple[tuple[float, float], tuple[float, float]]
    start: Array
    minima: Array
    saddles: Array
    maxima: Array
    formula: str
    source: str
    complete: bool = True
    note: str = ""
    noise: Array | None = None

    def f(self, theta: Array) -> Array:
        """The height at theta (..., 2), shape (...). Raises ValueError where the last axis is not (x, y)."""
        if getattr(theta, "shape", ())[-1:] != (2,):
            raise ValueError(f"theta: shape {getattr(theta, 'shape', ())}; {self.name} expects an array (..., 2) of (x, y)")
        return self.surface(theta[..., 0], theta[..., 1])

    def init(self, rng: np.random.Generator) -> Array:
        """The start (2,), float64; the same for every rng."""
        return self.start.copy()

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array | None:
        """The gradient noise xi ~ N(0, A A^T) of one step, (*shape, 2); None for a landscape without noise."""
        return None if self.noise is None else rng.standard_normal((*shape, 2)) @ self.noise.T

    def loss(self, theta: Array, batch: Array | None = None) -> Array:
        """f(theta) + <xi, theta> with xi = batch (..., 2), whose gradient is grad f + xi; f(theta) where batch is None."""
        if batch is None:
            return self.f(theta)
        if batch.shape != theta.shape:
            raise ValueError(f"batch: shape {batch.shape}; expected theta's shape {theta.shape}")
        noise: Array = (batch.astype(theta.dtype, copy=False) * theta).sum(-1)
        return self.f(theta) + noise

    def noisy(self, covariance: float | Array) -> "Landscape":
        """The same landscape with noise of this covariance on every gradient; its Hessian is untouched.

        covariance: a number >= 0 (the variance of each coordinate) or a symmetric positive semi-definite (2, 2) matrix,
        in units of the gradient squared. Anything else raises ValueError.
        """
        expected = f"covariance: {covariance!r}; expected a finite number >= 0 or a symmetric positive semi-definite (2, 2) matrix"
        matrix = np.array(covariance)
        if matrix.dtype.kind not in "iuf" or matrix.shape not in ((), (2, 2)) or not np.isfinite(matrix).all():
            raise ValueError(expected)
        if matrix.ndim == 0:
            matrix = matrix * np.eye(2)
        scale = np.abs(matrix).max()
        variances, axes = np.linalg.eigh(matrix.astype(np.float64))
        if np.abs(matrix - matrix.T).max() > 1e-12 * scale or variances[0] < -1e-12 * scale:
            raise ValueError(expected)
        return replace(self, noise=axes * np.sqrt(variances.clip(min=0)))

    @property
    def critical_points(self) -> Array:
        """The minima, saddles and maxima, in this order, (n, 2)."""
        return np.concatenate([self.minima, self.saddles, self.maxima])

    def nearest(self, theta: Array) -> tuple[Array, Array]:
        """For theta (..., 2): index (...) of the nearest of the critical_points, and its distance (...)."""
        index, distance = np.full(theta.shape[:-1], -1), np.full(theta.shape[:-1], np.inf)
        for i, (x, y) in enumerate(self.critical_points):  # one pass per point: a million thetas need no (n, points) array
            away = np.hypot(theta[..., 0] - x, theta[..., 1] - y)
            index, distance = np.where(away < distance, i, index), np.fmin(away, distance)
        return index, distance

    def classify(self, theta: Array, tol: float = 1e-2) -> Array:
        """What lies within distance tol of theta (..., 2): "minimum", "saddle", "maximum" or "none", strings (...)."""
        index, distance = self.nearest(theta)
        kinds = np.repeat(["minimum", "saddle", "maximum"], [len(self.minima), len(self.saddles), len(self.maxima)])
        return np.where(distance <= tol, kinds[index], "none")


def _points(*pairs: Sequence[float]) -> Array:
    """Literal points as a read-only array (n, 2)."""
    points = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    points.flags.writeable = False
    return points


def _sophia_fig2(x: Array, y: Array) -> Array:
    return 8 * (x - 1) ** 2 * (1.3 * x**2 + 2 * x + 1) + (y - 4) ** 2 / 2


_LANDSCAPES = (
    # dL/dx = 8 x (x - 1)(5.2 x + 3.4), d2L/dx2 = 8 (15.6 x^2 - 3.6 x - 3.4)
    Landscape(
        "sophia_fig2",
        "Figure 2 of the Sophia paper",
        _sophia_fig2,
        domain=((-1.1, 1.5), (-1.0, 9.0)),
        start=_points((0.2, 0.0))[0],
        minima=_points((1, 4), (-17 / 26, 4)),
        saddles=_points((0, 4)),
        maxima=_points(),
        formula=r"8 (x - 1)^2 (1.3 x^2 + 2 x + 1) + \tfrac{1}{2} (y - 4)^2",
        source="Liu, Li, Hall, Liang, Ma (2023), arXiv:2305.14342, Figure 2; the start is ours, the paper states none",
    ),
)

REGISTRY: dict[str, Landscape] = {landscape.name: landscape for landscape in _LANDSCAPES}
