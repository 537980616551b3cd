"""Hand-written pairs of forward and backward: every derivative out of one pair, and every mistake named."""

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.autodiff import InPlaceError

rng = np.random.default_rng(3)
x3, v3 = rng.standard_normal((2, 3))


def cube_forward(x):
    return x * x * x, x


def cube_backward(x, y_bar):
    return (3 * x * x * y_bar,)


def cube_in_place_forward(x):
    y = x.copy()
    y *= x
    y *= x
    return y, x


def cube_in_place_backward(x, y_bar):
    x_bar = np.empty_like(x)
    np.multiply(x, x, out=x_bar)
    x_bar *= 3.0
    x_bar *= y_bar
    return (x_bar,)


cube = sr.primitive(cube_forward, cube_backward)
cube_in_place = sr.primitive(cube_in_place_forward, cube_in_place_backward)


@pytest.mark.parametrize("f", [cube, cube_in_place])
def test_one_pair_gives_value_gradient_tangent_and_hessian(f):
    np.testing.assert_allclose(f(x3), x3**3)
    np.testing.assert_allclose(sr.vjp(f, x3)[1](v3), 3 * x3**2 * v3)
    np.testing.assert_allclose(sr.jvp(f, x3, v3)[1], 3 * x3**2 * v3)
    np.testing.assert_allclose(sr.hvp(lambda x: np.sum(f(x)), x3, v3), 6 * x3 * v3)
    np.testing.assert_allclose(sr.hessian(lambda x: np.sum(f(x)))(x3), np.diag(6 * x3), atol=1e-15)
    sr.check_grads(f, x3)


@pytest.mark.parametrize("f", [cube, cube_in_place])
def test_third_order_forward_over_forward_over_reverse(f):
    third = sr.jvp(lambda x: sr.hvp(lambda x: np.sum(f(x) * x), x, v3), x3, v3)[1]  # sum x^4
    np.testing.assert_allclose(third, 24 * x3 * v3 * v3)
    fourth = sr.jvp(lambda x: sr.jvp(lambda x: sr.hvp(lambda x: np.sum(f(x) * x), x, v3), x, v3)[1], x3, v3)[1]
    np.testing.assert_allclose(fourth, 24 * v3**3)


def test_reverse_over_reverse_works_through_a_pure_backward():
    np.testing.assert_allclose(sr.grad(lambda x: np.sum(sr.grad(lambda x: np.sum(cube(x)))(x) * v3))(x3), 6 * x3 * v3)


def test_reverse_over_reverse_through_an_in_place_backward_says_that_it_cannot():
    with pytest.raises(InPlaceError, match=r"cannot be taped itself \(reverse over reverse\); hvp.* works"):
        sr.grad(lambda x: np.sum(sr.grad(lambda x: np.sum(cube_in_place(x)))(x)))(x3)


def test_the_backward_defines_the_gradient_and_the_forward_the_tangent():
    straight_through = sr.primitive(lambda x: (x * 0 + np.round(x), None), lambda saved, y_bar: (y_bar,))
    np.testing.assert_array_equal(sr.grad(lambda x: np.sum(straight_through(x)))(x3), np.ones(3))
    np.testing.assert_array_equal(sr.jvp(straight_through, x3, v3)[1], np.zeros(3))


# -- several arguments and results -------------------------------------------------------------------------------------


def polar_forward(x, y):
    r = np.sqrt(x * x + y * y)
    return (r, np.arctan2(y, x)), (x, y, r)


def polar_backward(saved, y_bar):
    x, y, r = saved
    r_bar, angle_bar = (np.zeros_like(x) if bar is None else bar for bar in y_bar)
    return r_bar * x / r - angle_bar * y / r**2, r_bar * y / r + angle_bar * x / r**2


polar = sr.primitive(polar_forward, polar_backward)


def test_two_arguments_and_a_tuple_of_results():
    for f in (
        lambda p: polar(p[0], p[1])[0] * polar(p[0], p[1])[1],
        lambda p: polar(p[0], 2.0)[0] + polar(np.float64(3.0), p[1])[1],
        lambda p: np.prod(np.stack(polar(p[0], p[0] * p[1]))),
    ):
        sr.check_grads(f, np.array([0.7, 1.3]))


@pytest.mark.parametrize(("used", "expected"), [(0, (True, False)), (1, (False, True))])
def test_a_result_that_is_not_used_has_cotangent_none(used, expected):
    seen = []

    def backward(saved, y_bar):
        seen.append(tuple(bar is not None for bar in y_bar))
        return polar_backward(saved, y_bar)

    sr.grad(lambda p: sr.primitive(polar_forward, backward)(p[0], p[1])[used])(np.array([0.7, 1.3]))
    assert seen == [expected]


