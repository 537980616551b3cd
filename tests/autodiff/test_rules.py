"""Every rule against differences, against NumPy's own values, and against itself made wrong by a thousandth.

A case is a call fun(*args). Each float array among its arguments is differentiated alone, and then all of them
together, once as they are and once as views with transposed and negative strides.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.special as special

import sophia_ref as sr
from sophia_ref.autodiff import dispatch
from sophia_ref.autodiff.dispatch import COMPOSITES, LATE, RULES
from sophia_ref.autodiff.rules import linalg, reductions, structure

for register in LATE:
    register()

rng = np.random.default_rng(2305_14342)


def some(*shape, low=-1.0, high=1.0):
    return rng.uniform(low, high, shape) if shape else np.array(rng.uniform(low, high))


def positive(*shape):
    return some(*shape, low=0.3, high=2.0)


def definite(*shape):
    """Symmetric matrices with eigenvalues well apart, asymmetric by a little, as only one triangle should count."""
    *lead, n = shape
    Q = np.linalg.qr(rng.standard_normal((*lead, n, n)))[0]
    return (Q * np.arange(1.0, n + 1)) @ np.swapaxes(Q, -1, -2)


class Case(NamedTuple):
    rule: Any
    fun: Callable[..., Any]
    args: tuple[Any, ...]
    label: str


CASES: list[Case] = []


def case(rule, fun, *args):
    """fun may be the rule's own function, or one that calls it with settings."""
    shapes = ",".join(str(a.shape).replace(" ", "") if isinstance(a, np.ndarray) else repr(a)[:40] for a in args)
    CASES.append(Case(rule, fun, args, f"{dispatch.name_of(rule)}({shapes})#{len(CASES)}"))


# -- elementwise -------------------------------------------------------------------------------------------------------

ANYWHERE = [
    np.positive, np.negative, np.absolute, np.fabs, np.conjugate, np.square, np.cbrt, np.exp, np.exp2, np.expm1, np.sin,
    np.cos, np.tan, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, operator.neg, operator.pos, operator.abs,
    special.expit, special.log_expit, special.erf, special.erfc, special.ndtr, special.log_ndtr,
]  # fmt: skip
POSITIVE = [np.sqrt, np.reciprocal, np.log, np.log2, np.log10, np.log1p]
INSIDE = {np.arcsin: (-0.8, 0.8), np.arccos: (-0.8, 0.8), np.arctanh: (-0.8, 0.8), np.arccosh: (1.2, 3.0),
          special.logit: (0.1, 0.9)}  # fmt: skip
DOMAINS = dict.fromkeys(ANYWHERE, (-1.5, 1.5)) | dict.fromkeys(POSITIVE, (0.3, 2.0)) | INSIDE
for fun, (low, high) in DOMAINS.items():
    for shape in [(), (3,), (2, 3), (1,), (0,), (2, 0)]:
        case(fun, fun, some(*shape, low=low, high=high))

BINARY_ANYWHERE = [
    np.add, np.subtract, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.arctan2, np.hypot, np.logaddexp,
    np.logaddexp2, operator.add, operator.sub, operator.mul,
]  # fmt: skip
BINARY_POSITIVE = [np.divide, np.remainder, np.power, np.float_power, operator.truediv, operator.mod, operator.pow,
                   special.xlogy, special.xlog1py]  # fmt: skip
BROADCASTS = [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((3,), (2, 1)), ((2, 1, 2), (3, 1)), ((), (3,)), ((2, 2), ()),
              ((1,), (3,)), ((1, 1), (1,)), ((0,), (1,)), ((2, 0), (2, 1))]  # fmt: skip
for fun in BINARY_ANYWHERE + BINARY_POSITIVE:
    for a, b in BROADCASTS:
        low, high = (0.3, 2.0) if fun in BINARY_POSITIVE else (-1.5, 1.5)
        case(fun, fun, some(*a, low=low, high=high), some(*b, low=low, high=high))
for fun in [np.remainder, operator.mod]:
    case(fun, fun, some(3) * 5, some(3) - 2)
for fun in [np.power, np.float_power, operator.pow]:
    for n in [-2, 3, 0.5, 1, np.float64(2.5), np.array([2, 3, 1]), np.array([2.0, -1.0, 0.5])]:
        case(fun, lambda x, fun=fun, n=n: fun(x, n), positive(3))
    case(fun, lambda n, fun=fun: fun(2.0, n), some(2, 2))
    case(fun, lambda x, fun=fun: fun(x, 3.0), some(3))  # of negative numbers too
    case(fun, lambda n, fun=fun: fun([1, 2, 3], n), some(3))
case(operator.mul, lambda x: [1, 2, 3] * x * (4.0, 5.0, 6.0), some(3))
case(operator.pow, lambda x: x**2, some(3))
case(operator.matmul, lambda x: [[1.0, 2.0, 3.0]] @ x, some(3))
for c, a, b in [((3,), (3,), (3,)), ((2, 3), (), (3,)), ((2, 1), (3,), (1, 1)), ((), (2,), (2,)), ((0,), (1,), ())]:
    mask = some(*c) > 0
    case(np.where, lambda x, y, mask=mask: np.where(mask, x, y), some(*a), some(*b))
