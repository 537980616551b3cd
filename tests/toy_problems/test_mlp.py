import numpy as np
import pytest

import sophia_ref as sr
from toy_problems.mlp import MLP

SMALL = MLP(hidden=5, classes=3, batch_size=7)


def small_problem(dtype=float):
    rng = np.random.default_rng(0)
    batch = SMALL.batch(rng, ())
    return rng.normal(size=SMALL.layout.size).astype(dtype), batch


def by_hand(theta, batch):
    """The loss of one point after the other, from theta's documented order; takes complex theta."""
    D, C = SMALL.hidden, SMALL.classes
    w1, b1, w2, b2 = np.split(theta, np.cumsum([2 * D, D, D * C]))
    losses = []
    for point, arm in zip(*batch, strict=True):
        z = np.tanh(point @ w1.reshape(2, D) + b1) @ w2.reshape(D, C) + b2
        losses.append(np.log(np.sum(np.exp(z))) - z[arm])
    return sum(losses) / len(losses)


def test_both_versions_compute_the_formula():
    theta, batch = small_problem()
    for loss in (SMALL.loss, SMALL.plain_loss):
        assert loss(theta, batch) == pytest.approx(by_hand(theta, batch), rel=1e-14)


def test_both_gradients_are_the_complex_step_of_the_formula():
    theta, batch = small_problem()
    step = 1e-30j * np.eye(len(theta))
    expected = [by_hand(theta + e, batch).imag / 1e-30 for e in step]
    for loss in (SMALL.loss, SMALL.plain_loss):
        np.testing.assert_allclose(sr.grad(lambda theta, f=loss: f(theta, batch))(theta), expected, atol=1e-14)


def test_both_versions_are_equal_in_value_gradient_and_hessian_vector_product():
    theta, batch = small_problem()
    hand, plain = ((lambda theta, f=f: f(theta, batch)) for f in (SMALL.loss, SMALL.plain_loss))
    assert hand(theta) == pytest.approx(plain(theta), rel=1e-14)
    np.testing.assert_allclose(sr.grad(hand)(theta), sr.grad(plain)(theta), atol=1e-15)
    for v in np.random.default_rng(1).normal(size=(5, len(theta))):
        product = sr.hvp(hand, theta, v)
        np.testing.assert_allclose(product, sr.hvp(plain, theta, v), atol=1e-13)
        h = 1e-5
        bend = (sr.grad(plain)(theta + h * v) - sr.grad(plain)(theta - h * v)) / (2 * h)
        np.testing.assert_allclose(product, bend, atol=1e-8)


def test_float32_stays_float32():
    theta, batch = small_problem(np.float32)
    for loss in (SMALL.loss, SMALL.plain_loss, lambda *args: SMALL.sampled_loss(*args, np.random.default_rng(0))[0]):
        value, gradient = sr.value_and_grad(lambda theta, f=loss: f(theta, batch))(theta)
        assert value.dtype == gradient.dtype == np.float32
        assert sr.hvp(lambda theta, f=loss: f(theta, batch), theta, theta).dtype == np.float32


def test_sampled_labels_follow_the_model_and_are_constants():
    theta, (x, arms) = small_problem()
    z = np.array([[by_hand(theta, (x[i : i + 1], [c])) for c in range(3)] for i in range(len(x))])  # -log p, (B, C)
    uniforms = 1 - np.random.default_rng(4).random(len(x))
    labels = (np.cumsum(np.exp(-z), axis=1) < uniforms[:, None]).sum(1)
    assert len(set(labels)) > 1

    def sampled(theta):
        return SMALL.sampled_loss(theta, (x, arms), np.random.default_rng(4))[0]

    assert SMALL.sampled_loss(theta, (x, arms), np.random.default_rng(4))[1] == 7
    assert sampled(theta) == pytest.approx(SMALL.loss(theta, (x, labels)), rel=1e-14)
    expected = sr.grad(lambda theta: SMALL.loss(theta, (x, labels)))(theta)
    np.testing.assert_allclose(sr.grad(sampled)(theta), expected, atol=1e-15)


def test_points_lie_on_the_arms():
    rng = np.random.default_rng(0)
    x, arms = MLP(classes=4, batch_size=4000).batch(rng, ())
    assert set(arms) == {0, 1, 2, 3}
    radius = np.hypot(*x.T)
    assert radius.max() < 1
    off = np.arctan2(x[:, 1], x[:, 0]) - (arms * np.pi / 2 + 4 * radius)
    off = (off + np.pi) % (2 * np.pi) - np.pi  # (-pi, pi]
    assert off.std() == pytest.approx(0.2, rel=0.05)
    assert abs(off.mean()) < 0.02


def test_the_start_has_unit_variance_per_unit_and_no_bias():
    problem = MLP(hidden=4000, classes=50)
    w = problem.layout.unpack(problem.init(np.random.default_rng(0)))
    assert w["w1"].std() == pytest.approx(np.sqrt(1 / 2), rel=0.05)
    assert w["w2"].std() == pytest.approx(np.sqrt(1 / 4000), rel=0.05)
    assert not w["b1"].any()
    assert not w["b2"].any()


def test_the_arms_can_be_learned():
    problem = MLP()
    rng = np.random.default_rng(0)
    theta = problem.init(rng)
    for _ in range(1500):
        batch = problem.batch(rng, ())
        theta = theta - 1.0 * sr.grad(lambda theta, batch=batch: problem.loss(theta, batch))(theta)
    assert problem.loss(theta, MLP(batch_size=1000).batch(rng, ())) < 0.5  # log 3 = 1.1 at first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden: 0; expected an integer >= 1"),
        ({"classes": 1}, "classes: 1; expected an integer >= 2"),
        ({"batch_size": 2.5}, r"batch_size: 2\.5; expected an integer >= 1"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MLP(**options)


THETA, (X, ARMS) = small_problem()


@pytest.mark.parametrize(
    ("theta", "batch", "message"),
    [
        (THETA[1:], (X, ARMS), r"theta: shape \(32,\); expected \(33,\)$"),
        (np.stack([THETA, THETA]), (X, ARMS), r"theta: shape \(2, 33\); .* takes no leading axes: call it once a row"),
        (THETA, (X[:, :1], ARMS), r"batch: shapes \(7, 1\), \(7,\); expected \(B, 2\), \(B,\)"),
        (THETA, (X, ARMS[:-1]), r"batch: shapes \(7, 2\), \(6,\)"),
        (THETA, (X[:0], ARMS[:0]), r"batch: shapes \(0, 2\), \(0,\); .* B >= 1"),
        (THETA, (X, np.full(7, 3)), r"batch: arms .*; expected integers in 0\.\.2"),
        (THETA, (X, np.full(7, -1)), r"batch: arms .*; expected integers in 0\.\.2"),
        (THETA, (X, ARMS + 0.5), r"batch: arms .*; expected integers in 0\.\.2"),
    ],
)
def test_a_wrong_theta_or_batch_is_refused_by_name(theta, batch, message):
    for loss in (SMALL.loss, SMALL.plain_loss, lambda *args: SMALL.sampled_loss(*args, np.random.default_rng(0))):
        with pytest.raises(ValueError, match=message):
            loss(theta, batch)


def test_leading_axes_of_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"shape: \(2,\); expected \(\), since MLP takes no leading axes"):
        SMALL.batch(np.random.default_rng(0), (2,))
