"""The experiments that are no training runs, against closed forms."""

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.claims import estimators, hessian_cost, quadratic, saddle, tasks, tolerance
from sophia_ref.claims.budgets import TINY
from sophia_ref.claims.quadratic import SHOWN, TUNED, Quadratic, instances
from sophia_ref.claims.runs import LOST
from sophia_ref.study import sobol
from toy_problems.transformer import LanguageTask, TinyGPT
from toy_problems.zipf import ZipfLanguage


@pytest.mark.parametrize("rotated", [False, True])
def test_a_quadratic_answers_as_its_formula_does(rotated):
    eigenvalues, R, starts = instances((0, 1), 3, 100.0, rotated)
    theta = starts[None] + np.random.default_rng(0).standard_normal((2, 2, 3))
    oracle = Quadratic(eigenvalues, R, theta, 0.0)
    for i in range(2):
        for s in range(2):
            H = R[s].T @ np.diag(eigenvalues) @ R[s]
            x = theta[i, s]
            assert np.isclose(oracle.loss()[i, s], x @ H @ x / 2)
            assert np.allclose(oracle.grad()[i, s], H @ x)
            assert np.allclose(oracle.hessian()[i, s], H)
            assert np.allclose(oracle.hessian_diag()[i, s], np.diag(H))
            assert np.allclose(oracle.hvp(theta)[i, s], H @ x)
    assert np.allclose(R @ R.swapaxes(1, 2), np.eye(3))
    assert np.allclose(Quadratic(eigenvalues, R, starts[None], 0.0).loss(), 0.5)
    assert not set(TUNED) & set(SHOWN)


def arrivals(opt, condition, rotated, seeds, most):
    """Steps of each start, (seeds,)."""
    bowl = instances(seeds, tolerance.DIMENSION, condition, rotated)
    return tolerance.steps_to_tolerance(opt, bowl, most)[0][0]


@pytest.mark.parametrize("condition", [1.0, 10.0, 100.0])
def test_gradient_descent_takes_the_steps_that_its_contraction_gives(condition):
    eigenvalues, *_ = instances((0,), tolerance.DIMENSION, condition, False)
    steps = arrivals(sr.GradientDescent(1 / condition), condition, True, (0, 1), 2000)
    # coordinate i of the loss falls by (1 - lambda_i / kappa)^2 a step, from c_i^2 / 2, whatever the axes
    t = np.arange(2001)[:, None]
    falls = (1 - eigenvalues / condition) ** (2 * t)
    for found, R, start in zip(steps, *instances((0, 1), tolerance.DIMENSION, condition, True)[1:], strict=True):
        c = np.sqrt(eigenvalues) * (R @ start)
        assert found == np.argmax((falls * c**2).sum(1) / 2 <= 0.005)


def test_newton_takes_one_step_and_what_does_not_arrive_is_infinite():
    for rotated in (False, True):
        assert (arrivals(sr.Newton(1.0), 1e6, rotated, SHOWN, 10) == 1).all()
    assert np.isinf(arrivals(sr.GradientDescent(1e-9), 1e6, True, SHOWN, 10)).all()
    assert np.isinf(arrivals(sr.GradientDescent(1e9), 1e6, True, SHOWN, 200)).all()


def test_sign_descent_from_the_start_of_the_proof_takes_the_steps_of_its_closed_form():
    for condition in (1.0, 10.0, 1e2, 1e3, 1e4):
        # x goes from its start to where x^2/2 and the bouncing of y leave the tolerance
        rates = np.linspace(0.1, 0.2, 201)[:-1] / np.sqrt(condition)
        bouncing = condition * rates**2 / 4
        steps = np.ceil((np.sqrt(1 - bouncing) - np.sqrt(0.01 - bouncing)) / rates - 1e-9)
        found = tolerance.worst_sign(condition)
        assert found == steps.min()
        assert tolerance.sign_bound(condition) <= found <= 1.2 * tolerance.sign_bound(condition)


def test_trials_that_do_not_arrive_from_all_starts_are_ranked_by_how_many_do_and_then_by_loss():
    steps = [[5, 9, 7], [5, 5, 10], [np.inf, 5, 5], [np.inf, 5, 5], [np.inf, np.inf, 5], [np.inf, np.inf, np.inf]]
    losses = [[0, 0, 0], [0, 0, 0], [0.1, 9, 9], [0.2, 0, 0], [0.01, 0.01, 0], [np.nan, 0.1, 0.1]]
    found = [tolerance.rank(np.array([s]), np.array([x])) for s, x in zip(steps, losses, strict=True)]
    assert found == sorted(found)
    assert len(set(found)) == len(found)


def test_gradient_descent_that_does_not_arrive_from_all_starts_is_not_left_with_the_first_trial():
    # in 200 steps at condition number 1e4 from none of three starts: the nearest is the fastest that is stable
    trials = [trial["lr"] for trial in sobol(tolerance.SPACES["GradientDescent"], 8)]
    found = tolerance.tuned("GradientDescent", 1e4, False, 8, 200)["lr"]
    assert found == max(lr for lr in trials if lr < 2) > 2 * trials[0]


def test_the_theorems_curves_have_the_values_that_were_derived():
    # FALL = 100: 4.3, 13.6, 43, 136, 429 at condition 1, 10, 100, 1e3, 1e4
    bounds = [tolerance.sign_bound(10.0**i) for i in range(5)]
    assert np.allclose(bounds, [4.29, 13.58, 42.93, 135.8, 429.3], rtol=2e-3)
    assert tolerance.newton_bound() == pytest.approx(tolerance.DIMENSION / 2, abs=2.5)


