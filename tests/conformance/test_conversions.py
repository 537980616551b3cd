"""Conversions of settings: the steps agree, exactly in powers of two; and where the official form does not convert."""

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import DIALECTS, official_to_v2, v1_to_v2, v2_to_official, v2_to_v1


def follow(opt, grads, h_hats, theta):
    state, thetas = opt.init(theta), []
    for g, h_hat in zip(grads, h_hats, strict=True):
        theta, state, _ = opt.step(theta, state, sr.Given(g, h_hat))
        thetas.append(theta)
    return np.array(thetas)


def draws(rng, exact, shape=(24, 64)):
    """Gradients, estimates and a start: any numbers, or whole multiples of a quarter, whose first steps are exact."""
    if exact:
        whole = rng.integers(-8, 9, (2, 4, 64)) / 4.0
        return whole[0], 64 * whole[1], rng.integers(-8, 9, 64) / 4.0
    return rng.normal(size=shape), 5 * rng.normal(size=shape), rng.normal(size=shape[1])


V2 = dict(lr=0.125, gamma=0.25, eps=2.0**-6, weight_decay=0.5)
DYADIC = dict(beta1=0.5, beta2=0.5, every=2)


def test_the_first_form_is_the_second_in_other_letters_exactly_in_powers_of_two():
    g, h_hat, theta = draws(np.random.default_rng(0), exact=True)
    second = DIALECTS["paper-v2"].optimizer(**V2, **DYADIC)
    first = DIALECTS["paper-v1"].optimizer(**v2_to_v1(**V2), **DYADIC)
    thetas = follow(second, g, h_hat, theta)
    np.testing.assert_array_equal(follow(first, g, h_hat, theta), thetas)
    # and the second is the paper's: sophia_ref's own, which shares no rule with the engine
    np.testing.assert_array_equal(follow(sr.Sophia(**V2, **DYADIC), g, h_hat, theta), thetas)


def test_the_two_forms_agree_to_rounding_whatever_the_settings():
    rng = np.random.default_rng(1)
    g, h_hat, theta = draws(rng, exact=False)
    settings = dict(lr=0.03, gamma=0.07, eps=1e-5, weight_decay=0.3)
    second = follow(DIALECTS["paper-v2"].optimizer(**settings, every=3), g, h_hat, theta)
    first = follow(DIALECTS["paper-v1"].optimizer(**v2_to_v1(**settings), every=3), g, h_hat, theta)
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-14)


def test_conversions_there_and_back_are_the_same_settings():
    assert v1_to_v2(**v2_to_v1(**V2)) == V2
    assert v2_to_v1(**V2) == {"lr": 0.5, "rho": 0.25, "eps": 0.0625, "weight_decay": 0.125}
    there = v2_to_official(lr=0.1, gamma=0.05, B=480.0, bs=240.0, weight_decay=0.2)
    assert there == {"lr": 0.1, "rho": 0.1, "bs": 240.0, "weight_decay": 0.2}
    assert official_to_v2(**there, B=480.0) == {"lr": 0.1, "gamma": 0.05, "weight_decay": 0.2}
    # rho 20 with bs in sequences of 1,024 tokens is about the 0.02 of bs in tokens
    assert official_to_v2(lr=0.1, rho=20.0, bs=480.0, B=480.0 * 1024)["gamma"] == 20 / 1024


def official_and_paper(h_hats, grads, bs=32.0):
    """The thetas of both under settings that map, with squares of gradients without B for the official one."""
    theta = np.zeros(h_hats.shape[1])
    there = v2_to_official(lr=0.125, gamma=0.25, B=32.0, bs=bs, weight_decay=0.5)
    official = DIALECTS["official"].optimizer(**there, **DYADIC)
    paper = DIALECTS["paper-v2"].optimizer(lr=0.125, gamma=0.25, eps=1e-12, weight_decay=0.5, **DYADIC)
    return follow(official, grads, h_hats / 32, theta), follow(paper, grads, h_hats, theta)


@pytest.mark.parametrize("bs", [32.0, 8.0])
def test_the_official_form_is_the_papers_exactly_once_both_have_the_same_h_and_no_ulp_feels_1e_15(bs):
    # k = 2 and nothing seen before step 3: without gradients neither moves in the steps before the official's first
    # estimate, and beta2 = 1/2 of the paper's own first estimate is zero. Denominators are 16 and more.
    rng = np.random.default_rng(2)
    grads = np.concatenate([np.zeros((2, 64)), rng.integers(-64, 65, (2, 64)) / 2.0])
    h_hats = np.concatenate([np.zeros((2, 64)), 128.0 * rng.integers(1, 5, (2, 64))])
    official, paper = official_and_paper(h_hats, grads, bs)
    np.testing.assert_array_equal(official, paper)
    assert len(np.unique(paper[2])) > 10


def test_it_is_not_convertible_where_h_is_zero_as_eps_is_another():
    theta, g = np.zeros(1), np.array([2e-14])
    official = follow(DIALECTS["official"].optimizer(lr=1.0, weight_decay=0.0, beta1=0.5), [g], [g], theta)
    paper = follow(DIALECTS["paper-v2"].optimizer(lr=1.0, weight_decay=0.0, beta1=0.5), [g], [0 * g], theta)
    assert (official.item(), paper.item()) == (-1, -0.01)


def test_it_is_not_convertible_where_h_is_negative_as_its_ratio_has_no_lower_bound():
    zeros, ones, negative = np.zeros((2, 1)), np.ones((2, 1)), np.full((2, 1), -1024.0)
    grads, h_hats = np.concatenate([zeros, ones]), np.concatenate([zeros, negative])
    official, paper = official_and_paper(h_hats, grads)
    assert paper[2] == -0.125  # a sign step of lr
    np.testing.assert_allclose(official[2], 0.125 * 0.5 / 128, rtol=1e-12)  # h is -512, and gamma h -128: uphill
    official, paper = official_and_paper(h_hats / 2**20, grads)
    assert paper[2] == -0.125
    np.testing.assert_allclose(official[2], 4096 * 0.125, rtol=1e-9)  # and thousands of lr where -h is small


def test_it_is_not_convertible_before_its_first_estimate_as_that_comes_after_step_k():
    rng = np.random.default_rng(3)
    grads, h_hats = rng.integers(1, 9, (6, 16)) / 8.0, np.full((6, 16), 1024.0)
    official, paper = official_and_paper(h_hats, grads)
    assert (official[0] == -0.125).all()  # sign momentum
    assert (np.abs(paper[0]) < 0.125 / 64).all()


@pytest.mark.parametrize(
    ("convert", "settings", "name"),
    [
        (v1_to_v2, dict(lr=0.1, rho=0, eps=1e-12), "rho"),
        (v2_to_v1, dict(lr=0.1, gamma=-1.0, eps=1e-12), "gamma"),
        (v2_to_official, dict(lr=0.1, gamma=0.1, B=0), "B"),
        (v2_to_official, dict(lr=0.1, gamma=0.1, B=1, bs=0), "bs"),
        (official_to_v2, dict(lr=0.1, rho=np.inf, bs=1, B=1), "rho"),
        (official_to_v2, dict(lr=0.1, rho=0.1, bs=-1, B=1), "bs"),
    ],
)
def test_what_cannot_be_divided_by_is_refused(convert, settings, name):
    with pytest.raises(ValueError, match=rf"{convert.__name__}: {name} must be a finite number > 0, got"):
        convert(**settings)
