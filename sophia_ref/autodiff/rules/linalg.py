"""Products and matrices.

t(X) is the transpose of the last two axes, so everything here works on stacks of matrices. Sources: Giles, Collected
Matrix Derivative Results for Forward and Reverse Mode AD, 2008 (inv, solve, det, eigh); Murray, Differentiation of the
Cholesky decomposition, 2016.
"""

import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import RULES, beside, call, strip
from sophia_ref.autodiff.rules.kinds import Array, composite, general, multilinear, unbroadcast
from sophia_ref.autodiff.rules.structure import boxed_or_plain

# -- products ----------------------------------------------------------------------------------------------------------


def matmul_cotangent(i: int, g: Array, y: Array, a: Array, b: Array) -> Array:
    """A_bar = Y_bar B^T, B_bar = A^T Y_bar; a vector counts as a row on the left and as a column on the right."""
    A = a[None, :] if a.ndim == 1 else a
    B = b[:, None] if b.ndim == 1 else b
    G = np.expand_dims(g, -1) if b.ndim == 1 else g
    G = np.expand_dims(G, -2) if a.ndim == 1 else G
    if i == 0:
        return np.reshape(unbroadcast(np.matmul(G, np.swapaxes(B, -1, -2)), A.shape), a.shape)
    return np.reshape(unbroadcast(np.matmul(np.swapaxes(A, -1, -2), G), B.shape), b.shape)


def vecdot_cotangent(i: int, g: Array, y: Array, a: Array, b: Array) -> Array:
    return unbroadcast(np.expand_dims(g, -1) * (b if i == 0 else a), (a, b)[i].shape)


def einsum_cotangent(i: int, g: Array, y: Array, subscripts: str, *operands: Array, optimize: Any = False) -> Array:
    """Swap the result and operand i; along an index that stands in operand i alone, all cotangents are alike."""
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    operand = i - 1  # argument 0 is the string
    others = [*terms[:operand], *terms[operand + 1 :]]
    alone = [axis for axis, c in enumerate(terms[operand]) if c not in output and not any(c in t for t in others)]
    term = "".join(c for axis, c in enumerate(terms[operand]) if axis not in alone)
    arrays = [*operands[:operand], *operands[operand + 1 :]]
    shape = operands[operand].shape
    bar = np.einsum(",".join([output, *others]) + "->" + term, g, *arrays, optimize=optimize)
    bar = np.expand_dims(bar, alone) if alone else bar
    return unbroadcast(np.broadcast_to(bar, np.broadcast_shapes(bar.shape, shape)), shape)


RULES[np.matmul] = multilinear(np.matmul, matmul_cotangent)
RULES[operator.matmul] = multilinear(operator.matmul, matmul_cotangent)
RULES[np.vecdot] = multilinear(np.vecdot, vecdot_cotangent)
RULES[np.einsum] = multilinear(np.einsum, einsum_cotangent)


