"""The loop: ask, step, record.

One seed gives three independent streams, for initialisation, data and probes. So two optimizers that start from one
seed see the same theta and the same batches, however many random numbers their curvature estimates draw.

A row that leaves the finite numbers stops moving: it keeps its last finite theta, and `diverged_at` says when. The
other rows go on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sophia_ref.optimizers.base import Optimizer
from sophia_ref.oracle import Oracle, as_problem

Array = Any
MEMORY = 2**26  # bytes of trajectory that are kept unasked


@dataclass(frozen=True)
class Run:
    """What happened. `lead` is theta.shape[:-1]; entry i of what was recorded belongs to step number steps[i].

    theta: (..., P) at the end. steps: (n,) recorded step numbers, 0 is the start. trajectory: (n, ..., P), or None
    if it was not kept. losses: (n, *lead), each on the batch of that step. cost: (n,), gradient-equivalents spent to get
    there. unclipped: (n, *lead), share of coordinates whose update was not clipped in the step that led there; NaN at
    the start, and for rules that do not clip. diverged_at: the step in which a row left the finite numbers, None if it
    did not; with leading axes an array, -1 for rows that did not. clipped_steps: how often the gradient's norm was
    clipped, by row. seconds: time spent in steps, without evaluation and callbacks.
    """

    problem: Any
    optimizer: Optimizer
    seed: int
    theta: Array
    state: Any
    steps: Array
    losses: Array
    cost: Array
    trajectory: Array | None
    unclipped: Array
    diverged_at: Any
    clipped_steps: Any
    seconds: float


class _Guard:
    """Stands between optimizer and oracle: clips gradient norms, and answers zero for rows that are no longer finite.

    lost: (...) which rows those are, added to with every answer. norm_clipped: (...) whose gradient was clipped.
    """

    def __init__(self, oracle: Oracle, clip_norm: float | None, lost: Array) -> None:
        self.oracle, self.clip_norm, self.lost = oracle, clip_norm, lost.copy()
        self.norm_clipped = np.zeros_like(lost)

    def _sound(self, answer: Array, axes: int) -> Array:
        """The answer with zeros in lost rows; its last `axes` axes belong to one row."""
        finite = np.isfinite(answer)
        if finite.all() and not self.lost.any():
            return answer
        self.lost |= ~finite.all(axis=tuple(range(-axes, 0)))
        return np.where(self.lost[(..., *(None,) * axes)], 0.0, answer)

    def grad(self) -> Array:
        g = self._sound(self.oracle.grad(), 1)
        if self.clip_norm is None:
            return g
        norm = np.linalg.norm(g, axis=-1, keepdims=True)
        self.norm_clipped = norm[..., 0] > self.clip_norm
        return np.where(norm > self.clip_norm, g * (self.clip_norm / np.maximum(norm, self.clip_norm)), g)

    def hessian(self) -> Array:
        return self._sound(self.oracle.hessian(), 2)

    def curvature(self, estimator: Any) -> Array:
        return self._sound(self.oracle.curvature(estimator), 1)


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
    callback: Callable[[int, Any, Oracle], None] | None = None,
    progress: bool = False,
) -> Run:
    """Take `steps` steps of `opt` on `problem` and return what happened.

    problem: a Problem or a function f(theta). theta0: (..., P) to start from; by default problem.init.
    record: every how many steps to record; the start and the end always are. By default every step, and where a
    trajectory of every step would take more than 64 MB, the start and the end.
    trajectory: whether theta itself is recorded; by default if it takes no more than those 64 MB.
    clip_norm: scale gradients down to this Euclidean norm, row by row; curvature estimates are not touched.
    callback(t, step, oracle): called after step t = 1, 2, ... with its Step and the oracle it asked.
    progress: show a bar with loss, cost and unclipped share (tqdm).

    Raises TypeError or ValueError, by name, for bad arguments.
    """
    problem = as_problem(problem)
    for name, value, least in (("steps", steps, 0), ("seed", seed, 0), ("record", 1 if record is None else record, 1)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"run: {name} must be an integer of at least {least}, got {value!r}")
    if clip_norm is not None and not (isinstance(clip_norm, int | float) and 0 < clip_norm < np.inf):
        raise ValueError(f"run: clip_norm must be a finite number above 0, got {clip_norm!r}")
    init_rng, data_rng, probe_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(int(seed)).spawn(3))
    theta = problem.init(init_rng) if theta0 is None else theta0
    state = opt.init(theta)  # refuses a theta of the wrong kind
    theta = theta.copy()
    fits = (steps + 1) * theta.nbytes <= MEMORY
    record = (1 if fits else max(steps, 1)) if record is None else record
    if trajectory is None:
        trajectory = (steps // record + 2) * theta.nbytes <= MEMORY

    lead = theta.shape[:-1]
    lost = np.zeros(lead, bool)  # rows that have diverged
    diverged_at, clipped_steps = np.full(lead, -1), np.zeros(lead, int)
    kept: dict[str, list[Any]] = {"steps": [], "losses": [], "cost": [], "unclipped": []}
    if trajectory:
        kept["trajectory"] = []
    cost, seconds, unclipped = 0.0, 0.0, np.full(lead, np.nan)
    bar = _bar(steps) if progress else None

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # divergence is noted, not warned of
        for t in range(steps + 1):
            oracle = Oracle(problem, theta, problem.batch(data_rng, lead), probe_rng)
            guard = _Guard(oracle, clip_norm, lost)
            start = time.perf_counter()
            step = opt.step(theta, state, guard) if t < steps and not lost.all() else None
            seconds += time.perf_counter() - start
            spent = oracle.cost  # the losses recorded below are not the optimizer's expense
            if t % record == 0 or step is None:
                now = {"steps": t, "losses": oracle.loss(), "cost": cost, "trajectory": theta, "unclipped": unclipped}
                for name, values in kept.items():
                    values.append(now[name])
            if step is None:
                break
            now_lost = guard.lost | ~np.isfinite(step.theta).all(axis=-1)
            diverged_at[now_lost & ~lost] = t + 1
            clipped_steps += guard.norm_clipped & ~now_lost
            lost = now_lost
            theta = np.where(lost[..., None], theta, step.theta) if lost.any() else step.theta
            state, cost = step.state, cost + spent
            if "clipped" in step.terms:
                unclipped = 1 - step.terms["clipped"].mean(axis=-1)
            if callback is not None:
                callback(t + 1, step, oracle)
            if bar is not None:
                loss = f"{np.mean(oracle.loss()):.4g}"
                bar.set_postfix(loss=loss, cost=f"{cost:.4g}", unclipped=f"{np.mean(unclipped):.0%}", refresh=False)
                bar.update()
    if bar is not None:
        bar.close()
    single = lead == ()
    return Run(
        problem=problem,
        optimizer=opt,
        seed=int(seed),
        theta=theta,
        state=state,
        **{"trajectory": None} | {name: np.array(values) for name, values in kept.items()},
        diverged_at=(int(diverged_at) if diverged_at >= 0 else None) if single else diverged_at,
        clipped_steps=int(clipped_steps) if single else clipped_steps,
        seconds=seconds,
    )


def _bar(steps: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=steps, unit="step")
