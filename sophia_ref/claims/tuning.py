"""Equal budgets: what is tuned, and what is shown.

An `Arm` is a method on a task for a run length. It is tuned by so many trials, the first points of one Sobol sequence
over the method's ranges, all with TUNING_SEED and scored on a part of the held-out data that nothing else sees. Then
the best is trained with seeds that tuning has not seen. A `Change` is a run with the best settings but for what it
says, for claims about what a setting does. So the number of all runs is known before the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sophia_ref.claims.budgets import TUNING_SEED, Budget, Model
from sophia_ref.claims.methods import space
from sophia_ref.claims.runs import Result, Spec, Table, losses
from sophia_ref.claims.statistics import Tuned
from sophia_ref.study import sobol

Array = Any


class Arm(NamedTuple):
    """A method to be tuned for runs of `steps` steps on a task."""

    task: str
    model: Model
    batch: int
    method: str
    steps: int
    trials: int

    def spec(self, settings: Iterable[tuple[str, float]], seed: int, method: str | None = None) -> Spec:
        """A run that is shown."""
        return Spec(
            self.task, self.model, self.batch, method or self.method, tuple(settings), self.steps, seed, tuning=False
        )

    def tuning(self) -> list[Spec]:
        """The trials."""
        return [
            Spec(self.task, self.model, self.batch, self.method, settings, self.steps, TUNING_SEED, tuning=True)
            for settings in _trials(self.method, self.trials)
        ]

    def scores(self, table: Table) -> Array:
        """Of the trials, (trials,), at most LOST."""
        return losses(table, self.tuning())

    def best(self, table: Table) -> tuple[tuple[str, float], ...]:
        """The settings of the best trial; of the first, where all diverged."""
        return self.tuning()[int(np.argmin(self.scores(table)))].settings


@cache
def _trials(method: str, trials: int) -> list[tuple[tuple[str, float], ...]]:
    """Sobol points over the method's ranges; of twice as many, the first half are these."""
    settings = sobol(space(method), trials)
    return [tuple((name, float(f"{value:.4g}")) for name, value in point.items()) for point in settings]


class Change(NamedTuple):
    """times: factors of settings; to: values of settings; method: another method with the settings."""

    times: tuple[tuple[str, float], ...] = ()
    to: tuple[tuple[str, float], ...] = ()
    method: str | None = None

    def apply(self, settings: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
        new = dict(settings)
        for name, factor in self.times:
            new[name] = float(f"{new[name] * factor:.4g}")
        return tuple((new | dict(self.to)).items())


AS_TUNED = Change()


class Need(NamedTuple):
    """An arm to be tuned, and what is to be trained with its best settings, each once a seed; () for the tuning
    alone."""

    arm: Arm
    changes: tuple[Change, ...] = (AS_TUNED,)


def shown(table: Table, arm: Arm, seeds: Sequence[int], change: Change = AS_TUNED) -> list[Spec]:
    """The runs that are shown of an arm that is tuned, one a seed."""
    settings = change.apply(arm.best(table))
    return [arm.spec(settings, seed, change.method) for seed in seeds]


def results(table: Table, arm: Arm, seeds: Sequence[int], change: Change = AS_TUNED) -> list[Result]:
    """What those runs came to."""
    return [table[spec] for spec in shown(table, arm, seeds, change)]


def tuned(table: Table, arm: Arm, seeds: Sequence[int], change: Change = AS_TUNED) -> Tuned:
    """An arm as its runs show it. Where settings are changed after tuning, luck in it is no part of the comparison."""
    return Tuned(losses(table, shown(table, arm, seeds, change)), arm.scores(table) if change == AS_TUNED else ())


def milliseconds(table: Table, arm: Arm) -> float:
    """Processor time of a step, the median over the trials that came to their end: other work slows some of them."""
    runs = [table[spec] for spec in arm.tuning()]
    whole = [run.seconds for run in runs if not run.diverged] or [run.seconds for run in runs]
    return 1e3 * float(np.median(whole)) / arm.steps


def text_arm(budget: Budget, method: str, steps: int) -> Arm:
    """The arm of a method on real text."""
    return Arm("text", budget.model, budget.batch, method, steps, budget.trials)
