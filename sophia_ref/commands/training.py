"""A training: one optimizer on a language task, watched as it goes, and with everything saved to go on."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sophia_ref import checkpoint
from sophia_ref.commands.folder import SETTINGS, Row, line, load_log, save_log, save_picture
from sophia_ref.guard import Guard
from sophia_ref.optimizers import cosine
from sophia_ref.optimizers.description import same
from sophia_ref.oracle import Oracle
from sophia_ref.run import run
from sophia_ref.snapshot import STREAMS, Snapshot
from toy_problems import text

Array = Any
LOOKS = 20  # how often the validation loss is measured unless asked otherwise
PART = 8  # on how many batches
SAMPLED = 4  # at every fourth of these looks the model writes something
LINE = 36  # tokens, so that a line with losses before it fits 80 columns
CHARACTERS = 2**24  # bytes of a file whose characters can be tokens: they take 16 bytes each on the way
FIRST, SHARE = 5.0, 0.02  # seconds to the first picture; how much of the time may go into pictures


class Training(NamedTuple):
    """theta (P,) after the last whole step, the rows of the log, and how it ended: done, interrupted, or with a step
    that failed, which says why."""

    theta: Array
    rows: list[Row]
    interrupted: bool = False
    failure: str = ""


class _Infinite(Exception):
    """The loss is infinite; when anything is NaN, `run` itself stops."""


@contextmanager
def resumable(go_on: str) -> Iterator[None]:
    """Within it, being told to end (SIGTERM) and losing the terminal (SIGHUP) raise KeyboardInterrupt as Ctrl-C does,
    and whatever breaks a training off carries the note how to go on."""
    with ExitStack() as stack:
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP, and only the main thread may change signals
            if number is not None and threading.current_thread() is threading.main_thread():
                if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP, which stays so
                    stack.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
        try:
            yield
        except (KeyboardInterrupt, OSError, MemoryError) as error:
            error.add_note(go_on)
            raise


def read_text(path: str | None, tokens: str | None) -> tuple[text.Text | text.Bytes, str]:
    """A text with this kind of tokens, characters or bytes, and a remark. With None it is characters wherever the file
    allows it, and the remark says why it does not.

    Raises OSError or ValueError for a file that cannot be read like this.
    """
    if path is None:
        return text.load(), ""
    source = text.Bytes(path)
    if tokens == "bytes":
        return source, ""
    try:
        if source.size > CHARACTERS:
            raise ValueError(f"path: {path!r} has {source.size:,} bytes; expected at most {CHARACTERS:,}")
        return text.load(path), ""
    except ValueError as error:
        if tokens == "characters":
            raise ValueError(f"{error}; --tokens bytes takes any file") from None
        return source, f"tokens are bytes: {str(error).removeprefix('path: ')} for characters"


def train(
    task: Any,
    opt: Any,
    steps: int,
    seed: int,
    every: int,
    folder: Path,
    resume: Snapshot | None,
    say: Callable[[str], None],
) -> Training:
    """Train under a progress bar, as the paper does: warm-up to the learning rate opt.lr (over a tenth of the steps
    here) and a cosine down to a twentieth of it, gradients clipped to norm 1.

    Every `every` steps it looks: measures the validation loss, says it, and saves log and checkpoint into the folder,
    the picture too unless that was just now. Ctrl-C ends the training and not the program; before anything has been
    saved it raises KeyboardInterrupt. Raises CheckpointError for a snapshot of another training and for a damaged log.
    """
    from tqdm.auto import tqdm

    saved, lr = checkpoint.Checkpoints(folder, every), cosine(opt.lr, steps, warmup=steps // 10)
    opt = replace(opt, lr=lr)
    rows: list[Row] = []
    if resume is not None:
        if (resume.seed, resume.theta.shape) != (seed, (task.model.size,)) or not same(opt, resume.optimizer):
            raise checkpoint.CheckpointError(f"{saved.paths()[-1]}: not of the training that its {SETTINGS} describes")
        rows = load_log(folder, resume, lr)
    lines = [line(row) for row in rows]
    done, cost = (0, 0.0) if resume is None else (resume.t, resume.cost)
    some = task.validation_batches[:: max(1, len(task.validation_batches) // PART)]
    latest = next((row.validation_loss for row in reversed(rows) if not np.isnan(row.validation_loss)), np.nan)
    picture_due = time.monotonic() + FIRST

    def look(t: int, step: Any, oracle: Any) -> None:
        nonlocal cost, latest, picture_due
        cost += oracle.cost
        loss, validation, unclipped = float(oracle.loss()), np.nan, np.nan
        if np.isinf(loss):
            raise _Infinite
        looking = t in (1, steps) or t % every == 0
        if looking:
            validation = latest = task.validation_loss(step.theta, some)
        if "clipped" in step.terms:
            unclipped = 1 - float(step.terms["clipped"].mean())
        rows.append(Row(t, loss, validation, lr(t), cost, unclipped))
        lines.append(line(rows[-1]))

        if not bar.disable:
            rate = bar.format_dict["rate"]  # steps a second, lately
            speed = tqdm.format_sizeof(rate * task.batch_size * task.context) if rate else "?"
            share = "" if np.isnan(unclipped) else f", {unclipped:.0%} unclipped"
            shown = f"loss {loss:.3f}, val {latest:.3f}, {speed} tok/s{share}"
            bar.set_postfix_str(shown, refresh=False)
        bar.update()
        if not looking:
            return
        save_log(lines, folder)
        written = ""
        if t % every == 0 and t // every % SAMPLED == 0 and t < steps:
            written = "  " + " ".join(_sample(task, step.theta, LINE, seed).split())
        with bar.external_write_mode():
            say(f"{t:{len(str(steps))}}  loss {loss:.3f}  validation {validation:.3f}{written}")
        if (start := time.monotonic()) >= picture_due:
            save_picture(rows, opt, task.source.unit, folder)
            picture_due = time.monotonic() + (time.monotonic() - start) / SHARE

    form = "{n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"
    interrupted = False
    with tqdm(initial=done, total=steps, disable=None, dynamic_ncols=True, bar_format=form) as bar:
        try:
            ran = run(
                task,
                opt,
                steps,
                seed=seed,
                trajectory=False,
                clip_norm=1.0,
                callback=look,
                checkpoint=saved,
                resume=resume,
            )
            if ran.diverged_at is None:
                return Training(ran.theta, rows)
        except KeyboardInterrupt:
            if not saved.paths():
                raise
            interrupted = True
        except _Infinite:
            pass
        finally:
            save_log(lines, folder)
    here = checkpoint.load(saved.paths()[-1])
    return Training(here.theta, rows[: here.t], interrupted, "" if interrupted else _failure(task, here))


def _failure(task: Any, here: Snapshot) -> str:
    """What was not finite in the step after `here`, and in which tensor; of a loss, which has none, where the largest
    weight is, as only large weights lead there. The step is taken once more to see it."""

    def stream(name: str) -> np.random.Generator:
        index = STREAMS.index(name)
        return here.streams[index].generator(here.seed, index)

    def oracle() -> Oracle:
        return Oracle(task, here.theta, task.batch(stream("data")), stream("probes"))

    def answers() -> Iterator[tuple[str, Array]]:
        yield "gradient", asked.grad()
        guard = Guard(oracle(), here.clip_norm, np.array(False))
        yield "next value", here.optimizer.step(here.theta, here.state, guard).theta
        if hasattr(here.optimizer, "estimator"):
            yield "curvature", oracle().curvature(here.optimizer.estimator)

    with np.errstate(all="ignore"):
        asked = oracle()
        if not np.isfinite(asked.loss()):
            sizes = {tensor: np.abs(w).max() for tensor, w in task.model.layout.unpack(here.theta).items()}
            largest = max(sizes, key=lambda tensor: sizes[tensor])
            return f"the loss is {asked.loss()}; the largest weight, in {largest}, is {sizes[largest]:.3g}"
        for what, array in answers():
            for tensor, entries in task.model.layout.unpack(array).items():
                if bad := np.count_nonzero(~np.isfinite(entries)):
                    return f"the {what} of {tensor} is not finite in {bad} of {entries.size} entries"
    return "what was not finite is finite when the step is taken again"


def judge(task: Any, theta: Array, seed: int) -> tuple[float, str]:
    """The validation loss on all held-out windows, and what the model writes."""
    with np.errstate(all="ignore"):  # of weights that are all but infinite
        return task.validation_loss(theta), _sample(task, theta, 300, seed)


def _sample(task: Any, theta: Array, length: int, seed: int) -> str:
    """How the model goes on after the first held-out window; a question mark for what a terminal may not show."""
    prompt = task.validation_batches[0][0][0]
    tokens = task.model.sample(theta, prompt, length, np.random.default_rng(seed), temperature=0.8)
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in task.source.decode(tokens))
