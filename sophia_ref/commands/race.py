"""`sophia-ref race`: optimizers on a landscape, and where they come to rest."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sophia_ref.oracle import Oracle
from sophia_ref.run import Run, run
from sophia_ref.settings import TOYS

NEAR = 0.01  # how close to a critical point counts as there
HEADER = ("", "lr", "steps", "cost", "end point", "loss", "where that is")
LEGEND = f"""\
steps, cost: to get within {NEAR:g} of that critical point and stay there, or all
that were taken. Cost counts gradients; a Hessian-vector product is 3."""


def race(
    landscape: Any, names: Sequence[str], rates: Mapping[str, float], steps: int, seed: int, noise: float
) -> list[Run]:
    """A run of each optimizer from the landscape's start, with its toy settings but for the learning rates given.

    A rate given to Sophia is its gamma too.

    noise: standard deviation of what is added to each coordinate of each gradient.
    """
    problem = landscape.noisy(noise**2) if noise else landscape
    return [run(problem, toy(landscape, name, rates.get(name)), steps, seed=seed) for name in names]


def toy(landscape: Any, name: str, lr: float | None = None) -> Any:
    """An optimizer with its toy settings for this landscape but for the learning rate, if one is given.

    Sophia's gamma is that rate too, or an unclipped step would no longer be Newton's; it must be > 0.
    """
    opt = TOYS[name](*scale(landscape))
    if lr is None:
        return opt
    return replace(opt, lr=lr, **({"gamma": lr} if hasattr(opt, "gamma") and lr > 0 else {}))


def scale(landscape: Any) -> tuple[float, float]:
    """What toy settings are made from: the shorter side of the landscape's domain, and its largest curvature."""
    return min(high - low for low, high in landscape.domain), _curvature(landscape)


def _curvature(landscape: Any) -> float:
    """The largest |eigenvalue| of the Hessian at the start and the critical points, or where it all but vanishes there,
    as on a monkey saddle, over the domain."""
    x, y = np.meshgrid(*(np.linspace(low, high, 21) for low, high in landscape.domain))
    points = np.concatenate([landscape.start[None], landscape.critical_points])
    here, anywhere = (
        float(np.abs(np.linalg.eigvalsh(Oracle(landscape, theta).hessian())).max())
        for theta in (points, np.stack([x, y], axis=-1))
    )
    return here if here > 1e-3 * anywhere else anywhere


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
