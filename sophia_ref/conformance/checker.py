"""Whether an implementation is what it says: every vector of a profile, and a report about what came out.

    >>> import sophia_ref
    >>> report = check(sophia_ref.AdamW)     # raises AssertionError, with what differs and why, if it does not conform
    >>> report.verdict("AdamW")
    'conforms: update rule'

`examine` is the same without the AssertionError. docs/conformance.md says what a target may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sophia_ref.conformance import vectors
from sophia_ref.conformance.compare import Outcome, ask
from sophia_ref.conformance.diagnosis import Diagnosis, diagnose
from sophia_ref.conformance.targets import Target, load
from sophia_ref.conformance.vectors import Vector
from sophia_ref.report import text_table

__tracebackhide__ = True  # a test that calls check sees its own line
HEADER = ("PROFILE", "passed", "failed", "not asked", "verdict")
RULE, ESTIMATORS, REFUSALS = "update rule", "estimators", "refusals"
UNASKED = ", bad input not asked"
CONFORMS, DIFFERS, INCOMPLETE = "conforms", "does not conform", "incomplete"
MOST = 8  # failures that are printed, of each profile


def check(
    target: Any,
    profiles: Iterable[str] | None = None,
    names: Mapping[str, str] | None = None,
    device: str | None = None,
) -> Report:
    """Run every vector of these profiles on a target and raise AssertionError, readably, unless it conforms.

    target: "torch:module.Class", "optax:module.function", "numpy:module.name", a results file, or the class or
    function itself. profiles: by default what its name suggests. names: the paper's name of a setting -> what the
    target calls it, where that is not found by itself. device: where a PyTorch target computes, "cuda" say; the CPU
    where None. Raises TargetError for a target that cannot be loaded or driven,
    ValueError for an unknown profile.
    """
    report = examine(target, profiles, names, device=device)
    report.assert_conforms()
    return report


def examine(
    target: Any,
    profiles: Iterable[str] | None = None,
    names: Mapping[str, str] | None = None,
    watch: Callable[[list[Vector]], Iterable[Vector]] = iter,
    device: str | None = None,
) -> Report:
    """What check does, with a report in place of an AssertionError. watch: goes through the vectors, as tqdm does."""
    loaded = target if isinstance(target, Target) else load(target, names, device)
    profiles = [profiles] if isinstance(profiles, str) else profiles
    asked = [vector for profile in profiles or loaded.profiles for vector in vectors.load(profile)]
    return Report(loaded, tuple(ask(loaded, vector) for vector in watch(asked)))


def part_of(vector: Vector) -> str:
    """What a vector is about: the update rule, the estimators, or refusals."""
    if vector.verdict == "invalid":
        return REFUSALS
    return ESTIMATORS if "estimate" in vector.flags else RULE


def is_core(vector: Vector) -> bool:
    """Whether an implementation must be asked it to conform: the paper's own rule and settings, and so no decay by
    parts and no other limit than 1."""
    return (
        vector.verdict == "valid"
        and part_of(vector) == RULE
        and "mask" not in vector.flags
        and vector.case().settings.get("clip", 1.0) == 1.0
    )


@dataclass(frozen=True)
class Report:
    """What became of every vector."""

    target: Target
    outcomes: tuple[Outcome, ...]

    @property
    def passed(self) -> tuple[Outcome, ...]:
        return self._of("passed")

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return self._of("failed")

    @property
    def not_asked(self) -> tuple[Outcome, ...]:
        return self._of("not asked")

    def _of(self, status: str) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status == status)

    @cached_property
    def profiles(self) -> Mapping[str, tuple[Outcome, ...]]:
        """The outcomes profile by profile."""
        found: dict[str, list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.vector.profile, []).append(outcome)
        return {profile: tuple(outcomes) for profile, outcomes in found.items()}

    @cached_property
    def diagnoses(self) -> Mapping[str, Diagnosis | None]:
        """The likely cause, for each profile in which numbers differ."""
        return {profile: diagnose(profile, outcomes) for profile, outcomes in self.profiles.items()}

    def verdict(self, profile: str) -> str:
        """ "conforms: update rule and estimators", or "update rule" alone where estimators could not be asked; "does
        not conform", with ": takes bad input" where nothing else is wrong; or "incomplete" where a part of the paper's
        own rule could not be asked."""
        return verdict((outcome.vector, outcome.status) for outcome in self.profiles[profile])

    @property
    def conforms(self) -> bool:
        """Whether it does in every profile that it was asked."""
        return bool(self.profiles) and all(self.verdict(profile).startswith(CONFORMS) for profile in self.profiles)

    def assert_conforms(self) -> None:
        """Raises AssertionError, with the text of the report, unless it conforms."""
        if not self.conforms:
            raise AssertionError("\n" + self.text())

    def text(self, most: int = MOST) -> str:
        """The report for a reader. most: failures of each profile that are told one by one."""
        return "\n".join(self._lines(most))

    def _lines(self, most: int) -> Iterator[str]:
        elsewhere = self.target.device not in (None, "cpu")
        on = f" on {self.target.device}" if elsewhere else ""
        yield f"{self.target.name}{on} against vectors {vectors.manifest()['version']}\n"
        yield text_table(HEADER, [self._row(profile) for profile in self.profiles])
        for profile, outcomes in self.profiles.items():
            failed = [outcome for outcome in outcomes if outcome.status == "failed"]
            alike: dict[str, list[Outcome]] = {}
            for outcome in failed:
                if outcome.vector.verdict != "invalid":
                    alike.setdefault(outcome.message, []).append(outcome)
            for message, (first, *others) in list(alike.items())[:most]:
                yield f"\n{first.vector.id}" + f" and {len(others)} more" * bool(others) + f"\n  {message}"
                yield f"  what it is there for: {first.vector.note}"
                if first.vector.report:
                    yield f"  {first.vector.report}"
            if rest := list(alike.values())[most:]:
                yield f"\n... and {sum(map(len, rest))} more of {profile}"
            if diagnosis := self.diagnoses[profile]:
                yield f"\n{profile}: {diagnosis}"
            if taken := [outcome.vector for outcome in failed if outcome.vector.verdict == "invalid"]:
                count = "one bad input is" if len(taken) == 1 else f"{len(taken)} bad inputs are"
                yield f"\n{profile}: {count} accepted, which must be refused before anything changes"
                yield from (f"  {vector.id.split('/')[1]}: {vector.note}" for vector in taken[:most])
                if len(taken) > most:
                    yield f"  ... and {len(taken) - most} more"
        reasons = Counter((outcome.vector.profile, outcome.message) for outcome in self.not_asked)
        if reasons:
            yield "\nNot asked"
            yield from (f"  {count} of {profile}: {reason}" for (profile, reason), count in reasons.most_common(12))

    def _row(self, profile: str) -> tuple[object, ...]:
        count = Counter(outcome.status for outcome in self.profiles[profile])
        return profile, count["passed"], count["failed"], count["not asked"], self.verdict(profile)


def verdict(outcomes: Iterable[tuple[Vector, str]]) -> str:
    """Of the vectors of one profile and what became of them."""
    asked: dict[str, set[str]] = {RULE: set(), ESTIMATORS: set(), REFUSALS: set()}
    lacking = False
    for vector, status in outcomes:
        if vector.verdict != "acceptable" or status == "failed":
            asked[part_of(vector)].add(status)
        lacking |= status == "not asked" and is_core(vector)
    if "failed" in asked[RULE] | asked[ESTIMATORS]:
        return DIFFERS
    if "failed" in asked[REFUSALS]:
        return f"{DIFFERS}: takes bad input"
    if lacking or "passed" not in asked[RULE]:
        return INCOMPLETE
    parts = [RULE] + [ESTIMATORS] * (asked[ESTIMATORS] == {"passed"})
    return f"{CONFORMS}: {' and '.join(parts)}" + UNASKED * (asked[REFUSALS] == {"not asked"})
