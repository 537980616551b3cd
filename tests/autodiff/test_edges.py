"""What happens at the edges: each has one answer, which is written down in the code and held here."""

import copy
import gc
import weakref

import numpy as np
import pytest
import scipy.special as special

import sophia_ref as sr
from sophia_ref.autodiff import Dual, InPlaceError
from sophia_ref.autodiff.dual import alike
from sophia_ref.autodiff.tape import keep

rng = np.random.default_rng(1)
x3, v3 = rng.uniform(0.2, 1.5, (2, 3))


def both(f, x):
    """The gradient of scalar f, by reverse and by forward mode, which must be the same."""
    gradient = sr.grad(f)(x)
    forward = [sr.jvp(f, x, e.reshape(np.shape(x)))[1] for e in np.eye(np.size(x), dtype=np.asarray(x).dtype)]
    np.testing.assert_allclose(np.ravel(gradient), forward, rtol=1e-12, atol=1e-14)
    return gradient


# -- who may change what, and when -------------------------------------------------------------------------------------

USES = {
    "multiply": lambda x, c: x * c,
    "divide": lambda x, c: c / x,
    "matmul": lambda x, c: c[:, None] @ x[None],
    "power": lambda x, c: x**c,
    "where": lambda x, c: np.where(c > 1, x * x, x),
    "maximum": lambda x, c: np.maximum(x * x, c),
    "index": lambda x, c: (x * x)[(c * 1).astype(int) % 3],
    "list index": lambda x, c: x[list((c * 1).astype(int) % 3)] ** 2,
    "einsum": lambda x, c: np.einsum("i,j->ij", x, c),
    "primitive": lambda x, c: product(x, c),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_constant_that_changes_between_forward_and_backward_does_no_harm(use):
    c = np.array([1.0, 2.0, 3.0])
    before = sr.grad(lambda x: np.sum(use(x, c)))(x3)
    y, pullback = sr.vjp(lambda x: use(x, c), x3)
    c[...] = 77.0
    np.testing.assert_array_equal(pullback(np.ones_like(y)), before)


def product_forward(x, c):
    return x * c, (x, c)


def product_backward(saved, y_bar):
    x, c = saved
    return y_bar * c, y_bar * x


product = sr.primitive(product_forward, product_backward)


def test_a_constant_index_a_scalar_array_and_a_view_are_protected_too():
    index, scale, base = np.array([0, 1, 1]), np.array(2.0), np.arange(3.0)
    view = base[::-1]
    locked = base.view()
    locked.flags.writeable = False  # yet base can change
    _, pullback = sr.vjp(lambda x: x[index] * scale * view * locked, x3)
    expected = pullback(np.ones(3))
    index[...], scale[...], base[...] = 2, -1.0, 9.0
    np.testing.assert_array_equal(pullback(np.ones(3)), expected)


def test_a_list_index_and_keyword_settings_are_protected_too():
    index, shift = [0, 1], np.array([1])
    _, pullback = sr.vjp(lambda x: np.roll(x[index], shift=shift, axis=0), x3)
    index[0], shift[0] = 2, 0
    np.testing.assert_array_equal(pullback(np.array([1.0, 10.0])), [10.0, 1.0, 0.0])


def test_read_only_arrays_are_not_copied_and_others_are():
    data = rng.standard_normal((4, 3))
    assert keep(data) is not data
    data.flags.writeable = False
    part = data[1:, ::2]
    assert keep(data) is data
    assert keep(part) is part
    assert keep((part, 3, [data]))[0] is part
    frozen = np.frombuffer(b"12345678" * 3)
    assert keep(frozen) is frozen

    seen = []

    def forward(x, c):
        seen.append(c)
        return x * c, (x, c)

    for constant in (data[0], rng.standard_normal(3)):
        sr.vjp(lambda x, c=constant: sr.primitive(forward, product_backward)(x, c), x3)
    assert np.shares_memory(seen[0], data)
    assert seen[1].flags.writeable is False


def test_the_input_may_change_after_vjp():
    x = x3.copy()
    _, pullback = sr.vjp(lambda x: x * x, x)
    x[...] = 0
    np.testing.assert_array_equal(pullback(np.ones(3)), 2 * x3)


def test_results_share_no_memory_with_anything():
    x, v = x3.copy(), v3.copy()
    for f in [lambda x: x, lambda x: x[:], lambda x: x.T, lambda x: x + 0, lambda x: np.exp(x), lambda x: +x]:
        y, dy = sr.jvp(f, x, v)
        for result in (y, dy):
            assert not np.shares_memory(result, x)
            assert not np.shares_memory(result, v)
        assert not np.shares_memory(y, dy)

        y, pullback = sr.vjp(f, x)
        y_bar = np.ones(3)
        first = pullback(y_bar)
        expected = first.copy()
        for result in (y, first):
            assert not np.shares_memory(result, x)
            assert not np.shares_memory(result, y_bar)
            result[...] = np.nan
        np.testing.assert_array_equal(pullback(y_bar), expected)
    np.testing.assert_array_equal(x, x3)
    np.testing.assert_array_equal(v, v3)

    gradient = sr.grad(np.sum)(x)
    gradient += 1  # writeable, and every entry its own
    np.testing.assert_array_equal(gradient, [2.0, 2.0, 2.0])


def test_the_pullback_can_be_called_again():
    _, pullback = sr.vjp(lambda x: np.stack([np.sum(x**2), np.prod(x)]), x3)
    for _ in range(2):
        np.testing.assert_allclose(pullback(np.array([1.0, 0.0])), 2 * x3)
        np.testing.assert_allclose(pullback(np.array([0.0, 1.0])), np.prod(x3) / x3)


# -- variables used often, once and never ------------------------------------------------------------------------------


def test_fan_out_adds():
    assert both(lambda x: x * x + x + 3 * x, 2.0) == 8.0
    np.testing.assert_allclose(
        both(lambda x: x[0] * x[0] + x[0] * np.sum(x), x3), [2 * x3[0] + np.sum(x3) + x3[0], x3[0], x3[0]]
    )


def test_a_variable_that_is_used_zero_times_has_gradient_zero():
    gradient = sr.grad(lambda p: np.sum(p["a"]))({"a": x3, "b": np.ones((2, 2), np.float32)})
    np.testing.assert_array_equal(gradient["b"], np.zeros((2, 2), np.float32), strict=True)
    np.testing.assert_array_equal(both(lambda x: x[1] * 2, x3), [0.0, 2.0, 0.0])


@pytest.mark.parametrize("loss", [1.0, 3, np.float32(2), np.array(1.5), np.int64(3)])
def test_a_loss_that_ignores_its_input_has_gradient_zero(loss):
    x = x3.astype(np.float32)
    np.testing.assert_array_equal(sr.grad(lambda x: loss)(x), np.zeros(3, np.float32), strict=True)
    assert sr.value_and_grad(lambda x: loss)(x)[0] == loss
    y, dy = sr.jvp(lambda x: loss, x, x)
    assert (y, dy) == (loss, 0.0)
    assert dy.dtype.kind == "f"
    np.testing.assert_array_equal(sr.hvp(lambda x: loss, x, x), np.zeros(3, np.float32), strict=True)
    np.testing.assert_array_equal(sr.hessian(lambda x: loss)(x), np.zeros((3, 3), np.float32), strict=True)


def test_a_loss_that_counts_or_compares_has_gradient_zero():
    for f in [
        lambda x: np.argmax(x),
        lambda x: np.sum(x > 1),
        lambda x: np.sign(x[0]),
        lambda x: np.where(x > 1, 1, 2).sum(),
    ]:
        np.testing.assert_array_equal(both(f, x3), np.zeros(3))


# -- shapes: 0-d, length 1, empty --------------------------------------------------------------------------------------


def test_var_and_std_along_an_axis_of_length_one_are_zero_with_slope_zero():
    x = x3.reshape(3, 1)
    for f in (np.var, np.std):
        np.testing.assert_array_equal(both(lambda x, f=f: np.sum(f(x, axis=1)), x), np.zeros((3, 1)))
        np.testing.assert_array_equal(
            sr.hessian(lambda x, f=f: np.sum(f(x.reshape(3, 1), axis=1)))(x3), np.zeros((3, 3))
        )


def test_var_with_too_few_entries_is_nan_as_in_numpy():
    with pytest.warns(RuntimeWarning):  # about degrees of freedom, and about 0 / 0
        assert np.isnan(sr.grad(lambda x: np.var(x, ddof=1))(np.array([1.0]))).all()


def test_zero_dimensional_arrays_and_scalars_are_the_same():
    for x in (2.0, np.float64(2.0), np.array(2.0)):
        assert sr.grad(lambda x: x**3)(x) == 12.0
        assert sr.hvp(lambda x: x**3, x, 0.5) == 6.0
        assert sr.vjp(lambda x: x * np.ones(2), x)[1](np.ones(2)) == 2.0
        assert np.shape(sr.grad(lambda x: np.sum(x))(x)) == ()
    assert sr.grad(lambda x: np.reshape(x, (1, 1))[0, 0] * x[...])(2.0) == 4.0


def test_empty_arrays_pass_through():
    x = np.zeros((0, 3))
    assert both(lambda x: np.sum(np.exp(x) @ np.ones(3)), x).shape == (0, 3)
    assert sr.hvp(lambda x: np.sum(x**2), x, x).shape == (0, 3)
    assert sr.hessian(lambda x: np.sum(x**2))(np.zeros(0, np.float32)).shape == (0, 0)
    assert sr.hessian(lambda x: np.sum(x**2))(np.zeros(0, np.float32)).dtype == np.float32
    assert sr.hessian_diag(lambda x: np.sum(x**2))(x).shape == (0, 3)
    np.testing.assert_array_equal(both(lambda x: np.sum(x[3:] ** 2) + x[0], x3), [1.0, 0.0, 0.0])
    with pytest.warns(RuntimeWarning):
        assert sr.grad(lambda x: np.mean(x))(np.zeros(0)).shape == (0,)
    for f in (np.prod, np.linalg.norm, lambda x: np.sum(np.cumsum(x)), lambda x: np.sum(np.sort(x))):
        assert both(f, np.zeros(0)).shape == (0,)
    with pytest.raises(ValueError, match="zero-size array"):
        sr.grad(np.max)(np.zeros(0))


# -- points where there is no derivative -------------------------------------------------------------------------------

TIES = np.array([1.0, 3.0, 3.0, 2.0])


def test_ties_share_equally_in_extremes():
    np.testing.assert_array_equal(both(np.max, TIES), [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(both(lambda x: np.min(-x), TIES), [0, -0.5, -0.5, 0])
    np.testing.assert_array_equal(both(lambda x: np.sum(np.max(x.reshape(2, 2), axis=0)), TIES), [0, 1, 1, 0])
    for f in (np.maximum, np.minimum, np.fmax, np.fmin):
        assert both(lambda x, f=f: f(x, 3.0), 3.0) == 0.5
        assert both(lambda x, f=f: f(x, x), 3.0) == 1.0
    assert both(lambda x: np.clip(x, 0.0, 3.0), 3.0) == 0.5
    np.testing.assert_array_equal(both(lambda x: np.sum(np.clip(x, 3.0, 9.0)), TIES), [0, 0.5, 0.5, 0])
    np.testing.assert_array_equal(both(lambda x: np.linalg.norm(x, np.inf), TIES), [0, 0.5, 0.5, 0])


def test_sort_keeps_the_order_of_equal_entries():
    many = np.arange(60.0) % 3
    order = np.concatenate([np.arange(k, 60, 3) for k in range(3)])  # the places of the zeros, the ones, the twos
    pulled = sr.vjp(np.sort, many)[1](np.arange(60.0))
    np.testing.assert_array_equal(pulled[order], np.arange(60.0))
    weights = np.array([1.0, 10.0, 100.0, 1000.0])
    np.testing.assert_array_equal(both(lambda x: np.sort(x) @ weights, TIES), [1, 100, 1000, 10])


def test_fmax_and_fmin_pass_by_nan():
    x = np.array([1.0, 2.0])
    for f in (np.fmax, np.fmin):
        np.testing.assert_array_equal(both(lambda x, f=f: np.sum(f(x, np.array([np.nan, np.nan]))), x), [1, 1])
        np.testing.assert_array_equal(both(lambda x, f=f: np.sum(f(np.array([np.nan, np.nan]), x)), x), [1, 1])


@pytest.mark.parametrize(
    "f",
    [np.linalg.norm, lambda x: np.linalg.norm(x, 2), lambda x: np.linalg.norm(x.reshape(2, 2), "fro"), np.std,
     lambda x: np.linalg.norm(x, 3), lambda x: np.hypot(x[0], x[1]), lambda x: np.sum(np.abs(x)),
     lambda x: np.sum(np.fabs(x)), lambda x: np.linalg.norm(x, 1)],
)  # fmt: skip
def test_lengths_and_deviations_that_are_zero_have_slope_zero_and_curvature_zero(f):
    x = np.zeros(4)
    assert f(x) == 0
    np.testing.assert_array_equal(both(f, x), x)
    np.testing.assert_array_equal(sr.hessian(f)(x), np.zeros((4, 4)))


def test_std_of_equal_entries_has_slope_zero_beside_a_row_that_varies():
    x = np.array([[2.0, 2.0], [1.0, 3.0]])
    np.testing.assert_allclose(both(lambda x: np.sum(np.std(x, axis=1)), x), [[0, 0], [-0.5, 0.5]])


def test_sqrt_at_zero_has_infinite_slope_with_numpys_warning():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert sr.grad(np.sqrt)(0.0) == np.inf


def test_the_branch_of_where_that_is_not_chosen_has_no_slope_unless_it_is_infinite_in_reverse():
    x = np.array([0.0, 2.0])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(sr.jvp(lambda x: np.where(x > 0, np.log(x), 0.0), x, np.ones(2))[1], [0, 0.5])
        np.testing.assert_array_equal(sr.grad(lambda x: np.sum(np.where(x > 0, np.log(x), 0.0)))(x), [np.nan, 0.5])
    np.testing.assert_array_equal(both(lambda x: np.sum(np.log(np.where(x > 0, x, 1.0))), x), [0, 0.5])


def test_heaviside_has_slope_one_in_its_value_at_zero_and_none_elsewhere():
    steps = np.array([-1.0, 0.0, 2.0, 0.0])
    np.testing.assert_array_equal(both(lambda b: np.sum(np.heaviside(steps, b)), np.ones(4)), [0, 1, 0, 1])
    assert both(lambda b: np.sum(np.heaviside(steps, b)), 0.5) == 2.0
    np.testing.assert_array_equal(both(lambda p: np.heaviside(p[0], p[1]), np.array([0.0, 0.5])), [0, 1])
    assert sr.hvp(lambda b: np.heaviside(0.0, b) ** 2, 0.5, 1.0) == 2.0


def test_powers_of_zero():
    assert both(lambda x: x**0, 0.0) == 0.0
    assert both(lambda x: x**0.0, 0.0) == 0.0
    assert both(lambda x: x ** np.array(0), 0.0) == 0.0
    assert both(lambda x: x**1, 0.0) == 1.0
    assert both(lambda x: x**2, 0.0) == 0.0
    np.testing.assert_array_equal(both(lambda x: np.sum(x ** np.array([0, 1, 2])), np.zeros(3)), [0, 1, 0])
    assert both(lambda n: 0.0**n, 2.0) == 0.0  # 0^n is 0 around n = 2
    assert both(lambda n: 0.0**n, 0.0) == 0.0
    np.testing.assert_array_equal(both(lambda p: p[0] ** p[1], np.zeros(2)), [0, 0])
    for n, expected in [(0, 0), (1, 0), (2, 2), (3, 0)]:
        assert sr.grad(sr.grad(lambda x, n=n: x**n))(0.0) == expected
        assert sr.grad(sr.grad(lambda x, n=n: x ** np.float64(n)))(0.0) == expected


def test_the_mixed_derivative_of_a_power_at_exponent_zero_is_one_over_the_base():
    # d2/dx dn x^n = x^(n-1) (1 + n log x)
    H = sr.hessian(lambda p: p[0] ** p[1])(np.array([2.0, 0.0]))
    np.testing.assert_allclose(H, [[0.0, 0.5], [0.5, np.log(2.0) ** 2]], rtol=1e-14)


def test_products_with_zeros_have_the_product_of_the_others_for_gradient():
    np.testing.assert_array_equal(both(np.prod, np.array([2.0, 0.0, 3.0])), [0, 6, 0])
    np.testing.assert_array_equal(both(np.prod, np.array([2.0, 0.0, 0.0])), [0, 0, 0])
    np.testing.assert_array_equal(sr.hessian(np.prod)(np.array([2.0, 0.0, 0.0])), [[0, 0, 0], [0, 0, 2], [0, 2, 0]])


def test_xlogy_is_zero_with_slope_zero_where_both_are_zero():
    np.testing.assert_array_equal(both(lambda p: special.xlogy(p[0], p[1]), np.zeros(2)), [0, 0])
    np.testing.assert_array_equal(both(lambda p: special.xlog1py(p[0], p[1] - 1), np.zeros(2)), [0, 0])
    # but next to it the ordinary derivatives hold, also the mixed one: d2 / da db a log b = 1 / b
    H = sr.hessian(lambda p: special.xlogy(p[0], p[1]))(np.array([0.0, 4.0]))
    np.testing.assert_allclose(H, [[0, 0.25], [0.25, 0]])
    H = sr.hessian(lambda p: special.xlog1py(p[0], p[1]))(np.array([0.0, 3.0]))
    np.testing.assert_allclose(H, [[0, 0.25], [0.25, 0]])


def test_log_sum_exp_of_nothing_but_minus_infinity_is_minus_infinity():
    with pytest.warns(RuntimeWarning):  # log 0; the slopes are 0 / 0
        value, gradient = sr.value_and_grad(np.logaddexp.reduce)(np.full(2, -np.inf))
    assert value == np.logaddexp.reduce(np.full(2, -np.inf)) == -np.inf
    assert np.isnan(gradient).all()


def test_softplus_and_log_sigmoid_stay_exact_far_out():
    x = np.array([-800.0, 0.0, 800.0])
    np.testing.assert_allclose(both(lambda x: np.sum(np.logaddexp(x, 0)), x), [0, 0.5, 1], atol=1e-300)
    np.testing.assert_allclose(both(lambda x: np.sum(special.log_expit(x)), x), [1, 0.5, 0], atol=1e-300)
    np.testing.assert_allclose(
        both(lambda x: np.sum(special.log_ndtr(x)), x[:2]), [800.00125, 2 / np.sqrt(2 * np.pi)], rtol=1e-8
    )
    np.testing.assert_allclose(both(np.logaddexp.reduce, np.array([1000.0, 1000.0, -np.inf])), [0.5, 0.5, 0])


def test_equal_eigenvalues_have_a_mean_slope_and_their_eigenvectors_none():
    same = np.eye(2)
    np.testing.assert_array_equal(sr.grad(lambda s: np.sum(np.linalg.eigvalsh(s)))(same), same)
    assert np.isnan(sr.grad(lambda s: np.linalg.eigh(s)[1][0, 1])(same)).any()
    hessian = sr.hessian(lambda s: np.sum(np.linalg.eigvalsh(s.reshape(2, 2)) ** 3))(same.ravel())
    assert np.isnan(hessian).any()  # not silently without the part that the eigenvectors' turning adds


@pytest.mark.parametrize("f", [np.linalg.det, lambda a: np.sum(np.linalg.inv(a)), lambda a: np.linalg.slogdet(a)[1]])
def test_singular_matrices_are_refused_by_numpys_own_error(f):
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        sr.grad(f)(np.ones((2, 2)))


# -- float32 -----------------------------------------------------------------------------------------------------------

I8 = np.array([1, 2, 3], np.int8)
LOSSES32 = {
    "python scalars": lambda x: np.sum(2 * x + x**2 - 1.5 / x + 3.0**x),
    "float32 scalars": lambda x: np.sum(x * np.float32(2) + np.float32(0.1)) ** np.float32(1.5),
    "integer arrays": lambda x: np.sum(x * I8 + x**I8) + x[np.array([0, 0])].sum(),
    "where and clip": lambda x: np.sum(np.where(x > 1, x, 0.0) + np.clip(x, 0.3, 1.0) + np.maximum(x, 0.5)),
    "moments": lambda x: np.var(x, ddof=1) + np.std(x) + np.mean(x) + np.linalg.norm(x),
    "prod and sort": lambda x: np.prod(x) + np.sort(x)[0] + np.cumsum(x)[1] + np.max(x) + np.prod(x[:0]),
    "logs": lambda x: np.sum(np.log2(x) + np.log10(x) + np.logaddexp(x, 0) + np.exp2(x) + np.cbrt(x)),
    "special": lambda x: np.sum(special.erf(x) + special.expit(x) + special.log_ndtr(x) + special.xlogy(x, x)),
    "linalg": lambda x: (
        np.linalg.slogdet(np.eye(3, dtype=np.float32) + np.outer(x, x))[1]
        + np.sum(np.linalg.solve(np.eye(3, dtype=np.float32) * 2, x))
        + np.sum(np.linalg.eigvalsh(np.diag(x) + 1))
        + np.sum(np.linalg.cholesky(np.diag(x)))
    ),
    "joins": lambda x: np.sum(np.concatenate([x, x]) ** 2) + np.sum(np.pad(x, 1, constant_values=2) * 1.5),
    "einsum": lambda x: np.einsum("i,j,i->", x, x, x) + np.sum(np.tensordot(x, x, 0)) + np.sum(np.kron(x, x)),
    "primitive": lambda x: np.sum(product(x, x)),
}


@pytest.mark.parametrize("f", LOSSES32.values(), ids=LOSSES32)
def test_float32_stays_float32_everywhere(f):
    x, v = x3.astype(np.float32), v3.astype(np.float32)
    y, dy = sr.jvp(f, x, v)
    assert y.dtype == dy.dtype == f(x).dtype == np.float32
    value, gradient = sr.value_and_grad(f)(x)
    assert value.dtype == gradient.dtype == np.float32
    for result in (
        sr.hvp(f, x, v),
        sr.hvp(f, x, v3),
        sr.hessian(f)(x),
        sr.hessian_diag(f)(x),
        sr.grad(lambda x: np.sum(sr.grad(f)(x)))(x),
    ):
        assert result.dtype == np.float32
    np.testing.assert_allclose(gradient, sr.grad(f)(x.astype(float)), rtol=1e-5)
    np.testing.assert_allclose(sr.hvp(f, x, v), sr.hvp(f, x.astype(float), v.astype(float)), rtol=2e-4, atol=1e-4)


def test_every_step_backward_is_in_the_dtype_of_its_own_variable():
    seen = []

    def backward(saved, y_bar):
        seen.append(y_bar.dtype)
        return (y_bar,)

    identity = sr.primitive(lambda x: (x.copy(), None), backward)
    gradient = sr.grad(lambda x: np.sum(identity(x * 2) + np.ones(3)))(x3.astype(np.float32))  # + float64
    assert (seen, gradient.dtype) == ([np.float32], np.float32)


def test_a_float64_constant_makes_value_and_tangent_float64_as_numpy_does_but_not_the_gradient():
    x = x3.astype(np.float32)
    for f in (
        lambda x: x + np.ones(3),
        lambda x: np.where([True, False, True], x, np.ones(3)),
        lambda x: x * np.float64(2),
    ):
        y, dy = sr.jvp(f, x, x)
        assert y.dtype == dy.dtype == np.float64
        assert sr.grad(lambda x, f=f: np.sum(f(x)))(x).dtype == np.float32


def test_v_and_y_bar_are_taken_in_the_dtype_of_what_they_belong_to():
    x = x3.astype(np.float32)
    assert sr.jvp(lambda x: x, x, v3)[1].dtype == np.float32
    seen = []
    identity = sr.primitive(lambda x: (x * 1, None), lambda saved, y_bar: seen.append(y_bar.dtype) or (y_bar * v3,))
    _, pullback = sr.vjp(lambda x: identity(identity(x)), x)
    assert pullback(v3).dtype == np.float32
    assert seen == [np.float32, np.float32]  # the first backward gave float64


def test_mixed_dtypes_in_a_dict_stay_as_they_are():
    p = {"a": x3.astype(np.float32), "b": x3}
    gradient = sr.grad(lambda p: np.sum(p["a"] * p["b"]))(p)
    assert (gradient["a"].dtype, gradient["b"].dtype) == (np.float32, np.float64)


# -- writing in place --------------------------------------------------------------------------------------------------


def in_place(x):
    y = x * 1.0
    y += x
    y *= y
    y[1:] = y[:-1] * 2  # overlapping
    y[0] -= np.sin(x[1])
    y[[0, 2]] /= 2.0
    y[x > 5] = 0.0
    y *= y[::-1]  # its own memory, read backward
    y -= 3.0 * y[::-1]
    y += y
    y *= [1.0, 2.0, 3.0]
    y *= 0.5
    y -= 1.0
    z = np.zeros_like(x, shape=(2, 3))
    z += y
    z[1] *= x
    z -= x * x
    return z


def out_of_place(x):
    y = (x + x) * (x + x)
    y = np.concatenate([y[:1], y[:-1] * 2])
    y = y - np.eye(3)[0] * np.sin(x[1])
    y = y / np.array([2.0, 1.0, 2.0])
    y = y * y[::-1]
    y = (y - 3.0 * y[::-1]) * np.array([1.0, 2.0, 3.0]) - 1.0
    return np.stack([y, y * x]) - x * x


def with_buffers(x):
    y = np.empty_like(x, shape=(2, 3))
    np.multiply(x, 2.0, out=y[0])
    np.exp(x, out=y[1])
    np.add(y[0], y[1], out=y[0])
    y.T[0] = 7.0  # a constant
    z = np.zeros_like(x)
    np.add.at(z, [0, 0, 2], y[1])
    np.subtract.at(z, [1], x[:1])
    w = np.full_like(x, 3.0)
    w -= z
    rows = y.reshape(6)  # a view
    rows[3] = x[0] * x[2]
    y.ravel()[4:] *= 2
    y.swapaxes(0, 1)[2, 0] **= 2
    u = np.ones_like(x)
    u[...] = w
    u.fill(x[1])
    w @= np.diag(np.array([1.0, 2.0, 3.0]))
    w %= 10.0
    w.sort()
    return np.concatenate([y.ravel(), z, w, u])


def without_buffers(x):
    e = np.exp(x)
    y0, y1 = 2 * x + e, e
    y0 = np.stack([7.0, y0[1], y0[2] ** 2])
    z = np.stack([7.0 + e[1], -x[0], e[2]])
    y1 = np.stack([x[0] * x[2], 2 * e[1], 2 * e[2]])
    w = np.sort(((3 - z) * np.array([1.0, 2.0, 3.0])) % 10.0)
    return np.concatenate([y0, y1, z, w, np.stack([x[1]] * 3)])


@pytest.mark.parametrize(("written", "pure"), [(in_place, out_of_place), (with_buffers, without_buffers)])
def test_writing_into_a_dual_is_exact(written, pure):
    np.testing.assert_allclose(written(x3), pure(x3), rtol=1e-14)
    for got, expected in zip(sr.jvp(written, x3, v3), sr.jvp(pure, x3, v3), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)
    second = sr.jvp(lambda x: sr.jvp(written, x, v3)[1], x3, v3)[1]
    np.testing.assert_allclose(second, sr.jvp(lambda x: sr.jvp(pure, x, v3)[1], x3, v3)[1], rtol=1e-13)


@pytest.mark.parametrize("make", [
    lambda a, b: a.T * b, lambda a, b: b + a.T, lambda a, b: b.T.copy("F").T * a.T, lambda a, b: a.T + b * b.mean(0),
    lambda a, b: np.stack([a.T, b], 1)[:, 0] * b, lambda a, b: np.maximum(b, a.T), lambda a, b: np.where(b > 0, a.T, b),
    lambda a, b: a.T @ b + a.T, lambda a, b: np.asfortranarray(np.ones((3, 3))) * b, lambda a, b: np.exp(a.T) - b[:1],
    lambda a, b: a.T * 1.0, lambda a, b: b + a.T[None], lambda a, b: (a.T[:, None] * b[:, None])[:, 0],
    lambda a, b: a[:, ::-1].T.copy() + b[:1, :1], lambda a, b: np.einsum("ij->ji", a) * 1,
])  # fmt: skip
def test_a_view_of_a_dual_is_a_view_of_its_tangent_whatever_the_memory_layout(make):
    constant = rng.standard_normal((3, 3))

    def written(x, way):
        y = make(*way(x))
        y.ravel()[1:3] = 0.0  # writes into y if this is a view, and into a copy otherwise
        y.reshape(9)[4] *= 3.0
        y.T.reshape(-1)[5] += 1.0
        return y

    x, v = rng.standard_normal((2, 3, 3))
    for way in (lambda x: (x, constant), lambda x: (constant, x), lambda x: (x, x * x)):
        tangent = sr.jvp(lambda x, way=way: written(x, way), x, v)[1]
        steps = [(written(x + h * v, way) - written(x - h * v, way)) / (2 * h) for h in (1e-4, 5e-5)]
        np.testing.assert_allclose(tangent, (4 * steps[1] - steps[0]) / 3, rtol=1e-7, atol=1e-8)


def test_writing_into_a_result_does_not_reach_what_it_came_from():
    def f(x):
        total = x * 0
        results = [x + 1.0, x - 1.0, 1.0 + x, +x, x + np.ones((2, 3)), x.clip(-9, None), np.take(x[None], 0, 0)]
        if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
            results += [np.clip(x, None, None)]
        results += [np.where(True, x, 0.0), x.copy(), x.astype(float), np.sum(x, axis=()), np.pad(x, 0), x.flatten()]
        for y in results:
            y *= 3.0
            total = total + x * y
        return total

    steps = [(f(x3 + h * v3) - f(x3 - h * v3)) / (2 * h) for h in (1e-3, 5e-4)]
    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1], (4 * steps[1] - steps[0]) / 3, rtol=1e-9)


def test_out_returns_the_buffer_itself():
    def f(x):
        buffer = np.empty_like(x)
        assert np.exp(x, out=buffer) is buffer
        assert np.multiply(buffer, 2.0, buffer) is buffer
        return buffer

    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1], 2 * np.exp(x3) * v3)


