"""Forward mode: a number and its derivative, side by side.

    Dual(x, dx)   stands for   x + eps dx   with   eps^2 = 0

Whatever happens to x happens to first order in eps to dx as well. Nothing is remembered, so writing in place is exact:
both parts are overwritten. A Dual may be a view of another Dual, exactly as an ndarray may; for that, value and tangent
always have the same memory layout, so that an operation gives a view of both or a copy of both.
"""

from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import RULES, Box, astype, call, check_real


class Dual(Box):
    """An array and its tangent, both of one shape, dtype and memory layout, at one level of differentiation."""

    __slots__ = ("tangent",)

    def __init__(self, value: Any, tangent: Any, level: int) -> None:
        self.value, self.tangent, self.level = value, tangent, level

    def lift(self, fun: Any, y: Any, args: Any, values: list[Any], boxed: list[int], kwargs: dict[str, Any]) -> "Dual":
        tangents = [None] * len(args)
        for i in boxed:
            tangents[i] = args[i].tangent
        dy = RULES[fun].tangent(tangents, y, *values, **kwargs)
        check_real(fun, y)
        if dy.dtype != y.dtype:
            dy = call(astype, dy, y.dtype)
        return Dual(y, alike(dy, y), self.level)

    def parts(self, other: Any) -> tuple[Any, Any]:
        """Value and tangent of `other` at this level; a constant's tangent is zero."""
        if isinstance(other, Dual) and other.level == self.level:
            return other.value, other.tangent
        return other, 0.0

    def assign(self, index: Any, value: Any) -> None:
        self.value[index], self.tangent[index] = self.parts(value)

    def accumulate_at(self, ufunc: Any, index: Any, operand: Any) -> None:
        value, tangent = self.parts(operand)
        ufunc.at(self.value, index, value)
        ufunc.at(self.tangent, index, tangent)


def alike(dy: Any, y: Any) -> Any:
    """dy boxed as y is, and with its axes in memory in the same order: what can be written into y, dy can take."""
    if isinstance(y, Dual) and not (isinstance(dy, Dual) and dy.level == y.level):
        dy = np.zeros_like(y) + dy
    if y.ndim < 2 or dy.strides == y.strides:
        return dy
    if all(m == n for m, n, length in zip(dy.strides, y.strides, y.shape, strict=True) if length > 1):
        return dy  # an axis of length 1 has no place in memory
    order = np.argsort([-stride for stride in y.strides], kind="stable")
    return np.transpose(np.copy(np.transpose(dy, order), "C"), np.argsort(order))


def buffer_like(make: Any, x: Any, args: Any, kwargs: Any) -> Any:
    """np.empty_like(x) and its kin: a fresh buffer, which holds tangents where x is a Dual. Of a Var, a plain array."""
    inside = make(x.value, *args, **kwargs)
    if isinstance(x, Dual) and np.issubdtype(inside.dtype, np.floating):
        return Dual(inside, np.zeros_like(inside), x.level)
    return inside
