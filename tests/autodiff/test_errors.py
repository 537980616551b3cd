"""What cannot be differentiated is refused by name, with what to do instead; nothing is dropped silently."""

import math
import pickle
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.autodiff import InPlaceError
from sophia_ref.autodiff.derivatives import jvp

x3 = np.array([0.5, 1.5, 2.5])
M = np.eye(3) + 0.1


def sum_of(x):
    return np.sum(x * x)


def refused(f, error, *parts):
    """f is refused in both modes, with a message that contains `parts`; plain NumPy accepts it."""
    f(x3)
    for differentiate in (lambda: sr.grad(lambda x: np.sum(f(x)))(x3), lambda: sr.jvp(f, x3, x3)):
        with pytest.raises(error) as caught:
            differentiate()
        for part in parts:
            assert part in str(caught.value)


# -- functions and settings without a rule -----------------------------------------------------------------------------

WITHOUT_RULE = {
    "numpy.fft.fft": np.fft.fft,
    "numpy.linalg.svd": lambda x: np.linalg.svd(x * M)[1],
    "numpy.linalg.pinv": lambda x: np.linalg.pinv(x * M),
    "numpy.linalg.lstsq": lambda x: np.linalg.lstsq(M, x)[0],
    "numpy.median": np.median,
    "numpy.interp": lambda x: np.interp(x, [0.0, 3.0], [0.0, 9.0]),
    "numpy.cumprod": np.cumprod,
    "numpy.fmod": lambda x: np.fmod(x, 2.0),
    "numpy.divmod": lambda x: np.divmod(x, 2.0)[1],
    "numpy.modf": lambda x: np.modf(x)[0],
    "numpy.select": lambda x: np.select([x3 > 1], [x]),
    "numpy.copyto": lambda x: np.copyto(np.zeros(3), x) or 0.0,
    "numpy.put": lambda x: np.put(np.zeros(3), [0], x[0]) or 0.0,
    "numpy.place": lambda x: np.place(np.zeros(3), x3 > 1, x) or 0.0,
    "numpy.putmask": lambda x: np.putmask(np.zeros(3), x3 > 1, x) or 0.0,
    "numpy.real": np.real,
    "numpy.unique": np.unique,
}


@pytest.mark.parametrize("name", WITHOUT_RULE)
def test_a_function_without_rule_is_named_with_two_ways_out(name):
    refused(WITHOUT_RULE[name], TypeError, f"{name} has no derivative rule", "write it with functions", "sr.primitive")


def test_a_function_of_scipy_is_named_as_one():
    from scipy import special

    refused(special.gammaln, TypeError, "scipy.special.gammaln has no derivative rule")


@pytest.mark.parametrize(
    ("f", "name"), [(lambda x: np.multiply.reduceat(x, [0, 1]), "multiply.reduceat"),
                    (lambda x: np.multiply.accumulate(x), "multiply.accumulate")]
)  # fmt: skip
def test_so_is_a_ufunc_method(f, name):
    refused(f, TypeError, f"numpy.{name} has no derivative rule", "use a function that has one")


@pytest.mark.parametrize("name", ["real", "imag", "flat", "view", "cumprod", "partition", "data"])
def test_so_is_an_attribute_of_ndarrays(name):
    refused(lambda x: getattr(x, name) is None, AttributeError, f"ndarray.{name} has no derivative rule")


def test_other_attributes_are_missing_as_usual():
    with pytest.raises(AttributeError, match="'Var' object has no attribute 'detach'"):
        sr.grad(lambda x: x.detach())(x3)


