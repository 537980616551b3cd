"""check_grads: is a derivative right?

The Jacobian is computed column by column forward, row by row in reverse, and by central differences; the three must
agree. For second order the same is asked of the derivative itself: of x -> J(x)^T w and of x -> J(x) v for fixed random
v and w. So every nesting of the two modes is compared with differences of something that has been checked before.
"""

from typing import Any

import numpy as np

from sophia_ref.autodiff.derivatives import Function, check_function, checked, jvp, name_of, vjp
from sophia_ref.autodiff.dispatch import InPlaceError

WIDEST = 4e-4  # the first step of the differences, times max(1, |x_i|); the next one is a quarter of it, and so on
PAIRS = 15  # that are tried at most: the last step is 4^-16 of the first, 1e-13


def check_grads(f: Function, x: Any, order: int = 2, rtol: float = 1e-6) -> None:
    """Raise AssertionError unless the derivatives of f at x agree with central differences to `rtol` of their largest
    entry.

    f: any shape to any shape, smooth at x. x: float64 ndarray or float. order: 1 checks J, 2 (the default) also the
    derivatives of J, and so on. Reverse over reverse is left out where an sr.primitive refuses it by InPlaceError,
    because its backward writes in place.

    The step is chosen for each coordinate: 4e-4 max(1, |x_i|) at first, and smaller down to 1e-13 max(1, |x_i|) until
    the differences settle, so that log at 1e-6 and sin at 1e6 can be judged. What cannot be: a kink or jump within the
    smallest steps (right derivatives fail), or one at x itself about which f is symmetric, as abs at 0 (differences
    give 0); detail so fine that the first steps miss it; and entries of a Jacobian far smaller than its largest, as
    `rtol` is relative to that: check such parts one by one.
    """
    check_function("check_grads", f)
    x = checked("check_grads", x)
    if isinstance(x, dict) or x.dtype != np.float64:
        raise TypeError(
            "check_grads: x must be one float64 array; differences in float32 are too coarse to check anything"
        )
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ValueError(f"check_grads: order must be an integer of at least 1, got {order!r}")
    if isinstance(rtol, bool) or not isinstance(rtol, float | int | np.floating) or not 0 < rtol < np.inf:
        raise ValueError(f"check_grads: rtol must be a finite number > 0, got {rtol!r}")
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
    size = max(1.0, float(np.max(np.abs(value), initial=0.0)))
    with np.errstate(all="ignore"):
        rows = [_differences(f, x, e, rtol, size) for e in basis]
    numeric = np.array([np.broadcast_to(slope, value.size) for slope, _, _ in rows]).reshape(x.size, value.size)
    for mode, jacobian in jacobians.items():
        for i, (_, allowed, uncertain) in enumerate(rows):
            error = np.max(np.abs(jacobian[i] - numeric[i]), initial=0.0)
            tolerance = rtol * np.max(np.abs(numeric), initial=0.0) + allowed
            assert error <= tolerance, (
                f"{name}: the {mode} derivative is wrong: off by {error:.3g}, more than {tolerance:.3g}\n"
                f"{mode} (a row for each entry of x)\n{jacobian}\n"
                f"central differences, which are uncertain by {uncertain:.1g} in row {i}\n{numeric}"
            )
    if order > 1:
        rng = np.random.default_rng(0)
        v, w = rng.standard_normal(x.shape), rng.standard_normal(value.shape)
        _check(lambda x: vjp(f, x)[1](w), x, order - 1, rtol, f"x -> J^T w of {name}", nested=True)
        _check(lambda x: jvp(f, x, v)[1], x, order - 1, rtol, f"x -> J v of {name}", nested=True)


def _differences(f: Function, x: Any, e: Any, rtol: float, size: float) -> tuple[Any, float, float]:
    """df along the unit vector e, how much rounding is to be let pass there, and by how much df is uncertain.

    Central differences with two steps, extrapolated (Richardson 1911), for steps that get smaller and smaller. What
    changes by no more than `rtol` / 10 from one pair of steps to the next is taken, or else what changes least. A step
    that leaves the domain of f, where it is NaN or a matrix is singular, is too large.
    """

    def central(step: float) -> Any:
        up, down = x + step * e, x - step * e
        try:
            return (np.ravel(f(up)) - np.ravel(f(down))) / np.sum(up - down)  # the step that was really made
        except np.linalg.LinAlgError:
            return np.nan

    step = WIDEST * max(1.0, float(np.abs(np.sum(e * x))))
    best, least = (np.nan, 0.0, np.inf), np.inf  # least of uncertain / largest
    wide, middle = central(step), central(step / 4)
    for _ in range(PAIRS):
        narrow = central(step / 16)
        slope, next_slope = (16 * middle - wide) / 15, (16 * narrow - middle) / 15
        rounding = 1e-14 * size / (step / 4)  # of f, divided by the smaller step
        allowed = min(rounding, 1e-10 * size)
        change = float(np.max(np.abs(next_slope - slope), initial=0.0))
        largest = np.max(np.abs(slope), initial=0.0)
        if change <= 0.1 * rtol * largest + allowed:
            return slope, allowed, change + rounding
        if change + rounding < least * largest:
            best, least = (slope, allowed, change + rounding), (change + rounding) / largest
        if rounding > largest:
            break  # smaller steps would see nothing else, and in the end no difference at all
        step, wide, middle = step / 4, middle, narrow
    return best
