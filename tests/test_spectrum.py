"""Eigenvalues by Lanczos against dense ones, and the quadrature against traces over every probe there is."""

import itertools

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.spectrum import extremes, hessian_operator, spectral_density
from toy_problems.transformer import TinyGPT


def symmetric(n, seed=0):
    a = np.random.default_rng(seed).standard_normal((n, n))
    return (a + a.T) / np.sqrt(2 * n)


def oracle_of(matrix, seed=0, dtype=np.float64):
    matrix = np.asarray(matrix, dtype)

    def f(theta):
        return theta @ matrix @ theta / 2

    return sr.Oracle(f, np.ones(len(matrix), dtype), rng=np.random.default_rng(seed))


class EverySign:
    """In place of a Generator: all vectors of n signs, one after the other."""

    def __init__(self, n):
        self.signs = itertools.product((0, 1), repeat=n)

    def integers(self, low, high, size):
        return np.array(next(self.signs))


def test_the_operator_is_the_hessian():
    matrix = symmetric(7)
    operator = hessian_operator(oracle_of(matrix))
    np.testing.assert_allclose(operator @ np.eye(7), matrix, atol=1e-14)
    np.testing.assert_allclose(operator.T @ np.eye(7), matrix, atol=1e-14)
    assert operator.shape == (7, 7)


@pytest.mark.parametrize("k", [1, 3])
def test_extremes_are_the_outermost_eigenvalues(k):
    matrix = symmetric(60)
    dense = np.linalg.eigvalsh(matrix)
    low, high = extremes(oracle_of(matrix), k)
    np.testing.assert_allclose(low, dense[:k], atol=1e-10)
    np.testing.assert_allclose(high, dense[-k:], atol=1e-10)


def test_moments_over_every_probe_are_traces():
    """The mean of v^T A v over all sign vectors is tr A, and Gauss's rule of m nodes is exact for powers below 2 m."""
    n, m = 6, 3
    matrix = symmetric(n, seed=3)
    probes = 2**n
    oracle = oracle_of(matrix)
    oracle._rng = EverySign(n)
    density = spectral_density(oracle, probes, m)
    for j in range(2 * m):
        moment = (density.weights * density.nodes**j).sum()
        assert moment == pytest.approx(np.trace(np.linalg.matrix_power(matrix, j)) / n, abs=1e-12)
    assert density.weights.sum() == pytest.approx(1)
    # and no longer for the next one
    moment = (density.weights * density.nodes ** (2 * m)).sum()
    assert moment != pytest.approx(np.trace(np.linalg.matrix_power(matrix, 2 * m)) / n, abs=1e-6)


def test_with_as_many_steps_as_numbers_the_nodes_are_the_eigenvalues():
    matrix = symmetric(12)
    density = spectral_density(oracle_of(matrix), probes=1, steps=50)
    s, V = np.linalg.eigh(matrix)
    np.testing.assert_allclose(density.nodes, s, atol=1e-10)
    v = 2.0 * np.random.default_rng(0).integers(0, 2, 12) - 1
    np.testing.assert_allclose(density.weights, (V.T @ v) ** 2 / 12, atol=1e-10)


def test_lanczos_stops_where_there_is_nothing_left():
    density = spectral_density(oracle_of(3 * np.eye(9)), probes=2, steps=5)
    np.testing.assert_allclose(density.nodes, [3, 3], rtol=1e-14)
    np.testing.assert_allclose(density.weights, [0.5, 0.5], rtol=1e-14)
    # two eigenvalues, four and five times
    density = spectral_density(oracle_of(np.diag([2.0] * 4 + [-1.0] * 5)), probes=1, steps=5)
    np.testing.assert_allclose(density.nodes, [-1, 2], rtol=1e-12)
    np.testing.assert_allclose(density.weights, [5 / 9, 4 / 9], rtol=1e-12)
    density = spectral_density(oracle_of(np.zeros((4, 4))), probes=1, steps=3)
    np.testing.assert_array_equal(density, [[0], [1]])


def test_few_probes_find_the_density_of_a_semicircle_and_an_outlier():
    n = 300
    matrix = symmetric(n)
    matrix[0, 0] += 6.0
    density, dense = spectral_density(oracle_of(matrix), probes=10, steps=40), np.linalg.eigvalsh(matrix)
    at = np.linspace(-2.5, 7, 60)
    ours = np.array([density.weights[density.nodes <= x].sum() for x in at])
    true = (dense[:, None] <= at).mean(axis=0)
    assert np.abs(ours - true).max() < 0.03
    assert density.nodes.max() == pytest.approx(dense.max(), abs=1e-10)


def test_the_hessian_of_a_model_on_its_batch():
    model, rng = TinyGPT(vocab=5, context=4, width=4, heads=2, layers=1), np.random.default_rng(0)
    theta, tokens = model.init(rng, np.float64), rng.integers(5, size=(3, 5))
    theta, batch = theta + 0.3 * rng.standard_normal(model.size), (tokens[:, :-1], tokens[:, 1:])
    oracle = sr.Oracle(model, theta, batch, rng)
    dense = np.linalg.eigvalsh(oracle.hessian())
    density, (low, high) = spectral_density(oracle, probes=2, steps=40), extremes(oracle)
    assert dense[0] < -0.01
    for found in ((density.nodes[0], density.nodes[-1]), (low[0], high[0])):
        assert found == pytest.approx((dense[0], dense[-1]), rel=1e-8)


def test_products_in_float32_are_asked_for_in_float32(monkeypatch):
    matrix, asked = symmetric(20), []
    hvp = sr.Oracle.hvp
    monkeypatch.setattr(sr.Oracle, "hvp", lambda oracle, v: asked.append(v.dtype) or hvp(oracle, v))
    density = spectral_density(oracle_of(matrix, dtype=np.float32), probes=1, steps=20)
    np.testing.assert_allclose(density.nodes, np.linalg.eigvalsh(matrix), atol=1e-5)
    assert set(asked) == {np.dtype(np.float32)}


def test_bad_input_is_refused_by_name():
    oracle = oracle_of(symmetric(6))
    rows = sr.Oracle(lambda theta: (theta**2).sum(-1), np.ones((2, 3)), rng=np.random.default_rng(0))
    for ask in (hessian_operator, extremes, spectral_density):
        with pytest.raises(ValueError, match=r"oracle: theta of shape \(2, 3\); expected \(P,\)"):
            ask(rows)
    with pytest.raises(ValueError, match=r"extremes: k must be less than P / 2 = 3, got 3"):
        extremes(oracle, 3)
    with pytest.raises(ValueError, match="spectral_density: probes must be an integer >= 1, got 0"):
        spectral_density(oracle, 0)
    with pytest.raises(TypeError, match=r"spectral_density: steps must be an integer >= 1, got 2\.5"):
        spectral_density(oracle, 1, 2.5)
    with pytest.raises(ValueError, match="rng is needed"):
        spectral_density(sr.Oracle(lambda theta: (theta**2).sum(), np.ones(3)))
