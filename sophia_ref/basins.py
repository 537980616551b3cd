"""Where each start ends: the basins of attraction of an optimizer on a landscape.

Starts on a grid are rows of one theta. A row retires when it is done, so that the steps of a few slow rows cost little:

    at a minimum    it stayed within the landscape's `reach` of it for SETTLED steps in a row
    at a saddle     it came within 1e-9 of the domain's size, closer than any path that only passes by
    or a maximum
    diverged        it left the finite numbers, or went further than FURTHEST sizes away from the domain
    nowhere         it has been at rest elsewhere for SETTLED steps, as at a minimum outside of the domain

What has not retired when the steps are over ends at the critical point within reach, or nowhere.
"""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import is_array
from sophia_ref.guard import take_step
from sophia_ref.optimizers.base import Optimizer, integer
from sophia_ref.oracle import Oracle
from sophia_ref.serial import Serial

Array = Any
SETTLED, FURTHEST = 10, 100
PART = 45_000  # starts that share the arrays of a step: few enough for the cache, enough to be worth the calls
NOWHERE, DIVERGED = -1, -2


@dataclass(frozen=True, eq=False)
class Basins:
    """What became of a grid of starts, row by row from the domain's lower edge, each from its left.

    end: (rows, columns), the index into landscape.critical_points, NOWHERE or DIVERGED.
    steps: (rows, columns), after how many steps it was there for good; for NOWHERE, since when it has been on its way.
    cost: gradient-equivalents that the slowest start spent.
    """

    landscape: Any
    optimizer: Optimizer
    end: Array
    steps: Array
    cost: float

    @property
    def kinds(self) -> Array:
        """(rows, columns): "minimum", "saddle", "maximum", "nowhere" or "diverged"."""
        names = [kind for kind in ("minimum", "saddle", "maximum") for _ in _points(self.landscape, kind)]
        return np.array([*names, "diverged", "nowhere"])[self.end]

    def shares(self) -> dict[str, float]:
        """The share of starts that end in each kind of place."""
        return {
            kind: float((self.kinds == kind).mean()) for kind in ("minimum", "saddle", "maximum", "nowhere", "diverged")
        }


def percent(share: float) -> str:
    """A share in words of a table, in which few are not none, and most are not all.

    >>> percent(0.0), percent(0.0004), percent(0.2833), percent(0.9999), percent(1.0)
    ('', '<0.1%', '28.3%', '>99.9%', '100%')
    """
    if share in (0, 1):
        return "100%" * int(share)
    return "<0.1%" if share < 0.001 else ">99.9%" if share > 0.999 else f"{share:.1%}"


def reach(landscape: Any) -> float:
    """How near to a critical point counts as there: 3% of the domain's shorter side, and less than a third of the way
    between two critical points."""
    points = landscape.critical_points
    apart = np.hypot(*(points[:, None] - points[None]).T)
    apart = apart[apart > 0].min(initial=np.inf)
    return float(min(0.03 * _size(landscape), 0.3 * apart))


def grid_of_starts(landscape: Any, grid: tuple[int, int]) -> Array:
    """(rows, columns, 2): the middles of the cells of a grid over the domain, for grid = (columns, rows)."""
    x, y = (
        low + (np.arange(n) + 0.5) * (high - low) / n for n, (low, high) in zip(grid, landscape.domain, strict=True)
    )
    return np.stack(np.meshgrid(x, y), axis=-1)


