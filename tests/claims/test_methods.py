"""Methods made from their names: what they cost, what is wrong with wrong estimates, and the rule of the ablation."""

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.claims.methods import (
    RootMeanSquareSophia,
    Stale,
    cost_a_step,
    flipped,
    label,
    make_optimizer,
    noisy,
    space,
)
from sophia_ref.claims.runs import perform
from sophia_ref.claims.tuning import Arm


class Counting:
    """An oracle whose curvature is 1, 2, 3, ... times a pattern."""

    def __init__(self, seed=0):
        self.rng, self.n = np.random.default_rng(seed), 0

    def estimate(self, oracle):
        self.n += 1
        return self.n * np.linspace(-1.0, 1.0, 10_000)


@pytest.mark.parametrize(
    "method",
    [
        "AdamW",
        "AdaHessian",
        "SophiaH",
        "SophiaG",
        "SophiaE",
        "SophiaR",
        "SophiaA",
        "SophiaG/every=1",
        "SophiaH/every=5",
    ],
)
def test_a_step_costs_what_the_oracle_counts(method):
    batch, steps = 30, 20  # both shares of the batch, and every k, come out even
    spec = Arm("zipf=1.0", (4, 4, 1, 1), batch, method, steps, 2).tuning()[0]
    assert perform(spec).cost == pytest.approx(steps * cost_a_step(method, batch))


def test_noise_has_the_size_that_it_is_given():
    oracle = Counting()
    h = np.linspace(-1.0, 1.0, 10_000)
    error = noisy(oracle.estimate, 2.0)(oracle) - h
    assert np.std(error) == pytest.approx(2 * np.sqrt(np.mean(h**2)), rel=0.05)


def test_signs_are_flipped_in_the_share_that_is_given():
    oracle = Counting()
    wrong = flipped(oracle.estimate, 0.25)(oracle)
    h = np.linspace(-1.0, 1.0, 10_000)
    assert set(np.round(wrong / h, 12)) == {-1.0, 1.0}
    assert (wrong != h).mean() == pytest.approx(0.25, abs=0.02)


def test_a_stale_estimate_is_late_by_as_many_as_it_is_given():
    oracle = Counting()
    late = Stale(oracle.estimate, 2)
    assert [round(late(oracle)[-1]) for _ in range(6)] == [1, 1, 1, 2, 3, 4]


def test_the_root_mean_square_rule_by_hand():
    opt = RootMeanSquareSophia(
        0.5, beta1=0.5, beta2=0.5, gamma=0.5, clip=1.0, every=2, estimator=lambda oracle: oracle.h_hat, eps=1e-12
    )

    class Given:
        h_hat = np.array([-4.0, 0.25])

        def grad(self):
            return np.array([2.0, 2.0])

        def curvature(self, estimator):
            return estimator(self)

    theta = np.array([1.0, 1.0])
    step = opt.step(theta, opt.init(theta), Given())
    # v = 16/2, 0.0625/2; h = 2.83, 0.177; m = 1, 1; ratio = 1 / (0.5 h) = 0.707, 11.3
    assert np.allclose(step.terms["h"], np.sqrt([8.0, 0.03125]))
    assert np.allclose(step.theta, [1 - 0.5 / np.sqrt(2), 0.5])
    again = opt.step(step.theta, step.state, Given())  # no new estimate in step 2
    assert np.allclose(again.terms["h"], step.terms["h"])
    assert np.allclose(again.terms["m"], 1.5)
    third = opt.step(again.theta, again.state, Given())
    assert np.allclose(third.terms["h"] ** 2, [12.0, 0.046875])


def test_options_reach_the_optimizer():
    settings = {name: low for name, (low, _) in space("SophiaG/clip=off/floor").items()}
    opt = make_optimizer("SophiaG/clip=off/floor/every=7", settings, 100)
    assert (opt.clip, opt.eps, opt.every, opt.gamma) == (np.inf, settings["eps"], 7, settings["gamma"])
    assert (opt.beta1, opt.lr(10)) == (1 - settings["1-beta1"], settings["lr"])
    assert type(make_optimizer("SophiaA", settings, 100)) is RootMeanSquareSophia
    assert isinstance(make_optimizer("SophiaH", settings, 100), sr.Sophia)
    assert label("SophiaG/every=7/clip=off") == "Sophia-G, k = 7, unclipped"
