"""What belongs to the site and is not written by Sphinx: the explorer, and the notebooks that run in the browser.

The explorer is one page, made here. Where out/lite is there it is copied into the site, and the tag `lite` is set, so
that a page can speak of it: `{only} lite`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any


def lite(app: Any) -> Path:
    return Path(app.srcdir) / "out" / "lite"


def tell(app: Any, config: Any) -> None:
    """Before Sphinx compares the tags with those of its last build, and so knows which pages to write anew."""
    if (lite(app) / "index.html").exists():
        app.tags.add("lite")


def add(app: Any, error: Exception | None) -> None:
    if error:
        return
    from sophia_ref.plots import explore

    site = Path(app.outdir)
    (site / "explorer.html").write_text(explore().html, encoding="utf-8")
    shutil.rmtree(site / "lite", ignore_errors=True)
    if app.tags.has("lite"):
        shutil.copytree(lite(app), site / "lite")


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", tell)
    app.connect("build-finished", add)
    return {"parallel_read_safe": True}
