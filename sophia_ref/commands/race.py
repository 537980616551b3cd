"""`sophia-ref race`: optimizers on a landscape, and where they come to rest."""

import shutil
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sophia_ref.commands.arguments import not_one_of
from sophia_ref.commands.output import Say, picture
from sophia_ref.report import text_table
from sophia_ref.run import Run, run
from sophia_ref.settings import toy
from toy_problems.landscapes import REGISTRY

FURTHEST = 10  # widths of the domain that a race may start away from it
NEAR = 0.01  # how close to a critical point counts as there
HEADER = ("", "lr", "steps", "cost", "end point", "loss", "where that is")
LEGEND = f"""\
steps, cost: to get within {NEAR:g} of that critical point and stay there, or all
that were taken. Cost counts gradients; a Hessian-vector product is 3."""


def command(args: Namespace, say: Say) -> int:
    landscape, (names, rates) = started(args), racers(args)
    if args.video and shutil.which("ffmpeg") is None:
        args.parser.error("argument --video needs the program ffmpeg, which is not on the PATH; --animate does not")
    path = picture(args, f"race_{args.problem}.png")

    runs = race(landscape, names, rates, args.steps, args.seed, args.noise)
    x, y = landscape.start
    say(f"{landscape.title}, {args.steps} step{'s' * (args.steps > 1)} from ({x:g}, {y:g})\n")
    say(text_table(HEADER, [row(landscape, name, run) for name, run in zip(names, runs, strict=True)]) + "\n")
    say(LEGEND + "\n")

    from sophia_ref import plots

    say(f"wrote {plots.save(plots.race_figure(landscape, runs), path)}")
    for suffix in [".gif"] * args.animate + [".mp4"] * args.video:
        say(f"wrote {plots.animate(landscape, runs, path.with_suffix(suffix))}")
    return 0


def racers(args: Namespace) -> tuple[list[str], dict[str, float]]:
    """Who races, each once, and the learning rates given."""
    names, rates = list(dict.fromkeys(args.optimizers)), dict(args.lr)
    for name in rates:
        if name not in names:
            args.parser.error(f"argument --lr: {not_one_of('in the race', name, names)}")
    return names, rates


def started(args: Namespace) -> Any:
    """The landscape, from the start that was given."""
    landscape = REGISTRY[args.problem]
    if args.start is None:
        return landscape
    for axis, value, (low, high) in zip("xy", args.start, landscape.domain, strict=True):
        reach = FURTHEST * (high - low)
        if not low - reach <= value <= high + reach:
            args.parser.error(
                f"argument --start: {axis} = {value:g}; expected {low - reach:g} <= {axis} <= {high + reach:g}, "
                f"within {FURTHEST} widths of the domain"
            )
    return replace(landscape, start=np.array(args.start))


def race(
    landscape: Any, names: Sequence[str], rates: Mapping[str, float], steps: int, seed: int, noise: float
) -> list[Run]:
    """A run of each optimizer from the landscape's start, with its toy settings but for the learning rates given.

    A rate given to Sophia is its gamma too.

    noise: standard deviation of what is added to each coordinate of each gradient.
    """
    problem = landscape.noisy(noise**2) if noise else landscape
    return [run(problem, toy(landscape, name, rates.get(name)), steps, seed=seed) for name in names]


def row(landscape: Any, name: str, run: Run) -> tuple[str, ...]:
    """The cells of HEADER for one run. The loss is without noise."""
    arrival, where = _arrival(landscape, run)
    x, y = run.theta
    with np.errstate(over="ignore", invalid="ignore"):  # where a diverged run was last
        loss = f"{landscape.f(run.theta):.3g}"
    cost = f"{run.cost[arrival]:.4g}"
    return name, f"{run.optimizer.lr:.3g}", str(run.steps[arrival]), cost, f"({x:.3g}, {y:.3g})", loss, where


def _arrival(landscape: Any, run: Run) -> tuple[int, str]:
    """The index into run.steps since which a run was where it ended, and what that is."""
    if run.diverged_at is not None:
        return -1, "diverged"
    nearest, distance = landscape.nearest(run.theta)
    point = landscape.critical_points[nearest]
    kind = str(landscape.classify(point))
    if distance > NEAR:
        low, high = np.transpose(landscape.domain)
        inside = [bool(((theta >= low) & (theta <= high)).all()) for theta in (landscape.start, run.theta)]
        if inside == [True, False]:
            return -1, "left the domain"
        return -1, f"{distance:.2g} from a {kind}"
    if kind == "minimum":
        lowest = landscape.f(landscape.minima).min()
        kind = "global minimum" if landscape.f(point) <= lowest + 1e-6 else "local minimum"
    elsewhere = np.flatnonzero(np.linalg.norm(run.trajectory - point, axis=-1) > NEAR)
    return (int(elsewhere[-1]) + 1 if len(elsewhere) else 0), kind
