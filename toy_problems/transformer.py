"""TinyGPT: GPT-2's architecture at toy size, as the paper's training code has it, over one flat theta.

Pre-LayerNorm blocks of causal attention and a tanh-GELU MLP, gains in the norms but no biases anywhere, the output tied
to the word embedding (Radford et al. 2019; Karpathy, nanoGPT). The layers and their backward passes are in layers.py;
this file only arranges them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from sophia_ref.autodiff import Layout
from toy_problems.checks import count
from toy_problems.layers import MASKED, attention, cross_entropy, embedding, gelu, linear, norm_linear
from toy_problems.shards import in_shards

Array = Any  # an ndarray, or what stands for one while it is differentiated
Batch = tuple[Array, Array]


@dataclass(frozen=True)
class TinyGPT:
    """A language model of `layers` blocks of `heads` heads each.

    vocab: number of words V. context: largest number of tokens T. width: D, a multiple of heads.
    Raises ValueError unless all are integers >= 1 and heads divides width.

    theta has shape (P,), P = size, float32 or float64, and results have its dtype. A batch is (tokens, targets),
    integers of shape (B, T) with T <= context: tokens in 0..V-1, targets too, or -1 where a position is masked and
    predicts nothing. The methods raise ValueError or TypeError, naming it, for anything else.

    >>> TinyGPT(vocab=96, context=64, width=64, heads=4, layers=2).size
    108864
    """

    vocab: int
    context: int
    width: int
    heads: int
    layers: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            count(name, value)
        if self.width % self.heads:
            raise ValueError(f"width: {self.width}; expected a multiple of heads = {self.heads}")

    @cached_property
    def layout(self) -> Layout:
        """Where the weights lie in theta; a matrix maps rows, y = x W, so its shape is (in, out)."""
        d = self.width
        shapes: dict[str, tuple[int, ...]] = {"words": (self.vocab, d), "positions": (self.context, d)}
        for i in range(self.layers):
            shapes[f"{i}.attention.gain"] = (d,)
            shapes[f"{i}.attention.in"] = (d, 3 * d)  # queries, keys, values
            shapes[f"{i}.attention.out"] = (d, d)
            shapes[f"{i}.mlp.gain"] = (d,)
            shapes[f"{i}.mlp.in"] = (d, 4 * d)
            shapes[f"{i}.mlp.out"] = (4 * d, d)
        shapes["gain"] = (d,)
        return Layout(shapes)

    @property
    def size(self) -> int:
        """The number of parameters P."""
        return self.layout.size

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> Array:
        """GPT-2's initialisation, theta (P,): gains 1, weights N(0, 0.02^2), those that write into the residual stream
        smaller by sqrt(2 layers), so that its variance does not grow with depth (Radford et al. 2019, section 2.3)."""
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise TypeError(f"dtype: {dtype!r}; expected float32 or float64")
        theta = rng.standard_normal(self.size, dtype=dtype)
        for name, weight in self.layout.unpack(theta).items():  # views of theta
            if name.endswith("gain"):
                weight[...] = 1
            else:
                weight *= 0.02 / math.sqrt(2 * self.layers) if name.endswith("out") else 0.02
        return theta

    def loss(self, theta: Array, batch: Batch, threads: int = 1) -> Array:
        """Mean cross-entropy of the unmasked targets in nats, 0-d, computed in `threads` shards (shards.py)."""
        return self._negative_log_likelihood(theta, *self._checked(theta, batch), None, threads)

    def sampled_loss(self, theta: Array, batch: Batch, rng: np.random.Generator, threads: int = 1) -> tuple[Array, int]:
        """(loss, B): the loss of labels drawn from the model itself at the B unmasked positions, and held constant.

        One forward pass serves the drawing and the loss (Gauss-Newton-Bartlett, Liu et al. 2023, Algorithm 2). Every
        position takes one uniform number, masked or not, which the inverse distribution function makes a label.
        """
        tokens, targets = self._checked(theta, batch)
        uniforms = 1 - rng.random(tokens.shape)  # (B, T), in (0, 1]
        loss = self._negative_log_likelihood(theta, tokens, targets, uniforms, threads)
        return loss, int(np.count_nonzero(targets != MASKED))

    def logits(self, theta: Array, tokens: Array) -> Array:
        """tokens (B, T) -> logits (B, T, V) of the token that follows each."""
        self._check(theta, tokens)
        return self._logits(theta, tokens)

    def _check(self, theta: Array, tokens: Array) -> None:
        if np.shape(theta) != (self.size,):
            rows = "; TinyGPT takes no leading axes: call it once a row" if np.ndim(theta) > 1 else ""
            raise ValueError(f"theta: shape {np.shape(theta)}; expected ({self.size},){rows}")
        dtype = getattr(theta, "dtype", type(theta).__name__)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"theta: {dtype}; expected an array of float32 or float64")
        check_words("tokens", tokens, lowest=0, vocab=self.vocab)
        if tokens.shape[1] > self.context:
            raise ValueError(f"tokens: shape {tokens.shape}; expected at most context = {self.context} a sequence")

    def _logits(self, theta: Array, tokens: Array) -> Array:
        w = self.layout.unpack(theta)
        x = embedding(tokens, w["words"], w["positions"])  # (B, T) -> (B, T, D)
        for i in range(self.layers):
            qkv = norm_linear(x, w[f"{i}.attention.gain"], w[f"{i}.attention.in"])  # (B, T, D) -> (B, T, 3D)
            x = x + linear(attention(qkv, self.heads), w[f"{i}.attention.out"])  # (B, T, 3D) -> (B, T, D)
            hidden = gelu(norm_linear(x, w[f"{i}.mlp.gain"], w[f"{i}.mlp.in"]))  # (B, T, D) -> (B, T, 4D)
            x = x + linear(hidden, w[f"{i}.mlp.out"])  # (B, T, 4D) -> (B, T, D)
        return norm_linear(x, w["gain"], w["words"].T)  # (B, T, D) -> (B, T, V)

    def sample(self, theta: Array, prompt: Array, n: int, rng: np.random.Generator, temperature: float = 1.0) -> Array:
        """n tokens (n,) that continue prompt (length,), drawn one after the other from softmax(logits / temperature).

        Each sees at most `context` tokens before it. Raises ValueError for an empty prompt, a negative n, a temperature
        that is not positive and finite.
        """
        prompt = np.asarray(prompt)
        if prompt.ndim != 1:
            raise ValueError(f"prompt: shape {np.shape(prompt)}; expected (length,)")
        check_words("prompt", prompt[None], lowest=0, vocab=self.vocab)
        count("n", n, low=0)
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature: {temperature!r}; expected a positive, finite number")
        tokens = np.concatenate([prompt.astype(np.int64), np.zeros(n, np.int64)])
        for end in range(len(prompt), len(tokens)):
            window = tokens[max(0, end - self.context) : end]
            z = self.logits(theta, window[None])[0, -1] / temperature  # (V,)
            cumulative = np.cumsum(np.exp(z - z.max()))
            tokens[end] = np.searchsorted(cumulative, (1 - rng.random()) * cumulative[-1])
        return tokens[len(prompt) :]

    def _negative_log_likelihood(
        self, theta: Array, tokens: Array, targets: Array, uniforms: Array, threads: int
    ) -> Array:
        """Mean over the unmasked positions, of the targets or, given uniforms (B, T), of the labels that they draw."""

        def loss(theta: Array, tokens: Array, targets: Array, uniforms: Array) -> Array:
            return cross_entropy(self._logits(theta, tokens), targets, uniforms)

        if count("threads", threads) == 1:
            return loss(theta, tokens, targets, uniforms)
        parts = [len(tokens) * i // threads for i in range(threads + 1)]
        shards, counts = [], []
        for rows in map(slice, parts[:-1], parts[1:]):
            if predictions := np.count_nonzero(targets[rows] != MASKED):
                shards.append((tokens[rows], targets[rows], None if uniforms is None else uniforms[rows]))
                counts.append(predictions)
        return in_shards(loss, theta, shards, [predictions / sum(counts) for predictions in counts])

    def _checked(self, theta: Array, batch: Batch) -> Batch:
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise TypeError(f"batch: {type(batch).__name__}; expected a pair, the tuple (tokens, targets)")
        tokens, targets = batch
        self._check(theta, tokens)
        check_words("targets", targets, lowest=MASKED, vocab=self.vocab)
        if np.shape(tokens) != targets.shape:
            raise ValueError(f"batch: tokens {np.shape(tokens)}, targets {targets.shape}; expected one shape")
        if np.all(targets == MASKED):
            raise ValueError(f"targets: all {MASKED}, which is masked; expected at least one to predict")
        return batch


def check_words(name: str, words: Array, lowest: int, vocab: int) -> None:
    """Raise unless `words` is an integer array (B, T), B and T at least 1, of values in lowest..vocab-1."""
    if not isinstance(words, np.ndarray) or not np.issubdtype(words.dtype, np.integer):
        raise TypeError(f"{name}: {getattr(words, 'dtype', type(words).__name__)}; expected an array of integers")
    if words.ndim != 2 or words.size == 0:
        raise ValueError(f"{name}: shape {words.shape}; expected (batch, time), neither of them 0")
    wrong = words[(words < lowest) | (words >= vocab)]
    if wrong.size:
        raise ValueError(f"{name}: {wrong[0]}; expected values in {lowest}..{vocab - 1}")


PRESETS = {
    # name: vocab, context, width, heads, layers. 128 words hold the characters of an English text.
    "10k": TinyGPT(128, 32, 16, 2, 2),
    "30k": TinyGPT(128, 64, 32, 4, 2),
    "100k": TinyGPT(128, 64, 64, 4, 2),
    "300k": TinyGPT(128, 128, 80, 5, 4),
    "1m": TinyGPT(128, 128, 128, 8, 5),
    "10m": TinyGPT(128, 256, 384, 6, 6),
    "30m": TinyGPT(50304, 1024, 384, 6, 6),
    "gpt2-small": TinyGPT(50304, 1024, 768, 12, 12),  # 50,257 words rounded up to a multiple of 64
}


class Source(Protocol):
    """What a language is to LanguageTask: a text (text.py), or one that is made up (zipf.py)."""

    vocab: int

    def windows(self, rng: np.random.Generator, count: int, length: int) -> Array:
        """`count` random windows of the training part, integers (count, length)."""

    def held_out(self, length: int) -> Array:
        """Windows that training never shows, always the same, integers (number, length)."""


class LanguageTask:
    """The Problem of predicting each next token of a language.

    model: a TinyGPT with at least text.vocab words. text: a Text, or another Source such as a ZipfLanguage. batch_size:
    windows a batch, B. context: tokens a window, T, the model's context by default. threads: how many share the work of
    a batch (shards.py), at most one a window.
    Raises ValueError if the vocabulary is too small for the text, or batch_size, context or threads out of range.
    """

    def __init__(
        self, model: TinyGPT, text: Source, batch_size: int, context: int | None = None, threads: int = 1
    ) -> None:
        context = model.context if context is None else context
        if model.vocab < text.vocab:
            raise ValueError(f"model: vocab {model.vocab}; expected at least {text.vocab}, the text's")
        if count("context", context) > model.context:
            raise ValueError(f"context: {context}; expected at most {model.context}, the model's")
        count("batch_size", batch_size)
        count("threads", threads)
        self.model, self.source, self.batch_size, self.context, self.threads = model, text, batch_size, context, threads
        windows = text.held_out(context + 1)
        self.validation_batches = [
            next_token_batch(windows[i : i + batch_size]) for i in range(0, len(windows), batch_size)
        ]

    def loss(self, theta: Array, batch: Batch) -> Array:
        """As TinyGPT.loss, on `threads` threads."""
        return self.model.loss(theta, batch, self.threads)

    def sampled_loss(self, theta: Array, batch: Batch, rng: np.random.Generator) -> tuple[Array, int]:
        """As TinyGPT.sampled_loss, on `threads` threads; the labels do not depend on their number."""
        return self.model.sampled_loss(theta, batch, rng, self.threads)

    def init(self, rng: np.random.Generator) -> Array:
        """A float32 theta to start from, (P,)."""
        return self.model.init(rng)

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Batch:
        """Random training windows as (tokens, targets), both (B, T). `shape`, the leading axes of theta, must be ()."""
        if shape != ():
            raise ValueError(f"shape: {shape!r}; expected (), since TinyGPT takes no leading axes of theta")
        return next_token_batch(self.source.windows(rng, self.batch_size, self.context + 1))

    def validation_loss(self, theta: Array, batches: Sequence[Batch] | None = None) -> float:
        """Mean loss in nats a prediction over `batches`, all validation_batches by default;
        task.validation_batches[::4] is a quarter of them."""
        batches = self.validation_batches if batches is None else batches
        if not batches:
            raise ValueError(f"batches: {batches!r}; expected at least one")
        counts = [np.count_nonzero(targets != MASKED) for _, targets in batches]
        return float(np.average([self.loss(theta, batch) for batch in batches], weights=counts))


def next_token_batch(windows: Array) -> Batch:
    """Windows (B, T+1) -> tokens (B, T) and the token that follows each, (B, T)."""
    return windows[:, :-1], windows[:, 1:]
