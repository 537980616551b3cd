"""Oracles: normal equations, gradients and Hessians by hand, and enumeration of all labels."""

import itertools
import math

import numpy as np
import pytest

import sophia_ref as sr
from toy_problems.regression import LeastSquares, LogisticRegression, SoftmaxRegression

SMALL = {
    "least_squares": lambda **options: LeastSquares(**{"examples": 12, "features": 3, **options}),
    "logistic_regression": lambda **options: LogisticRegression(**{"examples": 12, "features": 3, **options}),
    "softmax_regression": lambda **options: SoftmaxRegression(
        **{"examples": 12, "features": 3, "classes": 4, **options}
    ),
}
ALL = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)


def thetas(problem, *shape, seed=1):
    return np.random.default_rng(seed).standard_normal((*shape, problem.layout.size))


def design(X):
    """(x, 1) for every example, (..., n, D + 1); theta of a one-output model is its coefficient vector."""
    return np.concatenate([X, np.ones((*X.shape[:-1], 1))], axis=-1)


def mean_and_weight(problem, z):
    """E[y | z] and Var[y | z] (..., n, K, K), which for these likelihoods is the Hessian of the loss in z."""
    if problem.name == "least_squares":
        return z, np.ones((*z.shape, 1))
    if problem.name == "logistic_regression":
        p = 1 / (1 + np.exp(-z))
        return p, (p * (1 - p))[..., None]
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    return p, p[..., None] * np.eye(z.shape[-1]) - p[..., :, None] * p[..., None, :]


def by_hand(problem, theta):
    """Gradient (P,) and Hessian (P, P) over all the data, for one theta (P,)."""
    A = design(problem.X)  # theta is (w; b) row by row: the coefficients of A are theta as (D + 1, K)
    z = A @ theta.reshape(A.shape[1], -1)
    mean, weight = mean_and_weight(problem, z)
    y = np.eye(z.shape[-1])[problem.y] if problem.name == "softmax_regression" else problem.y
    gradient = A.T @ (mean - y) / len(A)
    hessian = np.einsum("ni,nj,nkl->ikjl", A, A, weight) / len(A)
    return gradient.ravel(), hessian.reshape(theta.size, theta.size)


@ALL
def test_the_loss_is_the_mean_negative_log_likelihood(make):
    problem = make()
    theta = thetas(problem)
    tensors = problem.layout.unpack(theta)
    total = 0.0
    for x, y in zip(problem.X, problem.y, strict=True):
        z = x @ tensors["w"] + tensors["b"]
        if problem.name == "least_squares":
            total += 0.5 * (z[0] - y[0]) ** 2
        elif problem.name == "logistic_regression":
            p = 1 / (1 + math.exp(-z[0]))
            total -= math.log(p if y[0] else 1 - p)
        else:
            total -= math.log(math.exp(z[y]) / sum(math.exp(value) for value in z))
    assert problem.loss(theta, (problem.X, problem.y)) == pytest.approx(total / 12, rel=1e-13)


