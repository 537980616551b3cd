"""A made-up language whose words follow Zipf's law and whose entropy rate is known exactly.

A first-order Markov chain: the next word depends on the present one alone. Pairs of them have the joint distribution

    F_ij = a_i exp(strength z_ij) b_j,   z_ij ~ N(0, 1),

with a and b such that both marginals are Zipf's pi (Sinkhorn 1967). So j follows i with chance P_ij = F_ij / pi_i, and
pi is stationary. No predictor has a smaller mean loss than the entropy rate, and one that knows P attains it: at every
position of a window, the first included, as it sees the present word. So a model's loss minus the entropy is what it
has left to learn.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toy_problems import checks
from toy_problems.layers import inverse_cdf

HELD_OUT = 256  # validation windows


class ZipfLanguage:
    """A Source for LanguageTask: windows of a stationary Markov chain over `vocab` words.

    rng: draws the language, equal ones the same. exponent: word i = 0, 1, ... has frequency proportional to
    (i + 1)^-exponent. strength: how much a word says about the next, 0 for nothing.
    Attributes: stationary pi (V,), transitions P (V, V) whose rows sum to 1, entropy in nats a token.
    Raises ValueError for a vocab below 2 and for an exponent or strength outside 0..4.

    >>> language = ZipfLanguage(np.random.default_rng(0), vocab=2, exponent=1.0, strength=0.0)
    >>> bool(np.isclose(language.entropy, 2 / 3 * np.log(3 / 2) + 1 / 3 * np.log(3)))
    True
    """

    def __init__(self, rng: np.random.Generator, vocab: int, exponent: float = 1.0, strength: float = 2.0) -> None:
        self.vocab = checks.count("vocab", vocab, low=2)
        for name, value in (("exponent", exponent), ("strength", strength)):
            if not 0 <= checks.number(name, value, -math.inf, "a number in 0..4") <= 4:
                raise ValueError(f"{name}: {value!r}; expected a number in 0..4")
        frequencies = np.arange(1.0, vocab + 1) ** -exponent
        pi = frequencies / frequencies.sum()  # (V,)
        joint = pi[:, None] * pi * np.exp(strength * rng.standard_normal((vocab, vocab)))  # (V, V)
        while np.abs(joint.sum(1) / pi - 1).max() > 1e-13:
            joint *= (pi / joint.sum(1))[:, None]
            joint *= pi / joint.sum(0)
        self.stationary: NDArray[np.float64] = pi
        self.transitions: NDArray[np.float64] = joint / joint.sum(1, keepdims=True)
        # H = - sum_i pi_i sum_j P_ij log P_ij  (Cover and Thomas, Elements of Information Theory, section 4.2)
        self.entropy = -float(np.vecdot(pi, np.vecdot(self.transitions, np.log(self.transitions))))
        self._held_out_seed = rng.integers(2**63)

    def windows(self, rng: np.random.Generator, count: int, length: int) -> NDArray[np.int64]:
        """`count` fresh windows (count, length), the first token of each drawn from pi."""
        uniforms = 1 - rng.random((length, count))  # in (0, 1]
        words = np.empty((length, count), np.int64)
        p = np.broadcast_to(self.stationary, (count, self.vocab))
        for t in range(length):
            words[t] = inverse_cdf(p, uniforms[t])
            p = self.transitions[words[t]]  # (count, V)
        return words.T

    def held_out(self, length: int) -> NDArray[np.int64]:
        """The same windows every time, (256, length), of a stream that training does not draw from."""
        return self.windows(np.random.default_rng(self._held_out_seed), HELD_OUT, length)

    def excess_loss(self, logits: Any, tokens: Any) -> float:
        """A model's expected loss minus the entropy, given what it has seen: no noise from the tokens that came next.

        The mean over tokens (B, T) of sum_j P_ij (log P_ij - log q_j) with q the softmax of logits (B, T, V). Words of
        the model beyond the language's count as mistakes. Zero for the best predictor and positive for any other.
        Raises ValueError for tokens outside the language, or logits of another shape or of fewer words.
        """
        if np.any((tokens < 0) | (tokens >= self.vocab)):
            raise ValueError(f"tokens: {tokens.min()}..{tokens.max()}; expected values in 0..{self.vocab - 1}")
        if logits.shape[:-1] != tokens.shape or logits.shape[-1] < self.vocab:
            raise ValueError(f"logits: shape {logits.shape}; expected {tokens.shape} and at least {self.vocab} words")
        p = self.transitions[tokens]  # (B, T, V)
        z = logits.astype(np.float64)
        top = z.max(-1, keepdims=True)
        log_q = z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))
        return float(np.vecdot(p, np.log(p) - log_q[..., : self.vocab]).mean())
