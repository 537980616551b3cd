"""A source file as rows: prose on the left, the code it speaks of on the right.

A comment that has its lines for itself opens a row, and so does a definition with its docstring, a definition at the
margin, and the first line at the margin after one. Every line of the file lies in exactly one row, as prose or as code.
"""

from __future__ import annotations

import ast
import inspect
import io
import keyword
import re
import tokenize
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

DIRECTIVE = re.compile(r"#\s*(fmt|type|noqa|ruff|mypy|pragma)\b")
SECTION = re.compile(r"-- (.+?) -*$")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Prose:
    kind: str  # "docstring", "comment" or "section"
    first: int  # its lines in the file, counted from 1
    last: int
    text: str


@dataclass
class Row:
    prose: list[Prose] = field(default_factory=list)
    code: list[int] = field(default_factory=list)  # line numbers; empty lines at both ends are left out
    name: str = ""  # of the definition whose docstring this is: Sophia.step
    opens: str = ""  # "definition" where one begins, or ends; "gap" behind an empty line

    @property
    def first(self) -> int:
        return min([*self.code, *(piece.first for piece in self.prose)])


@dataclass(frozen=True)
class Source:
    path: str  # from the root of the repository: sophia_ref/run.py
    text: str

    @classmethod
    def read(cls, root: Path, path: str) -> Source:
        return cls(path, (root / path).read_text(encoding="utf-8"))

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """Classes, functions and methods by their qualified names, in the file's order; not those inside functions."""
        found: dict[str, Definition] = {}

        def visit(node: ast.AST, prefix: str) -> None:
            for child in ast.iter_child_nodes(node):
                if isinstance(child, Definition):
                    found[prefix + child.name] = child
                    if isinstance(child, ast.ClassDef):
                        visit(child, f"{prefix}{child.name}.")
                elif not isinstance(child, ast.expr):
                    visit(child, prefix)

        visit(self.tree, "")
        return found

    @cached_property
    def docstring(self) -> Prose | None:
        """The file's own."""
        return docstring_of(self.tree)

    @cached_property
    def comments(self) -> list[Prose]:
        """Runs of comments that have their lines for themselves; a section's headline stands alone."""
        runs: list[Prose] = []
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            line, column = token.start
            if token.type != tokenize.COMMENT or self.lines[line - 1][:column].strip():
                continue
            if DIRECTIVE.match(token.string):
                continue
            text = token.string.removeprefix("#").removeprefix(" ")
            if section := SECTION.match(text):
                runs.append(Prose("section", line, line, section[1]))
            elif runs and runs[-1].kind == "comment" and runs[-1].last == line - 1:
                runs[-1] = Prose("comment", runs[-1].first, line, f"{runs[-1].text}\n{text}")
            else:
                runs.append(Prose("comment", line, line, text))
        return runs

    @cached_property
    def rows(self) -> list[Row]:
        """All but the file's docstring."""
        opening: dict[int, str] = {}  # first line of a definition that opens a row -> its name
        docstrings: dict[int, Prose] = {}  # first line of a definition -> its docstring
        aside = {line for piece in self.comments for line in range(piece.first, piece.last + 1)}
        if self.docstring:
            aside |= set(range(self.docstring.first, self.docstring.last + 1))
        for name, node in self.definitions.items():
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            prose = docstring_of(node)
            if prose and prose.first > node.lineno:  # on lines of its own
                docstrings[first], opening[first] = prose, name
                aside |= set(range(prose.first, prose.last + 1))
            elif node.col_offset == 0:
                opening[first] = ""
        for before, after in pairwise(self.tree.body):
            if isinstance(before, Definition) and not isinstance(after, Definition):
                opening[after.lineno] = ""
        comments = {piece.first: piece for piece in self.comments}

        rows = [Row()]
        for number, line in enumerate(self.lines, 1):
            if number in comments:
                if rows[-1].code:
                    rows.append(Row())
                rows[-1].prose.append(comments[number])
            if number in opening:
                if rows[-1].code:
                    rows.append(Row())
                rows[-1].name = opening[number]
                rows[-1].opens = "definition"
                if number in docstrings:
                    rows[-1].prose.append(docstrings[number])
            if number not in aside and (line.strip() or rows[-1].code):
                rows[-1].code.append(number)
        for row in rows:
            if not row.opens and row.code + row.prose and not self.lines[row.first - 2].strip():
                row.opens = "gap"
            while row.code and not self.lines[row.code[-1] - 1].strip():
                row.code.pop()
        return [row for row in rows if row.code or row.prose]

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Name in this file -> the module it is from, and its name there, "" for the module itself."""
        found: dict[str, tuple[str, str]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and not node.level:
                found |= {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                found |= {alias.asname: (alias.name, "") for alias in node.names if alias.asname}
        return found

    @cached_property
    def constants(self) -> dict[str, int]:
        """Names assigned at the margin -> the line of the first assignment."""
        found: dict[str, int] = {}
        for node in self.tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                        if isinstance(name, ast.Name):
                            found.setdefault(name.id, name.lineno)
        return found

    def function_of(self, line: int) -> range:
        """The lines of the function that a line lies in, or all."""
        inside = [
            range(node.lineno, (node.end_lineno or 0) + 1)
            for node in self.definitions.values()
            if not isinstance(node, ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0)
        ]
        return min(inside, key=len, default=range(1, len(self.lines) + 1))

    def words(self, row: Row) -> set[str]:
        """The names in a row's code that its equations may use as they are: those that are no symbols, as x_bar is."""
        code = "\n".join(self.lines[number - 1].split("#")[0] for number in row.code)
        names = {name for name in re.findall(r"[A-Za-z]\w+", code) if not keyword.iskeyword(name)}
        return {name for name in names if not re.fullmatch(r"[A-Za-z]\d*(_(bar|hat))?", name)}


def docstring_of(node: ast.Module | Definition) -> Prose | None:
    text = ast.get_docstring(node, clean=False)
    if text is None:
        return None
    expression = node.body[0]
    return Prose("docstring", expression.lineno, expression.end_lineno or 0, inspect.cleandoc(text))