def test_constants_written_with_out_have_tangent_zero():
    def f(x):
        y = x * 2.0
        np.add(np.ones(3), 1.0, out=y)
        return y * x

    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1], 2 * v3)


def test_writing_at_three_levels_keeps_them_apart():
    def innermost(y, x):  # x belongs to an outer level
        b = y * 1.0
        b[0] = x[0]
        b[1:] *= y[:-1]
        y[2] = y[0] * x[1]
        return b * y

    def pure(y, x):
        b = np.stack([x[0], y[1] * y[0], y[2] * y[1]])
        return b * np.stack([y[0], y[1], y[0] * x[1]])

    def nested(f):
        second = lambda x: sr.jvp(lambda y: f(y, x), x * x, v3)[1]  # noqa: E731
        third = lambda x: sr.jvp(second, x, v3 * v3)[1]  # noqa: E731
        along = lambda a: sr.jvp(lambda x: sr.jvp(lambda y: f(y, x), x, a)[1], x3, v3)[1]  # noqa: E731
        return [sr.jvp(g, x3, v3)[1] for g in (second, third, along)] + [sr.jvp(lambda y: f(y, x3), x3, v3)[1]]

    for got, expected in zip(nested(innermost), nested(pure), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_an_axis_of_length_one_has_no_place_in_memory():
    y = np.lib.stride_tricks.as_strided(np.zeros(3), (3, 1), (8, 1234))
    dy = np.ones((3, 1))
    assert alike(dy, y) is dy  # a copy would cut the tangent off from the array that it is a view of


def test_augmented_assignment_on_numpy_scalars_makes_new_ones_also_on_the_tape():
    def f(x):
        total = x[0]
        first = total
        total += x[1]
        second = total
        total *= 2.0
        third = total
        total -= x[1]
        return total + 10 * first + 100 * second + 1000 * third

    np.testing.assert_array_equal(both(f, x3), [2 + 10 + 100 + 2000, 1 + 100 + 2000, 0])


def test_augmented_assignment_on_an_array_writes_into_it():
    def f(x):
        y = x * 1.0
        alias = y
        y += 1.0
        return np.sum(alias * alias)

    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1], 2 * np.sum((x3 + 1) * v3))
    with pytest.raises(InPlaceError):
        sr.grad(f)(x3)


