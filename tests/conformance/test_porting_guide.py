"""docs/porting.md: its lines stand in the files, and its vectors catch its traps."""

import re
from pathlib import Path

import pytest

from sophia_ref.conformance import vectors
from sophia_ref.conformance.compare import ask
from sophia_ref.conformance.targets import load
from tests.conformance import mutants

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/porting.md").read_text(encoding="utf-8")
FILES = {
    "NumPy": ["sophia_ref/optimizers/sophia.py", "sophia_ref/curvature.py"],
    "PyTorch": ["sophia_ref/ports/torch.py", "sophia_ref/ports/torch_curvature.py"],
    "foreach": ["sophia_ref/ports/torch.py"],
    "JAX": ["sophia_ref/ports/optax.py", "sophia_ref/ports/optax_curvature.py"],
    "Triton": ["sophia_ref/ports/triton.py"],
}


def quoted():
    """(whose, line) of every table that quotes code."""
    whose = None
    for row in re.findall(r"^\| (.*) \|$", GUIDE, re.M):
        first, *cells = row.split(" | ")
        whose = first if first in FILES else None if first else whose
        if whose:
            yield from ((whose, line) for cell in cells for line in re.findall(r"`([^`]+)`", cell))
    assert whose is None  # the last table is the one of traps


@pytest.mark.parametrize(("whose", "line"), list(quoted()))
def test_each_line_stands_in_its_file(whose, line):
    assert any(line in (ROOT / file).read_text(encoding="utf-8") for file in FILES[whose]), line


def test_there_are_enough_of_them():
    assert len(list(quoted())) >= 24


@pytest.mark.parametrize("id", sorted(set(re.findall(r"`([A-Za-z]+-[HG]/[a-z0-9-]+)`", GUIDE))))
def test_each_vector_exists(id):
    vectors.find(id)


def edit(name, old, new):
    return mutants.Mutant(name, old, new, "")


PAPER_M = mutants.PAPER + "self.m = beta1 * self.m + (1 - beta1) * g\n"
# What falling into a trap is: every vector of its row must catch one of these.
FALLS = {
    1: ["denominator-added-eps", "denominator-absolute"],
    2: ["official-without-batch-size", "gnb-B-missing"],
    3: ["gnb-true-labels", "gnb-true-labels-of-a-gaussian"],
    4: ["gnb-squares-of-micro-batches", "gnb-mean-of-uneven-means"],
    5: ["gnb-B-of-all-rows", "gnb-mask-ignored-in-the-gradient"],
    6: ["gnb-gaussian-without-half", "gnb-true-labels-of-a-gaussian"],
    7: ["gnb-gradient-norm-clipped"],
    8: ["h-bias-corrected", "h-starts-with-first-estimate"],
    9: [edit("m in float16", PAPER_M, PAPER_M[:-1] + "; self.m = self.m.astype('float16').astype(theta.dtype)\n")],
    10: ["hutchinson-first-micro-batch-only"],
}


def traps():
    for row in re.findall(r"^\| (\d+) \| .* \| (.*) \|$", GUIDE, re.M):
        for id in re.findall(r"`([^`]+)`", row[1]):
            yield int(row[0]), id


@pytest.mark.parametrize(("trap", "id"), list(traps()))
def test_each_trap_is_caught_by_its_vectors(trap, id):
    named = {mutant.name: mutant for mutant in mutants.MUTANTS}
    falls = [named[fall] if isinstance(fall, str) else fall for fall in FALLS[trap]]
    outcomes = [ask(load(mutants.build(fall)), vectors.find(id)).status for fall in falls]
    assert "failed" in outcomes, outcomes


def test_each_trap_has_two_vectors():
    found = [trap for trap, _ in traps()]
    assert sorted(set(found)) == list(range(1, 11))
    assert all(found.count(trap) >= 2 for trap in found)
