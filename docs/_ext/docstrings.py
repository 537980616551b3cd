"""Our docstrings are plain text; Sphinx reads reStructuredText. This says the one in the other.

A line `name: what it is` becomes an item of a list, `code` becomes code, an indented block is shown as it stands, and
no sign is taken for markup that was not meant as such.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

ITEM = re.compile(r"\*{0,2}[a-z]\w*(\([\w, ]*\))?(, \*{0,2}[a-z]\w*(\([\w, ]*\))?)*( \([^)]*\))?: ")
CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)


def plain(text: str) -> str:
    """Text as reStructuredText, its `code` as code.

    >>> plain("theta * m_ is `theta * m`")
    'theta \\\\* m\\\\_ is ``theta * m``'
    """
    parts = CODE.split(text)
    parts[::2] = [re.sub(r"([\\*_|`])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"``{part.strip('`')}``" for part in parts[1::2]]
    return "".join(parts)


def paragraph(lines: list[str]) -> Iterator[str]:
    """One paragraph: prose, and the lines that name what they explain as a list.

    >>> list(paragraph(["Two numbers.", "x: the first", "y, z: the others,", "    maybe one", "Raises nothing."]))
    ['Two numbers.', '', '* **x**: the first', '* **y, z**: the others, maybe one', '', 'Raises nothing.']
    """
    pieces: list[str] = []
    for line in lines:
        if ITEM.match(line) or line.startswith("Raises ") or not pieces:
            pieces.append(line.strip())
        else:
            pieces[-1] += f" {line.strip()}"
    before = ""
    for piece in pieces:
        kind = "item" if ITEM.match(piece) else "prose"
        if before and (before, kind) != ("item", "item"):
            yield ""
        names, _, rest = piece.partition(": ")
        yield f"* **{plain(names)}**: {plain(rest)}" if kind == "item" else plain(piece)
        before = kind


def restructured(lines: list[str]) -> list[str]:
    """A docstring, as inspect.cleandoc leaves it."""
    found: list[str] = []
    for block in re.split(r"\n(?:[ \t]*\n)+", "\n".join(lines).strip("\n")):
        rows = block.split("\n")
        if rows[0].startswith(">>>"):
            found += rows
        elif all(row.startswith("    ") for row in rows):
            found += ["::", "", *rows]
        else:
            found += paragraph(rows)
        found.append("")
    return found


def process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def signature(app: Any, what: str, name: str, obj: Any, options: Any, args: str | None, result: str | None) -> Any:
    """A function that is a default goes by its name; a class over an absent framework has its own settings."""
    if args == "(*args, **kwargs)" and what == "class":
        from sphinx.util.inspect import stringify_signature

        own = inspect.signature(obj.__init__)
        args = stringify_signature(own.replace(parameters=[*own.parameters.values()][1:]), show_annotation=False)
    return (re.sub(r"<function (\w+)>", r"\1", args), result) if args else None


def setup(app: Any) -> dict[str, bool]:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
