"""The annotated pages: nothing of a source is lost, every link leads somewhere, and what is quoted is computed."""

import doctest
import importlib
import pkgutil
import posixpath
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from urllib.parse import urldefrag

import pytest

import docs.annotated
from docs.annotated.book import page_of
from docs.annotated.glossary import entry_of, glossary, markdown
from docs.annotated.notation import read_line
from docs.annotated.order import ROOT, reading_order
from docs.annotated.pages import pages as all_pages
from docs.annotated.pages import write
from docs.annotated.papers import papers
from docs.annotated.source import Source
from docs.annotated.tree import (
    Symbol,
    walk,
)
from sophia_ref.conformance.dialects import DIALECTS

FILES = [path for chapter in reading_order() for path in chapter.files]


@pytest.fixture(scope="module")
def pages():
    return dict(all_pages())


@pytest.fixture(scope="module")
def trees(pages):
    """The pages as XML, which is stricter than HTML."""
    trees = {}
    for name, text in pages.items():
        if name.endswith(".html"):
            doctype, _, rest = text.partition("\n")
            assert doctype == "<!DOCTYPE html>"
            trees[name] = ET.fromstring(rest)
    return trees


def of_class(tree, name):
    return [element for element in tree.iter() if name in element.get("class", "").split()]


def text_of(element):
    return "".join(element.itertext())


def test_the_reading_order_of_the_readme_is_read_whole():
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Reading the code")[1].split("\n## ")[0]
    named = re.findall(r"`([\w/]+\.py)`", table)
    assert all(any(f"/{path}".endswith(f"/{name}") for path in FILES) for name in named)
    assert len(FILES) == len(set(FILES)) > 30
    assert FILES[0] == "sophia_ref/optimizers/sophia.py"
    assert all((ROOT / path).is_file() for path in FILES)
    assert {
        f"sophia_ref/autodiff/rules/{path.name}" for path in (ROOT / "sophia_ref/autodiff/rules").glob("*.py")
    } <= set(FILES)


@pytest.mark.parametrize("path", FILES)
def test_every_line_of_a_source_is_code_on_the_right_or_prose_on_the_left(path, trees):
    source = Source.read(ROOT, path)
    shown = {int(line.get("id")[1:]): text_of(line) for line in of_class(trees[page_of(path)], "line")}
    for number, text in shown.items():
        assert text == source.lines[number - 1] + "\n"
    assert list(shown) == sorted(shown)
    prose = [piece for row in source.rows for piece in row.prose]
    prose += [source.docstring] if source.docstring else []
    aside = [number for piece in prose for number in range(piece.first, piece.last + 1)]
    assert len(aside) == len(set(aside))
    assert not set(aside) & shown.keys()
    lost = [n for n, text in enumerate(source.lines, 1) if text.strip() and n not in shown and n not in aside]
    assert lost == []


@pytest.mark.parametrize("path", FILES)
def test_no_word_of_the_prose_is_lost(path, trees):
    source, tree = Source.read(ROOT, path), trees[page_of(path)]
    left = " ".join(
        text for part in ("lead", "prose") for element in of_class(tree, part) for text in element.itertext()
    )
    words = set(re.findall(r"[A-Za-z]{5,}", left))
    prose = [piece.text for row in source.rows for piece in row.prose] + [
        source.docstring.text if source.docstring else ""
    ]
    said = {word for text in prose for word in re.findall(r"[A-Za-z]{5,}", text)}
    assert {
        word for word in said - words if word not in ("theta", "gamma", "lambda", "Sigma", "delta", "alpha")
    } == set()


def test_every_link_leads_somewhere(trees):
    anchors = {name: [e.get("id") for e in tree.iter() if e.get("id")] for name, tree in trees.items()}
    for name, ids in anchors.items():
        assert len(ids) == len(set(ids)), name
    files = {*trees, "style.css", "theme.js", "annotated.js", "cards.js"}
    links = 0
    for name, tree in trees.items():
        for element in tree.iter():
            for address in filter(None, (element.get("href"), element.get("src"))):
                if address.startswith("https://arxiv.org/abs/"):
                    assert name == "papers.html"
                    continue
                links += 1
                path, fragment = urldefrag(address)
                target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
                assert target in files, (name, address)
                assert not fragment or fragment in anchors[target], (name, address)
    assert links > 5000


