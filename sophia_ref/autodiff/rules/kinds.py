"""The kinds of rules, and what they share."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from sophia_ref.autodiff.dispatch import COMPOSITES, Rule, call, name_of, strip

Array = Any  # an ndarray or a box
Axis = int | tuple[int, ...] | None


def elementwise(*maps: Callable[..., Array] | None) -> Rule:
    """maps[i](d, y, *args) is d times the derivative of y by args[i]; None where there is none."""

    def tangent(tangents: Sequence[Array], y: Array, *args: Array) -> Array:
        dy, shared = None, False
        for i, d in enumerate(tangents):
            if d is not None and (map_ := maps[i]) is not None:
                term = map_(d, y, *args)
                if dy is None:
                    dy, shared = term, term is d
                else:
                    dy, shared = dy + term, False
        if type(dy) is type(y) is np.float64:
            return dy
        if dy is None:
            return np.zeros_like(y)
        if dy.shape != y.shape:
            return +np.broadcast_to(dy, y.shape)
        return +dy if shared else dy  # a copy: a result shares no memory with what it comes from

    def cotangent(i: int, y_bar: Array, y: Array, *args: Array) -> Array:
        x, map_ = args[i], maps[i]
        if map_ is None:
            return np.zeros_like(strip(x))
        x_bar = map_(y_bar, y, *args)
        if type(x_bar) is type(x) is np.float64:
            return x_bar
        return x_bar if x_bar.shape == x.shape else unbroadcast(x_bar, x.shape)

    return Rule(tangent, cotangent, len(maps), frozenset())


def linear(fun: Callable[..., Array], transpose: Callable[..., Array]) -> Rule:
    """For fun(x, *settings), linear in x; transpose(y_bar, x, *settings)."""

    def tangent(tangents: Sequence[Array], y: Array, x: Array, *args: Any, **kwargs: Any) -> Array:
        for d in tangents[1:]:
            if d is not None:
                refuse()
        dx = tangents[0]
        return fun(dx, *args, **kwargs) if type(dx) is np.ndarray else call(fun, dx, *args, **kwargs)

    def cotangent(i: int, y_bar: Array, y: Array, *args: Any, **kwargs: Any) -> Array:
        if i > 0:
            refuse()
        return transpose(y_bar, *args, **kwargs)

    def refuse() -> NoReturn:
        raise TypeError(f"{name_of(fun)}: only its first argument has a derivative; the others must be plain")

    return Rule(tangent, cotangent, *arguments(transpose, skip=1))


def multilinear(fun: Callable[..., Array], cotangent: Callable[..., Array]) -> Rule:
    """For fun(*arrays), linear in each: the product rule."""

    def tangent(tangents: Sequence[Array], y: Array, *args: Any, **kwargs: Any) -> Array:
        terms = [call(fun, *args[:i], d, *args[i + 1 :], **kwargs) for i, d in enumerate(tangents) if d is not None]
        return sum(terms[1:], start=terms[0])

    return general(tangent, cotangent)


def general(tangent: Callable[..., Array], cotangent: Callable[..., Array]) -> Rule:
    """Both directions written out; the arguments that the rule understands are those of `cotangent` after y."""
    return Rule(tangent, cotangent, *arguments(cotangent, skip=3))


def arguments(half: Callable[..., Any], skip: int) -> tuple[int, frozenset[str]]:
    """How many arguments by position, and which by name, `half` of a rule takes after the first `skip`."""
    parameters = list(inspect.signature(half).parameters.values())[skip:]
    positional = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
    return positional, frozenset(p.name for p in parameters[1:])


def composite(*funs: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the definition of `funs` in terms of other functions. Its arguments have NumPy's names."""

    def register(definition: Callable[..., Any]) -> Callable[..., Any]:
        # Python's message about an argument too many starts with this name.
        definition.__qualname__ = f"the derivative rule of numpy.{funs[0].__name__}"
        COMPOSITES.update(dict.fromkeys(funs, definition))
        return definition

    return register


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum `g` over the axes along which an array of `shape` was repeated."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1))
    return np.reshape(np.sum(g, axis=axes), shape)


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def over_length(x: Array, y: Array) -> Array:
    """x / y for a length y, and 0 where the length is 0."""
    zero = y == 0
    return np.where(zero, 0.0, x / np.where(zero, 1.0, y))
