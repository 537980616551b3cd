"""Equal budgets, in the order they were asked for, on any executor."""

import math
import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from sophia_ref.study import Trial, best, processes, run_all, sobol, tune


def test_sobol_covers_every_octave_of_a_range_evenly():
    settings = sobol({"lr": (1e-4, 1e-1), "gamma": (0.5, 2.0)}, 8)
    for name, low, high in (("lr", 1e-4, 1e-1), ("gamma", 0.5, 2.0)):
        u = np.array([math.log(s[name] / low) / math.log(high / low) for s in settings])
        assert sorted(np.floor(8 * u)) == list(range(8))  # one point in each eighth: what makes it a Sobol sequence


def test_sobol_repeats_with_its_seed_and_gives_plain_floats():
    space = {"lr": (1e-4, 1e-1)}
    assert sobol(space, 4, seed=3) == sobol(space, 4, seed=3) != sobol(space, 4, seed=4)
    assert type(sobol(space, 1)[0]["lr"]) is float


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_a_range_that_has_no_logarithm_is_refused_by_name(low, high):
    with pytest.raises(ValueError, match="the range of lr must be 0 < low < high"):
        sobol({"lr": (low, high)}, 4)


def test_no_trials_are_refused():
    with pytest.raises(ValueError, match="trials must be at least 1, got 0"):
        sobol({"lr": (0.1, 1.0)}, 0)


SPACES = {"a": {"x": (0.1, 10.0)}, "b": {"x": (0.1, 10.0)}}


def distance_from_one(method, settings):
    if method == "b" and settings["x"] > 1:
        return math.nan  # diverged
    return abs(math.log(settings["x"]))


def test_every_method_gets_the_same_trials_and_the_best_is_first():
    with ThreadPoolExecutor(2) as pool:
        trials = tune(SPACES, distance_from_one, 8, pool)
    of = {method: [t for t in trials if t.method == method] for method in SPACES}
    assert len(of["a"]) == len(of["b"]) == 8
    assert {t.settings["x"] for t in of["a"]} == {t.settings["x"] for t in of["b"]}
    assert best(trials)["a"].score == min(t.score for t in of["a"])
    finite = [t.score for t in of["b"] if not math.isnan(t.score)]
    assert [t.score for t in of["b"]][: len(finite)] == sorted(finite)  # diverged trials come last
    assert list(best(trials)) == ["a", "b"]
    assert best([Trial("a", {}, 1.0), Trial("a", {}, 0.5)])["a"].score == 1.0  # takes the first: tune has sorted


def slow_then_fast(i):
    time.sleep(0.05 if i == 0 else 0)
    return i * i


def test_results_come_in_the_order_of_the_jobs():
    with ThreadPoolExecutor(4) as pool:
        assert run_all(slow_then_fast, [(i,) for i in range(6)], pool) == [0, 1, 4, 9, 16, 25]


def test_the_first_error_is_raised_and_the_rest_is_cancelled():
    started = []

    def fail_first(i):
        started.append(i)
        time.sleep(0.01)
        if i == 0:
            raise RuntimeError("trial 0 failed")

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="trial 0 failed"):
        run_all(fail_first, [(i,) for i in range(200)], pool)
    assert len(started) < 100


def blas_threads():
    return os.environ.get("OPENBLAS_NUM_THREADS"), os.getpid()


def test_processes_run_one_blas_thread_each_and_leave_the_environment_alone(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    with processes(1) as pool:
        threads, pid = pool.submit(blas_threads).result()
        assert (threads, os.environ["OPENBLAS_NUM_THREADS"]) == ("1", "1")
    assert pid != os.getpid()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "7"


def no_thread(self):
    raise RuntimeError("can't start new thread")


def test_a_browser_which_has_no_processes_does_the_work_in_turn(monkeypatch):
    monkeypatch.setattr("sys.platform", "emscripten")
    monkeypatch.setattr("threading.Thread.start", no_thread)
    with processes(4) as pool:
        assert pool.submit(blas_threads).result()[1] == os.getpid()
        assert run_all(slow_then_fast, [(i,) for i in range(6)], pool) == [0, 1, 4, 9, 16, 25]
        with pytest.raises(ZeroDivisionError):
            run_all(divmod, [(1, 1), (1, 0), (1, 1)], pool)


def test_an_interrupt_ends_the_processes_at_once():
    def interrupted():
        with processes(1) as pool:
            pool.submit(blas_threads).result()
            pool.submit(time.sleep, 60)
            raise KeyboardInterrupt

    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.perf_counter() - start < 30


INTERRUPTED = """
    from sophia_ref.study import processes

    def large(i):
        return bytes(10**6)

    def interrupted(pool):
        jobs = [pool.submit(large, i) for i in range(2000)]
        jobs[2].result()
        for job in jobs:  # as run_all does
            job.cancel()
        raise KeyboardInterrupt

    if __name__ == "__main__":
        for _ in range(3):
            try:
                with processes(2) as pool:
                    interrupted(pool)
            except KeyboardInterrupt:
                print("interrupted")
"""


def test_an_interrupt_while_large_results_are_being_sent_leaves_nothing_to_wait_for(tmp_path):
    # A worker that is killed while it sends leaves half a message in the pipe, and the pool's thread reading it. A
    # message larger than the pipe's buffer nearly always is.
    (tmp_path / "interrupted.py").write_text(textwrap.dedent(INTERRUPTED), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "interrupted.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.split()) == (0, ["interrupted"] * 3)
    assert "Traceback" not in done.stderr
