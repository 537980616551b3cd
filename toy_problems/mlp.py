"""A two-layer perceptron that tells spiral arms apart, written twice: with a backward pass by hand, and without.

    h = tanh(x W1 + b1)        z = h W2 + b2        L = mean of -log softmax(z)[label]

`MLP.loss` has a hand-written backward pass; `plain_loss` is the formula, differentiated by the tape. They are equal, in
value, gradient and Hessian-vector product, and the tests hold them to it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sophia_ref.autodiff import Layout, primitive
from toy_problems.checks import count
from toy_problems.layers import cross_entropy

Array = Any  # an ndarray, or what stands for one while it is differentiated
Batch = tuple[Array, Array]

NOISE = 0.2  # standard deviation of a point's angle, in radians
TURN = 4.0  # radians that an arm winds from the centre to its end


def mlp_forward(x: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Any:
    h = np.tanh(x @ w1 + b1)  # (B, 2) @ (2, D) -> (B, D)
    return h @ w2 + b2, (x, h, w1, w2)  # (B, D) @ (D, C) -> (B, C)


def mlp_backward(saved: Any, z_bar: Array) -> Any:
    # with a = x W1 + b1: a_bar = (1 - h^2) (z_bar W2^T)        W_bar = input^T output_bar, b_bar = sum of output_bar
    x, h, w1, w2 = saved
    a_bar = (1 - h * h) * (z_bar @ w2.T)  # (B, C) @ (C, D) -> (B, D)
    return a_bar @ w1.T, x.T @ a_bar, a_bar.sum(0), h.T @ z_bar, z_bar.sum(0)


logits = primitive(mlp_forward, mlp_backward)  # (x, w1, b1, w2, b2)


@dataclass(frozen=True)
class MLP:
    """The Problem of telling `classes` spiral arms apart with `hidden` units, from fresh points in every batch.

    theta (P,) holds W1 (2, D), b1 (D,), W2 (D, C), b2 (C,), P = layout.size; leading axes are refused. A batch is
    points (B, 2) and their arms (B,), integers. Raises ValueError unless all three are integers >= 1, classes >= 2.
    """

    hidden: int = 16
    classes: int = 3
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name, low in (("hidden", 1), ("classes", 2), ("batch_size", 1)):
            count(name, getattr(self, name), low)

    @cached_property
    def layout(self) -> Layout:
        """Where the weights lie in theta."""
        return Layout(
            {"w1": (2, self.hidden), "b1": (self.hidden,), "w2": (self.hidden, self.classes), "b2": (self.classes,)}
        )

    def init(self, rng: np.random.Generator) -> Array:
        """Weights N(0, 1 / inputs), biases 0, in float64."""
        weights = {name: np.zeros(shape) for name, shape in self.layout.shapes.items()}
        for name in ("w1", "w2"):
            inputs, outputs = self.layout.shapes[name]
            weights[name] = rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)
        return self.layout.pack(weights)

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Batch:
        """Points on the arms. Arm c winds TURN radians from angle 2 pi c / classes, its radius growing from 0 to 1."""
        if shape != ():
            raise ValueError(f"shape: {shape!r}; expected (), since MLP takes no leading axes of theta")
        arms = rng.integers(self.classes, size=self.batch_size)
        radius = rng.random(self.batch_size)
        angle = 2 * np.pi * arms / self.classes + TURN * radius + NOISE * rng.standard_normal(self.batch_size)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), arms

    def loss(self, theta: Array, batch: Batch) -> Array:
        """Mean cross-entropy of the arms in nats, 0-d; its backward pass is written by hand."""
        x, arms = self._checked(theta, batch)
        return cross_entropy(logits(x, *self.layout.unpack(theta).values()), arms, None)

    def plain_loss(self, theta: Array, batch: Batch) -> Array:
        """The same loss as a plain formula."""
        x, arms = self._checked(theta, batch)
        w = self.layout.unpack(theta)
        h = np.tanh(x @ w["w1"] + w["b1"])  # (B, D)
        z = h @ w["w2"] + w["b2"]  # (B, C)
        log_p = z - np.logaddexp.reduce(z, axis=1)[:, None]
        return -np.mean(log_p[np.arange(len(arms)), arms])

    def sampled_loss(self, theta: Array, batch: Batch, rng: np.random.Generator) -> tuple[Array, int]:
        """(loss, B) of B labels drawn from the model itself and held constant."""
        x, arms = self._checked(theta, batch)
        z = logits(x, *self.layout.unpack(theta).values())
        return cross_entropy(z, arms, 1 - rng.random(len(arms))), len(arms)

    def _checked(self, theta: Array, batch: Batch) -> Batch:
        if np.shape(theta) != (self.layout.size,):
            rows = "; MLP takes no leading axes: call it once a row" if np.ndim(theta) > 1 else ""
            raise ValueError(f"theta: shape {np.shape(theta)}; expected ({self.layout.size},){rows}")
        x, arms = batch
        if np.ndim(x) != 2 or x.shape[1] != 2 or np.shape(arms) != x.shape[:1] or len(x) == 0:
            raise ValueError(f"batch: shapes {np.shape(x)}, {np.shape(arms)}; expected (B, 2), (B,) with B >= 1")
        if not np.issubdtype(arms.dtype, np.integer) or np.any((arms < 0) | (arms >= self.classes)):
            raise ValueError(f"batch: arms {arms}; expected integers in 0..{self.classes - 1}")
        return x.astype(theta.dtype, copy=False), arms
