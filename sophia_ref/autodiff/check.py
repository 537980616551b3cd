"""check_grads: is a derivative right?

The Jacobian is computed column by column forward, row by row in reverse, and by central differences; the three must
agree. For second order the same is asked of the derivative itself: of x -> J(x)^T w and of x -> J(x) v for fixed random
v and w. So every nesting of the two modes is compared with differences of something that has been checked before.
"""

from typing import Any

import numpy as np

from sophia_ref.autodiff.derivatives import Function, checked, jvp, name_of, vjp
from sophia_ref.autodiff.dispatch import InPlaceError


def check_grads(f: Function, x: Any, order: int = 2, rtol: float = 1e-6) -> None:
    """Raise AssertionError unless the derivatives of f at x agree with central differences to `rtol` of their largest
    entry.

    f: any shape to any shape, smooth at x. x: float64 ndarray or float. order: 1 checks J, 2 (the default) also the
    derivatives of J, and so on. Reverse over reverse is left out where an sr.primitive refuses it by InPlaceError,
    because its backward writes in place.

    A function whose Jacobian has entries of widely different size is checked relative to the largest: check such parts
    one by one.
    """
    x = checked("check_grads", x)
    if isinstance(x, dict) or x.dtype != np.float64:
        raise TypeError(
            "check_grads: x must be one float64 array; differences in float32 are too coarse to check anything"
        )
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ValueError(f"check_grads: order must be an integer of at least 1, got {order!r}")
    _check(f, np.asarray(x), order, rtol, name_of(f), nested=False)


def _check(f: Function, x: Any, order: int, rtol: float, name: str, nested: bool) -> None:
    value = np.asarray(f(x))
    basis = np.eye(x.size).reshape(x.size, *x.shape)
    units = np.eye(value.size).reshape(value.size, *value.shape)

    jacobians = {"forward": np.array([np.ravel(jvp(f, x, e)[1]) for e in basis]).reshape(x.size, value.size)}  # (x, f)
    try:
        _, pullback = vjp(f, x)
        jacobians["reverse"] = np.array([np.ravel(pullback(unit)) for unit in units]).reshape(value.size, x.size).T
    except InPlaceError:
        if not nested:
            raise
    numeric = _differences(f, x, basis).reshape(x.size, value.size)
    rounding = 1e-10 * max(1.0, float(np.max(np.abs(value), initial=0.0)))  # of f, divided by the step
    tolerance = rtol * np.max(np.abs(numeric), initial=0.0) + rounding
    for mode, jacobian in jacobians.items():
        error = np.max(np.abs(jacobian - numeric), initial=0.0)
        assert error <= tolerance, (
            f"{name}: the {mode} derivative is wrong: off by {error:.3g}, more than {tolerance:.3g}\n"
            f"{mode} (a row for each entry of x)\n{jacobian}\ncentral differences\n{numeric}"
        )
    if order > 1:
        rng = np.random.default_rng(0)
        v, w = rng.standard_normal(x.shape), rng.standard_normal(value.shape)
        _check(lambda x: vjp(f, x)[1](w), x, order - 1, rtol, f"x -> J^T w of {name}", nested=True)
        _check(lambda x: jvp(f, x, v)[1], x, order - 1, rtol, f"x -> J v of {name}", nested=True)


def _differences(f: Function, x: Any, basis: Any) -> Any:
    """df along each vector of the basis: central differences with two steps, extrapolated (Richardson 1911)."""

    def central(step: Any, h: float) -> Any:
        return (np.ravel(f(x + h * step)) - np.ravel(f(x - h * step))) / (2 * h)

    steps = [e * max(1.0, float(np.abs(np.sum(e * x)))) for e in basis]
    rows = [(4 * central(s, 5e-5) - central(s, 1e-4)) / (3 * np.sum(s)) for s in steps]
    return np.array(rows)