def set_entry(x):
    x[0] = 1.0


def add_in_place(x):
    x += 1.0


def add_at(x):
    np.add.at(x, [0], 1.0)


def sort_in_place(x):
    x.sort()


def fill_in_place(x):
    x.fill(0.0)


def masked(x):
    x[x > 1] = 0.0


def write_out(x):
    np.exp(x, out=x)


def matmul_out(x):
    np.matmul(np.eye(3), x, out=x)


WRITERS = [set_entry, add_in_place, add_at, sort_in_place, fill_in_place, masked, write_out, matmul_out]


@pytest.mark.parametrize("write", WRITERS)
def test_writing_into_a_var_is_refused_by_name_and_a_dual_takes_it(write):
    def f(x):
        y = x * 1.0
        write(y)
        return np.sum(y * y)

    with pytest.raises(InPlaceError, match="Var"):
        sr.grad(f)(x3)
    steps = [(f(x3 + h * v3) - f(x3 - h * v3)) / (2 * h) for h in (1e-4, 5e-5)]
    assert sr.jvp(f, x3, v3)[1] == pytest.approx((4 * steps[1] - steps[0]) / 3, rel=1e-9)


def test_writing_into_its_argument_does_not_reach_the_callers_arrays():
    def f(x):
        x *= 2.0
        return np.sum(x)

    x, v = x3.copy(), v3.copy()
    assert sr.jvp(f, x, v)[1] == pytest.approx(2 * np.sum(v3))
    np.testing.assert_array_equal(x, x3)
    np.testing.assert_array_equal(v, v3)


