"""The page of a file: its docstring above, then its rows."""

from __future__ import annotations

import re
import textwrap
from html import escape

from docs.annotated import code, mathml
from docs.annotated.book import PAPERS, Book, page_of, to
from docs.annotated.papers import comment_lines, quoted
from docs.annotated.source import Definition, Prose, Row, Source, docstring_of
from docs.annotated.tree import (
    Statement,
)

LONGEST = 110  # of what the outline says of a definition


class FilePage:
    def __init__(self, book: Book, source: Source) -> None:
        self.book, self.source, self.page = book, source, page_of(source.path)
        self.link = book.linker(source.path, self.page)
        self.setter = book.setter(source.path, self.page)
        self.painter = code.Painter(source, book.names, lambda place: book.address(place, self.page), self.link)

    def html(self) -> str:
        rows = "\n".join(map(self.row, self.source.rows))
        body = f'{self.head()}\n<main>{rows}</main>\n<footer class="turn">{self.turn()}</footer>'
        return self.book.framed(self.page, self.source.path, body)

    def turn(self) -> str:
        """Links to the files before and after it."""
        paths, at = ["", *self.book.paths, ""], self.book.paths.index(self.source.path) + 1
        around = ((paths[at - 1], "prev", "before it"), (paths[at + 1], "next", "next"))
        return "".join(
            f'<a class="{rel}" rel="{rel}" href="{to(page_of(path), self.page)}"><small>{word}</small> {path}</a>'
            if path
            else "<span></span>"
            for path, rel, word in around
        )

    def head(self) -> str:
        """The file's docstring, and what is in the file."""
        text = self.source.docstring.text if self.source.docstring else self.source.path
        title, _, rest = text.partition("\n\n")
        what = next(chapter.what for chapter in self.book.chapters if self.source.path in chapter.files)
        place = f"{self.book.paths.index(self.source.path) + 1} of {len(self.book.paths)} · {escape(what)}"
        return (
            f'<header class="hero"><div class="lead"><p class="place">{place}</p>'
            f'<p class="path"><code>{self.source.path}</code></p><h1>{self.setter.inline(" ".join(title.split()))}</h1>'
            f"{self.setter.blocks(rest)}</div>{self.outline()}</header>"
        )

    def outline(self) -> str:
        items = "".join(
            f'<li><a href="#{name}"><code>{name}</code></a> {self.setter.inline(first_sentence(node))}</li>'
            for name, node in self.source.definitions.items()
            if "." not in name and (docstring_of(node) or not name.startswith("_"))
        )
        inside = f'<nav class="outline" aria-label="in this file"><h2>In this file</h2><ul>{items}</ul></nav>'
        return inside if items else ""

    # -- rows ----------------------------------------------------------------------------------------------------------

    def row(self, row: Row) -> str:
        prose = "".join(self.prose(row, piece) for piece in row.prose)
        if row.name:
            prose = f'<h3><a href="#{row.name}">{row.name.replace(".", ".<wbr/>")}</a></h3>{prose}'
        lines = "".join(map(self.painter.line, row.code))
        kind = "section" if any(piece.kind == "section" for piece in row.prose) else row.opens
        return (
            f'<section class="{f"row {kind}".strip()}"><div class="prose">{prose}</div>'
            f'<div class="code">{f"<pre>{lines}</pre>" if lines else ""}</div></section>'
        )

    def prose(self, row: Row, piece: Prose) -> str:
        if piece.kind == "section":
            return f"<h2>{self.setter.inline(piece.text)}</h2>"
        if piece.kind == "docstring":
            return self.setter.blocks(piece.text)
        done: list[str] = []
        words: list[str] = []  # lines of a paragraph between equations
        for line in comment_lines(self.source, row, piece):
            if line.statements:
                done.append(self.setter.blocks("\n".join(words)))
                words = []
            done += map(self.equation, line.statements)
            words += filter(None, [line.remark])
        return "".join([*done, self.setter.blocks("\n".join(words))])

    def equation(self, statement: Statement) -> str:
        """A displayed equation, with its number if it is a paper's."""
        known, number = quoted(statement, self.source.path), ""
        if known:
            address = f"{to(PAPERS, self.page)}#{known.number}"
            number = f'<a class="number" href="{address}" title="{escape(known.what)}">({known.number})</a>'
        return f'<div class="equation">{mathml.display(statement, self.link)}{number}</div>'


def first_sentence(node: Definition) -> str:
    prose = docstring_of(node)
    paragraph = " ".join(prose.text.split("\n\n")[0].split()) if prose else ""
    return textwrap.shorten(re.split(r"[.;:] ", paragraph)[0].removesuffix("."), LONGEST, placeholder=" …")
