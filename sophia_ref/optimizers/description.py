"""Optimizers as data, for files: a class by its name, settings that JSON can hold, and settings that are arrays.

    Sophia(lr=cosine(0.1, 100), clip=np.inf, estimator=on_part(gnb, 0.5))

is {"class": "Sophia", "lr": {"cosine": {"peak": 0.1, "steps": 100, "warmup": 0, "final": 0.05}}, "clip": "inf",
"estimator": {"on_part": {"estimator": "gnb", "fraction": 0.5}}, ...}. Only classes and functions of this package have
such a description: a name in a file never leads to other code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from sophia_ref import curvature
from sophia_ref.autodiff import Layout
from sophia_ref.optimizers.adahessian import AdaHessian
from sophia_ref.optimizers.adam import Adam, AdamW
from sophia_ref.optimizers.base import Array, Optimizer
from sophia_ref.optimizers.first_order import GradientDescent, Momentum, SignGD, Signum
from sophia_ref.optimizers.lion import Lion
from sophia_ref.optimizers.newton import ClippedNewton, DampedNewton, Newton, SaddleFreeNewton
from sophia_ref.optimizers.schedules import cosine
from sophia_ref.optimizers.sophia import Sophia, SophiaG, SophiaH


def _named(*things: Any) -> dict[str, Any]:
    return {thing.__name__: thing for thing in things}


OPTIMIZERS: dict[str, type[Optimizer]] = _named(
    AdaHessian, Adam, AdamW, ClippedNewton, DampedNewton, GradientDescent, Lion, Momentum, Newton, SaddleFreeNewton,
    SignGD, Signum, Sophia, SophiaG, SophiaH,
)  # fmt: skip
ESTIMATORS = _named(
    curvature.hutchinson, curvature.hutchinson_rademacher, curvature.gnb, curvature.empirical_fisher,
    curvature.exact_diagonal,
)  # fmt: skip
COMPOSED = _named(curvature.averaged, curvature.on_part)  # estimators of estimators
SCHEDULES = _named(cosine)


def describe(opt: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """The class and plain settings of an optimizer, and its array-valued settings by name.

    Raises ValueError, by name, for an optimizer that is not one of this package's, and for a setting that is a function
    or object of one's own.
    """
    if OPTIMIZERS.get(type(opt).__name__) is not type(opt):
        raise ValueError(f"an optimizer must be one of {', '.join(OPTIMIZERS)} to be described, got {opt!r}")
    settings = {field.name: getattr(opt, field.name) for field in fields(opt)}
    arrays = {name: value for name, value in settings.items() if isinstance(value, np.ndarray)}
    plain = {name: _plain(f"{opt.name}: {name}", value) for name, value in settings.items() if name not in arrays}
    return {"class": opt.name, **plain}, arrays


def build(description: Mapping[str, Any], arrays: Mapping[str, Array]) -> Optimizer:
    """The optimizer that `describe` described. Raises TypeError or ValueError, by name, for anything else."""
    plain = dict(description)
    kind = plain.pop("class", None)
    if not isinstance(kind, str) or kind not in OPTIMIZERS:
        raise ValueError(f"the optimizer's class must be one of {', '.join(OPTIMIZERS)}, got {kind!r}")
    cls = OPTIMIZERS[kind]
    expected, given = sorted(field.name for field in fields(cls)), sorted([*plain, *arrays])
    if expected != given:
        raise ValueError(f"{cls.__name__} must have the settings {', '.join(expected)}, got {', '.join(given)}")
    return cls(**{name: _setting(name, value) for name, value in plain.items()}, **arrays)


def same(one: Any, other: Any) -> bool:
    """Whether two optimizers have one description. Raises ValueError for one that has none."""
    (plain, arrays), (plain2, arrays2) = describe(one), describe(other)
    return plain == plain2 and all(np.array_equal(array, arrays2[name]) for name, array in arrays.items())


def _plain(name: str, value: Any) -> Any:
    """A setting as JSON holds it."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, float):  # np.float64 too
        return "inf" if value == math.inf else float(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Layout) and all(isinstance(tensor, str) for tensor in value.shapes):
        return [[tensor, list(shape)] for tensor, shape in value.shapes.items()]
    kind: str = type(value).__name__
    known = COMPOSED | SCHEDULES
    if known.get(kind) is type(value):
        return {kind: {f.name: _plain(f"{name}: {f.name}", getattr(value, f.name)) for f in fields(value)}}
    for estimator, function in ESTIMATORS.items():
        if value is function:
            return estimator
    names = ", ".join([*ESTIMATORS, *known])
    raise ValueError(f"{name} must be a number, an array, a Layout or one of {names} to be described, got {value!r}")


def _setting(name: str, plain: Any) -> Any:
    """The setting that _plain made plain; what is left as it was is for the optimizer to refuse."""
    match name, plain:
        case "estimator", _:
            return _estimator(plain)
        case "layout", [*_]:
            return Layout({tensor: tuple(shape) for tensor, shape in _pairs(plain)})
        case "lr", {"cosine": dict(settings), **rest} if not rest:
            return cosine(**settings)
        case _, "inf":
            return math.inf
    return plain


def _estimator(plain: Any) -> Any:
    if isinstance(plain, str) and plain in ESTIMATORS:
        return ESTIMATORS[plain]
    if isinstance(plain, dict) and len(plain) == 1:
        ((kind, settings),) = plain.items()
        if kind in COMPOSED and isinstance(settings, dict) and "estimator" in settings:
            return COMPOSED[kind](**{**settings, "estimator": _estimator(settings["estimator"])})
    raise ValueError(f"estimator must be one of {', '.join([*ESTIMATORS, *COMPOSED])}, got {plain!r}")


def _pairs(plain: list[Any]) -> list[tuple[str, list[int]]]:
    """The tensors of a layout, each by a name of its own."""
    names = set()
    for pair in plain:
        match pair:
            case [str(tensor), [*_]] if tensor not in names:
                names.add(tensor)
            case _:
                raise ValueError(f"layout must be pairs of a name and a shape, each name once, got {pair!r}")
    return plain
