"""AdaHessian: a hand-worked trace, and its averaging over the blocks of a Layout."""

import numpy as np
import pytest

from sophia_ref import Given, Layout
from sophia_ref.optimizers import AdaHessian, Adam, spatial_average

# beta1 = beta2 = 1/2, eps = 3, lr = 1/4, decay 1/2 (theta shrinks by 7/8), theta = (8, -8)
#
#  t = 1, g = (6, -6),   D = (3, 3):     m_hat = (6, -6), v_hat = (9, 9), update (6/6, -6/6) = (1, -1)
#     theta = (7 - 1/4, -7 + 1/4) = (27/4, -27/4)
#  t = 2, g = (-12, -6), D = (3, -3):    m = (3/2 - 6, -3/2 - 3) = (-9/2, -9/2), m_hat = (-6, -6)
#     v = (27/4, 27/4), v_hat = (9, 9), update (-1, -1)
#     theta = (189/32 + 1/4, -189/32 + 1/4) = (197/32, -181/32)
#  t = 3, g = (8, -6),   D = (17, 123):  m = (-9/4 + 4, -9/4 - 3) = (7/4, -21/4), m_hat = (2, -6)
#     v = (27/8 + 289/2, 27/8 + 15129/2), v_hat = (169, 8649), of roots (13, 93), update (2/16, -6/96)
#     theta = (1379/256 - 1/32, -1267/256 + 1/64) = (1371/256, -1263/256)
TRACE = [
    {"g": [6, -6], "D": [3, 3], "m_hat": [6, -6], "v_hat": [9, 9], "update": [1, -1], "theta": [6.75, -6.75]},
    {"g": [-12, -6], "D": [3, -3], "m_hat": [-6, -6], "v_hat": [9, 9], "update": [-1, -1],
     "theta": [197 / 32, -181 / 32]},
    {"g": [8, -6], "D": [17, 123], "m_hat": [2, -6], "v_hat": [169, 8649], "update": [1 / 8, -1 / 16],
     "theta": [1371 / 256, -1263 / 256]},
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_three_steps_worked_by_hand_agree_exactly(dtype):
    opt = AdaHessian(0.25, beta1=0.5, beta2=0.5, eps=3.0, weight_decay=0.5)
    theta = np.array([8, -8], dtype)
    state = opt.init(theta)
    for t, row in enumerate(TRACE, start=1):
        theta, state, terms = opt.step(theta, state, Given(np.array(row["g"], dtype), np.array(row["D"], dtype)))
        assert state.t == t
        assert theta.dtype == dtype
        np.testing.assert_array_equal(theta, row["theta"])
        for name in ("g", "D", "m_hat", "v_hat", "update"):
            np.testing.assert_array_equal(terms[name], row[name], err_msg=f"{name} at step {t}")
        np.testing.assert_array_equal(terms["h_hat"], row["D"])
        np.testing.assert_array_equal(state.m, terms["m"])
        np.testing.assert_array_equal(state.v, terms["v"])


def test_with_the_gradient_as_curvature_it_is_adam():
    rng = np.random.default_rng(0)
    ada, adam = AdaHessian(0.1, eps=1e-8), Adam(0.1, eps=1e-8)
    theta = expected = rng.normal(size=4)
    state, expected_state = ada.init(theta), adam.init(theta)
    for g in rng.normal(size=(10, 4)):
        theta, state, _ = ada.step(theta, state, Given(g, g))
        expected, expected_state, _ = adam.step(expected, expected_state, Given(g))
        np.testing.assert_array_equal(theta, expected)


LAYOUT = Layout({"bias": (3,), "matrix": (2, 3), "scale": (), "kernels": (2, 2, 3, 2), "stack": (2, 2, 2)})


def averaged_by_loops(d):
    """The paper's signed mean over a matrix's rows, a kernel's window, and the last axis of other tensors; d (P,)."""
    out = list(d)
    rows = [(3 + 3 * i, 3) for i in range(2)]  # matrix: 2 rows of 3
    windows = [(10 + 6 * i, 6) for i in range(4)]  # kernels: 2 x 2 windows of 3 x 2
    pairs = [(34 + 2 * i, 2) for i in range(4)]  # stack: 2 x 2 rows of 2
    for start, b in rows + windows + pairs:
        mean = sum(d[start + k] for k in range(b)) / b
        for k in range(b):
            out[start + k] = mean
    return np.array(out)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_averaging_over_the_blocks_of_a_layout_agrees_with_loops(lead):
    d = np.random.default_rng(0).normal(size=(*lead, LAYOUT.size))
    expected = np.apply_along_axis(averaged_by_loops, -1, d)
    np.testing.assert_allclose(spatial_average(d, LAYOUT), expected, rtol=1e-13, atol=1e-15)


def test_vectors_and_scalars_are_not_averaged():
    d = np.random.default_rng(0).normal(size=LAYOUT.size)
    out = LAYOUT.unpack(spatial_average(d, LAYOUT))
    np.testing.assert_array_equal(out["bias"], d[:3])
    np.testing.assert_array_equal(out["scale"], d[9])


def test_the_mean_is_signed_and_not_of_magnitudes():
    layout = Layout({"w": (1, 2)})
    assert spatial_average(np.array([3.0, -1.0]), layout).tolist() == [1.0, 1.0]


def test_the_step_takes_the_averaged_curvature_and_keeps_dtype():
    layout = Layout({"w": (2, 2)})
    opt = AdaHessian(0.5, beta1=0.0, beta2=0.0, eps=2.0, layout=layout)
    theta = np.zeros(4, np.float32)
    oracle = Given(np.array([8, 8, 8, 8], np.float32), np.array([5, -1, -12, 0], np.float32))
    step = opt.step(theta, opt.init(theta), oracle)
    assert step.terms["D"].tolist() == [2, 2, -6, -6]
    assert step.terms["h_hat"].tolist() == [5, -1, -12, 0]
    assert step.theta.tolist() == [-1, -1, -0.5, -0.5]  # 1/2 8/(2 + 2), 1/2 8/(6 + 2)
    assert step.theta.dtype == step.state.v.dtype == np.float32


def test_a_layout_of_another_size_than_theta_is_refused():
    opt = AdaHessian(0.1, layout=Layout({"w": (2, 2)}))
    with pytest.raises(ValueError, match="AdaHessian: layout must describe the P = 3 numbers of theta, got 4"):
        opt.step(np.ones(3), opt.init(np.ones(3)), Given(np.ones(3), np.ones(3)))


def test_a_layout_of_another_kind_is_refused():
    with pytest.raises(TypeError, match=r"AdaHessian: layout must be a Layout or None, got \{'w': \(2, 2\)\}"):
        AdaHessian(0.1, layout={"w": (2, 2)})
