"""The annotated pages as readers see them: light and dark, desk and phone, with a pointer and without scripts."""

import json

import pytest

from docs.annotated.pages import write

DESK, PHONE = (1400, 900), (390, 844)
SHOWN = ["index.html", "glossary.html", "papers.html", "sophia_ref/optimizers/sophia.html", "toy_problems/layers.html"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages") / "annotated"
    write(folder)
    return folder


@pytest.fixture
def show(browser, folder):
    """show(page, size, scheme) -> a Playwright page. Errors in it, and requests but for files, fail the test."""
    contexts, errors, requests = [], [], []

    def show(page, size=DESK, scheme="light", **options):
        viewport = {"width": size[0], "height": size[1]}
        context = browser.new_context(viewport=viewport, color_scheme=scheme, offline=True, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto((folder / page).as_uri())
        return tab

    yield show
    for context in contexts:
        context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith("file:")] == []


def brightness(tab):
    red, green, blue = map(
        int, tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3)")
    )
    return (red + green + blue) / 3


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_no_page_is_wider_than_the_window(show, folder, size):
    tab = show("index.html", size)
    for path in sorted(folder.rglob("*.html")):
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= size[0], path.name
        hidden = tab.evaluate("""() => [...document.querySelectorAll(".line, .prose, .prose p")].filter(
            (element) => element.getBoundingClientRect().right > innerWidth + 1).length""")
        assert hidden == 0, path.name


@pytest.mark.parametrize("page", SHOWN)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_follow_the_scheme_and_mathematics_is_drawn(show, page, scheme):
    tab = show(page, scheme=scheme)
    assert (brightness(tab) > 200) == (scheme == "light")
    assert (brightness(tab) < 50) == (scheme == "dark")
    sizes = tab.evaluate("""() => [...document.querySelectorAll("math")].map((math) => {
        const box = math.getBoundingClientRect();
        return [box.width, box.height];
    })""")
    assert len(sizes) >= 2
    assert all(width > 4 and height > 4 for width, height in sizes)
    tab.evaluate("document.fonts.ready")
    assert tab.evaluate('document.fonts.check("16px STIX Two Math", "𝜃")')
    assert tab.evaluate("[...document.fonts].every((font) => font.status === 'loaded')")


def test_an_equation_stands_beside_its_line_and_scrolls_on_a_phone_at_most(show):
    tab = show("sophia_ref/optimizers/sophia.html")
    rows = json.loads(
        tab.evaluate("""() => JSON.stringify([...document.querySelectorAll(".row")].flatMap((row) => {
        const equation = row.querySelector(".equation"), line = row.querySelector(".line");
        if (!equation || !line) return [];
        const [left, right] = [equation, line].map((element) => element.getBoundingClientRect());
        return [{ apart: right.left - left.right, down: (left.top + left.bottom - right.top - right.bottom) / 2,
            cut: equation.scrollWidth - equation.clientWidth, tall: left.height }];
    }))""")
    )
    assert len(rows) >= 5
    for row in rows:
        assert row["apart"] >= 0  # prose left, code right
        assert row["cut"] <= 0
        assert abs(row["down"]) <= row["tall"]
    tab = show("sophia_ref/optimizers/sophia.html", PHONE)
    below = tab.evaluate("""() => [...document.querySelectorAll(".row")].every((row) => {
        const [left, right] = [...row.children].map((cell) => cell.getBoundingClientRect());
        return left.height === 0 || right.height === 0 || right.top >= left.bottom - 1;
    })""")
    assert below


def test_a_symbol_shows_its_card_and_its_other_places_and_leads_to_the_glossary(show):
    tab = show("sophia_ref/optimizers/sophia.html")
    assert tab.locator("#card").is_hidden()
    symbol = tab.locator('.equation .symbol[data-key="gamma"]').first
    symbol.hover()
    card = tab.locator("#card")
    assert card.is_visible()
    assert "curvature scale" in card.inner_text()
    assert "rho in official" in card.inner_text()
    box = card.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= DESK[0]
    assert tab.locator('.code .lit[data-key="gamma"]').count() >= 2
    symbol.click()
    tab.wait_for_url("**/glossary.html#gamma")
    tab.go_back()
    tab.locator(".equation .number").last.click()
    tab.wait_for_url("**/papers.html#S*")
    row = tab.locator("tr:target")
    row.wait_for()
    row.locator("td").last.locator("a").first.click()
    tab.locator(".line:target").wait_for()


def test_the_switch_turns_light_to_dark_and_stays(show):
    tab = show("index.html")
    tab.locator("#theme").click()
    assert brightness(tab) < 50
    tab.locator("main a", has_text="sophia_ref/curvature.py").click()
    tab.wait_for_url("**/curvature.html")
    assert brightness(tab) < 50
    assert tab.evaluate("localStorage.getItem('theme')") == "dark"  # as furo has it
    tab.locator("#theme").click()
    assert brightness(tab) > 200


def test_without_scripts_all_but_the_switch_and_the_cards_is_there(show):
    tab = show("sophia_ref/optimizers/sophia.html", scheme="dark", java_script_enabled=False)
    assert tab.locator("#theme").is_hidden()
    assert tab.locator(".equation").count() >= 6
    assert "θ = theta" in tab.locator('.equation .symbol[data-key="theta"]').first.get_attribute("title")
    assert tab.locator(".line").first.is_visible()
