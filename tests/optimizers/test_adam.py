"""Adam and AdamW: a hand-worked trace, PyTorch's recorded steps, and what sets the two apart."""

import json
from pathlib import Path

import numpy as np
import pytest

from sophia_ref import Given
from sophia_ref.optimizers import Adam, AdamW

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "adam_torch.json").read_text())["cases"]


def numbers(hexadecimal, dtype):
    return np.array([float.fromhex(x) for x in hexadecimal], dtype)


# beta1 = beta2 = 1/2, eps = 3, lr = 1/4, theta = (1, -1)
#
#  t = 1, g = (3, 3):     m = (3/2, 3/2), v = (9/2, 9/2); over 1 - 1/2:  m_hat = (3, 3), v_hat = (9, 9)
#     update 3/(3 + 3) = 1/2 in both:  theta = (7/8, -9/8)
#  t = 2, g = (3, 3):     m = (9/4, 9/4), v = (27/4, 27/4); over 1 - 1/4: m_hat = (3, 3), v_hat = (9, 9)
#     update 1/2 in both:  theta = (3/4, -5/4)
#  t = 3, g = (17, -123): m = (9/8 + 17/2, 9/8 - 123/2) = (77/8, -483/8)
#     v = (27/8 + 289/2, 27/8 + 15129/2) = (1183/8, 60543/8);  over 1 - 1/8: m_hat = (11, -69)
#     v_hat = (169, 8649), of roots (13, 93)
#     update (11/16, -69/96):  theta = (3/4 - 11/64, -5/4 + 23/128) = (37/64, -137/128)
TRACE = [
    {"g": [3, 3], "m": [1.5, 1.5], "v": [4.5, 4.5], "m_hat": [3, 3], "v_hat": [9, 9], "denominator": [6, 6],
     "update": [0.5, 0.5], "theta": [0.875, -1.125]},
    {"g": [3, 3], "m": [2.25, 2.25], "v": [6.75, 6.75], "m_hat": [3, 3], "v_hat": [9, 9], "denominator": [6, 6],
     "update": [0.5, 0.5], "theta": [0.75, -1.25]},
    {"g": [17, -123], "m": [77 / 8, -483 / 8], "v": [1183 / 8, 60543 / 8], "m_hat": [11, -69], "v_hat": [169, 8649],
     "denominator": [16, 96], "update": [11 / 16, -23 / 32], "theta": [37 / 64, -137 / 128]},
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_three_steps_worked_by_hand_agree_exactly(dtype):
    opt = Adam(0.25, beta1=0.5, beta2=0.5, eps=3.0)
    theta = np.array([1, -1], dtype)
    state = opt.init(theta)
    for t, row in enumerate(TRACE, start=1):
        theta, state, terms = opt.step(theta, state, Given(np.array(row["g"], dtype)))
        assert state.t == t
        assert theta.dtype == dtype
        np.testing.assert_array_equal(theta, row["theta"])
        np.testing.assert_array_equal(state.m, row["m"])
        np.testing.assert_array_equal(state.v, row["v"])
        for name in ("g", "m", "v", "m_hat", "v_hat", "denominator", "update"):
            np.testing.assert_array_equal(terms[name], row[name], err_msg=f"{name} at step {t}")


@pytest.mark.parametrize(
    "case", RECORDED, ids=lambda case: f"{case['optimizer']}-{case['hyper']['lr']}-{case['dtype']}"
)
def test_steps_agree_with_those_recorded_from_pytorch(case):
    dtype = np.dtype(case["dtype"])
    hyper = dict(case["hyper"])
    if "betas" in hyper:
        hyper["beta1"], hyper["beta2"] = hyper.pop("betas")
    opt = {"Adam": Adam, "AdamW": AdamW}[case["optimizer"]](**hyper)
    theta = numbers(case["theta0"], dtype)
    state = opt.init(theta)
    for row in case["steps"]:
        theta, state, _ = opt.step(theta, state, Given(numbers(row["grad"], dtype)))
        # each step rounds a few times relative to theta and to lr, PyTorch in another order
        size = np.abs(theta) + opt.lr
        np.testing.assert_array_less(np.abs(theta - numbers(row["theta"], dtype)), 4 * np.finfo(dtype).eps * size)


def test_the_first_step_is_a_sign_step_whatever_the_betas():
    g = np.array([3.0, -2e-4, 5e5])
    for beta1, beta2 in [(0.9, 0.999), (0.0, 0.0), (0.5, 0.9)]:
        opt = Adam(0.125, beta1=beta1, beta2=beta2, eps=1e-30)
        theta = opt.step(np.zeros(3), opt.init(np.zeros(3)), Given(g)).theta
        np.testing.assert_allclose(theta, [-0.125, 0.125, -0.125], rtol=1e-12)


def test_decoupled_decay_shrinks_theta_before_the_step_and_leaves_the_averages_alone():
    # lr = decay = 1 wipes theta out; what remains is the sign step
    opt = AdamW(1.0, eps=1e-30, weight_decay=1.0)
    theta = np.array([7.0])
    step = opt.step(theta, opt.init(theta), Given(np.array([2.0])))
    plain = Adam(1.0, eps=1e-30).step(theta, opt.init(theta), Given(np.array([2.0])))
    np.testing.assert_allclose(step.theta, [-1.0], rtol=1e-12)
    assert (step.state.m, step.state.v) == (plain.state.m, plain.state.v)


def test_adamw_without_decay_is_adam():
    theta = np.array([1.0, -2.0, 3.0])
    w, a = AdamW(0.1, weight_decay=0.0), Adam(0.1)
    oracle = Given(np.array([0.3, 0.1, -7.0]))
    assert w.step(theta, w.init(theta), oracle).theta.tolist() == a.step(theta, a.init(theta), oracle).theta.tolist()


def test_a_decay_mask_spares_the_coordinates_where_it_is_zero():
    theta = np.array([1.0, 1.0])
    opt = AdamW(0.5, weight_decay=np.array([0.0, 0.5]))
    assert opt.step(theta, opt.init(theta), Given(np.zeros(2))).theta.tolist() == [1.0, 0.75]
