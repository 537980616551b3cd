"""A step that divergence cannot stop, of many runs in blocks that stay in the processor's cache.

An optimizer refuses gradients that are not finite. In a batch of runs one row may leave the finite numbers while the
others go on, so `run` shows its optimizer a `Guard` instead of the oracle itself.

A million starts on a surface fill 16 MB an array, and one step makes dozens of arrays: taken at once, they pass through
main memory each time. As runs are independent, `take_step` takes them block by block. That changes nothing but the
order in which an estimator draws its random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import fields, replace
from typing import Any

import numpy as np

from sophia_ref.autodiff.dispatch import is_array
from sophia_ref.optimizers.base import Optimizer, Step, frozen
from sophia_ref.oracle import Oracle

Array = Any
BLOCK_BYTES = 2**19  # of theta; a step's temporaries then fit into a second-level cache of a few MB


class Guard:
    """The oracle as an optimizer in `run` sees it: with gradient norms clipped, and with zeros for rows that are not
    finite, which it would refuse. Estimators are handed the oracle itself.

    lost: (...) which rows those are, added to with every answer. norm_clipped: (...) whose gradient was clipped.
    """

    def __init__(self, oracle: Oracle, clip_norm: float | None, lost: Array) -> None:
        self.oracle, self.clip_norm, self.lost = oracle, clip_norm, lost.copy()
        self.norm_clipped = np.zeros(lost.shape, bool)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.oracle, name)

    def sound(self, answer: Array, axes: int = 1) -> Array:
        """The answer, finite: a row with anything else is lost. Its last `axes` axes belong to one row."""
        # x·x needs one pass and is finite only if every entry is; as it may overflow, entries are looked at after it
        if math.isfinite(np.vdot(answer, answer)) or (finite := np.isfinite(answer)).all():
            return answer
        self.lost |= ~finite.all(axis=tuple(range(-axes, 0)))
        return np.where(self.lost[(..., *(None,) * axes)], 0.0, answer)

    def grad(self) -> Array:
        g = self.oracle.grad()
        not_a_number = np.isnan(self.oracle.loss())  # log of a negative number has a derivative nevertheless
        if np.count_nonzero(not_a_number):
            self.lost |= not_a_number
        g = self.sound(g)
        if self.clip_norm is None:
            return g
        too_long = np.linalg.norm(g, axis=-1, keepdims=True) > self.clip_norm
        self.norm_clipped = too_long[..., 0]
        if not too_long.any():
            return g
        # g ← clip_norm g / ‖g‖, with entries of at most 1 on the right, so that no square overflows
        g_unit = g / np.abs(g).max(axis=-1, keepdims=True)
        g_unit = g_unit / np.linalg.norm(g_unit, axis=-1, keepdims=True)
        g = np.where(too_long, self.clip_norm * g_unit, g)
        return g

    def hvp(self, v: Array) -> Array:
        return self.sound(self.oracle.hvp(v))

    def hessian(self) -> Array:
        return self.sound(self.oracle.hessian(), axes=2)

    def hessian_diag(self) -> Array:
        return self.sound(self.oracle.hessian_diag())

    def sampled_grad(self) -> tuple[Array, Any]:
        g, B = self.oracle.sampled_grad()
        return self.sound(g), B

    def curvature(self, estimator: Any) -> Array:
        return self.sound(self.oracle.curvature(estimator))


def default_block(theta: Array) -> int:
    """How many entries of theta's first axis fit into BLOCK_BYTES, at least one; all of them where that is one run."""
    return max(1, BLOCK_BYTES * len(theta) // max(theta.nbytes, 1)) if theta.ndim > 1 else 1


def take_step(
    opt: Any,
    theta: Array,
    state: Any,
    oracle: Oracle,
    lost: Array,
    *,
    clip_norm: float | None,
    block: int,
    terms: Collection[str] | None = None,
) -> tuple[Step, Array, Array]:
    """(step, lost, norm_clipped): opt's step from theta (..., P), and as in `Guard` which rows are lost after it and
    whose gradient was clipped, both (...).

    block: how many entries of theta's first axis are taken at once. An optimizer that is not of this package may do
    with its rows what it likes, and gets all of them. terms: which are wanted of a step in blocks; None for all.
    """
    if theta.ndim == 1 or len(theta) <= block or not isinstance(opt, Optimizer):
        guard = Guard(oracle, clip_norm, lost)
        step = opt.step(theta, state, guard)
        guard.sound(step.theta)
        return step, guard.lost, guard.norm_clipped

    steps, guards = [], []
    for rows in (slice(i, i + block) for i in range(0, len(theta), block)):
        guard = Guard(oracle.rows(rows), clip_norm, lost[rows])
        memory = type(state)(state.t, *(array[rows] for array in state[1:]))
        try:
            step = _of_rows(opt, rows, theta).step(theta[rows], memory, guard)
        except ValueError as error:
            error.add_note(f"run took {block} rows of theta at a time; with block={len(theta)} it takes all at once")
            raise
        guard.sound(step.theta)
        steps.append(step._replace(terms={k: v for k, v in step.terms.items() if terms is None or k in terms}))
        guards.append(guard)

    first = steps[0]
    arrays = (frozen(np.concatenate(parts)) for parts in zip(*(step.state[1:] for step in steps), strict=True))
    oracle.join([guard.oracle for guard in guards])
    joined = Step(
        np.concatenate([step.theta for step in steps]),
        type(state)(first.state.t, *arrays),
        {name: np.concatenate([step.terms[name] for step in steps]) for name in first.terms},
    )
    lost, norm_clipped = (np.concatenate([getattr(g, name) for g in guards]) for name in ("lost", "norm_clipped"))
    return joined, lost, norm_clipped


def _of_rows(opt: Optimizer, rows: slice, theta: Array) -> Optimizer:
    """opt with those settings of its own for these rows that it has for every row of theta."""
    settings = {field.name: getattr(opt, field.name) for field in fields(opt)}
    own = {k: v[rows] for k, v in settings.items() if is_array(v) and v.ndim == theta.ndim and len(v) == len(theta)}
    return replace(opt, **own) if own else opt
