"""The table: how every NumPy function that losses are made of differentiates.

Four kinds of entry, from the plainest on:

    elementwise   y_j depends on x_j only. One map (d, y, *args) -> d * dy/dx serves both directions, since a diagonal
                  matrix is its own transpose; broadcasting is undone on the way back.
    linear        y = A x. The tangent is the function itself applied to dx; the cotangent, A^T y_bar, is written out.
    matrix        functions of whole matrices, both directions written out. X_bar denotes the cotangent of X.
    composite     written with functions that have rules. No derivative to get wrong.

Conventions where a function has no derivative: a tie (maximum, max, clip, sort) shares equally, but sort, which keeps
the order of equal entries; abs and sign have slope 0 at 0; norm and std have slope 0 where they are 0 (their
subgradient of least norm); sqrt has slope infinity at 0. Rounding, comparison and arg functions give plain arrays.

Sources: Giles, Collected Matrix Derivative Results for Forward and Reverse Mode AD, 2008 (inv, solve, det, eigh);
Murray, Differentiation of the Cholesky decomposition, 2016.
"""

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import COMPOSITES, LATE, RULES, UFUNC_METHODS, Box, Rule, astype, call, getitem, strip
from sophia_ref.autodiff.dual import buffer_like

Array = Any  # an ndarray or a box
Axis = int | tuple[int, ...] | None
LN2, LN10 = math.log(2.0), math.log(10.0)
SQRT_PI, SQRT_2PI = math.sqrt(math.pi), math.sqrt(2 * math.pi)


# -- the four kinds ----------------------------------------------------------------------------------------------------


def unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum `g` over the axes along which an array of `shape` was repeated."""
    if np.shape(g) == shape:
        return g
    lead = np.ndim(g) - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1))
    return np.reshape(np.sum(g, axis=axes), shape)


def keywords_of(cotangent: Callable[..., Any]) -> frozenset[str] | None:
    """The keyword arguments that a rule understands; None for all."""
    parameters = inspect.signature(cotangent).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return frozenset(p.name for p in parameters)


def elementwise(*maps: Callable[..., Array] | None) -> Rule:
    def tangent(tangents: Sequence[Array], y: Array, *args: Array) -> Array:
        terms = [maps[i](d, y, *args) for i, d in enumerate(tangents) if d is not None]  # type: ignore[misc]
        dy = sum(terms[1:], start=terms[0])
        if np.shape(dy) != np.shape(y):
            dy = np.broadcast_to(dy, np.shape(y))
        elif not any(dy is d for d in tangents):
            return dy
        return +dy  # a copy, since results must not share memory with what they come from

    def cotangent(i: int, y_bar: Array, y: Array, *args: Array) -> Array:
        return unbroadcast(maps[i](y_bar, y, *args), np.shape(args[i]))  # type: ignore[misc]

    return Rule(tangent, cotangent, frozenset())


def linear(fun: Callable[..., Array], transpose: Callable[..., Array]) -> Rule:
    """For fun(x, *settings), linear in x; transpose(y_bar, x, *settings)."""

    def tangent(tangents: Sequence[Array], y: Array, x: Array, *args: Any, **kwargs: Any) -> Array:
        return call(fun, tangents[0], *args, **kwargs)

    def cotangent(i: int, y_bar: Array, y: Array, *args: Any, **kwargs: Any) -> Array:
        return transpose(y_bar, *args, **kwargs)

    return Rule(tangent, cotangent, keywords_of(transpose))


def multilinear(fun: Callable[..., Array], cotangent: Callable[..., Array]) -> Rule:
    """For fun(*arrays), linear in each: the product rule."""

    def tangent(tangents: Sequence[Array], y: Array, *args: Any, **kwargs: Any) -> Array:
        terms = [call(fun, *args[:i], d, *args[i + 1 :], **kwargs) for i, d in enumerate(tangents) if d is not None]
        return sum(terms[1:], start=terms[0])

    return Rule(tangent, cotangent, keywords_of(cotangent))


def rearranging(fun: Callable[..., Array]) -> Rule:
    """For fun(x, *settings), whose entries are x's, moved or repeated: apply it to their numbers to see which."""

    def transpose(y_bar: Array, x: Array, *args: Any, **kwargs: Any) -> Array:
        source = fun(np.arange(x.size).reshape(x.shape), *args, **kwargs)
        return np.reshape(call(scatter, np.ravel(y_bar), np.ravel(source), (x.size,)), x.shape)

    return linear(fun, transpose)


