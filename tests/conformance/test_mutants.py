"""Two hundred wrong implementations, by someone who had not seen the vectors: each is caught by two at least."""

import random

import pytest

from sophia_ref.conformance import vectors
from sophia_ref.conformance.compare import ask
from sophia_ref.conformance.targets import load
from tests.conformance import independent, mutants

EVERY = list(vectors.every())
# No bugs in the eyes of the kit: what is not finite, or in half precision, may be taken.
ALLOWED = {"accepts-infinity", "accepts-float16"}


def caught_by(mutant, enough=2):
    """The first vectors, of all in a random order, that the mutant fails."""
    target, found = load(mutants.build(mutant)), []
    for vector in random.Random(mutant.name).sample(EVERY, len(EVERY)):
        if ask(target, vector).status == "failed":
            found.append(vector.id)
            if len(found) == enough:
                break
    return found


def test_there_are_enough_and_most_are_inventions():
    assert len(mutants.MUTANTS) >= 45
    assert sum(not mutant.public for mutant in mutants.MUTANTS) >= 20


@pytest.mark.parametrize("vector", EVERY, ids=lambda vector: vector.id)
def test_the_correct_implementation_passes(vector):
    outcome = ask(load(independent.run), vector)
    assert outcome.status == "passed", outcome.message


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_each_mutant_is_caught_by_two_vectors(mutant):
    assert len(caught_by(mutant)) == 2 or mutant.name in ALLOWED
