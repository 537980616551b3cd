"""What the benchmarks on a GPU share: the device, what it is, how fast it copies, and a clock that waits for it.

All of it works on a CPU too, so that it can be tried where there is no GPU; times then mean nothing.
"""

import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import side_by_side
from tqdm import tqdm

torch = side_by_side.library("torch", "gpu")
from sophia_ref.conformance.targets import TargetError  # noqa: E402
from sophia_ref.conformance.targets.torch_target import device_named  # noqa: E402

LEAD = 20_000_000  # cycles, some ten milliseconds, that a GPU is kept busy while Python gets ahead of it


class Times(NamedTuple):
    """Milliseconds: median and quartiles of what the device needs, and what a loop of nothing else takes a round."""

    median: float
    low: float
    high: float
    loop: float


def find(name: str) -> Any:
    """The device of this name. Ends the program, in one line, where it is not there."""
    try:
        return device_named(name)
    except TargetError as error:
        raise SystemExit(f"error: argument --{error}") from None


def described(device: Any) -> dict[str, Any]:
    """What was measured on, as it stands in a file of results."""
    found = {"device": str(device), "name": platform.processor() or platform.machine(), "torch": torch.__version__}
    if device.type == "cuda":
        found |= {"name": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return found | {"system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"}


def wait(device: Any) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(job: Callable[[], Any], device: Any, repetitions: int, title: str = "") -> Times:
    """Times of a job that was warmed up. On a GPU by its own events, after a lead in which Python gets ahead, so that
    what counts is the device's work and not the time to launch it."""
    for _ in range(min(repetitions, 10)):
        job()
    wait(device)
    found = []
    for _ in tqdm(range(repetitions), desc=title, leave=False, disable=None):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(LEAD)
            start.record()
            job()
            end.record()
            end.synchronize()
            found.append(start.elapsed_time(end))
        else:
            began = time.perf_counter()
            job()
            found.append(1e3 * (time.perf_counter() - began))
    began = time.perf_counter()
    for _ in range(repetitions):
        job()
    wait(device)
    loop = 1e3 * (time.perf_counter() - began) / repetitions
    low, median, high = np.quantile(found, [0.25, 0.5, 0.75])
    return Times(float(median), float(low), float(high), loop)


def peak(job: Callable[[], Any], device: Any) -> int | None:
    """The most bytes of the device that were taken during a job, with what lay there before; None on a CPU."""
    if device.type != "cuda":
        job()
        return None
    torch.cuda.reset_peak_memory_stats(device)
    job()
    wait(device)
    return int(torch.cuda.max_memory_allocated(device))


def bandwidth(device: Any, numbers: int, repetitions: int) -> float:
    """Bytes a second of a copy of so many float32, read and written."""
    source = torch.ones(numbers, device=device)
    target = torch.empty_like(source)
    return 8 * numbers / (1e-3 * measure(lambda: target.copy_(source), device, repetitions, "copy").median)


def greatest_bandwidth(device: Any) -> float | None:
    """Bytes a second by the clock and the width of the memory; None where PyTorch does not know them."""
    known = torch.cuda.get_device_properties(device) if device.type == "cuda" else None
    clock, width = (getattr(known, name, None) for name in ("memory_clock_rate", "memory_bus_width"))
    return 2 * 1e3 * clock * width / 8 if clock and width else None  # kHz, bits, two transfers a cycle
