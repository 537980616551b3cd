"""docs/adding.md, carried through: its files are put into a copy of the repository, and there do what the page says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/adding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^`([\w/.]+)`\n\n```(python|diff)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^    sophia-ref (.*?)$", PAGE, re.MULTILINE)


def edited(text, diff):
    """The text after the hunks of a diff, each of which fits in one place."""
    for hunk in re.split(r"^@@\n", diff, flags=re.MULTILINE):
        lines = [(line[:1] or " ", line[1:]) for line in hunk.splitlines()]
        before, after = ("".join(f"{rest}\n" for sign, rest in lines if sign in f" {kind}") for kind in "-+")
        assert f"\n{text}".count(f"\n{before}") == 1, hunk
        text = f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]
    return text


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    ignore = shutil.ignore_patterns("__pycache__", "web", "notebooks", "site", "images", "ports", "conformance")
    for name in ("sophia_ref", "toy_problems"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignore)
    for name in ("pyproject.toml", "pytest_sophia_ref.py", "README.md"):
        shutil.copy(ROOT / name, folder)
    for path, kind, block in BLOCKS:
        target = folder / path
        assert target.exists() == (kind == "diff"), path
        text = edited(target.read_text(encoding="utf-8"), block) if kind == "diff" else block
        target.write_text(text, encoding="utf-8")
    return folder


def python(copy, *args):
    """What Python says in the copy. It must succeed."""
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "COVERAGE_PROCESS_START": ""}
    done = subprocess.run(
        [sys.executable, *args],
        cwd=copy,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_adds_an_optimizer_a_landscape_and_a_claim_with_their_tests():
    new = {path for path, kind, _ in BLOCKS if kind == "python"}
    assert new == {
        "sophia_ref/optimizers/rmsprop.py",
        "tests/optimizers/test_rmsprop.py",
        "sophia_ref/claims/probes.py",
        "tests/claims/test_probes.py",
    }
    assert "toy_problems/landscapes.py" in {path for path, kind, _ in BLOCKS if kind == "diff"}


def test_the_one_file_of_an_optimizer_is_enough_to_race_it_also_outside_of_the_package(copy, tmp_path):
    code, shown = re.search(r"```python\n(import .*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL).groups()
    assert python(copy, "-c", code) == shown
    own = next(block for path, _, block in BLOCKS if path.endswith("rmsprop.py"))
    (tmp_path / "own.py").write_text(own, encoding="utf-8")
    code = code.replace("sophia_ref.optimizers.rmsprop", "own")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == shown, done.stderr


@pytest.mark.parametrize(
    "tests",
    [
        ["tests/optimizers/test_rmsprop.py"],
        ["tests/optimizers/test_contract.py", "tests/test_explain.py", "-k", "RMSProp"],
        ["tests/plots/test_style.py", "-k", "not disk"],
        ["tests/toy_problems/test_landscapes.py", "-k", "three_hump_camel or registry"],
        ["tests/claims/test_probes.py"],
        ["tests/claims/test_conduct.py", "-k", "probes or numbers"],
    ],
    ids=["trace", "contract", "style", "landscape", "verdict", "claim"],
)
def test_the_tests_that_the_page_names_pass(copy, tests):
    said = python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", *tests)
    assert re.search(r"[1-9]\d* passed", said), said


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_that_the_page_names_run(copy, command):
    assert python(copy, "-m", "sophia_ref", *command.split())


def test_the_new_files_are_as_tidy_as_the_rest(copy):
    files = [str(copy / path) for path, _, _ in BLOCKS if path.endswith(".py")]
    python(copy, "-m", "ruff", "check", "--no-cache", *files)
    python(copy, "-m", "ruff", "format", "--check", "--no-cache", *files)
