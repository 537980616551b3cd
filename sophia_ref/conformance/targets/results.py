"""A target that has run already: a results file, JSON that any program in any language can write.

    {"format": "sophia-ref-results", "version": 1,
     "implementation": {"name": "my_sophia.c", "version": "0.3"},
     "vectors": "1.0.0",
     "results": {"paper-H/plain-float64": {"steps": [{"theta": ["0x1.8p-1", 0.25]}, ...]},
                 "paper-H/zero-d": {"refused": "theta must have an axis"},
                 "paper-H/float16": {"skipped": "no half precision here"}}}

Each step has theta, and any other field by its name in the vectors; arrays are lists in row-major order. Numbers are
hexadecimal strings, as C's %a writes them, or decimal numbers or strings with enough digits (9 for float32, 17 for
float64); "nan", "inf" and "-inf" are strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from sophia_ref.conformance.targets.base import FIELDS, Fault, NotAsked, Refused, Results, Target, TargetError
from sophia_ref.conformance.vectors import PROFILES, Case, manifest, version_parts

FORMAT, VERSION = "sophia-ref-results", 1


def results_target(path: Path) -> Target:
    """The target that a file describes. Raises TargetError for one that cannot be read or is not in this format."""
    try:
        plain = json.loads(path.read_bytes())
    except OSError as error:
        raise TargetError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise TargetError(f"{str(path)!r} is not JSON: {error}") from None
    try:
        implementation = _checked(plain)
    except TargetError as error:
        raise TargetError(f"{str(path)!r}: {error}") from None
    results = plain["results"]
    profiles = tuple(p for p in PROFILES if any(id.startswith(f"{p}/") for id in results))
    versions = {str(implementation["name"]): str(implementation.get("version", "?")), "vectors": plain["vectors"]}
    return Target(str(path), "results", FromFile(results), profiles, path, versions)


def _checked(plain: Any) -> Mapping[str, Any]:
    """The implementation that a results file names, once the file is known to be one."""
    if not isinstance(plain, Mapping):
        raise TargetError(f"holds {_kind(plain)}; expected an object with format, version, results")
    for name, expected in (("format", FORMAT), ("version", VERSION)):
        if plain.get(name) != expected:
            raise TargetError(f"{name} is {plain.get(name)!r}; expected {expected!r}")
    implementation = plain.get("implementation")
    if not isinstance(implementation, Mapping) or not isinstance(implementation.get("name"), str):
        raise TargetError(f"implementation is {implementation!r:.80}; expected an object with a name")
    here = manifest()
    if not _is_known(plain.get("vectors"), here["version"]):
        raise TargetError(
            f"vectors is {plain.get('vectors')!r:.80}; expected the version of the vectors, at most {here['version']!r}"
        )
    results = plain.get("results")
    if not isinstance(results, Mapping) or not results:
        raise TargetError(f"results is {results!r:.80}; expected an object: the id of a vector -> what came out")
    for id, result in results.items():
        if not isinstance(result, Mapping) or len(keys := {"steps", "refused", "skipped"} & set(result)) != 1:
            raise TargetError(f"results[{id!r}] is {result!r:.80}; expected one of steps, refused, skipped in it")
        (key,) = keys
        if key == "steps":
            _check_steps(id, result["steps"])
        elif not isinstance(result[key], str):
            raise TargetError(f"results[{id!r}].{key} is {result[key]!r:.80}; expected a text that says why")
        if id not in here["vectors"]:
            near = get_close_matches(id, here["vectors"], 1)
            hint = f"did you mean {near[0]!r}?" if near else "`sophia-ref conform --list` shows them all"
            raise TargetError(f"results[{id!r}] is of no vector; {hint}")
    return implementation


def _is_known(version: Any, latest: str) -> bool:
    """Whether this is the text of a version up to the latest: vectors are only added."""
    if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+\.\d+", version):
        return False
    return version_parts(version) <= version_parts(latest)


def _check_steps(id: str, steps: Any) -> None:
    where = f"results[{id!r}].steps"
    if not isinstance(steps, list):
        raise TargetError(f"{where} is {_kind(steps)}; expected a list with one object a step")
    for i, step in enumerate(steps):
        if not isinstance(step, Mapping) or "theta" not in step:
            raise TargetError(f"{where}[{i}] is {step!r:.80}; expected an object with theta in it")
        for name, array in step.items():
            if name not in FIELDS:
                raise TargetError(f"{where}[{i}] has a field {name!r}; expected some of {', '.join(FIELDS)}")
            if not isinstance(array, list):
                raise TargetError(f"{where}[{i}].{name} is {_kind(array)}; expected a list of numbers, row by row")
            for j, x in enumerate(array):
                try:
                    number(x)
                except ValueError:
                    at = f"{where}[{i}].{name}[{j}]"
                    raise TargetError(f"{at} is {x!r:.40}; expected a number, or one in hexadecimal") from None


def number(x: Any) -> float:
    """A number from JSON, decimal or hexadecimal. Raises ValueError.

    >>> number("0x1.8p0"), number("1.5"), number(1.5), number(True)
    (1.5, 1.5, 1.5, 1.0)
    """
    try:
        if isinstance(x, str):
            return float.fromhex(x) if "0x" in x.lower() else float(x)
        if isinstance(x, int | float):
            return float(x)
    except OverflowError:
        pass
    raise ValueError(x)


def _kind(x: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text", type(None): "null"}.get(type(x), repr(x))


@dataclass(frozen=True)
class FromFile:
    results: Mapping[str, Any]

    def __call__(self, case: Case) -> Results:
        result = self.results.get(case.id)
        if result is None:
            raise NotAsked("the file has no result for it")
        if "skipped" in result:
            raise NotAsked(result["skipped"])
        if "refused" in result:
            raise Refused(result["refused"])
        shape, dtype = case.theta.shape, case.dtype
        steps: Results = []
        for i, step in enumerate(result["steps"], start=1):
            arrays = {}
            for name, x in step.items():
                if len(x) != case.theta.size:
                    raise Fault(f"{name} has {len(x)} entries; expected {case.theta.size}, shape {shape}", i)
                values = np.array([number(each) for each in x], np.float64)
                with np.errstate(over="ignore"):
                    arrays[name] = values.astype(bool if name == "clipped" else dtype).reshape(shape)
            steps.append(arrays)
        return steps