@cache
def einsum_terms(subscripts: str, ndims: tuple[int, ...]) -> tuple[list[str], str]:
    """A letter for each axis: the terms of the operands, and that of the result, without dots."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    spare = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in subscripts]
    extra = [ndim - len(term.replace("...", "")) for term, ndim in zip(terms, ndims, strict=True)]
    most = max([n for n, term in zip(extra, terms, strict=True) if "..." in term], default=0)
    letters = "".join(spare[:most])  # what ... stands for
    terms = [term.replace("...", letters[most - n :] if n else "") for term, n in zip(terms, extra, strict=True)]
    output = output.replace("...", letters)
    if not arrow:
        joined = "".join(terms)
        output = letters + "".join(sorted(c for c in set(joined) - set(letters) if joined.count(c) == 1))
    return terms, output


@composite(np.einsum)
def _(subscripts: Any, *operands: Array, optimize: Any = False) -> Array:
    if not isinstance(subscripts, str):
        raise TypeError("numpy.einsum: the derivative rule needs the subscripts as a string, such as 'ij,jk->ik'")
    given, output = einsum_terms(subscripts, tuple(map(np.ndim, operands)))
    terms, arrays = [], []
    for term, x in zip(given, operands, strict=True):  # take diagonals of repeated indices
        y = x
        while repeated := [c for c in term if term.count(c) > 1]:
            first, second = [j for j, c in enumerate(term) if c == repeated[0]][:2]
            y = np.diagonal(y, 0, first, second)  # moves the index to the end
            term = "".join(c for j, c in enumerate(term) if j not in (first, second)) + repeated[0]
        terms.append(term)
        arrays.append(y)
    return call(np.einsum, ",".join(terms) + "->" + output, *arrays, optimize=optimize)


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


@composite(np.vdot)
def _(a: Array, b: Array) -> Array:
    return np.matmul(np.ravel(a), np.ravel(b))


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
    return np.tril(x) * np.where(beside(x, np.eye(x.shape[-1], dtype=bool)), 0.5, 1.0).astype(x.dtype)


def cholesky_tangent(tangents: Any, L: Array, s: Array) -> Array:
    """dL = L Phi(L^-1 dS L^-T)."""
    inverse = np.linalg.inv(L)
    return L @ lower_half(inverse @ tangents[0] @ t(inverse))


def cholesky_cotangent(i: int, g: Array, L: Array, s: Array) -> Array:
    """S_bar = L^-T Phi(L^T L_bar) L^-1, up to symmetry."""
    inverse = np.linalg.inv(L)
    return t(inverse) @ lower_half(t(L) @ g) @ inverse


def eigh_core(s: Array, UPLO: Any) -> Array:
    """Eigenvalues on top of the eigenvectors, as one array (..., n + 1, n), so that there is one result."""
    w, V = np.linalg.eigh(s, UPLO)
    return np.concatenate([w[..., None, :], V], axis=-2)


def over_gaps(P: Array, w: Array) -> Array:
    """F * P with F_ij = 1 / (w_j - w_i) and F_ii = 0. For equal eigenvalues 0 / 0 is 0, and anything else NaN."""
    gap = w[..., None, :] - w[..., :, None]
    zero = gap == 0
    undefined = zero & (strip(P) != 0) & ~beside(w, np.eye(w.shape[-1], dtype=bool))
    return np.where(undefined, np.nan, np.where(zero, 0.0, P / np.where(zero, 1.0, gap)))


def eigh_tangent(tangents: Any, y: Array, s: Array, UPLO: Any) -> Array:
    """P = V^T dS V, dw = diag P, dV = V (F * P)."""
    w, V = y[..., 0, :], y[..., 1:, :]
    P = t(V) @ tangents[0] @ V
    return np.concatenate([np.diagonal(P, 0, -2, -1)[..., None, :], V @ over_gaps(P, w)], axis=-2)


def eigh_cotangent(i: int, g: Array, y: Array, s: Array, UPLO: Any) -> Array:
    """S_bar = V (diag(w_bar) + F * (V^T V_bar)) V^T."""
    w, V = y[..., 0, :], y[..., 1:, :]
    w_bar, V_bar = g[..., 0, :], g[..., 1:, :]
    diagonal = beside(w, np.eye(w.shape[-1], dtype=w.dtype)) * w_bar[..., None, :]
    return V @ (diagonal + over_gaps(t(V) @ V_bar, w)) @ t(V)


def solve_tangent(tangents: Any, y: Array, a: Array, b: Array) -> Array:
    """A dY = dB - dA Y."""
    dA, dB = tangents
    right = -(dA @ y) if dB is None else dB if dA is None else dB - dA @ y
    return np.linalg.solve(a, right)


def solve_cotangent(i: int, g: Array, y: Array, a: Array, b: Array) -> Array:
    """B_bar = A^-T Y_bar, A_bar = -B_bar Y^T."""
    b_bar = np.linalg.solve(t(a), g)
    return unbroadcast(b_bar, b.shape) if i == 1 else unbroadcast(-(b_bar @ t(y)), a.shape)


# fmt: off
MATRIX: dict[Callable[..., Any], tuple[Callable[..., Array], Callable[..., Array]]] = {
    np.linalg.inv: (lambda tangents, y, a: -(y @ tangents[0] @ y),  lambda i, g, y, a: -(t(y) @ g @ t(y))),
    np.linalg.det: (lambda tangents, y, a: y * np.trace(np.linalg.solve(a, tangents[0]), 0, -2, -1),
                    lambda i, g, y, a: (g * y)[..., None, None] * t(np.linalg.inv(a))),
    logabsdet:     (lambda tangents, y, a: np.trace(np.linalg.solve(a, tangents[0]), 0, -2, -1),
                    lambda i, g, y, a: g[..., None, None] * t(np.linalg.inv(a))),
    np.linalg.solve: (solve_tangent,                                  solve_cotangent),
    np.linalg.cholesky: (cholesky_tangent,                               cholesky_cotangent),
    eigh_core:     (eigh_tangent,                                   eigh_cotangent),
}
# fmt: on
RULES.update({fun: general(*halves) for fun, halves in MATRIX.items()})


def from_triangle(a: Array, lower: bool) -> Array:
    """The symmetric matrix that LAPACK sees: it reads one triangle, and so has no derivative in the other."""
    return np.tril(a) + t(np.tril(a, -1)) if lower else np.triu(a) + t(np.triu(a, 1))


@composite(np.linalg.solve)
def _(a: Array, b: Array) -> Array:
    a, b = boxed_or_plain(a), boxed_or_plain(b)
    return call(np.linalg.solve, a, b[:, None])[..., 0] if b.ndim == 1 else call(np.linalg.solve, a, b)


@composite(np.linalg.slogdet)
def _(a: Array) -> Any:
    plain = np.linalg.slogdet(strip(a))
    return SlogdetResult(plain[0], call(logabsdet, a))


@composite(np.linalg.cholesky)
def _(a: Array, *, upper: bool = False) -> Array:
    L = call(np.linalg.cholesky, from_triangle(a, lower=not upper))
    return t(L) if upper else L


EighResult: Any = type(np.linalg.eigh(np.eye(1)))
SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))


@composite(np.linalg.eigh)
def _(a: Array, UPLO: Any = "L") -> Any:
    both = call(eigh_core, from_triangle(a, lower=UPLO.upper() == "L"), UPLO)
    return EighResult(both[..., 0, :], both[..., 1:, :])


@composite(np.linalg.eigvalsh)
def _(a: Array, UPLO: Any = "L") -> Array:
    return np.linalg.eigh(a, UPLO)[0]
