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
MAP = "a map, no claim"
BY_CHANCE = 0.1  # share of comparisons that may come out as claimed, and the claim has no part in it
YES, NO, OPEN = "yes", "no", "open"

Numbers = dict[str, Any]  # what a claim measured, as JSON has it: None stands for what is not finite
TableOf = tuple[str, Sequence[str], Sequence[Sequence[str]]]  # title, header, rows


class Verdict(NamedTuple):
    """The answers to the parts of a claim, none for what makes none; why, in one or two sentences with numbers; and the
    regime that it holds for."""

    answers: Sequence[str]
    why: str
    regime: str

    @property
    def outcome(self) -> str:
        """One of OUTCOMES, or MAP."""
        return combine(self.answers) if self.answers else MAP

    @property
    def counts(self) -> str:
        """How many comparisons came out how."""
        yes, no, unknown = (self.answers.count(a) for a in (YES, NO, OPEN))
        return f"{yes} of {len(self.answers)} as claimed, {no} not, {unknown} open"


@dataclass(frozen=True)
class Claim:
    """One claim: what is said and by whom, how it is tried, and functions of what was measured.

    needs(budget): the arms and changes that it wants trained (tuning.Need), none for an experiment of its own.
    measure(table, budget): the numbers, JSON; table is None for an experiment of its own.
    verdict(numbers), headline(numbers): our number in a few words. tables(numbers). draw(numbers, dark): its figure.
    alone: whether it measures times, for which nothing else may run. takes: seconds that an experiment of its own takes
    on one core, as measured once, for the budgets full and quick.
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
    takes: tuple[float, float] = (0.0, 0.0)


def answer(interval: Interval | Sequence[Any], threshold: float = 0.0) -> str:
    """Whether a number lies below the threshold: YES or NO where its whole interval says so, OPEN where it holds both,
    or is None."""
    _, low, high = (math.nan if x is None else float(x) for x in interval)
    if high <= threshold:
        return YES
    return NO if low > threshold else OPEN


def above(interval: Interval | Sequence[Any], threshold: float = 0.0) -> str:
    """Whether a number lies above the threshold."""
    return {YES: NO, NO: YES, OPEN: OPEN}[answer(interval, threshold)]


def combine(answers: Sequence[str]) -> str:
    """The outcome of a claim from the answers to its parts.

    All YES: reproduced; more than BY_CHANCE of them: partly. Fewer: not reproduced where at least half are NO,
    underpowered otherwise.
    """
    if not answers:
        raise ValueError("answers: none; expected at least one")
    if all(a == YES for a in answers):
        return REPRODUCED
    if answers.count(YES) > BY_CHANCE * len(answers):
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
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def within(interval: Sequence[Any], ends: Sequence[float], digits: str = ".2f") -> str:
    """`spread` of what cannot be told beyond two ends, as a speed-up beyond the runs that it was found between: there
    with a sign.

    >>> within([2.0, 1.2, 2.0], [0.5, 2.0])
    '≥ 2.00 [1.20, ≥ 2.00]'
    """

    def one(x: Any) -> str:
        near = [f"{sign} " for sign, end in zip("≤≥", ends, strict=True) if math.isclose(x, end, rel_tol=1e-3)]
        return "".join(near[:1]) + number(x, digits)

    return f"{one(interval[0])} [{one(interval[1])}, {one(interval[2])}]"


def seconds_in_words(seconds: float) -> str:
    """
    >>> seconds_in_words(42.3), seconds_in_words(754), seconds_in_words(12600)
    ('42 s', '13 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
