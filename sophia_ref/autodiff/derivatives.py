"""grad, jvp, vjp, hvp, hessian: what people call.

Each works for f of one array, or of a dict of arrays: x, v and the results then have the same keys.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import Box, levels
from sophia_ref.autodiff.dual import Dual
from sophia_ref.autodiff.tape import Tape, Var

Function = Callable[..., Any]


def jvp(f: Function, x: Any, v: Any) -> tuple[Any, Any]:
    """Value and directional derivative, f(x) and J v, in one forward pass.

    f: any shape to any shape. x: float32 or float64 ndarray, scalar, or dict of them. v: like x in shape. Raises
    TypeError or ValueError naming x or v if it is not.

    >>> jvp(lambda x: x**3, 2.0, 1.0)
    (np.float64(8.0), np.float64(12.0))
    """
    x = checked("jvp", x)
    level = next(levels)

    def dual(value: Any, tangent: Any) -> Dual:
        if np.shape(tangent) != value.shape:
            raise ValueError(f"jvp: v must have the shape of x, {value.shape}, got {np.shape(tangent)}")
        fresh = tangent if isinstance(tangent, Box) else np.array(tangent, dtype=value.dtype)
        return Dual(value if isinstance(value, Box) else value.copy()[()], fresh[()], level)

    if isinstance(x, dict) != isinstance(v, dict) or (isinstance(x, dict) and set(x) != set(v)):
        raise ValueError(f"jvp: v must be like x: {describe(x)}, got {describe(v)}")
    y = f({key: dual(x[key], v[key]) for key in x} if isinstance(x, dict) else dual(x, v))

    def split(result: Any) -> tuple[Any, Any]:
        if isinstance(result, Dual) and result.level == level:
            return result.value, result.tangent
        return result, np.zeros_like(result, dtype=None if isinstance(result, Box) else float_type(result))

    if isinstance(y, dict):
        parts = {key: split(result) for key, result in y.items()}
        return {key: part[0] for key, part in parts.items()}, {key: part[1] for key, part in parts.items()}
    return split(y)


def vjp(f: Function, x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """f(x) and its pullback, y_bar -> J^T y_bar, which may be called any number of times.

    f: any shape to any shape. x: float32 or float64 ndarray, scalar, or dict of them; it is copied, so changing it
    later does no harm.

    >>> y, pullback = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 10.0]))
    array([ 2., 40.])
    """
    x = checked("vjp", x)
    tape = Tape()

    def var(value: Any) -> Var:
        return tape.var(value if isinstance(value, Box) else value.copy()[()])

    inputs = {key: var(value) for key, value in x.items()} if isinstance(x, dict) else var(x)
    y = f(inputs)
    ours = isinstance(y, Var) and y.tape is tape
    value = y.value if ours else y
    if not isinstance(value, Box | np.ndarray | np.generic | float):
        raise TypeError(f"vjp: {name_of(f)} must return an array or a number, got {type(value).__name__}")

    def pullback(y_bar: Any) -> Any:
        if np.shape(y_bar) != np.shape(value):
            raise ValueError(
                f"pullback: y_bar must have the shape of the result, {np.shape(value)}, got {np.shape(y_bar)}"
            )
        bars = tape.pull(y.index, y_bar) if ours else {}

        def result(var: Var) -> Any:
            bar = bars.get(var.index)
            if bar is None:
                return np.zeros(var.shape, var.dtype)[()]
            return bar.astype(var.dtype) if isinstance(bar, Box) else np.array(bar, dtype=var.dtype)[()]

        return {key: result(var) for key, var in inputs.items()} if isinstance(inputs, dict) else result(inputs)

    return value, pullback


def value_and_grad(f: Function, argnum: int = 0) -> Function:
    """The function (x, *args) -> (f, gradient of f with respect to argument number `argnum`), for scalar f."""

    def both(*args: Any) -> tuple[Any, Any]:
        if not 0 <= argnum < len(args):
            raise ValueError(f"grad: argnum must be the number of an argument, 0 to {len(args) - 1}, got {argnum}")
        x = checked("grad", args[argnum])
        value, pullback = vjp(lambda x: f(*args[:argnum], x, *args[argnum + 1 :]), x) if len(args) > 1 else vjp(f, x)
        if np.shape(value) != ():
            raise ValueError(
                f"grad needs a scalar loss: {name_of(f)} returned shape {np.shape(value)}. Sum or average it, "
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
    return jvp(grad(f), checked("hvp", x), v)[1]


def hessian(f: Function) -> Function:
    """The function x -> Hessian (n, n) of scalar f at x (n,), from n Hessian-vector products.

    >>> hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """

    def matrix(x: Any) -> Any:
        if isinstance(x, dict) or np.ndim(x) != 1:
            raise ValueError(
                f"hessian: x must have shape (n,), got {describe(x)}; Layout.pack makes one array of several"
            )
        x = checked("hessian", x)
        if len(x) == 0:
            return np.zeros((0, 0), x.dtype)
        return np.stack([hvp(f, x, e) for e in np.eye(len(x), dtype=x.dtype)])

    return matrix


def hessian_diag(f: Function) -> Function:
    """The function x -> diagonal of the Hessian of scalar f, in the shape of x: one hvp a coordinate."""

    def diagonal(x: Any) -> Any:
        x = checked("hessian_diag", x)
        if isinstance(x, dict):
            raise TypeError("hessian_diag: x must be one array, got a dict; Layout.pack makes one array of several")
        basis = np.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        entries = [hvp(f, x, e)[np.unravel_index(i, x.shape)] for i, e in enumerate(basis)]
        return np.reshape(np.stack(entries), x.shape) if entries else np.zeros(x.shape, x.dtype)

    return diagonal


def checked(caller: str, x: Any) -> Any:
    """x with scalars as NumPy's, or a TypeError that says what is wrong with it."""
    if isinstance(x, dict):
        return {key: checked(caller, value) for key, value in x.items()}
    if isinstance(x, float) and not isinstance(x, np.generic):
        return np.float64(x)
    if not isinstance(x, Box | np.ndarray | np.generic):
        hint = (
            "write 3.0 for 3"
            if isinstance(x, int)
            else "np.array(x, dtype=float) makes one"
            if isinstance(x, list | tuple)
            else ""
        )
        raise TypeError(
            f"{caller}: x must be an ndarray of floats, a float, or a dict of them, got {x!r}{hint and '; ' + hint}"
        )
    if x.dtype not in (np.float32, np.float64):
        hint = "differentiate real and imaginary parts" if np.iscomplexobj(x) else "x.astype(float) makes one"
        raise TypeError(f"{caller}: x must be of dtype float32 or float64, got {x.dtype}; {hint}")
    return x


def float_type(x: Any) -> Any:
    """The dtype of x, and float64 for a Python number or an array of integers: that of its derivative."""
    dtype = x.dtype if isinstance(x, Box) else np.result_type(x)
    return dtype if np.issubdtype(dtype, np.floating) else np.float64


def describe(x: Any) -> str:
    return f"a dict of {sorted(x)}" if isinstance(x, dict) else f"an array of shape {np.shape(x)}"


def name_of(f: Function) -> str:
    return getattr(f, "__name__", repr(f))
