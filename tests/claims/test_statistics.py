"""Intervals against closed forms, the best of n against enumeration, speed-ups against curves with a known answer."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import norm, t

from sophia_ref.claims.statistics import best_of, bootstrap, difference, mean_over_seeds, speedup, steps_to_reach


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


def test_a_run_that_diverged_makes_the_mean_infinite_and_two_make_a_difference_unknown():
    assert difference([1.0, np.inf, 2.0], [1.0, 1.0, 1.0])[0] == np.inf
    assert np.isnan(difference([np.inf, 1.0], [np.inf, 0.5])).all()


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
    assert steps_to_reach(1.5, [1, 2, 4], [np.inf, 1.0, 0.5]) == pytest.approx(2)  # from nowhere to there


def test_a_method_that_needs_half_the_steps_has_a_speedup_of_two():
    lengths = [100, 200, 400, 800]
    adamw = np.tile(5 * np.array(lengths) ** -0.3, (5, 1))
    own = np.full(5, 5 * (2 * 200.0) ** -0.3)  # after 200 steps what AdamW has after 400
    assert np.allclose(speedup(own, 200, lengths, adamw), 2.0)
