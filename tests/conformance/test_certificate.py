"""Certificates hold together, and say so when they do not."""

import hashlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import sophia_ref as sr
from sophia_ref.conformance import examine, vectors
from sophia_ref.conformance.certificate import _COLORS, CertificateError, badge, certificate, summary, verify, write
from sophia_ref.conformance.diagnosis.first_order import FirstOrder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def report():
    return examine(sr.AdamW)


@pytest.fixture
def written(report, tmp_path):
    return write(report, tmp_path / "deep" / "folder")


def changed(path, change, sign=True):
    """The certificate after a change, with a checksum that fits if sign."""
    plain = json.loads(path.read_text())
    change(plain)
    if sign:
        plain["sha256"] = vectors.digest({name: x for name, x in plain.items() if name != "sha256"})
    path.write_text(json.dumps(plain))
    return path


def test_a_certificate_says_what_was_run_with_which_versions_and_hashes(report):
    plain = certificate(report)
    source = Path(sr.optimizers.adam.__file__)
    assert plain["target"]["source"] == {
        "file": "adam.py",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    manifest = (vectors.FOLDER / "manifest.json").read_bytes()
    assert plain["vectors"] == {
        "version": json.loads(manifest)["version"],
        "manifest": hashlib.sha256(manifest).hexdigest(),
    }
    assert plain["verdict"] == "conforms: update rule"
    (profile,) = plain["profiles"].values()
    assert sorted(profile["passed"]) == sorted(vector.id for vector in vectors.load("AdamW"))
    assert profile["failed"] == profile["not_asked"] == {}
    assert str(source.parent) not in json.dumps(plain)


def test_what_was_written_is_verified(report, written):
    path, svg = written
    assert (path.name, svg.name) == ("conform-numpy-AdamW.json", "conform-numpy-AdamW.svg")
    plain = verify(path)
    assert plain["verdict"] == "conforms: update rule"
    assert (
        dict(summary(plain))["AdamW"] == f"conforms: update rule: {len(report.outcomes)} passed, 0 failed, 0 not asked"
    )
    assert verify(path, source=sr.optimizers.adam.__file__) == plain
    with pytest.raises(CertificateError, match=r"is not the file that was certified"):
        verify(path, source=__file__)
    assert set(path.parent.iterdir()) == {path, svg}


def test_failures_and_their_diagnosis_are_in_the_certificate(tmp_path):
    path, _ = write(examine(sr.Adam, ["AdamW"]), tmp_path)
    assert verify(path)["verdict"] == "incomplete"

    def run(case):
        return FirstOrder(before=lambda theta, lr, wd: theta)(case)

    path, _ = write(examine(run, ["Lion"]), tmp_path)
    plain = verify(path)
    assert plain["verdict"] == "does not conform"
    lion = plain["profiles"]["Lion"]
    assert lion["failed"]["Lion/decay-without-gradient-float64"].startswith("step 1: theta[0] is ")
    assert lion["diagnosis"].startswith("likely cause: weight_decay has no effect (no decay)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format="x"), "is of format 'x', version 1; expected 'sophia-ref-certificate', version 1"),
        (lambda c: c.update(version=2), "is of format 'sophia-ref-certificate', version 2"),
        (lambda c: c["vectors"].update(manifest="0"), "vectors .* have another manifest here; expected [0-9a-f]{64}"),
        (lambda c: c["profiles"].update(Adem={}), "profile 'Adem' is not known"),
        (lambda c: c["profiles"]["AdamW"]["passed"].append("AdamW/x"), "'AdamW/x' is not among the vectors"),
        (
            lambda c: c["profiles"]["AdamW"]["passed"].pop(),
            "'AdamW/.*' of the vectors .* is neither passed, failed nor",
        ),
        (
            lambda c: c["profiles"]["AdamW"].update(verdict="conforms: everything"),
            "the verdict on AdamW is 'conforms: everything'; its lists make it 'conforms: update rule'",
        ),
        (
            lambda c: c["profiles"]["AdamW"]["failed"].update({c["profiles"]["AdamW"]["passed"].pop(): "?"}),
            "the verdict on AdamW is 'conforms: update rule'; its lists make it 'does not conform",
        ),
        (lambda c: c.update(verdict="conforms"), "the verdict is 'conforms'; those on profiles make it"),
        (lambda c: c.pop("profiles"), "is not as `write` writes it"),
        (lambda c: c.update(profiles={"AdamW": []}), "is not as `write` writes it"),
    ],
)
def test_a_certificate_that_does_not_hold_together_is_refused(change, words, written):
    with pytest.raises(CertificateError, match=words):
        verify(changed(written[0], change))


def test_a_certificate_that_was_touched_is_refused(written):
    path = changed(written[0], lambda c: c.update(date="2031-01-01T00:00:00+00:00"), sign=False)
    with pytest.raises(CertificateError, match="it was changed after it was written"):
        verify(path)


@pytest.mark.parametrize(("content", "words"), [("{", "is not JSON"), ("[]", "is not as `write` writes it")])
def test_another_file_is_refused(content, words, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(CertificateError, match=words):
        verify(path)
    with pytest.raises(CertificateError, match="cannot be read: No such file"):
        verify(tmp_path / "none.json")


def test_a_certificate_of_older_vectors_is_verified_against_those(written, monkeypatch):
    """As if the last vector of AdamW had been added since."""
    known = vectors.manifest()
    added = vectors.load("AdamW")[-1].id
    newer = {"version": "9.0.0", "vectors": known["vectors"] | {added: known["vectors"][added] | {"since": "9.0.0"}}}
    before = changed(written[0], lambda c: c["profiles"]["AdamW"]["passed"].remove(added))
    with pytest.raises(CertificateError, match="is neither passed, failed nor not asked"):
        verify(before)
    monkeypatch.setattr(vectors, "manifest", lambda: known | newer)
    assert added not in verify(before)["profiles"]["AdamW"]["passed"]


@pytest.mark.parametrize("path", sorted((ROOT / "docs/certificates").glob("*.json")), ids=lambda path: path.stem)
def test_the_certificates_of_the_docs_hold_together(path):
    plain = verify(path)
    assert plain["verdict"] == "conforms: update rule and estimators"
    assert path.with_suffix(".svg").read_text() == badge(plain)
    assert plain["target"]["name"] in (ROOT / "docs/certificates.md").read_text()


@pytest.mark.parametrize(
    "said",
    ["conforms: update rule and estimators", "conforms: update rule", "does not conform", "incomplete",
     "does not conform: takes bad input"],
)  # fmt: skip
def test_a_badge_says_in_words_what_its_colour_does(said):
    svg = badge({"vectors": {"version": "1.1.0"}, "verdict": said})
    root = ElementTree.fromstring(svg)
    texts = ["".join(x.itertext()) for x in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["sophia-ref 1.1.0", said]
    assert root.attrib["aria-label"] == f"sophia-ref 1.1.0: {said}"
    assert "prefers-color-scheme: dark" in svg


def luminance(color):
    channels = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_badges_are_legible_in_light_and_dark():
    pairs = [("#ffffff", color) for colors in _COLORS.values() for color in colors]
    for front, back in [*pairs, ("#1f2328", "#eaeef2"), ("#e6edf3", "#30363d")]:
        bright, dim = sorted((luminance(front), luminance(back)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (front, back)
