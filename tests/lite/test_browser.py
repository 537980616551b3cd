"""The sites in Chromium: a notebook opens, its cells run, pictures and sliders appear. One asks no other host,
and the other asks Pyodide's CDN for what is compiled."""

import functools
import http.server
import shutil
import threading

import pytest

from tests.lite.sites import CDN, SITES

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
"""
WIDGET = "application/vnd.jupyter.widget-view+json"
PATIENCE = 300_000  # milliseconds; on an idle machine Python and its libraries take ten seconds


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(params=SITES)
def site(request):
    return request.param


@pytest.fixture
def address(site):
    """Where the site is served, on this machine alone."""
    handler = functools.partial(Quiet, directory=SITES[site])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def asked():
    """The files that a tab asked of Pyodide's CDN, whose part is played here."""
    return set()


@pytest.fixture
def page(address, asked):
    """A tab. Errors in it and requests to other hosts fail the test."""
    if CHROMIUM is None:
        pytest.exit("chromium is not on the PATH; on Debian `apt-get install chromium` puts it there", 1)
    wrong = []

    def cdn(route):
        name = route.request.url.removeprefix(CDN)
        asked.add(name)
        route.fulfill(path=SITES["offline"] / "static" / "pyodide" / name, headers={"Access-Control-Allow-Origin": "*"})

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE)
        page.route("**/jupyter-lite.json", exposed)
        page.context.route(f"{CDN}*", cdn)
        page.on("pageerror", lambda error: wrong.append(error.stack or str(error)))
        near = (address, CDN, "data:", "blob:")
        page.on("request", lambda request: None if request.url.startswith(near) else wrong.append(request.url))
        yield page
        browser.close()
    assert wrong == []


def exposed(route):
    """The settings, with JupyterLab's own object made a global one."""
    settings = route.fetch().json()
    settings["jupyter-config-data"]["exposeAppInBrowser"] = True
    route.fulfill(json=settings)


def cells(page):
    """The code cells of the notebook that is open, as they would be saved."""
    notebook = page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON()")
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def choose(page, menu, item):
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


def test_a_notebook_runs_from_top_to_bottom(page, address, site, asked):
    page.goto(f"{address}lab/index.html?path=notebooks/00_start_here.ipynb")
    page.locator("blockquote", has_text="You run this in your browser.").wait_for()
    stored = cells(page)
    choose(page, "Edit", "Clear Outputs of All Cells")
    assert not any(cell["outputs"] for cell in cells(page))
    choose(page, "Run", "Run All Cells")
    last = page.locator(".jp-CodeCell", has_text=stored[-1]["source"].splitlines()[-1])
    last.get_by_text("Not answered yet.").wait_for()

    kinds = set()
    for before, now in zip(stored, cells(page), strict=True):
        assert now["source"] == before["source"]
        for output in now["outputs"]:
            assert output["output_type"] != "error", output
            assert output.get("name") != "stderr", output
            kinds |= set(output.get("data", {}))
        pictures = [any("image/png" in output.get("data", {}) for output in cell["outputs"]) for cell in (before, now)]
        assert pictures[1] == pictures[0] or WIDGET in kinds
    assert kinds >= {"image/png", WIDGET}

    page.keyboard.press("Control+Home")
    picture = page.locator(".jp-Notebook .jp-OutputArea-output img").first
    assert picture.evaluate("(image) => image.complete && image.naturalWidth") > 800
    page.screenshot(path=SITES[site].with_suffix(".png"))  # to be looked at

    compiled = {path.name for path in (SITES["offline"] / "static" / "pyodide").glob("*_wasm32.whl")}
    assert asked == (compiled if site == "online" else set())
