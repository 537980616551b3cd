"""Reverse mode: write down what was done, then walk back.

A `Var` is an array and its number on a `Tape`. Every operation on Vars appends one line to the tape: which Vars went
in, which came out, and a function from the cotangents of the results to the cotangents of the arguments. `Tape.pull`
reads the lines backward (Linnainmaa 1970; Griewank and Walther, Evaluating Derivatives, 2008, chapter 3).

What a line needs later it keeps. The value of a Var cannot change, since writing into a Var is refused. A constant
array could be changed by its owner between forward and backward: so a writeable one is copied, and one that nobody can
write to is kept as it is. Mark large data arrays with `data.flags.writeable = False`, and nothing is copied.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import RULES, Box, InPlaceError, astype, call, check_real, is_array, levels
from sophia_ref.autodiff.dual import Dual

IMMUTABLE = {int, float, np.float64, np.float32, slice, type(...), type(None)}  # constants that nobody can change


class Tape:
    """The record of one differentiation; `pull` turns the cotangent of a result into that of every Var."""

    def __init__(self) -> None:
        self.level = next(levels)
        self.size = 0
        # A line is (number of the result, parents, (cotangent, y, values, kwargs)) of a function with a rule, or
        # (numbers of the results, parents, pullback) of one with a backward pass of its own. A parent is a pair: which
        # argument it was, and the number of the Var.
        self.lines: list[tuple[int | range, list[tuple[int, int]], Any]] = []

    def var(self, value: Any) -> "Var":
        self.size += 1
        return Var(value, self, self.size - 1)

    def record(self, results: list[Any], parents: list[tuple[int, int]], pullback: Callable[..., Any]) -> list["Var"]:
        """Append a line whose `pullback` gets a tuple of cotangents, one a result, None where it was not used."""
        self.lines.append((range(self.size, self.size + len(results)), parents, pullback))
        return [self.var(y) for y in results]

    def pull(self, index: int, y_bar: Any) -> list[Any]:
        """Cotangents of the Vars that Var number `index` depends on, given its own; called any number of times."""
        bars: list[Any] = [None] * self.size
        bars[index] = y_bar
        for results, parents, how in reversed(self.lines):
            if type(results) is int:
                bar = bars[results]
                if bar is not None:
                    bars[results] = None  # no longer needed
                    cotangent, y, values, kwargs = how
                    for i, parent in parents:
                        term, x = cotangent(i, bar, y, *values, **kwargs), values[i]
                        if not type(term) is type(x) is np.float64 and term.dtype is not x.dtype:
                            term = like(term, x)
                        sofar = bars[parent]
                        bars[parent] = term if sofar is None else sofar + term  # fan-out adds
            else:
                given = tuple(bars[i] for i in results)
                if any(bar is not None for bar in given):
                    bars[results.start : results.stop] = [None] * len(results)
                    for (_, parent), term in zip(parents, how(given), strict=True):
                        sofar = bars[parent]
                        bars[parent] = term if sofar is None else sofar + term
        return bars


class Var(Box):
    """An array whose history is on a tape. Writing into it is refused: the tape needs the old values."""

    __slots__ = ("index", "tape")

    def __init__(self, value: Any, tape: Tape, index: int) -> None:
        self.value, self.tape, self.index, self.level = value, tape, index, tape.level

    def lift(self, fun: Any, y: Any, args: Any, values: list[Any], boxed: list[int], kwargs: dict[str, Any]) -> "Var":
        if type(y) is not np.float64 and not isinstance(y, Box):
            check_real(fun, y)
        if len(boxed) < len(values):
            for i, value in enumerate(values):
                if type(value) not in IMMUTABLE and i not in boxed:
                    values[i] = keep(value)
        if kwargs:
            kwargs = {key: keep(value) for key, value in kwargs.items()}
        tape, parents = self.tape, []
        for i in boxed:
            parents.append((i, args[i].index))
        number = tape.size
        tape.lines.append((number, parents, (RULES[fun].cotangent, y, values, kwargs)))
        tape.size = number + 1
        return Var(y, tape, number)

    def assign(self, index: Any, value: Any) -> None:
        raise InPlaceError(
            "writing into a Var (x[i] = ..., x += ..., out=x) is refused, because its gradient needs the old values: "
            "make a new array, as in x = x + ..., or use np.where. If this is the backward of an sr.primitive, then it "
            "cannot be taped itself (reverse over reverse); hvp, which goes forward over reverse, works"
        )


def like(bar: Any, value: Any) -> Any:
    """A cotangent in the dtype of what it belongs to: a float64 constant does not make a float32 gradient float64."""
    return bar if bar.dtype == value.dtype else call(astype, bar, value.dtype)


def keep(value: Any) -> Any:
    """An array as the tape keeps it: copied if its owner could still change it."""
    if isinstance(value, np.ndarray):
        return value.copy() if may_change(value) else value
    if isinstance(value, Dual):  # under a Hessian-vector product the buffers of np.empty_like are Duals
        return value.copy()
    if type(value) is tuple:
        for item in value:
            if type(item) not in IMMUTABLE:
                return tuple(map(keep, value))
    elif type(value) is list:
        return list(map(keep, value))
    return value


def may_change(array: Any) -> bool:
    """Whether someone could write to it: to the array itself, or to one that it is a view of."""
    return isinstance(array, np.ndarray) and (array.flags.writeable or may_change(array.base))


def primitive(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function with a hand-written backward pass.

    forward(*args) -> (y, saved): y an array or a tuple of arrays, saved anything that the backward needs.
    backward(saved, y_bar) -> one cotangent an argument, in a tuple: None for an argument without derivative, such as
    integer tokens. Where y is a tuple, so is y_bar, with None for results that were not used.

    Both are plain NumPy. One pair gives every derivative: a gradient calls `backward`; a tangent, and so the
    Hessian-vector product, pushes Dual arrays through both. Inside them np.asarray does not work (it would drop
    tangents); use x.copy() and np.empty_like(x, shape=...). Neither may change its arguments, `saved` or `y_bar`:
    arguments and y_bar arrive read-only. A backward that writes in place cannot be taped itself (reverse over reverse).

    Raises TypeError or ValueError, naming the function, if `forward` returns no pair or takes a variable that is not
    among its arguments, if `backward` returns the wrong number, kind or shape of cotangents, and if one of them writes
    into what it was given.
    """
    if not (callable(forward) and callable(backward)):
        raise TypeError(f"primitive: forward and backward must be functions, got {forward!r} and {backward!r}")
    name = getattr(forward, "__name__", "primitive")

    @wraps(forward)
    def apply(*args: Any) -> Any:
        top = max((arg for arg in args if isinstance(arg, Box)), key=lambda box: box.level, default=None)
        if not isinstance(top, Var):  # plain arrays, or Duals, which pass through the plain code
            return split_pair(name, forward(*args))[0]
        boxed = [i for i, arg in enumerate(args) if isinstance(arg, Var) and arg.level == top.level]
        values = [locked(arg.value if i in boxed else keep(arg)) for i, arg in enumerate(args)]
        y, saved = split_pair(name, protected(f"the forward of {name}", forward, *values))

        def pullback(y_bars: tuple[Any, ...]) -> list[Any]:
            y_bar = tuple(map(locked, y_bars))
            given = y_bar if isinstance(y, tuple) else y_bar[0]
            bars = protected(f"the backward of {name}", backward, saved, given)
            if not isinstance(bars, tuple) or len(bars) != len(values):
                got = f"{len(bars)} of them" if isinstance(bars, tuple) else type(bars).__name__
                raise TypeError(
                    f"the backward of {name} must return a tuple of {len(values)} cotangents, one per argument; "
                    f"got {got}"
                )
            for i in boxed:
                bar = as_array(bars[i])
                if bar.shape != values[i].shape or bar.dtype.kind not in "fiub":
                    got = "None" if bars[i] is None else f"shape {bar.shape}, dtype {bar.dtype}"
                    raise ValueError(
                        f"the backward of {name} must return a cotangent of shape {values[i].shape} for argument {i}; "
                        f"got {got}"
                    )
            return [like(as_array(bars[i]), values[i]) for i in boxed]

        level = top.level
        results = [output(name, level, item) for item in (y if isinstance(y, tuple) else (y,))]
        variables = top.tape.record(results, [(i, args[i].index) for i in boxed], pullback)
        return tuple(variables) if isinstance(y, tuple) else variables[0]

    return apply


