"""The loop: ask, step, record.

One seed gives independent streams of random numbers for initialisation, for data and for probes. So two optimizers
that start from one seed see the same theta and the same batches, however many random numbers their curvature estimates
draw, and a shorter run is the beginning of a longer one.

A row that leaves the finite numbers stops moving: it keeps its last finite theta, and `diverged_at` says when. The
other rows go on. It has left them when its loss is NaN, or when its gradient, its curvature or its next theta is not
finite.

What happens next depends on a `Snapshot` alone, so that a run can be saved and goes on, bit for bit, as if it had never
stopped.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import is_array
from sophia_ref.checkpoint import CheckpointError, Checkpoints
from sophia_ref.guard import default_block, take_step
from sophia_ref.optimizers.base import Optimizer, Step, frozen, integer, number
from sophia_ref.optimizers.description import same
from sophia_ref.oracle import Oracle, as_problem
from sophia_ref.snapshot import Snapshot, Stream, generators

Array = Any
MEMORY = 2**26  # bytes of trajectory that are kept unasked


@dataclass(frozen=True, eq=False)
class Run:
    """What happened. `lead` is theta.shape[:-1]; entry i of what was recorded belongs to step number steps[i].

    seed, block: what makes it repeatable.
    theta: (..., P) at the end.
    steps: (n,) recorded step numbers, 0 is the start.
    trajectory: (n, ..., P), or None if it was not kept.
    losses: (n, *lead), each on the batch of that step.
    cost: (n,), gradient-equivalents spent to get there.
    unclipped: (n, *lead), share of coordinates whose update was not clipped in the step that led there; NaN at the
        start, for rules that do not clip, and in rows that have diverged.
    diverged_at: the step in which a row left the finite numbers, None if it did not; with leading axes an array, -1 for
        rows that did not.
    clipped_steps: how often the gradient's norm was clipped, by row.
    seconds: time spent in steps, without evaluation and callbacks.
    """

    problem: Any
    optimizer: Optimizer
    seed: int
    block: int
    theta: Array
    state: Any
    steps: Array
    losses: Array
    cost: Array
    trajectory: Array
    unclipped: Array
    diverged_at: Any
    clipped_steps: Any
    seconds: float


def run(
    problem: Any,
    opt: Optimizer,
    steps: int,
    theta0: Array = None,
    seed: int = 0,
    record: int | None = None,
    *,
    trajectory: bool | None = None,
    clip_norm: float | None = None,
    callback: Callable[[int, Step, Oracle], Any] | None = None,
    progress: bool = False,
    checkpoint: Checkpoints | None = None,
    resume: Snapshot | None = None,
    block: int | None = None,
) -> Run:
    """Take `steps` steps of `opt` on `problem` and return what happened.

    problem: a Problem or a function f(theta). theta0: (..., P) to start from; by default problem.init.
    record: every how many steps to record; the start and the end always are. By default every step, and where many rows
    would take more than 64 MB, the start and the end.
    trajectory: whether theta itself is recorded; by default if it takes no more than those 64 MB.
    clip_norm: scale gradients down to this Euclidean norm, row by row; curvature estimates see the gradient as it is.
    callback(t, step, oracle): called after step t = 1, 2, ... with its Step and the oracle that it asked. What the
    callback asks is neither counted nor of influence on the run.
    progress: show a bar with loss, cost and unclipped share (tqdm).
    checkpoint: where to save the run on the way, and how often.
    resume: a snapshot to go on from, in a call with the other arguments as they were; only `steps`, counted from the
        start as ever, may be larger. All that is returned, but for `seconds`, is what a run without a break returns.
    block: how many entries of theta's first axis are taken at once, by default as many as fill 512 kB, so that a step
        stays in cache. Together with the seed it makes a run repeatable, since estimators draw their probes by block.
        A loss that keeps a constant of its own for each row needs block=len(theta).

    When no finite row is left the run ends, and the last entries recorded are those of the step that failed, with theta
    where it was before. Raises TypeError or ValueError, by name, for bad arguments, and CheckpointError for a run that
    cannot be saved.
    """
    problem = as_problem(problem)
    steps, seed = integer("run: steps", steps, 0), integer("run: seed", seed, 0)
    record = None if record is None else integer("run: record", record, 1)
    block = None if block is None else integer("run: block", block, 1)
    if clip_norm is not None:
        clip_norm = number("run: clip_norm", clip_norm, "a finite number > 0", lambda x: 0 < x < np.inf)
    for name, value, methods in (
        ("problem", problem, ("batch", "init") if theta0 is None else ("batch",)),
        ("opt", opt, ("init", "step")),
    ):
        if missing := [method for method in methods if isinstance(value, type) or not hasattr(value, method)]:
            raise TypeError(f"run: {name} must have a method {missing[0]}, got {value!r}")
    for name, value, choices in (
        ("trajectory", trajectory, (True, False, None)),
        ("progress", progress, (True, False)),
    ):
        if not any(value is choice for choice in choices):
            raise TypeError(f"run: {name} must be True or False, got {value!r}")
    if callback is not None and not callable(callback):
        raise TypeError(f"run: callback must be a function (t, step, oracle), got {callback!r}")
    for name, value, kind in (("checkpoint", checkpoint, Checkpoints), ("resume", resume, Snapshot)):
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"run: {name} must be a {kind.__name__}, got {value!r}")

    if resume is not None:
        kept = "trajectory" in resume.log
        for name, value, saved in (
            ("seed", seed, resume.seed),
            ("record", resume.record if record is None else record, resume.record),
            ("block", resume.block if block is None else block, resume.block),
            ("trajectory", kept if trajectory is None else trajectory, kept),
            ("clip_norm", clip_norm, resume.clip_norm),
        ):
            if value != saved:
                raise ValueError(f"run: {name} must be {saved!r}, as in the run to resume, got {value!r}")
        if opt is not resume.optimizer and not same(opt, resume.optimizer):
            raise ValueError(f"run: opt must be {resume.optimizer!r}, as in the run to resume, got {opt!r}")
        if steps < resume.t:
            raise ValueError(f"run: steps must be at least {resume.t}, those already taken, got {steps}")
        return _go_on(resume._replace(optimizer=opt), problem, steps, callback, progress, checkpoint)

    rngs = generators(seed)
    theta = problem.init(rngs[0]) if theta0 is None else theta0
    if not is_array(theta) or theta.dtype not in (np.float32, np.float64):
        given = "what problem.init returns" if theta0 is None else "theta0"
        expected = f"{given} must be a float32 or float64 array of shape (..., P)"
        raise TypeError(f"run: {expected}, got {theta!r}; np.array(x, dtype=float) makes one")
    state = opt.init(theta)  # refuses 0-d and non-finite arrays
    lead = theta.shape[:-1]
    if record is None:
        record = 1 if lead == () or (steps + 1) * theta.nbytes <= MEMORY else max(steps, 1)
    if trajectory is None:
        trajectory = (steps // record + 2) * theta.nbytes <= MEMORY
    log: dict[str, Array] = {"steps": np.zeros(0, int), "losses": np.zeros((0, *lead)), "cost": np.zeros(0)}
    log["unclipped"] = np.zeros((0, *lead))
    if trajectory:
        log["trajectory"] = np.zeros((0, *theta.shape), theta.dtype)
    start = Snapshot(
        t=0,
        theta=frozen(theta.copy()),
        state=state,
        optimizer=opt,
        seed=seed,
        record=record,
        block=default_block(theta) if block is None else block,
        clip_norm=clip_norm,
        streams=tuple(Stream.of(rng) for rng in rngs),
        cost=0.0,
        seconds=0.0,
        clipped=np.full((*lead, 1), np.nan),
        diverged_at=np.full(lead, -1),
        clipped_steps=np.zeros(lead, int),
        log=log,
    )
    return _go_on(start, problem, steps, callback, progress, checkpoint)


def _go_on(
    after: Snapshot,
    problem: Any,
    steps: int,
    callback: Callable[[int, Step, Oracle], Any] | None,
    progress: bool,
    checkpoint: Checkpoints | None,
) -> Run:
    """The loop. Each step leads from the snapshot `here` to the snapshot `after` it."""
    here, first, opt, lead = after, after.t, after.optimizer, after.theta.shape[:-1]
    rngs = [stream.generator(here.seed, index) for index, stream in enumerate(here.streams)]
    _, data_rng, probe_rng, callback_rng = rngs
    lost = np.asarray(here.diverged_at >= 0)  # rows that have diverged
    lost_rows, rows = np.count_nonzero(lost), lost.size
    unknown = np.full((*lead, 1), np.nan)
    terms = None if callback else ("clipped",)
    kept = {name: list(entries) for name, entries in here.log.items()}

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), _bar(first, steps, progress) as bar:
        try:
            for t in range(first, steps + 1):
                if checkpoint is None:
                    here = after
                else:  # bound once, as Ctrl-C may come at any moment
                    here = after._replace(streams=tuple(Stream.of(rng) for rng in rngs))
                    if (t in (first, steps) or t % checkpoint.every == 0) and lost_rows < rows:
                        checkpoint.save(_complete(here, kept))
                oracle = Oracle(problem, here.theta, problem.batch(data_rng, lead), probe_rng)
                start, step = time.perf_counter(), None
                if t < steps and lost_rows < rows:
                    step, lost_now, norm_clipped = take_step(
                        opt,
                        here.theta,
                        here.state,
                        oracle,
                        lost,
                        clip_norm=here.clip_norm,
                        block=here.block,
                        terms=terms,
                    )
                seconds = time.perf_counter() - start
                spent = oracle.cost  # the losses recorded below are not the optimizer's expense
                if t % here.record == 0 or step is None:
                    kept["steps"].append(t)
                    kept["losses"].append(oracle.loss())
                    kept["cost"].append(here.cost)
                    kept["unclipped"].append(_unclipped(here.clipped, lost))
                    if "trajectory" in kept:
                        kept["trajectory"].append(here.theta)
                if step is None:
                    break
                theta, diverged_at, clipped_steps = step.theta, here.diverged_at, here.clipped_steps
                newly, lost, lost_rows = lost_now & ~lost, lost_now, np.count_nonzero(lost_now)
                ended = lost_rows == rows
                if lost_rows:
                    theta = np.where(lost[..., None], here.theta, theta)
                    diverged_at = np.where(newly, t + 1, diverged_at)
                if here.clip_norm is not None:
                    clipped_steps = np.asarray(clipped_steps + (norm_clipped & ~lost))
                after = here._replace(
                    t=t + 1,
                    theta=frozen(theta),
                    state=here.state if ended else step.state,
                    cost=here.cost + spent,
                    seconds=here.seconds + seconds,
                    clipped=step.terms.get("clipped", unknown),
                    diverged_at=diverged_at,
                    clipped_steps=clipped_steps,
                )
                if ended:
                    if checkpoint is not None:
                        checkpoint.save(_complete(here, kept))
                elif callback is not None:
                    oracle._rng = callback_rng
                    callback(t + 1, step._replace(theta=theta), oracle)
                if bar is not None:
                    shown = {"loss": f"{np.mean(oracle.loss()):.4g}", "cost": f"{after.cost:.4g}"}
                    if "clipped" in step.terms and not ended:
                        shown["unclipped"] = f"{np.nanmean(_unclipped(after.clipped, lost)):.0%}"
                    bar.set_postfix(shown, refresh=False)
                    bar.update()
        except CheckpointError:
            raise
        except BaseException:  # Ctrl-C too
            if checkpoint is not None:
                checkpoint.save(_complete(here, kept))
            raise
    single = lead == ()
    return Run(
        problem=problem,
        optimizer=opt,
        seed=here.seed,
        block=here.block,
        theta=after.theta.copy(),
        state=after.state,
        **{"trajectory": None} | {name: np.array(values) for name, values in kept.items()},
        diverged_at=(int(after.diverged_at) if lost else None) if single else after.diverged_at,
        clipped_steps=int(after.clipped_steps) if single else after.clipped_steps,
        seconds=after.seconds,
    )


def _complete(here: Snapshot, kept: dict[str, list[Any]]) -> Snapshot:
    """The snapshot with the entries of the log before step here.t: those of the steps 0, record, 2 record, ..."""
    entries = -(-here.t // here.record)
    log = {name: np.array(kept[name][:entries]) if entries else empty for name, empty in here.log.items()}
    return here._replace(log=log, clipped=here.clipped.mean(axis=-1, keepdims=True))


def _unclipped(clipped: Array, lost: Array) -> Array:
    """Share of coordinates that were not clipped, (*lead); NaN where that cannot be said."""
    return np.where(lost, np.nan, 1 - clipped.mean(axis=-1))


def _bar(done: int, steps: int, progress: bool) -> Any:
    """A progress bar, or a context without one."""
    if not progress:
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(initial=done, total=steps, unit="step")
