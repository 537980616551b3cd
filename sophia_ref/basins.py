"""Where each start ends: the basins of attraction of an optimizer on a landscape.

Starts on a grid are rows of one theta. A row retires when it is done, so that the steps of a few slow rows cost little:

    at a minimum    it stayed within the landscape's `reach` of it for SETTLED steps in a row
    at a saddle     it came within 1e-9 of the domain's size, closer than any path that only passes by
    or a maximum
    diverged        it left the finite numbers, or went further than FURTHEST sizes away from the domain

What has not retired when the steps are over ends at the critical point within reach, or nowhere.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from sophia_ref.guard import default_block, take_step
from sophia_ref.optimizers.base import Optimizer, integer, is_array
from sophia_ref.oracle import Oracle

Array = Any
SETTLED, FURTHEST = 10, 100
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
    progress: bool = False,
) -> Basins:
    """Where `opt` takes each start of a grid over the landscape's domain within `steps` steps.

    grid: columns and rows. seed: of the landscape's noise and of the probes of estimators. progress: show a bar.
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
    data_rng, probe_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))

    find, near, exact = _finder(landscape), reach(landscape), 1e-9 * _size(landscape)
    attracts = np.arange(len(landscape.critical_points)) < len(landscape.minima)
    low, high = np.transpose(landscape.domain)
    lowest, highest = low - FURTHEST * (high - low), high + FURTHEST * (high - low)

    theta = grid_of_starts(landscape, (columns, rows)).reshape(-1, 2)
    end, taken, cost = np.full(len(theta), NOWHERE), np.zeros(len(theta), int), 0.0
    # of the rows still on their way: which they are, where they are, and since when
    going, place, since, state = np.arange(len(theta)), end.copy(), taken.copy(), opt.init(theta)
    with np.errstate(all="ignore"), _bar(len(theta), progress) as bar:
        for t in range(steps + 1):
            gone = ~((theta >= lowest) & (theta <= highest)).all(axis=-1)
            nearest, distance = find(np.where(gone[:, None], lowest, theta))
            here = np.select([gone, distance <= near], [DIVERGED, nearest], NOWHERE)
            since, place = np.where(here == place, since, t), here
            settled = (place >= 0) & np.where(attracts[place], t - since >= SETTLED, distance <= exact)
            retired = settled | gone | (t == steps)
            end[going[retired]], taken[going[retired]] = place[retired], since[retired]
            if bar is not None:
                bar.update(int(retired.sum()))
            left = ~retired
            if not left.any():
                break
            if retired.any():
                going, theta, place, since = going[left], theta[left], place[left], since[left]
                state = type(state)(state.t, *(array[left] for array in state[1:]))
            oracle = Oracle(landscape, theta, landscape.batch(data_rng, theta.shape[:-1]), probe_rng)
            lost = np.zeros(len(theta), bool)
            step, lost, _ = take_step(
                opt, theta, state, oracle, lost, clip_norm=None, block=default_block(theta), terms=()
            )
            # a row that is lost is gone in the next round; until then its numbers are finite
            theta, state, cost = np.where(lost[:, None], highest + 1, step.theta), step.state, cost + oracle.cost
    return Basins(landscape, opt, end.reshape(rows, columns), taken.reshape(rows, columns), cost)


def _finder(landscape: Any) -> Callable[[Array], tuple[Array, Array]]:
    """A function theta (n, 2) -> index of the nearest critical point and its distance, (n,) each."""
    if len(landscape.critical_points) <= 8:
        nearest: Callable[[Array], tuple[Array, Array]] = landscape.nearest
        return nearest
    from scipy.spatial import KDTree  # with a hundred points 20 times faster

    tree = KDTree(landscape.critical_points)
    return lambda theta: tree.query(theta)[::-1]


def _size(landscape: Any) -> float:
    return float(min(high - low for low, high in landscape.domain))


def _points(landscape: Any, kind: str) -> Array:
    return {"minimum": landscape.minima, "saddle": landscape.saddles, "maximum": landscape.maxima}[kind]


def _bar(total: int, progress: bool) -> Any:
    if not progress:
        return nullcontext()
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="start")