def basins(
    landscape: Any,
    opt: Optimizer,
    grid: tuple[int, int] = (300, 300),
    steps: int = 300,
    seed: int = 0,
    progress: bool | str = False,
) -> Basins:
    """Where `opt` takes each start of a grid over the landscape's domain within `steps` steps.

    grid: columns and rows. seed: of the landscape's noise and of the probes of estimators. progress: show a bar, with
    a name if it is one.
    Raises TypeError or ValueError, by name, for a problem without critical points and for bad numbers.
    """
    if not hasattr(landscape, "critical_points"):
        raise TypeError(f"basins: landscape must be a Landscape, as in toy_problems.landscapes, got {landscape!r}")
    if not isinstance(opt, Optimizer):
        raise TypeError(f"basins: opt must be an optimizer of sophia_ref, whose rows are independent, got {opt!r}")
    if arrays := [field.name for field in fields(opt) if is_array(getattr(opt, field.name))]:
        raise TypeError(f"basins: {arrays[0]} must be one number for all starts, got an array")
    if not isinstance(grid, tuple) or len(grid) != 2:
        raise TypeError(f"basins: grid must be a pair (columns, rows), got {grid!r}")
    columns, rows = (integer("basins: grid", n, 1) for n in grid)
    steps, seed = integer("basins: steps", steps, 1), integer("basins: seed", seed, 0)
    if not len(landscape.critical_points):
        raise ValueError(f"basins: landscape must have critical points, got {landscape.name} without any")

    starts, place_of = grid_of_starts(landscape, (columns, rows)).reshape(-1, 2), _finder(landscape)
    count = -(-len(starts) // PART)
    seeds = np.random.SeedSequence(seed).spawn(count)
    end, taken = np.empty(len(starts), int), np.empty(len(starts), int)
    with _bar(len(starts), progress) as say, _threads() as pool:
        try:
            # every count-th start belongs to one part, so that all take about as long
            futures = [
                pool.submit(_ends, landscape, opt, starts[i::count], steps, seeds[i], place_of, say)
                for i in range(count)
            ]
            for i, future in enumerate(futures):
                end[i::count], taken[i::count], _ = future.result()
        except BaseException:  # Ctrl-C too
            pool.shutdown(cancel_futures=True)
            raise
    cost = max(future.result()[2] for future in futures)
    return Basins(landscape, opt, end.reshape(rows, columns), taken.reshape(rows, columns), cost)


def _ends(
    landscape: Any,
    opt: Optimizer,
    theta: Array,
    steps: int,
    seed: np.random.SeedSequence,
    place_of: Callable[[Array, Array], tuple[Array, Array]],
    say: Callable[[int], Any],
) -> tuple[Array, Array, float]:
    """Where starts theta (n, 2) end and after how many steps, (n,) each, and the cost of the slowest.
    place_of: as _finder makes it. say: is told how many have retired, as they do."""
    data_rng, probe_rng = (np.random.default_rng(s) for s in seed.spawn(2))
    exact = 1e-9 * _size(landscape)
    # by index, also NOWHERE = -1 and DIVERGED = -2
    attracts = np.arange(len(landscape.critical_points) + 2) < len(landscape.minima)
    low, high = np.transpose(landscape.domain)
    middle, furthest = (low + high) / 2, (FURTHEST + 0.5) * (high - low)

    end, taken, cost = np.full(len(theta), NOWHERE), np.zeros(len(theta), int), 0.0
    # of the rows still on their way: which they are, where they are, since when, and for how many steps at rest
    going, place, since, resting = np.arange(len(theta)), end.copy(), taken.copy(), taken.copy()
    before, state = theta, opt.init(theta)
    with np.errstate(all="ignore"):
        for t in range(steps + 1):
            x, y = theta.T
            gone = (np.abs(x - middle[0]) > furthest[0]) | (np.abs(y - middle[1]) > furthest[1])
            here, distance = place_of(x, y)
            here[gone] = DIVERGED
            since, place = np.where(here == place, since, t), here
            resting = np.where(np.hypot(x - before[:, 0], y - before[:, 1]) > exact, 0, resting + 1)
            settled = np.where(attracts[place], t - since >= SETTLED, distance <= exact)
            retired = np.where(place >= 0, settled, resting >= SETTLED) | gone | (t == steps)
            if retired.any():
                end[going[retired]], taken[going[retired]] = place[retired], since[retired]
                say(int(retired.sum()))
                left = np.flatnonzero(~retired)
                if not len(left):
                    break
                going, theta, place, since, resting = (
                    array.take(left, axis=0) for array in (going, theta, place, since, resting)
                )
                state = type(state)(state.t, *(array.take(left, axis=0) for array in state[1:]))
            oracle = Oracle(landscape, theta, landscape.batch(data_rng, theta.shape[:-1]), probe_rng)
            lost = np.zeros(len(theta), bool)
            step, lost, _ = take_step(opt, theta, state, oracle, lost, clip_norm=None, block=len(theta), terms=())
            before, theta, state, cost = theta, step.theta, step.state, cost + oracle.cost
            if lost.any():
                theta[lost] = middle + 2 * furthest  # gone in the next round; until then its numbers are finite
    return end, taken, cost


def _finder(landscape: Any) -> Callable[[Array, Array], tuple[Array, Array]]:
    """A function of x and y (n,): the index of the critical point within reach, or NOWHERE, and the distance, (n,).

    Critical points are more than three reaches apart. So at most one is within reach of a cell whose sides are half of
    one, and it is the one nearest to the cell's middle.
    """
    points, near = landscape.critical_points, reach(landscape)
    side, (low, high) = near / 2, np.transpose(landscape.domain)
    low = low - near
    shape = np.ceil((high + near - low) / side).astype(int)
    middles = low + side * (np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) + 0.5)
    candidates = landscape.nearest(middles)[0]  # one for each cell

    def place_of(x: Array, y: Array) -> tuple[Array, Array]:
        i, j = (((u - start) / side).clip(0, n - 1).astype(int) for u, start, n in zip((x, y), low, shape, strict=True))
        candidate = candidates[i, j]
        distance = np.hypot(x - points[candidate, 0], y - points[candidate, 1])
        return np.where(distance <= near, candidate, NOWHERE), distance

    return place_of


def _threads() -> Executor:
    """A thread for each core that this process may use; a browser's Python has one thread."""
    return Serial() if sys.platform == "emscripten" else ThreadPoolExecutor(_cores())


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _size(landscape: Any) -> float:
    return float(min(high - low for low, high in landscape.domain))


def _points(landscape: Any, kind: str) -> Array:
    return {"minimum": landscape.minima, "saddle": landscape.saddles, "maximum": landscape.maxima}[kind]


@contextmanager
def _bar(total: int, progress: bool | str) -> Iterator[Callable[[int], Any]]:
    """What is told how many starts have retired, and shows it."""
    if not progress:
        yield lambda n: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="start", desc=progress if isinstance(progress, str) else None) as bar:
        lock = Lock()

        def say(n: int) -> None:
            with lock:
                bar.update(n)

        yield say