for shape in [(), (3,), (2, 1)]:
    case(np.heaviside, lambda b: np.heaviside(np.int8([-1, 0, 2]), b), some(*shape))
    case(np.heaviside, lambda a, b: np.heaviside(a, b) * np.heaviside(a * 0.0, b), some(3), some(*shape))
for bounds in [(-0.5, 0.5), (-0.5, None), (None, 0.5)]:
    case(np.clip, np.clip, some(2, 4), *bounds)
case(np.clip, lambda a, low, high: np.clip(a, low, high), some(2, 3), some(3) - 0.7, some(2, 1) + 0.7)
if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
    case(np.clip, np.clip, some(2, 4), None, None)
    case(np.clip, lambda a, low: np.clip(a, min=low, max=0.4), some(2, 3), some(3))

# -- reductions --------------------------------------------------------------------------------------------------------

AXES = [((), None), ((3,), None), ((3,), 0), ((2, 3), -1), ((2, 3), (0, 1)), ((2, 3, 2), (0, -1)), ((2, 3), ()),
        ((1, 3), 0), ((2, 1), (-1,))]  # fmt: skip
for fun in [np.sum, np.mean, np.max, np.min, np.prod, np.var, np.std]:
    for shape, axis in AXES:
        if axis == () and fun in (np.var, np.std):
            continue  # one entry each: all zero
        for keepdims in [False, True]:
            if not (fun is np.std and (shape == () or (shape, axis) in [((1, 3), 0), ((2, 1), (-1,))])):
                case(fun, lambda x, fun=fun, axis=axis, k=keepdims: fun(x, axis=axis, keepdims=k), some(*shape))
    case(fun, lambda x, fun=fun: fun(x, 0), some(2, 3))
for fun in [np.sum, np.prod, np.mean, np.max, np.var, np.std]:
    case(fun, lambda x, fun=fun: fun(x, axis=1), some(0, 2))
for fun in [np.amax, np.amin, np.ptp]:
    case(fun, lambda x, fun=fun: fun(x, axis=0), some(3, 2))
    case(fun, lambda x, fun=fun: fun(x, axis=(0, -1), keepdims=True), some(3, 2))
for fun in [np.sum, np.prod]:
    case(fun, fun, some(0))
    case(fun, lambda x, fun=fun: fun(x, axis=0), some(0, 2))
for fun in [np.var, np.std]:
    case(fun, lambda x, fun=fun: fun(x, axis=0, ddof=1), some(3, 2))
    case(fun, lambda x, fun=fun: fun(x, ddof=0.5), some(3))
case(np.prod, np.prod, np.array([0.5, 0.0, -2.0]))  # one zero, and two
case(np.prod, np.prod, np.array([0.5, 0.0, 0.0, 3.0]))
case(np.prod, lambda x: np.prod(x, axis=1), np.array([[0.0, 1.0, 2.0, 3.0, 0.4], [0.1, 0.2, 0.3, 0.4, 0.5]]))
for shape, axis in [((), None), ((3,), None), ((2, 3), None), ((2, 3), 0), ((2, 3), -1), ((0, 2), 0), ((1, 2), 0)]:
    case(np.cumsum, lambda x, axis=axis: np.cumsum(x, axis), some(*shape))
for kwargs in [{}, {"axis": 0}, {"axis": 0, "keepdims": True}]:
    case(reductions.logsumexp, lambda x, kwargs=kwargs: np.logaddexp.reduce(x, **kwargs), some(3, 2))
case(reductions.logsumexp, lambda x: np.logaddexp.reduce(x, axis=-1), some(2, 3))
for shape, ord, axis in [
    ((3,), None, None), ((2, 3), None, None), ((2, 3, 2), None, None), ((2, 3), None, 1), ((2, 3, 2), None, (0, 2)),
    ((3,), 2, None), ((2, 3), 2, 0), ((2, 3), "fro", None), ((2, 3, 2), "fro", (0, -1)), ((3,), 1, None),
    ((3,), np.inf, None), ((3,), -np.inf, None), ((2, 3), 3, -1), ((3,), 2.5, None), ((2, 3), 1, None),
    ((2, 3), -1, None), ((2, 3), np.inf, None), ((2, 3), -np.inf, None), ((2, 3, 2), 1, (2, 0)), ((1,), None, None),
]:  # fmt: skip
    rule = np.linalg.norm if ord in (None, 2, "fro") else np.absolute  # the others are written with abs
    for keepdims in [False, True]:
        case(rule, lambda x, o=ord, a=axis, k=keepdims: np.linalg.norm(x, o, axis=a, keepdims=k), some(*shape))
case(np.linalg.norm, lambda x: np.linalg.norm(x, axis=1), some(0, 2))

# -- structure ---------------------------------------------------------------------------------------------------------

INDICES = [
    0, -1, np.int64(1), slice(None), slice(None, None, -2), ..., None, (), (1, 2), (slice(1, None), None, -1), (..., 0),
    [0, 2, 0], np.array([[1, 0], [2, 2]]), np.array([True, False, True]), [True, False, True], (slice(None), [3, 3, 0]),
    ([0, 1], [2, 2]), (np.array([[0], [2]]), np.array([1, 1, 3])), (0, [1, 1]), (np.array([False] * 3), 0),
    (slice(None), np.array([True, False, True, True])), np.arange(12).reshape(3, 4) % 3 == 0, slice(0, 0),
    np.zeros(0, int), (np.array(1), np.array(2)), True,
]  # fmt: skip
for index in INDICES:
    case(dispatch.getitem, lambda x, index=index: x[index], some(3, 4))
