"""Where a command says what it has to say, and where what it writes goes."""

import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

PICTURES = (".png", ".svg", ".pdf")

Say = Callable[..., None]  # takes what print takes: cli.py alone prints


def picture(args: Namespace, name: str) -> Path:
    """The file that --output names, or the file `name` in that folder; the folder is there."""
    path = Path(args.output)
    if path.suffix not in PICTURES:
        path /= name
    make_folder(args, path.parent)
    return path


def make_folder(args: Namespace, folder: Path) -> None:
    """Make the folder of --output, or refuse the argument."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "is read-only"
    except (FileExistsError, NotADirectoryError):
        reason = "is in or on a file"
    except OSError as error:
        reason = f"cannot be made ({error.strerror})"
    if reason:
        given = str(args.output or folder)
        args.parser.error(f"argument --output: {given!r} {reason}; expected a folder that can be written to")
