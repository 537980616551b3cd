"""docs/conformance.md says what is so."""

import json
import re
from pathlib import Path

import pytest

from sophia_ref.cli import COMMANDS
from sophia_ref.commands.arguments import parse
from sophia_ref.conformance import vectors
from sophia_ref.conformance.checker import CONFORMS, DIFFERS, ESTIMATORS, INCOMPLETE, RULE
from sophia_ref.conformance.diagnosis import catalogue
from sophia_ref.conformance.targets import FIELDS, load

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("line", re.findall(r"^    sophia-ref (.*?)(?:  |$)", PAGE, re.MULTILINE))
def test_every_command_line_that_is_shown_is_understood(line):
    assert parse(line.split(), COMMANDS).call is COMMANDS["conform"]


@pytest.mark.parametrize("line", re.findall(r"^    pytest (.*?)(?:  |$)", PAGE, re.MULTILINE))
def test_every_option_of_pytest_that_is_shown_exists(line, pytestconfig):
    names = [word.removeprefix("--").replace("-", "_") for word in line.split() if word.startswith("--")]
    assert names
    assert all(pytestconfig.getoption(name) == [] for name in names)
    for option in re.findall(r"`--(conform-\w+) ", PAGE):
        assert pytestconfig.getoption(option.replace("-", "_")) == []


def test_the_results_file_that_is_shown_is_one(tmp_path):
    (tmp_path / "results.json").write_text(re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    target = load(tmp_path / "results.json")
    assert target.profiles == ("paper-H",)
    for id in json.loads((tmp_path / "results.json").read_text())["results"]:
        assert vectors.find(id).id == id
    assert all(re.search(rf"\b{field}\b", PAGE) for field in FIELDS)


def test_the_test_that_is_shown_is_python():
    compile(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], "docs/conformance.md", "exec")


def test_all_verdicts_and_profiles_are_in_the_tables():
    for said in (f"{CONFORMS}: {RULE} and {ESTIMATORS}", f"{CONFORMS}: {RULE}", DIFFERS, INCOMPLETE):
        assert f"| {said} |" in PAGE
    assert all(profile in PAGE for profile in vectors.PROFILES)
    for id in re.findall(r"\b(?:paper|official|optax|Levanter|Adam|AdamW|Lion)[-\w]*/[\w-]+\w", PAGE):
        assert vectors.find(id).id == id


def test_the_numbers_of_vectors_and_of_mistakes_are_about_right():
    count = sum(1 for _ in vectors.every())
    assert abs(count - int(re.search(r"some (\d+) vectors", PAGE)[1])) < 50
    mistakes = {h.name for profile in vectors.PROFILES for h in catalogue(profile) if not h.dialect}
    assert abs(len(mistakes) - int(re.search(r"some (\d+) mistakes", PAGE)[1])) < 25
