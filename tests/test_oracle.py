"""The oracle: its answers against closed forms and finite differences, row by row, and what it charges for them."""

import re

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.autodiff import stop_gradient

LEADS = [(), (4,), (2, 3)]
P = 3


def f(theta):
    """theta_0^2 theta_1 + exp(theta_1 theta_2) + sum theta^4, (..., 3) -> (...)."""
    x, y, z = theta[..., 0], theta[..., 1], theta[..., 2]
    return x**2 * y + np.exp(y * z) + (theta**4).sum(-1)


def gradient(theta):
    x, y, z = theta
    e = np.exp(y * z)
    return np.array([2 * x * y, x**2 + z * e, y * e]) + 4 * theta**3


def hessian(theta):
    x, y, z = theta
    e = np.exp(y * z)
    H = np.array([[2 * y, 2 * x, 0], [2 * x, z * z * e, (1 + y * z) * e], [0, (1 + y * z) * e, y * y * e]])
    return H + np.diag(12 * theta**2)


def row_by_row(function, theta):
    rows = [function(row) for row in theta.reshape(-1, P)]
    return np.array(rows).reshape(*theta.shape[:-1], *rows[0].shape)


def points(lead, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal((*lead, P)).astype(dtype)


class Fit:
    """Least squares of a tanh network on a batch (X, y) of shapes (..., n, 2), (..., n), with Gaussian labels."""

    name = "fit"

    def batch(self, rng, shape):
        return rng.standard_normal((*shape, 8, 2)), rng.standard_normal((*shape, 8))

    def predict(self, theta, X):
        return np.tanh((X * theta[..., None, :2]).sum(-1)) * theta[..., 2, None]

    def loss(self, theta, batch):
        X, y = batch
        return ((self.predict(theta, X.astype(theta.dtype)) - y.astype(theta.dtype)) ** 2).mean(-1) / 2

    def sampled_loss(self, theta, batch, rng):
        z = self.predict(theta, batch[0].astype(theta.dtype))
        y = stop_gradient(z) + rng.standard_normal(z.shape, theta.dtype)
        return ((z - y) ** 2).mean(-1) / 2, np.full(z.shape[:-1], z.shape[-1])


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", LEADS)
def test_every_answer_is_the_closed_form_row_by_row(lead):
    theta, v = points(lead), points(lead, seed=1)
    oracle = sr.Oracle(f, theta)
    H = row_by_row(hessian, theta)
    np.testing.assert_allclose(oracle.loss(), f(theta), rtol=1e-14)
    np.testing.assert_allclose(oracle.grad(), row_by_row(gradient, theta), rtol=1e-13)
    np.testing.assert_allclose(oracle.hvp(v), (H @ v[..., None])[..., 0], rtol=1e-12)
    np.testing.assert_allclose(oracle.hessian(), H, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(oracle.hessian_diag(), np.diagonal(H, axis1=-2, axis2=-1), rtol=1e-12)


@pytest.mark.parametrize("lead", LEADS)
def test_every_answer_about_a_problem_with_data_agrees_with_central_differences(lead):
    problem, theta = Fit(), points(lead)
    batch = problem.batch(np.random.default_rng(2), lead)
    oracle = sr.Oracle(problem, theta, batch)
    np.testing.assert_array_equal(oracle.loss(), problem.loss(theta, batch))
    for i in range(P):
        e = np.zeros(P)
        e[i] = 1e-6
        slope = (problem.loss(theta + e, batch) - problem.loss(theta - e, batch)) / 2e-6
        np.testing.assert_allclose(oracle.grad()[..., i], slope, rtol=1e-6, atol=1e-8)
        ahead, behind = (sr.Oracle(problem, theta + s * e, batch).grad() for s in (1, -1))
        np.testing.assert_allclose(oracle.hessian()[..., i], (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-7)


def test_the_sampled_gradient_is_that_of_the_loss_with_the_labels_drawn_and_comes_with_b():
    problem, theta = Fit(), points((2,))
    batch = problem.batch(np.random.default_rng(2), (2,))
    g, B = sr.Oracle(problem, theta, batch, np.random.default_rng(3)).sampled_grad()
    noise = np.random.default_rng(3).standard_normal((2, 8))
    X = batch[0]
    a = np.tanh((X * theta[:, None, :2]).sum(-1))  # (2, n)
    # z = a theta_2 with a = tanh(X w):  grad of mean (z - y)^2 / 2 at y = z + noise is -mean noise grad z
    slopes = np.concatenate([X * ((1 - a**2) * theta[:, 2:])[..., None], a[..., None]], axis=-1)  # (2, n, 3)
    np.testing.assert_allclose(g, -(noise[..., None] * slopes).mean(1), rtol=1e-13)
    np.testing.assert_array_equal(B, [[8], [8]])


@pytest.mark.parametrize("lead", [(4,), (2, 3)])
@pytest.mark.parametrize("intruder", [7.0, np.nan, np.inf])
def test_rows_do_not_touch_each_other(lead, intruder):
    theta, v = points(lead), points(lead, seed=1)
    changed = theta.copy()
    changed[(0,) * len(lead)] = intruder
    others = np.arange(np.prod(lead)).reshape(lead) != 0
    with np.errstate(all="ignore"):
        before, after = sr.Oracle(f, theta), sr.Oracle(f, changed)
        for ask in (sr.Oracle.loss, sr.Oracle.grad, sr.Oracle.hessian, sr.Oracle.hessian_diag, lambda o: o.hvp(v)):
            np.testing.assert_array_equal(ask(before)[others], ask(after)[others])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lead", LEADS)
def test_every_answer_keeps_the_dtype_of_theta(dtype, lead):
    problem, theta = Fit(), points(lead, dtype)
    oracle = sr.Oracle(problem, theta, problem.batch(np.random.default_rng(0), lead), np.random.default_rng(1))
    g, B = oracle.sampled_grad()
    v = points(lead, np.float64)  # even if v is of another one
    for answer in (oracle.loss(), oracle.grad(), oracle.hvp(v), oracle.hessian(), oracle.hessian_diag(), g, B * g):
        assert answer.dtype == dtype


def test_float64_data_in_the_loss_does_not_raise_the_dtype_of_derivatives():
    theta, scales = points((), np.float32), np.array([1.0, 2.0, 3.0])
    oracle = sr.Oracle(lambda theta: (scales * theta**2).sum(), theta)
    assert oracle.grad().dtype == oracle.hvp(theta).dtype == oracle.hessian().dtype == np.float32


def test_a_bare_function_and_a_problem_with_that_loss_give_the_same_answers():
    class Problem:
        def loss(self, theta, batch):
            return f(theta)

    theta = points(())
    np.testing.assert_array_equal(sr.Oracle(f, theta).grad(), sr.Oracle(Problem(), theta).grad())
    np.testing.assert_array_equal(sr.Oracle(np.sum, theta).grad(), np.ones(P))


def test_a_gradient_that_is_kept_cannot_be_changed():
    oracle = sr.Oracle(f, points(()))
    g = oracle.grad()
    with pytest.raises(ValueError, match="read-only"):
        g *= 2


def test_a_loss_may_be_a_constant():
    oracle = sr.Oracle(lambda theta: 3.0, points(()))
    assert oracle.loss() == 3.0
    np.testing.assert_array_equal(oracle.grad(), np.zeros(P))
    np.testing.assert_array_equal(oracle.hessian(), np.zeros((P, P)))


def test_a_theta_without_coordinates_has_empty_derivatives():
    oracle = sr.Oracle(lambda theta: theta.sum(-1), np.ones((2, 0)))
    assert oracle.grad().shape == (2, 0)
    assert oracle.hessian().shape == (2, 0, 0)
    assert oracle.hessian_diag().shape == (2, 0)


# -- cost --------------------------------------------------------------------------------------------------------------

PRICES = {
    "loss": 1 / 3,
    "grad": 1,
    "sampled_grad": 1,
    "hvp": 3,
    "hessian": 3 * P,
    "hessian_diag": 3 * P,
    "predictions": 1 / 3,
}


def ask(oracle, question):
    return oracle.hvp(np.ones_like(oracle.theta)) if question == "hvp" else getattr(oracle, question)()


def fit_oracle(lead=()):
    problem = Fit()
    batch = problem.batch(np.random.default_rng(0), lead)
    return sr.Oracle(problem, points(lead), batch, np.random.default_rng(1))


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("question", "price"), PRICES.items())
def test_each_question_has_its_price_whatever_the_number_of_rows(question, price, lead):
    oracle = fit_oracle(lead)
    assert oracle.cost == 0
    ask(oracle, question)
    assert oracle.cost == pytest.approx(price, rel=1e-15)


@pytest.mark.parametrize(
    ("questions", "price"),
    [
        (["grad", "loss"], 1),  # the loss came with the gradient
        (["loss", "grad"], 4 / 3),
        (["grad", "grad", "loss", "loss"], 1),  # kept
        (["loss", "loss"], 1 / 3),
        (["hvp", "hvp"], 6),
        (["sampled_grad", "sampled_grad"], 2),  # new labels
        (["grad", "hessian", "hvp"], 1 + 3 * P + 3),
    ],
)
def test_loss_and_gradient_are_paid_once_and_everything_else_every_time(questions, price):
    oracle = fit_oracle()
    for question in questions:
        ask(oracle, question)
    assert oracle.cost == pytest.approx(price, rel=1e-15)


def test_a_question_that_fails_costs_nothing():
    oracle = sr.Oracle(f, points(()))
    for fails in (oracle.sampled_grad, oracle.predictions, lambda: oracle.hvp(np.ones(2)), lambda: oracle.part(0.5)):
        with pytest.raises((TypeError, ValueError)):
            fails()
    assert oracle.cost == 0


def test_the_model_is_not_evaluated_before_it_is_asked_about_nor_twice_for_one_gradient():
    calls = []

    def counted(theta):
        calls.append(theta)
        return f(theta)

    oracle = sr.Oracle(counted, points(()))
    assert len(calls) == 0
    oracle.grad(), oracle.loss(), oracle.grad()
    assert len(calls) == 1


# -- a part of the batch -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("question", PRICES)
def test_a_part_is_the_oracle_of_the_first_examples_and_the_whole_pays_its_share(question, lead):
    whole, again = fit_oracle(lead), fit_oracle(lead)
    part = whole.part(0.25)
    first = tuple(array[(slice(None),) * len(lead) + (slice(2),)] for array in again.batch)
    alone = sr.Oracle(again.problem, again.theta, first, again.rng)
    ours, theirs = ask(part, question), ask(alone, question)
    for pair in zip(ours, theirs, strict=True) if question == "sampled_grad" else [(ours, theirs)]:
        np.testing.assert_array_equal(*pair)
    assert part.cost == pytest.approx(PRICES[question], rel=1e-15)
    assert whole.cost == pytest.approx(PRICES[question] / 4, rel=1e-15)


@pytest.mark.parametrize(
    ("examples", "fraction", "count"),
    [
        (480, 32 / 480, 32), (480, 0.5, 240), (100, 0.07, 7), (100, 0.55, 55), (30, 0.1, 3), (10, 1 / 3, 3),
        (10, 2 / 3, 7), (3, 0.01, 1), (1, 0.5, 1), (7, 1, 7), (7, 1.0, 7), (7, np.float32(0.999), 7),
    ],
)  # fmt: skip
def test_a_fraction_is_rounded_to_the_nearest_count_of_at_least_one(examples, fraction, count):
    oracle = sr.Oracle(Fit(), points(()), (np.zeros((examples, 2)), np.zeros(examples)))
    part = oracle.part(fraction)
    assert [len(array) for array in part.batch] == [count, count]
    part.grad()
    assert oracle.cost == pytest.approx(count / examples, rel=1e-15)


@pytest.mark.parametrize("n", [3, 7, 10, 96, 480, 1000])
def test_every_count_can_be_asked_for_as_a_fraction(n):
    oracle = sr.Oracle(Fit(), points(()), (np.zeros((n, 2)), np.zeros(n)))
    assert [len(oracle.part(k / n).batch[0]) for k in range(1, n + 1)] == list(range(1, n + 1))


def test_parts_of_parts_multiply():
    whole = fit_oracle()
    inner = whole.part(0.5).part(0.25)
    assert len(inner.batch[0]) == 1
    inner.hvp(np.ones(P))
    assert whole.cost == pytest.approx(3 / 8, rel=1e-15)


def test_a_part_draws_from_the_generator_of_the_whole():
    whole = fit_oracle()
    assert whole.part(0.5).rng is whole.rng


@pytest.mark.parametrize("fraction", [0, -1, 1.5, np.nan, True, "half"])
def test_a_part_outside_0_to_1_is_refused(fraction):
    message = f"Oracle.part: fraction must be a number with 0 < fraction <= 1, got {fraction!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        fit_oracle().part(fraction)


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        (None, "got None"),
        (np.zeros(3), r"got array\(\[0., 0., 0.\]\)"),
        ((), r"got \(\)"),
        ((np.zeros((8, 2)), np.zeros(7)), r"got shapes \[\(8, 2\), \(7,\)\]"),
        ((np.zeros((8, 2)), 3.0), r"got shapes \[\(8, 2\), \(\)\]"),
        ((np.zeros((0, 2)), np.zeros(0)), r"got shapes \[\(0, 2\), \(0,\)\]"),
    ],
)
def test_a_batch_without_an_axis_of_examples_has_no_part(batch, got):
    with pytest.raises(TypeError, match="the batch must be a tuple of arrays .*examples.*" + got):
        sr.Oracle(Fit(), points(()), batch).part(0.5)


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theta", "error", "message"),
    [
        (np.float64(1.0), (TypeError, ValueError), "theta must .* 0-d"),
        (np.array(1.0), ValueError, r"theta must have shape \(..., P\), got a 0-d array"),
        (np.array([1, 2]), TypeError, "theta must be a float32 or float64 array, got int64"),
        (np.array([1.0], complex), TypeError, "theta must be a float32 or float64 array, got complex128"),
        (np.array([1.0], np.float16), TypeError, "theta must be a float32 or float64 array, got float16"),
        ([1.0, 2.0], TypeError, "theta must be a float32 or float64 array, got list"),
        (None, TypeError, "theta must be a float32 or float64 array, got NoneType"),
    ],
)
def test_a_theta_of_another_kind_is_refused(theta, error, message):
    with pytest.raises(error, match=f"Oracle: {message}"):
        sr.Oracle(f, theta)


