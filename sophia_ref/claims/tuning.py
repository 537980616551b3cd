"""Equal budgets: what is tuned, what is shown, and how much work that is.

An `Arm` is a method on a task for a run length. It is tuned by so many trials, the first points of one Sobol sequence
over the method's ranges, all with TUNING_SEED and scored on a part of the held-out data that nothing else sees. Then
the best is trained with seeds that tuning has not seen. A `Change` is a run with the best settings but for what it
says, for claims about what a setting does. So the number of all runs is known before the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sophia_ref.claims.methods import cost_a_step, space
from sophia_ref.claims.runs import Spec, Table, losses
from sophia_ref.claims.statistics import Tuned
from sophia_ref.claims.tasks import make_task
from sophia_ref.study import run_all, sobol

Array = Any
Model = tuple[int, ...]
TUNING_SEED = 1000


@dataclass(frozen=True)
class Budget:
    """How much is done. lengths: steps of the three run lengths. trials: of each method in each arm; few_trials: in the
    map, which has many. seeds: those that are shown.

    model: (context, width, heads, layers). sizes: the models of claim 7. zipf_model, zipf_batches, zipf_exponents,
    zipf_lengths: the map's.
    Raises ValueError unless there are at least 5 seeds, none of them TUNING_SEED, and three ascending lengths.
    """

    name: str
    lengths: tuple[int, int, int]
    trials: int
    few_trials: int
    model: Model
    batch: int
    sizes: tuple[Model, ...]
    zipf_model: Model
    zipf_batches: tuple[int, ...]
    zipf_exponents: tuple[float, ...]
    zipf_lengths: tuple[int, int, int]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < 5 or TUNING_SEED in self.seeds:
            raise ValueError(f"seeds: {self.seeds}; expected at least 5, and not the tuning seed {TUNING_SEED}")
        for name in ("lengths", "zipf_lengths"):
            lengths = getattr(self, name)
            if len(lengths) != 3 or not 1 <= lengths[0] < lengths[1] < lengths[2]:
                raise ValueError(f"{name}: {lengths}; expected three ascending numbers of steps")

    @property
    def ablated(self) -> tuple[int, int, int]:
        """The three lengths of ablations, which have many arms: a quarter of the shortest, it, and the middle one."""
        return max(1, self.lengths[0] // 4), *self.lengths[:2]

    def of(self, full: Any, quick: Any, tiny: Any) -> Any:
        """A size of an experiment, by the name of the budget."""
        return {"full": full, "quick": quick}.get(self.name, tiny)


FULL = Budget(
    "full",
    lengths=(200, 800, 3200),
    trials=16,
    few_trials=8,
    model=(32, 32, 4, 2),
    batch=16,
    sizes=((32, 16, 2, 2), (32, 32, 4, 2), (32, 48, 4, 3), (32, 80, 4, 4)),
    zipf_model=(16, 32, 4, 2),
    zipf_batches=(4, 16, 64),
    zipf_exponents=(0.0, 1.0, 1.5),
    zipf_lengths=(80, 320, 1280),
)
QUICK = Budget(
    "quick",
    lengths=(20, 40, 80),
    trials=4,
    few_trials=2,
    model=(32, 32, 4, 2),
    batch=8,
    sizes=((32, 8, 2, 1), (32, 16, 2, 2), (32, 32, 4, 2), (32, 48, 4, 2)),
    zipf_model=(16, 32, 4, 2),
    zipf_batches=(4, 16),
    zipf_exponents=(0.0, 1.5),
    zipf_lengths=(10, 20, 40),
)
TINY = Budget(  # for tests: every part, and models that have no use
    "tiny",
    lengths=(4, 8, 16),
    trials=2,
    few_trials=2,
    model=(8, 4, 1, 1),
    batch=2,
    sizes=((8, 4, 1, 1), (8, 8, 1, 1), (8, 12, 1, 1), (8, 16, 1, 1)),
    zipf_model=(4, 4, 1, 1),
    zipf_batches=(2, 4),
    zipf_exponents=(0.0, 1.0),
    zipf_lengths=(3, 6, 12),
)
BUDGETS = {budget.name: budget for budget in (FULL, QUICK, TINY)}


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


def tuned(table: Table, arm: Arm, seeds: Sequence[int], change: Change = AS_TUNED) -> Tuned:
    """An arm as its runs show it. Where settings are changed after tuning, luck in it is no part of the comparison."""
    return Tuned(losses(table, shown(table, arm, seeds, change)), arm.scores(table) if change == AS_TUNED else ())


def milliseconds(table: Table, arm: Arm) -> float:
    """Processor time of a step, the median over the trials that came to their end: other work slows some of them."""
    runs = [table[spec] for spec in arm.tuning()]
    whole = [run.seconds for run in runs if not run.diverged] or [run.seconds for run in runs]
    return 1e3 * float(np.median(whole)) / arm.steps


class Plan:
    """All that a number of claims need, each thing once."""

    def __init__(self, needs: Iterable[Need], budget: Budget) -> None:
        self.budget = budget
        changes: dict[Arm, dict[Change, None]] = {}
        for arm, wanted in needs:
            changes.setdefault(arm, {}).update(dict.fromkeys(wanted))
        self.needs = [Need(arm, tuple(wanted)) for arm, wanted in changes.items()]

    def trials(self) -> list[Spec]:
        """Every tuning run, each once."""
        return list(dict.fromkeys(spec for arm, _ in self.needs for spec in arm.tuning()))

    def evaluations(self, table: Table) -> list[Spec]:
        """Every run that is shown, once the trials are in the table."""
        found = (shown(table, arm, self.budget.seeds, change) for arm, wanted in self.needs for change in wanted)
        return list(dict.fromkeys(spec for specs in found for spec in specs))

    def forecast(self) -> list[Spec]:
        """As many runs that are shown as there will be, of the same cost, before their settings are known. Where two
        changes turn out to be one, there will be fewer."""
        return [
            arm.spec([*change.times, *change.to, ("arm", float(i))], seed, change.method)
            for i, (arm, wanted) in enumerate(self.needs)
            for change in wanted
            for seed in self.budget.seeds
        ]

    def work(self, table: Table, executor: Executor) -> tuple[int, int, float]:
        """(all runs, those that are not in the table, the processor time in seconds that these will take here). A
        gradient and a validation of every kind are timed for it."""
        trials = self.trials()
        new = table.missing(trials)
        known = not new
        rest = self.evaluations(table) if known else self.forecast()
        new = new + (table.missing(rest) if known else rest)
        kinds = list(dict.fromkeys((spec.task, spec.model, spec.batch) for spec in new))
        times = dict(zip(kinds, run_all(timed, kinds, executor), strict=True))
        return len(trials) + len(rest), len(new), sum(_seconds(spec, times) for spec in new)


def timed(task: str, model: Model, batch: int, rounds: int = 8) -> tuple[float, float]:
    """Seconds of processor time of a step of AdamW and of a validation: the medians of some."""
    import time

    import sophia_ref as sr

    made = make_task(task, model, batch)
    steps, looks = [], []
    for _ in range(rounds):
        start = time.process_time()
        run = sr.run(made.problem, sr.AdamW(1e-3), 4, clip_norm=1.0, record=4)
        steps.append((time.process_time() - start) / 4)
        start = time.process_time()
        made.score(run.theta, False)
        looks.append(time.process_time() - start)
    return float(np.median(steps)), float(np.median(looks))


def _seconds(spec: Spec, times: dict[Any, tuple[float, float]]) -> float:
    step, look = times[spec.task, spec.model, spec.batch]
    return spec.steps * step * cost_a_step(spec.method, spec.batch) + look


Select = Callable[[Budget], list[Need]]


def text_arm(budget: Budget, method: str, steps: int) -> Arm:
    """The arm of a method on real text."""
    return Arm("text", budget.model, budget.batch, method, steps, budget.trials)
