"""What a handful of seeds can say: bootstrap intervals, the best of n trials, and how much sooner one method arrives.

A run that diverged has an infinite loss here, and no average hides it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any
DRAWS = 10_000


class Interval(NamedTuple):
    """A number, and the interval that holds it with 95% confidence; all three may be infinite or, where infinities were
    subtracted, NaN."""

    value: float
    low: float
    high: float


def bootstrap(
    groups: Sequence[Array], statistic: Callable[..., Array], draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> Interval:
    """The expanded percentile interval of a statistic of some groups, each resampled on its own.

    groups: arrays (n_i, ...), whose first axis are seeds or trials. statistic: (m, n_1, ...), (m, n_2, ...), ... ->
    (m,), for m data sets at once.

    The plain percentile interval of five values is too narrow by a half: it misses a factor sqrt(n / (n - 1)) and that
    a normal quantile stands for Student's. So its tails are those of the normal at -sqrt(n / (n - 1)) t, for n of the
    smallest group (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 3.5). Raises ValueError
    for a group of less than two, or for a level outside (0, 1).
    """
    from scipy.stats import norm, t

    groups = [np.asarray(group, dtype=np.float64) for group in groups]
    n = min((len(group) for group in groups), default=0)
    if n < 2:
        raise ValueError(f"groups: the smallest has {n} entries; expected at least 2 in each")
    if not 0 < level < 1:
        raise ValueError(f"level: {level!r}; expected a number in (0, 1)")
    rng = np.random.default_rng(seed)
    resampled = [group[rng.integers(len(group), size=(draws, len(group)))] for group in groups]
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.asarray(statistic(*resampled))  # (draws,)
        value = float(np.asarray(statistic(*(group[None] for group in groups)))[0])
    tail = float(norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf((1 + level) / 2, n - 1)))
    if np.isnan(values).any():
        return Interval(value, float("nan"), float("nan"))
    values, cut = np.sort(values), int(tail * draws)  # not np.quantile, which warns of infinities
    return Interval(value, float(values[cut]), float(values[draws - 1 - cut]))


def mean_over_seeds(values: Array) -> Array:
    """(m, n) -> (m,)."""
    return values.mean(axis=1)


def difference(a: Array, b: Array) -> Interval:
    """The mean of a - b over seeds, (n,) each; entry i of both has seed i, so that what a seed does to both cancels."""
    with np.errstate(invalid="ignore"):
        return bootstrap([np.asarray(a, np.float64) - np.asarray(b, np.float64)], mean_over_seeds)


def best_of(scores: Array) -> Array:
    """The expected best of n = 1, ..., N of N trials, drawn without replacement: scores (..., N) -> (..., N).

    With x_1 <= ... <= x_N, E min = sum_i x_i C(N - i, n - 1) / C(N, n): x_i is the best if the other n - 1 are behind
    it.
    """
    x = np.sort(np.asarray(scores, np.float64), axis=-1)
    N = x.shape[-1]
    weights = np.zeros((N, N))  # [n - 1, i - 1]
    for n in range(1, N + 1):
        weights[n - 1, 0] = n / N
        for i in range(1, N - n + 1):
            # C(N - i - 1, n - 1) / C(N - i, n - 1) = (N - i - n + 1) / (N - i)
            weights[n - 1, i] = weights[n - 1, i - 1] * (N - i - n + 1) / (N - i)
    return x @ weights.T


def steps_to_reach(target: Array, lengths: Array, losses: Array) -> Array:
    """How many steps a method needs for a loss: target (...), its own runs' lengths (L,) ascending and losses (..., L)
    -> (...), interpolated between runs in the logarithm of the length and never outside of them.

    A longer run that is worse than a shorter one counts as that one. Losses that are all positive are interpolated in
    their logarithm, in which they fall nearly linearly.
    """
    lengths, losses = np.asarray(lengths, np.float64), np.minimum.accumulate(np.asarray(losses, np.float64), axis=-1)
    target = np.asarray(target, np.float64)
    if (losses > 0).all() and (target > 0).all():
        losses, target = np.log(losses), np.log(target)
    steps = np.full(target.shape, np.log(lengths[-1]))
    for i in reversed(range(len(lengths) - 1)):
        above, below = losses[..., i], losses[..., i + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(above > below, (above - target) / (above - below), 0.0).clip(0, 1)
        share = np.where(np.isfinite(above), share, 1.0)
        between = np.log(lengths[i]) + share * np.log(lengths[i + 1] / lengths[i])
        steps = np.where(target >= below, between, steps)
    return np.exp(np.where(target >= losses[..., 0], np.log(lengths[0]), steps))


def speedup(own: Array, steps: int, lengths: Sequence[int], others: Array) -> Interval:
    """How many times as many steps the other method needs for the same loss, one means as many.

    own: (n,) losses of runs of `steps` steps. others: (n, L) losses of the other method's runs of these lengths. The
    interval is of the mean over seeds, each resampled on its own.
    """

    def ratio(own: Array, others: Array) -> Array:
        return steps_to_reach(own.mean(axis=1), np.asarray(lengths), others.mean(axis=1)) / steps

    return bootstrap([own, others], ratio)