def test_sophia_by_coordinates_is_newton_where_the_axes_are_aligned():
    settings = {"lr": 1.0, "gamma": 1.0, "1-beta1": 1.0}
    opt = tolerance.rule("Sophia", settings, 1e6)
    # unclipped from the start, as its distance in every coordinate is below lr
    assert (arrivals(opt, 1e6, False, SHOWN, 10) == 1).all()


def test_noise_on_the_quadratic_is_the_same_for_every_trial_and_method():
    settings = {"lr": np.array([0.0, 0.0])[:, None, None], "gamma": np.ones((2, 1, 1))}
    still = quadratic._descend("Sophia", settings, (0.9, 0.9), 100.0, True, 1.0, 5, SHOWN)
    assert np.allclose(10**still, 0.5)  # lr 0 stays where it starts
    small = {"lr": np.full((2, 1, 1), 0.01), "gamma": np.ones((2, 1, 1))}
    a, b = quadratic._descend("AdamW", small, (0.9, 0.95), 100.0, True, 1.0, 20, SHOWN)
    assert np.array_equal(a, b)


def test_a_row_that_leaves_the_quadratic_counts_as_lost():
    far = {"lr": np.array([0.01, 1e60])[:, None, None]}
    near, lost = quadratic._descend("AdamW", far, (0.9, 0.95), 1.0, False, 0.0, 5, SHOWN)
    assert (near < np.log10(0.5)).all()
    assert (lost == np.log10(LOST)).all()


def test_the_quadratic_is_tuned_over_every_pair_of_decays_and_the_best_is_shown():
    found = quadratic.tuned_on("AdamW", 100.0, False, 0.1, 20, 32)
    settings = quadratic.settings_of(quadratic.MAP_SPACES["AdamW"], 32)
    alone = [
        quadratic._descend("AdamW", {"lr": settings["lr"][i : i + 1]}, quadratic.DECAYS["AdamW"][i % 9], 100.0, False,
                           0.1, 20, seeds)[0]
        for i, seeds in [*((i, TUNED) for i in range(32)), (int(np.argmin(found.scores)), SHOWN)]
    ]  # fmt: skip
    assert np.allclose(found.scores, np.mean(alone[:32], axis=1), rtol=1e-12)
    assert np.allclose(found.losses, alone[32], rtol=1e-12)
    # both halves of the learning rate's range meet every pair
    upper = {(i % 9, settings["lr"][i, 0, 0] > np.sqrt(1e-5)) for i in range(32)}
    assert len(upper) == 18


def test_newton_by_coordinates_divides_by_the_diagonal_as_it_is():
    step = saddle.DiagonalNewton(1.0)
    theta = np.array([0.2, 0.0])
    found = step.step(theta, step.init(theta), sr.Given(grad=np.array([-2.0, 3.0]), hessian_diag=np.array([-4.0, 0.0])))
    assert np.allclose(found.theta, [0.2 - 0.5, 0.0])


def test_the_gauss_newton_diagonal_is_the_mean_of_gnb_over_all_labels():
    task = LanguageTask(TinyGPT(2, 2, 2, 1, 1), ZipfLanguage(np.random.default_rng(0), 2), 1)
    theta = task.init(np.random.default_rng(0)).astype(np.float64) * 5
    tokens, targets = batch = task.batch(np.random.default_rng(1), ())
    z = task.model.logits(theta, tokens)
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    mean = 0.0
    for labels in np.ndindex(2, 2):  # every pair of labels with its chance
        y = np.array([labels])
        chance = p[0, 0, y[0, 0]] * p[0, 1, y[0, 1]]
        mean = mean + chance * tokens.size * sr.Oracle(task, theta, (tokens, y)).grad() ** 2
    assert np.allclose(estimators.gauss_newton_diagonal(task, theta, batch), mean, atol=1e-14)
    assert targets.shape == (1, 2)


def test_the_variances_measured_agree_with_the_formulas():
    found = estimators.measure(None, TINY)
    rows = {row["name"]: row for row in found["stages"]["start"]["rows"]}
    assert 0.2 < rows["Hutchinson"]["variance"] < 3  # of twenty draws
    assert rows["GNB"]["negative"] == 0
    assert rows["GNB"]["variance"] is None


def test_kinds_of_curvature_are_timed_in_turns_and_compared_within_a_round():
    now, asked = [0.0], []

    def question(name, seconds):
        def ask(oracle):
            asked.append(name)
            now[0] += seconds * ((len(asked) + 1) // 2)  # a machine that slows down from round to round

        return ask

    questions = {"gradient": question("gradient", 1.0), "product": question("product", 3.0)}
    times = hessian_cost.turns(questions, lambda: None, 4, clock=lambda: now[0])
    assert asked == ["gradient", "product"] * 5
    assert len(times["gradient"]) == 4  # the first round warms up
    assert times["product"].tolist() == pytest.approx([6e3, 9e3, 12e3, 15e3])
    assert hessian_cost.over(times["product"], times["gradient"]) == pytest.approx((3, 3, 3))


def test_estimates_cost_what_the_oracle_counts():
    ask = hessian_cost._asker(tasks.make_task("zipf=1.0", (4, 4, 1, 1), 4).problem)
    counted = {
        name: hessian_cost._cost(hessian_cost._curvature(estimator), ask)
        for name, estimator in hessian_cost.WAYS.items()
    }
    assert (counted["Hutchinson"], counted["GNB"]) == (3, 1)
    assert (counted[hessian_cost.WINDOW], counted["GNB, half of the batch"]) == (3 / 4, 1 / 2)  # of four windows, one
