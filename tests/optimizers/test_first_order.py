"""Gradient descent, momentum, SignGD, Signum and Lion: traces worked by hand, and closed forms."""

import numpy as np
import pytest

from sophia_ref import Given
from sophia_ref.optimizers import GradientDescent, Lion, Momentum, SignGD, Signum, Sophia, cosine


def follow(opt, theta, grads):
    """thetas, states and terms of the steps of opt from theta under given gradients."""
    state, steps = opt.init(theta), []
    for g in grads:
        steps.append(opt.step(theta, state, Given(np.array(g, theta.dtype))))
        theta, state = steps[-1].theta, steps[-1].state
    return steps


GRADS = [[2, -1], [-4, 0], [1, 3]]

# theta = (1, -2) throughout, lr 1/4, beta 1/2, decay 1/2 where there is one (theta shrinks by 7/8)
BY_HAND = {
    # 1/4 g = (1/2, -1/4), (-1, 0), (1/4, 3/4)
    GradientDescent(0.25): {"theta": [[0.5, -1.75], [1.5, -1.75], [1.25, -2.5]]},
    # signs (+, -), (-, 0), (+, +)
    SignGD(0.25): {"theta": [[0.75, -1.75], [1.0, -1.75], [0.75, -2.0]]},
    # m = (2, -1), (1 - 4, -1/2) = (-3, -1/2), (-3/2 + 1, -1/4 + 3) = (-1/2, 11/4)
    Momentum(0.25, beta=0.5): {
        "m": [[2, -1], [-3, -0.5], [-0.5, 2.75]],
        "theta": [[0.5, -1.75], [1.25, -1.625], [1.375, -2.3125]],
    },
    # m = (1, -1/2), (1/2 - 2, -1/4) = (-3/2, -1/4), (-3/4 + 1/2, -1/8 + 3/2) = (-1/4, 11/8)
    # theta: (7/8 - 1/4, -7/4 + 1/4) = (5/8, -3/2);  (35/64 + 1/4, -21/16 + 1/4) = (51/64, -17/16);
    #        (357/512 + 1/4, -119/128 - 1/4) = (485/512, -151/128)
    Signum(0.25, beta=0.5, weight_decay=0.5): {
        "m": [[1, -0.5], [-1.5, -0.25], [-0.25, 1.375]],
        "theta": [[0.625, -1.5], [51 / 64, -17 / 16], [485 / 512, -151 / 128]],
    },
    # beta1 = 1/2 for c, beta2 = 3/4 for m:
    # c = (1, -1/2);                                m = (1/2, -1/4)
    # c = (1/4 - 2, -1/8) = (-7/4, -1/8);           m = (3/8 - 1, -3/16) = (-5/8, -3/16)
    # c = (-5/16 + 1/2, -3/32 + 3/2) = (3/16, 45/32);  m = (-15/32 + 1/4, -9/64 + 3/4) = (-7/32, 39/64)
    # theta: (5/8, -3/2); (51/64, -17/16); (357/512 - 1/4, -119/128 - 1/4) = (229/512, -151/128)
    Lion(0.25, beta1=0.5, beta2=0.75, weight_decay=0.5): {
        "c": [[1, -0.5], [-1.75, -0.125], [3 / 16, 45 / 32]],
        "m": [[0.5, -0.25], [-0.625, -3 / 16], [-7 / 32, 39 / 64]],
        "theta": [[0.625, -1.5], [51 / 64, -17 / 16], [229 / 512, -151 / 128]],
    },
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("opt", BY_HAND, ids=lambda opt: opt.name)
def test_three_steps_worked_by_hand_agree_exactly(opt, dtype):
    expected = BY_HAND[opt]
    for t, step in enumerate(follow(opt, np.array([1, -2], dtype), GRADS)):
        assert step.state.t == t + 1
        assert step.theta.dtype == dtype
        np.testing.assert_array_equal(step.theta, expected["theta"][t])
        np.testing.assert_array_equal(step.terms["g"], GRADS[t])
        if "m" in expected:
            np.testing.assert_array_equal(step.state.m, expected["m"][t])
            np.testing.assert_array_equal(step.terms["m"], expected["m"][t])
        if "c" in expected:
            np.testing.assert_array_equal(step.terms["c"], expected["c"][t])


def test_gradient_descent_on_a_quadratic_shrinks_each_coordinate_geometrically():
    curvature, start, lr = np.array([0.1, 1.0, 7.0]), np.array([3.0, -2.0, 1.0]), 0.25
    theta, opt = start, GradientDescent(lr)
    state = opt.init(theta)
    for t in range(1, 41):
        theta, state, _ = opt.step(theta, state, Given(curvature * theta))
        np.testing.assert_allclose(theta, (1 - lr * curvature) ** t * start, rtol=1e-13)


def test_heavy_ball_follows_polyaks_two_term_recurrence():
    # theta_{t+1} = theta_t - lr g_t + beta (theta_t - theta_{t-1})
    curvature, lr, beta = np.array([0.5, 4.0]), 0.1, 0.8
    before = theta = np.array([1.0, -1.0])
    steps_theta, opt = theta, Momentum(lr, beta=beta)
    state = opt.init(theta)
    for _ in range(30):
        before, theta = theta, theta - lr * curvature * theta + beta * (theta - before)
        steps_theta, state, _ = opt.step(steps_theta, state, Given(curvature * steps_theta))
        np.testing.assert_allclose(steps_theta, theta, rtol=1e-12, atol=1e-15)


def test_far_along_a_constant_slope_momentum_is_a_step_of_lr_over_one_minus_beta():
    steps = follow(Momentum(0.5, beta=0.75), np.zeros(1), [[1]] * 200)
    assert steps[-2].theta - steps[-1].theta == pytest.approx(0.5 / 0.25, rel=1e-12)


def test_averages_of_signum_and_lion_agree_with_weighted_sums_of_all_gradients():
    rng = np.random.default_rng(0)
    grads = rng.normal(size=(25, 4))
    signum = follow(Signum(0.1, beta=0.9), np.zeros(4), grads)
    lion = follow(Lion(0.1, beta1=0.8, beta2=0.95), np.zeros(4), grads)
    m = {beta: np.array([[(1 - beta) * beta ** (t - i) for i in range(t + 1)] @ grads[: t + 1] for t in range(25)])
         for beta in (0.9, 0.95)}  # fmt: skip
    # Lion's step looks at m before it takes the gradient in
    c = 0.8 * np.vstack([np.zeros(4), m[0.95][:-1]]) + 0.2 * grads
    np.testing.assert_allclose([s.state.m for s in signum], m[0.9], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose([s.state.m for s in lion], m[0.95], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        [s.theta for s in signum], -0.1 * np.cumsum(np.sign(m[0.9]), axis=0), rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose([s.theta for s in lion], -0.1 * np.cumsum(np.sign(c), axis=0), rtol=1e-12, atol=1e-15)


def test_lion_with_equal_betas_is_signum():
    grads = np.random.default_rng(1).normal(size=(20, 3))
    lion = follow(Lion(0.1, beta1=0.75, beta2=0.75, weight_decay=0.25), np.ones(3), grads)
    signum = follow(Signum(0.1, beta=0.75, weight_decay=0.25), np.ones(3), grads)
    np.testing.assert_allclose([s.theta for s in lion], [s.theta for s in signum], rtol=1e-13)


def test_sophia_with_every_coordinate_clipped_is_signum():
    grads = np.random.default_rng(2).normal(size=(20, 3))
    sophia, signum = Sophia(0.1, beta1=0.75, weight_decay=0.25), Signum(0.1, beta=0.75, weight_decay=0.25)
    theta = expected = np.ones(3)
    state, expected_state = sophia.init(theta), signum.init(theta)
    for g in grads:
        theta, state, terms = sophia.step(theta, state, Given(g, hessian_diag=np.zeros(3)))
        expected, expected_state, _ = signum.step(expected, expected_state, Given(g))
        assert terms["clipped"].all()
        assert theta.tolist() == expected.tolist()


def test_a_zero_gradient_moves_nothing():
    for opt in BY_HAND:
        if "weight_decay" not in repr(opt):
            assert follow(opt, np.ones(2), [[0, 0]])[0].theta.tolist() == [1, 1]


def test_a_method_without_memory_still_counts_steps_for_its_schedule():
    lr = cosine(peak=1.0, steps=10, warmup=4)
    steps = follow(GradientDescent(lr), np.zeros(1), [[1]] * 10)
    thetas = np.array([0.0] + [s.theta.item() for s in steps])
    np.testing.assert_allclose(-np.diff(thetas), [lr(t) for t in range(1, 11)], rtol=1e-13)
