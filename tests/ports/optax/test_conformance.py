"""The port is certified by the kit, and its broken copies are not."""

import pytest

from sophia_ref.conformance import vectors
from sophia_ref.conformance.checker import check
from sophia_ref.conformance.compare import ask
from sophia_ref.conformance.targets import load
from tests.ports.optax import broken


def test_the_port_conforms_in_rule_and_estimators_and_refuses_what_it_must(port):
    report = check("optax:sophia_ref.ports.optax.sophia", ["paper-H", "paper-G"])
    assert not report.not_asked
    for profile in report.profiles:
        assert report.verdict(profile) == "conforms: update rule and estimators"


@pytest.mark.parametrize("edit", broken.BROKEN, ids=lambda edit: edit.name)
def test_a_broken_copy_is_found_out_by_two_vectors(port, edit, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    target, found = load(f"optax:{broken.write(edit, tmp_path)}.sophia"), 0
    for profile in ("paper-H", "paper-G"):
        for vector in vectors.load(profile):
            # an edit of an estimator shows where one is asked
            if vector.verdict == "valid" and (edit.file == "optax.py" or "estimate" in vector.flags):
                found += ask(target, vector).status == "failed"
                if found == 2:
                    return
    raise AssertionError(f"{edit.bug}: found by {found}")