case(dispatch.getitem, lambda x: x[()], some())
case(dispatch.getitem, lambda x: x[..., None], some())
case(structure.scatter, lambda g: dispatch.call(structure.scatter, g, ([0, 2, 0],), (4,)), some(3))
case(structure.scatter, lambda g: dispatch.call(structure.scatter, g, (slice(1, 3), 0), (4, 2)), some(2))
for dtype in [np.float64, "float64", float]:
    case(dispatch.astype, lambda x, dtype=dtype: x.astype(dtype), some(2, 3))

for fun, calls in {
    np.copy: [((2, 3),), ((),), ((2, 3), "F")],
    np.reshape: [((2, 3), (3, 2)), ((2, 3), -1), ((2, 3), (1, -1, 2)), ((), (1, 1)), ((1,), ()), ((0, 2), (4, 0)),
                 ((2, 3), (3, 2), "F")],
    np.ravel: [((2, 3),), ((),), ((2, 3), "F"), ((0, 2),)],
    np.squeeze: [((1, 3, 1),), ((1, 3, 1), 0), ((1, 3, 1), (0, -1)), ((3,),)],
    np.expand_dims: [((2, 3), 0), ((2, 3), -1), ((2, 3), (0, 2)), ((), 0)],
    np.broadcast_to: [((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2, 2)), ((1, 3), (2, 2, 3)), ((3,), (3,)), ((1,), (0,))],
    np.transpose: [((2, 3),), ((2, 3, 4), (2, 0, 1)), ((2, 3, 2), (-1, 0, 1)), ((3,),), ((),)],
    np.matrix_transpose: [((2, 3),), ((2, 3, 2),)],
    np.swapaxes: [((2, 3), 0, 1), ((2, 3, 2), 0, -1)],
    np.moveaxis: [((2, 3, 4), 0, -1), ((2, 3, 2), (0, 1), (-1, 0))],
    np.flip: [((2, 3),), ((2, 3), 0), ((2, 3), (0, -1))],
    np.triu: [((3, 3),), ((2, 3), 1), ((3, 2), -1), ((2, 3, 3),), ((3,),)],
    np.tril: [((3, 3),), ((2, 3), 1), ((3, 2), -1), ((2, 3, 3),), ((3,),)],
    np.diag: [((3,),), ((2,), 1), ((2,), -2), ((3, 3),), ((2, 3), 1), ((3, 2), -1), ((2, 2), 5)],
    np.diagonal: [((3, 3),), ((2, 3), 1), ((2, 3, 3), 0, 1, 2), ((3, 2, 3), -1, 2, 0)],
    np.repeat: [((3,), 2), ((2, 3), 2), ((2, 3), 2, 1), ((3,), [0, 2, 1]), ((2, 3), [1, 2], 0), ((3,), 0)],
    np.tile: [((3,), 2), ((2, 3), (2, 1)), ((2,), (2, 1, 2)), ((3,), 0), ((2, 3), 1)],
    np.roll: [((3,), 1), ((2, 3), 2), ((2, 3), -1, 1), ((2, 3), (1, 2), (0, 1)), ((3,), 0)],
    np.sort: [((4,),), ((3, 4),), ((3, 4), 0), ((3, 4), None), ((1,),), ((0,),)],
    np.take: [((3,), [0, 2, 0]), ((3, 2), 1), ((3, 2), [[0, 1], [1, -1]], 1), ((3, 2), 1, 0), ((3, 2), [5, 0, 5])],
    np.diff: [((4,),), ((4,), 2), ((3, 4), 1, 0), ((3, 4), 2), ((4,), 0)],
    np.trace: [((3, 3),), ((2, 3), 1), ((2, 3, 3), 0, 1, 2), ((2, 3, 2), -1, 0, 2)],
    np.atleast_1d: [((),), ((2,),)],
    np.atleast_2d: [((),), ((2,),), ((1, 2, 1),)],
}.items():  # fmt: skip
    for shape, *settings in calls:
        case(fun, lambda x, fun=fun, s=tuple(settings): fun(x, *s), some(*shape))
for shape, axis in [((3, 4), -1), ((3, 4), 0), ((4,), None), ((3, 4), None)]:
    x = some(*shape)
    order = np.argsort(x, axis=axis)
    case(np.take_along_axis, lambda x, i=order, a=axis: np.take_along_axis(x, i, a), x)
case(np.take_along_axis, lambda x: np.take_along_axis(x, np.array([[1, 1]]), 1), some(3, 2))
case(np.take_along_axis, lambda x: np.take_along_axis(x, np.array([[2], [0]]), 0), some(3, 1))
case(np.repeat, lambda x: x.repeat(np.array([1, 0, 2])), some(3))
case(np.split, lambda x: np.split(x, [1, 3])[1], some(4, 2))
case(np.split, lambda x: np.split(x, 2, axis=-1)[0], some(2, 4))
case(np.split, lambda x: np.concatenate(np.split(x, [3, 1, 7])), some(4))
case(np.array_split, lambda x: np.array_split(x, 3)[0] * np.array_split(x, 3)[1][0], some(5))
for mode in ["constant", "edge", "reflect", "symmetric", "wrap"]:
    for shape, width in [((3,), 2), ((3,), (1, 2)), ((3, 4), ((1, 0), (2, 1))), ((3, 4), ((1,), (2,))), ((3,), 0)]:
        case(structure.padded, lambda x, w=width, m=mode: np.pad(x, w, m), some(*shape))
        case(np.pad, lambda x, w=width, m=mode: np.pad(x, w, mode=m) ** 2, some(*shape))
