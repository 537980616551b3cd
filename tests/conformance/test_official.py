"""The official dialect against SophiaG's own recorded steps, each from the state recorded before it.

PyTorch fuses multiply and add, NumPy does not, so an operation may be off by an ulp of its largest operand; two are
allowed. Where the arithmetic is exact, in powers of two, `live/test_torch.py` asks for equality.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import DIALECTS

RECORD = json.loads((Path(__file__).parents[1] / "data/official_sophia_g.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in RECORD["cases"]}


def array(hexadecimal, dtype):
    return np.array([float.fromhex(x) for x in hexadecimal], dtype)


def steps_of(case):
    """(t, Step, record before, record after) of every step, taken from the state before it."""
    settings = dict(case["hyper"])
    opt = DIALECTS["official"].optimizer(every=settings.pop("k"), **settings)
    dtype, zeros = np.dtype(case["dtype"]), ["0x0p0"] * len(case["theta0"])
    start = {"theta": case["theta0"], "exp_avg": zeros, "hessian": zeros}
    records = [
        {name: array(numbers, dtype) for name, numbers in record.items() if name != "t"}
        for record in [start, *case["steps"]]
    ]
    for t in range(1, len(records)):
        before, after = records[t - 1], records[t]
        # the estimate that followed step t - 1 is made before step t here, so h is that of one step earlier
        h = records[max(t - 2, 0)]["hessian"]
        h_hat = before["sampled_grad"] ** 2 if "sampled_grad" in before else None
        state = opt.State(t - 1, before["exp_avg"], h, np.zeros_like(h))
        yield opt, opt.step(before["theta"], state, sr.Given(after["grad"], h_hat)), before, after, h, h_hat


def ulps(*operands):
    """Two units in the last place of the largest operand, entry by entry."""
    return 2 * np.max([np.spacing(np.abs(x)) for x in operands], axis=0)


def assert_near(x, y, tolerance, name):
    assert x.dtype == y.dtype
    error = np.abs(x - y)
    assert (error <= tolerance).all(), f"{name}: {x} and {y} differ by {error}, allowed are {tolerance}"


@pytest.mark.parametrize("name", CASES)
def test_every_step_is_the_recorded_one_to_two_ulp_an_operation(name):
    case = CASES[name]
    for opt, step, before, after, h, h_hat in steps_of(case):
        m, terms, theta = before["exp_avg"], step.terms, before["theta"]
        scale = opt.beta2 * h if h_hat is None else np.maximum(opt.beta2 * h, (1 - opt.beta2) * h_hat)
        assert_near(terms["h"], before["hessian"], 0 * h if h_hat is None else ulps(scale), "h")
        m_error = ulps(opt.beta1 * m, (1 - opt.beta1) * after["grad"])
        assert_near(terms["m"], after["exp_avg"], m_error, "m")
        # gamma bs h + eps, |m| / that, min: m's own error, and two ulp for each of three operations
        d = terms["denominator"]
        h_error = 0 if h_hat is None else opt.gamma * opt.bs * ulps(scale) / d
        ratio = np.minimum(np.abs(terms["ratio"]), 1)
        update_error = np.where(terms["clipped"], 0, m_error / d + ratio * h_error + 3 * ulps(ratio))
        assert_near(step.theta, after["theta"], ulps(theta, opt.lr * ratio) + opt.lr * update_error, "theta")


def test_the_record_covers_what_it_should():
    assert {case["dtype"] for case in CASES.values()} == {"float32", "float64"}
    assert len(CASES) == 20
    clipped = [step.terms["clipped"] for case in CASES.values() for _, step, *_ in steps_of(case)]
    assert np.concatenate(clipped).any()
    assert not np.concatenate(clipped).all()


def test_minus_zero_and_zero_gradients_are_as_recorded():
    for name in ("neg-zero", "zero-sample"):
        for _, step, _, after, *_ in steps_of(CASES[name]):
            np.testing.assert_array_equal(np.sign(step.terms["m"]), np.sign(after["exp_avg"]))
