"""The equations of the papers, numbered, and which lines of ours compute them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from docs.annotated.notation import read_line
from docs.annotated.order import ROOT
from docs.annotated.source import Prose, Row, Source
from docs.annotated.tree import (
    Statement,
)


@dataclass(frozen=True)
class Equation:
    number: str  # S4, the anchor as well
    what: str
    statement: Statement


@dataclass(frozen=True)
class Paper:
    key: str
    title: str
    authors: str
    arxiv: str
    files: tuple[str, ...]
    note: str
    equations: tuple[Equation, ...]


@cache
def papers() -> tuple[Paper, ...]:
    """Those of docs/papers.toml. Raises ValueError for a line that is not in our notation."""
    data = tomllib.loads((ROOT / "docs" / "papers.toml").read_text(encoding="utf-8"))
    return tuple(
        Paper(
            key=row["key"],
            title=row["title"],
            authors=row["authors"],
            arxiv=row.get("arxiv", ""),
            files=tuple(row["files"]),
            note=row["note"],
            equations=tuple(equation(f"{row['key']}{i}", *line) for i, line in enumerate(row["lines"], 1)),
        )
        for row in data["paper"]
    )


def equation(number: str, what: str, text: str) -> Equation:
    statements, remark = read_line(text)
    if len(statements) != 1 or remark:
        raise ValueError(f"papers.toml: {text!r}; expected one statement")
    return Equation(number, what, statements[0])


def quoted(statement: Statement, path: str) -> Equation | None:
    """The paper's equation that a statement of a file repeats."""
    for paper in papers():
        for candidate in paper.equations:
            if path in paper.files and candidate.statement == statement:
                return candidate
    return None


# -- those of the sources ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A line of a comment: its statements, and the remark behind them, or all of it where it has none."""

    number: int
    statements: Sequence[Statement]
    remark: str


def comment_lines(source: Source, row: Row, piece: Prose) -> Iterator[Line]:
    """The rule by which comments are displayed equations: see CONTRIBUTING.md."""
    words = source.words(row)
    for number, text in enumerate(piece.text.splitlines(), piece.first):
        yield Line(number, *read_line(text, words))


def displayed(source: Source) -> Iterator[tuple[Row, Line]]:
    """Every line of a file's comments that is displayed as equations."""
    for row in source.rows:
        for piece in row.prose:
            if piece.kind == "comment":
                yield from ((row, line) for line in comment_lines(source, row, piece) if line.statements)


def arxiv_number(number: str) -> str:
    """The anchor of a paper on arXiv, "" if it is not among them."""
    known = {paper.arxiv: paper.key for paper in papers() if paper.arxiv}
    return f"paper-{known[number]}" if number in known and re.fullmatch(r"[\d.]+", number) else ""