case(np.pad, lambda x: np.pad(x, ((1, 0), (0, 2)), constant_values=((2.0, 3.0), (4.0, 5.0))), some(2, 2))

JOINS = [((2,), (3,)), ((2, 3), (1, 3)), ((0,), (2,))]
for shapes in JOINS:
    case(structure.concatenated, lambda *arrays: np.concatenate(arrays), *[some(*s) for s in shapes])
    case(np.concatenate, lambda *arrays: np.concatenate(arrays, axis=None), *[some(*s) for s in shapes])
case(np.concatenate, lambda a, b, c: np.concatenate([a, b, c], -1), some(2, 1), some(2, 3), some(2, 0))
case(np.concatenate, lambda a: np.concatenate([[1.0, 2.0], a, a]), some(2))
for axis in [0, 1, -1, -2]:
    case(np.stack, lambda a, b, axis=axis: np.stack([a, b], axis), some(2), some(2))
case(np.stack, lambda a: np.stack([a, 1.0, a[()]]), some())
case(np.stack, lambda x: np.stack(x) * np.stack(tuple(x)), some(3, 2))
for shapes in [((2,), (3,)), ((2, 3), (2, 1)), ((), (2,)), ((), ())]:
    case(np.hstack, lambda *arrays: np.hstack(arrays), *[some(*s) for s in shapes])
for shapes in [((3,), (3,)), ((2, 3), (3,)), ((), ())]:
    case(np.vstack, lambda *arrays: np.vstack(arrays), *[some(*s) for s in shapes])
for shapes in [((3,), (3,)), ((3, 2), (3,))]:
    case(np.column_stack, lambda *arrays: np.column_stack(arrays), *[some(*s) for s in shapes])

# -- products and matrices ---------------------------------------------------------------------------------------------

for a, b in [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 2)), ((2, 2, 3), (3,)), ((3,), (2, 3, 2)),
             ((2, 1, 2, 3), (2, 3, 1)), ((1, 3), (2, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 2)),
             ((0,), (0,))]:  # fmt: skip
    for fun in [np.matmul, operator.matmul]:
        case(fun, fun, some(*a), some(*b))
for a, b in [((), ()), ((), (3,)), ((2, 3), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 2)), ((3,), (2, 3, 2)),
             ((2, 2, 3), (2, 3, 2))]:  # fmt: skip
    case(np.dot, np.dot, some(*a), some(*b))
for a, b in [((), ()), ((2,), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (2, 3)), ((2, 1, 3), (2, 3))]:
    case(np.inner, np.inner, some(*a), some(*b))
for a, b in [((), ()), ((3,), (3,)), ((2, 3), (3, 2))]:
    case(np.vdot, np.vdot, some(*a), some(*b))
for a, b in [((2,), (3,)), ((), (3,)), ((2, 2), (3,))]:
    case(np.outer, np.outer, some(*a), some(*b))
for a, b in [((3,), (3,)), ((2, 3), (3,)), ((2, 1, 3), (2, 3)), ((2, 0), (0,))]:
    case(np.vecdot, np.vecdot, some(*a), some(*b))
for a, b in [((2,), (3,)), ((2, 3), (3, 2)), ((2, 3), (2,)), ((2,), (2, 1, 2)), ((), (2,))]:
    case(np.kron, np.kron, some(*a), some(*b))
for a, b, axes in [((2, 3), (3, 2), 1), ((2, 3), (2, 3), 2), ((2,), (3,), 0), ((2, 3, 4), (4, 2, 2), ([2, 0], [0, 1])),
                   ((2, 3), (4, 3), (1, 1)), ((2, 3), (3, 4), (-1, 0)), ((2, 0), (0, 2), 1)]:  # fmt: skip
    case(np.tensordot, lambda a, b, axes=axes: np.tensordot(a, b, axes), some(*a), some(*b))
