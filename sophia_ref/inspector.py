"""A run that is taken one step at a time, forward and back, with the equations of each step.

>>> import numpy as np
>>> from sophia_ref import Sophia, exact_diagonal
>>> def bowl(theta):
...     return 2 * theta[..., 0] ** 2
>>> sophia = Sophia(lr=0.5, beta1=0.0, beta2=0.0, gamma=1.0, every=1, estimator=exact_diagonal)
>>> Inspector(bowl, sophia, theta0=np.array([3.0])).forward()  # Newton's 12/4 is clipped at 1
step 1: loss 18 → 12.5, cost 4
<BLANKLINE>
θ[0]: 3 → 2.5
  g           = ∂L/∂θ           = 12
  m           ← β₁·m + (1-β₁)·g = 0·0 + 1·12       = 12
  ĥ           = exact_diagonal  = 4
  h           ← β₂·h + (1-β₂)·ĥ = 0·0 + 1·4        = 4
  denominator = max(γ·h, ε)     = max(1·4, 1e-12)  = 4
  ratio       = m / denominator = 12 / 4           = 3
  update      = clip(ratio, ρ)  = clip(3, 1)       = 1  clipped
  θ           ← θ - η·update    = 3 - 0.5·1        = 2.5
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sophia_ref.explain import explain, layout, settings, show
from sophia_ref.guard import take_step
from sophia_ref.optimizers.base import Step, frozen, integer
from sophia_ref.oracle import Oracle
from sophia_ref.run import run
from sophia_ref.snapshot import Stream, generators

Array = Any
MOST_SHOWN = 8  # coordinates, unless they are chosen
WIDTH = 80
quietly = np.errstate(over="ignore", invalid="ignore", divide="ignore")  # what is not finite is said in words


class Moment(NamedTuple):
    """All that the next step depends on."""

    theta: Array  # (P,)
    state: Any
    streams: tuple[Stream, ...]
    cost: float


class Inspector:
    """Takes the steps that `run(problem, opt, steps, theta0, seed)` takes, bit for bit, and goes back as exactly.

    theta0: (P,), by default problem.init. coordinates: which indices into theta are shown, by default the first 8; for
    Newton's methods, which eigenvectors too.

    Printed, or at the end of a notebook's cell, it shows the step that led to where it stands: each coordinate's
    gradient, momentum, curvature and so on, with the equations they come from and the numbers in them. Moving returns
    the inspector itself. It keeps theta and what the optimizer remembers of every moment, and takes a step anew when it
    is gone back to.

    A step that leaves the finite numbers raises FloatingPointError, which says what was not finite; the inspector then
    stands before it, and the way back is open. Raises TypeError or ValueError, by name, for bad arguments.

    t: steps taken. step: the Step that led here, None at the start.
    """

    def __init__(
        self, problem: Any, opt: Any, theta0: Array = None, seed: int = 0, coordinates: Sequence[int] | None = None
    ) -> None:
        start = run(problem, opt, 0, theta0, seed)  # which refuses what is not a problem, an optimizer, ...
        if start.theta.ndim != 1:
            raise ValueError(f"Inspector: theta0 must be one run, of shape (P,), got shape {start.theta.shape}")
        self.problem, self.opt, self.seed = start.problem, opt, start.seed
        self.coordinates = self._chosen(coordinates, len(start.theta))
        streams = tuple(map(Stream.of, generators(self.seed)))
        self._moments = [Moment(frozen(start.theta), start.state, streams, 0.0)]
        self.t = 0
        self.step: Step | None = None

    # -- where it stands -----------------------------------------------------------------------------------------------

    @property
    def theta(self) -> Array:
        """(P,), read-only."""
        return self._moments[self.t].theta

    @property
    def state(self) -> Any:
        """What the optimizer remembers."""
        return self._moments[self.t].state

    @property
    def cost(self) -> float:
        """Gradient-equivalents spent to get here."""
        return self._moments[self.t].cost

    @property
    def loss(self) -> float:
        """The loss here, on the batch of the next step."""
        return self._loss(self.t)

    @property
    def terms(self) -> dict[str, Array]:
        """Every intermediate of the step that led here, by its name in the paper; none at the start."""
        return self.step.terms if self.step else {}

    # -- moving --------------------------------------------------------------------------------------------------------

    def forward(self, n: int = 1) -> Inspector:
        """Take n steps."""
        return self.jump(self.t + integer("Inspector.forward: n", n, 1))

    def back(self, n: int = 1) -> Inspector:
        """Go n steps back. Raises ValueError beyond the start."""
        n = integer("Inspector.back: n", n, 1)
        if n > self.t:
            raise ValueError(f"Inspector.back: n must be at most {self.t}, the steps taken, got {n}")
        return self.jump(self.t - n)

    def jump(self, t: int) -> Inspector:
        """Go to where the run stands after t steps."""
        t = integer("Inspector.jump: t", t, 0)
        if t == 0:
            self.t, self.step = 0, None
        for before in range(max(0, min(t, len(self._moments)) - 1), t):
            self.step = self._take(before)
            self.t = before + 1
        return self

    def until_clipped(self, coordinate: int | None = None, within: int = 1000) -> Inspector:
        """Take steps until one in which this coordinate, by default any of those shown, was clipped.

        For ClippedNewton it is the number of an eigenvector. Raises LookupError, and stays, if there is none within
        so many steps.
        """
        return self._until(True, coordinate, within)

    def until_unclipped(self, coordinate: int | None = None, within: int = 1000) -> Inspector:
        """Take steps until one in which this coordinate, by default any of those shown, was not clipped."""
        return self._until(False, coordinate, within)

    # -- text ----------------------------------------------------------------------------------------------------------

    @quietly
    def lines(self, width: int = WIDTH) -> list[tuple[str, str]]:
        """What there is to say about where it stands, as lines of at most this width, each with its kind: "title",
        "row", "clipped", "remark", or "" for an empty one."""
        if self.step is None:
            place = [f"{self._name(i)} = {show(self.theta[i])}" for i in self.coordinates]
            return [
                ("title", f"start: loss {show(self.loss)}"),
                *_list(place, width),
                *self._others(),
                ("", ""),
                ("title", getattr(self.opt, "name", type(self.opt).__name__)),
                *_list(settings(self.opt), width),
            ]
        before = self._moments[self.t - 1]
        title = f"step {self.t}: loss {show(self._loss(self.t - 1))} → {show(self.loss)}, cost {show(self.cost)}"
        oracle = self._oracle(self.t - 1)[0]
        blocks = explain(self.opt, before.theta, before.state, self.step, oracle, self.coordinates, self._name)
        return [("title", title), *self._others(), *layout(blocks, width)]

    def __repr__(self) -> str:
        return "\n".join(line for _, line in self.lines())

    # -- inside --------------------------------------------------------------------------------------------------------

    def _oracle(self, t: int) -> tuple[Oracle, list[np.random.Generator]]:
        """The oracle that the step from here asks, and the generators it leaves behind."""
        moment = self._moments[t]
        rngs = [stream.generator(self.seed, index) for index, stream in enumerate(moment.streams)]
        return Oracle(self.problem, moment.theta, self.problem.batch(rngs[1], ()), rngs[2]), rngs

    @quietly
    def _take(self, t: int) -> Step:
        """The step from the moment t; the moment after it is kept."""
        moment, (oracle, rngs) = self._moments[t], self._oracle(t)
        lost = np.zeros((), bool)
        step, lost, _ = take_step(self.opt, moment.theta, moment.state, oracle, lost, clip_norm=None, block=1)
        if lost:
            raise FloatingPointError(f"step {t + 1} diverges: {self._reason(t)}")
        if t + 1 == len(self._moments):
            after = Moment(frozen(step.theta), step.state, tuple(map(Stream.of, rngs)), moment.cost + oracle.cost)
            self._moments.append(after)
        return step

    def _reason(self, t: int) -> str:
        """What is not finite in the step from the moment t."""
        moment, (oracle, _) = self._moments[t], self._oracle(t)
        try:
            theta = self.opt.step(moment.theta, moment.state, oracle).theta
        except ValueError as error:  # the optimizer names it
            return str(error)
        if np.isnan(oracle.loss()):
            return "the loss is nan"
        i = int(np.flatnonzero(~np.isfinite(theta))[0])
        return f"{self._name(i)} would be {theta[i]}"

    def _until(self, clipped: bool, coordinate: int | None, within: int) -> Inspector:
        word, start = "clipped" if clipped else "unclipped", self.t
        within = integer(f"Inspector.until_{word}: within", within, 1)
        chosen = self.coordinates if coordinate is None else self._chosen([coordinate], len(self.theta))
        for _ in range(within):
            terms = self.forward().terms
            if "clipped" not in terms:
                self.jump(start)
                raise LookupError(f"{getattr(self.opt, 'name', type(self.opt).__name__)} does not clip")
            if (terms["clipped"][chosen] == clipped).any():
                return self
        self.jump(start)
        who = "no coordinate is"
        if coordinate is not None:
            along = "eigenvectors" in terms
            who = f"{f'direction {coordinate + 1}' if along else self._name(coordinate)} is never"
        raise LookupError(f"{who} {word} in the steps {start + 1} to {start + within}")

    @quietly
    def _loss(self, t: int) -> float:
        return float(self._oracle(t)[0].loss())

    def _name(self, i: int) -> str:
        return "xy"[i] if hasattr(self.problem, "surface") else f"θ[{i}]"

    def _others(self) -> list[tuple[str, str]]:
        shown, P = len(self.coordinates), len(self.theta)
        return [("remark", f"{shown} of {P:,} coordinates; coordinates=[...] chooses others")] * (shown < P)

    @staticmethod
    def _chosen(coordinates: Sequence[int] | None, P: int) -> list[int]:
        if coordinates is None:
            return list(range(min(P, MOST_SHOWN)))
        if not isinstance(coordinates, Iterable):
            raise TypeError(f"Inspector: coordinates must be a list of indices into theta, got {coordinates!r}")
        indices = [integer("Inspector: coordinates", i, 0) for i in coordinates]
        if wrong := [i for i in indices if i >= P]:
            raise ValueError(f"Inspector: coordinates must be less than {P}, the size of theta, got {wrong[0]}")
        return indices


def _list(entries: Sequence[str], width: int) -> list[tuple[str, str]]:
    """Entries separated by commas, none of them broken between two lines."""
    text = ", ".join(entry.replace(" ", "\N{NO-BREAK SPACE}") for entry in entries)
    lines = textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")
    return [("row", line.replace("\N{NO-BREAK SPACE}", " ")) for line in lines]
