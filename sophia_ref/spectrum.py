"""The eigenvalues of a Hessian that is too large to write down, from its products with vectors.

Lanczos (1950) builds from H and a vector v a small tridiagonal matrix T. Its extreme eigenvalues are soon those of H:
`extremes`, by SciPy. All of them, with the squared first entries of its eigenvectors as weights, are the Gauss
quadrature of the density of eigenvalues as v sees it (Golub, Welsch 1969); the average over random v is the density:
`spectral_density` (Ubaru, Chen, Saad 2017; for networks Ghorbani, Krishnan, Xiao 2019, arXiv 1901.10159).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sophia_ref.optimizers.base import integer
from sophia_ref.oracle import Oracle

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

Array = Any


class SpectralDensity(NamedTuple):
    """A share weights[i] of the eigenvalues is at nodes[i]. Both (n,); nodes ascend, weights add up to 1."""

    nodes: Array
    weights: Array


def hessian_operator(oracle: Oracle) -> LinearOperator:
    """H at oracle.theta (P,) on oracle.batch, as SciPy's solvers take it: (P, P), float64, a product v -> H v.

    Products are computed in theta's dtype. Raises ValueError for theta with leading axes.
    """
    from scipy.sparse.linalg import LinearOperator

    theta = oracle.theta
    if theta.ndim != 1:
        raise ValueError(f"oracle: theta of shape {theta.shape}; expected (P,), one run without leading axes")

    def product(v: Array) -> Array:
        return oracle.hvp(v.reshape(theta.shape).astype(theta.dtype)).astype(np.float64)

    return LinearOperator((theta.size, theta.size), matvec=product, rmatvec=product, dtype=np.float64)


def extremes(oracle: Oracle, k: int = 1) -> tuple[Array, Array]:
    """The k lowest and the k highest eigenvalues of H, both (k,) and ascending, by scipy.sparse.linalg.eigsh.

    oracle: with an rng, which draws the vector that Lanczos starts from. Raises ValueError unless 1 <= k < P / 2.
    """
    from scipy.sparse.linalg import eigsh

    operator = hessian_operator(oracle)
    P = operator.shape[0]
    if not 1 <= integer("extremes: k", k, 1) < P / 2:
        raise ValueError(f"extremes: k must be less than P / 2 = {P / 2:g}, got {k}")
    values = eigsh(operator, 2 * k, which="BE", v0=oracle.rng.standard_normal(P), return_eigenvectors=False)
    values = np.sort(values)
    return values[:k], values[k:]


def spectral_density(oracle: Oracle, probes: int = 8, steps: int = 60) -> SpectralDensity:
    """The density of H's eigenvalues by stochastic Lanczos quadrature, for probes * steps Hessian-vector products.

    A probe is a vector of random signs drawn from oracle.rng. Its nodes and weights reproduce v^T H^j v exactly for
    j < 2 steps, and everything if steps = P. Raises TypeError or ValueError, by name, for numbers below 1.
    """
    operator = hessian_operator(oracle)
    P = operator.shape[0]
    probes, steps = integer("spectral_density: probes", probes, 1), integer("spectral_density: steps", steps, 1)
    nodes, weights = [], []
    for _ in range(probes):
        v = 2.0 * oracle.rng.integers(0, 2, P) - 1
        alpha, beta = _lanczos(operator.matvec, v, min(steps, P))
        # T = S diag(x) Sᵀ: nodes x, weights S_1i²
        x, S = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
        nodes.append(x)
        weights.append(S[0] ** 2 / probes)
    order = np.argsort(np.concatenate(nodes), kind="stable")
    return SpectralDensity(np.concatenate(nodes)[order], np.concatenate(weights)[order])


def _lanczos(product: Any, v: Array, steps: int) -> tuple[Array, Array]:
    """The diagonal (m,) and off-diagonal (m - 1,) of T; m is smaller than steps where H maps the vectors so far onto
    themselves."""
    Q = np.zeros((steps + 1, len(v)))  # orthonormal rows
    Q[0] = v / np.linalg.norm(v)
    alpha, beta = np.zeros(steps), np.zeros(steps)
    for j in range(steps):
        # β_j q_{j+1} = H q_j - α_j q_j - β_{j-1} q_{j-1}
        w = product(Q[j])
        size = np.linalg.norm(w)
        alpha[j] = Q[j] @ w
        for _ in range(2):  # against all of them, and twice: rounding would bring converged eigenvectors back
            w = w - Q[: j + 1].T @ (Q[: j + 1] @ w)
        beta[j] = np.linalg.norm(w)
        if beta[j] <= 1e-12 * size:
            steps = j + 1
            break
        Q[j + 1] = w / beta[j]
    return alpha[:steps], beta[: steps - 1]
