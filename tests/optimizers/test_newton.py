"""The Newton family: steps worked by hand in a rotated basis, quadratics, saddles, and the theory's step counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sophia_ref import Given
from sophia_ref.optimizers import ClippedNewton, DampedNewton, Newton, SaddleFreeNewton


def step(opt, theta, g, hessian, dtype=np.float64):
    theta = np.array(theta, dtype)
    return opt.step(theta, opt.init(theta), Given(np.array(g, dtype), hessian=np.array(hessian, dtype)))


# H = [[1, 2], [2, 1]] has the eigenvectors (1, 1)/sqrt 2 and (1, -1)/sqrt 2 with eigenvalues 3 and -1.
# g = (3, 1) = 2 (1, 1) + 1 (1, -1), so the directions' shares are 2 (curvature 3) and 1 (curvature -1), and
#   Newton            2/3 (1, 1) - 1 (1, -1)                          = (-1/3, 5/3)
#   damping 2         2/5 (1, 1) + 1 (1, -1)                          = (7/5, -3/5)
#   saddle-free       2/3 (1, 1) + 1 (1, -1)                          = (5/3, -1/3)
#   with damping 1    2/4 (1, 1) + 1/2 (1, -1)                        = (1, 0)
#   clipped at rho: c/s = (2 sqrt 2/3, -sqrt 2), of sizes 0.94 and 1.41; at rho = 1 only the second is clipped, to
#                     2/3 (1, 1) - 1/sqrt 2 (1, -1)                   = (2/3 - 1/sqrt 2, 2/3 + 1/sqrt 2)
# and theta = (1, 1) moves by -lr times that, lr = 1/2.
ROOT = np.sqrt(2)
BY_HAND = {
    Newton(0.5): [-1 / 3, 5 / 3],
    DampedNewton(0.5, damping=2.0): [7 / 5, -3 / 5],
    SaddleFreeNewton(0.5): [5 / 3, -1 / 3],
    SaddleFreeNewton(0.5, damping=1.0): [1, 0],
    ClippedNewton(0.5, rho=1.0): [2 / 3 - 1 / ROOT, 2 / 3 + 1 / ROOT],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("opt", BY_HAND, ids=repr)
def test_a_step_worked_by_hand_in_a_rotated_basis(opt, dtype):
    theta, state, terms = step(opt, [1, 1], [3, 1], [[1, 2], [2, 1]], dtype)
    tolerance = 8 * np.finfo(dtype).eps
    update = np.array(BY_HAND[opt])
    np.testing.assert_allclose(terms["update"], update, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(theta, 1 - 0.5 * update, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(terms["eigenvalues"], [-1, 3], rtol=tolerance)
    np.testing.assert_allclose(np.abs(terms["c"]), [ROOT, 2 * ROOT], rtol=tolerance)
    assert theta.dtype == terms["update"].dtype == terms["q"].dtype == dtype
    assert state.t == 1
    if isinstance(opt, ClippedNewton):
        assert terms["clipped"].tolist() == [True, False]
        np.testing.assert_allclose(np.abs(terms["ratio"]), [ROOT, 2 * ROOT / 3], rtol=tolerance)


# Three steps from (4, 4) with lr = 1/2. The first two Hessians are diagonal and their powers of two keep the arithmetic
# exact. The third has the eigenvectors (1, 1) and (1, -1), eigenvalues 4 and -2, and g = 4 (1, 1) + 2 (1, -1).
#
#   g, H              (8, -4), diag(4, -2)   (3, 6), diag(12, -8)       (6, 2), [[1, 3], [3, 1]]
#   Newton     q      8/4, -4/-2 = (2, 2)    3/12, 6/-8 = (1/4, -3/4)   1 (1, 1) - 1 (1, -1)   = (0, 2)
#              theta  (3, 3)                 (23/8, 27/8)               (23/8, 19/8)
#   damping 4  q      8/8, -4/2 = (1, -2)    3/16, 6/-4 = (3/16, -3/2)  1/2 (1, 1) + 1 (1, -1) = (3/2, -1/2)
#              theta  (7/2, 5)               (109/32, 23/4)             (85/32, 6)
#   saddle-    q      8/4, -4/2 = (2, -2)    3/12, 6/8 = (1/4, 3/4)     1 (1, 1) + 1 (1, -1)   = (2, 0)
#   free       theta  (3, 5)                 (23/8, 37/8)               (15/8, 37/8)
#   clipped    q      (2, 2) -> (1/2, 1/2)   (1/4, -3/4) -> -1/2        sqrt 2, -sqrt 2 -> 1/2, -1/2 along
#   at 1/2     theta  (15/4, 15/4)           (29/8, 4)                  the unit vectors: (0, 1/sqrt 2)
GIVEN = [
    ([8, -4], [[4, 0], [0, -2]]),
    ([3, 6], [[12, 0], [0, -8]]),
    ([6, 2], [[1, 3], [3, 1]]),
]
TRACES = {
    Newton(0.5): [[3, 3], [23 / 8, 27 / 8], [23 / 8, 19 / 8]],
    DampedNewton(0.5, damping=4.0): [[7 / 2, 5], [109 / 32, 23 / 4], [85 / 32, 6]],
    SaddleFreeNewton(0.5): [[3, 5], [23 / 8, 37 / 8], [15 / 8, 37 / 8]],
    ClippedNewton(0.5, rho=0.5): [[15 / 4, 15 / 4], [29 / 8, 4], [29 / 8, 4 - 1 / ROOT / 2]],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("opt", TRACES, ids=repr)
def test_three_steps_worked_by_hand(opt, dtype):
    theta = np.array([4, 4], dtype)
    state = opt.init(theta)
    for t, ((g, hessian), expected) in enumerate(zip(GIVEN, TRACES[opt], strict=True), start=1):
        oracle = Given(np.array(g, dtype), hessian=np.array(hessian, dtype))
        theta, state, _ = opt.step(theta, state, oracle)
        assert (state.t, theta.dtype) == (t, dtype)
        if t < 3:
            np.testing.assert_array_equal(theta, np.array(expected, dtype))
        else:
            np.testing.assert_allclose(theta, expected, rtol=8 * np.finfo(dtype).eps)


def rotated(eigenvalues, seed=0):
    """A symmetric matrix with these eigenvalues, and its eigenvectors."""
    V, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return V @ np.diag(eigenvalues) @ V.T, V


@pytest.mark.parametrize("eigenvalues", [[1, 2, 3], [1e-3, 1, 1e3], [-5, 0.1, 40]])
def test_newton_finds_the_critical_point_of_a_quadratic_in_one_step(eigenvalues):
    H, _ = rotated(eigenvalues)
    critical = np.array([1.0, -2.0, 0.5])
    theta = np.array([4.0, 4.0, -3.0])
    np.testing.assert_allclose(step(Newton(1.0), theta, H @ (theta - critical), H).theta, critical, rtol=1e-9)


def test_newton_agrees_with_solving_the_linear_system():
    rng = np.random.default_rng(3)
    A = rng.normal(size=(6, 6))
    H, g = A + A.T, rng.normal(size=6)
    np.testing.assert_allclose(step(Newton(1.0), np.zeros(6), g, H).theta, -np.linalg.solve(H, g), rtol=1e-10)


def test_damped_newton_agrees_with_solving_the_shifted_system():
    rng = np.random.default_rng(4)
    A = rng.normal(size=(6, 6))
    H, g = A + A.T, rng.normal(size=6)
    expected = -np.linalg.solve(H + 0.7 * np.eye(6), g)
    np.testing.assert_allclose(step(DampedNewton(1.0, damping=0.7), np.zeros(6), g, H).theta, expected, rtol=1e-10)


def test_damping_spans_newton_and_gradient_descent():
    H, _ = rotated([1, 10, 100])
    g = np.array([1.0, -2.0, 3.0])
    newton = step(Newton(1.0), np.zeros(3), g, H).theta
    np.testing.assert_array_equal(step(DampedNewton(1.0, damping=0.0), np.zeros(3), g, H).theta, newton)
    np.testing.assert_allclose(step(DampedNewton(1e9, damping=1e9), np.zeros(3), g, H).theta, -g, rtol=1e-6)


def test_directions_without_curvature_are_left_alone():
    # f = (x + y)^2: no curvature along (1, -1); Newton removes the part of g along (1, 1), pseudo-inverse and all
    H = [[2, 2], [2, 2]]
    for opt in (Newton(1.0), DampedNewton(1.0, damping=0.0), SaddleFreeNewton(1.0)):
        theta = step(opt, [3, 1], [8 + 0.5, 8 - 0.5], H).theta
        np.testing.assert_allclose(theta, [1, -1], atol=1e-14)
    assert step(Newton(1.0), [3, 1], [1, 2], np.zeros((2, 2))).theta.tolist() == [3, 1]


def test_a_singular_hessian_gives_the_pseudo_inverse():
    H, _ = rotated([0, 0, 1, 5, 40], seed=5)
    g = np.random.default_rng(6).normal(size=5)
    np.testing.assert_allclose(step(Newton(1.0), np.zeros(5), g, H).theta, -np.linalg.pinv(H, 1e-13) @ g, rtol=1e-9)


def test_at_a_saddle_newton_climbs_and_the_saddle_free_method_does_not():
    # f = (x^2 - y^2) / 2 at (1, 1/2)
    g, H = [1, -0.5], [[1, 0], [0, -1]]
    assert step(Newton(1.0), [1, 0.5], g, H).theta.tolist() == [0, 0]
    assert step(SaddleFreeNewton(1.0), [1, 0.5], g, H).theta.tolist() == [0, 1]
    # clipped to the letter: up the slope as Newton, but by lr rho
    assert step(ClippedNewton(1.0, rho=0.25), [1, 0.5], g, H).theta.tolist() == [0.75, 0.25]


def test_clipped_newton_steps_by_rho_where_there_is_slope_but_no_curvature():
    _, _, terms = step(ClippedNewton(1.0, rho=0.5), [0, 0, 0], [3, -2, 0], np.zeros((3, 3)))
    assert np.sort(terms["update"]).tolist() == [-0.5, 0, 0.5]
    assert np.sort(terms["ratio"]).tolist() == [-np.inf, 0, np.inf]
    assert terms["clipped"].sum() == 2


def test_a_ratio_too_large_for_the_dtype_is_clipped_like_any_other():
    assert step(ClippedNewton(1.0, rho=0.5), [0], [-1e10], [[1e-300]]).theta.tolist() == [0.5]


def test_only_the_symmetric_part_of_the_hessian_matters():
    H = np.array([[4.0, 1.0], [3.0, -2.0]])
    one = step(Newton(1.0), [0, 0], [1, 2], H).theta
    np.testing.assert_array_equal(one, step(Newton(1.0), [0, 0], [1, 2], H.T).theta)
    np.testing.assert_allclose(one, -np.linalg.solve([[4, 2], [2, -2]], [1, 2]), rtol=1e-14)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.integers(1, 5))
def test_no_eigendirection_moves_further_than_lr_times_rho(seed, rho, size):
    rng = np.random.default_rng(seed)
    H, _ = rotated(rng.normal(size=size) * 10.0 ** rng.integers(-6, 6, size), seed)
    theta, _, terms = step(ClippedNewton(0.5, rho=rho), np.zeros(size), rng.normal(size=size), H)
    assert np.abs(terms["eigenvectors"].T @ theta).max() <= 0.5 * rho * (1 + 1e-12)
    assert np.array_equal(terms["clipped"], np.abs(terms["q"]) < np.abs(terms["ratio"]))


def steps_until(opt, theta, H, target, limit=1000):
    """Steps of opt on theta^T H theta / 2 until every row's loss is at most target, (rows,)."""
    state = opt.init(theta)
    needed = np.full(len(theta), -1)
    for t in range(limit):
        loss = np.einsum("ni,ij,nj->n", theta, H, theta) / 2
        needed[(needed < 0) & (loss <= target)] = t
        if (needed >= 0).all():
            return needed
        hessian = np.broadcast_to(H, (*theta.shape, theta.shape[-1]))
        theta, state, _ = opt.step(theta, state, Given(theta @ H, hessian=hessian))
    raise AssertionError("no convergence")


@pytest.mark.parametrize("kappa", [1, 10, 100, 1e3, 1e4])
@pytest.mark.parametrize(("gap", "expected"), [(0.5, 5), (1.0, 6)])
def test_clipped_newton_needs_as_many_steps_at_every_condition_number(kappa, gap, expected):
    # from every point of the ellipse where the loss is gap, to gap/100, with lr = rho = 1/2 and smallest curvature 1.
    # Along the flat axis from 1: 1, 3/4, 1/2 (the last clipped step), then halving: 1/4, 1/8, 1/16 <= 1/10: 5 steps
    angle = np.linspace(0, 2 * np.pi, 721)
    H, V = rotated([1, kappa])
    start = np.sqrt(2 * gap) * np.stack([np.cos(angle), np.sin(angle) / np.sqrt(kappa)], axis=-1) @ V.T
    needed = steps_until(ClippedNewton(0.5, rho=0.5), start, H, gap / 100)
    assert needed.max() == expected
    if kappa > 1:  # else every axis is an eigenvector
        assert needed[0] == expected
