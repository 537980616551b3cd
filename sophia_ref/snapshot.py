"""Where a run stands: with the problem, all that the rest of it depends on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sophia_ref.optimizers.base import Array, Optimizer

STREAMS = ("initialisation", "data", "probes", "callback")


class Stream(NamedTuple):
    """Where a PCG64 stream stands: its 128-bit state and increment, half of a 64-bit number that is left over, and how
    many streams it has spawned."""

    state: int
    increment: int
    has_half: int
    half: int
    spawned: int

    @classmethod
    def of(cls, rng: np.random.Generator) -> Stream:
        at: Any = rng.bit_generator.state
        seeds: Any = rng.bit_generator.seed_seq
        return cls(at["state"]["state"], at["state"]["inc"], at["has_uint32"], at["uinteger"], seeds.n_children_spawned)

    def generator(self, seed: int, index: int) -> np.random.Generator:
        """A generator that goes on from here, the stream of this index of a run with this seed."""
        seeds = np.random.SeedSequence(seed, spawn_key=(index,), n_children_spawned=self.spawned)
        rng = np.random.Generator(np.random.PCG64(seeds))
        rng.bit_generator.state = {
            "bit_generator": "PCG64",
            "state": {"state": self.state, "inc": self.increment},
            "has_uint32": self.has_half,
            "uinteger": self.half,
        }
        return rng


def generators(seed: int) -> list[np.random.Generator]:
    """The independent generators of a run with this seed, by STREAMS."""
    return [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(len(STREAMS))]


class Snapshot(NamedTuple):
    """A run after t steps, before it draws the batch of the next. `lead` is theta.shape[:-1]."""

    t: int
    theta: Array  # (..., P)
    state: Any  # what the optimizer remembers
    optimizer: Optimizer
    seed: int
    record: int  # every how many steps is recorded
    block: int  # how many entries of theta's first axis are taken at once
    clip_norm: float | None
    streams: tuple[Stream, ...]  # by STREAMS; that of the data is the position in the data
    cost: float  # gradient-equivalents so far
    seconds: float
    clipped: Array  # (*lead, n), the last step's clipped coordinates or, n = 1, their share; NaN if it cannot be said
    diverged_at: Array  # (*lead), -1 for rows that have not diverged
    clipped_steps: Array  # (*lead)
    log: dict[str, Array]  # steps, losses, cost, unclipped and, if it is kept, trajectory: the entries of Run so far
