"""All the runs that a number of claims need, each once, and the time that they will take."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Executor
from typing import Any

import numpy as np

from sophia_ref.claims.budgets import Budget, Model
from sophia_ref.claims.methods import cost_a_step
from sophia_ref.claims.runs import Spec, Table
from sophia_ref.claims.tasks import make_task
from sophia_ref.claims.tuning import Arm, Change, Need, shown
from sophia_ref.study import run_all


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
