"""What is trained on: real text, the made-up language of known entropy, digits, and digits with captions.

A task is named by a string, so that a run can be written down, and made once in each process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from toy_problems.text import language_reference, load
from toy_problems.transformer import LanguageTask, TinyGPT
from toy_problems.zipf import ZipfLanguage

Array = Any
ZIPF_VOCAB = 128
UNITS = {"text": "nats a character", "zipf": "nats a word above the entropy", "digits": "nats an image"}
UNITS["captions"] = "nats a token"


class Task(NamedTuple):
    """score(theta, tuning): the loss on held-out data. parts: the part that tuning sees, under True, and that of the
    verdict, under False; they have nothing in common."""

    problem: Any
    score: Callable[[Array, bool], float]
    parts: dict[bool, Any]


@cache
def make_task(name: str, model: tuple[int, ...], batch: int) -> Task:
    """The task of this name: "text", "zipf=1.5" (the exponent), "captions", each for a GPT with model = (context,
    width, heads, layers), or "digits" for a perceptron with model = (hidden,). Raises ValueError for another name."""
    kind, _, setting = name.partition("=")
    if kind == "text":
        return _language(load(), model, batch, thin=2)
    if kind == "zipf":
        return _zipf(float(setting), model, batch)
    if kind == "captions":
        from toy_problems.vision import DigitCaptions

        return _language(DigitCaptions(), model, batch, thin=2)
    if kind == "digits":
        from toy_problems.vision import DigitClassifier

        return _digits(DigitClassifier(model[0], batch))
    raise ValueError(f"name: {name!r}; expected text, zipf=EXPONENT, digits or captions")


def fingerprint(name: str) -> str:
    """What the data of a task depend on besides its name: the Python language reference differs between Pythons."""
    return _text_fingerprint() if name == "text" else ""


@cache
def _text_fingerprint() -> str:
    return hashlib.sha256(language_reference().encode()).hexdigest()[:16]


def _language(source: Any, model: tuple[int, ...], batch: int, thin: int) -> Task:
    problem = LanguageTask(TinyGPT(source.vocab, *model), source, batch)
    # in batches of one size whatever that of training is, and every other one belongs to tuning
    held_out = LanguageTask(problem.model, source, 16).validation_batches
    parts = {False: held_out[:: 2 * thin], True: held_out[thin :: 2 * thin]}
    return Task(problem, lambda theta, tuning: problem.validation_loss(theta, parts[tuning]), parts)


def _zipf(exponent: float, model: tuple[int, ...], batch: int) -> Task:
    language = ZipfLanguage(np.random.default_rng(0), ZIPF_VOCAB, exponent)
    problem = LanguageTask(TinyGPT(ZIPF_VOCAB, *model), language, batch)
    tokens = language.held_out(model[0])  # (256, T)
    parts = {False: tokens[::2], True: tokens[1::2]}

    def score(theta: Array, tuning: bool) -> float:
        return language.excess_loss(problem.model.logits(theta, parts[tuning]), parts[tuning])

    return Task(problem, score, parts)


def _digits(problem: Any) -> Task:
    X, y = problem.held_out
    parts = {False: (X[::2], y[::2]), True: (X[1::2], y[1::2])}
    return Task(problem, lambda theta, tuning: float(problem.loss(theta, parts[tuning])), parts)