@pytest.mark.parametrize("problem", [None, 3, "sophia_fig2", Fit, np.ones(3)])
def test_a_problem_that_is_neither_problem_nor_function_is_refused(problem):
    message = re.escape(f"problem must have a method loss(theta, batch) or be a function f(theta), got {problem!r}")
    with pytest.raises(TypeError, match=message):
        sr.Oracle(problem, np.ones(2))


def test_a_batch_for_a_bare_function_is_refused_and_not_ignored():
    with pytest.raises(TypeError, match="batch must be None for f, a bare function of theta, got 3"):
        sr.Oracle(f, np.ones(3), 3).loss()


@pytest.mark.parametrize(
    ("theta", "loss", "shape"),
    [
        (np.ones((4, 2)), lambda theta: theta.sum(), "()"),  # one loss for all rows
        (np.ones((4, 2)), lambda theta: theta, "(4, 2)"),
        (np.ones((4, 2)), lambda theta: theta.sum(0), "(2,)"),
        (np.ones((4, 2)), lambda theta: theta.sum(-1, keepdims=True), "(4, 1)"),
        (np.ones(2), lambda theta: theta, "(2,)"),
        (np.ones(2), lambda theta: theta[:1], "(1,)"),
    ],
)
@pytest.mark.parametrize("question", ["loss", "grad", "hvp", "hessian"])
def test_a_loss_that_is_not_one_number_a_row_is_refused(theta, loss, shape, question):
    expected = f"one number a row, shape {theta.shape[:-1]} for theta of shape {theta.shape}; it gave shape {shape}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        ask(sr.Oracle(loss, theta), question)