for subscripts, *shapes in [
    ("ij,jk->ik", (2, 3), (3, 2)), ("ij,jk", (2, 3), (3, 2)), ("ba,ac", (3, 2), (2, 2)), ("i,i->", (3,), (3,)),
    ("i,j->ji", (2,), (3,)), ("ij->ji", (2, 3)), ("ij->", (2, 3)), ("ij->i", (2, 3)), ("ii->i", (3, 3)), ("ii", (3, 3)),
    ("iij->ji", (2, 2, 3)), ("iii->i", (2, 2, 2)), ("iijj->ij", (2, 2, 2, 2)), ("ij,kj->i", (2, 3), (2, 3)),
    ("ii,i->", (3, 3), (3,)), ("i,jk->i", (2,), (2, 3)), ("...i,...i->...", (2, 3), (2, 3)),
    ("...ij,jk", (2, 2, 3), (3, 2)),
    ("...i->...", (2, 2, 3)), ("i...,j...->ij...", (2, 3), (2, 3)), ("...i,...i", (2, 1, 3), (2, 3)),
    ("b...->...", (2, 3)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 2)), ("i,i,i->i", (3,), (3,), (3,)), ("ij,ij,j->", (2, 3), (2, 3), (3,)),
    (" i j , j -> i ", (2, 3), (3,)), ("i,->i", (3,), ()), (",", (), ()), ("i,i->i", (1,), (3,)), ("i,i->", (3,), (1,)),
    ("bthd,bshd->bhts", (1, 2, 1, 2), (1, 2, 1, 2)), ("ij,jk->ik", (0, 3), (3, 2)),
]:  # fmt: skip
    case(np.einsum, lambda *operands, s=subscripts: np.einsum(s, *operands), *[some(*shape) for shape in shapes])
case(np.einsum, lambda *x: np.einsum("ij,jk,kl->il", *x, optimize=True), some(2, 3), some(3, 2), some(2, 2))

for shape in [(2, 2), (3, 3), (1, 1), (2, 2, 2)]:
    near_identity = some(*shape) + 2 * np.eye(shape[-1])
    case(np.linalg.inv, np.linalg.inv, near_identity)
    case(np.linalg.det, np.linalg.det, near_identity)
    case(linalg.logabsdet, lambda a: np.linalg.slogdet(a)[1], -near_identity)
    case(np.linalg.slogdet, lambda a: np.linalg.slogdet(a).logabsdet * np.linalg.slogdet(a).sign, near_identity)
    case(np.linalg.cholesky, np.linalg.cholesky, definite(*shape[:-1]))
    case(np.linalg.cholesky, lambda a: np.linalg.cholesky(a, upper=True), definite(*shape[:-1]))
    case(np.linalg.eigvalsh, np.linalg.eigvalsh, definite(*shape[:-1]))
    case(np.linalg.eigh, lambda a: np.linalg.eigh(a)[0], definite(*shape[:-1]))
    case(linalg.eigh_core, lambda a: np.linalg.eigh(a).eigenvectors ** 2 + np.linalg.eigh(a)[0][..., None, :],
         definite(*shape[:-1]))  # fmt: skip
    case(np.linalg.eigh, lambda a: np.sum(np.linalg.eigh(a, "U")[1] ** 3, -1), definite(*shape[:-1]))
for a, b in [
    ((2, 2), (2,)),
    ((3, 3), (3, 2)),
    ((1, 1), (1,)),
    ((2, 2, 2), (2, 2, 1)),
    ((2, 2), (2, 2, 1)),
    ((2, 2, 2), (2, 1)),
]:
    case(np.linalg.solve, np.linalg.solve, some(*a) + 2 * np.eye(a[-1]), some(*b))
case(np.linalg.solve, lambda b: np.linalg.solve([[2.0, 1.0], [0.5, 3.0]], b), some(2))
case(np.linalg.solve, lambda a: np.linalg.solve(a, [1.0, 2.0]), some(2, 2) + 2 * np.eye(2))

# Buffers have no derivative of their own: test_edges.py writes into them.
BUFFERS = {np.empty_like, np.zeros_like, np.ones_like, np.full_like}

# The functions of the requirement, by the names people type.
REQUIRED = """
    add subtract multiply divide power exp expm1 log log1p log2 log10 sqrt square cbrt abs sin cos tan arcsin
    arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh logaddexp maximum minimum fmax fmin clip where
    hypot reciprocal sum prod mean var std max min cumsum matmul dot inner outer tensordot einsum vecdot kron
    trace diag diagonal triu tril transpose swapaxes moveaxis reshape ravel squeeze expand_dims broadcast_to
    concatenate stack hstack vstack split repeat tile roll flip sort take take_along_axis pad linalg.norm
    linalg.inv linalg.solve linalg.det linalg.slogdet linalg.cholesky linalg.eigh
""".split()


# -- turning a case into functions of one array -----------------------------------------------------------------------


def functions(case):
    """(f, x) for every float array among the arguments alone, and for all of them in one flat x."""
    boxed = [i for i, arg in enumerate(case.args) if isinstance(arg, np.ndarray) and arg.dtype == np.float64]
    for i in boxed:
        yield lambda x, i=i: case.fun(*case.args[:i], x, *case.args[i + 1 :]), case.args[i]
    if len(boxed) > 1:
        sizes = [case.args[i].size for i in boxed]
        starts = np.cumsum([0, *sizes])

        def together(x):
            args = list(case.args)
            for i, start, size in zip(boxed, starts, sizes, strict=False):
                args[i] = x[start : start + size].reshape(case.args[i].shape)
            return case.fun(*args)

        yield together, np.concatenate([case.args[i].ravel() for i in boxed])


def through_a_view(f, x):
    """The same function of an array that lies in memory transposed and backward."""
    flipped = (slice(None, None, -1),) * x.ndim
    return lambda z: f(z[flipped].T), x.T[flipped].copy()


def depends(f, x):
    """Whether f changes with x at all, as a maximum with something larger does not, or an empty result."""
    return not np.array_equal(f(x), f(x + rng.uniform(1e-4, 2e-4, x.shape)))