def test_copies_carry_their_derivative():
    for duplicate in (copy.copy, copy.deepcopy, np.copy, lambda x: x.copy()):
        np.testing.assert_array_equal(both(lambda x, d=duplicate: np.sum(d(x) ** 2), x3), 2 * x3)

    def independent(x):
        y = copy.copy(x)
        y += 1.0
        return np.sum(x * y)

    assert sr.jvp(independent, x3, v3)[1] == pytest.approx(np.sum((2 * x3 + 1) * v3))


def test_buffers_like_a_var_are_plain_arrays():
    def f(x):
        for buffer in (
            np.zeros_like(x),
            np.ones_like(x),
            np.empty_like(x, shape=(2, 2)),
            np.full_like(x, 2, dtype=int),
        ):
            assert type(buffer) is np.ndarray
        assert np.full_like(x, 2, dtype=int).dtype == int
        return np.sum(np.full_like(x, x[0]) * np.ones_like(x))

    np.testing.assert_array_equal(sr.grad(f)(x3), [3.0, 0.0, 0.0])
    single = sr.jvp(lambda x: np.full_like(x.astype(np.float32), x[0]), x3, v3)
    assert single[0].dtype == single[1].dtype == np.float32
    integers = []
    sr.jvp(lambda x: integers.append(np.zeros_like(x, dtype=int)) or np.sum(x), x3, v3)
    assert type(integers[0]) is np.ndarray
    kinds = []
    sr.jvp(lambda x: kinds.append(np.empty_like(x, shape=(2, 2))) or np.sum(x), x3, v3)
    assert isinstance(kinds[0], Dual)
    np.testing.assert_array_equal(kinds[0].tangent, np.zeros((2, 2)))


