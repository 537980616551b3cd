"""The explorer and the annotated pages in headless Chromium: Debian's own, never one that Playwright downloads.
`make test-web` runs this."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from sophia_ref.plots import explore

CHROMIUM = shutil.which("chromium")
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
"""


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.exit("chromium is not on the PATH; on Debian `apt-get install chromium` puts it there", 1)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    """The page of the Figure 2 landscape, on disk."""
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(explore("sophia_fig2").html, encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser, file):
    """open_page(fragment="", **context) -> a page. Errors in it, and requests but for the file, fail the test."""
    contexts, errors, requests = [], [], []

    def open_page(fragment="", path=file, width=1280, height=860, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(error.stack or str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + fragment)
        page.wait_for_function("S.frame !== null")
        # Chromium drops what is typed and clicked until a page has been painted
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "about:"))] == []