def test_a_sampled_loss_that_is_not_one_number_a_row_is_refused():
    class Wrong(Fit):
        def sampled_loss(self, theta, batch, rng):
            return theta, 1

    with pytest.raises(ValueError, match="the loss must give one number a row"):
        sr.Oracle(Wrong(), np.ones(3), rng=np.random.default_rng(0)).sampled_grad()


@pytest.mark.parametrize("question", ["sampled_grad", "predictions"])
def test_a_number_of_predictions_that_is_not_one_a_row_is_refused(question):
    class Wrong(Fit):
        def sampled_loss(self, theta, batch, rng):
            return theta.sum(-1), np.ones(3)

    with pytest.raises(ValueError, match=r"B, the number of predictions: .* shape \(4,\); got \(3,\)"):
        ask(sr.Oracle(Wrong(), np.ones((4, 3)), rng=np.random.default_rng(0)), question)


@pytest.mark.parametrize("estimator", [sr.gnb, sr.empirical_fisher])
def test_a_problem_without_likelihood_is_refused_by_name(estimator):
    oracle = sr.Oracle(f, points(()), rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match=r"^f has no likelihood to draw labels from: .*sampled_loss.* hutchinson"):
        oracle.curvature(estimator)


@pytest.mark.parametrize("estimator", [sr.hutchinson, sr.hutchinson_rademacher, sr.gnb])
def test_an_estimator_that_draws_needs_a_generator(estimator):
    problem = Fit()
    oracle = sr.Oracle(problem, points(()), problem.batch(np.random.default_rng(0), ()))
    with pytest.raises(ValueError, match="Oracle: rng is needed"):
        oracle.curvature(estimator)


