"""One table of all training runs, on disk: no run is made twice, and none that is done is lost.

A run is described by a `Spec` of names and numbers, trained by `perform` in any process, and kept as one line of a
file. Lines are only ever added, each put on the disk before the next: what kills the program, at whatever moment, costs
the runs under way, and at most the line being written, which is dropped when the file is next read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.methods import make_optimizer
from sophia_ref.claims.tasks import fingerprint, make_task
from sophia_ref.files import replacing
from sophia_ref.study import run_all

Array = Any
SEMANTICS = 1  # to be raised when the code changes so that a Spec means another run: old results are then ignored
POINTS = 8  # of a curve
GREATEST = 1e30  # norm that is kept; beyond it quantiles would warn
LOST = 10.0  # nats that a run counts as which diverged, or ended higher: far worse than to guess
CLIP_NORM = 1.0  # of gradients, as in the paper


class FolderError(ValueError):
    """A folder, or a file in it, that is not as a study of claims leaves it; the message names it."""


class Spec(NamedTuple):
    """One training run. settings: (name, value), in the order of the method's space. tuning: whether it is scored on
    the part of the held-out data that tuning sees, or on the other."""

    task: str
    model: tuple[int, ...]
    batch: int
    method: str
    settings: tuple[tuple[str, float], ...]
    steps: int
    seed: int
    tuning: bool

    @property
    def key(self) -> str:
        """What it is known by in the file: it depends on all of it, on SEMANTICS, and on the text."""
        text = json.dumps([SEMANTICS, fingerprint(self.task), *self])
        return hashlib.sha256(text.encode()).hexdigest()[:20]


class Result(NamedTuple):
    """What is kept of a run.

    final: the loss on held-out data at the end, None where it diverged. unclipped: shares of coordinates, entry i after
    (i + 1) / POINTS of the steps, None for rules that do not clip. cost: in gradients. norm_clipped: share of the steps
    whose gradient was longer than CLIP_NORM. norms: the gradient's norm, quantiles 0.1, 0.5, 0.9 over the steps.
    seconds: processor time of the steps.
    """

    final: float | None
    unclipped: tuple[float | None, ...]
    cost: float
    norm_clipped: float
    norms: tuple[float | None, ...]
    seconds: float
    diverged_at: int | None

    @property
    def diverged(self) -> bool:
        """Whether it has no loss at the end."""
        return self.final is None

    @property
    def loss(self) -> float:
        """final, at most LOST: so much does a run count that diverged."""
        return LOST if self.final is None else min(self.final, LOST)

    @property
    def shares(self) -> Array:
        """unclipped as an array, NaN where it is None."""
        return np.array(self.unclipped, dtype=np.float64)


def perform(spec: Spec) -> Result:
    """Train."""
    task = make_task(spec.task, spec.model, spec.batch)
    layout = getattr(getattr(task.problem, "model", task.problem), "layout", None)
    opt = make_optimizer(spec.method, dict(spec.settings), spec.steps, layout)
    looks = {-(-spec.steps * (i + 1) // POINTS): i for i in range(POINTS)}  # fewer steps than points: the last counts
    final: float | None = None
    unclipped: list[float | None] = [None] * POINTS
    norms: list[float] = []
    looked = 0.0

    def look(t: int, step: Any, oracle: Any) -> None:
        nonlocal final, looked
        norms.append(min(float(np.linalg.norm(oracle.grad())), GREATEST))  # the gradient is known to the oracle
        if t in looks and "clipped" in step.terms:
            unclipped[looks[t]] = _digits(1 - step.terms["clipped"].mean())
        if t == spec.steps:
            start = time.process_time()
            with np.errstate(all="ignore"):
                final = _digits(task.score(step.theta, spec.tuning))
            looked = time.process_time() - start

    start = time.process_time()
    run = sr.run(
        task.problem, opt, spec.steps, seed=spec.seed, clip_norm=CLIP_NORM, record=spec.steps, trajectory=False,
        callback=look,
    )  # fmt: skip
    seconds = time.process_time() - start - looked
    if run.diverged_at is not None:
        final = None
    return Result(
        final, tuple(unclipped), float(run.cost[-1]), round(run.clipped_steps / spec.steps, 4),
        tuple(_digits(q) for q in np.quantile(norms, [0.1, 0.5, 0.9])) if norms else (None,) * 3, round(seconds, 4),
        run.diverged_at,
    )  # fmt: skip


def _digits(x: Any) -> float | None:
    return float(f"{x:.6g}") if np.isfinite(x) else None


class Table:
    """Results by Spec, in a file of JSON lines if there is a path, otherwise in memory.

    Raises FolderError, naming file and line, for a file that is not such a table.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._results: dict[str, Result] = {}
        if self.path is not None and self.path.exists():
            self._load(self.path)

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, spec: Spec) -> bool:
        return spec.key in self._results

    def __getitem__(self, spec: Spec) -> Result:
        """KeyError, with the Spec, for a run that is not in the table."""
        try:
            return self._results[spec.key]
        except KeyError:
            raise KeyError(spec) from None

    def missing(self, specs: Iterable[Spec]) -> list[Spec]:
        """Those not in the table, each once, in their order."""
        return [spec for spec in dict.fromkeys(specs) if spec not in self]

    def add(self, spec: Spec, result: Result) -> None:
        """Keep a result: it is on the disk when this returns."""
        if self.path is not None:
            line = json.dumps({"key": spec.key, "spec": spec, "result": result}, separators=(",", ":"), allow_nan=False)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        self._results[spec.key] = result

    def fill(
        self, specs: Iterable[Spec], executor: Executor, progress: str = "", work: Callable[[Spec], Result] = perform
    ) -> None:
        """Make the runs that are missing. Each is kept as soon as it is done.

        They start in an order drawn by chance, so that what a progress bar expects of the rest is right.
        """
        specs = self.missing(specs)
        order = np.random.default_rng(0).permutation(len(specs))
        jobs = [(specs[i],) for i in order]
        run_all(work, jobs, executor, progress, done=lambda i, result: self.add(jobs[i][0], result))

    def _load(self, path: Path) -> None:
        content = path.read_bytes()
        whole, _, rest = content.rpartition(b"\n")
        if rest:  # a line that was being written when the program was killed
            with replacing(path) as file:
                file.write(whole + b"\n" * bool(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                entry = json.loads(line)
                values: Any = entry["result"]
                if len(values) != len(Result._fields):
                    raise ValueError(f"{len(values)} values, expected {len(Result._fields)}")
                result = Result._make(tuple(value) if isinstance(value, list) else value for value in values)
                self._results[str(entry["key"])] = result
            except (ValueError, LookupError, TypeError) as error:
                message = f"{path}, line {number}: not a run ({error!r:.100}); remove the line, or the file"
                raise FolderError(message) from None


def losses(table: Table, specs: Sequence[Spec]) -> Array:
    """Final losses of runs, (n,), at most LOST."""
    return np.array([table[spec].loss for spec in specs])
