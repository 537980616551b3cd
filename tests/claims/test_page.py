"""The page of the claims in this repository: what the full run found, in the words that the code has for it."""

import re
from pathlib import Path

from sophia_ref.claims import conduct, page

FOLDER = Path(__file__).parents[2] / "docs" / "claims"
STORED = FOLDER.with_suffix(".md").read_text(encoding="utf-8")


def test_it_is_of_the_full_run_and_says_what_the_code_says_of_its_numbers():
    found = conduct._all(FOLDER)
    assert len(found) >= 17
    assert {entry["budget"] for *_, entry in found} == {"full"}
    made = page.markdown(found, FOLDER, conduct._summary(FOLDER))
    assert made.splitlines()[:-1] == STORED.splitlines()[:-1]  # the last has the machine


def test_its_figures_and_its_log_are_there():
    named = re.findall(r"claims/[\w-]+\.(?:png|log)", STORED)
    assert len(named) > 2 * 17
    assert all((FOLDER.parent / name).exists() for name in named)
