"""Regressions on data made from a known theta: least squares, logistic and softmax.

Each is a linear model z = X w + b under a likelihood, whose loss is the mean negative log-likelihood of the labels up
to a constant. The labels are drawn from the model itself at `truth`, so that `truth` minimises the expected loss.

Shapes: N examples in all, n in a batch, D features, K outputs. theta (..., P) unpacks to w (..., D, K), b (..., K).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sophia_ref.autodiff import Layout, stop_gradient
from toy_problems.checks import count, number

Array = NDArray[Any]
Batch = tuple[Array, Array]


class Likelihood(NamedTuple):
    """p(y | z): its negative logarithm up to a constant, and a draw from it."""

    loss: Callable[[Any, Array], Any]  # z (..., n, K), y -> (..., n)
    draw: Callable[[Array, np.random.Generator], Array]  # z (..., n, K) -> y, which takes no part in derivatives


# y (..., n, K) ~ N(z, I): -log p = 1/2 |z - y|^2
GAUSSIAN = Likelihood(
    lambda z, y: ((z - y) ** 2).sum(-1) / 2,
    lambda z, rng: z + rng.standard_normal(z.shape),
)


# y (..., n, 1) in {0, 1}, P(1) = 1 / (1 + e^-z): -log p = log(1 + e^z) - y z
BERNOULLI = Likelihood(
    lambda z, y: (np.logaddexp(0, z) - y * z).sum(-1),
    lambda z, rng: (z + rng.logistic(size=z.shape) > 0).astype(z.dtype),
)


# y (..., n) in {0, ..., K-1}, P(k) = e^{z_k} / sum_j e^{z_j}: -log p = log sum_j e^{z_j} - z_y
def _categorical_loss(z: Any, y: Array) -> Any:
    top = stop_gradient(z).max(-1, keepdims=True)
    picked = y[..., None] == np.arange(z.shape[-1])  # (..., n, K)
    return np.log(np.exp(z - top).sum(-1)) + top[..., 0] - (z * picked).sum(-1)


def _categorical_draw(z: Array, rng: np.random.Generator) -> Array:
    p = np.exp(z - z.max(-1, keepdims=True))
    below = np.cumsum(p, axis=-1) / p.sum(-1, keepdims=True)
    y: Array = (rng.random((*z.shape[:-1], 1)) >= below[..., :-1]).sum(-1)
    return y


CATEGORICAL = Likelihood(_categorical_loss, _categorical_draw)


class Regression:
    """A Problem of data X (N, D), labels y (N, ...), and a model z(theta, X) under a likelihood.

    `batch_size` None takes all the data in every batch, otherwise that many examples drawn with replacement, afresh for
    each row. Attributes: X, y (read-only), layout, truth (P,).
    """

    likelihood: Likelihood

    def __init__(self, layout: Layout, X: Array, y: Array, truth: Array, batch_size: int | None) -> None:
        self.layout, self.X, self.y, self.truth = layout, X, y, truth
        self.batch_size = batch_size if batch_size is None else count("batch_size", batch_size)
        for array in (X, y, truth):
            array.flags.writeable = False

    def init(self, rng: np.random.Generator) -> Array:
        """Zeros (P,), the customary start of a convex problem."""
        return np.zeros(self.layout.size)

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Batch:
        """(X, y) of shapes (*shape, n, D) and (*shape, n, ...), read-only."""
        if self.batch_size is None:
            X, y = (np.broadcast_to(array, (*shape, *array.shape)) for array in (self.X, self.y))
        else:
            chosen = rng.integers(len(self.X), size=(*shape, self.batch_size))
            X, y = self.X[chosen], self.y[chosen]
            X.flags.writeable = y.flags.writeable = False  # the tape keeps read-only arrays without a copy
        return X, y

    def predictions(self, theta: Array, X: Array) -> Any:
        """z = X w + b, theta (..., P), X (..., n, D) -> (..., n, K)."""
        tensors = self.layout.unpack(theta)
        return X.astype(theta.dtype, copy=False) @ tensors["w"] + tensors["b"][..., None, :]

    def loss(self, theta: Array, batch: Batch) -> Any:
        """The mean of -log p(y | z) over the examples, (...)."""
        X, y = batch
        return self._mean_loss(self.predictions(theta, X), y)

    def sampled_loss(self, theta: Array, batch: Batch, rng: np.random.Generator) -> tuple[Any, int]:
        """(loss, B = n) with labels drawn from the model at theta, held constant in derivatives."""
        z = self.predictions(theta, batch[0])
        return self._mean_loss(z, self.likelihood.draw(stop_gradient(z), rng)), z.shape[-2]

    def _mean_loss(self, z: Any, y: Array) -> Any:
        labels = y if y.dtype.kind in "iu" else y.astype(z.dtype, copy=False)
        return self.likelihood.loss(z, labels).mean(-1)


class _OneOutput(Regression):
    def __init__(
        self,
        examples: int = 512,
        features: int = 16,
        spread: float = 30.0,
        batch_size: int | None = None,
        seed: int | np.random.Generator = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        layout = Layout({"w": (count("features", features), 1), "b": (1,)})
        scales = np.geomspace(1, 1 / number("spread", spread, 0, "a finite number > 0"), features)
        X = rng.standard_normal((count("examples", examples), features)) * scales
        # weights inverse to the scales: every feature matters alike, and X w has variance 4
        w = 2 * rng.standard_normal((features, 1)) / scales[:, None] / np.sqrt(features)
        b = rng.standard_normal(1)
        super().__init__(layout, X, self.likelihood.draw(X @ w + b, rng), layout.pack({"w": w, "b": b}), batch_size)


class LeastSquares(_OneOutput):
    """Least squares: y ~ N(X w + b, 1), loss 1/2 (z - y)^2, whose Hessian is the mean of (x, 1)(x, 1)^T.

    examples N; features D, the k-th of scale spread^(-k/(D-1)), so that the Hessian's condition number is about
    spread^2; seed: an integer or a Generator, for the data. y has shape (N, 1). Raises ValueError for a size below 1 or
    a spread that is not a finite number > 0.
    """

    name = "least_squares"
    likelihood = GAUSSIAN


class LogisticRegression(_OneOutput):
    """Logistic regression on features of different scales: P(y = 1) = 1 / (1 + e^-z), z = X w + b.

    Arguments and errors as for LeastSquares. y has shape (N, 1), zeros and ones.
    """

    name = "logistic_regression"
    likelihood = BERNOULLI


class SoftmaxRegression(Regression):
    """Softmax regression on classes with Zipf's frequencies, pi_k ~ k^-exponent, k = 1 ... K, as words have them.

    Class k is a Gaussian cloud, x ~ N(mu_k, I), so by Bayes' rule the truth is w_k = mu_k and
    b_k = log pi_k - |mu_k|^2 / 2, here with b shifted to mean zero. The counts follow N pi_k as closely as integers
    can. y has shape (N,). Rare classes are what gradient descent is slow on: it learns class k at a rate ~ pi_k
    (Kunstner et al. 2024).
    Raises ValueError for a size below 1, fewer than 2 classes, or an exponent that is not a finite number.
    """

    name = "softmax_regression"
    likelihood = CATEGORICAL

    def __init__(
        self,
        examples: int = 2048,
        features: int = 16,
        classes: int = 32,
        exponent: float = 1.0,
        batch_size: int | None = None,
        seed: int | np.random.Generator = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        layout = Layout({"w": (count("features", features), count("classes", classes, 2)), "b": (classes,)})
        pi = np.arange(1, classes + 1) ** -number("exponent", exponent, -np.inf, "a finite number")
        pi /= pi.sum()
        quantiles = (np.arange(count("examples", examples)) + 0.5) / examples
        y = rng.permutation(np.searchsorted(np.cumsum(pi)[:-1], quantiles))  # (N,)
        mu = rng.standard_normal((classes, features)) / 2
        X = mu[y] + rng.standard_normal((examples, features))
        b = np.log(pi) - (mu**2).sum(-1) / 2
        super().__init__(layout, X, y, layout.pack({"w": mu.T, "b": b - b.mean()}), batch_size)
