"""Moving, joining and picking entries."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import COMPOSITES, RULES, Box, astype, beside, call, getitem, is_array, strip
from sophia_ref.autodiff.dual import buffer_like
from sophia_ref.autodiff.rules.kinds import Array, composite, general, linear, unbroadcast

# -- picking and its transpose -----------------------------------------------------------------------------------------


def scatter(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    """Zeros of `shape` with g added at [index], the transpose of x[index]. An entry indexed twice gets both."""
    y = beside(g, np.zeros(shape, g.dtype))
    for part in index if type(index) is tuple else (index,):
        if is_integers(part):
            if type(y) is np.ndarray or is_array(index):
                np.add.at(y, index, g)
            else:  # CuPy's add.at takes one array of positions
                at = beside(g, np.arange(y.size).reshape(shape))[index]
                np.add.at(y.reshape(-1), at.reshape(-1), g.reshape(-1))
            return y
    y[index] = g
    return y


def is_integers(part: Any) -> bool:
    """Whether this part of an index lists positions, of which one may come twice."""
    return type(part) is list or (is_array(part) and part.dtype != bool)


def from_source(g: Array, x: Array, source: Any) -> Array:
    """The transpose of y = ravel(x)[source], source the position in x of every entry of y."""
    return np.reshape(call(scatter, np.ravel(g), source.ravel(), (x.size,)), x.shape)


def positions(x: Array) -> Any:
    return np.arange(x.size).reshape(x.shape)


# -- linear functions --------------------------------------------------------------------------------------------------


def inverse_axes(axes: Sequence[int] | None, ndim: int) -> list[int] | None:
    return None if axes is None else np.argsort([axis % ndim for axis in axes]).tolist()


def diag_transpose(g: Array, v: Array, k: int = 0) -> Array:
    """np.diag builds a matrix from a vector, and takes the diagonal of a matrix."""
    return np.diag(g, k) if v.ndim == 1 else from_source(g, v, np.diag(positions(v), k))


def back_to(shape: tuple[int, ...], g: Array, order: Any) -> Array:
    if order not in ("C", "F"):
        raise TypeError(f"numpy.reshape and ravel: the derivative rule knows order 'C' and 'F', not {order!r}")
    return np.reshape(g, shape, order=order)


def padded(array: Array, pad_width: Any, mode: str, value: Any) -> Array:
    return np.pad(array, pad_width, mode, **({"constant_values": value} if mode == "constant" else {}))  # type: ignore[call-overload]


def padded_tangent(tangents: Any, y: Array, array: Array, pad_width: Any, mode: str, value: Any) -> Array:
    return call(padded, tangents[0], pad_width, mode, 0)


def padded_cotangent(i: int, g: Array, y: Array, array: Array, pad_width: Any, mode: str, value: Any) -> Array:
    source = padded(positions(array), pad_width, mode, -1)
    return from_source(g[source >= 0], array, source[source >= 0])


# fmt: off
LINEAR: dict[Callable[..., Any], Callable[..., Array]] = {
    getitem:         lambda g, x, index: call(scatter, g, index, x.shape),
    scatter:         lambda g, x, index, shape: g[index],
    astype:          lambda g, x, dtype: call(astype, g, x.dtype),
    np.copy:         lambda g, a, order='K': g,
    np.reshape:      lambda g, a, shape, order='C': back_to(a.shape, g, order),
    np.ravel:        lambda g, a, order='C': back_to(a.shape, g, order),
    np.squeeze:      lambda g, a, axis=None: np.reshape(g, a.shape),
    np.expand_dims:  lambda g, a, axis: np.reshape(g, a.shape),
    np.broadcast_to: lambda g, array, shape: unbroadcast(g, array.shape),
    np.transpose:    lambda g, a, axes=None: np.transpose(g, inverse_axes(axes, a.ndim)),
    np.matrix_transpose: lambda g, x: np.matrix_transpose(g),
    np.swapaxes:     lambda g, a, axis1, axis2: np.swapaxes(g, axis1, axis2),
    np.moveaxis:     lambda g, a, source, destination: np.moveaxis(g, destination, source),
    np.flip:         lambda g, m, axis=None: np.flip(g, axis),
    np.triu:         lambda g, m, k=0: unbroadcast(np.triu(g, k), m.shape),
    np.tril:         lambda g, m, k=0: unbroadcast(np.tril(g, k), m.shape),
    np.diag:         diag_transpose,
    np.diagonal:     lambda g, a, offset=0, axis1=0, axis2=1:
                         from_source(g, a, np.diagonal(positions(a), offset, axis1, axis2)),
    np.repeat:       lambda g, a, repeats, axis=None: from_source(g, a, np.repeat(positions(a), repeats, axis)),
    np.tile:         lambda g, A, reps: from_source(g, A, np.tile(positions(A), reps)),
    np.roll:         lambda g, a, shift, axis=None: from_source(g, a, np.roll(positions(a), shift, axis)),
}
# fmt: on
RULES.update({fun: linear(fun, transpose) for fun, transpose in LINEAR.items()})
RULES[padded] = general(padded_tangent, padded_cotangent)


@composite(np.pad)
def _(array: Array, pad_width: Any, mode: Any = "constant", *, constant_values: Any = 0) -> Array:
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap"):
        raise TypeError(
            f"numpy.pad: mode {mode!r} has no derivative rule; use constant, edge, reflect, symmetric or wrap"
        )
    if isinstance(constant_values, Box):
        raise TypeError("numpy.pad: constant_values must be plain, as it has no derivative rule; use np.concatenate")
    return call(padded, array, pad_width, mode, constant_values)


# -- joining -----------------------------------------------------------------------------------------------------------


def concatenated(axis: int, *arrays: Array) -> Array:
    """np.concatenate with its arrays as arguments, where `call` looks for boxes."""
    return np.concatenate(arrays, axis)


def concatenated_tangent(tangents: Any, y: Array, axis: int, *arrays: Array) -> Array:
    parts = [
        beside(y, np.zeros(a.shape, y.dtype)) if d is None else d for d, a in zip(tangents[1:], arrays, strict=True)
    ]
    return np.concatenate(parts, axis)


def concatenated_cotangent(i: int, g: Array, y: Array, axis: int, *arrays: Array) -> Array:
    lengths = [a.shape[axis] for a in arrays[:i]]  # argument 0 is the axis, so arrays[i - 1] is the one
    index = [slice(None)] * g.ndim
    index[axis] = slice(sum(lengths[:-1]), sum(lengths))
    return g[tuple(index)]


RULES[concatenated] = general(concatenated_tangent, concatenated_cotangent)


def boxed_or_plain(x: Any) -> Array:
    return x if is_array(x) and not isinstance(x, np.ndarray) else np.asarray(x)


@composite(np.concatenate)
def _(arrays: Sequence[Array], axis: int | None = 0) -> Array:
    if axis is None:
        arrays, axis = [np.ravel(a) for a in arrays], 0
    return call(concatenated, axis, *map(boxed_or_plain, arrays))


@composite(np.stack)
def _(arrays: Sequence[Array], axis: int = 0) -> Array:
    shapes = {np.shape(a) for a in arrays}
    if len(shapes) > 1:
        raise ValueError(f"numpy.stack: all arrays must have one shape, got {sorted(shapes)}")
    return np.concatenate([np.expand_dims(boxed_or_plain(a), axis) for a in arrays], axis)


@composite(np.atleast_1d)
def _(*arrays: Array) -> Any:
    raised = tuple(np.reshape(a, np.shape(a) or (1,)) for a in arrays)
    return raised[0] if len(arrays) == 1 else raised


@composite(np.atleast_2d)
def _(*arrays: Array) -> Any:
    raised = tuple(a if np.ndim(a) > 1 else np.reshape(a, (1, -1)) for a in arrays)
    return raised[0] if len(arrays) == 1 else raised


@composite(np.hstack)
def _(tup: Sequence[Array]) -> Array:
    arrays = [np.atleast_1d(a) for a in tup]
    return np.concatenate(arrays, 0 if arrays[0].ndim == 1 else 1)


@composite(np.vstack)
def _(tup: Sequence[Array]) -> Array:
    return np.concatenate([np.atleast_2d(a) for a in tup], 0)


@composite(np.column_stack)
def _(tup: Sequence[Array]) -> Array:
    return np.concatenate([a if np.ndim(a) > 1 else np.reshape(a, (-1, 1)) for a in tup], 1)


# -- taking apart ------------------------------------------------------------------------------------------------------


def split_by(fun: Callable[..., Any], ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    pieces = fun(np.arange(ary.shape[axis]), indices_or_sections)
    before = (slice(None),) * (axis % ary.ndim)
    return [ary[(*before, slice(piece[0], piece[-1] + 1) if piece.size else slice(0, 0))] for piece in pieces]


COMPOSITES[np.split] = partial(split_by, np.split)
COMPOSITES[np.array_split] = partial(split_by, np.array_split)


@composite(np.sort)
def _(a: Array, axis: int | None = -1, kind: Any = None) -> Array:
    if axis is None:
        a, axis = np.ravel(a), -1
    return np.take_along_axis(a, np.argsort(strip(a), axis=axis, kind="stable"), axis)


@composite(np.take)
def _(a: Array, indices: Any, axis: int | None = None) -> Array:
    if axis is None:
        a, axis = np.ravel(a), 0
    return np.copy(a[(*[slice(None)] * (axis % a.ndim), indices)], "C")  # a copy also where one index gives a view


@composite(np.take_along_axis)
def _(arr: Array, indices: Any, axis: int | None = -1) -> Array:
    if axis is None:
        return np.ravel(arr)[indices]
    index: list[Any] = list(np.ogrid[tuple(slice(n) for n in np.shape(indices))])
    for i, n in enumerate(arr.shape):  # as take_along_axis does, an axis of length 1 in `indices` stands for all
        if i != axis % arr.ndim and index[i].size == 1:
            index[i] = np.arange(n).reshape([-1 if j == i else 1 for j in range(arr.ndim)])
    index[axis % arr.ndim] = indices
    return arr[tuple(index)]


@composite(np.diff)
def _(a: Array, n: int = 1, axis: int = -1) -> Array:
    for _ in range(n):
        y = np.moveaxis(a, axis, 0)
        a = np.moveaxis(y[1:] - y[:-1], 0, axis)
    return a


# -- buffers -----------------------------------------------------------------------------------------------------------

for _make in (np.empty_like, np.zeros_like, np.ones_like):
    COMPOSITES[_make] = lambda x, *args, make=_make, **kwargs: buffer_like(make, x, args, kwargs)


@composite(np.full_like)
def _(a: Array, fill_value: Any, *args: Any, **kwargs: Any) -> Array:
    y = buffer_like(np.zeros_like, a, args, kwargs)
    if isinstance(fill_value, Box):
        return y + fill_value.astype(y.dtype)
    y[...] = fill_value
    return y