# -- memory ------------------------------------------------------------------------------------------------------------


class Traceable(np.ndarray):
    """An array that can be watched."""


@pytest.mark.parametrize("differentiate", [
    lambda f, x: sr.grad(f)(x), lambda f, x: sr.value_and_grad(f)(x), lambda f, x: sr.vjp(f, x)[0],
    lambda f, x: sr.jvp(f, x, x), lambda f, x: sr.hvp(f, x, x), lambda f, x: sr.hessian(f)(x),
    lambda f, x: sr.grad(lambda x: np.sum(sr.grad(f)(x)))(x),
])  # fmt: skip
def test_nothing_is_left_in_memory_without_the_garbage_collector(differentiate):
    watched = []

    def forward(x):
        inside = np.empty(4).view(Traceable)
        watched.append(weakref.ref(inside))
        return x * 1.0, inside

    probe = sr.primitive(forward, lambda saved, y_bar: (y_bar * 1.0,))
    layout = sr.Layout({"a": (2,), "b": ()})

    def f(x):
        parts = layout.unpack(probe(x))
        return np.sum(np.sin(parts["a"]) ** 2) * parts["b"] + np.sum(x[[0, 1]] @ np.ones((2, 2)))

    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        differentiate(f, x3)
        assert watched
        assert all(reference() is None for reference in watched)
    finally:
        if enabled:
            gc.enable()


