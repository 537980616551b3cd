"""What the benchmarks share: one thread unless said otherwise, repetitions in turns, and a table.

Import this before NumPy: it sets the number of BLAS threads to one, which counts only when the library loads.
"""

import os
import platform
import time
from collections.abc import Callable
from typing import Any

for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

TURN = 4  # repetitions in a row that count, after one that does not: it finds the caches as the others left them


def pin(cores: int) -> None:
    """Keep this process on so many cores, where the system can; call it before anything starts threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def measure(jobs: dict[str, Callable[[], Any]], repetitions: int, title: str = "") -> dict[str, float]:
    """Median seconds of each job. They take turns, so that a change of the machine's clock or load meets them all."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    turn = min(TURN, repetitions)
    for job in jobs.values():
        job()  # compiles, allocates, imports
    for _ in tqdm(range(-(-repetitions // turn)), desc=title, leave=False, disable=None):
        for name, job in jobs.items():
            job()
            for _ in range(turn):
                start = time.perf_counter()
                job()
                seconds[name].append(time.perf_counter() - start)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def machine() -> str:
    """One line: processor, cores in use, versions."""
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            processor = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    blas: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload]
    return (
        f"{processor}, {os.cpu_count()} cores; Python {platform.python_version()}, NumPy {np.__version__} "
        f"with {blas['name']} {blas['version']}"
    )


def library(name: str, extra: str = "bench") -> Any:
    """A framework, or a line that says which extra, and which target of make, brings it."""
    try:
        return __import__(name)
    except ImportError:
        raise SystemExit(f"{name} is needed: pip install -e '.[{extra}]', or make {extra}") from None


def table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """A table in Markdown; numbers as they are given."""
    lines = [header, tuple("---" if i == 0 else "---:" for i in range(len(header))), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
