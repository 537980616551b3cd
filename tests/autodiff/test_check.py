"""The judge itself: check_grads passes what is right and names what is wrong."""

import numpy as np
import pytest

import sophia_ref as sr

x3 = np.array([0.5, -1.2, 2.0])


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.sin, x3),
        (lambda x: x**3, 1.5),
        (lambda x: np.sum(x**2), np.array(2.0)),
        (lambda x: np.outer(x, x), x3),
        (lambda x: x @ x.T, np.arange(6.0).reshape(2, 3)),
        (lambda x: 3.0, x3),
        (lambda x: np.zeros(0), x3),
        (np.exp, np.zeros((0, 2))),
        (lambda x: 1e6 * np.cos(x), x3),
        (lambda x: 1e-6 * np.cos(x), x3),
        (lambda x: np.log(x), np.array([1e-3 + 1.0, 1e3, 1e5])),
    ],
)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_right_derivatives_pass_at_every_order_and_scale(f, x, order):
    sr.check_grads(f, x, order=order)


def wrong_by(factor, forward=np.sin):
    return sr.primitive(lambda x: (forward(x), x), lambda x, y_bar: (factor * np.cos(x) * y_bar,))


@pytest.mark.parametrize("factor", [1.001, 0.999, -1.0, 0.0, 1 + 1e-5, np.nan])
def test_a_backward_off_by_a_factor_is_caught(factor):
    with pytest.raises(AssertionError, match="the reverse derivative is wrong: off by"):
        sr.check_grads(wrong_by(factor), x3, order=1)
    sr.check_grads(wrong_by(1.0), x3)


def test_one_wrong_entry_of_many_is_caught():
    def backward(x, y_bar):
        x_bar = np.cos(x) * y_bar
        return (x_bar * np.where(np.arange(x.size) == 7, 1.001, 1.0),)

    f = sr.primitive(lambda x: (np.sin(x), x), backward)
    with pytest.raises(AssertionError, match="reverse"):
        sr.check_grads(f, np.linspace(-1, 1, 10), order=1)


def test_a_transposed_jacobian_is_caught():
    A = np.arange(9.0).reshape(3, 3)
    f = sr.primitive(lambda x: (A @ x, None), lambda saved, y_bar: (A @ y_bar,))
    with pytest.raises(AssertionError, match="reverse"):
        sr.check_grads(f, x3, order=1)


def test_a_wrong_tangent_is_caught_in_forward_mode():
    f = sr.primitive(lambda x: (np.sin(x * 1.0) + np.round(x, 3) * 1e-2, x), lambda x, y_bar: (np.cos(x) * y_bar,))
    with pytest.raises(AssertionError, match="the forward derivative is wrong"):
        sr.check_grads(lambda x: f(x) + 0.1 * np.round(1e8 * x) / 1e8, x3, order=1)


def test_a_second_derivative_that_is_wrong_alone_is_caught_at_order_two():
    frozen = sr.primitive(lambda x: (np.sin(x), np.cos(sr.autodiff.dispatch.strip(x))), lambda c, y_bar: (c * y_bar,))
    sr.check_grads(frozen, x3, order=1)
    with pytest.raises(AssertionError, match=r"x -> J\^T w of forward|x -> J\^T w of <lambda>"):
        sr.check_grads(frozen, x3, order=2)


def test_the_message_shows_both_jacobians_and_the_name():
    def halved(x):
        return wrong_by(0.5)(x)

    with pytest.raises(AssertionError) as caught:
        sr.check_grads(halved, x3, order=1)
    message = str(caught.value)
    assert message.startswith("halved: the reverse derivative is wrong: off by 0.")
    assert "central differences" in message
    assert message.count("[[") == 2


def test_a_looser_tolerance_lets_a_small_error_pass():
    sr.check_grads(wrong_by(1.001), x3, order=1, rtol=1e-2)
    with pytest.raises(AssertionError):
        sr.check_grads(wrong_by(1.001), x3, order=1, rtol=1e-4)


