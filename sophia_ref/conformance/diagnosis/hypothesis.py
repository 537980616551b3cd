"""A mistake that can be run: what it does to a case, what it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sophia_ref.conformance.targets.base import Results
from sophia_ref.conformance.vectors import Case

Array = Any


@dataclass(frozen=True)
class Hypothesis:
    """name: short. cause: what is done, as a sentence without its full stop. fix: what to do instead. run: what comes
    out of a case then. profiles: where it may be made. dialect: whether it is how an implementation is meant to be."""

    name: str
    cause: str
    fix: str
    run: Callable[[Case], Results]
    profiles: tuple[str, ...]
    dialect: bool = False
