"""Forward mode: a number and its derivative, side by side.

    Dual(x, dx)   stands for   x + eps dx   with   eps^2 = 0

Whatever happens to x happens to first order in eps to dx as well. Nothing is remembered, so writing in place is exact:
both parts are overwritten. A Dual may be a view of another Dual, exactly as an ndarray may.
"""

from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import Box, Rule


class Dual(Box):
    """An array and its tangent, both of one shape and dtype, at one level of differentiation."""

    __slots__ = ("tangent",)

    def __init__(self, value: Any, tangent: Any, level: int) -> None:
        self.value, self.tangent, self.level = value, tangent, level

    def lift(self, rule: Rule, y: Any, args: Any, values: Any, kwargs: Any) -> "Dual":
        tangents = tuple(arg.tangent if isinstance(arg, Dual) and arg.level == self.level else None for arg in args)
        return Dual(y, rule.tangent(tangents, y, *values, **kwargs), self.level)

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


def buffer_like(make: Any, x: Any, args: Any, kwargs: Any) -> Any:
    """np.empty_like(x) and its kin: a fresh buffer, which holds tangents where x is a Dual. Of a Var, a plain array."""
    inside = make(x.value, *args, **kwargs)
    if isinstance(x, Dual) and np.issubdtype(inside.dtype, np.floating):
        return Dual(inside, np.zeros_like(inside), x.level)
    return inside
