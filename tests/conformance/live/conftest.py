"""Steps of real implementations beside the engine's. `make test-ports` makes the environments; elsewhere these tests
are skipped, with a reason."""

import importlib
import os

import numpy as np
import pytest

from sophia_ref import Given

os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture(scope="session")
def library():
    """A module by name; where it must be there, as SOPHIA_REF_PORTS=required says, its absence is a failure."""

    def load(name):
        if os.environ.get("SOPHIA_REF_PORTS") == "required":
            return importlib.import_module(name)
        return pytest.importorskip(name, reason=f"{name} is not installed here; `make test-ports` installs it")

    return load


@pytest.fixture
def gives():
    """(gradients, estimates, start) by kind: "dyadic", few bits in each number, or "float64" and "float32"."""

    def draw(kind, steps, coordinates=64):
        rng = np.random.default_rng(5)
        if kind == "dyadic":
            whole = rng.integers(-16, 17, (2, steps, coordinates)) / 4.0
            # zero gradients under momentum, and negative, zero and huge curvature, are among them
            return whole[0], 16 * whole[1], rng.integers(-16, 17, coordinates) / 4.0
        draws = [rng.normal(size=shape) for shape in ((steps, coordinates), (steps, coordinates), (coordinates,))]
        return [x.astype(kind) for x in draws]

    return draw


@pytest.fixture
def assert_same_steps():
    """Takes opt's steps, each from the state in which the other implementation was, and compares what comes out."""

    def compare(opt, other, kind, grads, h_hats, theta):
        """other(t, g, h_hat) -> (theta, m, h) after step t. Exact for dyadic numbers; else two ulp an operation."""
        state = opt.init(theta)
        for t, (g, h_hat) in enumerate(zip(grads, h_hats, strict=True), start=1):
            theirs = other(t, g, h_hat)
            step = opt.step(theta, state, Given(g, h_hat))
            assert step.theta.dtype == theta.dtype == theirs[0].dtype
            mine = (step.theta, step.state.m, step.state.h)
            bounds = _allowed(opt, theta, state, step, g, h_hat)
            for name, x, y, allowed in zip("θmh", mine, theirs, bounds, strict=True):
                if kind == "dyadic":
                    np.testing.assert_array_equal(x, y, err_msg=f"{name} after step {t}")
                else:
                    assert (np.abs(x - y) <= allowed).all(), (name, t, np.abs(x - y) / allowed)
            theta, m, h = theirs
            # what is held is not in the other's reach: it is the estimate itself
            state = opt.State(t, m, h, step.state.held)

    def _allowed(opt, theta, state, step, g, h_hat):
        def ulps(*operands):
            return 2 * np.max([np.spacing(np.abs(x)) for x in operands], axis=0)

        terms, count = step.terms, opt.knobs.averagings
        m_error = 2 * count * ulps(state.m, g)
        h_error = ulps(state.h, h_hat)
        if "denominator" not in terms:
            return ulps(theta), m_error, h_error
        d, rate = np.abs(terms["denominator"]), opt.lr / (opt.clip if opt.knobs.rate_over_clip else 1)
        scale = opt.gamma * (opt.bs if opt.knobs.batch_at_step else 1)
        corrected = (1 - opt.beta1**step.state.t) if opt.knobs.m_corrected else 1
        unclipped = ~terms["clipped"] | (np.abs(terms["ratio"]) < opt.clip * (1 + 1e-5))
        error = (m_error / corrected + np.abs(terms["ratio"]) * scale * h_error) / d + 3 * ulps(terms["ratio"])
        update_error = np.where(unclipped, error, ulps(terms["update"]))
        return 2 * ulps(theta, rate * terms["update"]) + rate * update_error, m_error, h_error

    return compare