def protected(half: str, fun: Callable[..., Any], *args: Any) -> Any:
    """fun(*args), whose error is given a name if it writes into what `locked` has locked."""
    try:
        return fun(*args)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise ValueError(
            f"{half} writes into an array that is read-only, as its arguments and y_bar are: write into a copy of it, "
            f"or make a new array"
        ) from error


def split_pair(name: str, pair: Any) -> tuple[Any, Any]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(f"the forward of {name} must return a pair (y, saved), got {type(pair).__name__}")
    return pair


def output(name: str, level: int, y: Any) -> Any:
    """What a forward returned, as an array."""
    if isinstance(y, Box) and y.level >= level:
        raise TypeError(
            f"the forward of {name} uses a variable that is not among its arguments, or is inside a list or dict: "
            f"its derivative would be lost. Make it an argument of its own"
        )
    y = as_array(y)
    if y.dtype.kind not in "fiub":
        raise TypeError(f"the forward of {name} must return real arrays, got {y.dtype}")
    return y


def as_array(x: Any) -> Any:
    return x if isinstance(x, (Box, np.ndarray, np.generic)) or is_array(x) else np.asarray(x)


def locked(x: Any) -> Any:
    """x, read-only: hand-written code that overwrites what others still need gets NumPy's error."""
    if isinstance(x, Dual):
        return Dual(locked(x.value), locked(x.tangent), x.level, x.varies)
    if isinstance(x, np.ndarray):
        x = x.view()
        x.flags.writeable = False
    return x
