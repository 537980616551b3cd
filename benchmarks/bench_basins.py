"""Basins of five optimizers, those of Figure 2, on two cores: wall and process time.

    python benchmarks/bench_basins.py [--grids 300 1000] [--problems sophia_fig2 himmelblau ...] [--steps 300]

First, single runs from a few starts must end where the grid says. Where starts never arrive (a learning rate that
steps over the minima), all steps are taken: the last three problems are such.
"""

import argparse
import time

import side_by_side  # first: it sets the number of threads

side_by_side.pin(2)

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

import sophia_ref as sr  # noqa: E402
from sophia_ref.basins import basins, grid_of_starts, percent, reach  # noqa: E402
from sophia_ref.commands.arguments import RACERS  # noqa: E402
from sophia_ref.settings import toy  # noqa: E402
from toy_problems.landscapes import REGISTRY  # noqa: E402

PROBLEMS = ["sophia_fig2", "himmelblau", "rosenbrock", "rastrigin", "ackley"]


def check(landscape, opt, steps):
    """Starts whose run of their own rests at a critical point must end there."""
    found, starts = basins(landscape, opt, (7, 7), steps), grid_of_starts(landscape, (7, 7))
    for at in np.ndindex(7, 7):
        path = sr.run(landscape, opt, steps, starts[at]).trajectory
        index, distance = landscape.nearest(path[-11:])
        if (index == index[0]).all() and (distance <= reach(landscape)).all():
            assert found.end[at] == index[0], (landscape.name, opt, starts[at])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grids", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--problems", nargs="+", default=PROBLEMS)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    rows = []
    for name in tqdm(options.problems, leave=False, disable=None):
        landscape = REGISTRY[name]
        opts = [toy(landscape, name) for name in RACERS]
        for opt in opts:
            check(landscape, opt, 40)
        for n in options.grids:
            wall, process = time.perf_counter(), time.process_time()
            found = [basins(landscape, opt, (n, n), options.steps) for opt in opts]
            wall, process = time.perf_counter() - wall, time.process_time() - process
            shares = [item.shares() for item in (found[RACERS.index(who)] for who in ("newton", "sophia"))]
            high = [percent(share["saddle"] + share["maximum"]) or "0" for share in shares]
            rows.append((name, f"{n} x {n}", f"{wall:.1f}", f"{process:.1f}", *high))
    print(f"basins of {', '.join(RACERS)}, up to {options.steps} steps, two cores; {side_by_side.machine()}\n")
    header = ("problem", "starts", "s", "s of process time", "at a saddle or maximum: Newton", "Sophia")
    print(side_by_side.table(header, rows))


if __name__ == "__main__":
    main()
