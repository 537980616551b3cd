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
from toy_problems.layers import MASKED, attention, cross_entropy, embedding, gelu, linear, norm_linear

Array = Any  # an ndarray, or what stands for one while it is differentiated
Batch = tuple[Array, Array]


@dataclass(frozen=True)
class TinyGPT:
    """A language model of `layers` blocks of `heads` heads each.

    vocab: number of words V. context: largest number of tokens T. width: D, a multiple of heads.
    Raises ValueError if one of them is not a positive integer, or heads does not divide width.

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
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"TinyGPT: {name} must be a positive integer, got {value!r}")
        if self.width % self.heads:
            raise ValueError(f"TinyGPT: width must be a multiple of heads = {self.heads}, got {self.width}")

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
            raise TypeError(f"TinyGPT.init: dtype must be float32 or float64, got {dtype!r}")
        theta = rng.standard_normal(self.size, dtype=dtype)
        for name, weight in self.layout.unpack(theta).items():  # views of theta
            if name.endswith("gain"):
                weight[...] = 1
            else:
                weight *= 0.02 / math.sqrt(2 * self.layers) if name.endswith("out") else 0.02
        return theta

    def loss(self, theta: Array, batch: Batch) -> Array:
        """Mean cross-entropy of the unmasked targets in nats, 0-d."""
        tokens, targets = self._checked(batch)
        return cross_entropy(self.logits(theta, tokens), targets, None)

    def sampled_loss(self, theta: Array, batch: Batch, rng: np.random.Generator) -> tuple[Array, int]:
        """(loss, B): the loss of labels drawn from the model itself at the B unmasked positions, and held constant.

        One forward pass serves the drawing and the loss (Gauss-Newton-Bartlett, Liu et al. 2023, Algorithm 2). Every
        position takes one uniform number, masked or not, which the inverse distribution function makes a label.
        """
        tokens, targets = self._checked(batch)
        z = self.logits(theta, tokens)  # (B, T, V)
        uniforms = 1 - rng.random(tokens.shape)  # (B, T), in (0, 1]
        return cross_entropy(z, targets, uniforms), int(np.count_nonzero(targets != MASKED))

    def logits(self, theta: Array, tokens: Array) -> Array:
        """tokens (B, T) -> logits (B, T, V) of the token that follows each."""
        if np.shape(theta) != (self.size,):
            rows = "; it takes no leading axes: call it once a row" if np.ndim(theta) > 1 else ""
            raise ValueError(f"TinyGPT: theta must have shape ({self.size},), got {np.shape(theta)}{rows}")
        dtype = getattr(theta, "dtype", type(theta).__name__)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"TinyGPT: theta must be an array of dtype float32 or float64, got {dtype}")
        check_words("tokens", tokens, lowest=0, vocab=self.vocab)
        if tokens.shape[1] > self.context:
            raise ValueError(f"TinyGPT: tokens must be at most context = {self.context} long, got shape {tokens.shape}")
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
        if np.ndim(prompt) != 1:
            raise ValueError(f"TinyGPT.sample: prompt must have shape (length,), got {np.shape(prompt)}")
        check_words("prompt", prompt[None], lowest=0, vocab=self.vocab)
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise ValueError(f"TinyGPT.sample: n must be a non-negative integer, got {n!r}")
        if not 0 < temperature < math.inf:
            raise ValueError(f"TinyGPT.sample: temperature must be positive and finite, got {temperature!r}")
        tokens = np.concatenate([prompt.astype(np.int64), np.zeros(n, np.int64)])
        for end in range(len(prompt), len(tokens)):
            window = tokens[max(0, end - self.context) : end]
            z = self.logits(theta, window[None])[0, -1] / temperature  # (V,)
            cumulative = np.cumsum(np.exp(z - z.max()))
            tokens[end] = np.searchsorted(cumulative, (1 - rng.random()) * cumulative[-1])
        return tokens[len(prompt) :]

    def _checked(self, batch: Batch) -> Batch:
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise TypeError(f"TinyGPT: batch must be a tuple (tokens, targets), got {type(batch).__name__}")
        tokens, targets = batch
        check_words("targets", targets, lowest=MASKED, vocab=self.vocab)
        if np.shape(tokens) != targets.shape:
            raise ValueError(
                f"TinyGPT: tokens and targets must have one shape, got {np.shape(tokens)} and {targets.shape}"
            )
        if np.all(targets == MASKED):
            raise ValueError(f"TinyGPT: at least one target must be unmasked, got {targets.size} of {MASKED}")
        return batch


def check_words(name: str, words: Array, lowest: int, vocab: int) -> None:
    """Raise unless `words` is an integer array (B, T), B and T at least 1, of values in lowest..vocab-1."""
    if not isinstance(words, np.ndarray) or not np.issubdtype(words.dtype, np.integer):
        raise TypeError(
            f"TinyGPT: {name} must be an array of integers, got {getattr(words, 'dtype', type(words).__name__)}"
        )
    if words.ndim != 2 or words.size == 0:
        raise ValueError(f"TinyGPT: {name} must have shape (batch, time), neither of them 0, got {words.shape}")
    wrong = words[(words < lowest) | (words >= vocab)]
    if wrong.size:
        raise ValueError(f"TinyGPT: {name} must lie in {lowest}..{vocab - 1}, got {wrong[0]}")


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

    model: a TinyGPT with at least source.vocab words. source: a Text or another Source. batch_size: windows a batch, B.
    context: tokens a window, T, the model's context by default.
    Raises ValueError if the vocabulary is too small for the source, or batch_size or context out of range.
    """

    def __init__(self, model: TinyGPT, source: Source, batch_size: int, context: int | None = None) -> None:
        context = model.context if context is None else context
        if model.vocab < source.vocab:
            raise ValueError(
                f"LanguageTask: model must have a vocab of at least {source.vocab}, the source's, got {model.vocab}"
            )
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"LanguageTask: batch_size must be a positive integer, got {batch_size!r}")
        if isinstance(context, bool) or not isinstance(context, int) or not 1 <= context <= model.context:
            raise ValueError(
                f"LanguageTask: context must be an integer in 1..{model.context}, the model's, got {context!r}"
            )
        self.model, self.source, self.batch_size, self.context = model, source, batch_size, context
        windows = source.held_out(context + 1)
        self.validation_batches = [
            next_token_batch(windows[i : i + batch_size]) for i in range(0, len(windows), batch_size)
        ]
        self.loss, self.sampled_loss = model.loss, model.sampled_loss

    def init(self, rng: np.random.Generator) -> Array:
        """A float32 theta to start from, (P,)."""
        return self.model.init(rng)

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> Batch:
        """Random training windows as (tokens, targets), both (B, T). `shape`, the leading axes of theta, must be ()."""
        if shape != ():
            raise ValueError(
                f"LanguageTask.batch: shape must be (), since TinyGPT takes no leading axes of theta; got {shape!r}"
            )
        return next_token_batch(self.source.windows(rng, self.batch_size, self.context + 1))

    def validation_loss(self, theta: Array, batches: Sequence[Batch] | None = None) -> float:
        """Mean loss in nats a prediction over `batches`, all validation_batches by default;
        task.validation_batches[::4] is a quarter of them."""
        batches = self.validation_batches if batches is None else batches
        if not batches:
            raise ValueError("LanguageTask.validation_loss: batches must not be empty")
        counts = [np.count_nonzero(targets != MASKED) for _, targets in batches]
        return float(np.average([self.loss(theta, batch) for batch in batches], weights=counts))


def next_token_batch(windows: Array) -> Batch:
    """Windows (B, T+1) -> tokens (B, T) and the token that follows each, (B, T)."""
    return windows[:, :-1], windows[:, 1:]
