"""A landscape as a JavaScript program: its own NumPy function is called once, with tracers that note what is done.

    trace(lambda theta: 8 * (theta[..., 0] - 1) ** 2)

is the text `(o) => { const c0 = o.constant(1), ...; return (x, y) => { const t0 = o.subtract(x, c0); ... }; }`. With
plain numbers for o it is the function, with the jets of jets.js it is value, gradient and Hessian: no landscape is
written twice. As the program is straight, a function whose Python branches depend on theta is refused; np.where is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

# Known to jets.js by the same names.
KNOWN = {
    np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum, np.minimum, np.hypot, np.arctan2, np.logaddexp,
    np.positive, np.negative, np.absolute, np.sign, np.square, np.reciprocal, np.sqrt, np.cbrt,
    np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p,
    np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan,
    np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh, np.arctanh,
}  # fmt: skip
COMPARE = {np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal}
LOGIC = {np.logical_and, np.logical_or, np.logical_not}
SAME = {
    np.float_power: np.power,
    np.fabs: np.absolute,
    np.bitwise_and: np.logical_and,
    np.bitwise_or: np.logical_or,
    np.invert: np.logical_not,
}


def trace(f: Callable[[Any], Any]) -> str:
    """The program of f: theta (..., 2) -> heights (...).

    Raises TypeError for an operation that has no counterpart in jets.js, by its name, and for a branch on theta.
    """
    program = _Program()
    result = program.number(f(_Theta(program)))
    constants = "".join(f"  const {name} = o.constant({number});\n" for number, name in program.constants.items())
    lines = "".join(f"    const {name} = o.{call};\n" for call, name in program.lines.items())
    return f"(o) => {{\n{constants}  return (x, y) => {{\n{lines}    return {result};\n  }};\n}}"


class _Program:
    """Constants and calls, each once, with the names that they are given."""

    def __init__(self) -> None:
        self.constants: dict[str, str] = {}
        self.lines: dict[str, str] = {}

    def operand(self, value: Any) -> str:
        if isinstance(value, _Number):
            return value.name
        if isinstance(value, (int, float, np.number, np.bool_)) or (isinstance(value, np.ndarray) and value.ndim == 0):
            number = float(value)
            text = repr(number) if math.isfinite(number) else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(number))
            return self.constants.setdefault(text or "NaN", f"c{len(self.constants)}")
        raise TypeError(f"explore: the landscape uses {value!r}; expected numbers and the coordinates of theta alone")

    def call(self, function: Callable[..., Any], *operands: Any) -> _Number:
        truths = len(operands) if function in LOGIC else 1 if function is np.where else 0
        names = [(self.truth if i < truths else self.number)(value) for i, value in enumerate(operands)]
        call = f"{function.__name__}({', '.join(names)})"
        return _Number(self, self.lines.setdefault(call, f"t{len(self.lines)}"), function in COMPARE | LOGIC)

    def number(self, value: Any) -> str:
        """value as a number: a truth is 1 or 0."""
        is_truth = isinstance(value, _Number) and value.is_truth
        return self.call(np.where, value, 1.0, 0.0).name if is_truth else self.operand(value)

    def truth(self, value: Any) -> str:
        """value as a truth: a number is one unless it is 0."""
        is_truth = isinstance(value, _Number) and value.is_truth
        return value.name if is_truth else self.call(np.not_equal, value, 0.0).name


def _refuse(what: str) -> TypeError:
    return TypeError(f"explore: the landscape uses {what}, which cannot be traced; expected elementwise NumPy")


class _Number(np.lib.mixins.NDArrayOperatorsMixin):
    """A number or a truth of the program, by its name there."""

    shape, ndim, size = (), 0, 1

    def __init__(self, program: _Program, name: str, is_truth: bool = False) -> None:
        self.program, self.name, self.is_truth = program, name, is_truth

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> _Number:
        ufunc = SAME.get(ufunc, ufunc)
        if method != "__call__" or kwargs or ufunc not in KNOWN | COMPARE | LOGIC:
            raise _refuse(f"np.{ufunc.__name__}" + f".{method}" * (method != "__call__") + "(...=)" * bool(kwargs))
        return self.program.call(ufunc, *inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and len(args) == 3:
            return self.program.call(np.where, *args)
        if function is np.clip and len(args) == 3 and not kwargs:
            x, low, high = args
            return np.minimum(np.maximum(x, low), high)
        raise _refuse(f"np.{function.__name__}")

    def __bool__(self) -> bool:
        raise _refuse("a branch on theta (np.where makes one)")

    def __float__(self) -> float:
        raise _refuse("theta as a Python number")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise _refuse("theta as an array (np.asarray)")


class _Theta(np.lib.mixins.NDArrayOperatorsMixin):
    """theta (2,), of which the program knows the two coordinates."""

    shape, ndim, size = (2,), 1, 2

    def __init__(self, program: _Program) -> None:
        self.coordinates = [_Number(program, "x"), _Number(program, "y")]

    def __getitem__(self, key: Any) -> _Number:
        index = key[1] if isinstance(key, tuple) and len(key) == 2 and key[0] is ... else key
        if not isinstance(index, (int, np.integer)):
            raise _refuse(f"theta[{key!r}]")
        return self.coordinates[index]

    def __array_ufunc__(self, ufunc: Any, *args: Any, **kwargs: Any) -> Any:
        raise _refuse(f"np.{ufunc.__name__} of theta as a whole")

    def __array_function__(self, function: Any, *args: Any) -> Any:
        raise _refuse(f"np.{function.__name__} of theta as a whole")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise _refuse("theta as an array (np.asarray)")

    def __getattr__(self, name: str) -> Any:
        raise _refuse(f"theta.{name}")
