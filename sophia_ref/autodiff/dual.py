"""Forward mode: a number and its derivative, side by side.

    Dual(x, dx)   stands for   x + eps dx   with   eps^2 = 0

Whatever happens to x happens to first order in eps to dx as well. Nothing is remembered, so writing in place is exact:
both parts are overwritten. A Dual may be a view of another Dual, exactly as an ndarray may; for that, value and tangent
always have the same memory layout, so that an operation gives a view of both or a copy of both.

A buffer, such as np.full_like(x, 2.0), is a constant until something that varies is written into it or into a view of
it, and so is what is computed from constants alone. The rules see constants as None and give them no term at all: with
tangents of zeros, the exponent in x ** np.full_like(x, 2.0) would add 0 log x, which is NaN for negative x. A tangent
that merely happens to be zero is kept: sqrt(x^2) at 0 gives 0 / 0 = NaN, as there is no derivative.
"""

import operator
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import RULES, Box, astype, call, check_real, strip

ZERO = 0.0  # the tangent of a constant
VARIES = [True]  # Dual.varies of what is no buffer


class Dual(Box):
    """An array and its tangent, both of one shape, dtype and memory layout, at one level of differentiation."""

    __slots__ = ("tangent", "varies")
    buffers = ", or write into a buffer made with np.empty_like(x, shape=...), where x is the array differentiated"

    def __init__(self, value: Any, tangent: Any, level: int, varies: list[bool] = VARIES) -> None:
        self.value, self.tangent, self.level = value, tangent, level
        self.varies = varies  # [False] while it is a constant; one list for a buffer and all its views

    def lift(self, fun: Any, y: Any, args: Any, values: list[Any], boxed: list[int], kwargs: dict[str, Any]) -> "Dual":
        if type(y) is not np.float64:
            check_real(fun, y)
        tangents, varies = [None] * len(args), None
        for i in boxed:
            if args[i].varies[0]:
                tangents[i], varies = args[i].tangent, VARIES
        if varies is None:  # nothing but constants: a new one, or a view of one
            viewed = [i for i in boxed if np.may_share_memory(strip(y), strip(values[i]))]
            if not viewed:
                return constant(y, self.level)
            tangents[viewed[0]], varies = args[viewed[0]].tangent, args[viewed[0]].varies
        dy = RULES[fun].tangent(tangents, y, *values, **kwargs)
        if type(dy) is type(y) is np.float64:
            return Dual(y, dy, self.level, varies)
        if dy.dtype is not y.dtype and dy.dtype != y.dtype:
            dy = call(astype, dy, y.dtype)
        return Dual(y, alike(dy, y), self.level, varies)

    def copy(self, order: Any = "C") -> "Dual":
        """As of ndarray."""
        value, tangent = self.value.copy(order), self.tangent.copy(order)  # laid out alike, so their copies are too
        return Dual(value, tangent, self.level, VARIES if self.varies[0] else [False])

    def taking(self, other: Any) -> tuple[Any, Any]:
        """Value and tangent of what is about to be written into self, which varies from then on if `other` does."""
        if isinstance(other, Dual) and other.level == self.level:
            if other.varies[0]:
                self.varies[0] = True
                return other.value, other.tangent
            return other.value, ZERO
        return other, ZERO

    def assign(self, index: Any, value: Any) -> None:
        self.value[index], self.tangent[index] = self.taking(value)

    # +=, -= and *= without the temporary arrays of the general way (y = x + other, then x[...] = y). A NumPy scalar is
    # immutable: there they make a new one.

    def __iadd__(self, other: Any) -> Any:
        return call(operator.add, self, other) if self.is_scalar() else self.shift(operator.iadd, other)

    def __isub__(self, other: Any) -> Any:
        return call(operator.sub, self, other) if self.is_scalar() else self.shift(operator.isub, other)

    def shift(self, change: Any, other: Any) -> "Dual":
        value, tangent = self.taking(other)
        self.value = change(self.value, value)
        if tangent is not ZERO:
            self.tangent = change(self.tangent, tangent)
        return self

    def __imul__(self, other: Any) -> Any:
        """x c and dx c + x dc."""
        if self.is_scalar():
            return call(operator.mul, self, other)
        varied = self.varies[0]
        value, tangent = self.taking(other)
        cross = None if tangent is ZERO else self.value * tangent
        if varied:
            self.tangent *= value
        if cross is not None:
            self.tangent += cross
        self.value *= value
        return self

    def is_scalar(self) -> bool:
        return isinstance(strip(self), np.generic)

    def accumulate_at(self, ufunc: Any, index: Any, operand: Any) -> None:
        value, tangent = self.taking(operand)
        ufunc.at(self.value, index, value)
        ufunc.at(self.tangent, index, tangent)


def alike(dy: Any, y: Any) -> Any:
    """dy boxed as y is, and with its axes in memory in the same order: what can be written into y, dy can take."""
    if isinstance(y, Dual) and not (isinstance(dy, Dual) and dy.level == y.level):
        dy = np.zeros_like(y) + dy
    if dy.strides == y.strides or y.ndim < 2:
        return dy
    if all(m == n for m, n, length in zip(dy.strides, y.strides, y.shape, strict=True) if length > 1):
        return dy  # an axis of length 1 has no place in memory
    order = np.argsort([-stride for stride in y.strides], kind="stable")
    return np.transpose(np.copy(np.transpose(dy, order), "C"), np.argsort(order))


def buffer_like(make: Any, x: Any, args: Any, kwargs: Any) -> Any:
    """np.empty_like(x) and its kin: a fresh buffer, which takes tangents where x is a Dual. Of a Var, a plain array."""
    inside = make(x.value, *args, **kwargs)
    if isinstance(x, Dual) and np.issubdtype(inside.dtype, np.floating):
        return constant(inside, x.level)
    return inside


def constant(y: Any, level: int) -> Dual:
    """y with tangent zero, into which a variable may be written later."""
    zero = y.dtype.type(0) if isinstance(strip(y), np.generic) else np.zeros_like(y)
    return Dual(y, alike(zero, y), level, [False])
