"""Targets in JAX: any function that returns an optax.GradientTransformation. How estimates get in is seen from its
parameters:

    hessian_diagonal_fn        a transformation that returns the estimate, as optax.contrib.sophia takes it
    update(..., curvature=)    a tree h_hat, or a function (params, key) -> h_hat, as sophia_ref.ports.optax takes it

A module that has hutchinson and gnb as sophia_ref.ports.optax does is asked the estimators too. A decay mask becomes a
tree of two leaves. A learning rate that changes is a schedule count -> rate, count = 0, 1, ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sophia_ref.conformance.targets.base import (
    STATE_NAMES,
    Fault,
    NotAsked,
    Results,
    TargetError,
    due,
    first_named,
    offered,
)
from sophia_ref.conformance.targets.doors import Doors
from sophia_ref.conformance.vectors import Case, Given

Array = Any
Tree = Any


def runner(obj: Any, names: Mapping[str, str]) -> Callable[[Case], Results]:
    """The function case -> Results. Raises TargetError unless obj is a function with a learning rate."""
    if not callable(obj):
        raise TargetError(f"{obj!r:.80} is not callable; expected a function that returns a GradientTransformation")
    inner = obj.func if isinstance(obj, partial) else obj
    doors = Doors(obj, names, schedule=True)
    doors.require("lr", "beta1", "beta2")
    doors.complete()
    module = sys.modules.get(str(getattr(inner, "__module__", "")))
    return OptaxTarget(obj, doors, "hessian_diagonal_fn" in doors.parameters, module)


@dataclass(frozen=True)
class OptaxTarget:
    function: Any
    doors: Doors
    by_function: bool  # whether estimates come through hessian_diagonal_fn
    module: Any

    def __call__(self, case: Case) -> Results:
        with jax.enable_x64(True):
            results = _Run(self, case).steps()
        if not case.theta.ndim:
            raise NotAsked("JAX knows 0-d parameters")
        return results


class _Run:
    """One case: its parameters, a transformation, and the steps."""

    def __init__(self, target: OptaxTarget, case: Case) -> None:
        self.target, self.case = target, case
        mask = case.decay_mask
        self.places = None if mask is None else {"decays": mask, "stays": ~mask}
        self.lr, self.settings = target.doors.arguments(self._with_mask(case.settings))
        self.tx = self._made()
        self.params = self.split(case.theta)
        self.state = self._begun(self.tx.init(self.params))

    def _with_mask(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return settings if self.places is None else {**settings, "mask": {"decays": True, "stays": False}}

    def _made(self) -> Any:
        rates = self.lr
        if isinstance(rates, tuple):
            table = jnp.asarray((*[rates[0]] * self.case.t, *rates))
            rates = lambda count: table[count]  # noqa: E731
        arguments = self.settings | self.target.doors.named("lr", rates)
        if self.target.by_function:
            given = optax.GradientTransformationExtraArgs(lambda params: (), _hand_over)
            arguments["hessian_diagonal_fn"] = given
        tx = self.target.function(**arguments)
        if not callable(getattr(tx, "init", None)) or not callable(getattr(tx, "update", None)):
            raise Fault(f"returns {type(tx).__name__}; expected a GradientTransformation with init and update")
        return optax.with_extra_args_support(tx)

    def _stepper(self) -> tuple[Any, Any]:
        """A step as it stands, and compiled: Sophia's lax.cond would be compiled in every step otherwise."""
        tx = self.tx

        def step(grads: Tree, state: Any, params: Tree, extra: dict[str, Any]) -> tuple[Tree, Any]:
            updates, state = tx.update(grads, state, params, **extra)
            return optax.apply_updates(params, updates), state

        return step, jax.jit(step) if "every" in self.case.settings else step

    def steps(self) -> Results:
        case, results = self.case, []
        after, (eager, compiled) = self.shown(), self._stepper()
        for i, given in enumerate(case.steps, start=1):
            grads = self.params if case.layout == "alias" else self.split(given.g)
            curvature = self._curvature(given, i)
            extra = {"h_hat" if self.target.by_function else "curvature": curvature} if curvature is not None else {}
            step = eager if callable(curvature) else compiled
            self.params, self.state = step(grads, self.state, self.params, extra)
            before, after = after, self.shown()
            # it was handed NaN for an estimate that it should not look at
            if not offered(given) and not due(case, i) and _nan_in_h(after) and not _nan_in_h(before):
                raise Fault("asks for curvature, where none is due", i)
            results.append(after)
            if i == case.resume_after:
                saved = [np.array(x) for x in jax.tree.leaves(self.state)]
                self.tx = self._made()
                eager, compiled = self._stepper()
                structure = jax.tree.structure(self.tx.init(self.params))
                self.state = jax.tree.unflatten(structure, list(map(jnp.asarray, saved)))
        return results

    # -- trees ---------------------------------------------------------------------------------------------------------

    def split(self, x: Array) -> Tree:
        """An array of theta's shape as parameters are: itself, or a dict of what decays and what does not."""
        if self.places is None or np.shape(x) != self.case.theta.shape:
            return jnp.asarray(x)
        return {name: jnp.asarray(x[place]) for name, place in self.places.items()}

    def joined(self, tree: Tree) -> Array:
        """The inverse."""
        if self.places is None:
            return np.array(tree)
        found = np.empty(self.case.theta.shape, np.asarray(tree["decays"]).dtype)
        for name, place in self.places.items():
            found[place] = tree[name]
        return found

    def flat(self, params: Tree) -> Array:
        """theta (P,), row by row, as a function of the parameters."""
        if self.places is None:
            return params.reshape(-1)
        order = np.argsort(np.concatenate([np.flatnonzero(place) for place in self.places.values()]))
        return jnp.concatenate([params[name] for name in self.places])[order]

    # -- estimates -----------------------------------------------------------------------------------------------------

    def _curvature(self, given: Given, i: int) -> Any:
        """What the target is handed in step i: in steps without an estimate NaN, which shows where it is used."""
        sophia = "every" in self.case.settings
        if not sophia:
            return None
        if given.h_hat is not None:
            return self.split(given.h_hat)
        if given.sampled_grad is not None:
            return self.split(given.sampled_grad**2)
        if offered(given):
            if self.target.by_function:
                raise NotAsked("it draws its own probes and labels")
            return self._hutchinson(given) if given.hutchinson is not None else self._gnb(given.gnb)
        if due(self.case, i):
            return None
        return jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), self.params)

    def _helper(self, name: str) -> Any:
        helper = getattr(self.target.module, name, None)
        if helper is None:
            raise NotAsked(f"its module has no {name}")
        return helper

    def _hutchinson(self, given: Given) -> Any:
        helper, shape = self._helper("hutchinson"), self.case.theta.shape

        def curvature(params: Tree, key: Array) -> Tree:
            found = []
            for A, u in given.hutchinson:
                probes = self.split(u.reshape(shape) if u.size == self.case.theta.size else u)
                loss = partial(self._quadratic, jnp.asarray(A))
                found.append(helper(loss, probes=probes)(params, key))
            return jax.tree.map(lambda *x: sum(x[1:], x[0]) / len(x), *found)

        return curvature

    def _quadratic(self, A: Array, params: Tree) -> Array:
        theta = self.flat(params)
        return theta @ (A @ theta) / 2

    def _gnb(self, gnb: Mapping[str, Any]) -> Any:
        mask = None if gnb["mask"].all() and len(gnb["mask"]) == len(gnb["x"]) else jnp.asarray(gnb["mask"])
        return self._helper("gnb")(
            lambda params, x: x @ self.flat(params).reshape(x.shape[1], -1),
            jnp.asarray(gnb["x"]),
            mask=mask,
            labels=jnp.asarray(gnb["labels"]),
            likelihood=gnb["likelihood"],
            micro_batches=tuple(gnb["micro_batches"]),
        )

    # -- the state -----------------------------------------------------------------------------------------------------

    def shown(self) -> dict[str, Array]:
        """theta and the averages as they are now."""
        found = {"theta": self.joined(self.params)}
        for part in _named_parts(self.state):
            for name in ("m", self._second):
                own = first_named(STATE_NAMES[name], part._fields)
                if own is not None and name not in found:
                    found[name] = self.joined(getattr(part, own))
        return found

    @property
    def _second(self) -> str:
        return "v" if self.case.profile in ("Adam", "AdamW") else "h"

    def _begun(self, state: Any) -> Any:
        """The state with what the case begins with in it."""
        case = self.case
        arrays = {"m": case.m, self._second: case.h}
        wanted = {name: self.split(x) for name, x in arrays.items() if x is not None}
        if not case.t and not wanted:
            return state
        seen: set[str] = set()

        def replaced(part: Any) -> Any:
            if not hasattr(part, "_replace"):
                return tuple(map(replaced, part)) if type(part) is tuple else part
            changes = {}
            for name, x in wanted.items():
                if (own := first_named(STATE_NAMES[name], part._fields)) is not None:
                    changes[own] = x
                    seen.add(name)
            if (own := first_named(STATE_NAMES["t"], part._fields)) is not None:
                changes[own] = jnp.full_like(getattr(part, own), case.t)
                seen.add("t")
            rest = {name: replaced(x) for name, x in part._asdict().items() if name not in changes}
            return part._replace(**changes, **rest)

        state = replaced(state)
        if missing := [name for name in (*wanted, "t") if name not in seen and (name != "t" or case.t)]:
            raise NotAsked(f"its state has no {missing[0]} to set")
        return state


def _nan_in_h(shown: Mapping[str, Array]) -> bool:
    return "h" in shown and bool(np.isnan(shown["h"]).any())


def _named_parts(state: Any) -> list[Any]:
    """The named tuples in a state, outermost first."""
    found = [state] if hasattr(state, "_fields") else []
    for part in state if isinstance(state, tuple) else ():
        found += _named_parts(part)
    return found


def _hand_over(updates: Tree, state: Any, params: Tree = None, *, h_hat: Tree = None, **_: Any) -> Any:
    if h_hat is None:
        raise ValueError("h_hat: None; expected an estimate in this step")
    return h_hat, state
