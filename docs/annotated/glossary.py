"""The glossary as data: docs/glossary.toml, and what the dialects call things."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from docs.annotated.notation import Reader, decomposed
from docs.annotated.order import ROOT
from docs.annotated.tree import (
    Node,
)
from sophia_ref.conformance.dialects import DIALECTS

HEAD = """# Glossary

Made by `make docs/glossary.md` from `docs/glossary.toml` and `sophia_ref/conformance/dialects.py`; do not edit.

| symbol | our name | what it is | elsewhere |
| --- | --- | --- | --- |
"""
WORDS = ("ratio", "denominator", "update", "clipped")  # of our code, which stand for themselves


@dataclass(frozen=True)
class Entry:
    key: str  # the anchor: theta, beta1, h_hat
    symbol: Node
    written: str  # the symbol as text
    code: tuple[str, ...]  # our names
    name: str
    text: str
    others: str  # what it is called elsewhere
    folders: tuple[str, ...]  # where it means this


@cache
def glossary() -> Mapping[str, Entry]:
    """The entries by key, in the order of the file."""
    data = tomllib.loads((ROOT / "docs" / "glossary.toml").read_text(encoding="utf-8"))
    entries: dict[str, Entry] = {}
    for row in data["symbol"]:
        symbol = Reader(decomposed(row["symbol"]), words=WORDS).expression()
        key = getattr(symbol, "name", "")
        elsewhere = [called(row["dialects"])] if "dialects" in row else []
        entries[key] = Entry(
            key=key,
            symbol=symbol,
            written=row["symbol"],
            code=tuple(row.get("code", [key])),
            name=row["name"],
            text=row["text"],
            others="; ".join(filter(None, [row.get("others", ""), *elsewhere])),
            folders=tuple(folder for room in row.get("rooms", ["rules"]) for folder in data["rooms"][room]),
        )
    return entries


def called(canonical: str) -> str:
    """The names of a setting of the engine in implementations of Sophia that have it under another.

    >>> called("beta1")
    'b1 in optax'
    """
    names: dict[str, list[str]] = {}
    for dialect in DIALECTS.values():
        own = dialect.own(canonical)
        if own in dialect.settings and own != canonical:
            names.setdefault(own, []).append(dialect.name)
    return ", ".join(f"{own} in {listed(dialects)}" for own, dialects in names.items())


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


@cache
def names_in(path: str) -> Mapping[str, Entry]:
    """What the glossary explains in a file: symbols by key, and our names for them."""
    here = [entry for entry in glossary().values() if path.startswith(entry.folders)]
    return {name: entry for entry in here for name in (entry.key, *entry.code)}


def entry_of(symbol: str, path: str) -> Entry | None:
    """The entry of a symbol in a file; eps1 is eps."""
    here = names_in(path)
    return here.get(symbol) or here.get(symbol.rstrip("0123456789"))


def markdown() -> str:
    """The glossary as a page for the site."""
    rows = []
    for entry in glossary().values():
        ours = ", ".join(f"`{name}`" for name in entry.code)
        cells = (f'<a id="symbol-{entry.key}"></a>{entry.written}', ours, f"{entry.name}. {entry.text}", entry.others)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return HEAD + "".join(rows)
