"""How much is done: the full study, a quick look at every part of it, and what the tests make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Model = tuple[int, ...]  # (context, width, heads, layers)
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
