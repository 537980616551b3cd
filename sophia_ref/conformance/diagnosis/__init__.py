"""The likely cause of a failure: mistakes that are known are made on purpose, and what comes out is compared.

`catalogue(profile)` has them, `diagnose` finds the one whose numbers are those of the target, on every vector that it
failed and on every one that it passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from sophia_ref.conformance.compare import Outcome, compare
from sophia_ref.conformance.diagnosis import estimates, first_order, sophia
from sophia_ref.conformance.diagnosis.hypothesis import Hypothesis
from sophia_ref.conformance.diagnosis.simulate import lacks
from sophia_ref.conformance.targets.base import Results
from sophia_ref.conformance.vectors import Array, Case, distance, same_bits, units_of

__all__ = ["Diagnosis", "Hypothesis", "Match", "catalogue", "diagnose"]

FIELDS = ("m", "h", "v", "theta")  # whose meaning does not depend on how a rule is written
KEPT = 0.95  # of the vectors that pass, how many a mistake must leave right: it would make the same numbers each time
MOST = 4  # others that are told
SLACK = 4  # a mistake may be computed in another order too


@dataclass(frozen=True)
class Match:
    """A hypothesis, and how many of the vectors that failed, and that passed, come out of it as of the target."""

    hypothesis: Hypothesis
    explained: int
    kept: int

    def of(self, failed: int, passed: int) -> bool:
        """Whether that is all of them."""
        return (self.explained, self.kept) == (failed, passed)


@dataclass(frozen=True)
class Diagnosis:
    """The best hypothesis, others that explain as much, and the dialect that does."""

    failed: int  # vectors whose numbers differ
    passed: int
    best: Match | None
    others: tuple[Hypothesis, ...] = ()

    @property
    def certain(self) -> bool:
        """Whether everything that the target did comes out of the hypothesis."""
        return self.best is not None and self.best.of(self.failed, self.passed)

    def __str__(self) -> str:
        if self.best is None:
            those = "the one that differs" if self.failed == 1 else f"most of the {self.failed} that differ"
            return f"no known mistake explains {those}"
        cause = self.best.hypothesis
        if self.certain:
            all_of_it = "the one that differs" if self.failed == 1 else f"all {self.failed} that differ"
            how = f"it agrees with the target on {all_of_it}, and on the {self.passed} that pass"
        else:
            how = f"it explains {self.best.explained} of the {self.failed} that differ"
            how += f", and {self.best.kept} of the {self.passed} that pass" * (self.best.kept < self.passed)
        lines = [f"likely cause: {cause.cause} ({cause.name})", f"  {how}", f"  instead: {cause.fix}"]
        for other in self.others[:MOST]:
            lines.append(f"  {'or ' if not other.dialect else ''}{other.cause} ({other.name})")
        return "\n".join(lines)


@cache
def catalogue(profile: str) -> tuple[Hypothesis, ...]:
    """Every mistake that can be made in a profile, and every dialect that differs from it."""
    known = (*sophia.hypotheses(), *estimates.hypotheses(), *first_order.hypotheses())
    return tuple(hypothesis for hypothesis in known if profile in hypothesis.profiles)


def diagnose(profile: str, outcomes: Sequence[Outcome]) -> Diagnosis | None:
    """The likely cause of what failed among these outcomes of one profile; None where no numbers differ."""
    asked = [(outcome, outcome.vector.untouched) for outcome in outcomes if outcome.vector.verdict != "invalid"]
    failed = [(o, case) for o, case in asked if o.status == "failed" and (o.results or o.asks)]
    passed = [(o, case) for o, case in asked if o.status == "passed" and o.results]
    if not failed:
        return None
    certain = [h for h in catalogue(profile) if all(_explains(h, *each) for each in (*failed, *passed))]
    matches = [Match(hypothesis, len(failed), len(passed)) for hypothesis in certain]
    if not certain:
        for hypothesis in catalogue(profile):
            explained = sum(_explains(hypothesis, *each) for each in failed)
            # what explains a smaller part, or goes against most of the rest, would lead astray
            if explained >= max(2, len(failed) / 2):
                kept = sum(_explains(hypothesis, *each) for each in passed)
                matches += [Match(hypothesis, explained, kept)] * (kept >= KEPT * len(passed))
    if not matches:
        return Diagnosis(len(failed), len(passed), None)
    # as in the catalogue, mistakes come before dialects
    best = max(matches, key=lambda match: (match.explained + match.kept, match.explained))
    others = [m.hypothesis for m in matches if m is not best and (m.explained, m.kept) == (best.explained, best.kept)]
    return Diagnosis(len(failed), len(passed), best, tuple(others))


def _explains(hypothesis: Hypothesis, outcome: Outcome, case: Case) -> bool:
    """Whether what came out is what this mistake makes of the case."""
    if outcome.results is None:
        return lacks(case, hypothesis.run)
    try:
        made = hypothesis.run(case)
    except Exception:  # settings that not even a mistake can be made with
        return False
    if not _alike(outcome, case, made):
        return False
    # where the mistake changes nothing, it explains nothing
    return outcome.status == "passed" or compare(outcome.vector, made) is not None


def _alike(outcome: Outcome, case: Case, made: Results) -> bool:
    """Whether what came out is what was made, but for rounding."""
    vector, got = outcome.vector, outcome.results or []
    wanted = (
        FIELDS if outcome.divergence is None else (*FIELDS, outcome.divergence.field)
    )  # what fails must be explained
    made = [{field: fields[field] for field in wanted if field in fields} for fields in made]
    units: list[dict[str, Array]] = []
    for i, (fields, others) in enumerate(zip(made, got, strict=True)):
        for field, x in fields.items():
            if field in others and not same_bits(others[field], x):
                units = units or units_of(case, made)
                allowed = SLACK * max(vector.ulps.get(field, 0), 2)
                off = np.where(vector.free[i].get(field, False), 0.0, distance(others[field], x, units[i].get(field)))
                if (off > allowed).any():
                    return False
    return True
