"""What all optimizers share: the result of a step, and the checks of hyperparameters and of what a step is given.

Everything acts on theta, one array of shape (..., P), float32 or float64; leading axes are independent runs. An
optimizer is a frozen dataclass of hyperparameters. What it remembers between steps is an immutable NamedTuple: t, the
number of steps taken, and read-only arrays. So rewinding a run is keeping its thetas and states.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from sophia_ref.autodiff.dispatch import is_array

Array = NDArray[Any]
Schedule = Callable[[int], float]  # step t = 1, 2, ... -> learning rate
Estimator = Callable[[Any], Array]  # oracle -> h_hat, an estimate of the Hessian's diagonal, shape (..., P)


class Step(NamedTuple):
    """What ``opt.step`` returns."""

    theta: Array  # (..., P), a new array
    state: Any  # the optimizer's own NamedTuple
    terms: dict[str, Array]  # every intermediate by its name in the paper; "update" is what lr multiplies


class Questions(Protocol):
    """What an optimizer may ask about the loss at theta."""

    def grad(self) -> Array: ...  # (..., P)
    def hessian(self) -> Array: ...  # (..., P, P)
    def curvature(self, estimator: Any) -> Array: ...  # (..., P)


def _nonnegative(x: Any) -> Any:
    return (x >= 0) & (x < math.inf)


def _positive(x: Any) -> Any:
    return (x > 0) & (x < math.inf)


def _decay(x: Any) -> Any:
    return (x >= 0) & (x < 1)


# What each hyperparameter must be, in words and as a test. Those of _PER_COORDINATE may be arrays of what passes it.
EXPECTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "lr": ("a finite number >= 0, or an array or a schedule of such numbers", _nonnegative),
    "weight_decay": ("a finite number >= 0, or an array of such numbers", _nonnegative),
    "gamma": ("a finite number > 0, or an array of such numbers", _positive),
    "eps": ("a finite number > 0", _positive),
    "rho": ("a finite number > 0", _positive),
    "damping": ("a finite number >= 0", _nonnegative),
    "clip": ("a number > 0 (np.inf turns clipping off)", lambda x: x > 0),
    "beta": ("a number in [0, 1)", _decay),
    "beta1": ("a number in [0, 1)", _decay),
    "beta2": ("a number in [0, 1)", _decay),
}
_PER_COORDINATE = ("lr", "weight_decay", "gamma")


def frozen(x: Array) -> Array:
    """x itself, made read-only where its library can."""
    if isinstance(x, np.ndarray):
        x.setflags(write=False)
    return x


def number(name: str, value: object, expected: str, holds: Callable[[Any], Any]) -> float:
    """value as a Python float, which leaves float32 arrays float32; refused unless it is a real number for which
    holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be {expected}, got {value!r}")
    try:
        x = float(value)
    except OverflowError:  # an integer beyond every float
        x = math.inf if value > 0 else -math.inf
    if not holds(x):
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return x