def test_the_tape_lives_as_long_as_its_pullback():
    watched = []

    def forward(x):
        inside = np.empty(4).view(Traceable)
        watched.append(weakref.ref(inside))
        return x * 1.0, inside

    _, pullback = sr.vjp(sr.primitive(forward, lambda saved, y_bar: (y_bar * 1.0,)), x3)
    assert watched[0]() is not None
    del pullback, _
    assert watched[0]() is None


@pytest.mark.parametrize("make", [np.ones_like, np.zeros_like, lambda x: np.full_like(x, 2.0)])
def test_buffers_that_are_overwritten_later_change_no_hessian_vector_product(make):
    def loss(x):
        c = make(x)
        y = x * x * c
        c[0] = 5.0  # x = 0.3, -1.2, 2: d2/dx2 of x^2 c_before c_after
        return np.sum(y * c)

    x, v = np.array([0.3, -1.2, 2.0]), np.array([1.0, 2.0, -1.0])
    before = float(make(np.ones(1))[0])
    np.testing.assert_allclose(sr.hvp(loss, x, v), 2 * before * np.array([5.0, before, before]) * v, rtol=1e-15)
    np.testing.assert_allclose(sr.jvp(sr.grad(loss), x, v)[0], sr.grad(loss)(x), rtol=1e-15)


