"""Sums, moments, extremes and norms, along axes."""

import math
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import COMPOSITES, RULES, UFUNC_METHODS, call, strip
from sophia_ref.autodiff.rules.kinds import Array, Axis, as_tuple, composite, general, linear, over_length


def expand(g: Array, axis: Axis, keepdims: Any, ndim: int) -> Array:
    """Give a reduction's result its axes back, with length 1."""
    if keepdims or g.ndim == ndim:
        return g
    return np.expand_dims(g, tuple(range(ndim)) if axis is None else axis)


def count(x: Array, axis: Axis) -> int:
    """How many entries of x go into one of the result."""
    return x.size if axis is None else math.prod(x.shape[i] for i in as_tuple(axis))


# -- sums --------------------------------------------------------------------------------------------------------------


def sum_transpose(g: Array, x: Array, axis: Axis = None, *, keepdims: Any = False) -> Array:
    return np.broadcast_to(expand(g, axis, keepdims, x.ndim), x.shape)


def mean_transpose(g: Array, x: Array, axis: Axis = None, *, keepdims: Any = False) -> Array:
    return sum_transpose(g / count(x, axis), x, axis, keepdims=keepdims)


def cumsum_transpose(g: Array, x: Array, axis: int | None = None) -> Array:
    if axis is None:
        return np.reshape(cumsum_transpose(g, np.ravel(x), 0), x.shape)
    return np.flip(np.cumsum(np.flip(g, axis), axis), axis)


RULES[np.sum] = linear(np.sum, sum_transpose)
RULES[np.mean] = linear(np.mean, mean_transpose)
RULES[np.cumsum] = linear(np.cumsum, cumsum_transpose)

# -- moments and norms -------------------------------------------------------------------------------------------------


def spread(x: Array, axis: Axis, ddof: float) -> Array:
    """(x - mean) / (n - ddof), NaN where there are too few entries. Along an axis of length 1 it is 0 for ddof = 0."""
    n = count(x, axis)
    return (x - np.mean(x, axis=axis, keepdims=True)) * (1 / (n - ddof) if n > ddof else math.nan)


def var_tangent(
    tangents: Any, y: Array, x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: Any = False
) -> Array:
    """var = sum (x - mean)^2 / (n - ddof); the mean's own change has no effect, as the residuals sum to 0."""
    return np.sum(2 * spread(x, axis, ddof) * tangents[0], axis=axis, keepdims=keepdims)


def var_cotangent(
    i: int, g: Array, y: Array, x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: Any = False
) -> Array:
    return expand(g, axis, keepdims, x.ndim) * (2 * spread(x, axis, ddof))


def std_tangent(
    tangents: Any, y: Array, x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: Any = False
) -> Array:
    """std = sqrt(var)."""
    return over_length(np.sum(spread(x, axis, ddof) * tangents[0], axis=axis, keepdims=keepdims), y)


def std_cotangent(
    i: int, g: Array, y: Array, x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: Any = False
) -> Array:
    return expand(over_length(g, y), axis, keepdims, x.ndim) * spread(x, axis, ddof)


def euclidean_tangent(tangents: Any, y: Array, x: Array, ord: Any, axis: Axis, keepdims: Any) -> Array:
    """The root of the sum of squares."""
    return over_length(np.sum(x * tangents[0], axis=axis, keepdims=keepdims), y)


def euclidean_cotangent(i: int, g: Array, y: Array, x: Array, ord: Any, axis: Axis, keepdims: Any) -> Array:
    return expand(over_length(g, y), axis, keepdims, x.ndim) * x


RULES[np.var] = general(var_tangent, var_cotangent)
RULES[np.std] = general(std_tangent, std_cotangent)
RULES[np.linalg.norm] = general(euclidean_tangent, euclidean_cotangent)


