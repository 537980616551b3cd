"""What belongs to the site and is not written by Sphinx: the explorer, and what other targets build in out/.

The explorer is one page, made here. Where out/annotated (the annotated source) or out/lite (the notebooks that run in
the browser) is there it is copied into the site, and the tag of its name is set, so that a page can speak of it:
`{only} annotated`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

NAMES = ("annotated", "lite")


def tell(app: Any) -> None:
    for name in NAMES:
        if (Path(app.srcdir) / "out" / name / "index.html").exists():
            app.tags.add(name)


def add(app: Any, error: Exception | None) -> None:
    if error:
        return
    from sophia_ref.plots import explore

    site = Path(app.outdir)
    (site / "explorer.html").write_text(explore().html, encoding="utf-8")
    for name in NAMES:
        shutil.rmtree(site / name, ignore_errors=True)
        if app.tags.has(name):
            shutil.copytree(Path(app.srcdir) / "out" / name, site / name)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", tell)
    app.connect("build-finished", add)
    return {"parallel_read_safe": True}