def filled(x):
    n = np.empty_like(x)
    n.fill(1.0)
    n[...] = 2.0 * n
    return n


def filled_through_a_view(x):
    n = np.zeros_like(x, shape=(2, 3))
    n.T[:, 0] += 2.0
    n *= 1.0
    return n[0].copy()


CONSTANTS = {
    "full_like": lambda x: np.full_like(x, 2.0),
    "zeros_like + 2": lambda x: np.zeros_like(x) + 2.0,
    "ones_like + ones_like": lambda x: np.ones_like(x) + np.ones_like(x),
    "an entry": lambda x: np.full_like(x, 2.0)[0],
    "filled": filled,
    "filled through a view": filled_through_a_view,
    "joined": lambda x: np.concatenate([np.full_like(x, 2.0), np.ones_like(x)])[:3],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", CONSTANTS.values(), ids=CONSTANTS)
def test_a_buffer_that_holds_constants_is_a_constant(make):
    x = np.array([-1.5, 0.0, 2.0])
    value, slope = sr.jvp(lambda x: x ** make(x), x, v3)  # as an exponent that varied, it would have slope log -1.5
    np.testing.assert_array_equal(value, x**2)
    np.testing.assert_array_equal(slope, 2 * x * v3)
    np.testing.assert_array_equal(sr.hvp(lambda x: np.sum(x ** make(x)), x, v3), 2 * v3)
    third = sr.jvp(lambda x: sr.jvp(lambda x: sr.jvp(lambda x: x ** (1 + make(x)), x, v3)[1], x, v3)[1], x, v3)[1]
    np.testing.assert_array_equal(third, 6 * v3 * v3 * v3)

    for f in (np.sqrt, np.log1p, np.linalg.norm):  # where infinite slopes would meet the tangent zero
        result, tangent = sr.jvp(lambda x, f=f: x * f(make(x) - 2 * (f is not np.log1p)), x, v3)
        np.testing.assert_array_equal(result, x * f(make(np.ones(3)) - 2 * (f is not np.log1p)))
        np.testing.assert_array_equal(tangent, v3 * f(make(np.ones(3)) - 2 * (f is not np.log1p)))
    value, tangent = sr.jvp(lambda x: np.sum(np.sqrt(make(x) - 2.0)), x, v3)
    assert type(value) is type(tangent) is np.float64
    assert (value, tangent) == (0.0, 0.0)


def write_entry(n, x):
    n[0] = x[1]


def write_through_a_view(n, x):
    n[::-1][-1] = x[1]


def write_through_an_older_view(n, x):
    n[:1] += x[1:2] - n[:1]


def write_by_times(n, x):
    n *= x * 2.0


def write_at(n, x):
    np.add.at(n, [0, 0], x[:2])


def write_out_of(n, x):
    np.exp(x, out=n)


@pytest.mark.parametrize("write", [
    write_entry, write_through_a_view, write_through_an_older_view, write_by_times, write_at, write_out_of,
])  # fmt: skip
@pytest.mark.parametrize("view", [lambda n: n, lambda n: n[:], lambda n: n.reshape(1, 3)[0], lambda n: n[::-1][::-1]])
@pytest.mark.parametrize("way", ["write the buffer, use the view", "write the view, use the buffer"])
def test_a_buffer_that_a_variable_is_written_into_is_none(write, view, way):
    def f(x):
        n = np.full_like(x, 2.0)
        other = view(n)  # before the write
        before = n * 1.0
        written, used = (n, other) if way.startswith("write the buffer") else (other, n)
        write(written, x)
        return x**used + before

    steps = [(f(x3 + h * v3) - f(x3 - h * v3)) / (2 * h) for h in (1e-3, 5e-4)]
    expected = (4 * steps[1] - steps[0]) / 3
    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1], expected, rtol=1e-9)
    inner = sr.jvp(lambda x: sr.jvp(f, x, np.ones(3))[1], x3, v3)[1]
    steps = [(sr.jvp(f, x3 + h * v3, np.ones(3))[1] - sr.jvp(f, x3 - h * v3, np.ones(3))[1]) for h in (1e-3, 5e-4)]
    np.testing.assert_allclose(inner, (8 * steps[1] - steps[0]) / 6e-3, rtol=1e-8, atol=1e-8)


