"""grad, jvp, vjp, hvp, hessian: what people call.

Each works for f of one array, or of a dict of arrays, which may hold dicts in turn: x, v and the results then have the
same keys.
"""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import Box, DerivativeLost, beside, is_array, levels, strip
from sophia_ref.autodiff.dual import Dual, alike
from sophia_ref.autodiff.tape import Tape, Var, keep, locked

Function = Callable[..., Any]
OPEN: set[int] = set()  # levels whose function is being evaluated


def jvp(f: Function, x: Any, v: Any) -> tuple[Any, Any]:
    """Value and directional derivative, f(x) and J v, in one forward pass.

    f: any shape to any shape. x: float32 or float64 ndarray, scalar, or dict of them; both are copied, so f may write
    into what it is given. v: like x in shape. Raises TypeError or ValueError naming x or v if it is not.

    >>> jvp(lambda x: x**3, 2.0, 1.0)
    (np.float64(8.0), np.float64(12.0))
    """
    check_function("jvp", f)
    x = checked("jvp", x)
    v = checked_direction("jvp", x, v)
    level = next(levels)

    def dual(value: Any, tangent: Any) -> Dual:
        value = np.copy(value, "C")[()]
        return Dual(value, alike(np.copy(tangent)[()], value), level)

    def parts(result: Any) -> tuple[Any, Any]:
        if isinstance(result, Dual) and result.level == level:
            checked_result("jvp", f, result.value)
            return result.value, result.tangent
        checked_result("jvp", f, result)
        return result, np.zeros_like(strip(result), float_type(result))[()]

    y = evaluated(f, each(dual, x, v), level)
    return each(lambda result: parts(result)[0], y), each(lambda result: parts(result)[1], y)