@composite(np.linalg.norm)
def _(x: Array, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Array:
    axes = tuple(range(x.ndim)) if axis is None else as_tuple(axis)
    if ord is None or (ord == 2 and len(axes) == 1) or (ord == "fro" and len(axes) == 2):
        return call(np.linalg.norm, x, ord, axis, keepdims)
    if len(axes) == 1 and ord in (np.inf, -np.inf):
        return (np.max if ord > 0 else np.min)(np.abs(x), axis=axes, keepdims=keepdims)
    if len(axes) == 1 and ord == 0:
        return np.sum(strip(x) != 0, axis=axes, keepdims=keepdims).astype(x.dtype)
    if len(axes) == 1 and ord == 1:
        return np.sum(np.abs(x), axis=axes, keepdims=keepdims)
    if len(axes) == 1 and isinstance(ord, int | float):
        total = np.sum(np.abs(x) ** ord, axis=axes, keepdims=keepdims)
        zero = total == 0
        return np.where(zero, 0.0, np.where(zero, 1.0, total) ** (1 / ord))
    if len(axes) == 2 and ord in (1, -1, np.inf, -np.inf):
        summed, compared = axes if abs(ord) == 1 else axes[::-1]
        sums = np.sum(np.abs(x), axis=summed, keepdims=True)
        y = (np.max if ord > 0 else np.min)(sums, axis=compared, keepdims=True)
        return y if keepdims else np.squeeze(y, axis=axes)
    raise TypeError(f"numpy.linalg.norm: ord={ord!r} over axes {axes} has no derivative rule")


# -- extremes ----------------------------------------------------------------------------------------------------------


def share_of_extreme(y: Array, x: Array, axis: Axis, keepdims: Any) -> Array:
    """1 at the extreme along the axis, 1/n at each of n that tie, 0 elsewhere."""
    chosen = x == expand(y, axis, keepdims, x.ndim)
    return chosen / chosen.sum(axis=axis, keepdims=True)


def extreme_tangent(tangents: Any, y: Array, x: Array, axis: Axis = None, *, keepdims: Any = False) -> Array:
    return np.sum(tangents[0] * share_of_extreme(y, x, axis, keepdims), axis=axis, keepdims=keepdims)


def extreme_cotangent(i: int, g: Array, y: Array, x: Array, axis: Axis = None, *, keepdims: Any = False) -> Array:
    return expand(g, axis, keepdims, x.ndim) * share_of_extreme(y, x, axis, keepdims)


RULES[np.max] = RULES[np.min] = general(extreme_tangent, extreme_cotangent)
COMPOSITES[np.amax], COMPOSITES[np.amin] = np.max, np.min


@composite(np.ptp)
def _(a: Array, axis: Axis = None, *, keepdims: Any = False) -> Array:
    return np.max(a, axis=axis, keepdims=keepdims) - np.min(a, axis=axis, keepdims=keepdims)


def logsumexp(x: Array, axis: Axis = 0, keepdims: Any = False) -> Array:
    largest = np.max(strip(x), axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    total = np.log(np.sum(np.exp(x - largest), axis=axis, keepdims=True)) + largest
    return total if keepdims else np.squeeze(total, axis=axis)


COMPOSITES[logsumexp] = logsumexp
UFUNC_METHODS.update(
    {
        ("reduce", np.add): np.sum,
        ("reduce", np.multiply): np.prod,
        ("reduce", np.maximum): np.max,
        ("reduce", np.minimum): np.min,
        ("reduce", np.logaddexp): logsumexp,
        ("reduce", np.logical_and): np.all,
        ("reduce", np.logical_or): np.any,
        ("accumulate", np.add): np.cumsum,
    }
)

# -- products ----------------------------------------------------------------------------------------------------------


@composite(np.prod)
def _(a: Array, axis: Axis = None, *, keepdims: Any = False) -> Array:
    """Products of halves, so that zeros among the factors are no special case: no division by a."""
    axes = tuple(range(a.ndim)) if axis is None else as_tuple(axis)
    result_shape = np.sum(np.empty(a.shape), axis=axis, keepdims=keepdims).shape
    y = np.moveaxis(a, axes, range(len(axes)))
    y = np.reshape(y, (math.prod(y.shape[: len(axes)]), *y.shape[len(axes) :]))
    if len(y) == 0:
        return np.ones(result_shape, a.dtype)
    while (n := len(y)) > 1:
        y = np.concatenate([y[: n // 2] * y[n // 2 : 2 * (n // 2)], y[2 * (n // 2) :]])
    return np.reshape(y[0], result_shape)
