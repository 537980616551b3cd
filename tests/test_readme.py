"""The README's example runs, and prints what the README says it prints."""

import io
import json
import re
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from sophia_ref.claims import NAMES, load
from sophia_ref.claims.claim import NOT, OUTCOMES, YES, answer
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


def test_what_it_says_of_the_claims_is_what_their_numbers_say():
    paths = [path for name in NAMES if (path := ROOT / f"docs/claims/{name}.json").exists()]  # those on the page
    numbers = {path.stem: json.loads(path.read_text())["numbers"] for path in paths}
    verdicts = {name: load(name).verdict(own) for name, own in numbers.items()}
    counts = Counter(verdict.outcome for verdict in verdicts.values())
    told = "; ".join(f"{outcome}: {counts[outcome]}" for outcome in OUTCOMES)
    assert told in README
    assert told in (ROOT / "docs/index.md").read_text(encoding="utf-8")
    assert "5 of 36" in verdicts["frequency"].counts
    assert "7 of 8" in verdicts["estimators"].counts
    shares = load("norm_clipping").headline(numbers["norm_clipping"]).partition(": ")[2]
    assert f"At T = 3200: {shares} of the steps" in README
    assert verdicts["norm_clipping"].outcome == NOT
    assert "unclipped is worse than clipped in 6 of 6 comparisons" in verdicts["clipping_ablation"].why
    tuned = "floor tuned is worse than clipped in 1 of 6 comparisons, in 0 as more seeds diverged, and better in 2."
    assert tuned in verdicts["clipping_ablation"].why
    for name in ("half_the_steps", "heterogeneous"):
        assert load(name).headline(numbers[name]) in README.replace("Worth of a step", "worth of a step")
    assert verdicts["half_the_steps"].outcome == NOT
    assert verdicts["half_the_steps"].answers.count(YES) == 0
    assert len(verdicts["half_the_steps"].answers) == 12
    sophias = [row for row in numbers["clipping_ablation"]["rows"] if row["method"] in ("SophiaH", "SophiaG")]
    assert not any(answer(row["minus_signum"]) == YES for row in sophias)


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
