"""The README's example runs, and prints what the README says it prints."""

import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from sophia_ref.commands.arguments import parse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_prints_what_is_shown():
    code, shown = (re.search(rf"```{kind}\n(.*?)```", README, re.DOTALL).group(1) for kind in ("python", "text"))
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    assert out.getvalue() == shown
    assert len([line for line in code.splitlines() if line.strip()]) <= 15


def test_every_file_that_is_named_exists():
    folder = ROOT
    for name in re.findall(r"`((?:sophia_ref/|toy_problems/)?[\w/]+(?:\.py|/))`", README):
        if "/" in name:
            folder = ROOT / (name if name.endswith("/") else Path(name).parent)
        assert (folder / Path(name).name if not name.endswith("/") else folder).exists(), name
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("line", re.findall(r"^    sophia-ref (.*?)(?:  |$)", README, re.MULTILINE))
def test_every_command_line_that_is_shown_is_understood(line, tmp_path):
    words = line.replace("FILE", str(ROOT / "README.md")).split()
    names = (
        "list",
        "race",
        "step",
        "basins",
        "explore",
        "dialects",
        "conform",
        "train",
        "profile",
        "claims",
        "checkpoint",
        "demo",
    )
    shown = dict.fromkeys(names, lambda args: 0)
    assert parse(words, shown).call is not None


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)", README, re.MULTILINE))
def test_every_make_target_that_is_named_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
