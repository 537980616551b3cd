"""Estimators of the Hessian's diagonal: each a function oracle -> h_hat, of theta's shape (..., P).

    estimator               mean                      variance of entry i              cost (gradients)
    hutchinson              diag H                    2 H_ii^2 + sum_{j != i} H_ij^2   3
    hutchinson_rademacher   diag H                    sum_{j != i} H_ij^2              3
    gnb                     diag G                    2 G_ii^2 + O(1/B)                1
    empirical_fisher        neither: no drawn labels  not of a curvature               1 1/3
    exact_diagonal          diag H itself             0                                3 P

G is the Gauss-Newton matrix, B the number of predictions. Inside Sophia empirical_fisher costs 1/3 more, as the
gradient that it squares is already paid for.

An estimator draws from `oracle.rng`. `averaged(gnb, 4)` and `on_part(gnb, 0.5)` make estimators of estimators; being
dataclasses they can be compared and pickled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from sophia_ref.oracle import Oracle, checked_fraction

Array = Any
Estimator = Callable[[Oracle], Array]


def hutchinson(oracle: Oracle) -> Array:
    """u * (H u) with a normal probe u: the Sophia paper's Algorithm 1 (Hutchinson 1989). May be negative."""
    # u ~ N(0, I)
    u = oracle.rng.standard_normal(oracle.theta.shape, oracle.theta.dtype)
    # ĥ = u ⊙ (H u)
    return u * oracle.hvp(u)


def hutchinson_rademacher(oracle: Oracle) -> Array:
    """u * (H u) with independent signs u: exact where H is diagonal, as AdaHessian uses it (Yao et al. 2021)."""
    u = 2 * oracle.rng.integers(0, 2, oracle.theta.shape).astype(oracle.theta.dtype) - 1
    # ĥ = u ⊙ (H u)
    return u * oracle.hvp(u)


def gnb(oracle: Oracle) -> Array:
    """B g_hat * g_hat, the Gauss-Newton-Bartlett estimator: the Sophia paper's Algorithm 2.

    g_hat is the gradient of the mean loss over B predictions whose labels are drawn from the model itself. Then
    gradients of single predictions have mean zero and are independent, so only their squares survive in the mean of
    B g_hat^2: the diagonal of the Gauss-Newton matrix. Never negative.
    """
    g_hat, B = oracle.sampled_grad()
    # ĥ = B ĝ ⊙ ĝ
    return B * g_hat * g_hat


def empirical_fisher(oracle: Oracle) -> Array:
    """B g * g with the true labels: what GNB is often mistaken for.

    This, the square of the mean gradient, is what the Sophia paper's ablation calls empirical Fisher. That of Kunstner,
    Balles, Hennig (2019) is another: the mean over examples of the squares of their gradients.

    Away from the minimum g has a mean, and B g^2 grows with B instead of estimating a curvature.
    """
    g, B = oracle.grad(), oracle.predictions()
    # ĥ = B g ⊙ g
    return B * g * g


def exact_diagonal(oracle: Oracle) -> Array:
    """The diagonal of H itself, from P Hessian-vector products: for toys and for tests."""
    return oracle.hessian_diag()


@dataclass(frozen=True)
class averaged:
    """The mean of n independent estimates: a variance n times smaller, for n times the cost.

    Raises TypeError unless n is an integer and the estimator a function, ValueError for n < 1.
    """

    estimator: Estimator
    n: int

    def __post_init__(self) -> None:
        _check_estimator("averaged", self.estimator)
        if isinstance(self.n, bool) or not isinstance(self.n, Integral):
            raise TypeError(f"averaged: n must be an integer >= 1, got {self.n!r}")
        if self.n < 1:
            raise ValueError(f"averaged: n must be an integer >= 1, got {self.n!r}")

    def __call__(self, oracle: Oracle) -> Array:
        total = self.estimator(oracle)
        for _ in range(self.n - 1):
            total = total + self.estimator(oracle)
        return total / int(self.n)


@dataclass(frozen=True)
class on_part:
    """The estimate on the first `fraction` of the batch's examples, at their share of the cost; `Oracle.part` says how
    fractions are rounded.

    The paper estimates on 32 of 480 sequences (Hutchinson) and on 240 of 480 (GNB). Raises ValueError unless
    0 < fraction <= 1, TypeError unless the estimator is a function.
    """

    estimator: Estimator
    fraction: float

    def __post_init__(self) -> None:
        _check_estimator("on_part", self.estimator)
        checked_fraction("on_part", self.fraction)

    def __call__(self, oracle: Oracle) -> Array:
        return self.estimator(oracle.part(self.fraction))


def _check_estimator(caller: str, estimator: object) -> None:
    if not callable(estimator):
        raise TypeError(f"{caller}: estimator must be a function oracle -> h_hat, got {estimator!r}")
