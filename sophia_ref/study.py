"""Tuning with equal budgets.

Every method gets the same number of trials, spread over its own ranges by one Sobol sequence, on seeds that are not
shown. What differs is then the method, not the effort spent on it. Work goes to any `concurrent.futures.Executor`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, NamedTuple

from sophia_ref.serial import Serial

Space = Mapping[str, tuple[float, float]]  # hyperparameter -> lowest and highest value
Settings = dict[str, float]


class Trial(NamedTuple):
    """One setting of one method, and the score (smaller is better) that it reached."""

    method: str
    settings: Settings
    score: float


def sobol(space: Space, trials: int, seed: int = 0) -> list[Settings]:
    """`trials` settings, spread evenly over the logarithms of the ranges (scrambled Sobol points; use powers of two).

    Raises ValueError for a range that is not 0 < low < high, or for less than one trial.
    """
    from scipy.stats import qmc

    for name, (low, high) in space.items():
        if not 0 < low < high < float("inf"):
            raise ValueError(f"sobol: the range of {name} must be 0 < low < high, got ({low}, {high})")
    if trials < 1:
        raise ValueError(f"sobol: trials must be at least 1, got {trials}")
    points = qmc.Sobol(len(space), rng=seed).random(trials)
    return [
        {name: low * (high / low) ** u for u, (name, (low, high)) in zip(point.tolist(), space.items(), strict=True)}
        for point in points
    ]


def tune(
    spaces: Mapping[str, Space],
    score: Callable[[str, Settings], float],
    trials: int,
    executor: Executor,
    progress: str = "",
) -> list[Trial]:
    """Score the same number of trials of every method. Sorted by score within a method, NaN last, as `best` expects.

    spaces: method -> its ranges. score(method, settings): picklable; it averages over seeds where that is wanted.
    """
    jobs = [(method, settings) for method, space in spaces.items() for settings in sobol(space, trials)]
    scores = run_all(score, jobs, executor, progress)
    done = [Trial(*job, value) for job, value in zip(jobs, scores, strict=True)]
    order = {method: i for i, method in enumerate(spaces)}
    return sorted(done, key=lambda trial: (order[trial.method], trial.score != trial.score, trial.score))


def best(trials: Sequence[Trial]) -> dict[str, Trial]:
    """The best trial of each method, from what `tune` returned."""
    first: dict[str, Trial] = {}
    for trial in trials:
        first.setdefault(trial.method, trial)
    return first


def run_all(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    executor: Executor,
    progress: str = "",
    done: Callable[[int, Any], Any] | None = None,
) -> list[Any]:
    """[function(*job) for job in jobs] on an executor, in order. `progress`: label of a bar, none by default.
    `done(i, result)` is called as soon as job i is, so that a result can be kept.

    The first error stops the study: what has not started is cancelled, and the error raised.
    """
    from tqdm.auto import tqdm

    futures = {executor.submit(function, *job): i for i, job in enumerate(jobs)}
    try:
        for future in tqdm(
            as_completed(futures), total=len(futures), desc=progress, unit="run", disable=None if progress else True
        ):
            result = future.result()
            if done is not None:
                done(futures[future], result)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [future.result() for future in futures]


@contextmanager
def processes(workers: int | None = None) -> Iterator[Executor]:
    """A pool of processes with one BLAS thread each, one a core by default. Ctrl-C ends it at once.

    In a browser, which has no processes, work is done in turn.
    """
    if sys.platform == "emscripten":
        yield Serial()
        return
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))  # inherited by processes that are spawned below
    # Ctrl-C reaches a terminal's whole group: the workers leave it to this process, which then ends them
    deaf = signal.SIGINT, signal.SIG_IGN
    pool = ProcessPoolExecutor(workers or os.cpu_count() or 1, get_context("spawn"), signal.signal, deaf)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        running, results = list((pool._processes or {}).values()), pool._result_queue
        manager = pool._executor_manager_thread
        pool.shutdown(wait=False, cancel_futures=True)
        try:
            _wait_for_cancelled(manager)
        finally:
            for process in running:
                process.terminate()
            results._writer.close()  # type: ignore[attr-defined]  # or the rest of a half-sent result is waited for
        raise
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _wait_for_cancelled(manager: Any) -> None:
    """Until the thread of a pool that is being shut down has let go of cancelled work, at most for a second: it would
    stumble over that when the processes die."""
    start = time.monotonic()
    while manager and any(work.future.cancelled() for work in list(manager.pending_work_items.values())):
        if time.monotonic() - start > 1:
            break
        time.sleep(0.01)
