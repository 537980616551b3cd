"""Files that are whole or absent: written under a temporary name, synced to the disk, renamed, the name synced too."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when the block ends, and leaves no trace if it does not.

    >>> with replacing("out/table.csv") as file:   # doctest: +SKIP
    ...     file.write(b"step,loss")

    The folder is made if need be. Raises OSError as open does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp's own 0600 would hide the file from others
        os.replace(name, path)
    except BaseException as error:  # Ctrl-C too
        Path(name).unlink(missing_ok=True)  # it is gone if Ctrl-C came right after the renaming
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # an error of the disk says nothing of the file
        raise
    if os.name == "posix":  # Windows cannot open a folder
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the folder's list of names on the disk: until then a file may be lost with a power cut, whole as it is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