by_label = pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)


# -- the tests ---------------------------------------------------------------------------------------------------------


def test_no_rule_is_left_without_a_case():
    assert (set(RULES) | set(COMPOSITES)) - BUFFERS == {case.rule for case in CASES}


def test_every_required_function_has_a_case():
    for name in REQUIRED:
        assert operator.attrgetter(name)(np) in {case.rule for case in CASES}, name


@by_label
def test_derivatives_of_both_orders_agree_with_differences(case):
    for f, x in functions(case):
        sr.check_grads(f, x, order=2)


@by_label
def test_so_do_those_through_transposed_and_reversed_views(case):
    for f, x in functions(case):
        if x.ndim:
            sr.check_grads(*through_a_view(f, x), order=1)


# Sums and products in another order than NumPy's, or by another routine.
ROUNDED = {np.prod, reductions.logsumexp, np.einsum, np.dot, np.inner, np.tensordot, np.linalg.cholesky}
ROUNDED |= {np.linalg.eigvalsh}


@by_label
def test_values_are_numpys_to_the_bit(case):
    for f, x in functions(case):
        plain = f(x)
        for y in (sr.jvp(f, x, np.ones_like(x))[0], sr.vjp(f, x)[0]):
            assert np.shape(y) == np.shape(plain)
            assert y.dtype == plain.dtype
            if case.rule in ROUNDED:
                np.testing.assert_allclose(y, plain, rtol=1e-14, atol=1e-15)
            else:
                np.testing.assert_array_equal(y, plain, strict=True)


@by_label
def test_float32_stays_float32_in_both_directions(case):
    case = case._replace(args=tuple(a.astype(np.float32) if isinstance(a, np.ndarray) else a for a in case.args))
    if case.rule is dispatch.astype:
        return
    boxed = [i for i, arg in enumerate(case.args) if isinstance(arg, np.ndarray) and arg.dtype == np.float32]
    for i in boxed:
        f, x = lambda x, i=i: case.fun(*case.args[:i], x, *case.args[i + 1 :]), case.args[i]
        kind = f(x).dtype  # float32, but where a case has float64 constants
        y, dy = sr.jvp(f, x, np.ones_like(x))
        _, pullback = sr.vjp(f, x)
        assert y.dtype == dy.dtype == kind
        assert pullback(np.ones(np.shape(y), kind)).dtype == np.float32
        if case.label.startswith("numpy.") and case.rule not in dispatch.OPERATORS:
            assert kind == np.float32 or case.rule in FLOAT64_CONSTANTS


FLOAT64_CONSTANTS = {np.power, np.float_power, np.linalg.solve, np.concatenate, np.stack, np.take_along_axis}


METHODS = [
    (lambda x: x.sum(), lambda x: np.sum(x)),
    (lambda x: x.sum(0, keepdims=True), lambda x: np.sum(x, axis=0, keepdims=True)),
    (lambda x: x.prod(1), lambda x: np.prod(x, axis=1)),
    (lambda x: x.mean(axis=(0, 1)), lambda x: np.mean(x)),
    (lambda x: x.var(axis=0, ddof=1), lambda x: np.var(x, axis=0, ddof=1)),
    (lambda x: x.std(), lambda x: np.std(x)),
    (lambda x: x.max(-1), lambda x: np.max(x, axis=-1)),
    (lambda x: x.min(), lambda x: np.min(x)),
    (lambda x: x.cumsum(1), lambda x: np.cumsum(x, axis=1)),
    (lambda x: x.clip(-0.2, 0.3), lambda x: np.clip(x, -0.2, 0.3)),
    (lambda x: x.clip(max=0.3), lambda x: np.minimum(x, 0.3)),
    (lambda x: x.dot(x.T), lambda x: np.dot(x, np.transpose(x))),
    (lambda x: x @ x.T @ x, lambda x: np.matmul(np.matmul(x, np.swapaxes(x, 0, 1)), x)),
    (lambda x: x.mT, lambda x: np.transpose(x)),
    (lambda x: x.trace(1), lambda x: np.trace(x, offset=1)),
    (lambda x: x.diagonal(), lambda x: np.diagonal(x)),
    (lambda x: x.ravel(), lambda x: np.ravel(x)),
    (lambda x: x.flatten("F"), lambda x: np.ravel(x, "F")),
    (lambda x: x.reshape(3, -1), lambda x: np.reshape(x, (3, 4))),
    (lambda x: x.reshape((2, 6), order="F"), lambda x: np.reshape(x, (2, 6), order="F")),
    (lambda x: x[:1].squeeze(0), lambda x: np.squeeze(x[:1], axis=0)),
    (lambda x: x.transpose(), lambda x: x.T),
    (lambda x: x.transpose(1, 0), lambda x: x.T),
    (lambda x: x.transpose((1, 0)), lambda x: x.T),
    (lambda x: x.swapaxes(0, 1), lambda x: x.T),
    (lambda x: x.repeat(2, axis=1), lambda x: np.repeat(x, 2, 1)),
    (lambda x: x.take([1, 1], axis=0), lambda x: x[[1, 1]]),
    (lambda x: x.copy(), lambda x: x + 0),
    (lambda x: x.conj(), lambda x: x + 0),
    (lambda x: abs(x) ** 0.5 / -x + (+x) % 0.3, lambda x: np.remainder(x, 0.3) - np.sqrt(np.abs(x)) / x),
    (lambda x: 1 - 2 * x / 3, lambda x: np.subtract(1, np.divide(np.multiply(2, x), 3))),
    (lambda x: np.add.reduce(x) * np.multiply.reduce(x, axis=0), lambda x: np.sum(x, 0) * np.prod(x, 0)),
    (lambda x: np.maximum.reduce(x, axis=1), lambda x: np.max(x, axis=1)),
    (lambda x: np.minimum.reduce(x, keepdims=True), lambda x: np.min(x, axis=0, keepdims=True)),
    (lambda x: np.add.accumulate(x), lambda x: np.cumsum(x, 0)),
    (lambda x: np.subtract.outer(x, x[0]), lambda x: x[:, :, None] - x[0]),
    (lambda x: np.stack([row * row for row in x]), lambda x: x * x),
]


