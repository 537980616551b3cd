"""Every known mistake, made on purpose, is found: the diagnosis names it, or one with the same numbers everywhere."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import DIALECTS, examine, vectors
from sophia_ref.conformance.compare import ask
from sophia_ref.conformance.diagnosis import Hypothesis, catalogue, diagnose
from sophia_ref.conformance.diagnosis.first_order import FirstOrder
from sophia_ref.conformance.diagnosis.simulate import Sophia
from sophia_ref.conformance.targets import load
from sophia_ref.conformance.vectors import PROFILES

# Mistakes and dialects that have the same numbers on every vector, profile by profile: no test can tell them apart, as
# each line is one rule in several words.
ALIKE = {
    "paper-H": [{"t mod k = 1, literally", "sciml"}],
    "paper-G": [{"t mod k = 1, literally", "sciml"}, {"eps added", "no floor, eps added"}],
    "official-G": [{"paper-v2", "paper-v1", "kozistr-4"}],
    "optax-H": [{"first estimate at step k", "levanter"}, {"paper-v2", "paper-v1", "kozistr-4"}],
    "Levanter-H": [
        {"first estimate at step k + 1", "an estimate in step 2, k + 2, ..."},
        {"estimate used in the same step", "estimate used at the end of its interval"},
        {"first estimate at step 1", "optax"},
        {"paper-v2", "paper-v1", "kozistr-4"},
    ],
    "Adam": [],
    "AdamW": [],
    "Lion": [],
}


def outcomes_of(run, profile):
    target = load(lambda case: run(case))
    return [ask(target, vector) for vector in vectors.load(profile) if vector.verdict != "invalid"]


def known(profile):
    """Each mistake in the first profile that it is made in, and each dialect in all."""
    return [h for h in catalogue(profile) if h.dialect or h.profiles[0] == profile or profile == "AdamW"]


CASES = [(profile, hypothesis) for profile in PROFILES for hypothesis in known(profile)]


@pytest.mark.parametrize(("profile", "hypothesis"), CASES, ids=[f"{p}: {h.name}" for p, h in CASES])
def test_a_mistake_made_on_purpose_is_diagnosed(profile, hypothesis):
    outcomes = outcomes_of(hypothesis.run, profile)
    assert any(outcome.status == "failed" for outcome in outcomes), "the vectors do not catch it"
    diagnosis = diagnose(profile, outcomes)
    assert diagnosis.certain
    found = {diagnosis.best.hypothesis.name, *(other.name for other in diagnosis.others)}
    alike = next((names for names in ALIKE[profile] if hypothesis.name in names), {hypothesis.name})
    assert found == alike


@pytest.mark.parametrize("profile", PROFILES)
def test_without_a_mistake_there_is_nothing_to_diagnose(profile):
    rule = FirstOrder() if profile in ("Adam", "AdamW", "Lion") else Sophia()
    outcomes = outcomes_of(rule, profile)
    assert {outcome.status for outcome in outcomes} == {"passed"}
    assert diagnose(profile, outcomes) is None


@pytest.mark.parametrize("profile", PROFILES)
def test_names_are_given_once_and_everything_says_what_to_do(profile):
    names = Counter(hypothesis.name for hypothesis in catalogue(profile))
    assert max(names.values()) == 1
    for hypothesis in catalogue(profile):
        assert hypothesis.cause
        assert hypothesis.fix
        assert not hypothesis.cause.endswith(".") or hypothesis.cause.endswith("...")


def test_every_dialect_that_is_not_the_paper_is_known_to_paper_h():
    names = {hypothesis.name for hypothesis in catalogue("paper-H") if hypothesis.dialect}
    assert names == set(DIALECTS) - {"paper-v2", "paper-v1", "kozistr-4"}  # these three are the paper's rule


def test_two_mistakes_at_once_are_explained_as_far_as_one_goes():
    both = Sophia(knobs={"m_corrected": True}, resumed=lambda t, m, h: (t, m, 0 * h))
    diagnosis = diagnose("paper-H", outcomes_of(both, "paper-H"))
    assert not diagnosis.certain
    assert diagnosis.best.hypothesis.name == "m bias-corrected"
    assert 0 < diagnosis.best.explained < diagnosis.failed
    assert f"it explains {diagnosis.best.explained} of the {diagnosis.failed} that differ" in str(diagnosis)


def test_a_mistake_that_nobody_foresaw_is_said_to_be_unknown():
    def run(case):
        steps = Sophia()(case)
        return [step | {"theta": step["theta"] + np.float32(0.125)} for step in steps]

    outcomes = outcomes_of(run, "paper-H")
    assert str(diagnose("paper-H", outcomes)).startswith("no known mistake explains most of the ")


def test_a_mistake_is_named_only_if_it_makes_the_number_that_differs_and_leaves_alone_what_passes():
    def mask_alone(case):
        return [step | {"clipped": np.abs(step["ratio"]) > 0.75} for step in Sophia()(case)]

    def early(case):  # h ignores negative estimates
        return replace(Sophia(), taken=lambda h_hat, g, h, s: np.maximum(h_hat, 0))(case)

    assert diagnose("paper-H", outcomes_of(mask_alone, "paper-H")).best is None
    outcomes = outcomes_of(early, "paper-H")
    diagnosis = diagnose("paper-H", outcomes)
    assert diagnosis.best is None or diagnosis.best.kept >= 0.95 * diagnosis.passed


def test_a_mistake_that_changes_nothing_explains_nothing():
    """Off by a few ulps is not a lost counter, whose numbers are right without a resume."""

    def run(case):
        steps = Sophia()(case)
        if case.id != "paper-H/exact-float64":
            return steps
        return [step | {"theta": step["theta"] * (1 + 2.0**-50)} for step in steps]

    diagnosis = diagnose("paper-H", outcomes_of(run, "paper-H"))
    assert (diagnosis.failed, diagnosis.best) == (1, None)


def test_asking_out_of_turn_counts_as_a_symptom_of_a_schedule():
    class Late(sr.Sophia):
        """Estimates in steps k, 2k, ... and so asks where the vectors have none."""

        def step(self, theta, state, oracle):
            h, t = state.h, state.t + 1
            if t % self.every == 0:
                h = self.beta2 * h + (1 - self.beta2) * oracle.curvature(self.estimator)
            _, lr = self.begin(theta, state)
            theta, m, terms = sr.sophia_update(
                theta, state.m, h, oracle.grad(), lr=lr, beta1=self.beta1, gamma=self.gamma, clip=self.clip,
                eps=self.eps, weight_decay=self.at("weight_decay", theta),
            )  # fmt: skip
            return theta, state._replace(t=t, m=m, h=h), terms

    report = examine(Late, ["paper-H"])
    diagnosis = report.diagnoses["paper-H"]
    assert diagnosis.best.hypothesis.name == "first estimate at step k"
    assert any("asks for curvature, where none is due" in outcome.message for outcome in report.failed)


def test_a_hypothesis_is_data():
    (hypothesis,) = (h for h in catalogue("paper-H") if h.name == "abs(h)")
    assert isinstance(hypothesis, Hypothesis)
    assert "paper-G" not in hypothesis.profiles  # where h is never negative
