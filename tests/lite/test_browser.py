"""The site in Chromium: a notebook opens, its cells run, pictures and sliders appear, and no other host is asked."""

import functools
import http.server
import shutil
import threading

import pytest

from tests.lite.sites import SITES

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
"""
PATIENCE = 180_000  # milliseconds; on an idle machine Python and its libraries take ten seconds


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address():
    """Where the site is served, on this machine alone."""
    handler = functools.partial(Quiet, directory=SITES["offline"])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def page(address):
    """A tab. Errors in it and requests to another host fail the test."""
    if CHROMIUM is None:
        pytest.exit("chromium is not on the PATH; on Debian `apt-get install chromium` puts it there", 1)
    wrong = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: wrong.append(error.stack or str(error)))
        page.on("request", lambda request: wrong.append(request.url) if elsewhere(request.url, address) else None)
        yield page
        browser.close()
    assert wrong == []


def elsewhere(url, address):
    return not url.startswith((address, "data:", "blob:"))


def choose(page, menu, item):
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def test_the_first_notebook_runs(page, address):
    page.goto(f"{address}lab/index.html?path=notebooks/00_start_here.ipynb")
    notebook = page.locator(".jp-Notebook")
    page.get_by_text("You run this in your browser.").wait_for()
    choose(page, "Edit", "Clear Outputs of All Cells")
    assert notebook.locator("img").count() == 0
    choose(page, "Run", "Run All Cells")
    notebook.locator(".jp-OutputArea-output img").first.wait_for()
    width = "(image) => image.complete && image.naturalWidth"
    assert notebook.locator(".jp-OutputArea-output img").first.evaluate(width) > 800
    # the last cell has run: its exercise is not answered
    notebook.get_by_text('check("00.3", clip)').wait_for()