@pytest.mark.parametrize(("method", "function"), METHODS)
def test_methods_operators_and_ufunc_methods_are_the_functions_of_the_same_name(method, function):
    x, v = some(3, 4), some(3, 4)
    y, dy = sr.jvp(function, x, v)
    np.testing.assert_allclose(method(x), y, rtol=1e-14, atol=1e-15, strict=True)  # the two are the same in NumPy
    for result, expected in zip(sr.jvp(method, x, v), (y, dy), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-14, atol=1e-15, strict=True)
    w = some(*np.shape(y))
    np.testing.assert_allclose(sr.vjp(method, x)[1](w), sr.vjp(function, x)[1](w), rtol=1e-14, atol=1e-15)


CONSTANTS = [
    lambda x: x > 0, lambda x: x >= x[0], lambda x: 0 < x, lambda x: 0.1 <= x, lambda x: x == x, lambda x: x != 0,
    lambda x: np.less(x, 0), lambda x: np.less_equal(0, x), lambda x: np.greater(x, x), lambda x: np.equal(x, 0),
    lambda x: np.greater_equal(x, 0), lambda x: np.not_equal(x, 0), lambda x: np.isclose(x, b=x),
    lambda x: np.allclose(x, x), lambda x: np.array_equal(x, x), np.isfinite, np.isnan, np.isinf, np.signbit,
    lambda x: np.logical_and(x, x), lambda x: np.logical_or(x, 0), np.logical_not, lambda x: np.logical_xor(x, 1),
    lambda x: np.any(x, axis=0), lambda x: np.all(x), lambda x: x.any(), lambda x: x.all(axis=1), np.sign,
    lambda x: np.heaviside(x, 0.5), np.floor, np.ceil, np.trunc, np.rint, lambda x: np.round(x, 1),
    lambda x: np.around(x, 1), lambda x: x.round(1),
    lambda x: np.floor_divide(x, 0.3), lambda x: x // 0.3, lambda x: 1.0 // x, lambda x: x // x, np.argmax,
    lambda x: x.argmax(axis=0), lambda x: np.argmin(x, axis=1), lambda x: x.argmin(), lambda x: x.argsort(),
    lambda x: np.argsort(x, axis=0), lambda x: np.searchsorted(np.arange(5.0), x), lambda x: np.nonzero(x > 0)[0],
    lambda x: x.nonzero()[1], lambda x: np.where(x)[0], np.flatnonzero, np.count_nonzero, np.shape, np.ndim, np.size,
    np.result_type, np.iscomplexobj, np.isrealobj, lambda x: x.astype(int), lambda x: x.astype(bool),
    lambda x: np.logical_or.reduce(x), lambda x: np.logical_and.reduce(x, axis=1), lambda x: x.shape, lambda x: x.ndim,
    lambda x: np.linalg.norm(x, 0, axis=1), lambda x: x.size, lambda x: x.dtype, len, lambda x: bool(x[0, 0]),
]  # fmt: skip


@pytest.mark.parametrize("f", CONSTANTS)
def test_functions_without_derivative_give_plain_values(f):
    x, seen = some(3, 4), []

    def spy(x):
        seen.append(f(x))
        return np.sum(x)

    sr.hvp(spy, x, x)
    sr.jvp(spy, x, x)
    for value in seen:
        assert not isinstance(value, dispatch.Box)
        np.testing.assert_array_equal(value, f(x), strict=isinstance(f(x), np.ndarray))


# -- closed forms ------------------------------------------------------------------------------------------------------


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / np.sum(e)


def jacobian(f, x):
    """(y, x), forward and reverse, which must agree."""
    columns = np.stack([sr.jvp(f, x, e.reshape(x.shape))[1].ravel() for e in np.eye(x.size)], axis=1)
    y, pullback = sr.vjp(f, x)
    rows = np.stack([pullback(e.reshape(np.shape(y))).ravel() for e in np.eye(np.size(y))])
    np.testing.assert_allclose(columns, rows, rtol=1e-12, atol=1e-13)
    return rows


A = some(3, 3) + 2 * np.eye(3)
S = definite(3)
S = (S + S.T) / 2
z = some(4)


def test_softmax_has_the_jacobian_diag_p_minus_p_p_transposed():
    p = softmax(z)
    np.testing.assert_allclose(jacobian(softmax, z), np.diag(p) - np.outer(p, p), rtol=1e-12, atol=1e-15)


