"""Derivatives of derivatives, in every order of the two modes, against closed forms."""

import threading

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.autodiff import stop_gradient

rng = np.random.default_rng(0)
x3, v3, w3 = rng.standard_normal((3, 3))


def rosenbrock(t):
    return 100 * (t[1] - t[0] ** 2) ** 2 + (1 - t[0]) ** 2


def rosenbrock_hessian(x, y):
    return np.array([[1200 * x**2 - 400 * y + 2, -400 * x], [-400 * x, 200.0]])


# -- one variable: every way to the second and third derivative --------------------------------------------------------


def forward(f):
    return lambda x: sr.jvp(f, x, 1.0)[1]


def reverse(f):
    return lambda x: sr.vjp(f, x)[1](1.0)


@pytest.mark.parametrize("outer", [forward, reverse, sr.grad])
@pytest.mark.parametrize("middle", [forward, reverse, sr.grad])
@pytest.mark.parametrize("inner", [forward, reverse, sr.grad])
def test_third_derivatives_in_every_order_of_modes(outer, middle, inner):
    x = 0.7
    third = outer(middle(inner(lambda x: np.exp(2 * x) * np.sin(x))))
    # (e^2x sin x)''' = e^2x Im((2 + i)^3 e^ix), and (2 + i)^3 = 2 + 11 i
    assert third(x) == pytest.approx(np.exp(2 * x) * (2 * np.sin(x) + 11 * np.cos(x)), rel=1e-13)


@pytest.mark.parametrize("mode", [forward, sr.grad])
def test_fifth_derivative_of_a_power(mode):
    f = lambda x: x**7  # noqa: E731
    for _ in range(5):
        f = mode(f)
    assert f(1.5) == pytest.approx(7 * 6 * 5 * 4 * 3 * 1.5**2, rel=1e-13)


def test_gradient_of_a_gradients_norm():
    A = rng.standard_normal((3, 3))
    A = A + A.T
    outer = sr.grad(lambda x: np.sum(sr.grad(lambda y: 0.5 * y @ A @ y)(x) ** 2))
    np.testing.assert_allclose(outer(x3), 2 * A @ A @ x3, rtol=1e-13)


# -- perturbation confusion: which variable does a derivative belong to? -----------------------------------------------


@pytest.mark.parametrize("outer", [forward, sr.grad])
@pytest.mark.parametrize("inner", [forward, sr.grad])
def test_the_inner_variable_is_not_mistaken_for_the_outer_one(outer, inner):
    # d/dx x (d/dy (x + y) at y = 1) = d/dx x = 1, not 2
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0) == 1.0
    # d/dx x (d/dy x y) = d/dx x^2
    assert outer(lambda x: x * inner(lambda y: x * y)(2.0))(3.0) == 6.0
    # the inner derivative at the outer variable: d/dx (d/dy x y^2 at y = x) = d/dx 2 x^2
    assert outer(lambda x: inner(lambda y: x * y**2)(x))(3.0) == 12.0
    # functions of the outer variable alone have inner derivative 0
    assert outer(lambda x: inner(lambda y: x)(1.0) + 5 * x)(3.0) == 5.0
    assert outer(lambda x: x * inner(lambda y: x)(1.0))(3.0) == 0.0
    assert outer(lambda x: x * inner(lambda y: x * 2.0)(1.0))(3.0) == 0.0
    # a constant of the inner function
    assert outer(lambda x: inner(lambda y: x * x)(1.0) + x)(3.0) == 1.0


@pytest.mark.parametrize("outer", [forward, sr.grad])
@pytest.mark.parametrize("inner", [forward, sr.grad])
def test_a_shadowed_variable_of_three_levels(outer, inner):
    # d/dx d/dy d/dz (x y z) z at z = y, y = x:  d/dz = 2 x y z -> 2 x y^2;  d/dy -> 4 x y -> 4 x^2;  d/dx -> 8 x
    f = outer(lambda x: inner(lambda y: inner(lambda z: x * y * z * z)(1.0) * y)(x))
    # = outer(x -> d/dy 2 x y^2 at y = x) = outer(4 x^2) = 8 x
    assert f(1.5) == pytest.approx(12.0)


