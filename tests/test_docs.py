"""What the pages in docs/ show at a prompt is what comes out; and what the site's own tools promise."""

import doctest
import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if ">>> " in path.read_text(encoding="utf-8")]


def test_there_are_pages_with_a_prompt():
    assert DOCS / "start.md" in PAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_what_a_page_shows_at_a_prompt_comes_out(page):
    # a fence ends an example as a blank line does
    text = page.read_text(encoding="utf-8").replace("\n```", "\n\n```")
    examples = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    results = doctest.DocTestRunner(optionflags=FLAGS).run(examples)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize("path", sorted((DOCS / "_ext").glob("*.py")), ids=lambda path: path.stem)
def test_the_examples_of_the_tools_of_the_site_run(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    results = doctest.testmod(module, optionflags=FLAGS)
    assert not results.failed
    assert results.attempted or path.stem == "neighbours"
