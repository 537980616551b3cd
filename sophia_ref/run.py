"""The loop: ask, step, record.

One seed gives independent streams of random numbers for initialisation, for data and for probes. So two optimizers
that start from one seed see the same theta and the same batches, however many random numbers their curvature estimates
draw, and a shorter run is the beginning of a longer one.

A row that leaves the finite numbers stops moving: it keeps its last finite theta, and `diverged_at` says when. The
other rows go on. It has left them when its loss is NaN, or when its gradient, its curvature or its next theta is not
finite.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from sophia_ref.optimizers.base import Optimizer, Step, frozen, integer, is_array, number
from sophia_ref.oracle import Oracle, as_problem

Array = Any
MEMORY = 2**26  # bytes of trajectory that are kept unasked


@dataclass(frozen=True, eq=False)
class Run:
    """What happened. `lead` is theta.shape[:-1]; entry i of what was recorded belongs to step number steps[i].

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


class _Guard:
    """The oracle as an optimizer in `run` sees it: with gradient norms clipped, and with zeros for rows that are not
    finite, which it would refuse. Estimators are handed the oracle itself.

    lost: (...) which rows those are, added to with every answer. norm_clipped: (...) whose gradient was clipped.
    """

    def __init__(self, oracle: Oracle, clip_norm: float | None, lost: Array) -> None:
        self.oracle, self.clip_norm, self.lost = oracle, clip_norm, lost.copy()
        self.norm_clipped = np.zeros_like(lost)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.oracle, name)

    def sound(self, answer: Array, axes: int = 1) -> Array:
        """The answer, finite: a row with anything else is lost. Its last `axes` axes belong to one row."""
        finite = np.isfinite(answer)
        if finite.all():
            return answer
        self.lost |= ~finite.all(axis=tuple(range(-axes, 0)))
        return np.where(self.lost[(..., *(None,) * axes)], 0.0, answer)

    def grad(self) -> Array:
        g = self.oracle.grad()
        self.lost |= np.isnan(self.oracle.loss())  # log of a negative number has a derivative nevertheless
        g = self.sound(g)
        if self.clip_norm is None:
            return g
        too_long = np.linalg.norm(g, axis=-1, keepdims=True) > self.clip_norm
        self.norm_clipped = too_long[..., 0]
        if not too_long.any():
            return g
        # g ← c g / ‖g‖, with entries of at most 1 on the right, so that no square overflows
        g_unit = g / np.abs(g).max(axis=-1, keepdims=True)
        g_unit = g_unit / np.linalg.norm(g_unit, axis=-1, keepdims=True)
        return np.where(too_long, self.clip_norm * g_unit, g)

    def hvp(self, v: Array) -> Array:
        return self.sound(self.oracle.hvp(v))

    def hessian(self) -> Array:
        return self.sound(self.oracle.hessian(), axes=2)

    def hessian_diag(self) -> Array:
        return self.sound(self.oracle.hessian_diag())

    def sampled_grad(self) -> tuple[Array, Any]:
        g, B = self.oracle.sampled_grad()
        return self.sound(g), B

    def curvature(self, estimator: Any) -> Array:
        return self.sound(self.oracle.curvature(estimator))


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

    When no finite row is left the run ends, and the last entries recorded are those of the step that failed, with theta
    where it was before. Raises TypeError or ValueError, by name, for bad arguments.
    """
    problem = as_problem(problem)
    steps, seed = integer("run: steps", steps, 0), integer("run: seed", seed, 0)
    record = None if record is None else integer("run: record", record, 1)
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
    streams = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4))
    init_rng, data_rng, probe_rng, callback_rng = streams
    theta = problem.init(init_rng) if theta0 is None else theta0
    if not is_array(theta) or theta.dtype not in (np.float32, np.float64):
        given = "what problem.init returns" if theta0 is None else "theta0"
        expected = f"{given} must be a float32 or float64 array of shape (..., P)"
        raise TypeError(f"run: {expected}, got {theta!r}; np.array(x, dtype=float) makes one")
    state = opt.init(theta)  # refuses 0-d and non-finite arrays
    theta = frozen(theta.copy())

    lead = theta.shape[:-1]
    if record is None:
        record = 1 if lead == () or (steps + 1) * theta.nbytes <= MEMORY else max(steps, 1)
    if trajectory is None:
        trajectory = (steps // record + 2) * theta.nbytes <= MEMORY
    lost = np.zeros(lead, bool)  # rows that have diverged
    diverged_at, clipped_steps = np.full(lead, -1), np.zeros(lead, int)
    kept: dict[str, list[Any]] = {"steps": [], "losses": [], "cost": [], "unclipped": []}
    if trajectory:
        kept["trajectory"] = []
    cost, seconds = 0.0, 0.0
    terms: dict[str, Array] = {}

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), _bar(steps, progress) as bar:
        for t in range(steps + 1):
            oracle = Oracle(problem, theta, problem.batch(data_rng, lead), probe_rng)
            guard = _Guard(oracle, clip_norm, lost)
            start = time.perf_counter()
            step = opt.step(theta, state, guard) if t < steps and not lost.all() else None
            seconds += time.perf_counter() - start
            spent = oracle.cost  # the losses recorded below are not the optimizer's expense
            if t % record == 0 or step is None:
                kept["steps"].append(t)
                kept["losses"].append(oracle.loss())
                kept["cost"].append(cost)
                kept["unclipped"].append(_unclipped(terms, lost))
                if trajectory:
                    kept["trajectory"].append(theta)
            if step is None:
                break
            cost += spent
            guard.sound(step.theta)
            diverged_at[guard.lost & ~lost] = t + 1
            clipped_steps += guard.norm_clipped & ~guard.lost
            lost, terms = guard.lost, step.terms
            if not lost.all():
                theta = frozen(np.where(lost[..., None], theta, step.theta) if lost.any() else step.theta)
                state = step.state
                if callback is not None:
                    oracle._rng = callback_rng
                    callback(t + 1, step._replace(theta=theta), oracle)
            if bar is not None:
                shown = {"loss": f"{np.mean(oracle.loss()):.4g}", "cost": f"{cost:.4g}"}
                if "clipped" in terms and not lost.all():
                    shown["unclipped"] = f"{np.nanmean(_unclipped(terms, lost)):.0%}"
                bar.set_postfix(shown, refresh=False)
                bar.update()
    single = lead == ()
    return Run(
        problem=problem,
        optimizer=opt,
        seed=seed,
        theta=theta.copy(),
        state=state,
        **{"trajectory": None} | {name: np.array(values) for name, values in kept.items()},
        diverged_at=(int(diverged_at) if diverged_at >= 0 else None) if single else diverged_at,
        clipped_steps=int(clipped_steps) if single else clipped_steps,
        seconds=seconds,
    )


def _unclipped(terms: dict[str, Array], lost: Array) -> Array:
    """Share of coordinates that a step with these terms did not clip, (...); NaN where that cannot be said."""
    if "clipped" not in terms:
        return np.full(lost.shape, np.nan)
    return np.where(lost, np.nan, 1 - terms["clipped"].mean(axis=-1))


def _bar(steps: int, progress: bool) -> Any:
    """A progress bar, or a context without one."""
    if not progress:
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=steps, unit="step")