def test_a_constant_made_infinite_has_no_tangent_left_when_a_variable_joins_it():
    def f(x):
        n = np.ones_like(x)
        n *= -np.inf
        n[0] = x[0]
        return np.exp(n)

    np.testing.assert_array_equal(sr.jvp(f, x3, v3)[1], [np.exp(x3[0]) * v3[0], 0, 0])


def test_a_number_of_a_constant_buffer_can_be_added_to_and_a_copy_written_into():
    def f(x):
        n = np.zeros_like(x)
        total = n[0]
        total += x[1]
        fresh = n.copy()
        fresh[1:] = x[1:]
        scalar = np.zeros_like(x, shape=()).copy()
        scalar[...] = x[2]
        return total * fresh * scalar

    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1][0], 0.0)
    steps = [(f(x3 + h * v3) - f(x3 - h * v3)) / (2 * h) for h in (1e-3, 5e-4)]
    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1], (4 * steps[1] - steps[0]) / 3, rtol=1e-9)


def test_a_read_only_argument_is_not_copied_and_another_one_is():
    seen = []

    def loss(x):
        seen.append(x.value)
        return (x * x).sum()

    x = np.arange(3.0)
    sr.grad(loss)(x)
    assert not np.shares_memory(seen[-1], x)
    x.flags.writeable = False
    np.testing.assert_array_equal(sr.grad(loss)(x), 2 * x)
    assert np.shares_memory(seen[-1], x)
    view = np.arange(6.0)[::2]
    view.flags.writeable = False  # its owner can still be written to
    sr.grad(loss)(view)
    assert not np.shares_memory(seen[-1], view)
