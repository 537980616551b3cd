"""Claim 1 once more at 3 and 30 million parameters, trained on a GPU by benchmarks/gpu_claims.py, which leaves its
numbers in gpu.json beside the other claims'. This is what the page shows of them; nothing here needs a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sophia_ref.claims.claim import number
from sophia_ref.claims.half_the_steps import draw, tables, verdict
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import FolderError
from sophia_ref.files import replacing
from sophia_ref.report import markdown_table

NAME = "gpu"
Entry = Mapping[str, Any]
TITLE = "## At a larger scale, on a GPU"
NONE = (
    "No run at a larger scale has been made, as no GPU was to be had; on one, `python benchmarks/gpu_claims.py --text "
    "FILE --output FOLDER` makes it, for models of 3 and 30 million parameters, and puts it on the page of the folder."
)


def load(folder: Path) -> Entry | None:
    """What gpu_claims left in the folder of claims. Raises FolderError for a file that is none of its."""
    path = folder / f"{NAME}.json"
    if not path.exists():
        return None
    try:
        entry: Entry = json.loads(path.read_bytes())
        if not {"machine", "text", "seeds", "trials", "quick", "sizes"} <= entry.keys():
            raise ValueError("something is missing")
        return entry
    except (ValueError, AttributeError) as error:
        raise FolderError(f"{path}: not what gpu_claims.py leaves ({error!r:.100}); remove the file") from None


def keep(folder: Path, entry: Entry) -> list[Path]:
    """Write the numbers and the pictures of them, light and dark; their paths."""
    from sophia_ref.plots.style import small_png

    paths = [folder / f"{NAME}.json"]
    with replacing(paths[0]) as file:
        file.write(json.dumps(entry, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    for size, found in entry["sizes"].items():
        for suffix, dark in (("", False), ("-dark", True)):
            paths.append(folder / f"{NAME}-{size}{suffix}.png")
            with replacing(paths[-1]) as file:
                file.write(small_png(draw(found["numbers"], dark), dpi=110))
    return paths


def section(folder: Path) -> str:
    """The part of the page: what was trained where, a picture and tables for each size, or that there is none."""
    entry = load(folder)
    if entry is None:
        return f"{TITLE}\n\n{NONE}"
    quick = " **This is a quick run, too short to conclude anything.**" if entry["quick"] else ""
    text = entry["text"]
    parts = [
        TITLE,
        f"*Experiment.* Claim 1 with larger models, on {entry['machine']}, in {entry['precision']}: GPTs on the bytes "
        f"of {text['name']} ({text['bytes']:,}, SHA-256 {text['sha256'][:12]}), trained by the PyTorch port "
        f"(`benchmarks/gpu_claims.py`). {entry['trials']} trials of each method for each run length, from the same "
        f"Sobol sequence over the same ranges as above, on a seed and held-out data of their own; then the best with "
        f"{len(entry['seeds'])} other seeds. Signum is Sophia without curvature.{quick}",
    ]
    for size, found in entry["sizes"].items():
        parts += _of_size(size, found, folder.name)
    return "\n\n".join(parts)


def _of_size(size: str, found: Mapping[str, Any], folder: str) -> list[str]:
    numbers = found["numbers"]
    judged = verdict(numbers)
    picture = f"{folder}/{NAME}-{size}"
    parts = [
        f"### {found['parameters']:,} parameters",
        f"**{judged.outcome.capitalize()}.** ({judged.counts}.) {judged.why} *Regime:* {found['parameters']:,} "
        f"parameters, {found['batch'] * found['context']:,} tokens a step, "
        f"T = {', '.join(map(str, numbers['lengths']))} steps.",
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{picture}-dark.png">'
        f'<img alt="{found["parameters"]:,} parameters on a GPU" src="{picture}.png"></picture>',
    ]
    for title, header, rows in tables(numbers):
        title = title.replace("a character", "a byte")
        parts.append(f"{title}:\n\n{markdown_table(header, rows)}")
    base = found["steps"]["AdamW"]
    rows = [
        (
            label(method),
            f"{number(step['ms'], '.2f')} [{number(step['low'], '.2f')}, {number(step['high'], '.2f')}]",
            number(step["ms"] / base["ms"], ".3f"),
            "—" if step["peak_bytes"] is None else f"{step['peak_bytes'] / 1e6:,.0f}",
        )
        for method, step in found["steps"].items()
    ]
    header = ("method", "ms a step, its share of curvature in it", "of AdamW's", "MB at most")
    return [*parts, f"Time and memory of a step:\n\n{markdown_table(header, rows)}"]
