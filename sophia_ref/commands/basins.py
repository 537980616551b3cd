"""`sophia-ref basins`: where the starts of a grid end, optimizer by optimizer."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sophia_ref.basins import Basins, basins, percent
from sophia_ref.commands.output import Say, picture
from sophia_ref.commands.race import racers
from sophia_ref.report import text_table
from sophia_ref.settings import toy
from toy_problems.landscapes import REGISTRY

HEADER = ("", "lr", "minimum", "saddle", "maximum", "nowhere", "diverged", "steps", "cost")
LEGEND = """\
Shares of the starts by where they end. nowhere: still on the way, or at rest
outside of the domain. steps: the median of those that arrived. cost: of the
slowest start, in gradients."""


def command(args: Namespace, say: Say) -> int:
    landscape, (names, rates), (columns, rows) = REGISTRY[args.problem], racers(args), args.grid
    path = picture(args, f"basins_{args.problem}.png")
    say(f"{landscape.title}, {columns} x {rows} starts, up to {args.steps} step{'s' * (args.steps > 1)}")
    found = search(landscape, names, rates, (columns, rows), args.steps, args.seed, args.noise)
    say("\n" + text_table(HEADER, [row(name, item) for name, item in zip(names, found, strict=True)]) + "\n")
    say(LEGEND + "\n")

    from sophia_ref.plots import save
    from sophia_ref.plots.basins import basins_figure

    say(f"wrote {save(basins_figure(found), path)}")
    return 0


def search(
    landscape: Any,
    names: Sequence[str],
    rates: Mapping[str, float],
    grid: tuple[int, int],
    steps: int,
    seed: int,
    noise: float,
) -> list[Basins]:
    """The basins of each optimizer, with the settings that it races with. A bar for each is shown on standard error."""
    problem = landscape.noisy(noise**2) if noise else landscape
    return [basins(problem, toy(landscape, name, rates.get(name)), grid, steps, seed, progress=name) for name in names]


def row(name: str, found: Basins) -> tuple[str, ...]:
    """The cells of HEADER."""
    shares = [percent(share) for share in found.shares().values()]
    arrived = found.steps[found.end >= 0]
    steps = f"{np.median(arrived):.0f}" if len(arrived) else ""
    return name, f"{found.optimizer.lr:.3g}", *shares, steps, f"{found.cost:.4g}"
