"""Where a name is defined: what links in code and prose point at."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from docs.annotated.source import Source

Place = tuple[str, str]  # the file, and the anchor in it, "" for its top


class Names:
    """The definitions of the files that have a page, seen from any file."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root = root
        self.sources = {path: Source.read(root, path) for path in paths}
        self._others: dict[str, Source | None] = {}

    # -- from a module and a name --------------------------------------------------------------------------------------

    def find(self, module: str, name: str, depth: int = 0) -> Place | None:
        """Where a module has a name from: its own definition, or whence it imports it, or a module inside it."""
        if depth > 8:
            return None
        source = self.of_module(module)
        if source is not None and name:
            if name in source.definitions or name in source.constants:
                return (source.path, name) if source.path in self.sources else None
            if name in (imported := source.imports):
                inside, original = imported[name]
                return self.find(inside, original, depth + 1)
        path = self.of_module(f"{module}.{name}" if name else module)
        return (path.path, "") if path is not None and path.path in self.sources else None

    def of_module(self, module: str) -> Source | None:
        if module not in self._others:
            base = module.replace(".", "/")
            found = [path for path in (f"{base}.py", f"{base}/__init__.py") if (self.root / path).is_file()]
            self._others[module] = None
            if found and module.split(".")[0] in ("sophia_ref", "toy_problems"):
                self._others[module] = self.sources.get(found[0]) or Source.read(self.root, found[0])
        return self._others[module]

    # -- from inside a file --------------------------------------------------------------------------------------------

    def resolve(self, source: Source, dotted: str) -> Place | None:
        """What a name, or names with dots between, stands for in a file."""
        first, *rest = dotted.split(".")
        if first in source.definitions or first in source.constants:
            found: Place | None = (source.path, first)
        elif first in (imported := source.imports):
            module, name = imported[first]
            if not name and rest:
                return self.member(self.find(module, rest[0]), rest[1:])
            found = self.find(module, name)
        else:
            return None
        return self.member(found, rest)

    def member(self, place: Place | None, rest: list[str]) -> Place | None:
        """An attribute of what was found: a method, also of a base class, or a name of a module."""
        for name in rest:
            if place is None:
                return None
            path, anchor = place
            source = self.sources[path]
            if not anchor:
                place = self.find(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."), name)
            else:
                place = self.method(source, anchor, name)
        return place

    def method(self, source: Source, cls: str, name: str, depth: int = 0) -> Place | None:
        node = source.definitions.get(cls)
        if f"{cls}.{name}" in source.definitions:
            return source.path, f"{cls}.{name}"
        if isinstance(node, ast.ClassDef) and depth < 8:
            for base in node.bases:
                above = self.resolve(source, ast.unparse(base))
                if above is not None and above[1]:
                    return self.method(self.sources[above[0]], above[1], name, depth + 1)
        return None

    def file(self, source: Source, text: str) -> str | None:
        """The page that a file's name in prose means: beside this file, from the root, or the only one of that name."""
        folder = source.path.rpartition("/")[0]
        for path in (f"{folder}/{text}", text):
            if path in self.sources:
                return path
        same = [path for path in self.sources if path.endswith(f"/{text}")]
        return same[0] if len(same) == 1 else None

    @cached_property
    def uses(self) -> Mapping[str, Mapping[tuple[int, int], Place]]:
        """For each file, where in it (line, column) a name stands that is defined in a file with a page."""
        return {path: dict(self._uses(source)) for path, source in self.sources.items()}

    def _uses(self, source: Source) -> Iterator[tuple[tuple[int, int], Place]]:
        inside: list[tuple[ast.AST, str]] = [(source.tree, "")]
        while inside:
            node, cls = inside.pop()
            if isinstance(node, ast.ClassDef):
                cls = node.name
            inside += [(child, cls) for child in ast.iter_child_nodes(node)]
            place, line, column = None, 0, 0
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                place, line, column = self.resolve(source, node.id), node.lineno, node.col_offset
            elif isinstance(node, ast.Attribute) and (dotted := path_of(node)):
                line, column = node.end_lineno or 0, (node.end_col_offset or 0) - len(node.attr.encode())
                if dotted.startswith("self.") and dotted.count(".") == 1:
                    place = self.method(source, cls, node.attr) if cls in source.definitions else None
                else:
                    place = self.resolve(source, dotted)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    if (found := self.find(node.module or "", alias.name)) is not None:
                        yield (alias.lineno, characters(source, alias.lineno, alias.col_offset)), found
            if place is not None:
                yield (line, characters(source, line, column)), place


def characters(source: Source, line: int, column: int) -> int:
    """Python counts columns in bytes."""
    return len(source.lines[line - 1].encode()[:column].decode())


def path_of(node: ast.expr) -> str:
    """a.b.c, or nothing for what is not made of names alone."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := path_of(node.value)):
        return f"{before}.{node.attr}"
    return ""
