"""Targets in NumPy: a function of a case, a class of sophia_ref's kind, or a rule alone."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sophia_ref.conformance.profiles import knobs_of
from sophia_ref.conformance.targets.base import (
    FIELDS,
    STATE_NAMES,
    Fault,
    NotAsked,
    Results,
    TargetError,
    due,
    first_named,
)
from sophia_ref.conformance.targets.doors import Doors
from sophia_ref.conformance.targets.given import CaseOracle
from sophia_ref.conformance.vectors import Case, Given, laid_out, same_bits
from sophia_ref.curvature import gnb, hutchinson

Array = Any
ARGUMENTS = ("theta", "m", "h", "v", "g")  # of a rule, by name


def runner(obj: Any, names: Mapping[str, str]) -> Callable[[Case], Results]:
    """The function case -> Results. Raises TargetError for what is none of the three kinds."""
    if inspect.isclass(obj):
        if not (callable(getattr(obj, "init", None)) and callable(getattr(obj, "step", None))):
            raise TargetError(f"{obj.__name__} has no init(theta) and step(theta, state, oracle), which a class needs")
        doors = Doors(obj, names, schedule=True)
        doors.require("lr")
        doors.complete("estimator")
        return ClassTarget(obj, doors)
    if not callable(obj):
        expected = "a function of a case, a class with init and step, or a rule (theta, m, h, g, *, lr, ...)"
        raise TargetError(f"{obj!r:.80} is not callable; expected {expected}")
    try:
        parameters = inspect.signature(obj).parameters
    except (TypeError, ValueError):
        raise TargetError(f"{obj!r:.80} has no signature to tell a function of a case from a rule") from None
    taken = [name for name in parameters if name in ARGUMENTS]
    if "theta" in taken and "g" in taken:
        doors = Doors(obj, names)
        doors.require("lr")
        doors.complete(*ARGUMENTS, "t")
        return RuleTarget(obj, doors, tuple(taken))
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p for p in parameters.values() if p.default is p.empty and p.kind not in several]
    if len(needed) > 1 or not parameters or any(p.kind is p.KEYWORD_ONLY for p in needed):
        raise TargetError(
            f"{getattr(obj, '__name__', 'it')}({', '.join(parameters)}): expected one argument, a case, or a rule "
            f"with theta, m, h, g and settings by name"
        )
    return obj  # type: ignore[no-any-return]


def unchanged(given: Mapping[str, Array], before: Mapping[str, Array], step: int) -> None:
    """Raises Fault if one of these arrays is no longer what it was."""
    for name, array in given.items():
        if not same_bits(array, before[name]):
            raise Fault(f"changes {name} in place", step)


def settings_of(case: Case, mask_door: bool) -> Mapping[str, Any]:
    """The settings of a case, with decay_mask as a decay for each entry where the target takes no mask."""
    settings = dict(case.settings)
    if case.decay_mask is not None:
        if mask_door:
            settings["mask"] = case.decay_mask
        else:
            settings["weight_decay"] = np.where(case.decay_mask, settings["weight_decay"], 0.0).astype(case.dtype)
    return settings


@dataclass(frozen=True)
class ClassTarget:
    """A class like `sophia_ref.Sophia`: settings at construction, a state that step returns anew, questions to an
    oracle. Where lr changes from step to step it is given a schedule t -> lr."""

    cls: Any
    doors: Doors

    def __call__(self, case: Case) -> Results:
        lr, arguments = self.doors.arguments(settings_of(case, self.doors.own["mask"] is not None))
        rates = lr

        def schedule(t: int) -> float:
            return float(rates[t - 1 - case.t])

        if "estimator" in self.doors.parameters:
            arguments["estimator"] = gnb if case.profile == "paper-G" else hutchinson
            if case.profile == "official-G":
                arguments["estimator"] = _square

        def made() -> Any:
            return self.cls(**arguments, **self.doors.named("lr", schedule if isinstance(lr, tuple) else lr))

        opt = made()
        theta = laid_out(case.theta, case.layout)
        state = self._begun(opt, theta, case)
        results = []
        for i, given in enumerate(case.steps, start=1):
            g = theta if case.layout == "alias" else laid_out(given.g, case.layout)
            arrays = {"theta": theta, "g": g} | {
                name: x for name in ("h_hat", "sampled_grad") if (x := getattr(given, name)) is not None
            }
            before = {name: x.copy() for name, x in arrays.items()}
            answer = opt.step(theta, state, CaseOracle(given, theta, g, i, due(case, i)))
            unchanged(arrays, before, i)
            if not isinstance(answer, tuple) or len(answer) < 2:
                raise Fault(f"step returns {type(answer).__name__}; expected (theta, state), or with terms behind", i)
            theta, state = answer[0], answer[1]
            terms = answer[2] if len(answer) > 2 and isinstance(answer[2], Mapping) else {}
            if self.doors.form == "v1":  # its terms mean something else
                terms = {name: x for name, x in terms.items() if name in ("m", "h", "h_hat")}
            shown = {name: x for name, x in terms.items() if name in FIELDS} | _averages(state)
            results.append(shown | {"theta": theta})
            if i == case.resume_after:
                state, opt = copy.deepcopy(state), made()
        return results

    def _begun(self, opt: Any, theta: Array, case: Case) -> Any:
        state = opt.init(theta)
        changes = {"t": case.t} if case.t else {}
        second = "v" if case.profile in ("Adam", "AdamW") else "h"
        for name, array in (("m", case.m), (second, case.h)):
            if array is not None:
                changes[name] = array
        if not changes:
            return state
        fields = _fields(state)
        own = {name: first_named(STATE_NAMES[name], fields) for name in changes}
        if missing := [name for name, field in own.items() if field is None]:
            raise NotAsked(f"its state has no {missing[0]} to set")
        values = {str(own[name]): value for name, value in changes.items()}
        if hasattr(state, "_replace"):
            return state._replace(**values)
        return {**state, **values} if isinstance(state, Mapping) else replace(state, **values)


def _square(oracle: Any) -> Array:
    g, _ = oracle.sampled_grad()
    return g * g


def _fields(state: Any) -> Mapping[str, Any]:
    if hasattr(state, "_asdict"):
        return state._asdict()  # type: ignore[no-any-return]
    return state if isinstance(state, Mapping) else getattr(state, "__dict__", {})


def _averages(state: Any) -> dict[str, Array]:
    fields = _fields(state)
    own = {name: first_named(STATE_NAMES[name], fields) for name in ("m", "h", "v")}
    if own["h"] == own["v"] and own["h"] is not None:  # "nu" is either
        own["v"] = None
    return {name: fields[field] for name, field in own.items() if field is not None}


@dataclass(frozen=True)
class RuleTarget:
    """A rule like `sophia_ref.sophia_update`: arrays theta, m, h (Adam: v), g and settings by name -> theta, m (v),
    and a dict of terms if it likes. h and its schedule are kept here, so that no mistake there can be seen."""

    rule: Any
    doors: Doors
    taken: tuple[str, ...]

    def __call__(self, case: Case) -> Results:
        if any(given.hutchinson is not None or given.gnb is not None for given in case.steps):
            raise NotAsked("a rule alone has no estimators")
        if any(x.dtype != case.dtype for given in case.steps for x in (given.g, given.h_hat) if x is not None):
            raise NotAsked("a rule alone converts nothing")
        settings = dict(settings_of(case, self.doors.own["mask"] is not None))
        if self.doors.own["beta2"] is None and "v" not in self.taken:
            del settings["beta2"]  # it is for h, which is kept here
        lr, arguments = self.doors.arguments(settings)
        theta = laid_out(case.theta, case.layout)
        state = {"m": case.m, "h": case.h, "v": case.h}
        state = {name: np.zeros_like(theta) if x is None else laid_out(x, case.layout) for name, x in state.items()}
        late = knobs_of(case.profile).absorbed == "after"
        results = []
        for i, given in enumerate(case.steps, start=1):
            g = theta if case.layout == "alias" else laid_out(given.g, case.layout)
            h = _absorbed(case, given, i, state["h"])
            if not late:
                state["h"] = h
            arrays = {name: {"theta": theta, "g": g, **state}[name] for name in self.taken}
            before = {name: x.copy() for name, x in arrays.items()}
            if "t" in self.doors.parameters:
                arguments["t"] = case.t + i
            rate = lr[i - 1] if isinstance(lr, tuple) else lr
            answer = self.rule(*arrays.values(), **arguments, **self.doors.named("lr", rate))
            unchanged(arrays, before, i)
            arrays_back, terms = _split(answer, i)
            theta = arrays_back[0]
            order = [name for name in self.taken if name in ("m", "v")]
            state |= dict(zip(order, arrays_back[1:], strict=False))
            state["h"] = h
            keeps = {name: state[name] for name in self.taken if name in state}
            if self.doors.form == "v1":
                terms = {}
            results.append({name: x for name, x in terms.items() if name in FIELDS} | keeps | {"theta": theta})
        return results


def _absorbed(case: Case, given: Given, i: int, h: Array) -> Array:
    """h after the estimate of step i, where one is due."""
    h_hat = given.h_hat if given.sampled_grad is None else given.sampled_grad**2
    if h_hat is None or not due(case, i):
        return h
    beta2 = case.settings["beta2"]
    return beta2 * h + (1 - beta2) * h_hat


def _split(answer: Any, i: int) -> tuple[tuple[Array, ...], Mapping[str, Array]]:
    if isinstance(answer, np.ndarray):
        return (answer,), {}
    if not isinstance(answer, tuple) or not answer:
        raise Fault(f"returns {type(answer).__name__}; expected theta, m and, if it likes, a dict of terms", i)
    if isinstance(answer[-1], Mapping):
        return answer[:-1], answer[-1]
    return answer, {}
