"""One engine for every dialect of Sophia: the paper's Algorithm 3 with a knob wherever implementations differ.

`Knobs` says which way each knob points, `Variant` is the optimizer that obeys them. With every knob as it is by
default, a Variant is `sophia_ref.Sophia`, bit for bit. `sophia_ref.conformance.dialects` has the knobs of each
implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from sophia_ref.curvature import hutchinson
from sophia_ref.optimizers.base import Array, Estimator, Optimizer, Questions, Step, frozen, number


@dataclass(frozen=True)
class Knobs:
    """Where implementations differ. The defaults are the paper's; k is `every`.

    Raises ValueError for a direction that a knob does not have.
    """

    first: str = "1"  # the step of the first estimate, "1", "k" or "k+1"; the others follow every k steps
    literal: bool = False  # the paper's t mod k = 1 as written, which never holds for k = 1
    absorbed: str = "before"  # h takes an estimate in "before" that step's update, "after" it, or "late": at k, 2k, ...
    replaces: bool = False  # an estimate takes the place of a training step
    start: str = "zero"  # h begins at "zero", or with the "first" estimate
    m_corrected: bool = False  # m / (1 - beta1^t)
    h_corrected: bool = False  # h / (1 - beta2^n), n estimates
    averagings: int = 1  # how often a gradient enters m
    batch_at_step: bool = False  # gamma bs h: the batch size B meets h in each step, not in the estimate
    denominator: str = "max"  # of gamma h and eps: "max", "add" or "relu+add"
    floor: bool = True  # clip from below too: without, sign(m) min(|m| / denominator, clip)
    decay: str = "first"  # theta - lr wd theta "first", "factor" theta (1 - lr wd), or "added" to the update
    rate_over_clip: bool = False  # the step is lr / clip times the update: lr is the longest step

    def __post_init__(self) -> None:
        for name, choices in _DIRECTIONS.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"Knobs: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")

    def estimates(self, t: int, k: int) -> int:
        """How many curvature estimates are made in steps 1 to t.

        >>> Knobs().estimates(11, 10), Knobs(first="k").estimates(11, 10), Knobs(literal=True).estimates(11, 1)
        (2, 1, 0)
        """
        first = {"1": 1, "k": k, "k+1": k + 1}[self.first]
        if t < first or (self.literal and k == 1):
            return 0
        return (t - first) // k + 1

    def estimates_at(self, t: int, k: int) -> bool:
        """Whether step t makes one."""
        return self.estimates(t, k) > self.estimates(t - 1, k)


_DENOMINATORS: dict[str, Callable[[Array, float], Array]] = {  # of γ h and ε
    "max": lambda scaled, eps: np.maximum(scaled, eps),
    "add": lambda scaled, eps: scaled + eps,
    "relu+add": lambda scaled, eps: np.maximum(scaled, 0.0) + eps,
}
_DIRECTIONS: dict[str, tuple[Any, ...]] = {
    "first": ("1", "k", "k+1"),
    "absorbed": ("before", "after", "late"),
    "start": ("zero", "first"),
    "averagings": (1, 2),
    "denominator": tuple(_DENOMINATORS),
    "decay": ("first", "factor", "added"),
}


class VariantState(NamedTuple):
    t: int  # steps taken
    m: Array  # (..., P), running average of gradients
    h: Array  # (..., P), running average of curvature estimates
    held: Array  # (..., P), the latest estimate where h takes it in late, else zeros


@dataclass(frozen=True, eq=False)
class Variant(Optimizer):
    """A Sophia with these knobs. The settings are those of `sophia_ref.Sophia`, and bs, the batch size that multiplies
    h in each step where knobs.batch_at_step says so. label: what it is called in errors.

    An implementation that estimates after its steps k, 2k, ..., at the parameters which these have left, does what one
    does that estimates before its steps k + 1, 2k + 1, ...: first = "k+1".
    """

    beta1: float = 0.96
    beta2: float = 0.99
    gamma: float | Array = 0.01
    clip: float = 1.0
    eps: float = 1e-12
    weight_decay: float | Array = 0.0
    every: int = 10
    estimator: Estimator = hutchinson
    bs: float = 1.0
    knobs: Knobs = field(default_factory=Knobs)
    label: str = "Variant"

    State: ClassVar[type[VariantState]] = VariantState

    @property
    def name(self) -> str:
        return self.label

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = "a finite number > 0"
        object.__setattr__(self, "bs", number(f"{self.name}: bs", self.bs, expected, lambda x: 0 < x < np.inf))

    def step(self, theta: Array, state: VariantState, oracle: Questions) -> Step:
        t, lr = self.begin(theta, state)
        knobs, k = self.knobs, self.every
        n, estimating = knobs.estimates(t, k), knobs.estimates_at(t, k)
        if estimating and knobs.replaces:
            h_hat = self._estimate(theta, oracle)
            h = self._absorb(state.h, h_hat, n)
            terms = {"h": h, "h_hat": h_hat, "update": np.zeros_like(theta)}
            return Step(theta.copy(), VariantState(t, state.m, h, state.held), terms)

        g = self.checked("grad", oracle.grad(), theta.shape, theta.dtype)
        m, h, held, terms = state.m, state.h, state.held, {"g": g}
        if estimating:
            h_hat = self._estimate(theta, oracle)
            terms["h_hat"] = h_hat
            if knobs.absorbed == "before":
                h = self._absorb(h, h_hat, n)
            if knobs.absorbed == "late":
                held = frozen(h_hat.copy())
        if knobs.absorbed == "late" and t % k == 0:
            h = self._absorb(h, held, n)
        # m_t = β₁ m_{t-1} + (1 - β₁) g_t
        for _ in range(knobs.averagings):
            m = self.beta1 * m + (1 - self.beta1) * g
        theta, terms = self._update(theta, m, h, t, n, lr, terms)
        if estimating and knobs.absorbed == "after":
            h = self._absorb(h, h_hat, n)
        return Step(theta, VariantState(t, frozen(m), h, held), terms)

    def _estimate(self, theta: Array, oracle: Questions) -> Array:
        return self.checked("h_hat", oracle.curvature(self.estimator), theta.shape, theta.dtype)

    def _absorb(self, h: Array, h_hat: Array, n: int) -> Array:
        """h after its n-th estimate."""
        if self.knobs.start == "first" and n == 1:
            return frozen(h_hat.copy())
        # h_t = β₂ h_{t-k} + (1 - β₂) ĥ_t
        h = self.beta2 * h + (1 - self.beta2) * h_hat
        return frozen(h)

    def _update(
        self, theta: Array, m: Array, h: Array, t: int, n: int, lr: float | Array, terms: dict[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """New theta, and all terms, from the averages of step t, of which n estimates are in h."""
        knobs, gamma, weight_decay = self.knobs, self.at("gamma", theta), self.at("weight_decay", theta)
        terms = terms | {"m": m, "h": h}
        if knobs.m_corrected:
            m = terms["m_hat"] = m / (1 - self.beta1**t)
        if knobs.h_corrected and n:
            h = terms["h_corrected"] = h / (1 - self.beta2**n)
        # ratio = m_t / max(γ h_t, ε), or another denominator; γ B h_t where B was left out of ĥ
        if knobs.batch_at_step:
            gamma = gamma * self.bs
        denominator = _DENOMINATORS[knobs.denominator](gamma * h, self.eps)
        ratio = m / denominator
        # update = clip(ratio, ρ), or without the bound below: sign(m) min(|m| / denominator, ρ)
        if knobs.floor:
            update, clipped = np.clip(ratio, -self.clip, self.clip), np.abs(ratio) > self.clip
        else:
            length = np.abs(m) / denominator
            update, clipped = np.sign(m) * np.minimum(length, self.clip), length > self.clip
        # θ_t ← θ_t - η_t λ θ_t,  θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), 1), with η_t / ρ where η_t is a length
        rate = lr / self.clip if knobs.rate_over_clip else lr
        if knobs.decay == "added":
            theta = theta - rate * (update + weight_decay * theta)
        elif knobs.decay == "factor":
            theta = theta * (1 - lr * weight_decay) - rate * update
        else:
            theta = theta - lr * weight_decay * theta
            theta = theta - rate * update
        return theta, terms | {"denominator": denominator, "ratio": ratio, "clipped": clipped, "update": update}
