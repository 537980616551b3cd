"""What a claim is, and how numbers become a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sophia_ref.claims.statistics import Interval

REPRODUCED, PARTLY = "reproduced", "partly"
NOT, UNDERPOWERED = "not reproduced at this scale", "underpowered"
OUTCOMES = (REPRODUCED, PARTLY, NOT, UNDERPOWERED)
YES, NO, OPEN = "yes", "no", "open"

Numbers = dict[str, Any]  # what a claim measured, as JSON has it: None stands for what is not finite
TableOf = tuple[str, Sequence[str], Sequence[Sequence[str]]]  # title, header, rows


class Verdict(NamedTuple):
    """One of OUTCOMES, why in one or two sentences with numbers, and the regime that it holds for."""

    outcome: str
    why: str
    regime: str


@dataclass(frozen=True)
class Claim:
    """One claim: what is said and by whom, how it is tried, and functions of what was measured.

    needs(budget): the arms and changes that it wants trained (tuning.Need), none for an experiment of its own.
    measure(table, budget): the numbers, JSON; table is None for an experiment of its own.
    verdict(numbers), headline(numbers): our number in a few words. tables(numbers). draw(numbers, dark): its figure.
    alone: whether it measures times, for which nothing else may run.
    """

    number: int
    name: str
    title: str
    claim: str
    source: str
    experiment: str
    paper: str
    independent: str
    measure: Callable[..., Numbers]
    verdict: Callable[[Numbers], Verdict]
    headline: Callable[[Numbers], str]
    tables: Callable[[Numbers], list[TableOf]]
    draw: Callable[[Numbers, bool], Any]
    caption: str
    needs: Callable[[Any], list[Any]] | None = None
    alone: bool = False


def answer(interval: Interval | Sequence[Any], threshold: float = 0.0) -> str:
    """Whether a number lies below the threshold: YES or NO where its whole interval says so, OPEN where it holds both.

    None, NaN: OPEN. An interval that ends at infinity, as where runs diverged, is judged like any other.
    """
    _, low, high = (math.nan if x is None else float(x) for x in interval)
    if high <= threshold:
        return YES
    return NO if low > threshold else OPEN


def combine(answers: Sequence[str]) -> str:
    """The outcome of a claim from the answers to its parts.

    All YES: reproduced; some: partly. None: not reproduced where at least half are NO, underpowered where most are
    OPEN.
    """
    if not answers:
        raise ValueError("answers: none; expected at least one")
    if all(a == YES for a in answers):
        return REPRODUCED
    if YES in answers:
        return PARTLY
    return NOT if 2 * answers.count(NO) >= len(answers) else UNDERPOWERED


def plain(x: dict[str, Any]) -> Numbers:
    """Numbers as JSON has them: arrays as lists, what is not finite as None, floats with six digits.

    >>> plain({"loss": [1.23456789, float("inf")], "n": 3})
    {'loss': [1.23457, None], 'n': 3}
    """
    return {str(key): _plain(value) for key, value in x.items()}


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return plain(x)
    if hasattr(x, "tolist"):
        return _plain(x.tolist())
    if isinstance(x, list | tuple):
        return [_plain(value) for value in x]
    if isinstance(x, float):
        return float(f"{x:.6g}") if math.isfinite(x) else None
    return x


def number(x: Any, digits: str = ".3f") -> str:
    """A number of a table; what is not finite is a dash."""
    if x is None or not math.isfinite(x):
        return "—"
    return f"{x:.1e}" if abs(x) >= 1e4 and "," not in digits else format(x, digits)


def spread(interval: Sequence[Any], digits: str = ".3f") -> str:
    """value [low, high], as tables have intervals."""
    value, low, high = interval
    if value is None:
        return "diverged"
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def seconds_in_words(seconds: float) -> str:
    """
    >>> seconds_in_words(42.3), seconds_in_words(754), seconds_in_words(12600)
    ('42 s', '13 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