MASK = np.array([True, False, True])
UNKNOWN_SETTINGS = {
    "numpy.exp: the derivative rule does not know the argument where": lambda x: np.exp(x, where=MASK, out=None),
    "numpy.exp: the derivative rule does not know the argument dtype": lambda x: np.exp(x, dtype=np.float32),
    "numpy.sum: the derivative rule does not know the argument where": lambda x: np.sum(x, where=MASK),
    "numpy.sum: the derivative rule does not know the argument initial": lambda x: np.sum(x, initial=1.0),
    "numpy.sum: the derivative rule does not know the argument dtype": lambda x: x.sum(dtype=np.float32),
    "numpy.sum: the derivative rule does not know the argument out": lambda x: np.sum(x, out=np.zeros(())),
    "numpy.max: the derivative rule does not know the argument initial": lambda x: np.max(x, initial=9.0),
    "numpy.var: the derivative rule does not know the argument correction": lambda x: np.var(x, correction=1),
    "numpy.sum: the derivative rule knows 2 arguments by position": lambda x: np.sum(x, 0, np.float64),
    "numpy.var: the derivative rule knows 2 arguments by position": lambda x: x.var(0, None, None, 1),
    "numpy.max: the derivative rule knows 2 arguments by position": lambda x: np.max(x, 0, None, True),
    "rule of numpy.prod() got an unexpected keyword argument 'initial'": lambda x: np.prod(x, initial=2.0),
    "rule of numpy.clip() got an unexpected keyword argument 'out'": lambda x: np.clip(x, 0, 1, out=np.zeros(3)),
    "rule of numpy.concatenate() got an unexpected keyword argument 'out'":
        lambda x: np.concatenate([x, x], out=np.zeros(6)),
    "rule of numpy.stack() got an unexpected keyword argument 'dtype'":
        lambda x: np.stack([x, x], dtype=np.float32, casting="same_kind"),
    "rule of numpy.take() got an unexpected keyword argument 'mode'": lambda x: np.take(x, [4], mode="wrap"),
    "rule of numpy.pad() got an unexpected keyword argument 'reflect_type'":
        lambda x: np.pad(x, 1, mode="reflect", reflect_type="odd"),
    "numpy.pad: mode 'linear_ramp' has no derivative rule": lambda x: np.pad(x, 1, mode="linear_ramp"),
    "numpy.pad: mode 'maximum' has no derivative rule": lambda x: np.pad(x, 1, mode="maximum"),
    "numpy.linalg.norm: ord='nuc' over axes (0, 1)": lambda x: np.linalg.norm(x * M, "nuc"),
    "numpy.linalg.norm: ord=2 over axes (0, 1)": lambda x: np.linalg.norm(x * M, 2),
    "numpy.einsum: the derivative rule needs the subscripts as a string": lambda x: np.einsum(x, [0], [0]),
    "pass a by position, not by name": lambda x: np.sum(a=x),
    "pass array by position, not by name": lambda x: np.broadcast_to(array=x, shape=(2, 3)),
}  # fmt: skip


@pytest.mark.parametrize("message", UNKNOWN_SETTINGS)
def test_a_setting_that_the_rule_does_not_know_is_named(message):
    refused(UNKNOWN_SETTINGS[message], TypeError, message)


def test_arrays_of_several_shapes_are_not_stacked():
    refused_shapes = r"numpy\.stack: all arrays must have one shape, got \[\(2,\), \(3,\)\]"
    with pytest.raises(ValueError, match=refused_shapes):
        sr.grad(lambda x: np.sum(np.stack([x, x[:2]])))(x3)


def test_a_memory_order_that_depends_on_the_array_is_refused_on_the_way_back():
    for f in (lambda x: x.ravel(order="K"), lambda x: np.reshape(x, (3, 1), order="A")):
        with pytest.raises(TypeError, match="knows order 'C' and 'F'"):
            sr.grad(lambda x, f=f: np.sum(f(x)))(x3)