def test_an_in_place_backward_is_checked_forward_over_reverse():
    def backward(x, y_bar, slope=np.cos):
        x_bar = np.empty_like(x)
        np.multiply(slope(x), y_bar, out=x_bar)
        return (x_bar,)

    sr.check_grads(sr.primitive(lambda x: (np.sin(x), x), backward), x3)
    wrong = sr.primitive(
        lambda x: (np.sin(x), x), lambda x, y_bar: backward(sr.autodiff.dispatch.strip(x), y_bar + 0 * x)
    )
    with pytest.raises((AssertionError, TypeError)):
        sr.check_grads(wrong, x3)


def test_a_function_that_writes_into_its_argument_is_refused_at_first_order():
    def f(x):
        x = x * 1.0
        x += 1.0
        return x

    with pytest.raises(sr.autodiff.InPlaceError):
        sr.check_grads(f, x3, order=1)


EXTREMES = {  # f, f', f'', and the points
    "log": (np.log, lambda x: 1 / x, lambda x: -1 / x**2, [1e-3, 1e-6, 1e-9, 1e6, np.array([1e-3, 1.0])]),
    "sin": (np.sin, np.cos, lambda x: -np.sin(x), [1e6, -1e6, 1e4, 1e-6]),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), lambda x: -0.25 * x**-1.5, [1e-3, 1e-8, 1e8]),
    "reciprocal": (np.reciprocal, lambda x: -(x**-2), lambda x: 2 * x**-3, [1e-3, 1e-6, 1e3]),
    "square": (np.square, lambda x: 2 * x, lambda x: 2.0 + 0 * x, [1e-4, 1e8]),
    "steep sine": (
        lambda x: np.sin(1e5 * x), lambda x: 1e5 * np.cos(1e5 * x), lambda x: -1e10 * np.sin(1e5 * x), [0.0, 0.3],
    ),
    "steep step": (
        lambda x: np.tanh(1e4 * x), lambda x: 1e4 / np.cosh(1e4 * x) ** 2,
        lambda x: -2e8 * np.tanh(1e4 * x) / np.cosh(1e4 * x) ** 2, [1e-5, 3e-4],
    ),
}  # fmt: skip
AT_EXTREMES = [(name, x) for name, (_, _, _, points) in EXTREMES.items() for x in points]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "x"), AT_EXTREMES, ids=str)
def test_right_derivatives_pass_at_extreme_points(name, x):
    sr.check_grads(EXTREMES[name][0], x, order=2)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("factor", [1.001, 0.999, 0.0])
@pytest.mark.parametrize(("name", "x"), AT_EXTREMES, ids=str)
def test_and_wrong_ones_are_caught_there(name, x, factor):
    f, slope, curvature, _ = EXTREMES[name]
    off = sr.primitive(lambda x: (f(x), x), lambda x, y_bar: (factor * slope(x) * y_bar,))
    with pytest.raises(AssertionError, match="the reverse derivative is wrong"):
        sr.check_grads(off, x, order=1)

    derivative = sr.primitive(lambda x: (slope(x), x), lambda x, y_bar: (factor * curvature(x) * y_bar,))
    right_once = sr.primitive(lambda x: (f(x), x), lambda x, y_bar: (derivative(x) * y_bar,))
    sr.check_grads(right_once, x, order=1)
    if np.any(curvature(x) != 0):
        with pytest.raises(AssertionError, match=r"x -> J\^T w of .*: the reverse derivative is wrong"):
            sr.check_grads(right_once, x, order=2)


def test_so_do_matrices_that_are_nearly_singular_and_points_where_the_function_is_nan_fail():
    sr.check_grads(np.linalg.cholesky, np.diag([1e-5, 1.0]))
    with pytest.raises(AssertionError, match="off by nan"):
        sr.check_grads(lambda x: np.where(x < 0, np.nan * x, x), np.array([-1.0, 1.0]))


