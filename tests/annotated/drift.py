"""Displayed equations against the lines beside them.

A row of a page has equations on the left and lines of code on the right. The code is run on random numbers and watched:
what its variables hold before the first and after the last line of the row. An equation's right side is evaluated with
what they held before, and must be what its left side's variable holds after. So an equation
that no longer says what its lines do is found, whichever of the two was changed.
"""

import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from docs.annotated.evaluate import FUNCTIONS, definition, evaluable, evaluate
from docs.annotated.glossary import names_in
from docs.annotated.order import ROOT
from docs.annotated.papers import displayed
from docs.annotated.source import Source
from docs.annotated.tree import (
    Symbol,
    Word,
    walk,
)

EXACT = 1e-12  # relative to the largest entry; equations may be evaluated in another order than the code


class Drift(AssertionError):
    """An equation and its lines differ."""


@dataclass
class Moment:
    """The variables around the lines of a row, the first time that they run."""

    before: dict
    after: dict = field(default_factory=dict)
    returned: object = None


def load(path: str, text: str) -> types.ModuleType:
    """A module of this text, beside the true one."""
    module = types.ModuleType(f"drifting_{path.replace('/', '_').removesuffix('.py')}")
    sys.modules[module.__name__] = module  # dataclasses look for their module there
    try:
        exec(compile(text, f"<{path}>", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module


def watch(source: Source, rows: list, call: Callable) -> dict[int, Moment]:
    """Moments of the rows, by first line of code, during call(). What a row has of other functions does not count."""
    moments: dict[int, Moment] = {}
    at = {line: row.code[0] for row in rows for line in row.code if line in source.function_of(row.code[0])}

    def trace(frame, event, arg):
        if frame.f_code.co_filename != f"<{source.path}>" or frame.f_code.co_name == "<module>":
            return None
        inside = None  # the row that this frame stands in

        def local(frame, event, arg):
            nonlocal inside
            row = at.get(frame.f_lineno) if event == "line" else None
            if inside is not None and (event == "return" or row != inside):
                moments[inside].after = dict(frame.f_locals)
                moments[inside].returned = arg if event == "return" else None
                inside = None
            if row is not None and inside is None and row not in moments:
                moments[row], inside = Moment(dict(frame.f_locals)), row
            return local

        return local(frame, event, arg)

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(outer)
    return moments


class Values:
    """What the symbols of a row's equations stand for."""

    def __init__(self, path: str, moment: Moment, given: dict, axes: int) -> None:
        self.path, self.moment, self.given, self.axes = path, moment, given, axes
        self.bound: dict[str, object] = {}  # by an earlier equation of the row, θ ← θ - η λ θ

    def names(self, symbol: Symbol | Word) -> list[str]:
        entry = names_in(self.path).get(symbol.name)
        return [symbol.name, *(entry.code if entry else ())]

    def find(self, symbol: Symbol | Word, *places: dict) -> object:
        for place in places:
            for name in self.names(symbol):
                if place.get(name) is not None:
                    return place[name]
        raise Drift(f"{self.path}: {symbol} is no variable, by any of the names {self.names(symbol)}")

    def settings(self) -> dict:
        me = self.moment.before.get("self")
        return {name: getattr(me, name) for name in dir(me) if not name.startswith("_")} if me is not None else {}

    def right(self, symbol: Symbol | Word) -> object:
        if symbol.name in self.bound:
            return self.bound[symbol.name]
        return self.find(symbol, self.given, self.moment.before, self.moment.after, self.settings())

    def left(self, symbol: Symbol | Word) -> object:
        """What the row's lines have made of it."""
        before, after = self.moment.before, self.moment.after
        for name in self.names(symbol):
            if name in after and after[name] is not before.get(name):
                return after[name]
        if symbol.name in self.given and self.moment.returned is not None:
            return self.moment.returned
        raise Drift(f"{self.path}: the lines beside it do not compute {symbol}")


def check(
    path: str, run: Callable, given: dict, axes: int = 2, text: str = "", change: Callable = lambda statement: statement
) -> set[int]:
    """Run the code of a file by run(module) and hold every displayed equation that it reaches against it.

    given: values of symbols that no variable has; a symbol that the lines return, and that has no variable, is given as
    None. axes: of a vector. text: of the code, if not the file's own. change:
    what each equation is passed through. Returns the numbers of the lines of the equations that were held. Raises Drift
    for an equation that says something else.
    """
    source = Source.read(ROOT, path)
    lines = [(row, line, [change(s) for s in line.statements]) for row, line in displayed(source)]
    functions = dict(FUNCTIONS)
    for _, _, statements in lines:
        for statement in statements:
            functions |= definition(statement, functions=functions)
    module = load(path, text or source.text)
    moments = watch(source, [row for row, _, _ in lines], lambda: run(module))
    checked = set()
    for row, line, statements in lines:
        if row.code[0] not in moments or not all(map(evaluable, statements)):
            continue
        values = Values(path, moments[row.code[0]], given, axes)
        for i, statement in enumerate(statements):
            if not definition(statement, functions=functions):
                later = {other.sides[0].name for other in statements[i + 1 :] if isinstance(other.sides[0], Symbol)}
                compare(statement, values, functions, later)
        checked.add(line.number)
    return checked


def compare(statement, values: Values, functions: dict, later: set[str]) -> None:
    left, right = statement.sides
    computed = evaluate(right, values.right, values.axes, functions)
    if not isinstance(left, Symbol | Word):
        agree(statement, evaluate(left, values.right, values.axes, functions), computed)
        return
    for symbol in walk(right):  # = gives a quantity of another time, ← replaces it
        if isinstance(symbol, Symbol) and symbol.name == left.name:
            now = symbol.at == getattr(left, "at", "")
            if now != (statement.signs == ("←",)):
                raise Drift(f"{values.path}: the times of {left.name} in {statement}")
    if left.name in later:
        values.bound[left.name] = computed
    else:
        agree(statement, values.left(left), computed)


def agree(statement, here: object, computed: object) -> None:
    here, computed = np.asarray(here, dtype=float), np.asarray(computed, dtype=float)
    if here.shape != np.broadcast_shapes(here.shape, computed.shape):
        raise Drift(f"shapes {here.shape} and {computed.shape} in {statement}")
    if not np.abs(here - computed).max() <= EXACT * max(np.abs(here).max(), 1.0):
        raise Drift(f"{statement}: by {np.abs(here - computed).max():.2g}")
