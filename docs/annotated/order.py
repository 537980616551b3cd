"""The reading order, which is the table of the README."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Chapter:
    what: str
    files: tuple[str, ...]  # from the root of the repository
    minutes: str


def reading_order(root: Path = ROOT) -> list[Chapter]:
    """The chapters of the README's section "Reading the code".

    A name in backquotes that ends with a slash is the folder of the names behind it; with none behind it, it stands for
    all its modules.
    """
    section = (root / "README.md").read_text(encoding="utf-8").split("## Reading the code\n")[1].split("\n## ")[0]
    chapters = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and "`" in cells[1]:
            files = tuple(files_of(re.findall(r"`([^`]+)`", cells[1]), root))
            chapters.append(Chapter(re.sub(r" \(\[[^]]+\]\([^)]+\)\)", "", cells[0]), files, cells[2]))
    return chapters


def files_of(names: list[str], root: Path) -> list[str]:
    files, folder = [], ""
    for name, following in zip(names, [*names[1:], "/"], strict=True):
        if name.endswith("/") and "/" in following:
            modules = sorted((root / name).glob("*.py"), key=lambda path: (path.name != "__init__.py", path.name))
            files += [f"{name}{path.name}" for path in modules]
        elif name.endswith("/"):
            folder = name
        elif "/" in name:
            files.append(name)
        else:
            files.append(folder + name)
    return files
