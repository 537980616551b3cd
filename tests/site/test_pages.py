"""The pages in Chromium, opened from disk and without a network: formulas are set, searches find, nothing overflows."""

import shutil

import pytest

from tests.site.html_page import SITE

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
"""
SIZES = {"desktop": (1400, 1000), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.exit("chromium is not on the PATH; on Debian `apt-get install chromium` puts it there", 1)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    """tab(size="desktop", scheme="light") -> a tab. Errors in it, and requests but for files, fail the test."""
    contexts, wrong = [], []

    def tab(size="desktop", scheme="light"):
        width, height = SIZES[size]
        viewport = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=viewport, offline=True, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(error.stack or str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else wrong.append(request.url)
        )
        return page

    yield tab
    for context in contexts:
        context.close()
    assert wrong == []


FORMULAS = """async () => {
  if (window.MathJax) await MathJax.startup.promise;
  return [document.querySelectorAll(".math").length, document.querySelectorAll(".math mjx-container svg").length,
          document.querySelectorAll("mjx-merror, [data-mjx-error]").length];
}"""


@pytest.mark.parametrize("size", SIZES)
def test_every_page_fits_its_screen_with_its_formulas_set_and_its_pictures_there(tab, pages, size):
    page = tab(size)
    wide, unset, missing = [], [], []
    for name in sorted(set(pages) - {"index.html", "explorer.html"}):
        page.goto((SITE / name).as_uri())
        written, set_, errors = page.evaluate(FORMULAS)
        if set_ < written or errors:
            unset.append(f"{name}: {set_} of {written}, {errors} errors")
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
        missing += page.evaluate("[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)")
    assert (wide, unset, missing) == ([], [], [])


def test_there_are_formulas_to_be_set(tab):
    page = tab()
    page.goto((SITE / "notebooks/06_sophia_step_by_step.html").as_uri())
    written, set_, _ = page.evaluate(FORMULAS)
    assert set_ >= written > 10


def test_the_address_of_the_site_opens_its_first_page(tab):
    page = tab()
    page.goto((SITE / "index.html").as_uri())
    page.wait_for_url("**/docs/index.html")
    assert page.locator(".door").count() == 3


@pytest.mark.parametrize(("word", "expected"), [("Hutchinson", "04"), ("sophia_update", "Optimizers")])
def test_a_search_from_disk_finds_pages(tab, word, expected):
    page = tab()
    page.goto((SITE / "search.html").as_uri() + f"?q={word}")
    page.wait_for_selector("#search-results li")
    page.wait_for_timeout(500)
    assert any(expected in text for text in page.locator("#search-results li").all_inner_texts())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_follow_the_reader_and_the_button(tab, scheme):
    page = tab(scheme=scheme)
    page.goto((SITE / "docs/gallery.html").as_uri())

    def shown():
        names = page.evaluate("[...document.images].filter((i) => i.offsetParent).map((i) => i.src)")
        names = [name for name in names if "explorer" not in name]
        return {"dark" if "-dark" in name else "light" for name in names}

    assert shown() == {scheme}
    for _ in range(3):  # from what the system says to each of the other two, and back
        page.locator(".content-icon-container .theme-toggle").click()
        chosen = page.evaluate("document.body.dataset.theme")
        assert shown() == {scheme if chosen == "auto" else chosen}


def test_a_solution_is_folded_and_unfolds(tab):
    page = tab()
    page.goto((SITE / "notebooks/02_newton_and_its_saddle_trap.html").as_uri())
    solution = page.locator("article details:has(summary:text-is('Solution'))").first
    code = solution.locator("pre")
    assert not code.is_visible()
    solution.locator("summary").click()
    assert code.is_visible()
    assert "after_one" in code.inner_text()


def test_the_explorer_is_alive(tab):
    page = tab()
    page.goto((SITE / "docs/index.html").as_uri())
    page.get_by_role("link", name="Explorer").click()
    page.wait_for_function("S.frame !== null")
