"""Notation as numbers: the tree that is typeset, with arrays in place of its symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from docs.annotated.tree import (
    Around,
    Call,
    Fraction,
    Node,
    Number,
    Power,
    Product,
    Root,
    Statement,
    Sum,
    Symbol,
    Transposed,
    Word,
    walk,
)

Array = Any
Value = Callable[[Symbol | Word], Array]
Functions = Mapping[str, Callable[..., Array]]

FUNCTIONS: Functions = {
    "max": np.maximum,
    "min": np.minimum,
    "sign": np.sign,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "clip": lambda x, limit: np.clip(x, -limit, limit),
    "diag": lambda x: x[..., None] * np.eye(x.shape[-1]),
    "mean": lambda x: np.mean(x, axis=-1, keepdims=True),
}


class NotEvaluable(ValueError):
    """There is no number to this, such as a distribution."""


def evaluate(node: Node, value: Value, axes: int = 1, functions: Functions = FUNCTIONS) -> Array:
    """The value of an expression. What has more axes than `axes`, the number that a vector has, counts as a matrix:
    side by side with a vector or a matrix it multiplies as such. All else, and ⊙, is entry by entry.

    >>> from docs.annotated.notation import read_line
    >>> statement = read_line("q = c / (|s| + δ)")[0][0]
    >>> values = {"c": 3.0, "s": -1.0, "delta": 0.5}
    >>> float(evaluate(statement.sides[1], lambda symbol: values[symbol.name]))
    2.0
    """

    def of(inner: Node) -> Array:
        return evaluate(inner, value, axes, functions)

    match node:
        case Number(text):
            return float(text)
        case Symbol() | Word():
            return value(node)
        case Call(name, args) if name in functions:
            return functions[name](*map(of, args))
        case Sum(signs, terms):
            return sum((of(term) if sign == "+" else -of(term) for sign, term in zip(signs, terms, strict=True)), 0.0)
        case Product(signs, factors):
            # from the right, so that V diag(s) Vᵀ g needs vectors alone, as people read it
            product = of(factors[-1])
            for sign, factor in zip(reversed(signs[1:]), reversed(factors[:-1]), strict=True):
                product = times(of(factor), product, axes) if sign == "" else of(factor) * product
            return product
        case Fraction(above, below):
            return of(above) / of(below)
        case Power(base, exponent):
            return of(base) ** of(exponent)
        case Transposed(base):
            return np.swapaxes(of(base), -1, -2)
        case Root(inside):
            return np.sqrt(of(inside))
        case Around("()", (inside,)):
            return of(inside)
        case Around("||", (inside,)):
            return np.abs(of(inside))
        case Around("‖‖", (inside,)):
            return np.linalg.norm(of(inside), axis=-1, keepdims=True)
    raise NotEvaluable(f"{type(node).__name__} {getattr(node, 'name', '')}".strip())


def times(a: Array, b: Array, axes: int) -> Array:
    if np.ndim(a) <= axes:
        return a * b
    return a @ b if np.ndim(b) > axes else (a @ b[..., None])[..., 0]


def evaluable(statement: Statement) -> bool:
    """Whether it states that two numbers are equal, or that one replaces the other."""
    kinds = Number | Symbol | Word | Sum | Product | Fraction | Power | Transposed | Root | Around | Statement
    numbers = all(isinstance(n, kinds) or (isinstance(n, Call) and n.name in FUNCTIONS) for n in walk(statement))
    return numbers and statement.signs in (("=",), ("←",))


def definition(statement: Statement, axes: int = 1, functions: Functions = FUNCTIONS) -> dict[str, Any]:
    """The function that a statement such as clip(z, ρ) = max(min(z, ρ), -ρ) defines, by its name; else nothing."""
    left = statement.sides[0]
    if not isinstance(left, Call) or statement.signs != ("=",):
        return {}
    names = [arg.name for arg in left.args if isinstance(arg, Symbol)]
    if len(set(names)) < len(left.args):
        return {}

    def function(*values: Array) -> Array:
        given = dict(zip(names, values, strict=True))
        return evaluate(statement.sides[1], lambda symbol: given[symbol.name], axes, functions)

    return {left.name: function}
