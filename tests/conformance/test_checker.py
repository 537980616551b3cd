"""Reports and verdicts."""

import re

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import check, examine, vectors
from sophia_ref.conformance.checker import is_core, part_of, verdict
from sophia_ref.conformance.compare import ask
from sophia_ref.conformance.recipes.orders import Order, evaluate
from sophia_ref.conformance.targets import NotAsked, TargetError, load


def correct(case):
    return evaluate(case, Order())


def refusing_bad_input(case):
    """A correct function of a case that refuses what is marked as such, by its name."""
    if "/refused-" in case.id:
        raise ValueError("refused")
    return correct(case)


def without(*flags):
    def run(case):
        if set(flags) & set(vectors.find(case.id).flags):
            raise NotAsked("it has none of that")
        return refusing_bad_input(case)

    return run


@pytest.mark.parametrize(
    ("run", "profile", "expected"),
    [
        (refusing_bad_input, "paper-H", "conforms: update rule and estimators"),
        (refusing_bad_input, "paper-G", "conforms: update rule and estimators"),
        (refusing_bad_input, "official-G", "conforms: update rule"),
        (refusing_bad_input, "Adam", "conforms: update rule"),
        (without("estimate"), "paper-H", "conforms: update rule"),
        (without("mask"), "paper-H", "conforms: update rule and estimators"),
        (without("resume"), "paper-H", "incomplete"),
        (correct, "Lion", "does not conform: takes bad input"),
        (lambda case: [step | {"theta": step["theta"] + 1} for step in correct(case)], "Lion", "does not conform"),
    ],
)
def test_a_verdict_says_what_was_asked(run, profile, expected):
    report = examine(lambda case: run(case), [profile])
    assert report.verdict(profile) == expected
    assert report.conforms == expected.startswith("conforms")


def test_a_rule_that_was_not_asked_to_refuse_anything_has_a_verdict_that_says_so():
    assert examine(sr.sophia_update, ["paper-H"]).verdict("paper-H") == "conforms: update rule, bad input not asked"


def test_what_never_ends_and_what_exits_are_told_as_such():
    def endless(case):
        while True:
            yield {"theta": case.theta}

    def leaving(case):
        raise BaseExceptionGroup("bye", [GeneratorExit()])

    vector = vectors.find("Lion/plain-float64")
    assert "returns more than" in ask(load(endless), vector).message
    assert "BaseExceptionGroup: bye" in ask(load(leaving), vector).message


def test_one_profile_may_be_given_by_its_name():
    assert list(examine(correct, "Lion").profiles) == ["Lion"]


def test_part_of_the_estimators_is_not_the_estimators():
    def run(case):
        if case.id == "paper-H/hutchinson-diagonal-float32":
            raise NotAsked("no")
        return refusing_bad_input(case)

    assert examine(run, ["paper-H"]).verdict("paper-H") == "conforms: update rule"


def test_nothing_asked_is_not_conformity():
    def run(case):
        raise NotAsked("not today")

    report = examine(run, ["Adam"])
    assert report.verdict("Adam") == "incomplete"
    assert verdict([]) == "incomplete"
    assert not report.conforms


def test_what_everybody_must_be_asked_is_the_papers_own_rule():
    parts = {part_of(vector) for vector in vectors.load("paper-H")}
    assert parts == {"update rule", "estimators", "refusals"}
    core = [vector for vector in vectors.load("paper-H") if is_core(vector)]
    assert len(core) > 50
    assert all(vector.case().settings["clip"] == 1 and vector.case().decay_mask is None for vector in core)
    assert not any(vector.case().steps[0].hutchinson for vector in core)


def test_check_returns_the_report_of_what_conforms_and_raises_for_what_does_not():
    report = check(sr.Lion)
    assert report.conforms
    assert len(report.passed) == len(vectors.load("Lion"))
    with pytest.raises(AssertionError) as caught:
        check(sr.Lion, profiles=["AdamW"], names={"eps": "lr"})
    text = str(caught.value)
    assert re.search(r"PROFILE +passed +failed +not asked +verdict\nAdamW +\d+ +\d+ +\d+ +does not conform", text)
    # the frame of check itself is not shown by pytest
    assert caught.traceback[-1].frame.code.name == "assert_conforms"


def test_a_report_tells_what_differs_why_and_what_was_not_asked():
    class Added(sr.Sophia):
        """eps is added."""

        def step(self, theta, state, oracle):
            t, lr = self.begin(theta, state)
            m = self.beta1 * state.m + (1 - self.beta1) * oracle.grad()
            h = state.h
            if (t - 1) % self.every == 0:
                h = self.beta2 * h + (1 - self.beta2) * oracle.curvature(self.estimator)
            theta = theta - lr * self.at("weight_decay", theta) * theta
            step = np.clip(m / (self.gamma * h + self.eps), -self.clip, self.clip)
            return theta - lr * step, state._replace(t=t, m=m, h=h)

    report = examine(Added, ["paper-H"])
    text = report.text(most=2)
    assert re.search(
        r"paper-H/\S+-float32\n  step \d+: theta\[\d\] is \S+, expected \S+, off by \S+ ulp where \d+ are", text
    )
    text = report.text(most=30)
    assert re.search(r"\npaper-H/eps-floor-float32\n  step 1: theta\[", text)
    assert "what it is there for: gamma h below, at and above eps with tiny m" in text
    assert "https://github.com/kyegomez/Sophia/issues/19" in text
    assert re.search(r"\n\.\.\. and \d+ more of paper-H\n", report.text(most=2))
    assert "paper-H: likely cause: eps is added to gamma h instead of bounding it from below (eps added)" in text
    assert "instead: divide by max(gamma h, eps)" in text
    assert "bad inputs are accepted" in text
    report = examine(sr.Adam, ["AdamW"])
    count = len(vectors.load("AdamW"))
    assert f"Not asked\n  {count} of AdamW: it has no setting weight_decay" in report.text()


def test_failures_with_one_message_are_told_once():
    def run(case):
        raise RuntimeError("needs a GPU")

    text = examine(run, ["Lion"]).text()
    count = sum(vector.verdict == "valid" for vector in vectors.load("Lion"))
    first = next(vector.id for vector in vectors.load("Lion") if vector.verdict == "valid")
    assert f"{first} and {count - 1} more\n  refuses it: RuntimeError: needs a GPU (test_checker.py, line " in text


def test_unknown_profiles_and_targets_are_refused():
    with pytest.raises(ValueError, match="profile: 'paper' is not known; expected one of paper-H"):
        examine(sr.Sophia, ["paper"])
    with pytest.raises(TargetError, match="'sophia_ref'; expected module"):
        check("numpy:sophia_ref")