def test_the_backward_is_not_called_where_no_result_is_used():
    def backward(saved, y_bar):
        raise AssertionError("called")

    def f(p):
        sr.primitive(polar_forward, backward)(p[0], p[1])
        return p[0] * 2

    np.testing.assert_array_equal(sr.grad(f)(np.array([0.7, 1.3])), [2.0, 0.0])


def test_a_tuple_of_one_result_stays_a_tuple():
    seen = []

    def backward(saved, y_bar):
        seen.append(y_bar)
        return y_bar

    single = sr.primitive(lambda x: ((x * 1.0,), None), backward)
    np.testing.assert_array_equal(sr.grad(lambda x: np.sum(single(x)[0]))(x3), np.ones(3))
    assert isinstance(seen[0], tuple)
    assert isinstance(single(x3), tuple)


def embed_forward(table, tokens):
    return table[tokens], (table, tokens)


def embed_backward(saved, y_bar):
    table, tokens = saved
    table_bar = np.zeros_like(table)
    np.add.at(table_bar, tokens, y_bar)
    return table_bar, None


embed = sr.primitive(embed_forward, embed_backward)


def test_integer_arguments_have_cotangent_none():
    tokens = np.array([[0, 2], [2, 1]])
    sr.check_grads(lambda table: np.sin(embed(table, tokens)), rng.standard_normal((4, 2)))
    table, v = rng.standard_normal((2, 4, 2))
    H_v = sr.hvp(lambda table: np.sum(embed(table, tokens) ** 3), table, v)
    np.testing.assert_allclose(H_v, 6 * table * v * np.array([1, 1, 2, 0])[:, None])


def test_arguments_without_derivative_of_any_kind():
    def forward(x, power, settings, nothing):
        return x**power * settings["scale"], (x, power, settings)

    def backward(saved, y_bar):
        x, power, settings = saved
        return y_bar * power * x ** (power - 1) * settings["scale"], None, None, None

    sr.check_grads(lambda x: sr.primitive(forward, backward)(x, 3, {"scale": 2.0}, None), x3)


def test_the_same_variable_twice():
    product = sr.primitive(lambda a, b: (a * b, (a, b)), lambda saved, y_bar: (y_bar * saved[1], y_bar * saved[0]))
    sr.check_grads(lambda x: product(x, x) + product(x, x * x), x3)


def test_python_numbers_from_forward_and_backward_become_numpys():
    half = sr.primitive(lambda x: (float(x) / 2 if isinstance(x, np.generic) else x / 2, None), lambda _, y_bar: (0.5,))
    assert sr.grad(lambda x: half(x) * 3 - half(x) * 2)(4.0) == 1.0  # y_bar is ignored by this backward
    y, pullback = sr.vjp(half, np.float32(3.0))
    assert (y, pullback(1.0)) == (1.5, 0.5)
    assert pullback(1.0).dtype == np.float32


def test_a_name_a_docstring_and_plain_use_are_kept():
    def forward(x):
        """Doubles."""
        return 2 * x, None

    double = sr.primitive(forward, lambda saved, y_bar: (2 * y_bar,))
    assert (double.__name__, double.__doc__) == ("forward", "Doubles.")
    assert double(3) == 6


# -- mistakes ----------------------------------------------------------------------------------------------------------


def twice(x, c):
    return x * c, (x, c)


WRONG_BACKWARDS = {
    "must return a tuple of 2 cotangents, one per argument; got ndarray": lambda saved, y_bar: y_bar,
    "must return a tuple of 2 cotangents, one per argument; got list": lambda saved, y_bar: [y_bar, None],
    "must return a tuple of 2 cotangents, one per argument; got NoneType": lambda saved, y_bar: None,
    "must return a tuple of 2 cotangents, one per argument; got 1 of them": lambda saved, y_bar: (y_bar,),
    "must return a tuple of 2 cotangents, one per argument; got 3 of them": lambda saved, y_bar: (y_bar,) * 3,
    r"must return a cotangent of shape \(3,\) for argument 0; got .*, dtype complex128": lambda s, g: (1j * g, None),
    r"must return a cotangent of shape \(3,\) for argument 0; got .*, dtype <U": lambda s, g: (g.astype(str), None),
    r"must return a cotangent of shape \(3,\) for argument 0; got None": lambda saved, y_bar: (None, None),
    r"must return a cotangent of shape \(3,\) for argument 0; got shape \(1,\)": lambda s, y_bar: (y_bar[:1], None),
    r"must return a cotangent of shape \(3,\) for argument 0; got shape \(\)": lambda s, y_bar: (np.sum(y_bar), None),
}


@pytest.mark.parametrize("message", WRONG_BACKWARDS)
def test_a_wrong_backward_is_named(message):
    wrong = sr.primitive(twice, WRONG_BACKWARDS[message])
    with pytest.raises((TypeError, ValueError), match=f"the backward of twice {message}"):
        sr.grad(lambda x: np.sum(wrong(x, 2.0)))(x3)


