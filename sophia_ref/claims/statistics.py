"""What a handful of seeds and of trials can say: intervals, the best of n trials, and how much sooner one method
arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = Any
DRAWS = 10_000


class Interval(NamedTuple):
    """A number, and the interval that holds it with 95% confidence."""

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
    values = np.asarray(statistic(*resampled))  # (draws,)
    value = float(np.asarray(statistic(*(group[None] for group in groups)))[0])
    tail = float(norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf((1 + level) / 2, n - 1)))
    values, cut = np.sort(values), int(tail * draws)
    return Interval(value, float(values[cut]), float(values[draws - 1 - cut]))


def mean_over_seeds(values: Array) -> Array:
    """(m, n) -> (m,)."""
    return values.mean(axis=1)


class Tuned(NamedTuple):
    """A method as tuned. losses (seeds,): of the runs that are shown; in all methods entry i has seed i. scores
    (trials,): of the trials, the best of which was taken; empty where the settings are given and not tuned."""

    losses: Array
    scores: Array = ()


def interval(
    methods: Sequence[Tuned],
    statistic: Callable[[Array], Array],
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval of a statistic of mean losses that other seeds and other trials would leave: (m, methods) -> (m,).

    Seeds are drawn anew with replacement, the same for all methods, as one seed means the same start and batches. Means
    of n seeds are then spread by sqrt(n / (n - 1)) and by Student's quantile over the normal's, which the plain
    bootstrap lacks (Hesterberg 2015, section 3.5). Trials are drawn anew too, the same points of the sequence for all
    methods that have as many, and what the best of them scores above the best of all is added to the mean: what the
    tuning owes to luck. So a method whose best trial stands alone is not sure of it.
    Raises ValueError for less than two seeds, for methods with different numbers of them, or for a level outside
    (0, 1).
    """
    from scipy.stats import norm, t

    losses = [np.asarray(method.losses, np.float64) for method in methods]
    n = len(losses[0])
    if n < 2 or any(own.shape != (n,) for own in losses):
        raise ValueError(f"methods: have {[own.shape for own in losses]} losses; expected as many of each, 2 or more")
    if not 0 < level < 1:
        raise ValueError(f"level: {level!r}; expected a number in (0, 1)")
    tail, rng, table = (1 - level) / 2, np.random.default_rng(seed), np.stack(losses, axis=1)
    mean = table.mean(axis=0)  # (methods,)
    wider = np.sqrt(n / (n - 1)) * t.ppf(1 - tail, n - 1) / norm.ppf(1 - tail)
    means = mean + wider * (table[rng.integers(n, size=(draws, n))].mean(axis=1) - mean)  # (draws, methods)
    for trials in sorted({len(method.scores) for method in methods} - {0}):
        drawn = rng.integers(trials, size=(draws, trials))
        for i, method in enumerate(methods):
            if len(method.scores) == trials:
                scores = np.asarray(method.scores, np.float64)
                means[:, i] += scores[drawn].min(axis=1) - scores.min()
    low, high = np.quantile(statistic(means), [tail, 1 - tail])
    return Interval(float(statistic(mean[None])[0]), float(low), float(high))


def mean(method: Tuned) -> Interval:
    """Of its losses."""
    return interval([method], lambda means: means[:, 0])


def difference(a: Tuned, b: Tuned) -> Interval:
    """The mean loss of a above that of b."""
    return interval([a, b], lambda means: means[:, 0] - means[:, 1])


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
        between = np.log(lengths[i]) + share * np.log(lengths[i + 1] / lengths[i])
        steps = np.where(target >= below, between, steps)
    return np.exp(np.where(target >= losses[..., 0], np.log(lengths[0]), steps))


def trend(a: Sequence[Tuned], b: Sequence[Tuned], x: Sequence[float]) -> Interval:
    """By how much the loss of a above that of b changes where x is ten times as large: the slope of a line through the
    differences, over the logarithm of x."""
    centred = np.log10(x) - np.mean(np.log10(x))
    slope = centred / (centred @ centred)
    return interval([*a, *b], lambda means: (means[:, : len(a)] - means[:, len(a) :]) @ slope)


def speedup(own: Tuned, steps: int, lengths: Sequence[int], others: Sequence[Tuned]) -> Interval:
    """How many times as many steps the other method needs for the same loss, one means as many.

    own: of runs of `steps` steps. others: the other method's, of runs of these lengths. The answer lies between the
    shortest and the longest of them, over `steps`, as `steps_to_reach` does.
    """
    means = np.array([np.mean(method.losses) for method in (own, *others)])
    least = 1e-3 * means.min() if means.min() > 0 else -np.inf  # or a wide interval would leave the logarithm

    def ratio(drawn: Array) -> Array:
        drawn = np.maximum(drawn, least)
        return steps_to_reach(drawn[:, 0], np.asarray(lengths), drawn[:, 1:]) / steps

    return interval([own, *others], ratio)
