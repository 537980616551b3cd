"""The site as `make docs` builds it, in out/site. `make test-docs` builds it, and runs these tests."""

import pytest

from tests.site.html_page import NEIGHBOURS, SITE, Page


def pytest_configure():
    if not (SITE / "index.html").exists():
        pytest.exit("out/site is not there; make docs builds it", 1)


@pytest.fixture(scope="session")
def pages():
    """name in the site -> Page, of all that Sphinx wrote."""
    paths = [path for path in SITE.rglob("*.html") if path.relative_to(SITE).parts[0] not in (*NEIGHBOURS, "_static")]
    return {path.relative_to(SITE).as_posix(): Page(path) for path in sorted(paths)}