def test_a_tangent_that_depends_on_the_outer_variable():
    # d/dx of the derivative of y^3 at y = 2 in direction x: 12 x
    assert sr.grad(lambda x: sr.jvp(lambda y: y**3, 2.0, x)[1])(5.0) == 12.0
    assert sr.jvp(lambda x: sr.jvp(lambda y: y**3, 2.0, x)[1], 5.0, 1.0)[1] == 12.0
    # and of a cotangent that does
    assert sr.grad(lambda x: sr.vjp(lambda y: y**3, 2.0)[1](x))(5.0) == 12.0


# -- Hessians ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", [(-1.2, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_hessian_of_rosenbrock(point):
    t = np.array(point)
    H = rosenbrock_hessian(*point)
    np.testing.assert_allclose(sr.hessian(rosenbrock)(t), H, rtol=1e-13)
    np.testing.assert_allclose(sr.hessian_diag(rosenbrock)(t), np.diag(H), rtol=1e-13)
    for v in ([1.0, 0.0], [0.3, -2.0]):
        np.testing.assert_allclose(sr.hvp(rosenbrock, t, np.array(v)), H @ v, rtol=1e-12)


def test_hessian_of_a_quadratic_form_is_its_symmetric_part_doubled():
    A = rng.standard_normal((5, 5))
    H = sr.hessian(lambda x: x @ A @ x)(rng.standard_normal(5))
    np.testing.assert_allclose(H, A + A.T, rtol=1e-13)


