"""What an optimizer written for `sophia_ref.Oracle` is told in a step of a case: the gradient and the curvature there,
with the probes and the labels of the case in place of drawn ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sophia_ref.autodiff import stop_gradient
from sophia_ref.conformance.targets.base import Fault, NotAsked
from sophia_ref.conformance.vectors import Given
from sophia_ref.oracle import Oracle

Array = Any


@dataclass(frozen=True)
class CaseOracle:
    """The answers of step i of a case at theta, whose gradient there is g. due: whether an estimate is due there."""

    given: Given
    theta: Array
    g: Array
    i: int
    due: bool

    def grad(self) -> Array:
        return self.g

    def curvature(self, estimator: Any) -> Array:
        """The estimate of the case, or what the estimator makes of its probes and labels."""
        given = self.given
        if given.h_hat is not None:
            return given.h_hat
        if given.hutchinson is not None:
            estimates = [
                estimator(Oracle(Quadratic(A), self.theta.reshape(-1), rng=Probe(u)))  # type: ignore[arg-type]
                for A, u in given.hutchinson
            ]
            return (sum(estimates[1:], estimates[0]) / len(estimates)).reshape(self.theta.shape)
        if given.gnb is not None:
            if not sound(given.gnb, self.theta.size):
                raise NotAsked("labels and masks belong to the problem here, and not to the optimizer")
            oracle = Oracle(Labelled(given.gnb), self.theta.reshape(-1), rng=np.random.default_rng(0))
            return estimator(oracle).reshape(self.theta.shape)
        return estimator(self) if given.sampled_grad is not None else self._missing()

    def hessian_diag(self) -> Array:
        return self.curvature(lambda oracle: self._missing())

    def sampled_grad(self) -> tuple[Array, float]:
        """The gradient of sampled labels, and 1 for B, which the case does not say."""
        if self.given.sampled_grad is None:
            self._missing()
        return self.given.sampled_grad, 1.0

    def _missing(self) -> Any:
        if self.due:
            raise ValueError(f"h_hat: None in step {self.i}; expected an estimate there")  # which is to refuse the case
        raise Fault("asks for curvature, where none is due", self.i)


def sound(gnb: Any, P: int) -> bool:
    """Whether labels, mask and micro-batches are those of the rows of x, and the labels those of P / d classes."""
    N, d = gnb["x"].shape
    lengths = {len(gnb[name]) for name in ("labels", "true_labels", "mask")}
    if lengths != {N} or sum(gnb["micro_batches"]) != N:
        return False
    labels = gnb["labels"]
    return gnb["likelihood"] == "gaussian" or bool(((labels >= 0) & (labels < P // d)).all())


@dataclass(frozen=True)
class Quadratic:
    """theta A theta / 2."""

    A: Array

    def loss(self, theta: Array, batch: None) -> Array:
        return theta @ (self.A @ theta) / 2


@dataclass(frozen=True)
class Probe:
    """In place of a generator: it draws u."""

    u: Array

    def standard_normal(self, shape: Any = None, dtype: Any = None) -> Array:
        return self.u

    def integers(self, low: int, high: int, size: Any = None) -> Array:
        if not (np.abs(self.u) == 1).all():
            raise NotAsked("it draws probes of signs, and those given are others")
        return (self.u > 0).astype(np.int64)


@dataclass(frozen=True)
class Labelled:
    """Softmax or Gaussian regression, outputs x @ theta.reshape(d, C), whose sampled labels are those given."""

    gnb: Any

    def loss(self, theta: Array, batch: None) -> Array:
        return self._mean(theta, self.gnb["true_labels"])

    def sampled_loss(self, theta: Array, batch: None, rng: Any) -> tuple[Array, int]:
        return self._mean(theta, self.gnb["labels"]), int(np.count_nonzero(self.gnb["mask"]))

    def _mean(self, theta: Array, labels: Array) -> Array:
        x, mask = self.gnb["x"], self.gnb["mask"]
        z = x @ theta.reshape(x.shape[1], -1)  # (N, C)
        if self.gnb["likelihood"] == "gaussian":
            losses = ((z - labels) ** 2).sum(-1) / 2
        else:
            top = stop_gradient(z).max(-1, keepdims=True)
            picked = labels[:, None] == np.arange(z.shape[-1])
            losses = np.log(np.exp(z - top).sum(-1)) + top[:, 0] - (z * picked).sum(-1)
        return (losses * mask).sum() / int(np.count_nonzero(mask))
