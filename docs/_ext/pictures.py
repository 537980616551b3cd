"""Pictures in light and dark: <picture>, which GitHub understands, becomes two images that follow the reader's choice.

The theme has a button for light and dark, of which a <picture> would know nothing; and Sphinx copies the files of
images, but not those that HTML names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PICTURE = re.compile(r"<picture>\s*<source ([^>]*)>\s*<img ([^>]*)>\s*</picture>")
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


def markdown(match: re.Match[str]) -> str:
    """
    >>> html = '<picture><source srcset="x-dark.png"><img alt="An x" src="x.png"></picture>'
    >>> PICTURE.sub(markdown, html)
    '![An x](x.png){.only-light}\\n![An x](x-dark.png){.only-dark}'
    """
    source, image = (dict(ATTRIBUTE.findall(part)) for part in match.groups())
    light, dark = image["src"], source["srcset"]
    return f"![{image['alt']}]({light}){{.only-light}}\n![{image['alt']}]({dark}){{.only-dark}}"


def rewrite(app: Any, docname: str, source: list[str]) -> None:
    if Path(app.env.doc2path(docname)).suffix == ".md":
        source[0] = PICTURE.sub(markdown, source[0])


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", rewrite)
    return {"parallel_read_safe": True}