def test_hvp_is_the_hessian_times_v_for_a_function_with_all_of_numpy_in_it():
    def f(x):
        y = np.tanh(x.reshape(2, 3) @ np.sin(x).reshape(3, 2))
        return np.sum(np.sort(y, axis=0) ** 2) + np.logaddexp.reduce(x) + np.linalg.norm(x[::2]) * np.prod(x[:2])

    x, v = rng.standard_normal((2, 6))
    H = sr.hessian(f)(x)
    np.testing.assert_allclose(H, H.T, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sr.hvp(f, x, v), H @ v, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(sr.hessian_diag(f)(x), np.diag(H), rtol=1e-12, atol=1e-13)
    reverse_over_reverse = sr.grad(lambda x: np.sum(sr.grad(f)(x) * v))(x)
    forward_over_forward = np.stack([sr.jvp(lambda x, e=e: sr.jvp(f, x, e)[1], x, v)[1] for e in np.eye(6)])
    reverse_over_forward = sr.grad(lambda x: sr.jvp(f, x, v)[1])(x)
    for other in (reverse_over_reverse, forward_over_forward, reverse_over_forward):
        np.testing.assert_allclose(other, H @ v, rtol=1e-11, atol=1e-12)


def test_hessian_diag_and_hvp_of_a_matrix_keep_its_shape():
    X = rng.standard_normal((2, 3))
    f = lambda X: np.sum(X**4) / 12  # noqa: E731
    np.testing.assert_allclose(sr.hessian_diag(f)(X), X**2, rtol=1e-13)
    np.testing.assert_allclose(sr.hvp(f, X, X), X**3, rtol=1e-13)


def test_hvp_of_one_gradient_component_is_a_slice_of_the_third_derivative():
    # f = x0 x1 x2 + x0^4: d/dx0 = x1 x2 + 4 x0^3, whose Hessian has 1 at (1, 2) and 24 x0 at (0, 0)
    f = lambda x: x[0] * x[1] * x[2] + x[0] ** 4  # noqa: E731
    expected = np.array([24 * x3[0] * v3[0], v3[2], v3[1]])
    np.testing.assert_allclose(sr.hvp(lambda x: sr.grad(f)(x)[0], x3, v3), expected, rtol=1e-13)


def test_hessian_of_a_directional_derivative():
    # grad f . v for f = sum x^4 / 4 is x^3 . v, with Hessian diag(6 x v)
    f = lambda x: np.sum(x**4) / 4  # noqa: E731
    np.testing.assert_allclose(
        sr.hessian(lambda x: sr.jvp(f, x, v3)[1])(x3), np.diag(6 * x3 * v3), rtol=1e-13, atol=1e-15
    )


def test_gradient_of_a_hessian_vector_product():
    # v . H v for f = sum x^4 / 12 is sum x^2 v^2
    f = lambda x: np.sum(x**4) / 12  # noqa: E731
    np.testing.assert_allclose(sr.grad(lambda x: np.sum(sr.hvp(f, x, v3) * v3))(x3), 2 * x3 * v3**2, rtol=1e-13)
    np.testing.assert_allclose(sr.grad(lambda x: np.trace(sr.hessian(f)(x)))(x3), 2 * x3, rtol=1e-13)
    np.testing.assert_allclose(sr.grad(lambda x: np.sum(sr.hessian_diag(f)(x)))(x3), 2 * x3, rtol=1e-13)


def test_jvp_of_jvp_and_vjp_of_vjp_of_a_map():
    # f(x) = sin(M x): second directional derivative -sin(Mx) (Mv) (Mw)
    M = rng.standard_normal((2, 3))
    f = lambda x: np.sin(M @ x)  # noqa: E731
    second = -np.sin(M @ x3) * (M @ v3) * (M @ w3)
    np.testing.assert_allclose(sr.jvp(lambda x: sr.jvp(f, x, v3)[1], x3, w3)[1], second, rtol=1e-12)
    u = rng.standard_normal(2)
    pulled = sr.vjp(lambda x: sr.vjp(f, x)[1](u), x3)[1](v3)  # (d/dx u . J v)
    np.testing.assert_allclose(pulled, -(u * np.sin(M @ x3) * (M @ v3)) @ M, rtol=1e-12)


def test_the_pullback_is_linear_in_its_cotangent_and_differentiable_in_it():
    f = lambda x: np.exp(x)  # noqa: E731
    np.testing.assert_allclose(sr.grad(lambda u: np.sum(sr.vjp(f, x3)[1](u) ** 2))(v3), 2 * v3 * np.exp(2 * x3))


# -- arguments: position, dicts, closures ------------------------------------------------------------------------------


def test_argnum_chooses_the_argument():
    f = lambda a, b, c: a * np.sum(b**2) - c  # noqa: E731
    assert sr.grad(f)(2.0, x3, 1.0) == pytest.approx(np.sum(x3**2))
    np.testing.assert_allclose(sr.grad(f, 1)(2.0, x3, 1.0), 4 * x3)
    value, gradient = sr.value_and_grad(f, argnum=2)(2.0, x3, 1.0)
    assert (value, gradient) == (pytest.approx(2 * np.sum(x3**2) - 1), -1.0)


def test_value_and_grad_of_every_kind_of_x():
    value, gradient = sr.value_and_grad(lambda x: x * x)(3.0)
    assert (value, gradient) == (9.0, 6.0)
    assert isinstance(gradient, np.float64)
    value, gradient = sr.value_and_grad(lambda x: np.sum(x * x))(np.array(3.0))
    assert (value, gradient) == (9.0, 6.0)
    value, gradient = sr.value_and_grad(lambda x: np.sum(x * x))(np.full((1, 2), 3.0))
    assert value == 18.0
    np.testing.assert_array_equal(gradient, [[6.0, 6.0]])


X = {"W": rng.standard_normal((2, 3)), "b": rng.standard_normal(2), "s": np.float64(1.5)}
V = {"W": rng.standard_normal((2, 3)), "b": rng.standard_normal(2), "s": np.float64(-0.5)}


def of_dict(p):
    return p["s"] * np.sum((p["W"] @ x3 + p["b"]) ** 2)


def test_a_dict_of_arrays_has_a_dict_of_gradients():
    residual = X["W"] @ x3 + X["b"]
    gradient = sr.grad(of_dict)(X)
    assert list(gradient) == ["W", "b", "s"]
    np.testing.assert_allclose(gradient["W"], 2 * X["s"] * np.outer(residual, x3), rtol=1e-13)
    np.testing.assert_allclose(gradient["b"], 2 * X["s"] * residual, rtol=1e-13)
    np.testing.assert_allclose(gradient["s"], residual @ residual, rtol=1e-13)
    y, pullback = sr.vjp(of_dict, X)
    assert y == pytest.approx(X["s"] * residual @ residual)
    np.testing.assert_allclose(pullback(2.0)["b"], 2 * gradient["b"], rtol=1e-13)


def test_dicts_in_forward_mode_and_in_hessian_vector_products_agree_with_one_flat_array():
    layout = sr.Layout({key: np.shape(value) for key, value in X.items()})
    x, v = layout.pack(X), layout.pack(V)
    flat = lambda theta: of_dict(layout.unpack(theta))  # noqa: E731
    assert sr.jvp(of_dict, X, V)[1] == pytest.approx(sr.grad(flat)(x) @ v, rel=1e-13)
    np.testing.assert_allclose(layout.pack(sr.hvp(of_dict, X, V)), sr.hessian(flat)(x) @ v, rtol=1e-12)
    outer = sr.grad(lambda X: np.sum(sr.grad(of_dict)(X)["b"] ** 2))(X)
    expected = sr.grad(lambda x: np.sum(sr.grad(flat)(x)[6:8] ** 2))(x)
    np.testing.assert_allclose(layout.pack(outer), expected, rtol=1e-12)


def test_a_dict_may_hold_dicts():
    def loss(p):
        return of_dict({"W": p["layer"]["W"], "b": p["layer"]["b"], "s": p["s"]})

    def deep(p):
        return {"layer": {"W": p["W"], "b": p["b"]}, "s": p["s"]}

    x, v = deep(X), deep(V)
    value, gradient = sr.value_and_grad(loss)(x)
    assert value == of_dict(X)
    np.testing.assert_equal(gradient, deep(sr.grad(of_dict)(X)))
    np.testing.assert_equal(sr.hvp(loss, x, v), deep(sr.hvp(of_dict, X, V)))
    np.testing.assert_equal(sr.jvp(loss, x, v), sr.jvp(of_dict, X, V))
    np.testing.assert_equal(sr.jvp(lambda p: p, x, v), (x, v))
    with pytest.raises(ValueError, match="hvp: 'layer': v must be like x, a dict of"):
        sr.hvp(loss, x, v | {"layer": V["W"]})
    with pytest.raises(TypeError, match="grad: 'layer': 'b': x must be an ndarray of floats, a float, or a dict of"):
        sr.grad(loss)({"layer": {"W": X["W"], "b": [1.0, 2.0]}, "s": 1.0})


def test_a_function_of_an_array_may_return_a_dict_in_forward_mode():
    y, dy = sr.jvp(lambda x: {"square": x**2, "constant": np.ones(2, np.float32)}, x3, v3)
    np.testing.assert_allclose(dy["square"], 2 * x3 * v3)
    np.testing.assert_array_equal(y["constant"], np.ones(2))
    np.testing.assert_array_equal(dy["constant"], np.zeros(2, np.float32), strict=True)


def test_closures_over_outer_variables_at_several_levels():
    # g(a) = d/db (a b)^3 at b = 2 = 3 a^3 b^2 -> 12 a^3; g' = 36 a^2
    g = lambda a: sr.grad(lambda b: (a * b) ** 3)(2.0)  # noqa: E731
    assert sr.grad(g)(3.0) == pytest.approx(36 * 9)
    # an optimizer's inner step inside an outer loss: x - 0.1 grad, differentiated through
    inner = lambda x, c: np.sum((x - c) ** 2)  # noqa: E731
    outer = sr.grad(lambda c: np.sum((x3 - 0.1 * sr.grad(inner)(x3, c)) ** 2))
    np.testing.assert_allclose(outer(v3), 2 * (x3 - 0.2 * (x3 - v3)) * 0.2, rtol=1e-13)


def test_branches_and_loops_on_values():
    def f(x):  # the square root by Newton's iteration, with a stopping rule
        y = x
        while abs(y * y - x) > 1e-14:
            y = 0.5 * (y + x / y)
        return y if y > 0 else -y

    assert sr.grad(f)(2.0) == pytest.approx(0.5 / np.sqrt(2), rel=1e-12)
    assert sr.grad(sr.grad(f))(2.0) == pytest.approx(-0.25 * 2**-1.5, rel=1e-11)
    assert sr.jvp(f, 2.0, 1.0)[1] == pytest.approx(0.5 / np.sqrt(2), rel=1e-12)


def test_threads_differentiate_at_the_same_time():
    def f(x, k):
        for _ in range(20):
            x = np.sin(x) * k + sr.grad(lambda y: np.sum(y**2 * k))(x) * 0.1
        return np.sum(x)

    points = [np.linspace(0, 1, 5) + k for k in range(4)]
    expected = [sr.grad(f)(x, 0.5 + k) for k, x in enumerate(points)]
    results, barrier = [[] for _ in points], threading.Barrier(len(points))

    def work(k):
        barrier.wait()
        results[k].extend(sr.grad(f)(points[k], 0.5 + k) for _ in range(10))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(points))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, repeats in enumerate(results):
        assert len(repeats) == 10
        for result in repeats:
            np.testing.assert_array_equal(result, expected[k])