def test_every_definition_can_be_linked_to(trees):
    for path in FILES:
        ids = {element.get("id") for element in trees[page_of(path)].iter()}
        assert Source.read(ROOT, path).definitions.keys() - {"_"} <= ids


def test_names_in_code_and_prose_lead_to_their_definitions(pages):
    sophia = pages["sophia_ref/optimizers/sophia.html"]
    assert 'href="../curvature.html#hutchinson"' in sophia
    assert 'href="base.html#Optimizer.begin"' in sophia  # self.begin, of the base class
    assert 'href="../../papers.html#S8"' in sophia
    assert 'href="../../glossary.html#gamma"' in sophia
    assert 'href="layers.html"' in pages["toy_problems/transformer.html"]  # layers.py, in prose


def test_every_equation_of_the_papers_is_quoted_by_a_line_of_code(trees):
    rows = {row.get("id"): row for row in trees["papers.html"].iter("tr")}
    for paper in papers():
        assert set(paper.files) <= set(FILES)
        for equation in paper.equations:
            assert re.search(r"\w+\.py:\d+", text_of(rows[equation.number])), equation


def test_every_symbol_of_a_paper_is_in_the_glossary():
    for paper in papers():
        for equation in paper.equations:
            for part in walk(equation.statement):
                if isinstance(part, Symbol) and part.name not in {
                    "z",
                    "i",
                    "j",
                    "b",
                    "I",
                    "D_bar",
                }:  # bound, or explained
                    assert entry_of(part.name, paper.files[0]), (equation.what, part)


def test_the_glossary_knows_what_the_dialects_call_things():
    for entry in glossary().values():
        for dialect in re.findall(r"(\w+) in official", entry.others):
            assert dialect in DIALECTS["official"].settings
    assert "rho in official" in glossary()["gamma"].others
    assert "clip_threshold in optax" in glossary()["rho"].others
    assert "hess_interval in labml" in glossary()["k"].others


def test_the_glossary_of_the_site_is_made_from_the_same_data():
    assert (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8") == markdown(), "make docs/glossary.md"


def test_the_pages_are_written_with_all_they_need_and_say_where_the_site_is(tmp_path):
    files = write(tmp_path / "annotated", site="../index.html")
    assert {path.relative_to(tmp_path / "annotated").as_posix() for path in files} >= {page_of(path) for path in FILES}
    assert {path.name for path in (tmp_path / "annotated").iterdir()} >= {
        "style.css",
        "theme.js",
        "annotated.js",
        "cards.js",
    }
    assert '<a href="../../../index.html">sophia-ref</a>' in (
        tmp_path / "annotated/sophia_ref/optimizers/sophia.html"
    ).read_text(encoding="utf-8")


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "precious.txt").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "docs.annotated", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"output: {tmp_path}; expected" in done.stderr
    assert (tmp_path / "precious.txt").exists()


def test_no_page_asks_the_network_for_anything(pages):
    for name, text in pages.items():
        assert not re.search(r'(?:src|rel="stylesheet" href)="(?:https?:)?//', text), name
    style = (ROOT / "docs/annotated/static/style.css").read_text(encoding="utf-8")
    assert re.findall(r"url\(([^)]+)\)", style) == ['"mathematics.woff2"']


@pytest.mark.parametrize(
    ("comment", "statements"),
    [
        ("m_t = β₁ m_{t-1} + (1 - β₁) g_t", 1),
        ("m̂_t = m_t / (1 - β₁ᵗ),  v̂_t = v_t / (1 - β₂ᵗ)", 2),
        ("x_bar = y_bar W^T        W_bar = x^T y_bar", 2),
        ("q = clip(c / s, ρ), to the letter: it climbs where s < 0", 1),
        ("the paper's t mod k = 1 would never hold for k = 1", 0),
        ("every row of y_bar is added to the row that it came from", 0),
        ("In row j and column i, a key j after the query i gets the weight exp(-inf).", 0),
        ("ρ = 1 in the paper", 0),
    ],
)
def test_a_comment_is_an_equation_only_where_it_begins_as_one(comment, statements):
    assert len(read_line(comment)[0]) == statements


@pytest.mark.parametrize("name", [info.name for info in pkgutil.iter_modules(docs.annotated.__path__)])
def test_examples_in_docstrings_run(name):
    if name != "__main__":
        assert doctest.testmod(importlib.import_module(f"docs.annotated.{name}")).failed == 0
