"""Sophia's rule: hand-worked traces, refresh times, clipping, decay, and the two forms of the paper."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sophia_ref import Given
from sophia_ref.curvature import gnb, hutchinson
from sophia_ref.optimizers import Sophia, SophiaG, SophiaH, sophia_update


class Asked(Given):
    """Given arrays, and a list of the estimators that were asked."""

    def __init__(self, grad, hessian_diag):
        super().__init__(grad, hessian_diag)
        self.asked = []

    def curvature(self, estimator):
        self.asked.append(estimator)
        return super().curvature(estimator)


def follow(opt, theta, grads, h_hats):
    """The steps of opt from theta under given gradients and curvature estimates."""
    state, steps = opt.init(theta), []
    for g, h_hat in zip(grads, h_hats, strict=True):
        steps.append(opt.step(theta, state, Given(np.array(g, theta.dtype), np.array(h_hat, theta.dtype))))
        theta, state = steps[-1].theta, steps[-1].state
    return steps


# lr 1/4, beta1 = beta2 = 1/2, gamma 1/2, clip 1, eps 1/8, decay 1/2, every 2. Two coordinates, theta = (4, -2).
#
#  t = 1, g = (2, 1), h_hat = (16, -8):  m = g/2 = (1, 1/2);  h = h_hat/2 = (8, -4)
#     max(h/2, 1/8) = (4, 1/8);  ratio = (1/4, 4), the second clipped at 1
#     decay: theta (1 - 1/8) = (7/2, -7/4);  minus 1/4 (1/4, 1):  (55/16, -2)
#  t = 2, g = (-5, -1/2), no refresh: m = (1/2 - 5/2, 1/4 - 1/4) = (-2, 0);  h stays
#     ratio = (-1/2, 0);  decay: (55/16, -2) 7/8 = (385/128, -7/4);  plus 1/4 (1/2, 0):  (401/128, -7/4)
#  t = 3, g = (0, -1), h_hat = (-8, 12): m = (-1, -1/2);  h = (4 - 4, -2 + 6) = (0, 4)
#     max(h/2, 1/8) = (1/8, 2);  ratio = (-8, -1/4), the first clipped at -1
#     decay: (2807/1024, -49/32);  plus 1/4 (1, 1/4):  (3063/1024, -47/32)
TRACE = [
    dict(g=[2, 1], h_hat=[16, -8], m=[1, 0.5], h=[8, -4], denominator=[4, 0.125], ratio=[0.25, 4],
         clipped=[False, True], update=[0.25, 1], theta=[55 / 16, -2]),
    dict(g=[-5, -0.5], h_hat=[99, 99], m=[-2, 0], h=[8, -4], denominator=[4, 0.125], ratio=[-0.5, 0],
         clipped=[False, False], update=[-0.5, 0], theta=[401 / 128, -1.75]),
    dict(g=[0, -1], h_hat=[-8, 12], m=[-1, -0.5], h=[0, 4], denominator=[0.125, 2], ratio=[-8, -0.25],
         clipped=[True, False], update=[-1, -0.25], theta=[3063 / 1024, -47 / 32]),
]  # fmt: skip
HALF = dict(lr=0.25, beta1=0.5, beta2=0.5, gamma=0.5, clip=1.0, eps=0.125, weight_decay=0.5, every=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_three_steps_worked_by_hand_agree_exactly(dtype):
    theta = np.array([4, -2], dtype)
    steps = follow(Sophia(**HALF), theta, [row["g"] for row in TRACE], [row["h_hat"] for row in TRACE])
    for t, (step, row) in enumerate(zip(steps, TRACE, strict=True), start=1):
        assert step.state.t == t
        assert step.theta.dtype == dtype
        np.testing.assert_array_equal(step.theta, row["theta"])
        np.testing.assert_array_equal(step.state.m, row["m"])
        np.testing.assert_array_equal(step.state.h, row["h"])
        for name in ("g", "m", "h", "denominator", "ratio", "clipped", "update"):
            np.testing.assert_array_equal(step.terms[name], row[name], err_msg=f"{name} at step {t}")
            assert step.terms[name].dtype == (bool if name == "clipped" else dtype)
        assert ("h_hat" in step.terms) == (t in (1, 3))


@pytest.mark.parametrize(("every", "at"), [(1, range(1, 32)), (3, range(1, 32, 3)), (10, [1, 11, 21, 31]), (40, [1])])
def test_curvature_is_asked_for_at_the_first_step_and_every_so_many_after(every, at):
    opt = Sophia(0.1, every=every)
    theta, asked = np.ones(2), []
    state = opt.init(theta)
    for t in range(1, 32):
        oracle = Asked(np.ones(2), np.ones(2))
        theta, state, terms = opt.step(theta, state, oracle)
        asked += [t] * len(oracle.asked)
        assert ("h_hat" in terms) == bool(oracle.asked)
    assert asked == list(at)


def test_h_stays_the_same_array_between_refreshes():
    first, second = follow(Sophia(0.1), np.ones(2), [[1, 2]] * 2, [[3, 4], [5, 6]])
    assert second.state.h is first.state.h


@pytest.mark.parametrize("h", [0.0, -0.25, -1e6])
def test_without_positive_curvature_the_step_is_a_sign_step(h):
    theta = np.array([1.0, 1.0, 1.0])
    new, _, terms = sophia_update(
        theta, np.zeros(3), np.full(3, h), np.array([3.0, -1e-3, 0.0]),
        lr=0.5, beta1=0.0, gamma=1.0, clip=1.0, eps=1e-12, weight_decay=0.0,
    )  # fmt: skip
    assert new.tolist() == [0.5, 1.5, 1.0]
    assert terms["denominator"].tolist() == [1e-12] * 3
    assert terms["clipped"].tolist() == [True, True, False]


def test_eps_is_a_floor_and_not_added():
    def denominator(h):
        rest = dict(lr=1.0, beta1=0.0, gamma=0.5, clip=1.0, eps=0.25, weight_decay=0.0)
        return sophia_update(np.ones(1), np.zeros(1), np.array([h]), np.ones(1), **rest)[2]["denominator"].item()

    assert [denominator(h) for h in (0.0, 0.4, 0.5, 0.6, 8.0)] == [0.25, 0.25, 0.25, 0.3, 4.0]


def test_a_ratio_of_exactly_the_clip_does_not_count_as_clipped():
    rest = dict(lr=1.0, beta1=0.0, gamma=1.0, clip=0.5, eps=1e-12, weight_decay=0.0)
    g = np.array([0.5, -0.5, 0.75, -0.75])
    _, _, terms = sophia_update(np.zeros(4), np.zeros(4), np.ones(4), g, **rest)
    assert terms["clipped"].tolist() == [False, False, True, True]
    assert terms["update"].tolist() == [0.5, -0.5, 0.5, -0.5]


def test_an_infinite_clip_leaves_the_ratio_alone():
    step = follow(Sophia(1.0, beta1=0.0, beta2=0.0, gamma=1.0, clip=np.inf), np.zeros(2), [[6, -8]], [[2, 0.25]])[0]
    assert step.theta.tolist() == [-3.0, 32.0]
    assert step.terms["update"].tolist() == step.terms["ratio"].tolist() == [3.0, -32.0]
    assert not step.terms["clipped"].any()


def test_decay_comes_before_the_step_and_does_not_touch_it():
    # lr = decay = 1 wipes theta out and then takes the step; the other order would leave 0
    new, _, _ = sophia_update(
        np.array([7.0]), np.zeros(1), np.ones(1), np.array([0.5]),
        lr=1.0, beta1=0.0, gamma=1.0, clip=1.0, eps=1e-12, weight_decay=1.0,
    )  # fmt: skip
    assert new.tolist() == [-0.5]


def test_on_a_quadratic_without_memory_or_clipping_one_step_is_newtons():
    curvature, minimum = np.array([0.5, 8.0, 128.0]), np.array([3.0, -1.0, 0.25])
    theta = np.array([1.0, 1.0, 1.0])
    opt = Sophia(1.0, beta1=0.0, beta2=0.0, gamma=1.0, clip=np.inf)
    assert follow(opt, theta, [curvature * (theta - minimum)], [curvature])[0].theta.tolist() == minimum.tolist()


@pytest.mark.parametrize(
    ("start", "lr", "expected"), [(1, 0.01, 163), (1, 0.001, 1019), (0.5, 0.001, 521), (0.005, 0.001, 10)]
)
def test_with_published_settings_on_a_parabola_the_first_unclipped_step_comes_late(start, lr, expected):
    opt = SophiaH(lr)
    theta = np.array([float(start)])
    state = opt.init(theta)
    clipped = True
    while clipped:
        theta, state, terms = opt.step(theta, state, Given(theta, np.ones(1)))  # the loss is theta^2 / 2
        clipped = terms["clipped"].item()
    assert state.t == expected


def test_sophia_h_and_g_are_sophia_with_their_estimator_and_scale():
    h, g = SophiaH(0.5), SophiaG(0.5)
    assert (h.estimator, h.gamma) == (hutchinson, 0.01)
    assert (g.estimator, g.gamma) == (gnb, 0.05)
    assert isinstance(g, Sophia)
    assert repr(g).startswith("SophiaG(lr=0.5, beta1=0.96, beta2=0.99, gamma=0.05, clip=1.0, eps=1e-12")
    oracle = Asked(np.ones(1), np.ones(1))
    for opt in (h, g):
        opt.step(np.ones(1), opt.init(np.ones(1)), oracle)
    assert oracle.asked == [hutchinson, gnb]


def test_per_coordinate_settings_act_as_separate_runs():
    lr, gamma, decay = np.array([0.5, 0.25]), np.array([1.0, 0.5]), np.array([0.0, 0.5])
    grads, h_hats = [[1, 2], [3, -1], [0.5, 0.25]], [[4, 2]] * 3
    together = follow(Sophia(lr, gamma=gamma, weight_decay=decay), np.array([1.0, 2.0]), grads, h_hats)
    for i in range(2):
        opt = Sophia(lr[i], gamma=gamma[i], weight_decay=decay[i])
        alone = follow(opt, np.array([[1.0, 2.0][i]]), [[g[i]] for g in grads], [[h[i]] for h in h_hats])
        assert [s.theta[i] for s in together] == [s.theta.item() for s in alone]


def test_a_schedule_is_asked_for_steps_counted_from_one():
    asked = []

    def halving(t):
        asked.append(t)
        return 2.0**-t

    opt = Sophia(halving, beta1=0.0)
    steps = follow(opt, np.zeros(1), [[1]] * 4, [[0]] * 4)  # sign steps of 1/2, 1/4, ...
    assert asked == [1, 2, 3, 4]
    assert [s.theta.item() for s in steps] == [-0.5, -0.75, -0.875, -0.9375]


finite = st.floats(-1e3, 1e3)
positive = st.floats(1e-3, 1e3)


@settings(max_examples=100)
@given(arrays(np.float64, (4, 6), elements=finite), positive, positive, st.floats(0, 0.999))
def test_no_coordinate_moves_further_than_lr_times_clip(x, clip, gamma, beta1):
    theta, m, h, g = x
    rest = dict(beta1=beta1, gamma=gamma, clip=clip, eps=1e-12, weight_decay=0.0)
    new, _, terms = sophia_update(theta, m, h, g, lr=0.1, **rest)
    assert np.all(np.abs(terms["update"]) <= clip)
    assert np.all(np.abs(new - theta) <= 0.1 * clip + 1e-12 * np.abs(theta))
    assert np.array_equal(terms["clipped"], terms["update"] != terms["ratio"])


@settings(max_examples=100)
@given(arrays(np.float64, (4, 6), elements=finite), st.floats(1e-3, 1), positive, st.floats(0.0, 0.999))
def test_the_two_forms_of_the_paper_are_one_rule(x, rho, eps1, beta1):
    theta, m, h, g = x
    lr1, decay1 = 0.125, 0.25
    # first form: theta - lr decay theta - lr clip(m / max(h, eps), rho)
    average = beta1 * m + (1 - beta1) * g
    first = theta - lr1 * decay1 * theta
    first = first - lr1 * np.minimum(np.maximum(average / np.maximum(h, eps1), -rho), rho)
    # second form: lr2 = rho lr1, gamma = rho, eps2 = rho eps1, decay2 = decay1 / rho
    second, _, _ = sophia_update(
        theta, m, h, g, lr=rho * lr1, beta1=beta1, gamma=rho, clip=1.0, eps=rho * eps1, weight_decay=decay1 / rho
    )
    np.testing.assert_allclose(second, first, rtol=1e-13, atol=1e-12)


@settings(max_examples=50)
@given(arrays(np.float64, (4, 6), elements=finite), st.integers(-20, 20))
def test_scaling_the_loss_scales_nothing_where_eps_does_not_act(x, exponent):
    theta, m, h, g = x
    h, scale = np.abs(h) + 1, math.ldexp(1.0, exponent)  # powers of two scale without rounding
    rest = dict(lr=0.1, beta1=0.96, gamma=0.5, clip=1.0, eps=1e-12, weight_decay=0.1)
    plain, _, _ = sophia_update(theta, m, h, g, **rest)
    scaled, _, _ = sophia_update(theta, scale * m, scale * h, scale * g, **rest)
    assert np.array_equal(plain, scaled)


def test_with_its_own_settings_h_takes_thousands_of_steps_to_reach_the_curvature():
    opt, theta = Sophia(1e-3), np.ones(1)
    state, share = opt.init(theta), []
    for _ in range(1000):
        theta, state, _ = opt.step(theta, state, Given(grad=np.ones(1), hessian_diag=np.full(1, 5.0)))
        share.append(state.h[0] / 5)
    assert [round(share[t - 1], 2) for t in (100, 500, 1000)] == [0.10, 0.39, 0.63]
