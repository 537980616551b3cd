"""Oracles: the loss in closed form, |W - M|_F^2 / 2, its gradient by hand, Eckart-Young, and the two-layer Hessian."""

import math

import numpy as np
import pytest

import sophia_ref as sr
from toy_problems.deep_linear import DeepLinear


def product(problem, theta):
    total = np.eye(problem.M.shape[1])
    for W in problem.layout.unpack(theta).values():
        total = W @ total
    return total


def oracle(problem, theta):
    return sr.Oracle(problem, theta, problem.batch(np.random.default_rng(0), theta.shape[:-1]))


def some_theta(problem, *shape, seed=1):
    return np.random.default_rng(seed).standard_normal((*shape, problem.layout.size)) / 2


WIDTHS = pytest.mark.parametrize("widths", [(4, 2, 3), (4, 5, 3), (3, 4, 4, 5), (3, 2, 3, 2, 3)])


def made(widths, **options):
    return DeepLinear(widths, singular_values=(3.0, 1.5, 0.5), examples=9, **options)


def test_the_inputs_have_exactly_the_identity_as_second_moment_and_the_target_its_singular_values():
    problem = DeepLinear((6, 4, 5), singular_values=(1.0, 3.0), examples=11)
    np.testing.assert_allclose(problem.X.T @ problem.X / 11, np.eye(6), atol=1e-14)
    np.testing.assert_allclose(np.linalg.svd(problem.M)[1], [3, 1, 0, 0, 0], atol=1e-14)
    np.testing.assert_allclose(problem.y, problem.X @ problem.M.T, atol=1e-14)
    assert problem.layout.shapes == {"W1": (4, 6), "W2": (5, 4)}


@WIDTHS
def test_the_loss_is_half_the_squared_distance_of_the_product_from_the_target(widths):
    problem = made(widths)
    theta = some_theta(problem)
    expected = 0.5 * ((product(problem, theta) - problem.M) ** 2).sum()
    assert oracle(problem, theta).loss() == pytest.approx(expected, rel=1e-12)


@WIDTHS
def test_the_gradient_is_the_one_derived_by_hand(widths):
    # dL/dW_l = (W_L ... W_{l+1})^T (W - M) (W_{l-1} ... W_1)^T
    problem = made(widths)
    theta = some_theta(problem)
    W = list(problem.layout.unpack(theta).values())
    error = product(problem, theta) - problem.M
    expected = {}
    for i, name in enumerate(problem.layout.shapes):
        below, above = np.eye(widths[0]), np.eye(widths[i + 1])
        for matrix in W[:i]:
            below = matrix @ below
        for matrix in W[i + 1 :]:
            above = matrix @ above
        expected[name] = above.T @ error @ below.T
    np.testing.assert_allclose(oracle(problem, theta).grad(), problem.layout.pack(expected), rtol=1e-11, atol=1e-12)


@WIDTHS
def test_the_minimum_is_what_does_not_fit_through_the_narrowest_layer_and_truth_attains_it(widths):
    problem = made(widths)
    left_out = {2: 0.5**2 / 2, 3: 0.0, 4: 0.0}[min(widths)]
    assert problem.minimum == pytest.approx(left_out, abs=1e-15)
    at_truth = oracle(problem, problem.truth)
    assert at_truth.loss() == pytest.approx(problem.minimum, abs=1e-13)
    np.testing.assert_allclose(at_truth.grad(), 0, atol=1e-13)
    assert np.linalg.eigvalsh(at_truth.hessian())[0] > -1e-12


def test_no_descent_ends_below_the_minimum_and_some_reach_it():
    problem = made((3, 2, 3))
    theta0 = some_theta(problem, 20)
    run = sr.run(problem, sr.GradientDescent(lr=0.05), 2000, theta0=theta0)
    assert (run.losses[-1] > problem.minimum - 1e-12).all()
    assert np.median(run.losses[-1]) == pytest.approx(problem.minimum, abs=1e-6)


@WIDTHS
def test_zero_is_a_critical_point_from_which_the_loss_falls(widths):
    problem = made(widths)
    zero = np.zeros(problem.layout.size)
    at_zero = oracle(problem, zero)
    assert at_zero.loss() == pytest.approx(0.5 * (3.0**2 + 1.5**2 + 0.5**2), rel=1e-12)
    np.testing.assert_array_equal(at_zero.grad(), 0)
    near = np.linspace(-0.3, 0.3, 7)[:, None] * problem.truth
    assert oracle(problem, near).loss().min() < at_zero.loss()


