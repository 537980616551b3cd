"""Intervals against closed forms, the best of n against enumeration, speed-ups against curves with a known answer."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import norm, t

from sophia_ref.claims.statistics import (
    Tuned,
    best_of,
    bootstrap,
    difference,
    interval,
    mean,
    mean_over_seeds,
    speedup,
    steps_to_reach,
    trend,
)


def test_the_interval_of_two_values_is_the_two_values():
    # resamples of (a, b) are a, (a + b) / 2 and b with chances 1/4, 1/2, 1/4: both ends are beyond every usual tail
    assert bootstrap([[1.0, 3.0]], mean_over_seeds) == (2.0, 1.0, 3.0)


def test_the_interval_of_a_mean_is_students_where_there_are_many_values():
    values = np.random.default_rng(0).standard_normal(400)
    found = bootstrap([values], mean_over_seeds, draws=40_000)
    half = t.ppf(0.975, 399) * values.std(ddof=1) / np.sqrt(400)
    assert np.allclose([found.value - found.low, found.high - found.value], half, rtol=0.05)
    assert np.isclose(found.value, values.mean())


def test_the_interval_of_five_values_has_the_tails_that_hesterberg_gives():
    values = np.array([0.0, 1.0, 2.0, 3.0, 10.0])
    tail = norm.cdf(-np.sqrt(5 / 4) * t.ppf(0.975, 4))
    means = np.sort(np.array(np.meshgrid(*[values] * 5)).reshape(5, -1).mean(axis=0))  # every resample there is
    found = bootstrap([values], mean_over_seeds, draws=200_000)
    for end, share in ((found.low, tail), (found.high, 1 - tail)):
        assert means[int((share - 4e-4) * len(means))] <= end <= means[min(int((share + 4e-4) * len(means)) + 1, 3124)]


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = [
        low <= 0 <= high
        for _, low, high in (bootstrap([rng.standard_normal(5)], mean_over_seeds, 2000, seed=i) for i in range(400))
    ]
    assert 0.88 <= np.mean(covered) <= 1.0  # the plain percentile interval of five covers 83%


def test_groups_are_resampled_on_their_own():
    a, b = np.arange(50.0), np.arange(50.0)
    found = bootstrap([a, b], lambda a, b: a.mean(axis=1) - b.mean(axis=1))
    width = 2 * 1.96 * np.sqrt(2) * a.std() / np.sqrt(50)
    assert found.value == 0
    assert np.isclose(found.high - found.low, width, rtol=0.15)  # resampled together it would be 0


@pytest.mark.parametrize(
    ("groups", "level", "message"), [([[1.0]], 0.95, "1 entries"), ([[1.0, 2.0]], 1.0, "level: 1.0")]
)
def test_what_cannot_be_resampled_is_refused(groups, level, message):
    with pytest.raises(ValueError, match=message):
        bootstrap(groups, mean_over_seeds, level=level)


def test_the_best_of_n_is_the_mean_over_all_subsets():
    scores = np.array([3.0, 1.0, 4.0, 1.5, 9.0])
    for n, value in enumerate(best_of(scores), 1):
        assert np.isclose(value, np.mean([min(subset) for subset in combinations(scores, n)]))


def test_steps_to_reach_inverts_a_power_law():
    lengths = np.array([100.0, 400.0, 1600.0])
    losses = 10 * lengths**-0.5
    for steps in (100, 150, 400, 1000, 1600):
        assert np.isclose(steps_to_reach(10 * steps**-0.5, lengths, losses), steps)
    assert steps_to_reach(100.0, lengths, losses) == pytest.approx(100)  # never outside of what was run
    assert steps_to_reach(1e-9, lengths, losses) == pytest.approx(1600)


def test_a_longer_run_that_is_worse_counts_as_the_shorter_one():
    assert steps_to_reach(1.0, [1, 2, 4], [2.0, 1.0, 5.0]) == pytest.approx(2)


def test_a_method_that_needs_half_the_steps_has_a_speedup_of_two():
    lengths = [100, 200, 400, 800]
    adamw = [Tuned(np.full(5, 5 * length**-0.3)) for length in lengths]
    own = Tuned(np.full(5, 5 * (2 * 200.0) ** -0.3))  # after 200 steps what AdamW has after 400
    assert np.allclose(speedup(own, 200, lengths, adamw), 2.0)
    better = Tuned(np.full(5, 0.1))
    assert np.allclose(speedup(better, 200, lengths, adamw), 4.0)  # AdamW's longest run


def test_a_wide_interval_stays_where_losses_can_be():
    # half way between the first two in the logarithm; the third is so unsure that it may be drawn below zero
    adamw = [Tuned(np.full(5, 1.0)), Tuned(np.full(5, 0.01)), Tuned(np.array([1e-4, 9e-3, 1e-4, 1e-4, 1e-4]))]
    assert np.allclose(speedup(Tuned(np.full(5, 0.1)), 10, [10, 20, 40], adamw), 2**0.5)


# -- methods as tuned --------------------------------------------------------------------------------------------------


def test_the_mean_of_few_seeds_has_students_interval():
    values = np.random.default_rng(0).standard_normal(6)
    found = mean(Tuned(values))
    half = t.ppf(0.975, 5) * values.std(ddof=1) / np.sqrt(6)
    assert found.value == values.mean()
    assert np.allclose([found.value - found.low, found.high - found.value], half, rtol=0.1)


def test_five_seeds_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = [
        low <= 0 <= high
        for _, low, high in (
            interval([Tuned(rng.standard_normal(5))], lambda m: m[:, 0], 1000, seed=i) for i in range(2000)
        )
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_what_a_seed_does_to_both_cancels():
    common = np.array([0.0, 3.0, -2.0, 5.0, 1.0])
    found = difference(Tuned(common + 0.1), Tuned(common))
    assert np.allclose(found, 0.1)


def test_luck_in_tuning_is_that_of_every_set_of_trials_that_could_have_been_drawn():
    scores = np.array([2.0, 1.0, 4.0, 1.5])
    above_best = np.sort([min(drawn) - 1.0 for drawn in product(scores, repeat=4)])  # all 256
    same = Tuned(np.full(5, 7.0), scores)  # seeds that say the same
    found = interval([same], lambda means: means[:, 0], draws=100_000, level=0.5)
    assert found.value == 7.0
    assert found.low == 7.0 + above_best[63]
    assert found.high == 7.0 + above_best[191]
    assert mean(Tuned(np.full(5, 7.0))) == (7.0, 7.0, 7.0)


def test_trials_at_the_same_points_have_the_same_luck():
    scores = np.random.default_rng(0).random(16)
    a, b = Tuned(np.full(5, 1.0), scores), Tuned(np.full(5, 0.7), scores + 5)
    assert np.allclose(difference(a, b), 0.3)
    other = difference(a, b._replace(scores=scores[::-1]))
    assert other.high - other.low > 0.01


def test_a_trend_is_the_slope_over_the_logarithm():
    x = [10.0, 100.0, 1000.0]
    a = [Tuned(np.full(5, 2.0 + 0.25 * np.log10(at))) for at in x]
    b = [Tuned(np.full(5, 1.0 + 0.05 * np.log10(at))) for at in x]
    assert np.allclose(trend(a, b, x), 0.2)


@pytest.mark.parametrize(
    ("losses", "level", "message"),
    [([[1.0]], 0.95, "2 or more"), ([[1.0, 2.0], [1.0]], 0.95, "as many of each"), ([[1.0, 2.0]], 0.0, "level: 0.0")],
)
def test_methods_that_cannot_be_compared_are_refused(losses, level, message):
    with pytest.raises(ValueError, match=message):
        interval([Tuned(own) for own in losses], lambda means: means[:, 0], level=level)