# -- constants ---------------------------------------------------------------------------------------------------------


def test_what_is_stopped_is_constant_at_every_level_and_in_both_modes():
    def f(x):  # as if it were c x^2 with c = x^3
        return np.sum(stop_gradient(x**3) * x**2)

    x = np.array([0.5, 2.0])
    np.testing.assert_allclose(sr.grad(f)(x), 2 * x**4)
    np.testing.assert_allclose(sr.hessian(f)(x), np.diag(2 * x**3))
    assert sr.jvp(f, x, x)[1] == pytest.approx(np.sum(2 * x**5))


def test_a_label_made_of_a_prediction_and_noise_is_held_constant():
    noise = np.array([1.0, -2.0])
    g = sr.grad(lambda z: np.sum((z - stop_gradient(z + noise)) ** 2) / 2)(np.array([5.0, 7.0]))
    np.testing.assert_array_equal(g, -noise)  # and zero if the label moved with the prediction


@pytest.mark.parametrize("box", [
    lambda y: {"a": y}, lambda y: {"a": {"b": y}}, lambda y: [y], lambda y: (y, [y]), lambda y: {"a": [y]},
    lambda y: [{"a": y}],
])  # fmt: skip
def test_what_is_in_a_dict_or_list_is_stopped_too(box):
    def unbox(y):
        while type(y) is not np.ndarray:
            y = list(y.values() if type(y) is dict else y)[-1]
        return y

    def loss(x):
        stopped = stop_gradient(box(x * 3))
        assert type(stopped) is type(box(x))
        with pytest.raises(ValueError, match="read-only"):
            unbox(stopped)[0] = 1.0
        return np.sum(unbox(stopped) * x)

    np.testing.assert_array_equal(sr.grad(loss)(x3), 3 * x3)
    np.testing.assert_array_equal(sr.hvp(loss, x3, v3), np.zeros(3))


def test_what_is_stopped_is_plain_and_cannot_be_written_into():
    seen = []
    for x in (np.ones(2, np.float32), np.float32(1.0)):
        sr.vjp(lambda x: seen.append(stop_gradient(x)) or x, x)
        sr.jvp(lambda x: seen.append(stop_gradient(x)) or x, x, x)
        seen.append(stop_gradient(x))
    assert [type(y) for y in seen] == [np.ndarray] * 3 + [np.float32] * 3
    for y in seen[:3]:
        assert y.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            y += 1
    assert stop_gradient(2.0) == 2.0
