"""Every link leads somewhere, nothing comes from elsewhere, and everything can be found."""

import json
import posixpath
import re
import zlib
from importlib import import_module
from urllib.parse import unquote, urlsplit

import pytest

from tests.site.html_page import NEIGHBOURS, ROOT, SITE, Page

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
MADE_BY_SCRIPTS = {"explorer.html"}  # whose links are not in its HTML


def parts(name, link):
    """(the file that a link on a page leads to, its anchor), by their names in the site; None for another host."""
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(url.path))) if url.path else name
    return path, unquote(url.fragment)


def test_every_link_and_every_anchor_within_the_site_exists(pages):
    known, broken = dict(pages), []
    for name, page in pages.items():
        for link in page.links:
            if (to := parts(name, link)) is None:
                continue
            path, anchor = to
            if not (SITE / path).is_file():
                broken.append(f"{name}: {link}")
            elif anchor and path.endswith(".html"):
                if path not in known:
                    known[path] = Page(SITE / path)
                if anchor not in known[path].anchors:
                    broken.append(f"{name}: {link}: no such anchor")
    assert broken == []


def test_links_to_other_hosts_are_links_over_https(pages):
    other = {link for page in pages.values() for link in page.links if urlsplit(link).scheme or urlsplit(link).netloc}
    assert {link for link in other if not re.match(r"https://[\w.-]+\.[a-z]+(/|$)|data:", link)} == set()


def test_no_page_loads_anything_from_another_host(pages):
    for name, page in pages.items():
        for link in page.loads:
            to = parts(name, link)
            assert link.startswith("data:") or (to and (SITE / to[0]).is_file()), f"{name} loads {link}"


def test_no_style_sheet_loads_anything_from_another_host():
    for path in (SITE / "_static").rglob("*.css"):
        for link in re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", path.read_text(encoding="utf-8")):
            url = "".join(link)
            assert url.startswith("data:") or (path.parent / urlsplit(url).path).is_file(), f"{path.name} loads {url}"


def test_every_page_can_be_reached_from_the_first(pages):
    seen, to_do = set(), ["index.html"]
    while to_do:
        name = to_do.pop()
        if name in seen or name not in pages:
            continue
        seen.add(name)
        to_do += [to[0] for link in pages[name].links if (to := parts(name, link))]
    assert set(pages) - seen <= {"search.html", "genindex.html"}  # one is a form, the other an index of names


def test_every_notebook_of_the_course_is_there_with_its_pictures_and_solutions(pages):
    assert NOTEBOOKS
    for stem in NOTEBOOKS:
        page = pages[f"notebooks/{stem}.html"]
        assert f"../notebooks/{stem}.html" in pages["docs/course.html"].links
        cells = json.loads((ROOT / "notebooks" / f"{stem}.ipynb").read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        assert len(page.images) >= sum("image/png" in output.get("data", {}) for output in outputs) > 0
        folded = sum("".join(cell["source"]).count("<details>") for cell in cells)
        assert page.counts["summary"] >= folded


def test_every_page_in_docs_is_on_the_site(pages):
    written = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert written <= set(pages)


def test_every_picture_says_what_it_shows_and_those_of_docs_exist_for_light_and_dark(pages):
    for name in ("docs/gallery.html", "docs/index.html", "docs/claims.html"):
        shown = pages[name].images
        assert all(image.get("alt") for image in shown)
        kinds = [image.get("class", "") for image in shown]
        assert sum("only-light" in kind for kind in kinds) == sum("only-dark" in kind for kind in kinds)
    assert sum("only-dark" in image.get("class", "") for image in pages["docs/gallery.html"].images) >= 10


@pytest.mark.parametrize("module", ["sophia_ref", "sophia_ref.plots", "sophia_ref.conformance"])
def test_every_public_name_is_in_the_reference(module):
    lines = (SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]
    described = {line.split()[0] for line in zlib.decompress(lines).decode().splitlines()}
    assert {f"{module}.{name}" for name in import_module(module).__all__} - described == set()


def test_what_is_built_beside_the_site_is_in_it_and_linked(pages):
    links = {to[0] for page in pages for link in pages[page].links if (to := parts(page, link))}
    assert "annotated/index.html" in links
    built = (ROOT / "out" / "lite" / "index.html").exists()
    assert (SITE / "lite" / "index.html").exists() == built == ("lite/lab/index.html" in links)


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_what_is_built_beside_the_site_leads_back_into_it(name):
    broken = []
    for path in sorted((SITE / name).rglob("*.html")):
        page = path.relative_to(SITE).as_posix()
        outside = (to[0] for link in Page(path).links if (to := parts(page, link)) and not to[0].startswith(f"{name}/"))
        broken += [f"{page}: {path}" for path in outside if not (SITE / path).is_file()]
    assert broken == []


def test_the_checker_sees_what_is_broken(tmp_path):
    path = tmp_path / "page.html"
    path.write_text('<a href="gone.html#x">x</a><p id="y"><script src="//cdn.example/x.js"></script><img src="p.png">')
    page = Page(path)
    assert (page.links, page.anchors, page.loads) == (["gone.html#x"], {"y"}, ["//cdn.example/x.js", "p.png"])
    assert parts("docs/a.html", "../b.html#c") == ("b.html", "c")
    assert parts("docs/a.html", "#c") == ("docs/a.html", "c")
    assert parts("docs/a.html", "//cdn.example/x.js") is None
