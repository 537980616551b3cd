"""Learning rates that change with the step t = 1, 2, ... A constant one is a plain number."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sophia_ref.optimizers.base import integer, number


@dataclass(frozen=True)
class cosine:
    """Linear warm-up to peak over the first steps, then half a cosine down to final * peak at t = steps, and constant
    after.

    The Sophia paper has final = 0.05 and a warm-up of 2,000 of 100,000 to 400,000 steps. Raises TypeError or ValueError
    for peak < 0, steps < 1, a warmup that is not in 0, ..., steps - 1, or final outside [0, 1].

    >>> lr = cosine(peak=1.0, steps=12, warmup=4, final=0.0)
    >>> [round(lr(t), 3) for t in (1, 2, 4, 8, 12, 13)]
    [0.25, 0.5, 1.0, 0.5, 0.0, 0.0]
    """

    peak: float
    steps: int
    warmup: int = 0
    final: float = 0.05

    def __post_init__(self) -> None:
        number("cosine: peak", self.peak, "a finite number >= 0", lambda x: 0 <= x < math.inf)
        integer("cosine: steps", self.steps, 1)
        if integer("cosine: warmup", self.warmup, 0) >= self.steps:
            raise ValueError(f"cosine: warmup must be less than steps = {self.steps}, got {self.warmup}")
        number("cosine: final", self.final, "a number in [0, 1]", lambda x: 0 <= x <= 1)

    def __call__(self, t: int) -> float:
        if t < self.warmup:
            return self.peak * t / self.warmup
        # η_t = η (f + (1 - f) (1 + cos π s) / 2),  s from 0 at the end of the warm-up to 1 at t = steps
        s = min(1.0, (t - self.warmup) / (self.steps - self.warmup))
        return self.peak * (self.final + (1 - self.final) * (1 + math.cos(math.pi * s)) / 2)