def test_none_for_a_scalar_argument_is_named_too():
    with pytest.raises(ValueError, match=r"must return a cotangent of shape \(\) for argument 0; got None"):
        sr.grad(sr.primitive(twice, lambda saved, y_bar: (None, None)), 0)(1.0, 2.0)


@pytest.mark.parametrize("result", [None, 3.0, (1.0,), (1.0, 2.0, 3.0), [1.0, 2.0]])
def test_a_forward_that_returns_no_pair_is_named(result):
    def forward(x):
        return result

    wrong = sr.primitive(forward, lambda saved, y_bar: (y_bar,))
    for use in (wrong, sr.grad(wrong), lambda x: sr.jvp(wrong, x, x)):
        with pytest.raises(TypeError, match=r"the forward of forward must return a pair \(y, saved\), got"):
            use(x3)


@pytest.mark.parametrize("y", [None, "text", np.array([1j]), {"a": 1.0}])
def test_a_forward_that_returns_no_real_array_is_named(y):
    wrong = sr.primitive(lambda x: (y, None), lambda saved, y_bar: (y_bar,))
    with pytest.raises(TypeError, match="the forward of <lambda> must return real arrays, got"):
        sr.grad(wrong)(x3)


def test_a_variable_that_comes_in_by_another_way_than_the_arguments_is_refused():
    def loss(x):
        def forward(z):
            return z * x, z  # x through the closure

        return np.sum(sr.primitive(forward, lambda z, y_bar: (y_bar,))(x * 2))

    with pytest.raises(TypeError, match="the forward of forward uses a variable that is not among its arguments"):
        sr.grad(loss)(x3)

    inside_a_list = sr.primitive(lambda z, others: (z * others[0], z), lambda z, y_bar: (y_bar, None))
    with pytest.raises(TypeError, match="Make it an argument of its own"):
        sr.grad(lambda x: np.sum(inside_a_list(x, [x])))(x3)


def test_a_variable_of_an_outer_derivative_may_come_through_the_closure():
    def outer(x):
        scale = sr.primitive(lambda z: (z * x, None), lambda saved, y_bar: (y_bar * x,))
        return np.sum(sr.grad(lambda z: np.sum(scale(z) ** 2))(v3))  # sum 2 z x^2

    np.testing.assert_allclose(sr.grad(outer)(x3), 4 * v3 * x3)
    np.testing.assert_allclose(sr.jvp(outer, x3, v3)[1], np.sum(4 * v3 * x3 * v3))


def test_keyword_arguments_are_refused_by_python():
    with pytest.raises(TypeError, match="unexpected keyword"):
        cube(x=x3)


def overwrite_argument(x):
    x *= 2.0
    return x, x


def overwrite_cotangent(x, y_bar):
    y_bar *= 2.0
    return (y_bar,)


ADVICE = "writes into an array that is read-only, as its arguments and y_bar are: write into a copy of it"


@pytest.mark.parametrize("differentiate", [lambda f: sr.grad(f)(x3), lambda f: sr.hvp(f, x3, x3)], ids=["grad", "hvp"])
def test_overwriting_the_argument_or_the_cotangent_is_refused_by_name(differentiate):
    for half, *pair in (
        ("the forward of overwrite_argument", overwrite_argument, cube_backward),
        ("the backward of cube_forward", cube_forward, overwrite_cotangent),
    ):
        with pytest.raises(ValueError, match=f"{half} {ADVICE}") as caught:
            differentiate(lambda x, pair=pair: np.sum(sr.primitive(*pair)(x) * x))
        assert "output array is read-only" in str(caught.value.__cause__)

    def overwrite_first(saved, y_bar):
        y_bar[0][...] = 0.0
        return (y_bar[0],)

    several = sr.primitive(lambda x: ((x * 1.0, x * 2.0), None), overwrite_first)
    with pytest.raises(ValueError, match=f"the backward of <lambda> {ADVICE}"):
        differentiate(lambda x: np.sum(several(x)[0] * x))


def test_other_errors_of_the_two_halves_stay_as_they_are():
    def fail(*args):
        raise ValueError("of its own")

    for pair in ((fail, cube_backward), (cube_forward, fail)):
        with pytest.raises(ValueError, match=r"^of its own$"):
            sr.grad(lambda x, pair=pair: np.sum(sr.primitive(*pair)(x)))(x3)


@pytest.mark.parametrize(("forward", "backward"), [(3.0, cube_backward), (cube_forward, None)])
def test_both_halves_must_be_functions(forward, backward):
    with pytest.raises(TypeError, match="primitive: forward and backward must be functions, got"):
        sr.primitive(forward, backward)