def integer(name: str, value: object, least: int) -> int:
    """value as a Python int; refused unless it is an integer >= least."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer >= {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be an integer >= {least}, got {value!r}")
    return int(value)


def _entry(name: str, array: Array, wanted: Array) -> str | None:
    """The first unwanted entry as ``name[i, j] = value``, or None."""
    unwanted = np.argwhere(~wanted)
    if not len(unwanted):
        return None
    at = tuple(int(i) for i in unwanted[0])
    return f"{name}[{', '.join(map(str, at))}] = {array[at]}"


@dataclass(frozen=True, eq=False)
class Optimizer:
    """Learning rate lr: a number, an array that broadcasts to theta, or a schedule t -> number, asked for t = 1, 2, ...

    Raises TypeError for a hyperparameter of the wrong kind and ValueError for one out of range, with its name and
    value.
    """

    lr: float | Array | Schedule

    State: ClassVar[Any]  # a NamedTuple: t, then the arrays it remembers, of theta's shape and dtype

    @property
    def name(self) -> str:
        return type(self).__name__

    def __eq__(self, other: object) -> bool:
        """Whether other is of the same class and has equal settings, arrays entry by entry."""
        if type(other) is not type(self):
            return NotImplemented
        pairs = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return all(np.array_equal(a, b) if is_array(a) or is_array(b) else a == b for a, b in pairs)

    def __hash__(self) -> int:
        return hash(type(self))  # arrays have none

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if name == "every":
                value = integer(f"{self.name}: every", value, 1)
            elif name == "estimator" and not callable(value):
                raise TypeError(f"{self.name}: estimator must be a function oracle -> h_hat, got {value!r}")
            elif name in _PER_COORDINATE and is_array(value):
                value = self._numbers(name, value)
            elif name in EXPECTED and not (name == "lr" and callable(value)):
                value = number(f"{self.name}: {name}", value, *EXPECTED[name])
            object.__setattr__(self, name, value)

    def _numbers(self, name: str, value: Array) -> Array:
        """A read-only copy of an array-valued hyperparameter."""
        expected, holds = EXPECTED[name]
        if value.dtype.kind not in "fiu":
            raise TypeError(f"{self.name}: {name} must be {expected}, got an array of dtype {value.dtype}")
        if bad := _entry(name, value, holds(value)):
            raise ValueError(f"{self.name}: {name} must be {expected}, got {bad}")
        return frozen(value.copy())

    def init(self, theta: Array) -> Any:
        """The state before the first step from theta (..., P): t = 0, and zeros for what will be remembered."""
        self._check_theta(theta)
        return self.State(0, *(frozen(np.zeros_like(theta)) for _ in self.State._fields[1:]))

    def step(self, theta: Array, state: Any, oracle: Questions) -> Step:
        """One step from theta (..., P), given what the oracle says about the loss there; theta and state stay as they
        are.

        Raises TypeError or ValueError, before anything changes, if theta, the state, a gradient or a curvature has a
        shape or dtype that does not fit theta's or is not finite, or if a schedule returns anything but a finite
        number >= 0.
        """
        raise NotImplementedError

    def begin(self, theta: Array, state: Any) -> tuple[int, float | Array]:
        """(t, lr) of the step to take, once theta and state are known to be sound."""
        self._check_theta(theta)
        if type(state) is not self.State or type(state.t) is not int or state.t < 0:
            expected = f"a {self.State.__name__} with t >= 0, as init and step return it"
            raise TypeError(f"{self.name}: state must be {expected}, got {state!r}")
        for name, array in zip(state._fields[1:], state[1:], strict=True):
            self._check_kind(f"state.{name}", array, theta.shape, theta.dtype)
        t = state.t + 1
        if callable(self.lr):
            return t, number(f"{self.name}: the schedule's lr({t})", self.lr(t), "a finite number >= 0", _nonnegative)
        return t, self.at("lr", theta)

    def at(self, name: str, theta: Array) -> Any:
        """A hyperparameter as it meets theta: a Python float, or an array of theta's shape and dtype."""
        value = getattr(self, name)
        if type(value) is float:
            return value
        try:
            return np.broadcast_to(value.astype(theta.dtype, copy=False), theta.shape)
        except ValueError:
            expected = f"must broadcast to theta's shape {theta.shape}"
            raise ValueError(f"{self.name}: {name} {expected}, got shape {value.shape}") from None

    def checked(self, name: str, array: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        """array itself, once it is known to have this shape and dtype and finite entries."""
        self._check_kind(name, array, shape, dtype)
        # x·x needs one pass and no temporary, and is finite only if every entry is; as it may overflow, entries are
        # looked at before anything is refused
        if not math.isfinite(np.vdot(array, array)) and (bad := _entry(name, array, np.isfinite(array))):
            raise ValueError(f"{self.name}: {name} must be finite, got {bad}")
        return array

    def _check_kind(self, name: str, array: Array, shape: tuple[int, ...], dtype: Any) -> None:
        if not is_array(array):
            raise TypeError(f"{self.name}: {name} must be an array, got {array!r}")
        if array.shape != shape:
            raise ValueError(f"{self.name}: {name} must have shape {shape}, got shape {array.shape}")
        if array.dtype != dtype:
            raise TypeError(f"{self.name}: {name} must have theta's dtype {dtype}, got dtype {array.dtype}")

    def _check_theta(self, theta: Array) -> None:
        expected = "theta must be a float32 or float64 array of shape (..., P)"
        if not is_array(theta):
            raise TypeError(f"{self.name}: {expected}, got {theta!r}")
        if theta.dtype.char not in "fd":
            raise TypeError(f"{self.name}: {expected}, got dtype {theta.dtype}")
        if theta.ndim == 0:
            raise ValueError(f"{self.name}: {expected}, got the 0-d array {theta}")
        eps = getattr(self, "eps", 1.0)
        if theta.dtype.type(eps) == 0:
            raise ValueError(
                f"{self.name}: eps must be > 0 in {theta.dtype}, theta's dtype, got {eps!r}, which is 0 there"
            )
        self.checked("theta", theta, theta.shape, theta.dtype)
