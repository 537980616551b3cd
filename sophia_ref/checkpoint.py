"""Checkpoints: a run that was killed goes on from its last file, bit for bit as if nothing had happened.

    saved = sr.Checkpoints("out/run", every=100)
    run = sr.run(task, opt, 1000, seed=3, checkpoint=saved, resume=saved.latest())

A checkpoint is a `Snapshot` in a file, in the format of `container`: theta, what the optimizer remembers and its
settings, where each stream of random numbers stands, which is also the position in the data, and the log so far. It
holds numbers and names, and a name never leads to code of others. All of it has to make sense, or it is refused.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sophia_ref import container
from sophia_ref.files import replacing
from sophia_ref.optimizers import description
from sophia_ref.optimizers.base import Array, integer
from sophia_ref.snapshot import STREAMS, Snapshot, Stream

NUMBERS = ("t", "seed", "record", "block", "clip_norm", "cost", "seconds")
FLOATS = ("float32", "float64")
NEEDED: dict[str, Callable[[Any], bool]] = {  # key of the header -> test
    "t": lambda x: type(x) is int and 0 <= x < 2**63,
    "seed": lambda x: type(x) is int and x >= 0,
    "record": lambda x: type(x) is int and 1 <= x < 2**63,
    "block": lambda x: type(x) is int and 1 <= x < 2**63,
    "trajectory": lambda x: type(x) is bool,
    "clip_norm": lambda x: x is None or (type(x) is float and x > 0),
    "cost": lambda x: type(x) is float and x >= 0,
    "seconds": lambda x: type(x) is float and x >= 0,
    "optimizer": lambda x: isinstance(x, dict),
    "streams": lambda x: isinstance(x, dict) and tuple(x) == STREAMS,
    "versions": lambda x: (
        isinstance(x, dict) and all(isinstance(v, str) and (k + v).isprintable() for k, v in x.items())
    ),
}


class CheckpointError(ValueError):
    """A file that is not a sound checkpoint, or a run that cannot be saved in one; the message names the file."""


def save(path: str | Path, snapshot: Snapshot) -> None:
    """Write a snapshot: the file is whole and on the disk when this returns, or as it was.

    Raises CheckpointError, before anything is written, for an optimizer or a setting that is not this package's and
    for a snapshot that `load` would refuse; OSError as open does.
    """
    import sophia_ref

    with _named(path):
        plain, settings = description.describe(snapshot.optimizer)
        arrays = {name: getattr(snapshot, name) for name in ("theta", "clipped", "diverged_at", "clipped_steps")}
        for room, members in (("state", _memory(snapshot)), ("optimizer", settings), ("log", snapshot.log)):
            arrays |= {f"{room}.{name}": array for name, array in members.items()}
        if foreign := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{foreign[0]} must be a NumPy array, got {arrays[foreign[0]]!r}")
        header = {name: getattr(snapshot, name) for name in NUMBERS}
        header["trajectory"] = "trajectory" in snapshot.log
        header["optimizer"] = plain
        header["streams"] = dict(zip(STREAMS, snapshot.streams, strict=True))
        header["versions"] = {
            "sophia_ref": sophia_ref.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        _snapshot(header, arrays)
        with replacing(path) as file:
            container.write(file, header, arrays)


def load(path: str | Path) -> Snapshot:
    """The snapshot in a file. Raises CheckpointError for anything but a sound checkpoint, OSError as open does."""
    with _named(path), open(path, "rb") as file:
        return _snapshot(*container.read(file))


def show(path: str | Path) -> list[tuple[str, str]]:
    """What is in a checkpoint, as rows of a name and a value. Raises as `load` does."""
    with _named(path), open(path, "rb") as file:
        header, arrays = container.read(file)
        _snapshot(header, arrays)
    rows = [("written by", ", ".join(" ".join(version) for version in header["versions"].items()))]
    rows += [(f"optimizer.{name}", json.dumps(value)) for name, value in header["optimizer"].items()]
    rows += [(name, str(header[name])) for name in NUMBERS]
    rows += [(f"stream {name}", str(list(stream))) for name, stream in header["streams"].items()]
    return rows + [(name, f"{array.dtype} {array.shape}") for name, array in arrays.items()]


@dataclass(frozen=True)
class Checkpoints:
    """A folder for the checkpoints of one run, and nobody else's: `run` saves into it at its start, every `every`
    steps, at its end, and, when a step fails, diverges or is interrupted, where it stood before that step. The last
    `keep` files stay.

    Raises TypeError or ValueError unless folder is a path, every and keep integers >= 1.
    """

    folder: str | Path
    every: int
    keep: int = 3

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str | Path):
            raise TypeError(f"Checkpoints: folder must be a path, got {self.folder!r}")
        for name in ("every", "keep"):
            object.__setattr__(self, name, integer(f"Checkpoints: {name}", getattr(self, name), 1))

    def paths(self) -> list[Path]:
        """The files of the folder, oldest step first."""
        return [path for _, path in self._files()]

    def latest(self) -> Snapshot | None:
        """The last snapshot, None if there is none yet. Raises as `load` does."""
        return load(self.paths()[-1]) if self.paths() else None

    def save(self, snapshot: Snapshot) -> Path:
        """Save a snapshot, then remove older ones and what a killed process has left half-written.

        Raises CheckpointError if the folder holds a later step, and as the function `save` does.
        """
        folder = Path(self.folder)
        path = folder / f"step-{snapshot.t:08d}.ckpt"
        for t, later in self._files():
            if t > snapshot.t:
                here = f"step {snapshot.t}, which was to be saved"
                raise CheckpointError(f"{later}: later than {here}; resume from it, or use another folder")
        save(path, snapshot)
        for stale in [*folder.glob(".step-*.ckpt.*.tmp"), *self.paths()[: -self.keep]]:
            with suppress(OSError):  # the next save tries again
                stale.unlink()
        return path

    def _files(self) -> list[tuple[int, Path]]:
        named = [(re.fullmatch(r"step-(\d+)\.ckpt", path.name), path) for path in Path(self.folder).glob("step-*.ckpt")]
        return sorted((int(match[1]), path) for match, path in named if match)


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """What is found wrong inside is a CheckpointError that names the file."""
    try:
        yield
    except RecursionError:
        raise CheckpointError(f"{path}: nested too deeply") from None
    except (TypeError, ValueError) as error:
        # what a file says may not write to the terminal of whoever reads of it
        message = "".join(c if c.isprintable() else "?" for c in str(error)[:500])
        raise CheckpointError(f"{path}: {message}") from None


def _memory(snapshot: Snapshot) -> dict[str, Array]:
    """The arrays that the optimizer remembers, by name."""
    return dict(zip(snapshot.state._fields[1:], snapshot.state[1:], strict=True))


def _snapshot(header: Mapping[str, Any], arrays: Mapping[str, Array]) -> Snapshot:
    """The snapshot that header and arrays describe; ValueError or TypeError unless every part is there and sound."""
    if header.keys() != NEEDED.keys():
        raise ValueError(f"the header must have the keys {', '.join(NEEDED)}, got {', '.join(header)}")
    for name, holds in NEEDED.items():
        if not holds(header[name]):
            raise ValueError(f"unsound {name} in the header, {header[name]!r}")
    streams = tuple(_stream(name, numbers) for name, numbers in header["streams"].items())
    rooms: dict[str, dict[str, Array]] = {"": {}, "state": {}, "optimizer": {}, "log": {}}
    for name, array in arrays.items():
        room, _, member = name.rpartition(".")
        rooms.get(room, rooms[""])[member if room in rooms else name] = array
    opt = description.build(header["optimizer"], rooms["optimizer"])
    _check_arrays(opt, header, arrays, rooms["optimizer"])
    numbers: dict[str, Any] = {name: header[name] for name in NUMBERS}
    own: dict[str, Any] = rooms[""]
    return Snapshot(
        **numbers,
        **own,
        state=opt.State(header["t"], *(rooms["state"][name] for name in opt.State._fields[1:])),
        optimizer=opt,
        streams=streams,
        log=rooms["log"],
    )


def _stream(name: str, numbers: Any) -> Stream:
    limits = Stream(2**128, 2**128, 2, 2**32, 2**32)
    if (
        not isinstance(numbers, list | tuple)
        or len(numbers) != len(limits)
        or any(type(n) is not int or not 0 <= n < limit for n, limit in zip(numbers, limits, strict=True))
    ):
        raise ValueError(f"stream {name} must be integers >= 0 below {list(limits)}, got {numbers!r}")
    return Stream(*numbers)


def _check_arrays(
    opt: Any, header: Mapping[str, Any], arrays: Mapping[str, Array], settings: Mapping[str, Array]
) -> None:
    """Refuse arrays of other names, shapes, dtypes and values than a run of `opt` has after t steps."""
    t, record = header["t"], header["record"]
    theta = arrays.get("theta")
    if theta is None or theta.ndim == 0 or theta.dtype.name not in FLOATS:
        raise ValueError("there must be an array theta, float32 or float64, of shape (..., P)")
    shape, lead, entries = theta.shape, theta.shape[:-1], -(-t // record)  # steps 0, record, ... before t
    own, counts = (theta.dtype.name,), ("int64",)
    expected: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
        "theta": (shape, own),
        "clipped": ((*lead, 1), ("float64",)),
        "diverged_at": (lead, counts),
        "clipped_steps": (lead, counts),
        **{f"state.{name}": (shape, own) for name in opt.State._fields[1:]},
        **{f"optimizer.{name}": (array.shape, (array.dtype.name,)) for name, array in settings.items()},
        "log.steps": ((entries,), counts),
        "log.losses": ((entries, *lead), FLOATS),
        "log.cost": ((entries,), ("float64",)),
        "log.unclipped": ((entries, *lead), ("float64",)),
    }
    if header["trajectory"]:
        expected["log.trajectory"] = ((entries, *shape), own)
    if arrays.keys() != expected.keys():
        wrong = sorted(arrays.keys() ^ expected.keys())[0]
        raise ValueError(f"array {wrong} is {'missing' if wrong in expected else 'not one of a checkpoint'}")
    for name, (wanted, dtypes) in expected.items():
        array = arrays[name]
        if array.shape != wanted:
            raise ValueError(f"array {name} must have shape {wanted}, got shape {array.shape}")
        if array.dtype.name not in dtypes:
            raise ValueError(f"array {name} must have dtype {' or '.join(dtypes)}, got {array.dtype}")
    for name in settings:
        opt.at(name, theta)  # refused unless it broadcasts

    diverged_at, clipped, steps = arrays["diverged_at"], arrays["clipped"], arrays["clipped_steps"]
    going = (diverged_at < 0)[..., None]
    for name, sound in {
        "theta": np.isfinite(theta),
        # what a row that has diverged remembers plays no part any more
        **{name: ~np.isnan(array) | ~going for name, array in arrays.items() if name.startswith("state.")},
        "diverged_at": (diverged_at == -1) | ((1 <= diverged_at) & (diverged_at <= t)),
        "clipped_steps": (steps >= 0) & (steps <= t),
        "clipped": np.isnan(clipped) | ((clipped >= 0) & (clipped <= 1)),
        "log.steps": arrays["log.steps"] == np.arange(0, t, record),
        "log.cost": np.isfinite(arrays["log.cost"]) & (arrays["log.cost"] >= 0),
    }.items():
        if not sound.all():
            at = tuple(int(i) for i in np.argwhere(~sound)[0])
            raise ValueError(f"array {name} has the unsound entry {arrays[name][at]} at {list(at)}")
