"""All pages, and the folder they are written to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from docs.annotated.book import GLOSSARY, INDEX, PAPERS, Book, page_of
from docs.annotated.file_page import FilePage
from docs.annotated.lists import cards, glossary_page, index_page, papers_page
from docs.annotated.order import ROOT
from sophia_ref.files import replacing

STATIC = Path(__file__).parent / "static"
CARDS = "cards.js"


def pages(site: str = "") -> Iterator[tuple[str, str]]:
    """Name and text of each page, and of the script with the cards."""
    book = Book(ROOT, site)
    yield INDEX, index_page(book)
    for path in book.paths:
        yield page_of(path), FilePage(book, book.sources[path]).html()
    yield GLOSSARY, glossary_page(book)
    yield PAPERS, papers_page(book)
    yield CARDS, f"const CARDS = {json.dumps(dict(cards()), ensure_ascii=False)};\n"


def write(folder: Path, site: str = "") -> list[Path]:
    """Write all pages into a folder, which is made anew, and return their files.

    site: the address, from that folder, of the start page of a site around: ../index.html. Raises ValueError for a
    folder of something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / CARDS).exists():
        raise ValueError(f"output: {folder}; expected an absent or empty folder, or one of annotated pages")
    texts = list(pages(site))
    if folder.exists():
        shutil.rmtree(folder)
    for name, text in texts:
        with replacing(folder / name) as file:
            file.write(text.encode())
    for path in STATIC.iterdir():
        shutil.copyfile(path, folder / path.name)
    return sorted(folder.rglob("*.html"))
