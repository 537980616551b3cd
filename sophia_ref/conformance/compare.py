"""One vector, one target: what came out beside what must come out."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from sophia_ref.conformance.targets.base import FIELDS, Fault, NotAsked, Refused, Results, Target
from sophia_ref.conformance.vectors import Case, Vector, distance

Array = Any
KIT = Path(__file__).parent


@dataclass(frozen=True)
class Divergence:
    """The first number that is another: in which step of the case (1, 2, ...), field and coordinate."""

    step: int
    field: str
    index: tuple[int, ...]
    got: Any
    expected: Any
    ulps: float
    allowed: float

    def __str__(self) -> str:
        at = f"[{', '.join(map(str, self.index))}]"
        said = f"step {self.step}: {self.field}{at} is {self.got!s}, expected {self.expected!s}"
        if isinstance(self.expected, np.bool_) or not np.isfinite(self.ulps):
            return said
        return f"{said}, off by {self.ulps:.3g} ulp where {self.allowed:g} are allowed"


@dataclass(frozen=True)
class Outcome:
    """What became of a vector: "passed", "failed" or "not asked", and why."""

    vector: Vector
    status: str
    message: str = ""
    divergence: Divergence | None = None
    results: Results | None = None
    asks: bool = False  # for curvature in a step that has none


def ask(target: Target, vector: Vector) -> Outcome:
    """Run the target on a vector and compare."""
    case = vector.case()
    if vector.verdict == "invalid" and not target.refuses:
        return Outcome(vector, "not asked", "a rule alone refuses nothing")
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            answer = target.run(case)
            if vector.verdict == "invalid":
                return Outcome(vector, "failed", "accepts it; expected a refusal")
            results = _sound(answer, case)
        if changed := _changed(case, vector.untouched):
            raise Fault(f"changes {changed} of the case in place")
    except NotAsked as reason:
        return Outcome(vector, "not asked", str(reason))
    except Fault as fault:
        message = f"step {fault.step}: {fault}" if fault.step else str(fault)
        return Outcome(vector, "failed", message, asks="asks for curvature" in message)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too, is a refusal
        if vector.verdict != "valid":
            return Outcome(vector, "passed")
        said = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
        return Outcome(vector, "failed", f"refuses it: {' '.join(said.split())[:300]}{_where(error, target)}")
    divergence = compare(vector, results)
    if divergence is None:
        return Outcome(vector, "passed", results=results)
    hint = "; each step returns the same array" if len({id(r["theta"]) for r in results}) < len(results) else ""
    return Outcome(vector, "failed", f"{divergence}{hint}", divergence, results)


def compare(vector: Vector, results: Results) -> Divergence | None:
    """The first number beyond its tolerance, steps and fields in the order in which they are computed."""
    for i, (expected, got) in enumerate(zip(vector.expected, results, strict=True)):
        for field in FIELDS:
            if field not in expected or field not in got:
                continue
            x, wanted = got[field], expected[field]
            off = distance(x, wanted, vector.units[i].get(field))
            off = np.where(vector.free[i].get(field, False), 0.0, off)
            allowed = vector.ulps.get(field, 0)
            if (off > allowed).any():
                index = tuple(int(j) for j in np.argwhere(off > allowed)[0])
                return Divergence(i + 1, field, index, x[index], wanted[index], float(off[index]), allowed)
    return None


def _sound(answer: Any, case: Case) -> Results:
    """Results as arrays, once they are known to be one dict a step with arrays of theta's shape, and theta of its
    dtype."""
    try:
        steps = list(islice(answer, len(case.steps) + 1))
    except TypeError:
        raise Fault(f"returns {type(answer).__name__}; expected a list with one dict a step") from None
    if len(steps) != len(case.steps):
        count = str(len(steps)) if len(steps) < len(case.steps) else f"more than {len(case.steps)}"
        raise Fault(f"returns {count} steps; expected {len(case.steps)}, one a step of the case")
    found = []
    for i, step in enumerate(steps, start=1):
        if not isinstance(step, Mapping) or "theta" not in step:
            what = f"a dict with {', '.join(map(str, step))}" if isinstance(step, Mapping) else type(step).__name__
            raise Fault(f"returns {what}; expected a dict with theta in it", i)
        arrays = {}
        for name in FIELDS:
            if name not in step or step[name] is None:
                continue
            try:
                x = np.asarray(step[name])
            except Exception as error:
                raise Fault(f"{name} does not become a NumPy array: {type(error).__name__}: {error}", i) from None
            if x.shape != case.theta.shape:
                raise Fault(f"{name} has shape {x.shape}; expected {case.theta.shape}", i)
            if x.dtype.kind not in "fb" or (name == "theta" and x.dtype != case.dtype):
                raise Fault(f"{name} is {x.dtype}; expected {case.dtype}", i)
            arrays[name] = x
        found.append(arrays)
    return found


def _changed(case: Case, before: Case) -> str | None:
    """The name of an input that is no longer what it was."""
    for name in ("theta", "m", "h", "decay_mask"):
        if not _same(getattr(case, name), getattr(before, name)):
            return name
    for i, (given, old) in enumerate(zip(case.steps, before.steps, strict=True), start=1):
        for field in fields(given):
            if not _same(getattr(given, field.name), getattr(old, field.name)):
                return f"{field.name} in step {i}"
    return None


def _same(a: Any, b: Any) -> bool:
    if isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in b)
    if isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _where(error: BaseException, target: Target) -> str:
    """The line in the target's file, or else the last one that is not of this kit."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if KIT not in Path(frame.filename).parents]
    own = [frame for frame in frames if target.source is not None and Path(frame.filename) == target.source]
    for frame in (own or frames)[-1:]:
        return f" ({Path(frame.filename).name}, line {frame.lineno})"
    return ""
