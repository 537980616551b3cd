"""Reverse mode: write down what was done, then walk back.

A `Var` is an array and its number on a `Tape`. Every operation on Vars appends one line to the tape: which Vars went
in, which came out, and a function from the cotangents of the results to the cotangents of the arguments. `Tape.pull`
reads the lines backward (Linnainmaa 1970; Griewank and Walther, Evaluating Derivatives, 2008, chapter 3).

What a line needs later it keeps. The value of a Var cannot change, since writing into a Var is refused. A constant
array could be changed by its owner between forward and backward: so a writeable one is copied, and one with
`flags.writeable == False` is kept as it is. Mark large data arrays read-only, and nothing is copied.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import Box, InPlaceError, Rule, levels, top_box


class Tape:
    """The record of one differentiation; `pull` turns the cotangent of a result into that of every Var."""

    def __init__(self) -> None:
        self.level = next(levels)
        self.size = 0
        self.lines: list[tuple[range, bool, list[int], Callable[..., Any]]] = []

    def var(self, value: Any) -> "Var":
        self.size += 1
        return Var(value, self, self.size - 1)

    def record(self, y: Any, parents: list[int], pullback: Callable[..., Any]) -> Any:
        """Append a line. `pullback` gets the cotangent of y; if y is a tuple, a tuple of them, None where unused."""
        start = self.size
        result = tuple(self.var(item) for item in y) if isinstance(y, tuple) else self.var(y)
        self.lines.append((range(start, self.size), isinstance(y, tuple), parents, pullback))
        return result

    def pull(self, index: int, y_bar: Any) -> dict[int, Any]:
        """Cotangents of the Vars that Var number `index` depends on, given its own; called any number of times."""
        cotangents = {index: y_bar}
        for outputs, several, parents, pullback in reversed(self.lines):
            bars = tuple(cotangents.pop(output, None) for output in outputs)
            if all(bar is None for bar in bars):
                continue
            for parent, bar in zip(parents, pullback(bars if several else bars[0]), strict=True):
                cotangents[parent] = cotangents[parent] + bar if parent in cotangents else bar  # fan-out adds
        return cotangents


class Var(Box):
    """An array whose history is on a tape. Writing into it is refused: the tape needs the old values."""

    __slots__ = ("index", "tape")

    def __init__(self, value: Any, tape: Tape, index: int) -> None:
        self.value, self.tape, self.index, self.level = value, tape, index, tape.level

    def lift(self, rule: Rule, y: Any, args: Any, values: Any, kwargs: Any) -> "Var":
        boxed = [i for i, arg in enumerate(args) if isinstance(arg, Var) and arg.level == self.level]
        kept = tuple(value if i in boxed else keep(value) for i, value in enumerate(values))

        def pullback(y_bar: Any) -> list[Any]:
            return [rule.cotangent(i, y_bar, y, *kept, **kwargs) for i in boxed]

        result: Var = self.tape.record(y, [args[i].index for i in boxed], pullback)
        return result

    def assign(self, index: Any, value: Any) -> None:
        raise InPlaceError(
            "writing into a Var (x[i] = ..., x += ..., out=x) is refused, because its gradient needs the old values: "
            "make a new array, as in x = x + ..., or use np.where. If this is the backward of an sr.primitive, then it "
            "cannot be taped itself (reverse over reverse); hvp, which goes forward over reverse, works"
        )


def keep(value: Any) -> Any:
    """A constant as the tape keeps it: copied if its owner could still change it."""
    if isinstance(value, np.ndarray) and value.flags.writeable and value.ndim:
        return value.copy()
    return type(value)(keep(item) for item in value) if type(value) in (tuple, list) else value


def primitive(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a hand-written backward pass.

    forward(*args) -> (y, saved): y an array or a tuple of arrays, saved anything that the backward needs.
    backward(saved, y_bar) -> one cotangent an argument, in a tuple: None for an argument without derivative, such as
    integer tokens. Where y is a tuple, so is y_bar, with None for results that were not used.

    Both are plain NumPy. One pair gives every derivative: a gradient calls `backward`; a tangent, and so the
    Hessian-vector product, pushes Dual arrays through both. Inside them np.asarray does not work (it would drop
    tangents); use x.copy() and np.empty_like(x, shape=...). Neither may change its arguments, `saved` or `y_bar`. A
    backward that writes in place cannot be taped itself (reverse over reverse).

    Raises TypeError or ValueError, naming the function, if `backward` returns the wrong number, kind or shape of
    cotangents.
    """
    name = getattr(forward, "__name__", "primitive")

    @wraps(forward)
    def apply(*args: Any) -> Any:
        top = top_box(args)
        if not isinstance(top, Var):  # plain arrays, or Duals, which pass through the plain code
            return forward(*args)[0]
        boxed = [i for i, arg in enumerate(args) if isinstance(arg, Var) and arg.level == top.level]
        values = [arg.value if i in boxed else arg for i, arg in enumerate(args)]
        y, saved = forward(*values)

        def pullback(y_bar: Any) -> list[Any]:
            bars = backward(saved, y_bar)
            if not isinstance(bars, tuple) or len(bars) != len(args):
                raise TypeError(
                    f"the backward of {name} must return a tuple of {len(args)} cotangents, one per argument; "
                    f"got {type(bars).__name__}"
                )
            for i in boxed:
                if np.shape(bars[i]) != np.shape(values[i]) or bars[i] is None:
                    raise ValueError(
                        f"the backward of {name} must return a cotangent of shape {np.shape(values[i])} for "
                        f"argument {i}; got {'None' if bars[i] is None else f'shape {np.shape(bars[i])}'}"
                    )
            return [bars[i] for i in boxed]

        return top.tape.record(y, [args[i].index for i in boxed], pullback)

    return apply