def test_the_step_is_chosen_for_each_coordinate():
    x = np.array([1e-6, 1e6, 1.0, 0.0])
    pick, scale = np.arange(4), np.array([1e-6, 1.0, 1.0, 1e3])

    def f(x):
        return scale * np.stack([np.log(x[0]), np.sin(x[1]), np.exp(x[2]), np.tanh(x[3])])

    sr.check_grads(f, x)
    for i in pick:
        off = np.where(pick == i, 1.001, 1.0)
        wrong = sr.primitive(
            lambda x: (f(x), x), lambda x, y_bar, off=off: (off * sr.vjp(f, x)[1](np.ones(4)) * y_bar,)
        )
        with pytest.raises(AssertionError, match="reverse"):
            sr.check_grads(lambda x, wrong=wrong, i=i: wrong(x)[i], x, order=1)


def test_a_noise_that_keeps_the_differences_from_settling_does_no_harm_below_the_tolerance():
    for x in np.linspace(1e-6, 2e-6, 20):
        sr.check_grads(lambda x: np.log(x) + 1e-9 * np.sign(np.sin(1e13 * x)), x, order=1)


@pytest.mark.parametrize("distance", [1e-5, 1e-7, 1e-10])
def test_a_kink_nearby_is_stepped_around(distance):
    sr.check_grads(np.abs, np.array([distance, 1.0, -distance]))
    sr.check_grads(lambda x: np.abs(x - 1.0), 1.0 + distance)


def test_small_steps_do_not_loosen_the_check():
    off = sr.primitive(lambda x: (np.abs(x), x), lambda x, y_bar: (1.001 * np.sign(x) * y_bar,))
    for distance in (1e-11, 1e-9, 1e-5):
        with pytest.raises(AssertionError, match=r"the reverse derivative is wrong: off by 0\.001, more than"):
            sr.check_grads(off, distance, order=1)


@pytest.mark.parametrize("offset", [1e3, 1e4, 1e5])
def test_steps_too_small_to_change_a_large_value_are_not_taken_for_derivative_zero(offset):
    frozen = sr.primitive(lambda x: (offset + np.abs(sr.stop_gradient(x) - 3e-9), None), lambda _, y_bar: (0 * y_bar,))
    with pytest.raises(AssertionError, match="derivative is wrong"):
        sr.check_grads(frozen, 0.0, order=1)


def test_a_kink_within_the_smallest_step_fails_with_the_doubt_about_the_differences():
    with pytest.raises(AssertionError, match=r"central differences, which are uncertain by \d"):
        sr.check_grads(np.abs, np.array([1e-14, 1.0]), order=1)


@pytest.mark.parametrize("x", [np.float32([1.0, 2.0]), {"a": x3}, np.float32(1.0)])
def test_only_one_float64_array_can_be_checked(x):
    with pytest.raises(TypeError, match="check_grads: x must be one float64 array"):
        sr.check_grads(lambda x: 1.0, x)


@pytest.mark.parametrize("x", [3, [1.0], np.arange(3), 1j * x3])
def test_other_input_is_refused_as_everywhere(x):
    with pytest.raises(TypeError, match="check_grads: x must be"):
        sr.check_grads(np.sin, x)


@pytest.mark.parametrize("rtol", [0, -1e-6, np.nan, np.inf, True, "1", None])
def test_rtol_must_be_a_positive_number(rtol):
    with pytest.raises((TypeError, ValueError), match=f"check_grads: rtol must be a finite number > 0, got {rtol!r}"):
        sr.check_grads(np.sin, x3, rtol=rtol)


@pytest.mark.parametrize("order", [0, -1, 1.5, True, "2"])
def test_order_must_be_a_positive_integer(order):
    with pytest.raises(ValueError, match="check_grads: order must be an integer of at least 1, got"):
        sr.check_grads(np.sin, x3, order=order)


def test_a_derivative_that_vanishes_is_not_taken_for_a_wrong_one():
    sr.check_grads(lambda x: np.sin(x) ** 2 + np.cos(x) ** 2, np.array([0.3, -0.7, 1.1]))
    sr.check_grads(lambda a: np.linalg.inv(a) @ a, np.array([[1.0, 0.2], [0.3, 2.0]]))
