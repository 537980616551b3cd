"""What a training leaves in its folder, and finds there when it goes on: settings, log, picture, beside checkpoints.

The log is what a run without a break would have written. A checkpoint knows all of it but the validation losses, and
those stand in the log itself, which is on the disk before the checkpoint of the same step.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sophia_ref import __version__
from sophia_ref.checkpoint import CheckpointError
from sophia_ref.files import replacing
from sophia_ref.snapshot import Snapshot
from toy_problems.text import language_reference

SETTINGS, LOG, PICTURE = "train.json", "log.csv", "curve.png"
MEBIBYTE, MOST_READ = 2**20, 2**30  # bytes of a text, to know it again


class Row(NamedTuple):
    """One step: loss on its batch, validation_loss after it (NaN where not measured), learning rate lr, cost in
    gradient-equivalents so far, share of coordinates that were not clipped (NaN for rules that do not clip)."""

    step: int
    loss: float
    validation_loss: float
    lr: float
    cost: float
    unclipped: float


def new_folder(parent: Path, name: str) -> Path:
    """An empty folder of this name, with a number behind it if there is one already."""
    parent.mkdir(parents=True, exist_ok=True)
    folder, number = parent / name, 1
    while True:
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
            folder = parent / f"{name}-{number}"


def sweep(folder: Path) -> None:
    """Remove what a killed training left half-written; of its checkpoints, the next save does that."""
    for name in (SETTINGS, LOG, PICTURE):
        for stale in folder.glob(f".{name}.*.tmp"):
            with suppress(OSError):
                stale.unlink()


def fingerprint(path: str | None) -> str:
    """Size and SHA-256 of a file, or of the language reference if there is none. Of a file beyond 1 GiB it is the
    SHA-256 of every second, third, ... MiB, so that no more than 1 GiB is read."""
    if path is None:
        content = language_reference().encode()
        return f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}"
    size, checksum = Path(path).stat().st_size, hashlib.sha256()
    stride = max(1, -(-size // MOST_READ))
    with open(path, "rb") as file:
        for place in range(0, size, stride * MEBIBYTE):
            file.seek(place)
            checksum.update(file.read(MEBIBYTE))
    part = f" of one MiB in {stride}" if stride > 1 else ""
    return f"{size} bytes, SHA-256{part} {checksum.hexdigest()}"


def save_settings(folder: Path, arguments: Mapping[str, Any], text: str) -> None:
    """The arguments of the command by name, and the fingerprint of its text."""
    settings = {"sophia_ref": __version__, "arguments": dict(arguments), "text": text}
    with replacing(folder / SETTINGS) as file:
        file.write((json.dumps(settings, indent=2) + "\n").encode())


def load_settings(folder: Path) -> tuple[list[str], str]:
    """The arguments as they are typed, and the fingerprint. Raises ValueError for anything but a training's folder."""
    path = folder / SETTINGS
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} has no {SETTINGS}; expected the folder of a training")
    try:
        settings = json.loads(path.read_bytes())
        given = {name: value for name, value in settings["arguments"].items() if value is not None}
        return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()], settings["text"]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not as a training writes it ({error!r:.100})") from None


def line(row: Row) -> str:
    """A row as CSV, empty where something was not measured."""
    return ",".join("" if value != value else str(value) for value in row) + "\n"


def save_log(lines: Sequence[str], folder: Path) -> Path:
    """A CSV of these lines. (Made into lines once: a long training has many looks, and many rows.)"""
    with replacing(folder / LOG) as file:
        file.write("".join([",".join(Row._fields) + "\n", *lines]).encode())
    return folder / LOG


def load_log(folder: Path, here: Snapshot, lr: Callable[[int], float]) -> list[Row]:
    """The rows of the steps before a checkpoint. A log that has been removed leaves them without validation losses.

    Raises CheckpointError for a log that is not as save_log writes it.
    """
    path, validation = folder / LOG, {}
    try:
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                validation[int(row["step"])] = float(row["validation_loss"] or "nan")
    except FileNotFoundError:
        pass
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{str(path)!r} is not as a training writes it ({error!r:.100})") from None
    loss = here.log["losses"]
    cost = [*here.log["cost"], here.cost]  # entry t is that after step t
    unclipped = [*here.log["unclipped"], 1 - here.clipped.mean()]
    return [
        Row(t, float(loss[t - 1]), validation.get(t, np.nan), lr(t), float(cost[t]), float(unclipped[t]))
        for t in range(1, here.t + 1)
    ]


def save_picture(rows: Sequence[Row], opt: Any, unit: str, folder: Path) -> Path:
    """The losses by step, in nats a `unit` of text, and, for rules that clip, the share of coordinates not clipped."""
    from sophia_ref.plots import figure, save, style_of
    from sophia_ref.plots.style import dress

    steps, loss, validation, _, _, unclipped = np.array(rows).T
    panels = 2 if np.isfinite(unclipped).any() else 1
    fig = figure(5.5 * panels, 4)
    style, seen = style_of(opt), np.isfinite(validation)
    sparse = max(1, np.count_nonzero(seen) // 20)
    losses, *share = fig.subplots(1, panels, squeeze=False)[0]
    dress(losses)
    losses.plot(steps, loss, color=style["color"], alpha=0.4, linewidth=1, label="batches it trains on")
    held_out = {"color": style["color"], "marker": style["marker"], "markevery": sparse, "label": "held-out text"}
    losses.plot(steps[seen], validation[seen], **held_out)
    losses.set(xlabel="step", ylabel=f"loss (nats a {unit})", title=style["label"])
    losses.legend(frameon=False)
    for ax in share:
        dress(ax)
        ax.plot(steps, unclipped, color=style["color"])
        ax.set(xlabel="step", ylabel="share of coordinates that were not clipped", ylim=(0, 1))
    return save(fig, folder / PICTURE)
