"""Is an answer right? And if it is not, what may have gone wrong?

    check("01.1", 0.02)        Right. ...
    check("01.1", 0.01)        Not yet. That is 1/h for the steep direction: ...
    check("01.1", ...)         Not answered yet. ...

What is right comes from closed forms and enumerations in exercises.py, which share no code with sophia_ref.
"""

import difflib
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Judge = Callable[[Any], str | None]  # answer -> what is wrong with it, or None


class Exercise(NamedTuple):
    judge: Judge
    right: str  # what is said of a right answer


class NotAnswered(Exception):
    """The dots are still there."""


class NothingReturned(Exception):
    """A function without return."""


class Verdict(NamedTuple):
    """Shown at the end of a cell. ok: None for a question that is still open."""

    ok: bool | None
    text: str

    def __repr__(self) -> str:
        word = {True: "Right.", False: "Not yet.", None: "Not answered yet."}[self.ok]
        return textwrap.fill(f"{word} {self.text}", 100)


def check(name: str, answer: Any) -> Verdict:
    """The verdict on an answer to the exercise of this name. Raises KeyError for a name that there is not."""
    from exercises import EXERCISES

    if name not in EXERCISES:
        near = difflib.get_close_matches(name, EXERCISES, 1)
        raise KeyError(f"name: {name!r}; expected an exercise" + (f", such as {near[0]!r}" if near else ""))
    exercise = EXERCISES[name]
    try:
        answered(answer)
        wrong = exercise.judge(answer)
    except NotAnswered:
        return Verdict(None, "Put your answer in place of the dots and run the cell again.")
    return Verdict(True, exercise.right) if wrong is None else Verdict(False, wrong)


def answered(answer: Any) -> Any:
    """answer itself. Raises NotAnswered where there are dots in it."""
    if answer is ... or (isinstance(answer, tuple | list) and any(part is ... for part in answer)):
        raise NotAnswered
    return answer


# Judges: each makes a function answer -> what is wrong with it, or None


def number(
    expected: float, hint: str, mistakes: Mapping[float, str] | None = None, rel: float = 0.01, absolute: float = 0.0
) -> Judge:
    """A number, right within rel of what is expected (within rel of 1 where that is 0), or within absolute. mistakes:
    numbers that come of an error that can be named. hint: said of any other."""

    def judge(answer: Any) -> str | None:
        value = real(answer)
        if isinstance(value, str):
            return value
        if np.size(value) != 1:
            return f"Expected one number, got {np.size(value)}. {hint}"
        value = float(np.squeeze(value))
        if close(value, expected, rel) or abs(value - expected) <= absolute:
            return None
        for wrong, why in (mistakes or {}).items():
            if close(value, wrong, rel):
                return why
        if close(value, -expected, rel):
            return "The size is right, the sign is not."
        return f"{value:.6g} is too {'small' if value < expected else 'large'}. {hint}"

    return judge


def numbers(
    expected: Any, hint: str, mistakes: Mapping[tuple[float, ...], str] | None = None, rel: float = 0.01
) -> Judge:
    """Several numbers in order, as an array, a list or a tuple."""
    expected = np.asarray(expected, float)

    def judge(answer: Any) -> str | None:
        value = real(answer)
        if isinstance(value, str):
            return value
        if value.shape != expected.shape:
            return f"Expected {len(expected)} numbers in a list or array, got shape {value.shape}. {hint}"
        right = close(value, expected, rel)
        if right.all():
            return None
        for wrong, why in (mistakes or {}).items():
            if close(value, np.array(wrong, float), rel).all():
                return why
        if close(np.sort(value), np.sort(expected), rel).all():
            return "These are the right numbers, in another order."
        i = int(np.argmin(right))
        return f"{int(right.sum())} of {len(expected)} are right; number {i + 1}, {value[i]:.6g}, is not. {hint}"

    return judge


def choice(expected: str, others: Mapping[str, str]) -> Judge:
    """One of several words, each wrong one with the reason why it is wrong."""

    def judge(answer: Any) -> str | None:
        words = ", ".join(repr(word) for word in sorted([expected, *others]))
        if not isinstance(answer, str):
            return f"Expected one of {words}, got {answer!r}."
        word = answer.strip().casefold()
        if word == expected.casefold():
            return None
        return next((why for other, why in others.items() if other.casefold() == word), f"Expected one of {words}.")

    return judge


def function(test: Callable[[Callable[..., Any]], str | None]) -> Judge:
    """A function, tried out by `test`, which says what is wrong with it."""

    def judge(answer: Any) -> str | None:
        if not callable(answer):
            return f"Expected the function itself, got {answer!r}."

        def call(*args: Any, **kwargs: Any) -> Any:
            value = answered(answer(*args, **kwargs))
            if value is None:
                raise NothingReturned
            return value

        try:
            return test(call)
        except NotAnswered:
            raise
        except NothingReturned:
            return "The function returned None. Is `return` missing?"
        except Exception as error:
            entries = " np.maximum, np.minimum, np.clip and np.where take arrays entry by entry."
            hint = entries if "truth value of an array" in str(error) else ""
            return f"The function raised {type(error).__name__}: {error}{hint}"

    return judge


def real(answer: Any) -> Any:
    """The answer as an array of floats, or what is wrong with it."""
    try:
        value = np.asarray(answer, float)
    except (TypeError, ValueError):
        return f"Expected numbers, got {answer!r}."
    return value if np.isfinite(value).all() else f"Expected finite numbers, got {answer!r}."


def close(value: Any, expected: Any, rel: float) -> Any:
    """Whether value is within rel of what is expected, and within rel of 1 of 0."""
    return np.abs(value - expected) <= rel * np.where(np.asarray(expected) == 0, 1.0, np.abs(expected))


def same(got: Any, expected: Any, what: str) -> str | None:
    """What is wrong with the array that a function returned, if anything."""
    value = real(got)
    if isinstance(value, str):
        return f"{what}: {value}"
    expected = np.asarray(expected, float)
    if value.shape != expected.shape:
        return f"{what}: expected shape {expected.shape}, got {value.shape}."
    if np.allclose(value, expected, rtol=1e-6, atol=1e-9):
        return None
    wanted, found = (np.array2string(x, precision=4).rstrip(".") for x in (expected, value))
    return f"{what}: expected {wanted}, got {found}."
