"""Code as HTML: coloured by Pygments, its names linked, every line with its number and an anchor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from html import escape

from pygments import lex
from pygments.lexers import PythonConsoleLexer, PythonLexer
from pygments.token import STANDARD_TYPES, Token, _TokenType

from docs.annotated.names import Names, Place
from docs.annotated.source import Source

KEPT = set("k kc kn kd ow nc nf fm nd ne c1 mi mf mh gp go gt gr s1 s2 sd se si sa nt".split())  # that have a colour
Address = Callable[[Place], str]


class Painter:
    """The lines of one file. address: of a place; link: attributes of the link for a symbol, "" for none."""

    def __init__(self, source: Source, names: Names, address: Address, link: Callable[[str], str]) -> None:
        self.source, self.address, self.link = source, address, link
        self.uses = names.uses[source.path]
        self.anchors = {(line, name): name for name, line in source.constants.items()}
        self.anchors |= {(node.lineno, name.rpartition(".")[2]): name for name, node in source.definitions.items()}
        self.painted = self._paint()

    def line(self, number: int) -> str:
        """One line of the file, with its own indentation hanging where it must wrap."""
        text = self.source.lines[number - 1]
        indent = len(text) - len(text.lstrip())
        return (
            f'<span class="line" id="L{number}" style="--in:{indent}">'
            f'<a class="n" href="#L{number}" aria-label="line {number}" data-n="{number}"></a>'
            f"<span>{self.painted.get(number, '')}</span>\n</span>"
        )

    def _paint(self) -> dict[int, str]:
        painted: dict[int, str] = {}
        line, column = 1, 0
        for kind, text in lex(self.source.text, PythonLexer(stripnl=False, ensurenl=False)):
            for i, part in enumerate(text.split("\n")):
                if i:
                    line, column = line + 1, 0
                if part:
                    painted[line] = painted.get(line, "") + self._token(kind, part, line, column)
                    column += len(part)
        return painted

    def _token(self, kind: _TokenType, text: str, line: int, column: int) -> str:
        shown = coloured(kind, text)
        if anchor := self.anchors.pop((line, text), ""):
            shown = f'<span id="{anchor}">{shown}</span>'
        if (line, column) in self.uses:
            return f'<a class="ref" href="{self.address(self.uses[line, column])}">{shown}</a>'
        if kind in Token.Name and (attributes := self.link(text)):
            return f"<a {attributes}>{shown}</a>"
        return shown


def coloured(kind: _TokenType, text: str) -> str:
    short = STANDARD_TYPES.get(kind, "")
    return f'<span class="{short}">{escape(text)}</span>' if short in KEPT else escape(text)


def doctest(text: str) -> str:
    """A session at Python's prompt."""
    return "".join(pieces(text)).rstrip("\n")


def pieces(text: str) -> Iterator[str]:
    for kind, part in lex(text, PythonConsoleLexer()):
        yield coloured(kind, part)
