"""Tables for the terminal, and a report in one HTML file that needs nothing else: opens from disk, light or dark."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

from sophia_ref.files import replacing

Row = Sequence[object]

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #59636e; --line: #d1d9e0; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --paper: #0d1117; --soft: #9198a1; --line: #3d444d; --card: #151b23; }
}
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1rem 4rem; background: var(--paper); color: var(--ink);
       font: 1rem/1.55 system-ui, sans-serif; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 3rem; } .soft, figcaption { color: var(--soft); font-size: .92rem; }
figure { margin: 1.5rem 0; } picture { display: block; overflow-x: auto; }
@media (max-width: 40rem) { picture img { max-width: none; width: 44rem; } }  /* or its letters would be too small */
img { max-width: 100%; height: auto; display: block; margin: 0 auto; border-radius: 6px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem;
      white-space: pre-wrap; overflow-wrap: anywhere; font-size: .88rem; }
.verdict { border-left: 4px solid var(--soft); background: var(--card); padding: .6rem 1rem; }
"""


def text_table(header: Row, rows: Sequence[Row]) -> str:
    """Columns padded to their widest entry.

    >>> print(text_table(["name", "loss"], [["AdamW", 2.25], ["Lion", 2.3]]))
    name   loss
    AdamW  2.25
    Lion   2.3
    """
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def html_table(header: Row, rows: Sequence[Row]) -> str:
    """The same as HTML, in a box that scrolls sideways on a narrow screen."""
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def figure(path: Path, description: str, caption: str, dark: Path | None = None) -> str:
    """An image inside the page, with another one for dark screens if there is one. description: for those who cannot
    see it."""
    source = f'<source srcset="{_data_uri(dark)}" media="(prefers-color-scheme: dark)">' if dark else ""
    image = f'<img src="{_data_uri(path)}" alt="{html.escape(description)}">'
    return f"<figure><picture>{source}{image}</picture><figcaption>{html.escape(caption)}</figcaption></figure>"


def write_page(path: Path, title: str, blocks: Sequence[str]) -> None:
    """Write blocks of HTML as one self-contained page."""
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>\n" + "\n".join(blocks) + "\n</body></html>\n"
    )
    with replacing(path) as file:
        file.write(page.encode())


def _data_uri(path: Path) -> str:
    kind = path.suffix.removeprefix(".")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
