"""The tiny GPT once more in PyTorch, JAX and HIPS/autograd: the same weights, batch and arithmetic, nothing clever.

Each twin is made of (model, theta, tokens, targets, v) and offers, as functions without arguments, what it can of

    loss()  gradient()  hvp()       with attention as the framework's users write it
    explicit(): a gradient with softmax written out, the same operations as here

The gradients come as each framework gives them, in parts; `flat` puts them into the order of theta, for comparison.
"""

import math
from typing import Any

import numpy as np

Array = Any


def parts(model: Any, theta: Array) -> list[Array]:
    """The weights in the order of theta: words, positions, six a block, the last gain."""
    return [np.ascontiguousarray(w) for w in model.layout.unpack(theta).values()]


def flat(parts: list[Any]) -> Array:
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])


class Torch:
    def __init__(self, model: Any, theta: Array, tokens: Array, targets: Array, v: Array) -> None:
        import torch

        from examples.gpt_torch import GPT

        self.torch, self.gpt = torch, GPT(model, theta)
        self.tokens, self.targets = torch.tensor(tokens), torch.tensor(targets)
        self.weights = list(self.gpt.parameters())
        self.v = [torch.tensor(w) for w in parts(model, v)]

    def _loss(self, fused: bool) -> Any:
        self.gpt.fused = fused
        z = self.gpt(self.tokens)
        return self.torch.nn.functional.cross_entropy(z.flatten(0, 1), self.targets.flatten())

    def loss(self) -> float:
        return float(self._loss(fused=True).detach())

    def gradient(self) -> list[Any]:
        return list(self.torch.autograd.grad(self._loss(fused=True), self.weights))

    def explicit(self) -> list[Any]:
        return list(self.torch.autograd.grad(self._loss(fused=False), self.weights))

    def hvp(self) -> list[Any]:
        """Double backward; PyTorch's fused attention has no second derivative."""
        grads = self.torch.autograd.grad(self._loss(fused=False), self.weights, create_graph=True)
        return list(self.torch.autograd.grad(grads, self.weights, self.v))


def plain_logits(np: Any, model: Any, weights: list[Any], tokens: Array) -> Any:
    """Logits (B, T, V) in the words of NumPy; `np` is jax.numpy or autograd.numpy."""
    (batch, time), width, heads = tokens.shape, model.width, model.heads
    root = math.sqrt(width // heads)
    later = np.triu(np.full((time, time), -np.inf, "float32"), 1)

    def norm(x: Any, gain: Any) -> Any:
        x = x - np.mean(x, -1, keepdims=True)
        return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + 1e-5) * gain

    def attention(qkv: Any) -> Any:
        q, k, v = (np.swapaxes(np.reshape(a, (batch, time, heads, -1)), 1, 2) for a in np.split(qkv, 3, -1))
        s = np.matmul(q, np.swapaxes(k, -1, -2)) / root + later
        p = np.exp(s - np.max(s, -1, keepdims=True))
        y = np.matmul(p / np.sum(p, -1, keepdims=True), v)
        return np.reshape(np.swapaxes(y, 1, 2), (batch, time, width))

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))

    words, positions, *blocks, gain = weights
    x = words[tokens] + positions[:time]
    for i in range(0, len(blocks), 6):
        g1, qkv, out, g2, up, down = blocks[i : i + 6]
        x = x + np.matmul(attention(np.matmul(norm(x, g1), qkv)), out)
        x = x + np.matmul(gelu(np.matmul(norm(x, g2), up)), down)
    return np.matmul(norm(x, gain), words.T)


def plain_loss(np: Any, model: Any, weights: list[Any], tokens: Array, targets: Array) -> Any:
    """The loss in the same words."""
    z = plain_logits(np, model, weights, tokens)
    z = np.reshape(z, (tokens.size, -1))
    z = z - np.max(z, -1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), -1)) - z[np.arange(tokens.size), targets.reshape(-1)])


class Jax:
    def __init__(self, model: Any, theta: Array, tokens: Array, targets: Array, v: Array) -> None:
        import jax

        self.weights, self.v = ([jax.numpy.asarray(w) for w in parts(model, flat_)] for flat_ in (theta, v))

        def loss(weights: list[Any]) -> Any:
            return plain_loss(jax.numpy, model, weights, tokens, targets)

        self._loss, self._gradient = jax.jit(loss), jax.jit(jax.grad(loss))
        self._hvp = jax.jit(lambda weights, v: jax.jvp(jax.grad(loss), (weights,), (v,))[1])
        self.wait = jax.block_until_ready

    def loss(self) -> float:
        return float(self._loss(self.weights))

    def gradient(self) -> list[Any]:
        result: list[Any] = self.wait(self._gradient(self.weights))
        return result

    def hvp(self) -> list[Any]:
        result: list[Any] = self.wait(self._hvp(self.weights, self.v))
        return result


class Autograd:
    def __init__(self, model: Any, theta: Array, tokens: Array, targets: Array, v: Array) -> None:
        import autograd
        import autograd.numpy

        self.weights = parts(model, theta)

        def loss(weights: list[Any]) -> Any:
            return plain_loss(autograd.numpy, model, weights, tokens, targets)

        self._loss, self._gradient = loss, autograd.grad(loss)

    def loss(self) -> float:
        return float(self._loss(self.weights))

    def gradient(self) -> list[Any]:
        result: list[Any] = self._gradient(self.weights)
        return result


TWINS = (Torch, Jax, Autograd)