def vjp(f: Function, x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """f(x) and its pullback, y_bar -> J^T y_bar, which may be called any number of times.

    f: any shape to any shape. x: float32 or float64 ndarray, scalar, or dict of them; it is copied, unless it is
    read-only, so changing it later does no harm. Raises TypeError naming x if it is anything else, or f if it returns
    no real array; the pullback raises ValueError for y_bar of another shape than f(x).

    >>> y, pullback = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 10.0]))
    array([ 2., 40.])
    """
    return _vjp("vjp", f, x)


def _vjp(caller: str, f: Function, x: Any) -> tuple[Any, Callable[[Any], Any]]:
    check_function(caller, f)
    x = checked(caller, x)
    tape = Tape()
    variables = each(lambda value: tape.var(scalar(keep(value))), x)
    y = evaluated(f, variables, tape.level)
    ours = isinstance(y, Var) and y.tape is tape
    value = (y.value if isinstance(strip(y), np.generic) else scalar(y.value.copy())) if ours else y
    checked_result(caller, f, value)

    def pullback(y_bar: Any) -> Any:
        if np.shape(y_bar) != np.shape(value):
            raise ValueError(
                f"pullback: y_bar must have the shape of the result, {np.shape(value)}, got {np.shape(y_bar)}"
            )
        y_bar = beside(value, real("pullback", "y_bar", y_bar, float_type(value)))
        bars = tape.pull(y.index, y_bar[()]) if ours else [None] * tape.size

        def of(var: Var) -> Any:
            bar = bars[var.index]
            if bar is None:
                return scalar(np.zeros_like(strip(var.value)))
            return scalar(bar.copy() if bar.dtype == var.dtype else bar.astype(var.dtype))

        return each(of, variables)

    return value, pullback


def value_and_grad(f: Function, argnum: int = 0) -> Function:
    """The function (x, *args) -> (f, gradient of f with respect to argument number `argnum`), for scalar f."""
    return _value_and_grad("grad", f, argnum)


def _value_and_grad(caller: str, f: Function, argnum: int) -> Function:
    check_function(caller, f)
    if isinstance(argnum, bool) or not isinstance(argnum, Integral):
        raise TypeError(
            f"{caller}: argnum must be one integer, got {argnum!r}; for several arguments, pass a dict of them"
        )

    def both(*args: Any) -> tuple[Any, Any]:
        if not 0 <= argnum < len(args):
            raise ValueError(f"{caller}: argnum must number one of the {len(args)} arguments, from 0; got {argnum}")
        one = f if len(args) == 1 else lambda x: f(*args[:argnum], x, *args[argnum + 1 :])
        value, pullback = _vjp(caller, one, args[argnum])
        if np.shape(value) != ():
            raise ValueError(
                f"{caller} needs a scalar loss: {name_of(f)} returned shape {np.shape(value)}. Sum or average it, "
                f"or use vjp for its Jacobian"
            )
        return value, pullback(np.ones((), float_type(value)))

    return both


def grad(f: Function, argnum: int = 0) -> Function:
    """The function (x, *args) -> gradient of scalar f with respect to argument number `argnum`, in its shape and dtype.

    Raises ValueError if f returns anything but a scalar, TypeError if x is not of floats.

    >>> grad(lambda x: np.sum(np.sin(x)))(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """
    both = value_and_grad(f, argnum)
    return lambda *args: both(*args)[1]


def hvp(f: Function, x: Any, v: Any) -> Any:
    """Hessian-vector product of scalar f, in the shape of x: H v = d/de grad f(x + e v), forward over reverse
    (Pearlmutter 1994).

    >>> hvp(lambda x: x[0] ** 2 * x[1], np.array([1.0, 3.0]), np.array([1.0, 0.0]))
    array([6., 2.])
    """
    return _hvp("hvp", f, x, v)


def _hvp(caller: str, f: Function, x: Any, v: Any) -> Any:
    x, both = checked(caller, x), _value_and_grad(caller, f, 0)
    return jvp(lambda x: both(x)[1], x, checked_direction(caller, x, v))[1]


def hessian(f: Function) -> Function:
    """The function x -> Hessian (n, n) of scalar f at x (n,), from n Hessian-vector products.

    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """

    check_function("hessian", f)

    def matrix(x: Any) -> Any:
        if isinstance(x, dict) or np.ndim(x) != 1:
            raise ValueError(
                f"hessian: x must have shape (n,), got {describe(x)}; Layout.pack makes one array of several"
            )
        x = checked("hessian", x)
        if len(x) == 0:
            return np.zeros((0, 0), x.dtype)
        return np.stack([_hvp("hessian", f, x, e) for e in beside(x, np.eye(len(x)))])

    return matrix


def hessian_diag(f: Function) -> Function:
    """The function x -> diagonal of the Hessian of scalar f, in the shape of x: one hvp a coordinate."""

    check_function("hessian_diag", f)

    def diagonal(x: Any) -> Any:
        x = checked("hessian_diag", x)
        if isinstance(x, dict):
            raise TypeError("hessian_diag: x must be one array, got a dict; Layout.pack makes one array of several")
        basis = beside(x, np.eye(x.size)).reshape(x.size, *x.shape)
        entries = [_hvp("hessian_diag", f, x, e)[np.unravel_index(i, x.shape)] for i, e in enumerate(basis)]
        return np.reshape(np.stack(entries), x.shape) if entries else np.zeros(x.shape, x.dtype)

    return diagonal


def stop_gradient(x: Any) -> Any:
    """x as a constant: its plain value, of the same shape and dtype, under all levels of differentiation. Of a dict,
    list or tuple, that of every entry.

    For labels drawn from a model's own predictions, where `z + noise` would carry the derivative of z along. An array
    comes back read-only, as it is the one that the derivative needs; copy it to write into it. A plain array, or a
    number, has nothing to stop: it keeps its value.

    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    if isinstance(x, dict):
        return {key: stop_gradient(value) for key, value in x.items()}
    return type(x)(map(stop_gradient, x)) if type(x) in (list, tuple) else locked(strip(x))


def each(fun: Callable[..., Any], x: Any, *others: Any) -> Any:
    """fun(x, *others), or of every entry where they are dicts, of arrays or of dicts again."""
    if isinstance(x, dict):
        return {key: each(fun, value, *(other[key] for other in others)) for key, value in x.items()}
    return fun(x, *others)


def scalar(x: Any) -> Any:
    """x, or what is in it if it is 0-d: x[()], without a view of larger arrays."""
    return x if x.ndim else x[()]


def check_function(caller: str, f: Any) -> None:
    if not callable(f):
        raise TypeError(f"{caller}: f must be a function, got {f!r}")


def checked(caller: str, x: Any) -> Any:
    """x with scalars as NumPy's, or a TypeError that says what is wrong with it."""
    if isinstance(x, dict):
        return {key: checked(f"{caller}: {key!r}", value) for key, value in x.items()}
    if type(x) is float:
        return np.float64(x)
    if type(x) is not np.ndarray and (
        not (isinstance(x, np.generic) or is_array(x)) or isinstance(x, np.ma.MaskedArray | np.matrix)
    ):
        hints = {int: "; write 3.0 for 3", list: "; np.array(x, dtype=float) makes one"}
        raise TypeError(
            f"{caller}: x must be an ndarray of floats, a float, or a dict of them, got {x!r}{hints.get(type(x), '')}"
        )
    if x.dtype.char not in "fd":
        hint = "differentiate real and imaginary parts" if x.dtype.kind == "c" else "x.astype(float) makes one"
        raise TypeError(f"{caller}: x must be of dtype float32 or float64, got {x.dtype}; {hint}")
    return x


def checked_direction(caller: str, x: Any, v: Any) -> Any:
    """v as an array like x, or an error that says how it differs."""
    if isinstance(x, dict) and isinstance(v, dict) and x.keys() == v.keys():
        return {key: checked_direction(f"{caller}: {key!r}", x[key], v[key]) for key in x}
    if isinstance(x, dict) or isinstance(v, dict):
        raise ValueError(f"{caller}: v must be like x, {describe(x)}; got {describe(v)}")
    if np.shape(v) != x.shape:
        raise ValueError(f"{caller}: v must have the shape of x, {x.shape}, got {np.shape(v)}")
    return real(caller, "v", v, x.dtype)


def real(caller: str, name: str, array: Any, dtype: Any) -> Any:
    """`array` in `dtype`, or a TypeError if it is not of real numbers."""
    array = array if is_array(array) and not isinstance(array, np.ndarray) else np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{caller}: {name} must be of real numbers, got {array.dtype}")
    return array if array.dtype == dtype else array.astype(dtype)


def evaluated(f: Function, x: Any, level: int) -> Any:
    """f(x), with `level` open meanwhile."""
    OPEN.add(level)
    try:
        return f(x)
    except ValueError as error:
        # buffer[0] = x[0] makes NumPy say "setting an array element with a sequence", and our advice only its cause
        if isinstance(error.__cause__, DerivativeLost):
            raise error.__cause__.with_traceback(error.__traceback__) from None
        raise
    finally:
        OPEN.discard(level)


def checked_result(caller: str, f: Function, y: Any) -> None:
    """Raise TypeError unless y = f(x) is of real numbers, and boxed at most by derivatives still being taken."""
    if type(y) is np.float64:
        return  # by far the most frequent
    if not (isinstance(y, np.generic | float | int) or is_array(y)) or np.result_type(strip(y)).kind not in "fiub":
        got = y.dtype if hasattr(y, "dtype") else type(y).__name__
        raise TypeError(f"{caller}: {name_of(f)} must return an array of real numbers, or one number, got {got}")
    while isinstance(y, Box):
        if y.level not in OPEN:
            raise TypeError(
                f"{caller}: {name_of(f)} returned a {type(y).__name__} of a derivative that is finished, kept from an "
                f"earlier call: keep sr.stop_gradient of it, which is a plain array"
            )
        y = y.value


def float_type(x: Any) -> Any:
    """The dtype of x, and float64 for a Python number or an array of integers: that of its derivative."""
    dtype = x.dtype if hasattr(x, "dtype") else np.result_type(x)
    return dtype if dtype.kind == "f" else np.float64


def describe(x: Any) -> str:
    return f"a dict of {list(x)}" if isinstance(x, dict) else f"an array of shape {np.shape(x)}"


def name_of(f: Function) -> str:
    return getattr(f, "__name__", repr(f))