def test_det_has_its_cofactors_for_gradient():
    cofactors = [
        [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(A, i, 0), j, 1)) for j in range(3)] for i in range(3)
    ]
    np.testing.assert_allclose(sr.grad(np.linalg.det)(A), cofactors, rtol=1e-12, atol=1e-14)


def test_inv_has_the_jacobian_minus_inverse_kron_inverse_transposed():
    inverse = np.linalg.inv(A)
    np.testing.assert_allclose(jacobian(np.linalg.inv, A), -np.kron(inverse, inverse.T), rtol=1e-11, atol=1e-13)


def test_log_det_has_the_hessian_minus_trace_of_inverse_e_inverse_e():
    inverse = np.linalg.inv(A)
    H = sr.hessian(lambda a: np.linalg.slogdet(np.reshape(a, (3, 3)))[1])(A.ravel())
    expected = -np.einsum("li,jk->ijkl", inverse, inverse).reshape(9, 9)  # d2 / dA_ij dA_kl = -inv_li inv_jk
    np.testing.assert_allclose(H, expected, rtol=1e-11, atol=1e-13)


def test_eigenvalues_change_by_the_outer_product_of_their_eigenvector():
    V = np.linalg.eigh(S)[1]
    for k in range(3):
        outer = np.outer(V[:, k], V[:, k])
        expected = np.tril(outer) + np.tril(outer, -1)  # only the lower triangle is read, and stands for both
        np.testing.assert_allclose(
            sr.grad(lambda s, k=k: np.linalg.eigvalsh(s)[k])(S), expected, rtol=1e-10, atol=1e-12
        )


def test_cholesky_and_eigh_have_no_derivative_in_the_triangle_that_they_do_not_read():
    for f in (np.linalg.cholesky, np.linalg.eigvalsh, lambda s: np.linalg.cholesky(s, upper=True).T):
        gradient = sr.grad(lambda s, f=f: np.sum(f(s)))(S)
        unread = np.triu_indices(3, 1) if f in (np.linalg.cholesky, np.linalg.eigvalsh) else np.tril_indices(3, -1)
        assert np.all(gradient[unread] == 0)
        assert np.all(gradient[unread[::-1]] != 0)


def test_norm_has_the_unit_vector_for_gradient_and_a_projector_for_hessian():
    n = np.linalg.norm(z)
    np.testing.assert_allclose(sr.grad(np.linalg.norm)(z), z / n, rtol=1e-14)
    np.testing.assert_allclose(sr.hessian(np.linalg.norm)(z), (np.eye(4) - np.outer(z, z) / n**2) / n, rtol=1e-13)


def test_variance_has_twice_the_centring_matrix_over_n_for_hessian():
    np.testing.assert_allclose(sr.hessian(np.var)(z), 2 * (np.eye(4) - 0.25) / 4, rtol=1e-13, atol=1e-15)


def test_log_sum_exp_has_softmax_for_gradient():
    np.testing.assert_allclose(sr.grad(np.logaddexp.reduce)(z), softmax(z), rtol=1e-13)


def test_solving_has_minus_the_outer_product_of_both_solutions_for_gradient():
    b, w = some(3), some(3)
    gradient = sr.grad(lambda a: w @ np.linalg.solve(a, b))(A)
    expected = -np.outer(np.linalg.solve(A.T, w), np.linalg.solve(A, b))
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-14)


# -- wrong rules are caught --------------------------------------------------------------------------------------------


def scaled(half):
    return lambda *args, **kwargs: 1.001 * half(*args, **kwargs)


@pytest.mark.parametrize("half", ["tangent", "cotangent"])
@pytest.mark.parametrize("rule", RULES, ids=dispatch.name_of)
def test_a_rule_that_is_off_by_a_thousandth_is_caught_in_every_case(rule, half, monkeypatch):
    tried = [(f, x) for case in CASES if case.rule is rule for f, x in functions(case) if depends(f, x)]
    assert tried
    for fun in {rule, dispatch.OPERATORS.get(rule, rule)}:  # an ndarray on the left makes the ufunc of the operator
        monkeypatch.setitem(RULES, fun, RULES[fun]._replace(**{half: scaled(getattr(RULES[fun], half))}))
    for f, x in tried:
        with pytest.raises(AssertionError, match="forward" if half == "tangent" else "reverse"):
            sr.check_grads(f, x, order=1)


@pytest.mark.parametrize("half", ["tangent", "cotangent"])
@pytest.mark.parametrize("fun", [np.exp, np.sin, np.square, np.tanh], ids=lambda fun: fun.__name__)
def test_a_rule_whose_second_derivative_alone_is_wrong_is_caught_at_order_two(fun, half, monkeypatch):
    original = getattr(RULES[fun], half)

    def first_order_only(*args):  # arrays in y and x held constant: their own derivative is forgotten
        return original(*args[:-2], *map(dispatch.strip, args[-2:]))

    monkeypatch.setitem(RULES, fun, RULES[fun]._replace(**{half: first_order_only}))
    sr.check_grads(fun, some(3), order=1)
    with pytest.raises(AssertionError, match="derivative is wrong"):
        sr.check_grads(fun, some(3), order=2)
