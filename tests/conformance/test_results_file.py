"""Results that another program has written."""

import json

import numpy as np
import pytest

from sophia_ref.conformance import examine, vectors
from sophia_ref.conformance.recipes.orders import Order, evaluate
from sophia_ref.conformance.targets import TargetError, load
from sophia_ref.conformance.targets.results import number
from sophia_ref.conformance.vectors import encode_number

PROFILE = "Lion"


def results(written=encode_number, profile=PROFILE):
    """What a correct program would have written."""
    found = {}
    for vector in vectors.load(profile):
        if vector.verdict == "invalid":
            found[vector.id] = {"refused": "out of range"}
        else:
            steps = evaluate(vector.case(), Order())
            found[vector.id] = {
                "steps": [
                    {name: [written(y) for y in x.ravel().tolist()] for name, x in step.items()} for step in steps
                ]
            }
    return found


def document(found):
    implementation = {"name": "lion.f90", "version": "2"}
    plain = {"format": "sophia-ref-results", "version": 1, "implementation": implementation, "vectors": "1.1.0"}
    return plain | {"results": found}


@pytest.fixture
def file(tmp_path):
    def write(plain):
        path = tmp_path / "results.json"
        path.write_text(plain if isinstance(plain, str) else json.dumps(plain))
        return path

    return write


@pytest.mark.parametrize("written", [encode_number, float, repr, lambda x: float(x).hex()])
def test_numbers_in_hexadecimal_and_in_decimal_pass(file, written):
    found = results(lambda x: str(x) if not np.isfinite(x) else written(x))
    report = examine(file(document(found)))
    assert list(report.profiles) == [PROFILE]
    assert report.verdict(PROFILE) == "conforms: update rule"
    assert report.target.versions == {"lion.f90": "2", "vectors": "1.1.0"}
    assert not report.not_asked


def test_what_was_left_out_or_skipped_is_not_asked_and_makes_the_rest_incomplete(file):
    found = results()
    del found["Lion/plain-float64"]
    found["Lion/plain-float32"] = {"skipped": "no float32 here"}
    report = examine(file(document(found)))
    reasons = {outcome.vector.id: outcome.message for outcome in report.not_asked}
    assert reasons == {
        "Lion/plain-float64": "the file has no result for it",
        "Lion/plain-float32": "no float32 here",
    }
    assert report.verdict(PROFILE) == "incomplete"
    assert not report.conforms


def test_a_wrong_number_and_a_refusal_of_what_is_valid_are_found(file):
    found = results()
    found["Lion/plain-float64"]["steps"][2]["theta"][1] = "0x1p-1"
    found["Lion/plain-float32"] = {"refused": "float32 is not for us"}
    messages = {outcome.vector.id: outcome.message for outcome in examine(file(document(found))).failed}
    assert set(messages) == {"Lion/plain-float64", "Lion/plain-float32"}
    assert messages["Lion/plain-float64"].startswith("step 3: theta[1] is 0.5, expected ")
    assert messages["Lion/plain-float32"] == "refuses it: float32 is not for us"


def test_too_few_numbers_or_steps_are_found(file):
    found = results()
    found["Lion/plain-float64"]["steps"][1]["theta"].pop()
    found["Lion/plain-float32"]["steps"].pop()
    messages = {outcome.vector.id: outcome.message for outcome in examine(file(document(found))).failed}
    n = vectors.find("Lion/plain-float64").case().theta.size
    assert messages["Lion/plain-float64"] == f"step 2: theta has {n - 1} entries; expected {n}, shape ({n},)"
    assert "one a step of the case" in messages["Lion/plain-float32"]


GOOD = {"Lion/plain-float64": {"steps": [{"theta": [1]}]}}


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ("{", r"results\.json' is not JSON"),
        ([], r"results\.json': holds a list; expected an object with format, version, results"),
        (document(GOOD) | {"format": "x"}, "format is 'x'; expected 'sophia-ref-results'"),
        (document(GOOD) | {"version": 2}, "version is 2; expected 1"),
        (document(GOOD) | {"implementation": "me"}, "implementation is 'me'; expected an object with a name"),
        (document(GOOD) | {"vectors": 1}, "vectors is 1; expected the version of the vectors"),
        (document({}), "results is {}; expected an object"),
        (document({"Lion/a": []}), r"results\['Lion/a'\] is \[\]; expected one of steps, refused, skipped"),
        (document({"Lion/a": {"steps": [], "refused": ""}}), "expected one of steps, refused, skipped in it"),
        (document({"Lion/a": {"refused": 3}}), r"results\['Lion/a'\]\.refused is 3; expected a text that says why"),
        (document({"Lion/a": {"steps": {}}}), "steps is an object; expected a list with one object a step"),
        (document({"Lion/a": {"steps": [{}]}}), r"steps\[0\] is {}; expected an object with theta in it"),
        (
            document({"Lion/a": {"steps": [{"theta": [], "x": []}]}}),
            r"steps\[0\] has a field 'x'; expected some of h_hat",
        ),
        (document({"Lion/a": {"steps": [{"theta": 1}]}}), r"\.theta is 1; expected a list of numbers, row by row"),
        (document({"Lion/a": {"steps": [{"theta": [0, "a"]}]}}), r"\.theta\[1\] is 'a'; expected a number"),
        (document({"Lion/a": {"steps": [{"theta": [None]}]}}), r"\.theta\[0\] is None; expected a number"),
        (document({"Lion/a": {"steps": [{"theta": [10**400]}]}}), r"\.theta\[0\] is 10+; expected a number"),
        (
            document({"Lion/a": {"steps": [{"theta": ["0x1p9999"]}]}}),
            r"\.theta\[0\] is '0x1p9999'; expected a number",
        ),
        (document({"Lion/plane-float32": {"skipped": ""}}), r"is of no vector; did you mean 'Lion/plain-float32'\?"),
        (document({"x": {"skipped": ""}}), "is of no vector; `sophia-ref conform --list` shows them all"),
        (
            document(GOOD) | {"vectors": "9.9.9"},
            r"vectors is '9\.9\.9'; expected the version .*, at most '1\.",
        ),
    ],
)
def test_a_file_in_another_format_is_refused_with_the_place(file, plain, words):
    with pytest.raises(TargetError, match=words):
        load(file(plain))


def test_a_file_that_is_not_there_is_refused():
    with pytest.raises(TargetError, match=r"'nowhere\.json' cannot be read: No such file"):
        load("nowhere.json")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0x1p-3", 0.125), ("-0X1.8P+1", -3.0), ("1e-3", 1e-3), (2, 2.0), ("inf", np.inf), ("-0.0", 0.0)],
)
def test_numbers_are_read_as_c_and_python_write_them(text, value):
    assert number(text) == value