@pytest.mark.filterwarnings("ignore:Cannot convert float64 safely:DeprecationWarning")  # NumPy 2.5, of what is refused
def test_a_setting_that_carries_a_derivative_is_refused():
    with pytest.raises(TypeError, match=r"numpy\.triu: only its first argument has a derivative"):
        sr.jvp(lambda x: np.triu(x * M, 0 * x[0]), x3, x3)
    with pytest.raises(TypeError, match=r"numpy\.triu: only its first argument has a derivative"):
        sr.grad(lambda x: np.sum(np.triu(x * M, 0 * x[0])))(x3)
    for f in (lambda x: np.roll(x3, x[0]), lambda x: np.roll(x3, shift=x[0]), lambda x: np.repeat(x3, x)):
        with pytest.raises((TypeError, ValueError)):
            sr.grad(lambda x, f=f: np.sum(f(x)))(x3)


# -- leaving NumPy -----------------------------------------------------------------------------------------------------

INTO_PLAIN_ARRAYS = {
    "np.array of entries": lambda x: np.array([x[0], x[1]]),
    "np.array of arrays": lambda x: np.array([x, x]),
    "np.asarray": lambda x: np.asarray(x),
    "np.ascontiguousarray": lambda x: np.ascontiguousarray(x),
    "np.float64": lambda x: np.float64(x[0]),
    "np.full": lambda x: np.full(2, x[0]),
    "sum of a list": lambda x: np.sum([x[0], x[1]]),
    "norm of a list": lambda x: np.linalg.norm([x[0], x[1]]),
    "maximum of lists": lambda x: np.maximum([x[0], x[1]], 0.0),
    "arithmetic with a list": lambda x: x[:2] * [x[0], x[1]],
    "a list beside an array": lambda x: np.add(x[:2], [x[0], x[1]]),
    "where with a list": lambda x: np.where(MASK, x, [x[0], 1.0, 2.0]),
    "vectorize": lambda x: np.vectorize(lambda t: t * t)(x),
    "object array": lambda x: np.array([x[0], None], dtype=object)[0],
}


@pytest.mark.parametrize("f", INTO_PLAIN_ARRAYS.values(), ids=INTO_PLAIN_ARRAYS)
def test_a_plain_array_is_not_made_of_a_box(f):
    refused(f, TypeError, "np.asarray or np.array of a", "would drop its derivative", "np.stack")


def whole(buffer, x):
    buffer[...] = x


def part(buffer, x):
    buffer[1:] = x[1:]


def mask(buffer, x):
    buffer[MASK] = x[MASK]


def flat(buffer, x):
    buffer.flat[:] = x


@pytest.mark.parametrize("write", [whole, part, mask, flat])
def test_a_box_is_not_written_into_a_plain_array(write):
    def f(x):
        buffer = np.zeros(3)
        write(buffer, x)
        return buffer

    refused(f, TypeError, "would drop its derivative", "np.stack")


def test_nor_is_one_number_of_it():
    def f(x):
        buffer = np.zeros(3)
        buffer[0] = x[0]
        return buffer[0]

    for differentiate in (lambda: sr.grad(f)(x3), lambda: sr.jvp(f, x3, x3)):
        with pytest.raises(TypeError, match=r"would drop its derivative.*np\.stack") as caught:
            differentiate()
        assert any(entry.frame.code.raw is f.__code__ for entry in caught.traceback)  # it shows the line to mend


def test_other_errors_of_the_function_stay_as_they_are():
    def f(x):
        raise ValueError("mine") from KeyError("why")

    for differentiate in (lambda: sr.grad(f)(x3), lambda: sr.jvp(f, x3, x3)):
        with pytest.raises(ValueError, match="mine") as caught:
            differentiate()
        assert isinstance(caught.value.__cause__, KeyError)


def test_nor_the_diagonal_of_a_matrix():
    refused(lambda x: np.fill_diagonal(np.zeros((3, 3)), x) or 0.0, TypeError, "would drop its derivative")


def plus_is(x):
    buffer = np.zeros(3)
    buffer += x
    return buffer


OUT_OF_PLAIN = {
    "numpy.subtract": lambda x: np.subtract.at(np.zeros(3), [0], x[:1]) or 0.0,
    "numpy.multiply": lambda x: np.multiply.at(np.zeros(3), [0], x[:1]) or 0.0,
    "numpy.add": plus_is,
    "numpy.exp": lambda x: np.exp(x, out=np.zeros(3)),
    "numpy.sin": lambda x: np.sin(x, out=(np.zeros(3),)),
    "numpy.matmul": lambda x: np.matmul(M, x, out=np.zeros(3)),
}


