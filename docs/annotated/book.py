"""What all pages share: the sources, the links between pages, and the frame around each."""

from __future__ import annotations

import posixpath
from html import escape
from pathlib import Path

from docs.annotated import code, mathml
from docs.annotated.glossary import entry_of
from docs.annotated.names import Names, Place
from docs.annotated.order import ROOT, reading_order
from docs.annotated.papers import arxiv_number
from docs.annotated.prose import Setter

INDEX, GLOSSARY, PAPERS = "index.html", "glossary.html", "papers.html"
SWITCH = '<button id="theme" type="button" hidden="hidden" aria-label="light or dark" title="light or dark">◐</button>'


class Book:
    """The files of the reading order, and where their pages lie."""

    def __init__(self, root: Path = ROOT, site: str = "") -> None:
        self.chapters, self.site = reading_order(root), site
        self.paths = [path for chapter in self.chapters for path in chapter.files]
        self.names = Names(root, self.paths)
        self.sources = self.names.sources

    def address(self, place: Place, page: str) -> str:
        path, anchor = place
        return to(page_of(path), page) + (f"#{anchor}" if anchor else "")

    def linker(self, path: str, page: str) -> mathml.Link:
        """The attributes of the link of a symbol, as a file means it."""

        def attributes(symbol: str) -> str:
            entry = entry_of(symbol, path)
            if entry is None:
                return ""
            title = escape(f"{entry.written} = {', '.join(entry.code)}: {entry.name}")
            return f'class="symbol" data-key="{entry.key}" href="{to(GLOSSARY, page)}#{entry.key}" title="{title}"'

        return attributes

    def setter(self, path: str, page: str) -> Setter:
        """Sets prose of a file on a page."""
        source = self.sources[path]

        def target(text: str) -> str:
            if (file := self.names.file(source, text)) is not None:
                return to(page_of(file), page)
            name = text.removesuffix("()").removeprefix("sr.").split("(")[0]
            if not name.replace(".", "").replace("_", "").isalnum():
                return ""
            place = self.names.resolve(source, name) or self.names.find("sophia_ref", name) or self.in_package(name)
            return self.address(place, page) if place else ""

        def paper(number: str) -> str:
            anchor = arxiv_number(number)
            return f"{to(PAPERS, page)}#{anchor}" if anchor else ""

        return Setter(path, self.linker(path, page), target, paper, code.doctest)

    def in_package(self, dotted: str) -> Place | None:
        """sophia_ref.conformance.dialects, or a name in such a module."""
        if not dotted.startswith(("sophia_ref.", "toy_problems.")):
            return None
        module, _, name = dotted.rpartition(".")
        return self.names.find(dotted, "") or self.names.find(module, name)

    def framed(self, page: str, title: str, body: str) -> str:
        """A whole page; XML as well as HTML."""
        up = to("", page)
        site = f'<a href="{up}{self.site}">sophia-ref</a>' if self.site else ""
        return (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
            f'<title>{escape(title)} · sophia-ref</title><link rel="stylesheet" href="{up}style.css"/>'
            f'<script src="{up}theme.js"></script>'
            f'<script src="{up}cards.js" defer="defer"></script>'
            f'<script src="{up}annotated.js" defer="defer"></script></head>'
            f'<body><nav class="bar">{site}<a href="{up}{INDEX}">annotated source</a>'
            f'<a href="{up}{GLOSSARY}">glossary</a><a href="{up}{PAPERS}">equations</a>{SWITCH}</nav>\n{body}\n'
            "</body></html>\n"
        )


def page_of(path: str) -> str:
    return path.removesuffix(".py") + ".html"


def to(target: str, page: str) -> str:
    """The relative address of a page, or with "" of the folder of all pages, as a prefix."""
    folder = posixpath.dirname(page)
    if not target:
        return "../" * len(folder.split("/")) if folder else ""
    return posixpath.relpath(target, folder or ".")
