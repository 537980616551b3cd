"""Functions of single numbers, with broadcasting."""

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import LATE, OPERATORS, RULES, Box, call, strip
from sophia_ref.autodiff.rules.kinds import Array, composite, elementwise, over_length

LN2, LN10 = math.log(2.0), math.log(10.0)
SQRT_PI, SQRT_2PI = math.sqrt(math.pi), math.sqrt(2 * math.pi)


def power_base(d: Array, y: Array, x: Array, n: Array) -> Array:
    """d n x^(n-1), and 0 for n = 0 even at x = 0."""
    if type(n) in (int, float):
        return np.zeros_like(strip(d)) if n == 0 else d * (2 * x) if n == 2 else d * (n * x ** (n - 1))
    return d * (n * x ** np.where((n == 0) & (x == 0), 1, n - 1))


def power_exponent(d: Array, y: Array, x: Array, n: Array) -> Array:
    """d y ln x, and 0 at x = 0."""
    return d * (y * np.log(np.where(x == 0, 1.0, x)))


def larger(d: Array, a: Array, b: Array) -> Array:
    """d where a > b, half of it where they tie."""
    return np.where(a > b, d, np.where(a == b, 0.5 * d, 0.0))


# fmt: off
ELEMENTWISE: dict[Callable[..., Any], tuple[Callable[..., Array] | None, ...]] = {
    np.add:         (lambda d, y, a, b: d,                           lambda d, y, a, b: d),
    np.subtract:    (lambda d, y, a, b: d,                           lambda d, y, a, b: -d),
    np.multiply:    (lambda d, y, a, b: d * b,                       lambda d, y, a, b: d * a),
    np.divide:      (lambda d, y, a, b: d / b,                       lambda d, y, a, b: -d * y / b),
    np.remainder:   (lambda d, y, a, b: d,                           lambda d, y, a, b: -d * np.floor_divide(a, b)),
    np.power:       (power_base,                                     power_exponent),
    np.float_power: (power_base,                                     power_exponent),
    np.maximum:     (lambda d, y, a, b: larger(d, a, b),             lambda d, y, a, b: larger(d, b, a)),
    np.minimum:     (lambda d, y, a, b: larger(d, b, a),             lambda d, y, a, b: larger(d, a, b)),
    np.fmax:        (lambda d, y, a, b: np.where(np.isnan(b), d, larger(d, a, b)),
                     lambda d, y, a, b: np.where(np.isnan(a), d, larger(d, b, a))),
    np.fmin:        (lambda d, y, a, b: np.where(np.isnan(b), d, larger(d, b, a)),
                     lambda d, y, a, b: np.where(np.isnan(a), d, larger(d, a, b))),
    np.arctan2:     (lambda d, y, a, b: d * (b / (a * a + b * b)),   lambda d, y, a, b: -d * (a / (a * a + b * b))),
    np.hypot:       (lambda d, y, a, b: d * over_length(a, y),       lambda d, y, a, b: d * over_length(b, y)),
    np.logaddexp:   (lambda d, y, a, b: d * np.exp(a - y),           lambda d, y, a, b: d * np.exp(b - y)),
    np.logaddexp2:  (lambda d, y, a, b: d * np.exp2(a - y),          lambda d, y, a, b: d * np.exp2(b - y)),
    np.where:       (None, lambda d, y, c, a, b: np.where(c, d, 0.0), lambda d, y, c, a, b: np.where(c, 0.0, d)),
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
RULES.update({fun: RULES[ufunc] for fun, ufunc in OPERATORS.items() if ufunc in RULES})


@LATE.append
def register_scipy() -> None:
    """scipy.special's ufuncs, once the user has loaded it. Where log b is infinite, 0 log b = 0 with slope 0."""
    special = sys.modules.get("scipy.special")
    if special is None:
        return
    # fmt: off
    table: dict[Callable[..., Any], tuple[Callable[..., Array], ...]] = {
        special.expit:     (lambda d, y, x: d * (y * (1 - y)),),
        special.logit:     (lambda d, y, x: d / (x * (1 - x)),),
        special.log_expit: (lambda d, y, x: d * special.expit(-x),),
        special.erf:       (lambda d, y, x: d * (2 / SQRT_PI * np.exp(-x * x)),),
        special.erfc:      (lambda d, y, x: d * (-2 / SQRT_PI * np.exp(-x * x)),),
        special.ndtr:      (lambda d, y, x: d * (np.exp(-0.5 * x * x) / SQRT_2PI),),
        special.log_ndtr:  (lambda d, y, x: d * (np.exp(-0.5 * x * x - y) / SQRT_2PI),),
        special.xlogy:     (lambda d, y, a, b: d * np.log(np.where((a == 0) & (b == 0), 1.0, b)),
                            lambda d, y, a, b: d * (a / np.where((a == 0) & (b == 0), 1.0, b))),
        special.xlog1py:   (lambda d, y, a, b: d * np.log1p(np.where((a == 0) & (b == -1), 0.0, b)),
                            lambda d, y, a, b: d * (a / (1 + np.where((a == 0) & (b == -1), 0.0, b)))),
    }
    # fmt: on
    RULES.update({fun: elementwise(*maps) for fun, maps in table.items()})


@composite(np.clip)
def _(a: Array, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Array:
    low, high = a_min if min is None else min, a_max if max is None else max
    y = np.positive(a) if low is None else np.maximum(a, low)
    return y if high is None else np.minimum(y, high)


@composite(np.where)
def _(condition: Array, *branches: Array) -> Any:
    return call(np.where, condition, *branches) if branches else np.nonzero(strip(condition))


@composite(np.heaviside)
def _(x1: Array, x2: Array) -> Array:
    """x2 where x1 is 0; the step itself is flat."""
    step = np.heaviside(strip(x1), strip(x2))
    return np.where(strip(x1) == 0, x2, step) if isinstance(x2, Box) else step