def composite(*funs: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(definition: Callable[..., Any]) -> Callable[..., Any]:
        definition.__qualname__ = (
            f"the derivative rule of {funs[0].__name__}"  # Python names it when an argument is unexpected
        )
        for fun in funs:
            COMPOSITES[fun] = definition
        return definition

    return register


# -- elementwise -------------------------------------------------------------------------------------------------------


def power_base(d: Array, y: Array, x: Array, n: Array) -> Array:
    """d n x^(n-1), and 0 for n = 0 even at x = 0."""
    if isinstance(n, Box | np.ndarray):
        exponent: Array = np.where(n == 0, 1, n - 1)  # type: ignore[operator]
        return d * n * x**exponent
    return d * (n * x ** (n - 1)) if n != 0 else np.zeros_like(strip(d))


def power_exponent(d: Array, y: Array, x: Array, n: Array) -> Array:
    """d y ln x, and 0 at x = 0."""
    return d * y * np.log(np.where(strip(x) == 0, 1, x))


def larger(d: Array, a: Array, b: Array) -> Array:
    """d where a > b, half of it where they tie."""
    return np.where(a > b, d, np.where(a == b, 0.5 * d, 0.0))


def over_length(x: Array, y: Array) -> Array:
    """x / y for a length y, and 0 where the length is 0."""
    return x / np.where(y == 0, 1, y)


# fmt: off
ELEMENTWISE: dict[Callable[..., Any], tuple[Callable[..., Array] | None, ...]] = {
    np.add:         (lambda d, y, a, b: d,                           lambda d, y, a, b: d),
    np.subtract:    (lambda d, y, a, b: d,                           lambda d, y, a, b: -d),
    np.multiply:    (lambda d, y, a, b: d * b,                       lambda d, y, a, b: d * a),
    np.divide:      (lambda d, y, a, b: d / b,                       lambda d, y, a, b: -d * y / b),
    np.remainder:   (lambda d, y, a, b: d,                           lambda d, y, a, b: -d * np.floor(a / b)),
    np.power:       (power_base,                                     power_exponent),
    np.float_power: (power_base,                                     power_exponent),
    np.maximum:     (lambda d, y, a, b: larger(d, a, b),             lambda d, y, a, b: larger(d, b, a)),
    np.minimum:     (lambda d, y, a, b: larger(d, b, a),             lambda d, y, a, b: larger(d, a, b)),
    np.fmax:        (lambda d, y, a, b: np.where(np.isnan(b), d, larger(d, a, b)),
                     lambda d, y, a, b: np.where(np.isnan(a), d, larger(d, b, a))),
    np.fmin:        (lambda d, y, a, b: np.where(np.isnan(b), d, larger(d, b, a)),
                     lambda d, y, a, b: np.where(np.isnan(a), d, larger(d, a, b))),
    np.arctan2:     (lambda d, y, a, b: d * b / (a * a + b * b),     lambda d, y, a, b: -d * a / (a * a + b * b)),
    np.hypot:       (lambda d, y, a, b: d * over_length(a, y),       lambda d, y, a, b: d * over_length(b, y)),
    np.logaddexp:   (lambda d, y, a, b: d * np.exp(a - y),           lambda d, y, a, b: d * np.exp(b - y)),
    np.logaddexp2:  (lambda d, y, a, b: d * np.exp2(a - y),          lambda d, y, a, b: d * np.exp2(b - y)),
    np.where:       (lambda d, y, c, a, b: np.zeros_like(strip(d)),
                     lambda d, y, c, a, b: np.where(c, d, 0.0),      lambda d, y, c, a, b: np.where(c, 0.0, d)),
    np.positive:    (lambda d, y, x: d,),
    np.negative:    (lambda d, y, x: -d,),
    np.absolute:    (lambda d, y, x: d * np.sign(x),),
    np.fabs:        (lambda d, y, x: d * np.sign(x),),
    np.conjugate:   (lambda d, y, x: d,),
    np.square:      (lambda d, y, x: d * (2 * x),),
    np.sqrt:        (lambda d, y, x: d * (0.5 / y),),
    np.cbrt:        (lambda d, y, x: d / (3 * (y * y)),),
    np.reciprocal:  (lambda d, y, x: -d * (y * y),),
    np.exp:         (lambda d, y, x: d * y,),
    np.exp2:        (lambda d, y, x: d * (LN2 * y),),
    np.expm1:       (lambda d, y, x: d * (y + 1),),
    np.log:         (lambda d, y, x: d / x,),
    np.log2:        (lambda d, y, x: d / (LN2 * x),),
    np.log10:       (lambda d, y, x: d / (LN10 * x),),
    np.log1p:       (lambda d, y, x: d / (1 + x),),
    np.sin:         (lambda d, y, x: d * np.cos(x),),
    np.cos:         (lambda d, y, x: -d * np.sin(x),),
    np.tan:         (lambda d, y, x: d * (1 + y * y),),
    np.arcsin:      (lambda d, y, x: d / np.sqrt(1 - x * x),),
    np.arccos:      (lambda d, y, x: -d / np.sqrt(1 - x * x),),
    np.arctan:      (lambda d, y, x: d / (1 + x * x),),
    np.sinh:        (lambda d, y, x: d * np.cosh(x),),
    np.cosh:        (lambda d, y, x: d * np.sinh(x),),
    np.tanh:        (lambda d, y, x: d * (1 - y * y),),
    np.arcsinh:     (lambda d, y, x: d / np.sqrt(x * x + 1),),
    np.arccosh:     (lambda d, y, x: d / np.sqrt(x * x - 1),),
    np.arctanh:     (lambda d, y, x: d / (1 - x * x),),
}
# fmt: on
RULES.update({fun: elementwise(*maps) for fun, maps in ELEMENTWISE.items()})


@LATE.append
def scipy_special() -> None:
    """The ufuncs of scipy.special, once the user has loaded it."""
    special = sys.modules.get("scipy.special")
    if special is None:
        return
    # fmt: off
    late: dict[Callable[..., Any], tuple[Callable[..., Array], ...]] = {
        special.expit:   (lambda d, y, x: d * (y * (1 - y)),),
        special.logit:   (lambda d, y, x: d / (x * (1 - x)),),
        special.log_expit: (lambda d, y, x: d * special.expit(-x),),
        special.erf:     (lambda d, y, x: d * (2 / SQRT_PI * np.exp(-x * x)),),
        special.erfc:    (lambda d, y, x: d * (-2 / SQRT_PI * np.exp(-x * x)),),
        special.ndtr:    (lambda d, y, x: d * (np.exp(-0.5 * x * x) / SQRT_2PI),),
        special.log_ndtr: (lambda d, y, x: d * (np.exp(-0.5 * x * x - y) / SQRT_2PI),),
        special.xlogy:   (lambda d, y, a, b: d * np.log(np.where(b == 0, 1, b)),
                          lambda d, y, a, b: d * (a / np.where(a == 0, 1, b))),
        special.xlog1py: (lambda d, y, a, b: d * np.log1p(b), lambda d, y, a, b: d * (a / (1 + b))),
    }
    # fmt: on
    RULES.update({fun: elementwise(*maps) for fun, maps in late.items()})


# -- sums and extremes along axes --------------------------------------------------------------------------------------


def expand(g: Array, axis: Axis, keepdims: bool, ndim: int) -> Array:
    """Give a reduction's result its axes back, with length 1."""
    if keepdims or np.ndim(g) == ndim:
        return g
    return np.expand_dims(g, tuple(range(ndim)) if axis is None else axis)


def sum_transpose(g: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.broadcast_to(expand(g, axis, keepdims, x.ndim), x.shape)


def cumsum_transpose(g: Array, x: Array, axis: int | None = None) -> Array:
    if axis is None:
        return np.reshape(cumsum_transpose(g, np.ravel(x), 0), x.shape)
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


def share_of_extreme(y: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """1 at the extreme along the axis, 1/n at each of n that tie, 0 elsewhere."""
    chosen = strip(x == expand(y, axis, keepdims, x.ndim))
    return chosen.astype(x.dtype) / chosen.sum(axis=axis, keepdims=True).astype(x.dtype)


def extreme_tangent(tangents: Any, y: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.sum(tangents[0] * share_of_extreme(y, x, axis, keepdims), axis=axis, keepdims=keepdims)


def extreme_cotangent(i: int, g: Array, y: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return expand(g, axis, keepdims, x.ndim) * share_of_extreme(y, x, axis, keepdims)


RULES[np.sum] = linear(np.sum, sum_transpose)
RULES[np.cumsum] = linear(np.cumsum, cumsum_transpose)
RULES[np.max] = RULES[np.min] = Rule(extreme_tangent, extreme_cotangent, keywords_of(extreme_cotangent))


@composite(np.mean)
def _(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    total = np.sum(x, axis=axis, keepdims=keepdims)
    return total / (x.size / max(total.size, 1))


@composite(np.var)
def variance(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    """sum (x - mean)^2 / (n - ddof); along an axis of length 1 it is 0, with slope 0, as long as ddof = 0."""
    residual = x - np.mean(x, axis=axis, keepdims=True)
    total = np.sum(residual * residual, axis=axis, keepdims=keepdims)
    return total / (x.size / max(total.size, 1) - ddof)


@composite(np.std)
def _(x: Array, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> Array:
    return root(variance(x, axis, ddof, keepdims))


def root(s: Array) -> Array:
    """sqrt of a sum of squares: 0 with slope 0 where all of them are 0."""
    zero = strip(s) == 0
    return np.where(zero, 0.0, np.sqrt(np.where(zero, 1.0, s)))


@composite(np.prod)
def _(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Products of halves, so that zeros among the factors are no special case: no division by x."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    result_shape = np.sum(np.empty(x.shape), axis=axis, keepdims=keepdims).shape
    y = np.moveaxis(x, axes, range(len(axes)))
    y = np.reshape(y, (math.prod(y.shape[: len(axes)]), *y.shape[len(axes) :]))
    if len(y) == 0:
        return np.ones(result_shape, x.dtype)
    while (n := len(y)) > 1:
        y = np.concatenate([y[: n // 2] * y[n // 2 : 2 * (n // 2)], y[2 * (n // 2) :]])
    return np.reshape(y[0], result_shape)


@composite(np.clip)
def _(x: Array, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Array:
    low, high = a_min if min is None else min, a_max if max is None else max
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def logsumexp(x: Array, axis: Axis = 0, keepdims: bool = False) -> Array:
    largest = np.max(strip(x), axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return total if keepdims else np.squeeze(total, axis=axis)


COMPOSITES[logsumexp] = logsumexp
UFUNC_METHODS["reduce", np.logaddexp] = logsumexp


# -- moving entries about ----------------------------------------------------------------------------------------------


def scatter(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with g added at [index], the transpose of x[index]. An entry indexed twice gets both."""
    y = np.zeros(shape, np.asarray(g).dtype)
    integers = any(
        isinstance(part, list) or (isinstance(part, np.ndarray) and part.dtype != bool) for part in as_tuple(index)
    )
    if integers:
        np.add.at(y, index, g)
    else:
        y[index] = g
    return y


def as_tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def concatenated(*arrays: Array, axis: int = 0) -> Array:
    """np.concatenate with its arrays as arguments, where `call` looks for boxes."""
    return np.concatenate(arrays, axis)


def concatenated_tangent(tangents: Any, y: Array, *arrays: Array, axis: int = 0) -> Array:
    parts = [np.zeros(np.shape(a), y.dtype) if d is None else d for d, a in zip(tangents, arrays, strict=True)]
    return np.concatenate(parts, axis)


def concatenated_cotangent(i: int, g: Array, y: Array, *arrays: Array, axis: int = 0) -> Array:
    start = sum(np.shape(a)[axis] for a in arrays[:i])
    index = [slice(None)] * np.ndim(g)
    index[axis] = slice(start, start + np.shape(arrays[i])[axis])
    return g[tuple(index)]


def inverse_axes(axes: Sequence[int] | None, ndim: int) -> list[int] | None:
    return None if axes is None else np.argsort([axis % ndim for axis in axes]).tolist()


def diag_transpose(g: Array, x: Array, k: int = 0) -> Array:
    """np.diag builds a matrix from a vector, and takes the diagonal of a matrix."""
    if x.ndim == 1:
        return np.diag(g, k)
    rows, columns = np.nonzero(np.eye(x.shape[0], x.shape[1], k))
    return call(scatter, g, (rows, columns), x.shape)


def pad_transpose(g: Array, x: Array, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Array:
    if mode == "constant":
        widths = np.broadcast_to(pad_width, (x.ndim, 2))
        return g[tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))]
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise TypeError(
            f"numpy.pad: mode {mode!r} has no derivative rule; use constant, edge, reflect, symmetric or wrap"
        )
    source = np.pad(np.arange(x.size).reshape(x.shape), pad_width, mode, **kwargs)  # type: ignore[call-overload]
    return np.reshape(call(scatter, np.ravel(g), source.ravel(), (x.size,)), x.shape)


def pad_tangent(tangents: Any, y: Array, x: Array, pad_width: Any, mode: str = "constant", **kwargs: Any) -> Array:
    if mode == "constant":
        kwargs.pop("constant_values", None)
    return np.pad(tangents[0], pad_width, mode, **kwargs)  # type: ignore[call-overload]


RULES[concatenated] = Rule(concatenated_tangent, concatenated_cotangent, frozenset({"axis"}))
RULES[np.pad] = Rule(pad_tangent, lambda i, g, y, x, *args, **kwargs: pad_transpose(g, x, *args, **kwargs), None)
# fmt: off
LINEAR: dict[Callable[..., Any], Callable[..., Array]] = {
    getitem:         lambda g, x, index: call(scatter, g, index, x.shape),
    scatter:         lambda g, x, index, shape: g[index],
    astype:          lambda g, x, dtype: call(astype, g, x.dtype),
    np.copy:         lambda g, x: g,
    np.reshape:      lambda g, x, shape, order='C': np.reshape(g, x.shape, order=order),
    np.ravel:        lambda g, x, order='C': np.reshape(g, x.shape, order=order),
    np.squeeze:      lambda g, x, axis=None: np.reshape(g, x.shape),
    np.expand_dims:  lambda g, x, axis: np.reshape(g, x.shape),
    np.broadcast_to: lambda g, x, shape: unbroadcast(g, x.shape),
    np.transpose:    lambda g, x, axes=None: np.transpose(g, inverse_axes(axes, x.ndim)),
    np.swapaxes:     lambda g, x, axis1, axis2: np.swapaxes(g, axis1, axis2),
    np.moveaxis:     lambda g, x, source, destination: np.moveaxis(g, destination, source),
    np.flip:         lambda g, x, axis=None: np.flip(g, axis),
    np.triu:         lambda g, x, k=0: np.triu(g, k),
    np.tril:         lambda g, x, k=0: np.tril(g, k),
    np.diag:         diag_transpose,
}
# fmt: on
RULES.update({fun: linear(fun, transpose) for fun, transpose in LINEAR.items()})
RULES.update({fun: rearranging(fun) for fun in (np.diagonal, np.repeat, np.tile, np.roll)})


def boxed_or_plain(x: Any) -> Array:
    return x if isinstance(x, Box) else np.asarray(x)


@composite(np.concatenate)
def _(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    if axis is None:
        return call(concatenated, *(np.ravel(a) for a in arrays))
    return call(concatenated, *(boxed_or_plain(a) for a in arrays), axis=axis)


@composite(np.stack)
def _(arrays: Sequence[Array], axis: int = 0) -> Array:
    shapes = {np.shape(a) for a in arrays}
    if len(shapes) > 1:
        raise ValueError(f"numpy.stack: all arrays must have one shape, got {sorted(shapes)}")
    return np.concatenate([np.expand_dims(boxed_or_plain(a), axis) for a in arrays], axis)


@composite(np.hstack)
def _(arrays: Sequence[Array]) -> Array:
    arrays = [np.reshape(a, (1,)) if np.ndim(a) == 0 else a for a in arrays]
    return np.concatenate(arrays, 0 if np.ndim(arrays[0]) == 1 else 1)


@composite(np.vstack)
def _(arrays: Sequence[Array]) -> Array:
    return np.concatenate([a if np.ndim(a) > 1 else np.reshape(a, (1, -1)) for a in arrays], 0)


def split_by(fun: Callable[..., Any], x: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    pieces = fun(np.arange(x.shape[axis]), indices_or_sections)
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(piece[0], piece[-1] + 1) if piece.size else slice(0, 0))] for piece in pieces]


COMPOSITES[np.split] = partial(split_by, np.split)
COMPOSITES[np.array_split] = partial(split_by, np.array_split)


@composite(np.sort)
def _(x: Array, axis: int | None = -1, kind: Any = None) -> Array:
    if axis is None:
        x, axis = np.ravel(x), -1
    return np.take_along_axis(x, np.argsort(strip(x), axis=axis, kind="stable"), axis)


@composite(np.take)
def _(x: Array, indices: Any, axis: int | None = None) -> Array:
    if axis is None:
        return np.ravel(x)[indices]
    return x[(*[slice(None)] * (axis % x.ndim), indices)]


@composite(np.take_along_axis)
def _(x: Array, indices: Any, axis: int | None = -1) -> Array:
    if axis is None:
        return np.ravel(x)[indices]
    index: list[Any] = list(np.ogrid[tuple(slice(n) for n in np.shape(indices))])
    for i, n in enumerate(x.shape):  # as take_along_axis does, an axis of length 1 in `indices` stands for all of x's
        if i != axis % x.ndim and index[i].size == 1:
            index[i] = np.arange(n).reshape([-1 if j == i else 1 for j in range(x.ndim)])
    index[axis % x.ndim] = indices
    return x[tuple(index)]


@composite(np.diff)
def _(x: Array, n: int = 1, axis: int = -1) -> Array:
    for _ in range(n):
        y = np.moveaxis(x, axis, 0)
        x = np.moveaxis(y[1:] - y[:-1], 0, axis)
    return x


# -- products ----------------------------------------------------------------------------------------------------------


def matmul_cotangent(i: int, g: Array, y: Array, a: Array, b: Array) -> Array:
    """A_bar = Y_bar B^T, B_bar = A^T Y_bar; a vector counts as a row on the left and as a column on the right."""
    A = a[None, :] if np.ndim(a) == 1 else a
    B = b[:, None] if np.ndim(b) == 1 else b
    G = np.expand_dims(g, -1) if np.ndim(b) == 1 else g
    G = np.expand_dims(G, -2) if np.ndim(a) == 1 else G
    if i == 0:
        return np.reshape(unbroadcast(np.matmul(G, np.swapaxes(B, -1, -2)), A.shape), a.shape)
    return np.reshape(unbroadcast(np.matmul(np.swapaxes(A, -1, -2), G), B.shape), b.shape)


def vecdot_cotangent(i: int, g: Array, y: Array, a: Array, b: Array) -> Array:
    return unbroadcast(np.expand_dims(g, -1) * (b if i == 0 else a), np.shape((a, b)[i]))


def einsum_cotangent(i: int, g: Array, y: Array, subscripts: str, *operands: Array, **kwargs: Any) -> Array:
    """Swap the result and operand i: its indices are all in the result or in other operands (einsum sees to it)."""
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    operand = i - 1  # argument 0 is the string
    others = [*terms[:operand], *terms[operand + 1 :]]
    swapped = ",".join([output, *others]) + "->" + terms[operand]
    arrays = [*operands[:operand], *operands[operand + 1 :]]
    shape = np.shape(operands[operand])
    bar = np.einsum(swapped, g, *arrays, **kwargs)
    return unbroadcast(np.broadcast_to(bar, np.broadcast_shapes(np.shape(bar), shape)), shape)


def einsum_core(subscripts: str, *operands: Array, **kwargs: Any) -> Array:
    return np.einsum(subscripts, *operands, **kwargs)


RULES[np.matmul] = multilinear(np.matmul, matmul_cotangent)
RULES[np.vecdot] = multilinear(np.vecdot, vecdot_cotangent)
RULES[einsum_core] = multilinear(einsum_core, einsum_cotangent)


@composite(np.einsum)
def _(subscripts: Any, *operands: Array, optimize: Any = False) -> Array:
    if not isinstance(subscripts, str):
        raise TypeError("numpy.einsum: the derivative rule needs the subscripts as a string, such as 'ij,jk->ik'")
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in subscripts]
    extra = [np.ndim(x) - len(term.replace("...", "")) for term, x in zip(terms, operands, strict=True)]
    most = max([n for n, term in zip(extra, terms, strict=True) if "..." in term], default=0)
    letters = "".join(spare[:most])  # what ... stands for
    terms = [term.replace("...", letters[most - n :] if n else "") for term, n in zip(terms, extra, strict=True)]
    output = output.replace("...", letters)
    if not arrow:
        joined = "".join(terms)
        output = letters + "".join(sorted(c for c in set(joined) - set(letters) if joined.count(c) == 1))
    arrays = []
    for n, x in enumerate(operands):  # take diagonals of repeated indices, and sum over those that are nowhere else
        term, y = terms[n], x
        while repeated := [c for c in term if term.count(c) > 1]:
            first, second = [j for j, c in enumerate(term) if c == repeated[0]][:2]
            y = np.diagonal(y, 0, first, second)  # moves the index to the end
            term = "".join(c for j, c in enumerate(term) if j not in (first, second)) + repeated[0]
        lonely = [c for c in term if c not in output and not any(c in t for j, t in enumerate(terms) if j != n)]
        if lonely:
            y = np.sum(y, axis=tuple(term.index(c) for c in lonely))
            term = "".join(c for c in term if c not in lonely)
        terms[n] = term
        arrays.append(y)
    return call(einsum_core, ",".join(terms) + "->" + output, *arrays, optimize=optimize)


@composite(np.tensordot)
def tensordot(a: Array, b: Array, axes: Any = 2) -> Array:
    if isinstance(axes, int):
        axes_a, axes_b = tuple(range(np.ndim(a) - axes, np.ndim(a))), tuple(range(axes))
    else:
        axes_a, axes_b = (tuple(int(k) for k in np.atleast_1d(side)) for side in axes)
    axes_a, axes_b = tuple(k % np.ndim(a) for k in axes_a), tuple(k % np.ndim(b) for k in axes_b)
    free_a = [k for k in range(np.ndim(a)) if k not in axes_a]
    free_b = [k for k in range(np.ndim(b)) if k not in axes_b]
    shape = [np.shape(a)[k] for k in free_a] + [np.shape(b)[k] for k in free_b]
    n = math.prod(np.shape(a)[k] for k in axes_a)
    A = np.reshape(np.transpose(a, [*free_a, *axes_a]), (-1 if n else math.prod(np.shape(a)[k] for k in free_a), n))
    B = np.reshape(np.transpose(b, [*axes_b, *free_b]), (n, -1 if n else math.prod(np.shape(b)[k] for k in free_b)))
    return np.reshape(np.matmul(A, B), shape)


@composite(np.dot)
def _(a: Array, b: Array) -> Array:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    return np.matmul(a, b) if np.ndim(b) <= 2 else tensordot(a, b, (-1, -2))


@composite(np.inner)
def _(a: Array, b: Array) -> Array:
    return np.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else tensordot(a, b, (-1, -1))


@composite(np.outer)
def _(a: Array, b: Array) -> Array:
    return np.multiply(np.reshape(a, (-1, 1)), np.reshape(b, (1, -1)))


@composite(np.kron)
def _(a: Array, b: Array) -> Array:
    ndim = max(np.ndim(a), np.ndim(b))
    A = np.reshape(a, (1,) * (ndim - np.ndim(a)) + np.shape(a))
    B = np.reshape(b, (1,) * (ndim - np.ndim(b)) + np.shape(b))
    interleaved = np.expand_dims(A, tuple(range(1, 2 * ndim, 2))) * np.expand_dims(B, tuple(range(0, 2 * ndim, 2)))
    return np.reshape(interleaved, tuple(m * n for m, n in zip(A.shape, B.shape, strict=True)))


@composite(np.trace)
def _(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    return np.sum(np.diagonal(x, offset, axis1, axis2), axis=-1)


# -- matrices ----------------------------------------------------------------------------------------------------------


def t(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


def logabsdet(a: Array) -> Array:
    """log |det A| alone: slogdet's sign has no derivative."""
    return np.linalg.slogdet(a)[1]


def lower_half(x: Array) -> Array:
    """Phi of Murray 2016: the lower triangle with its diagonal halved."""
    return np.tril(x) * np.where(np.eye(x.shape[-1], dtype=bool), 0.5, 1.0).astype(x.dtype)


def cholesky_core(s: Array) -> Array:
    return np.linalg.cholesky(s)


def cholesky_tangent(tangents: Any, L: Array, s: Array) -> Array:
    """dL = L Phi(L^-1 dS L^-T)."""
    inverse = np.linalg.inv(L)
    return L @ lower_half(inverse @ tangents[0] @ t(inverse))


def cholesky_cotangent(i: int, g: Array, L: Array, s: Array) -> Array:
    """S_bar = L^-T Phi(L^T L_bar) L^-1, up to symmetry."""
    inverse = np.linalg.inv(L)
    return t(inverse) @ lower_half(t(L) @ g) @ inverse


def eigh_core(s: Array) -> Array:
    """Eigenvalues on top of the eigenvectors, as one array (..., n + 1, n), so that there is one result."""
    w, V = np.linalg.eigh(s)
    return np.concatenate([w[..., None, :], V], axis=-2)


def eigen_gaps(w: Array) -> Array:
    """F_ij = 1 / (w_j - w_i), and 0 where two eigenvalues are equal."""
    gap = w[..., None, :] - w[..., :, None]
    zero = strip(gap) == 0
    return np.where(zero, 0.0, 1 / np.where(zero, 1.0, gap))


def eigh_tangent(tangents: Any, y: Array, s: Array) -> Array:
    """P = V^T dS V, dw = diag P, dV = V (F * P)."""
    w, V = y[..., 0, :], y[..., 1:, :]
    P = t(V) @ tangents[0] @ V
    return np.concatenate([np.diagonal(P, 0, -2, -1)[..., None, :], V @ (eigen_gaps(w) * P)], axis=-2)


def eigh_cotangent(i: int, g: Array, y: Array, s: Array) -> Array:
    """S_bar = V (diag(w_bar) + F * (V^T V_bar)) V^T."""
    w, V = y[..., 0, :], y[..., 1:, :]
    w_bar, V_bar = g[..., 0, :], g[..., 1:, :]
    diagonal = np.eye(w.shape[-1], dtype=w.dtype) * w_bar[..., None, :]
    return V @ (diagonal + eigen_gaps(w) * (t(V) @ V_bar)) @ t(V)


def solve_tangent(tangents: Any, y: Array, a: Array, b: Array) -> Array:
    """A dY = dB - dA Y."""
    dA, dB = tangents
    right = -(dA @ y) if dB is None else dB if dA is None else dB - dA @ y
    return np.linalg.solve(a, right)


def solve_cotangent(i: int, g: Array, y: Array, a: Array, b: Array) -> Array:
    """B_bar = A^-T Y_bar, A_bar = -B_bar Y^T."""
    b_bar = np.linalg.solve(t(a), g)
    return unbroadcast(b_bar, b.shape) if i == 1 else unbroadcast(-(b_bar @ t(y)), a.shape)


def solve_core(a: Array, b: Array) -> Array:
    return np.linalg.solve(a, b)


# fmt: off
MATRIX: dict[Callable[..., Any], tuple[Callable[..., Array], Callable[..., Array]]] = {
    np.linalg.inv: (lambda tangents, y, a: -(y @ tangents[0] @ y),  lambda i, g, y, a: -(t(y) @ g @ t(y))),
    np.linalg.det: (lambda tangents, y, a: y * np.trace(np.linalg.solve(a, tangents[0]), 0, -2, -1),
                    lambda i, g, y, a: (g * y)[..., None, None] * t(np.linalg.inv(a))),
    logabsdet:     (lambda tangents, y, a: np.trace(np.linalg.solve(a, tangents[0]), 0, -2, -1),
                    lambda i, g, y, a: g[..., None, None] * t(np.linalg.inv(a))),
    solve_core:    (solve_tangent,                                  solve_cotangent),
    cholesky_core: (cholesky_tangent,                               cholesky_cotangent),
    eigh_core:     (eigh_tangent,                                   eigh_cotangent),
}
# fmt: on
RULES.update({fun: Rule(*rule, frozenset()) for fun, rule in MATRIX.items()})


def from_triangle(a: Array, lower: bool) -> Array:
    """The symmetric matrix that LAPACK sees: it reads one triangle, and so has no derivative in the other."""
    return np.tril(a) + t(np.tril(a, -1)) if lower else np.triu(a) + t(np.triu(a, 1))


@composite(np.linalg.solve)
def _(a: Array, b: Array) -> Array:
    if np.ndim(b) == 1:
        return call(solve_core, a, b[:, None])[..., 0]
    return call(solve_core, a, b)


@composite(np.linalg.slogdet)
def _(a: Array) -> Any:
    plain = np.linalg.slogdet(strip(a))
    return type(plain)(plain[0], call(logabsdet, a))


@composite(np.linalg.cholesky)
def _(a: Array, *, upper: bool = False) -> Array:
    L = call(cholesky_core, from_triangle(a, lower=not upper))
    return t(L) if upper else L


@composite(np.linalg.eigh)
def _(a: Array, UPLO: Any = "L") -> Any:
    both = call(eigh_core, from_triangle(a, lower=UPLO.upper() == "L"))
    return type(np.linalg.eigh(np.eye(1)))(both[..., 0, :], both[..., 1:, :])


@composite(np.linalg.eigvalsh)
def _(a: Array, UPLO: Any = "L") -> Array:
    return np.linalg.eigh(a, UPLO)[0]


@composite(np.linalg.norm)
def _(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    if ord is None:  # of all entries, however many axes
        return root(np.sum(x * x, axis=axis, keepdims=keepdims))
    axes = tuple(range(x.ndim)) if axis is None else as_tuple(axis)
    if len(axes) == 1:
        if ord == 2:
            return root(np.sum(x * x, axis=axes, keepdims=keepdims))
        if ord in (np.inf, -np.inf):
            return (np.max if ord > 0 else np.min)(np.abs(x), axis=axes, keepdims=keepdims)
        if ord == 0:
            return np.sum(strip(x) != 0, axis=axes, keepdims=keepdims).astype(x.dtype)
        if ord == 1:
            return np.sum(np.abs(x), axis=axes, keepdims=keepdims)
        total = np.sum(np.abs(x) ** ord, axis=axes, keepdims=keepdims)
        return np.where(strip(total) == 0, 0.0, np.where(strip(total) == 0, 1.0, total) ** (1 / ord))
    if len(axes) == 2 and ord == "fro":
        return root(np.sum(x * x, axis=axes, keepdims=keepdims))
    if len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        summed, compared = axes if abs(ord) == 1 else axes[::-1]
        sums = np.sum(np.abs(x), axis=summed, keepdims=True)
        y = (np.max if ord > 0 else np.min)(sums, axis=compared, keepdims=True)
        return y if keepdims else np.squeeze(y, axis=axes)
    raise TypeError(f"numpy.linalg.norm: ord={ord!r} over axes {axes} has no derivative rule")


# -- buffers -----------------------------------------------------------------------------------------------------------

for _make in (np.empty_like, np.zeros_like, np.ones_like):
    COMPOSITES[_make] = lambda x, *args, make=_make, **kwargs: buffer_like(make, x, args, kwargs)


@composite(np.full_like)
def _(x: Array, fill_value: Any, **kwargs: Any) -> Array:
    return np.zeros_like(x, **kwargs) + (fill_value if isinstance(fill_value, Box) else np.asarray(fill_value, x.dtype))
