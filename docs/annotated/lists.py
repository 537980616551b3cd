"""The pages that are lists: the reading order, the glossary, and the papers' equations."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from docs.annotated import mathml
from docs.annotated.book import GLOSSARY, INDEX, PAPERS, Book, page_of
from docs.annotated.glossary import Entry, glossary
from docs.annotated.papers import Paper, displayed, papers, quoted

ABOUT_INDEX = f"""<h1>sophia-ref, annotated</h1>
<p>The sources in the order in which they are best read: what they say in their docstrings and comments on the left, the
lines that do it on the right. Every symbol leads to the <a href="{GLOSSARY}">glossary</a>, which has the names that
other libraries give it, and every numbered equation to the <a href="{PAPERS}">paper</a> it comes from. The equations of
sophia_ref/optimizers, curvature.py, guard.py and conformance/engine.py are evaluated against the lines beside them by
the tests: what is shown there is what is computed.</p>"""
ABOUT_GLOSSARY = """<h1>Glossary</h1>
<p>The papers' symbols, what our code calls them, what they are, and their names elsewhere. Names of settings in
implementations of Sophia come from their dialects.</p>"""
ABOUT_PAPERS = """<h1>The papers' equations</h1>
<p>Those that the sources quote, in the papers' letters but for what is said. The numbers are ours. With each, the lines
that compute it.</p>"""


def unlinked(symbol: str) -> str:
    return ""


def index_page(book: Book) -> str:
    sections = []
    for chapter in book.chapters:
        items = "".join(
            f'<li><a href="{page_of(path)}"><code>{path}</code></a> <span>{title(book, path)}</span></li>'
            for path in chapter.files
        )
        heading = f"{escape(chapter.what[0].upper() + chapter.what[1:])} <small>{chapter.minutes} minutes</small>"
        sections.append(f"<section><h2>{heading}</h2><ul>{items}</ul></section>")
    body = f'<main class="list"><header>{ABOUT_INDEX}</header>{"".join(sections)}</main>'
    return book.framed(INDEX, "the annotated source", body)


def title(book: Book, path: str) -> str:
    """The first paragraph of a file's docstring."""
    docstring = book.sources[path].docstring
    text = " ".join(docstring.text.split("\n\n")[0].split()) if docstring else ""
    return book.setter(path, INDEX).inline(text)


# -- the glossary ------------------------------------------------------------------------------------------------------


def glossary_page(book: Book) -> str:
    heads = "".join(f"<th>{head}</th>" for head in ("symbol", "our name", "what it is", "elsewhere"))
    rows = "".join(
        f'<tr id="{entry.key}"><td class="sign">{mathml.inline(entry.symbol, unlinked)}</td><td>{ours(entry)}</td>'
        f"<td><strong>{escape(entry.name)}.</strong> {explained(book, entry)}</td><td>{escape(entry.others)}</td></tr>"
        for entry in glossary().values()
    )
    table = f'<table class="glossary"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return book.framed(GLOSSARY, "glossary", f'<main class="list wide"><header>{ABOUT_GLOSSARY}</header>{table}</main>')


def ours(entry: Entry) -> str:
    return ", ".join(f"<code>{name}</code>" for name in entry.code)


def explained(book: Book, entry: Entry) -> str:
    """What it is, with the symbols of a file that knows it linked."""
    path = next(path for path in book.paths if path.startswith(entry.folders))
    return book.setter(path, GLOSSARY).inline(entry.text)


def cards() -> Iterator[tuple[str, str]]:
    """What the pointer shows on a symbol, by key."""
    for entry in glossary().values():
        sign = f'<span class="sign">{mathml.inline(entry.symbol, unlinked)}</span>'
        others = f'<p class="others">Elsewhere: {escape(entry.others)}.</p>' if entry.others else ""
        head = f"<p>{sign} {ours(entry)} <strong>{escape(entry.name)}</strong></p>"
        yield entry.key, f"{head}<p>{escape(entry.text)}</p>{others}"


# -- the papers --------------------------------------------------------------------------------------------------------


def papers_page(book: Book) -> str:
    sections = "".join(paper_section(book, paper) for paper in papers())
    body = f'<main class="list wide"><header>{ABOUT_PAPERS}</header>{sections}</main>'
    return book.framed(PAPERS, "the papers' equations", body)


def paper_section(book: Book, paper: Paper) -> str:
    link = book.linker(paper.files[-1], PAPERS)
    rows = "".join(
        f'<tr id="{line.number}"><td class="number">({line.number})</td>'
        f"<td>{escape(line.what)}{mathml.display(line.statement, link)}</td><td>{computed(book, line.number)}</td></tr>"
        for line in paper.equations
    )
    source = f' <a href="https://arxiv.org/abs/{paper.arxiv}">arXiv {paper.arxiv}</a>.' if paper.arxiv else ""
    note = book.setter(paper.files[0], PAPERS).inline(paper.note)
    return (
        f'<section id="paper-{paper.key}"><h2>{escape(paper.title)}</h2>'
        f'<p>{escape(paper.authors)}.{source} {note}</p><table class="papers">{rows}</table></section>'
    )


def computed(book: Book, number: str) -> str:
    """Links to the lines that compute an equation."""
    links = []
    for path in book.paths:
        for row, line in displayed(book.sources[path]):
            numbers = {known.number for known in (quoted(s, path) for s in line.statements) if known}
            if number in numbers:
                name = f"{path.rpartition('/')[2]}:{row.code[0]}"
                links.append(f'<a href="{page_of(path)}#L{row.code[0]}"><code>{name}</code></a>')
    return ", ".join(links)