@pytest.mark.parametrize("name", OUT_OF_PLAIN)
def test_a_plain_out_is_refused(name):
    refused(OUT_OF_PLAIN[name], InPlaceError, f"{name} would write into a plain ndarray", "leave out= away")


def test_buffers_are_advised_where_they_can_be_written_into_and_nowhere_else():
    for f in (np.asarray, lambda x: np.exp(x, out=np.zeros(3))):
        with pytest.raises(TypeError, match=r"np\.empty_like\(x, shape=\.\.\.\)"):
            sr.jvp(f, x3, x3)
        with pytest.raises(TypeError) as caught:
            sr.vjp(f, x3)
        assert "empty_like" not in str(caught.value)

    def fill(x):  # what the advice says
        buffer = np.empty_like(x, shape=(2,))
        buffer[:] = x[:2]
        return np.square(buffer, out=buffer)

    np.testing.assert_array_equal(sr.jvp(fill, x3, np.ones(3))[1], [1.0, 3.0])


NUMBERS = {
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "complex": lambda x: complex(x[0]).real,
    "item": lambda x: x[0].item(),
    "tolist": lambda x: sum(x.tolist()),
    "round": lambda x: float(round(x[0])),
    "reduce": lambda x: pickle.loads(pickle.dumps(x)),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_no_python_number_is_made_of_a_box(name):
    refused(NUMBERS[name], TypeError, f"{name} of a", "would drop its derivative", "keep it an array")


@pytest.mark.parametrize("f", [math.exp, math.sqrt, math.fabs])
def test_the_math_module_is_refused_with_a_hint_at_numpy(f):
    with pytest.raises(TypeError, match="use NumPy's functions, not those of math"):
        sr.grad(f)(2.0)


def test_an_index_is_no_variable():
    for index in (lambda x: x[x[0]], lambda x: x[(x[0],)], lambda x: x[x > 0, x]):
        with pytest.raises(TypeError, match="a Var cannot be an index"):
            sr.grad(index)(x3)
    for f in (lambda x: M[x], lambda x: x3[x[0]], lambda x: range(x[0]), lambda x: x[[x[0]]], lambda x: x[: x[0]]):
        with pytest.raises(TypeError, match="would drop its derivative"):
            sr.grad(f)(x3)


def test_other_kinds_of_numbers_are_refused_by_dtype():
    with pytest.raises(TypeError, match="gave an array of dtype object"):
        sr.grad(lambda x: np.sum(x * Fraction(1, 2)))(x3)
    refused(lambda x: np.abs(x * 1j), TypeError, "numpy.multiply gave complex numbers", "real and imaginary parts")
    refused(lambda x: np.abs(x.astype(complex)), TypeError, "complex")
    refused(lambda x: np.abs(np.exp(1j * x[0])), TypeError, "complex numbers", "real and imaginary parts")


# -- writing into a Var ------------------------------------------------------------------------------------------------


def test_assignment_into_a_var_says_what_to_write_instead():
    def f(x):
        x[0] = 1.0
        return np.sum(x)

    with pytest.raises(InPlaceError, match=r"writing into a Var .* is refused.*x = x \+ .*np\.where"):
        sr.grad(f)(x3)


# -- the callers' arguments --------------------------------------------------------------------------------------------

CALLERS = {
    "grad": lambda f, x: sr.grad(f)(x),
    "vjp": lambda f, x: sr.vjp(f, x),
    "jvp": lambda f, x: sr.jvp(f, x, x),
    "hvp": lambda f, x: sr.hvp(f, x, x),
    "hessian_diag": lambda f, x: sr.hessian_diag(f)(x),
}
BAD_INPUTS = {
    "int64; x.astype(float) makes one": np.arange(3),
    "bool; x.astype(float) makes one": MASK,
    "float16; x.astype(float) makes one": x3.astype(np.float16),
    "complex128; differentiate real and imaginary parts": x3 * 1j,
    "got 3; write 3.0 for 3": 3,
    "got [1.0, 2.0]; np.array(x, dtype=float) makes one": [1.0, 2.0],
    "got (1.0, 2.0)": (1.0, 2.0),
    "got 'x'": "x",
    "got None": None,
    "got 1j": 1j,
    "masked_array": np.ma.masked_array(x3, MASK),
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("message", BAD_INPUTS)
def test_x_must_be_of_floats(caller, message):
    with pytest.raises(TypeError) as caught:
        CALLERS[caller](sum_of, BAD_INPUTS[message])
    assert str(caught.value).startswith(f"{caller}: x must be")
    assert message in str(caught.value)


def test_so_must_be_every_entry_of_a_dict():
    with pytest.raises(TypeError, match=r"^grad: 'n': x must be of dtype float32 or float64, got int64"):
        sr.grad(lambda p: np.sum(p["a"]))({"a": x3, "n": np.arange(3)})
    with pytest.raises(TypeError, match=r"^hessian_diag: x must be one array, got a dict; Layout\.pack"):
        sr.hessian_diag(lambda p: np.sum(p["a"]))({"a": x3})


@pytest.mark.parametrize("x", [np.ones((2, 2)), 1.0, np.array(1.0), {"a": x3}])
def test_a_hessian_needs_a_vector(x):
    with pytest.raises(ValueError, match=r"hessian: x must have shape \(n,\), got .*; Layout\.pack"):
        sr.hessian(lambda x: 1.0)(x)


def test_matrices_of_class_matrix_are_refused_as_their_star_means_something_else():
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(M)
    with pytest.raises(TypeError, match="x must be an ndarray"):
        sr.grad(lambda x: np.sum(x))(matrix)


@pytest.mark.parametrize("loss", [lambda x: x, lambda x: x[None, :1], lambda x: np.ones(2)])
def test_a_loss_that_is_not_scalar_is_refused(loss):
    by_name = {
        "grad": (sr.grad(loss), sr.value_and_grad(loss)),
        "hvp": (lambda x: sr.hvp(loss, x, x),),
        "hessian": (sr.hessian(loss),),
        "hessian_diag": (sr.hessian_diag(loss),),
    }
    for name, functions in by_name.items():
        for differentiate in functions:
            with pytest.raises(
                ValueError,
                match=rf"{name} needs a scalar loss: <lambda> returned shape .* Sum or average it, or use vjp",
            ):
                differentiate(x3)


@pytest.mark.parametrize("result", [None, "loss", [1.0], (1.0, 2.0), 1j, np.array([1j]), np.array(["a"])])
def test_a_function_that_returns_no_real_array_is_refused(result):
    def nonsense(x):
        return result

    with pytest.raises(TypeError, match="vjp: nonsense must return an array of real numbers, or one number"):
        sr.vjp(nonsense, x3)
    with pytest.raises(TypeError, match="jvp: nonsense must return an array of real numbers, or one number"):
        sr.jvp(nonsense, x3, x3)


@pytest.mark.parametrize(("several", "kind"), [(lambda x: (x, x), "tuple"), (lambda x: {"a": x}, "dict")])
def test_several_variables_are_refused_too(several, kind):
    expected = f"vjp: <lambda> must return an array of real numbers, or one number, got {kind}"
    with pytest.raises(TypeError, match=expected):
        sr.vjp(several, x3)


@pytest.mark.parametrize("keep", [lambda f: sr.vjp(f, x3), lambda f: sr.jvp(f, x3, x3)], ids=["Var", "Dual"])
@pytest.mark.parametrize("use", [lambda x, k: k[0], lambda x, k: x[0] * k[0], lambda x, k: np.sum(k * k)])
@pytest.mark.parametrize("caller", CALLERS)
def test_a_variable_kept_from_a_finished_derivative_is_refused(caller, use, keep):
    kept = []
    keep(lambda x: kept.append(x) or np.sum(x))
    with pytest.raises(TypeError, match=r"returned a (Var|Dual) of a derivative that is finished.*sr\.stop_gradient"):
        CALLERS[caller](lambda x: use(x, kept[0]), x3)


def test_so_is_one_that_a_failed_derivative_left():
    kept = []
    with pytest.raises(ZeroDivisionError):
        sr.grad(lambda x: kept.append(x) or 1 / 0)(x3)
    with pytest.raises(TypeError, match="that is finished"):
        sr.jvp(lambda x: {"a": x, "b": x * kept[0]}, x3, x3)


@pytest.mark.parametrize("call", [sr.jvp, sr.hvp], ids=["jvp", "hvp"])
def test_v_must_be_like_x(call):
    name = call.__name__
    for v in (np.ones(2), np.ones((3, 1)), 1.0, []):
        with pytest.raises(ValueError, match=rf"^{name}: v must have the shape of x, \(3,\), got"):
            call(sum_of, x3, v)
    with pytest.raises(TypeError, match=f"^{name}: v must be of real numbers, got complex128"):
        call(sum_of, x3, x3 * 1j)
    with pytest.raises(ValueError, match=f"^{name}: v must be like x, an array of shape .*; got a dict of"):
        call(sum_of, x3, {"a": x3})
    p = {"a": x3}
    for v in ({"b": x3}, {"a": x3, "b": x3}, x3):
        with pytest.raises(ValueError, match=rf"^{name}: v must be like x, a dict of \['a'\]; got"):
            call(lambda p: np.sum(p["a"]), p, v)
    with pytest.raises(ValueError, match=f"^{name}: 'a': v must have the shape of x"):
        call(lambda p: np.sum(p["a"]), p, {"a": np.ones(2)})


def test_v_and_y_bar_may_be_of_integers_or_lists():
    assert jvp(sum_of, x3, [1, 0, 0])[1] == 1.0
    np.testing.assert_array_equal(sr.vjp(lambda x: x * x, x3)[1]([1, 0, 2]), [1.0, 0.0, 10.0])


@pytest.mark.parametrize("f", [lambda x: x * x, lambda x: np.ones(3)])
def test_y_bar_must_be_like_the_result(f):
    _, pullback = sr.vjp(f, x3)
    for y_bar in (np.ones(2), 1.0, np.ones((1, 3))):
        with pytest.raises(ValueError, match=r"pullback: y_bar must have the shape of the result, \(3,\), got"):
            pullback(y_bar)
    with pytest.raises(TypeError, match="pullback: y_bar must be of real numbers, got complex128"):
        pullback(np.ones(3) * 1j)


@pytest.mark.parametrize("argnum", [-1, 2, 5])
def test_argnum_must_be_the_number_of_an_argument(argnum):
    with pytest.raises(ValueError, match=f"grad: argnum must number one of the 2 arguments, from 0; got {argnum}"):
        sr.grad(lambda a, b: a * b, argnum)(1.0, 2.0)


def test_there_must_be_an_argument():
    with pytest.raises(ValueError, match="grad: argnum must number one of the 0 arguments, from 0; got 0"):
        sr.grad(lambda: 1.0)()


@pytest.mark.parametrize("f", [3.0, None, np.float64(2.0), {"a": 1.0}])
def test_what_is_differentiated_must_be_a_function(f):
    with pytest.raises(TypeError, match="grad: f must be a function"):
        sr.value_and_grad(f)
    for name, differentiate in {
        "grad": sr.grad,
        "hessian": sr.hessian,
        "hessian_diag": sr.hessian_diag,
        "hvp": lambda f: sr.hvp(f, x3, x3),
        "jvp": lambda f: sr.jvp(f, x3, x3),
        "vjp": lambda f: sr.vjp(f, x3),
        "check_grads": lambda f: sr.check_grads(f, x3),
    }.items():
        with pytest.raises(TypeError) as caught:
            differentiate(f)
        assert str(caught.value) == f"{name}: f must be a function, got {f!r}"


@pytest.mark.parametrize("argnum", [(0, 1), [0], 0.0, None, True, "x"])
def test_argnum_must_be_one_integer(argnum):
    for differentiate in (sr.grad, sr.value_and_grad):
        with pytest.raises(TypeError) as caught:
            differentiate(lambda a, b: a * b, argnum)
        assert str(caught.value).startswith(f"grad: argnum must be one integer, got {argnum!r}; for several")


# -- what works though one might not expect it -------------------------------------------------------------------------


def test_a_condition_with_a_derivative_chooses_and_has_derivative_zero():
    np.testing.assert_array_equal(sr.grad(lambda x: np.sum(np.where(x, x, 2.0)))(x3), np.ones(3))
    assert sr.jvp(lambda x: np.where(x, 1.0, 2.0), x3, x3)[1].tolist() == [0.0, 0.0, 0.0]


def test_variables_of_two_levels_in_one_expression():
    # d/dx of sum over y-gradient with np.where, np.stack and np.maximum mixing both levels
    def f(x):
        g = sr.grad(lambda y: np.sum(np.where(y > x, np.maximum(x, y) ** 2, np.stack([x[0] * y[1], x[2], y[0]]))))
        return np.sum(g(np.array([1.0, 1.0, 3.0])))

    # y = (1, 1, 3), x = (0.5, 1.5, 2.5): y0^2 + x2 + y2^2, whose y-gradient sums to 2 + 6; no x in it
    np.testing.assert_array_equal(sr.grad(f)(x3), np.zeros(3))

    # and x0 y1 with x in it: at y0 <= x0 the first branch is x0 y1
    def h(x):
        inner = sr.grad(lambda y: np.sum(np.where(y > x, y, np.stack([x[0] * y[1], x[2], y[0]]))))
        return np.sum(inner(np.zeros(3)))

    np.testing.assert_array_equal(sr.grad(h)(x3), [1.0, 0.0, 0.0])


def test_python_builtins_see_an_ndarray():
    assert sr.grad(lambda x: sum(x) + max(x) + min(x, key=lambda t: -t) + sorted(x)[0])(x3).tolist() == [2.0, 1.0, 3.0]
    assert sr.grad(lambda x: abs(x[0]) + pow(x[1], 2) + len(x))(x3).tolist() == [1.0, 3.0, 0.0]
    assert sr.grad(lambda x: x[0] if 0.5 in x and x[0] else x[1])(x3).tolist() == [1.0, 0.0, 0.0]


def test_a_box_is_unhashable_and_shows_what_it_is():
    seen = []
    sr.vjp(lambda x: seen.append(x) or x, x3)
    assert repr(seen[0]).startswith("Var(level ")
    assert "array([0.5, 1.5, 2.5])" in repr(seen[0])
    with pytest.raises(TypeError, match="unhashable"):
        hash(seen[0])
    with pytest.raises(TypeError, match="len"):
        len(seen[0][0])


LATE = """
import sys
import numpy as np
import sophia_ref as sr
try:
    sr.grad(lambda x: np.fft.fft(x)[0])(np.ones(3))
except TypeError as error:
    assert "numpy.fft.fft" in str(error)
assert not any(name.startswith("scipy") for name in sys.modules)
import scipy.special
assert sr.grad(scipy.special.expit)(0.0) == 0.25
"""


def test_rules_for_scipy_come_with_scipy_and_not_before():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_padding_with_a_variable_is_refused_and_loses_no_derivative():
    with pytest.raises(TypeError, match=r"numpy\.pad: constant_values must be plain"):
        sr.jvp(lambda x: np.sum(np.pad(x, 1, constant_values=x[0])), np.array([0.3, 1.2]), np.array([1.0, 0.0]))
