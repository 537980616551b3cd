import itertools
import math

import numpy as np
import pytest

from toy_problems.transformer import LanguageTask, TinyGPT
from toy_problems.zipf import ZipfLanguage


def language(vocab=4, **options):
    return ZipfLanguage(np.random.default_rng(0), vocab, **options)


def probability_of_every_window(spoken, length):
    """{window: probability} by the chain rule, over all vocab^length windows."""
    pi, P = spoken.stationary, spoken.transitions
    return {
        window: pi[window[0]] * math.prod(P[i, j] for i, j in itertools.pairwise(window))
        for window in itertools.product(range(spoken.vocab), repeat=length)
    }


def entropy_of(probabilities):
    return -math.fsum(p * math.log(p) for p in probabilities)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
def test_word_frequencies_follow_zipfs_law_and_are_stationary(exponent):
    spoken = language(50, exponent=exponent)
    np.testing.assert_allclose(spoken.stationary[0] / spoken.stationary, np.arange(1.0, 51) ** exponent)
    assert spoken.stationary.sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(spoken.transitions.sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(spoken.stationary @ spoken.transitions, spoken.stationary, rtol=1e-12)


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("length", [2, 5, 7])
def test_the_entropy_is_that_of_all_windows_less_that_of_all_shorter_ones(strength, length):
    spoken = language(strength=strength)
    windows = probability_of_every_window(spoken, length)
    assert math.fsum(windows.values()) == pytest.approx(1, abs=1e-13)
    rate = entropy_of(windows.values()) - entropy_of(probability_of_every_window(spoken, length - 1).values())
    assert spoken.entropy == pytest.approx(rate, abs=1e-12)


def test_the_best_predictors_mean_loss_is_the_entropy_at_every_position():
    spoken = language()
    windows = probability_of_every_window(spoken, 5)
    for t in range(4):
        loss = -math.fsum(p * math.log(spoken.transitions[w[t], w[t + 1]]) for w, p in windows.items())
        assert spoken.entropy == pytest.approx(loss, abs=1e-12)


def test_without_strength_words_are_independent_and_with_it_the_rate_falls():
    rates = [language(64, strength=strength).entropy for strength in (0.0, 1.0, 2.0, 3.0)]
    assert rates[0] == pytest.approx(entropy_of(language(64).stationary), abs=1e-12)
    assert rates == sorted(rates, reverse=True)


def test_windows_are_spoken_as_the_chain_says():
    spoken = language()
    windows = spoken.windows(np.random.default_rng(1), 20_000, 3)
    assert windows.shape == (20_000, 3)
    seen = np.zeros((4, 4, 4))
    np.add.at(seen, tuple(windows.T), 1)
    for window, p in probability_of_every_window(spoken, 3).items():
        assert abs(seen[window] - 20_000 * p) < 5 * math.sqrt(20_000 * p * (1 - p))


def test_the_same_generator_speaks_the_same_language():
    first, again = language(8), language(8)
    other = ZipfLanguage(np.random.default_rng(1), 8)
    np.testing.assert_array_equal(first.transitions, again.transitions)
    np.testing.assert_array_equal(first.held_out(5), again.held_out(5))
    assert (first.transitions != other.transitions).all()


def test_held_out_windows_are_always_the_same_and_not_training_ones():
    spoken = language(8)
    held = spoken.held_out(6)
    spoken.windows(np.random.default_rng(0), 10, 6)
    np.testing.assert_array_equal(spoken.held_out(6), held)
    assert (spoken.windows(np.random.default_rng(0), len(held), 6) != held).any()


def test_the_excess_loss_is_zero_for_the_best_predictor_and_else_the_expected_loss_less_the_entropy():
    spoken = language()
    tokens = np.array([[0, 3, 1], [2, 2, 0]])
    assert abs(spoken.excess_loss(np.log(spoken.transitions[tokens]) + 7, tokens)) < 1e-14
    logits = np.random.default_rng(2).normal(size=(2, 3, 4))
    q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    by_hand = [
        spoken.transitions[i, j] * math.log(spoken.transitions[i, j] / q[place][j])
        for place, i in np.ndenumerate(tokens)
        for j in range(4)
    ]
    assert spoken.excess_loss(logits.astype(np.float32), tokens) == pytest.approx(math.fsum(by_hand) / 6, rel=1e-6)


def test_in_the_mean_over_all_windows_excess_and_entropy_make_the_loss():
    spoken = language(3)
    model = TinyGPT(vocab=5, context=3, width=6, heads=2, layers=1)  # two words more than the language
    theta = model.init(np.random.default_rng(0), np.float64) * 20
    windows, p = zip(*probability_of_every_window(spoken, 4).items(), strict=True)
    tokens, targets = np.array(windows)[:, :-1], np.array(windows)[:, 1:]
    losses = [model.loss(theta, (row[None], target[None])) for row, target in zip(tokens, targets, strict=True)]
    excesses = [spoken.excess_loss(model.logits(theta, row[None]), row[None]) for row in tokens]
    assert np.dot(p, losses) == pytest.approx(np.dot(p, excesses) + spoken.entropy, rel=1e-12)


def test_a_language_task_speaks_it():
    spoken = language(16)
    task = LanguageTask(TinyGPT(16, 8, 8, 2, 1), spoken, 4)
    tokens, targets = task.batch(np.random.default_rng(0), ())
    assert tokens.shape == (4, 8)
    np.testing.assert_array_equal(tokens[:, 1:], targets[:, :-1])
    theta = task.init(np.random.default_rng(0))
    assert sum(len(batch[0]) for batch in task.validation_batches) == 256
    assert task.validation_loss(theta) == pytest.approx(math.log(16), rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocab": 1}, "vocab: 1; expected an integer >= 2"),
        ({"vocab": 4.0}, r"vocab: 4\.0; expected an integer >= 2"),
        ({"exponent": -0.1}, r"exponent: -0\.1; expected a number in 0\.\.4"),
        ({"exponent": math.nan}, r"exponent: nan; expected a number in 0\.\.4"),
        ({"strength": 4.1}, r"strength: 4\.1; expected a number in 0\.\.4"),
        ({"strength": "high"}, r"strength: 'high'; expected a number in 0\.\.4"),
    ],
)
def test_impossible_languages_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        language(**options)


@pytest.mark.parametrize(
    ("shape", "tokens", "message"),
    [
        ((1, 2, 4), [[0, 4]], r"tokens: 0\.\.4; expected values in 0\.\.3"),
        ((1, 2, 4), [[-1, 3]], r"tokens: -1\.\.3; expected"),
        ((1, 2, 3), [[0, 3]], r"logits: shape \(1, 2, 3\); expected \(1, 2\) and at least 4 words"),
        ((2, 1, 4), [[0, 3]], r"logits: shape \(2, 1, 4\); expected"),
    ],
)
def test_logits_and_tokens_that_do_not_fit_the_language_are_refused(shape, tokens, message):
    with pytest.raises(ValueError, match=message):
        language().excess_loss(np.zeros(shape), np.array(tokens))
