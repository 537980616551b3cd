"""The prose of docstrings and comments as HTML.

It is written for people who read the source, not in a markup language: paragraphs, lists with dashes, `name: what it
is` for arguments, indented blocks, doctests, and names in backquotes. In running text these are set as mathematics:

- a statement in our notation, such as beta2 = 0.99 or h < 0;
- an expression with an operator or a function, if all its symbols are in the glossary: u * (H u), sign(m);
- a symbol with an accent or a subscript: h_hat, m_{t-1}.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from html import escape
from itertools import pairwise

from docs.annotated import mathml
from docs.annotated.glossary import glossary, names_in
from docs.annotated.notation import NotNotation, Reader, decomposed, read_line
from docs.annotated.tree import (
    GREEK,
    SPELLED,
    Call,
    Fraction,
    Node,
    Number,
    Power,
    Product,
    Statement,
    Sum,
    Symbol,
    Transposed,
    Word,
    walk,
)

ARGUMENT = re.compile(r"([a-z_]\w*(?:\([^)]*\))?(?:, [a-z_]\w*(?:\([^)]*\))?)*): (?=\S)")
SENTENCE = re.compile(r"(?<=[.:;)]) (?=(?:[a-z_]\w*, )*[a-z_]\w*: )")
PIECES = re.compile(
    r"``(?P<double>[^`]+)``|`(?P<code>[^`]+)`|(?P<file>\b[\w/]+\.py\b)|(?P<call>\b(?:np|sr)\.\w+(?:\([^()]*\))?)"
    r"|(?P<paper>arXiv \d{4}\.\d{4,5})"
)
CODE_WORDS = {
    name for entry in glossary().values() for name in entry.code if re.fullmatch(r"[a-z]{2,}(_[a-z]{4,})?", name)
} - GREEK.keys()
ENGLISH = set("update loss damping every clip ratio denominator clipped hessian".split())  # not only our names


class Setter:
    """Prose of one file. link: attributes of the link for a symbol; target(text): the address that a name in backquotes
    or a file's name leads to, "" for none; paper(number): that of a paper on arXiv."""

    def __init__(
        self, path: str, link: mathml.Link, target: Callable[[str], str], paper: Callable[[str], str],
        python: Callable[[str], str],
    ) -> None:  # fmt: skip
        self.known, self.link, self.target, self.paper, self.python = names_in(path), link, target, paper, python

    # -- blocks --------------------------------------------------------------------------------------------------------

    def blocks(self, text: str) -> str:
        """A docstring, or a comment of more than one line."""
        return "\n".join(self.block(lines) for lines in groups(text))

    def block(self, lines: list[str]) -> str:
        if lines[0].lstrip().startswith(">>> "):
            return f'<pre class="doctest">{self.python(chr(10).join(dedented(lines)))}</pre>'
        if lines[0].startswith("    "):
            return self.indented(dedented(lines))
        if lines[0].startswith("- "):
            items = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
            return f"<ul>{''.join(f'<li>{self.inline(joined(item.splitlines()))}</li>' for item in items)}</ul>"
        return "".join(
            f'<p class="argument">{self.argument(part)}</p>' if ARGUMENT.match(part) else f"<p>{self.inline(part)}</p>"
            for part in parts(lines)
        )

    def argument(self, text: str) -> str:
        match = ARGUMENT.match(text)
        assert match is not None
        return f"<code>{escape(match[1])}</code> {self.inline(text[match.end() :])}"

    def indented(self, lines: list[str]) -> str:
        """Equations where every line is one, a table where every line has the same number of columns, else as it is."""
        read = [read_line(line) for line in lines]
        if all(statements and not remark for statements, remark in read):
            return "".join(mathml.display(statement, self.link) for statements, _ in read for statement in statements)
        cells: list[list[str]] = []
        for line in lines:
            if line.startswith("    ") and cells:  # goes on with the last cell of the row above
                cells[-1][-1] += f" {line.strip()}"
            else:
                cells.append(re.split(r" {2,}", line.strip()))
        if len(cells) > 1 and len({len(row) for row in cells}) == 1 and len(cells[0]) > 1:
            head, body = (cells[:1], cells[1:]) if headed(cells) else ([], cells)
            rows = [self.table_row(row, "th") for row in head] + [self.table_row(row, "td") for row in body]
            return f"<table>{''.join(rows)}</table>"
        return f"<pre>{escape(chr(10).join(lines))}</pre>"

    def table_row(self, cells: list[str], tag: str) -> str:
        first, *rest = cells
        shown = [
            f"<code>{escape(first)}</code>" if self.target(first) == "" and "_" in first else self.inline(first, True)
        ]
        return f"<tr>{''.join(f'<{tag}>{cell}</{tag}>' for cell in [*shown, *map(self.inline, rest)])}</tr>"

    # -- lines ---------------------------------------------------------------------------------------------------------

    def inline(self, text: str, name: bool = False) -> str:
        """Running text. name: it may be one name alone, which links as if it were in backquotes."""
        if name and self.target(text):
            return self.code(text)
        done, at = [], 0
        for match in PIECES.finditer(text):
            done.append(self.formulas(text[at : match.start()]))
            at = match.end()
            if match["paper"]:
                number = match["paper"].split()[1]
                done.append(f'<a href="{self.paper(number)}">{match["paper"]}</a>' if self.paper(number) else match[0])
            else:
                done.append(self.code(match["double"] or match["code"] or match["file"] or match["call"]))
        return "".join([*done, self.formulas(text[at:])])

    def code(self, text: str) -> str:
        address, shown = self.target(text), f"<code>{escape(text)}</code>"
        return f'<a href="{address}">{shown}</a>' if address else shown

    def formulas(self, text: str) -> str:
        """Text without backquotes, its mathematics set and the names of symbols linked."""
        text = decomposed(text)
        done, plain, at = [], 0, 0
        for start in (match.start() for match in re.finditer(r"(?<![\w.\-/'\u0302\u0304])(?=[\w(|√‖⟨∇\-])", text)):
            if start < at:
                continue
            found = self.formula(text, start)
            if found is None:
                continue
            shown, end = found
            done += [escaped(text[plain:start]), shown]
            plain = at = end
        return "".join([*done, escaped(text[plain:])])

    def formula(self, text: str, start: int) -> tuple[str, int] | None:
        """The mathematics that begins here, set, and where it ends."""
        for read in (Reader.statement, Reader.expression):
            reader = Reader(text, CODE_WORDS, start)
            try:
                node = read(reader)
            except NotNotation:
                continue
            if torn(text, start, reader.end) or not self.plausible(node, text[start : reader.end]):
                continue
            return mathml.inline(node, self.link), reader.end
        word = re.compile(r"[A-Za-z_]\w*|[α-ω]").match(text, start)
        if word is None or re.match(r"[\u0302(\u0304]|\.\w|-\w", text[word.end() :]):
            return None
        name = word[0]
        if name in self.known and name not in ENGLISH:
            shown = f'<i class="letter">{name}</i>' if len(name) == 1 else f"<code>{escape(name)}</code>"
            return f"<a {self.link(self.known[name].key)}>{shown}</a>", word.end()
        return (self.code(name), word.end()) if "_" in name.strip("_") else None

    def plausible(self, node: Node, text: str) -> bool:
        """Whether what can be read as mathematics is meant as such."""
        inside = list(walk(node))
        symbols = [part for part in inside if isinstance(part, Symbol)]
        if not symbols or any(symbol.name in ("a", "I") and not symbol.at for symbol in symbols[:1]):
            return False
        if isinstance(node, Statement):
            return not any(symbol.name == "a" for symbol in symbols)
        if isinstance(node, Symbol):
            accented = "_" in node.name
            if text[0] in SPELLED:
                return node.name in self.known
            return (accented or bool(node.at)) and (node.name in self.known or accented or len(node.at) == 1)
        known = all(symbol.name in self.known or symbol.name.rstrip("0123456789") in self.known for symbol in symbols)
        operated = any(
            isinstance(part, Sum | Fraction | Power | Call | Transposed)
            or (isinstance(part, Product) and any(part.signs))
            for part in inside
        )
        return operated and known and not isinstance(node, Number | Word)


