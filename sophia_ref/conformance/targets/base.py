"""What every kind of target has in common: a function of a case, and four ways to say that there is no answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sophia_ref.conformance.profiles import makes_estimate
from sophia_ref.conformance.vectors import Case, Given

Array = Any
Results = list[dict[str, Array]]  # one dict a step, field -> array; theta is always among them

# Fields in the order in which a step computes them, which is the order in which differences are looked for.
FIELDS = (
    "h_hat", "c", "m", "h", "v", "m_hat", "v_hat", "denominator", "ratio", "clipped", "update", "theta",
)  # fmt: skip
# What a state calls the averages of gradients, of curvature, of squared gradients, and the number of its steps.
STATE_NAMES: Mapping[str, tuple[str, ...]] = {
    "m": ("m", "exp_avg", "momentum", "mu", "momentum_buffer", "first_moment"),
    "h": ("h", "hessian_moment", "exp_hessian_diag", "hessian_diag", "hessian", "hess", "nu"),
    "v": ("v", "exp_avg_sq", "nu", "second_moment"),
    "t": ("t", "step", "count", "steps", "step_count"),
}


class TargetError(ValueError):
    """A target that cannot be loaded, or driven: what was given, and what was expected."""


class NotAsked(Exception):
    """A case that a target cannot be asked, for this reason."""


class Refused(Exception):
    """A results file says that its program refused the case."""


class Fault(Exception):
    """A mistake that no number shows: inputs changed in place, a wrong shape, curvature asked for when none is due.

    step: in which step, 1, 2, ... of the case, or None.
    """

    def __init__(self, message: str, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Target:
    """An implementation under test.

    run(case) returns its Results, or raises: NotAsked, Fault, or anything else to refuse.
    """

    name: str  # as it was given
    kind: str  # "numpy", "torch", "optax" or "results"
    run: Callable[[Case], Results]
    profiles: tuple[str, ...]  # what it is asked unless one says otherwise
    source: Path | None = None  # the file that it comes from
    versions: Mapping[str, str] = field(default_factory=dict)  # of what it runs on
    refuses: bool = True  # whether it is asked what must be refused: not a rule alone
    device: str | None = None  # where it computes, for kinds that can be told

    @property
    def label(self) -> str:
        """Its name without the module."""
        return self.name.rsplit(":")[-1].rsplit(".")[-1]


def due(case: Case, i: int) -> bool:
    """Whether the profile makes an estimate in step i = 1, 2, ... of this case."""
    every = case.settings.get("every")
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        return False
    return makes_estimate(case.profile, every, case.t + i)


def offered(given: Given) -> bool:
    """Whether a step is given an estimate, in any form."""
    return any(x is not None for x in (given.h_hat, given.sampled_grad, given.hutchinson, given.gnb))


def profiles_by_name(name: str) -> tuple[str, ...]:
    """What an implementation of this name is asked: a Sophia what the paper says, whatever its own dialect."""
    plain = name.lower().replace("_", "")
    for part, profile in (("adamw", "AdamW"), ("adam", "Adam"), ("lion", "Lion")):
        if part in plain:
            return (profile,)
    if plain.endswith("sophiah"):
        return ("paper-H",)
    if plain.endswith("sophiag"):
        return ("paper-G",)
    return ("paper-H", "paper-G")


def first_named(names: Sequence[str], among: Any) -> str | None:
    """The first of these names that is there."""
    return next((name for name in names if name in among), None)
