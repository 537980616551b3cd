"""The race of Figure 2, run once."""

import pytest

import sophia_ref as sr
from toy_problems.landscapes import REGISTRY


@pytest.fixture(scope="session")
def fig2():
    return REGISTRY["sophia_fig2"]


@pytest.fixture(scope="session")
def sophia():
    return sr.Sophia(0.3, beta1=0.0, beta2=0.0, gamma=1.0, every=1, estimator=sr.exact_diagonal)


@pytest.fixture(scope="session")
def race(fig2, sophia):
    optimizers = (sr.GradientDescent(0.014), sr.SignGD(0.3), sr.Adam(0.3), sr.Newton(0.3), sophia)
    return [sr.run(fig2, opt, 15) for opt in optimizers]


@pytest.fixture(scope="session")
def leaver(fig2):
    """Gradient descent that swings wider with every step until its numbers overflow."""
    return sr.run(fig2, sr.GradientDescent(0.2), 20)