def torn(text: str, start: int, end: int) -> bool:
    """Whether what is on either side belongs to it: words in a formula that are not notation."""
    before, behind = text[:start], text[end:]
    return bool(
        re.search(r"[)*/^=+]\s*$", before)
        or re.match(r"[\w'\u0302(_]|[-.]\w|\s*[*/^]|\s[-+=]\s|\s*\([^)]*[*/^]", behind)
    )


def escaped(text: str) -> str:
    return escape(unicodedata.normalize("NFC", text).replace(" -> ", " → "), quote=False)


def groups(text: str) -> Iterator[list[str]]:
    """The lines between empty ones; a list, a doctest and an indented block begin anew without one."""
    group: list[str] = []
    for line in [*text.splitlines(), ""]:
        kind = (line.startswith("    "), line.startswith(">>>"))
        fresh = not line.strip() or (
            group
            and not group[0].startswith("- ")
            and not group[0].lstrip().startswith(">>>")
            and (kind != (group[0].startswith("    "), False) or line.startswith("- "))
            and not (ARGUMENT.match(group[0]) and line.startswith("    "))
        )
        if fresh and group:
            yield group
            group = []
        if line.strip():
            group.append(line)


def parts(lines: list[str]) -> list[str]:
    """A paragraph, parted where a line begins with the name of an argument."""
    found = [[lines[0]]]
    for before, line in pairwise(lines):
        if ARGUMENT.match(line) and re.search(r"[.;:)]$", before):
            found.append([line])
        else:
            found[-1].append(line.strip())
    return [piece for lines in found for piece in SENTENCE.split(joined(lines))]


def joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines)


def dedented(lines: list[str]) -> list[str]:
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return [line[margin:] for line in lines]


def headed(cells: list[list[str]]) -> bool:
    """Whether the first row is a headline: words alone, where every other row has a figure or a sign."""
    sign = re.compile(r"[\d=+*^_<>.]")
    return not any(map(sign.search, cells[0])) and all(any(map(sign.search, row)) for row in cells[1:])