@pytest.mark.parametrize("rng", [0, np.int64(3), True])
def test_a_seed_is_no_generator(rng):
    with pytest.raises(TypeError, match=re.escape(f"Oracle: rng must be a np.random.Generator, got {rng!r}")):
        sr.Oracle(f, points(()), rng=rng)


@pytest.mark.parametrize("v", [np.ones(2), np.ones((1, 3)), 1.0])
def test_a_direction_of_another_shape_is_refused(v):
    with pytest.raises(ValueError, match="v must have the shape of x"):
        sr.Oracle(f, points(())).hvp(v)


def test_a_loss_that_writes_into_theta_is_refused_when_it_is_differentiated():
    def greedy(theta):
        theta -= 1
        return theta.sum()

    theta = np.ones(3)
    with pytest.raises(TypeError, match="writing into a Var"):
        sr.Oracle(greedy, theta).grad()
    np.testing.assert_array_equal(theta, np.ones(3))


# -- given arrays ------------------------------------------------------------------------------------------------------


def test_given_arrays_are_given_back_and_any_estimator_gets_the_diagonal():
    arrays = {"grad": np.ones(2), "hessian_diag": np.arange(2.0), "hessian": np.eye(2), "loss": np.array(3.0)}
    given = sr.Given(**arrays)
    for name, array in arrays.items():
        assert getattr(given, name)() is array
    for estimator in (sr.gnb, sr.hutchinson, sr.averaged(sr.gnb, 3), sr.on_part(sr.gnb, 0.5)):
        assert given.curvature(estimator) is arrays["hessian_diag"]
    assert given.cost == 0


def test_a_zero_may_be_given():
    assert sr.Given(loss=0.0).loss() == 0.0


@pytest.mark.parametrize("question", ["loss", "grad", "hessian", "hessian_diag"])
def test_what_was_not_given_is_refused_by_name(question):
    message = f"Given: the optimizer asked for {question}, which was not given: Given(..., {question}=...)"
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(sr.Given(), question)()
    if question == "hessian_diag":
        with pytest.raises(ValueError, match=re.escape(message)):
            sr.Given(grad=np.ones(2)).curvature(sr.gnb)