@ALL
def test_gradient_and_hessian_are_those_derived_by_hand(make):
    problem = make()
    theta = thetas(problem)
    gradient, hessian = by_hand(problem, theta)
    oracle = sr.Oracle(problem, theta, problem.batch(np.random.default_rng(0)))
    np.testing.assert_allclose(oracle.grad(), gradient, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(oracle.hessian(), hessian, rtol=1e-11, atol=1e-13)


def test_least_squares_is_smallest_where_the_normal_equations_say():
    problem = LeastSquares(examples=40, features=5)
    A = design(problem.X)
    best = np.linalg.solve(A.T @ A, A.T @ problem.y)[:, 0]
    batch = problem.batch(np.random.default_rng(0))
    np.testing.assert_allclose(sr.Oracle(problem, best, batch).grad(), 0, atol=1e-12)
    residual = problem.y[:, 0] - A @ best
    assert problem.loss(best, batch) == pytest.approx(0.5 * np.mean(residual**2), rel=1e-12)
    assert problem.loss(problem.truth, batch) > problem.loss(best, batch)


def test_least_squares_features_span_the_spread_asked_for():
    problem = LeastSquares(examples=4000, features=4, spread=100.0)
    np.testing.assert_allclose(problem.X.std(axis=0), 100.0 ** -np.linspace(0, 1, 4), rtol=0.1)
    X = LogisticRegression(examples=4000, features=2, spread=1.0).X
    np.testing.assert_allclose(X.std(axis=0), 1, rtol=0.1)


@ALL
def test_the_gradient_at_the_truth_is_only_sampling_noise(make):
    # the mean gradient is zero there and its covariance is the Hessian / N (the information equality)
    problem = make(examples=4000)
    gradient, hessian = by_hand(problem, problem.truth)
    noise = np.sqrt(np.diag(hessian) / 4000)
    assert np.abs(gradient / noise).max() < 4.5
    other, _ = by_hand(problem, 2 * problem.truth)
    assert np.abs(other / noise).max() > 4.5


def test_softmax_classes_follow_zipf_as_closely_as_integers_can():
    problem = SoftmaxRegression(examples=1000, classes=10, exponent=1.0)
    harmonic = sum(1 / k for k in range(1, 11))
    expected = [1000 / (k * harmonic) for k in range(1, 11)]
    assert np.abs(np.bincount(problem.y, minlength=10) - expected).max() <= 1
    assert np.abs(np.diff(problem.y)).sum() > 1000  # shuffled, so that the first half is a fair part


def test_the_softmax_truth_is_the_posterior_of_its_clouds():
    problem = SoftmaxRegression(examples=50, features=2, classes=3, exponent=2.0)
    tensors = problem.layout.unpack(problem.truth)
    means, priors = tensors["w"].T, np.array([1, 1 / 4, 1 / 9])
    x = np.array([0.3, -1.2])
    joint = priors * np.exp(-0.5 * ((x - means) ** 2).sum(axis=1))
    z = x @ tensors["w"] + tensors["b"]
    np.testing.assert_allclose(np.exp(z) / np.exp(z).sum(), joint / joint.sum(), rtol=1e-12)
    assert tensors["b"].sum() == pytest.approx(0, abs=1e-12)


# sampled labels


@pytest.mark.parametrize("name", ["logistic_regression", "softmax_regression"])
def test_gnb_over_all_labels_weighted_by_their_probabilities_is_the_gauss_newton_diagonal(name):
    problem = SMALL[name](examples=4)
    theta = thetas(problem)
    mean, _ = mean_and_weight(problem, design(problem.X) @ theta.reshape(design(problem.X).shape[1], -1))
    p = np.concatenate([1 - mean, mean], axis=1) if name == "logistic_regression" else mean
    total = np.zeros(theta.size)
    for labels in itertools.product(range(p.shape[1]), repeat=4):
        y = np.array(labels) if name == "softmax_regression" else np.array(labels, float)[:, None]
        g = sr.Oracle(problem, theta, (problem.X, y)).grad()
        total += p[range(4), labels].prod() * 4 * g * g
    np.testing.assert_allclose(total, np.diag(by_hand(problem, theta)[1]), rtol=1e-12)


def test_gnb_over_gaussian_labels_is_the_gauss_newton_diagonal_of_least_squares():
    # three-point Gauss-Hermite, exact up to the fifth power of each label's noise
    problem = LeastSquares(examples=4, features=3)
    theta = thetas(problem)
    z = design(problem.X) @ theta[:, None]
    nodes, weights = [-math.sqrt(3), 0, math.sqrt(3)], [1 / 6, 2 / 3, 1 / 6]
    total = np.zeros(theta.size)
    for chosen in itertools.product(range(3), repeat=4):
        y = z + np.array([nodes[i] for i in chosen])[:, None]
        g = sr.Oracle(problem, theta, (problem.X, y)).grad()
        total += math.prod(weights[i] for i in chosen) * 4 * g * g
    np.testing.assert_allclose(total, (design(problem.X) ** 2).mean(axis=0), rtol=1e-12)


@ALL
def test_a_sampled_loss_is_the_loss_of_the_labels_drawn_and_counts_the_examples(make):
    problem = make()
    theta, (X, y) = thetas(problem), (problem.X, problem.y)
    labels = problem.likelihood.draw(problem.predictions(theta, X), np.random.default_rng(4))
    assert labels.shape == y.shape
    loss, B = problem.sampled_loss(theta, (X, y), np.random.default_rng(4))
    assert B == 12
    assert loss == problem.loss(theta, (X, labels))
    sampled, _ = sr.Oracle(problem, theta, (X, y), np.random.default_rng(4)).sampled_grad()
    np.testing.assert_array_equal(sampled, sr.Oracle(problem, theta, (X, labels)).grad())


@ALL
def test_sampled_labels_are_constants_also_of_the_second_derivative(make):
    problem = make()
    theta, batch = thetas(problem), (problem.X, problem.y)
    h = sr.hessian(lambda theta: problem.sampled_loss(theta, batch, np.random.default_rng(4))[0])(theta)
    np.testing.assert_allclose(h, by_hand(problem, theta)[1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("z", [[[0.7]], [[-3.0]], [[800.0]], [[-800.0]]])
def test_bernoulli_labels_have_the_models_frequency(z):
    draws = LogisticRegression.likelihood.draw(np.repeat(np.array(z), 20_000, axis=0), np.random.default_rng(0))
    p = 1 / (1 + math.exp(-z[0][0])) if z[0][0] > -700 else 0.0
    assert set(np.unique(draws)) <= {0.0, 1.0}
    assert abs(draws.mean() - p) <= 5 * math.sqrt(p * (1 - p) / 20_000)


def test_categorical_labels_have_the_models_frequencies_and_survive_large_predictions():
    z = np.array([0.5, -1.0, 2.0, 0.0])
    draws = SoftmaxRegression.likelihood.draw(np.tile(z + 900, (40_000, 1)), np.random.default_rng(0))
    p = np.exp(z) / np.exp(z).sum()
    frequencies = np.bincount(draws, minlength=4) / 40_000
    assert (np.abs(frequencies - p) <= 5 * np.sqrt(p * (1 - p) / 40_000)).all()
    draw = SoftmaxRegression.likelihood.draw
    np.testing.assert_array_equal(draw(np.array([[0.0, 1e4, 0.0]] * 9), np.random.default_rng(0)), 1)


def test_the_largest_uniform_number_still_gives_a_label():
    class Largest:
        def random(self, shape):
            return np.full(shape, np.nextafter(1, 0))

    z = np.random.default_rng(0).standard_normal((1000, 50))  # sums of 50 terms, some rounded to below 1
    assert SoftmaxRegression.likelihood.draw(z, Largest()).max() == 49


def test_gaussian_labels_have_the_models_mean_and_unit_variance():
    noise = LeastSquares.likelihood.draw(np.full((40_000, 1), 7.0), np.random.default_rng(0)) - 7
    assert abs(noise.mean()) < 5 / 200
    assert abs(noise.var() - 1) < 5 * math.sqrt(2) / 200


@pytest.mark.parametrize("make", [SMALL["logistic_regression"], SMALL["softmax_regression"]])
def test_losses_stay_finite_where_the_exponentials_would_not(make):
    problem = make()
    theta = np.array([[1e5], [-1e5]]) * thetas(problem)
    oracle = sr.Oracle(problem, theta, problem.batch(np.random.default_rng(0), (2,)))
    assert np.isfinite(oracle.loss()).all()
    assert np.isfinite(oracle.grad()).all()
    assert np.isfinite(oracle.hvp(theta)).all()


# batches, rows, dtypes


@ALL
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_a_full_batch_is_all_the_data_for_every_row_without_a_copy(make, shape):
    problem = make()
    X, y = problem.batch(np.random.default_rng(0), shape)
    assert X.shape == (*shape, 12, 3)
    assert y.shape == (*shape, *problem.y.shape)
    assert np.shares_memory(X, problem.X)
    assert (X == problem.X).all()
    assert (y == problem.y).all()


@ALL
def test_a_minibatch_holds_pairs_from_the_data_drawn_afresh_for_each_row(make):
    problem = make(batch_size=5)
    X, y = problem.batch(np.random.default_rng(0), (2, 3))
    assert X.shape == (2, 3, 5, 3)
    assert y.shape == (2, 3, 5, *problem.y.shape[1:])
    which = (X[..., None, :] == problem.X).all(-1).argmax(-1)  # (2, 3, 5)
    np.testing.assert_array_equal(problem.X[which], X)
    np.testing.assert_array_equal(problem.y[which], y)
    assert len({tuple(rows) for rows in which.reshape(6, 5).tolist()}) == 6
    again = problem.batch(np.random.default_rng(0), (2, 3))
    np.testing.assert_array_equal(again[0], X)


@ALL
def test_the_mean_over_minibatches_is_the_full_loss(make):
    problem = make(batch_size=1)
    theta = thetas(problem)
    each = [problem.loss(theta, (problem.X[i : i + 1], problem.y[i : i + 1])) for i in range(12)]
    assert problem.loss(theta, (problem.X, problem.y)) == pytest.approx(np.mean(each), rel=1e-13)
    X, _ = problem.batch(np.random.default_rng(0), (6000,))
    frequencies = (X == problem.X).all(-1).mean(axis=0)
    assert np.abs(frequencies - 1 / 12).max() < 5 * math.sqrt(11) / 12 / math.sqrt(6000)


@ALL
@pytest.mark.parametrize("batch_size", [None, 5])
def test_rows_are_what_single_runs_give_and_do_not_touch_each_other(make, batch_size):
    problem = make(batch_size=batch_size)
    theta = thetas(problem, 2, 3)
    X, y = problem.batch(np.random.default_rng(0), (2, 3))
    loss, gradient = problem.loss(theta, (X, y)), sr.Oracle(problem, theta, (X, y)).grad()
    assert loss.shape == (2, 3)
    for i in np.ndindex(2, 3):
        single = sr.Oracle(problem, theta[i], (X[i], y[i]))
        np.testing.assert_allclose(loss[i], single.loss(), rtol=1e-13)
        np.testing.assert_allclose(gradient[i], single.grad(), rtol=1e-12, atol=1e-14)
    moved = theta.copy()
    moved[1, 1] *= 1.5
    changed = problem.loss(moved, (X, y)) != loss
    assert changed.tolist() == [[False, False, False], [False, True, False]]


@ALL
def test_float32_stays_float32(make):
    problem = make()
    theta = thetas(problem, 2).astype(np.float32)
    oracle = sr.Oracle(problem, theta, problem.batch(np.random.default_rng(0), (2,)), np.random.default_rng(0))
    for answer in (oracle.loss(), oracle.grad(), oracle.hvp(theta), oracle.sampled_grad()[0]):
        assert answer.dtype == np.float32
    exact = problem.loss(theta.astype(np.float64), (problem.X, problem.y))
    np.testing.assert_allclose(oracle.loss(), exact, rtol=1e-5)


@ALL
def test_data_are_the_seeds_and_read_only(make):
    problem = make()
    np.testing.assert_array_equal(problem.X, make().X)
    np.testing.assert_array_equal(problem.y, make(seed=np.random.default_rng(0)).y)
    assert (make(seed=1).X != problem.X).any()
    batch = make(batch_size=2).batch(np.random.default_rng(0))
    for array in (problem.X, problem.y, problem.truth, *problem.batch(np.random.default_rng(0), (2,)), *batch):
        assert not array.flags.writeable
    np.testing.assert_array_equal(problem.init(np.random.default_rng(0)), np.zeros(problem.layout.size))


@ALL
def test_gradient_descent_reaches_the_minimum_of_the_data(make):
    problem = make(examples=60, **({} if make is SMALL["softmax_regression"] else {"spread": 2.0}))
    run = sr.run(problem, sr.GradientDescent(lr=0.5), 3000, seed=0)
    gradient, _ = by_hand(problem, run.theta)
    assert np.abs(gradient).max() < 1e-3
    assert run.losses[-1] < run.losses[0]


@ALL
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examples": 0}, "examples: 0; expected an integer >= 1"),
        ({"examples": 2.0}, "examples: 2.0; expected an integer >= 1"),
        ({"features": True}, "features: True; expected an integer >= 1"),
        ({"batch_size": 0}, "batch_size: 0; expected an integer >= 1"),
    ],
)
def test_bad_sizes_are_refused_by_name(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("bad", [0.0, -1, math.inf, math.nan, None])
def test_bad_spreads_and_exponents_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"spread: .*expected a finite number > 0"):
        LogisticRegression(spread=bad)
    if bad not in (0.0, -1):
        with pytest.raises(ValueError, match=r"exponent: .*expected a finite number"):
            SoftmaxRegression(exponent=bad)
    with pytest.raises(ValueError, match="classes: 1; expected an integer >= 2"):
        SoftmaxRegression(classes=1)