def test_two_layers_have_the_singular_values_with_both_signs_as_curvature_at_zero():
    # H maps (A, B) to -(B^T M, M A^T): each +-s_i once for every hidden unit, the rest zero
    problem = made((4, 2, 3))
    eigenvalues = np.linalg.eigvalsh(oracle(problem, np.zeros(problem.layout.size)).hessian())
    expected = np.sort([sign * s for s in (3.0, 1.5, 0.5) for sign in (-1, 1)] * 2 + [0.0] * 2)
    np.testing.assert_allclose(eigenvalues, expected, atol=1e-12)


def test_three_layers_have_no_curvature_at_zero_at_all():
    problem = made((3, 4, 4, 5))
    np.testing.assert_array_equal(oracle(problem, np.zeros(problem.layout.size)).hessian(), 0)


def test_gnb_over_gaussian_labels_averages_to_the_gauss_newton_diagonal():
    # J by differences of the product; the Gauss-Newton matrix is J^T J, as the inputs' second moment is the identity
    problem = made((3, 2, 3))
    theta = some_theta(problem)
    steps = 1e-6 * np.eye(theta.size)
    J = np.stack([(product(problem, theta + e) - product(problem, theta - e)).ravel() / 2e-6 for e in steps], axis=1)
    rng, draws = np.random.default_rng(0), 20_000
    rows = np.broadcast_to(theta, (draws, theta.size)).copy()
    g, B = sr.Oracle(problem, rows, problem.batch(rng, (draws,)), rng).sampled_grad()
    assert B == 9
    expected = (J**2).sum(axis=0)
    # B g_i^2 is expected_i times a chi-square variable of one degree of freedom, of variance 2
    np.testing.assert_allclose((B * g * g).mean(axis=0), expected, rtol=5 * math.sqrt(2 / draws))


@pytest.mark.parametrize("batch_size", [None, 4])
def test_rows_are_what_single_runs_give_and_do_not_touch_each_other(batch_size):
    problem = made((3, 2, 3), batch_size=batch_size)
    theta = some_theta(problem, 2, 2)
    X, y = problem.batch(np.random.default_rng(0), (2, 2))
    assert X.shape == (2, 2, batch_size or 9, 3)
    loss, gradient = problem.loss(theta, (X, y)), sr.Oracle(problem, theta, (X, y)).grad()
    for i in np.ndindex(2, 2):
        single = sr.Oracle(problem, theta[i], (X[i], y[i]))
        np.testing.assert_allclose(loss[i], single.loss(), rtol=1e-13)
        np.testing.assert_allclose(gradient[i], single.grad(), rtol=1e-12, atol=1e-13)
    moved = theta.copy()
    moved[1, 0] *= 1.5
    assert (problem.loss(moved, (X, y)) != loss).tolist() == [[False, False], [True, False]]


def test_float32_stays_float32():
    problem = made((3, 2, 3))
    theta = some_theta(problem).astype(np.float32)
    answers = sr.Oracle(problem, theta, problem.batch(np.random.default_rng(0)), np.random.default_rng(0))
    for answer in (answers.loss(), answers.grad(), answers.hvp(theta), answers.sampled_grad()[0]):
        assert answer.dtype == np.float32


def test_init_scales_each_layer_by_its_number_of_inputs_and_repeats_with_the_seed():
    problem = DeepLinear((100, 400, 50), singular_values=(1.0,), scale=0.2, examples=100)
    theta = problem.init(np.random.default_rng(3))
    W = problem.layout.unpack(theta)
    assert W["W1"].std() == pytest.approx(0.2 / 10, rel=0.03)
    assert W["W2"].std() == pytest.approx(0.2 / 20, rel=0.03)
    np.testing.assert_array_equal(theta, problem.init(np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (3, 3)}, r"widths: \(3, 3\); expected at least three integers"),
        ({"widths": (3, 0, 3)}, "widths: 0; expected an integer >= 1"),
        ({"widths": (3, 2.5, 3)}, "widths: 2.5; expected an integer >= 1"),
        ({"widths": (3, 9, 5), "singular_values": (1, 1, 1, 1)}, "singular_values: 4 of them; expected at most 3"),
        ({"singular_values": (1.0, 0.0)}, "singular_values: 0.0; expected finite numbers > 0"),
        ({"singular_values": (1.0, math.nan)}, "singular_values: nan; expected finite numbers > 0"),
        ({"scale": -1.0}, "scale: -1.0; expected a finite number > 0"),
        ({"examples": 7}, "examples: 7; expected an integer >= 8"),
        ({"batch_size": -1}, "batch_size: -1; expected an integer >= 1"),
    ],
)
def test_bad_input_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        DeepLinear(**options)
