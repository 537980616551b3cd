"""The site of notebooks that run in the browser. `make test-lite` builds it, twice, and runs these tests.

out/lite loads compiled libraries from Pyodide's CDN. out/lite-offline has them, and is the one that is run here.
"""

import pytest

from tests.lite.sites import SITES


def pytest_configure():
    for site in SITES.values():
        if not (site / "jupyter-lite.json").exists():
            pytest.exit(f"{site} is not there; make test-lite builds it", 1)
