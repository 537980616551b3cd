"""Conformance vectors: inputs of a few steps of an optimizer, every intermediate that must come out, and how near.

    >>> vector = find("paper-H/plain-float64")
    >>> vector.verdict, len(vector.case().steps), sorted(vector.expected[0])[:3]
    ('valid', 12, ['clipped', 'denominator', 'h'])

The files beside this one, `vectors/PROFILE.json`, are read by programs of any language: `vectors/schema.json` describes
them, and docs/conformance.md in words. Numbers are hexadecimal strings, as C's %a and Python's float.hex write them, so
that no digit is lost; arrays are lists in row-major order. They are made by `python -m sophia_ref.conformance.recipes`,
never edited, and only added to: `vectors/manifest.json` keeps the SHA-256 of every file and of every vector ever
published.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
FOLDER = Path(__file__).with_name("vectors")
PROFILES = ("paper-H", "paper-G", "official-G", "optax-H", "Levanter-H", "Adam", "AdamW", "Lion")


@dataclass(frozen=True)
class Given:
    """What one step is given: a gradient, and an estimate of the curvature in one of four forms, or none.

    Where an estimate comes in a step in which none is due, it is there to be ignored.
    """

    g: Array = None  # of theta's shape; None where layout is "alias": the gradient is theta's own memory then
    h_hat: Array = None  # of theta's shape: the estimate itself
    sampled_grad: Array = None  # of theta's shape: a gradient of sampled labels, whose square SophiaG takes
    hutchinson: Any = None  # [(matrix (P, P), probe (P,)), ...], one for each micro-batch: the mean of u * (A u)
    gnb: Any = None  # softmax or Gaussian regression with labels drawn: a dict, see docs/conformance.md


@dataclass(frozen=True)
class Case:
    """The inputs of a vector, as NumPy arrays of `dtype`, which a target must not change.

    Before the first step the state is t steps old and holds m and h (Adam: v); None means zeros.
    """

    id: str
    profile: str
    dtype: str
    settings: Mapping[str, Any]  # by the paper's names; lr is a float, or a tuple with one for each step
    decay_mask: Array  # bool, where weight_decay acts; None: everywhere
    theta: Array
    t: int
    m: Array
    h: Array
    layout: str  # how arrays lie in memory when they are handed over, "C", "F", "strided" or "alias"
    steps: tuple[Given, ...]
    resume_after: int | None  # after so many steps the state is saved, and a new optimizer goes on from what was saved

    def lr(self, t: int) -> float:
        """The learning rate of the t-th step of this case, t = 1, 2, ..."""
        lr = self.settings["lr"]
        rate: float = lr[t - 1] if isinstance(lr, tuple) else lr
        return rate


class EditedError(ValueError):
    """A file of vectors that is not as it was published; the message names it."""


@dataclass(frozen=True)
class Vector:
    """One test: `case()` are its inputs; `expected[i][field]` is what step i leaves, `free[i][field]` where it may be
    anything; `ulps[field]` how many units it may be off, of the size that `units_of` says, and `reasons[field]` why.
    """

    id: str
    verdict: str  # "valid": must match; "invalid": must be refused; "acceptable": either
    flags: tuple[str, ...]
    note: str  # the bug it catches
    report: str | None  # where that bug was reported in public
    ulps: Mapping[str, int]
    reasons: Mapping[str, str]
    expected: tuple[Mapping[str, Array], ...]
    free: tuple[Mapping[str, Array], ...]
    plain: Mapping[str, Any] = field(repr=False)  # as it stands in the file

    @property
    def profile(self) -> str:
        return self.id.split("/")[0]

    def case(self) -> Case:
        """Its inputs, in arrays of its own."""
        return decode_case(self.plain)

    @cached_property
    def untouched(self) -> Case:
        """Its inputs, to be read only."""
        return self.case()

    @cached_property
    def units(self) -> list[dict[str, Array]]:
        """What one ulp of a tolerance is: `units_of` what must come out."""
        return units_of(self.untouched, self.expected)


def load(profile: str) -> tuple[Vector, ...]:
    """The vectors of a profile, without those that were withdrawn. Raises ValueError for an unknown one, and
    EditedError for a file that is not as it was published."""
    if profile not in PROFILES:
        raise ValueError(f"profile: {profile!r} is not known; expected one of {', '.join(PROFILES)}")
    return _load(profile)


def find(id: str) -> Vector:
    """The vector of this id. Raises ValueError where there is none."""
    for vector in load(id.split("/")[0]):
        if vector.id == id:
            return vector
    raise ValueError(f"id: {id!r} is not among the vectors of {id.split('/')[0]}")


def every() -> Iterator[Vector]:
    """All vectors, profile by profile."""
    for profile in PROFILES:
        yield from load(profile)


@cache
def manifest() -> Mapping[str, Any]:
    """version, the SHA-256 of each file and each vector, and of those that were withdrawn the reason."""
    plain: Mapping[str, Any] = json.loads((FOLDER / "manifest.json").read_text())
    return plain


@cache
def _load(profile: str) -> tuple[Vector, ...]:
    path = FOLDER / f"{profile}.json"
    content = path.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != (known := manifest()["files"][path.name]):
        raise EditedError(f"{path}: SHA-256 {found}; expected {known}, as in manifest.json: vectors are never edited")
    entries = manifest()["vectors"]
    plains = json.loads(content)["vectors"]
    return tuple(decode(plain) for plain in plains if "withdrawn" not in entries[plain["id"]])


def version_parts(version: str) -> tuple[int, ...]:
    """
    >>> version_parts("1.10.0") > version_parts("1.9.2")
    True
    """
    return tuple(map(int, version.split(".")))


def digest(plain: Mapping[str, Any]) -> str:
    """The SHA-256 of a vector, whatever the order of its keys and the blanks in its file."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# -- how far off -------------------------------------------------------------------------------------------------------


def units_of(case: Case, expected: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """What one ulp of a tolerance is, for each field of each step, coordinate by coordinate: the spacing of floats at
    the largest magnitude that this field has had there, from the start of the case up to this step.

    A sum that comes out near zero is as wrong as its terms are rounded, and these are of the size of the steps before.
    """
    largest = {"theta": np.abs(case.theta)}
    largest |= {name: np.abs(x) for name, x in (("m", case.m), ("h", case.h), ("v", case.h)) if x is not None}
    units = []
    for fields in expected:
        for name, x in fields.items():
            if x.dtype != bool:
                size = np.where(np.isfinite(x), np.abs(x), 0)
                largest[name] = np.maximum(largest.get(name, size), size)
        units.append({name: np.spacing(size) for name, size in largest.items()})
    return units


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays hold the same numbers, NaN and the sign of zero included."""
    return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def distance(x: Array, expected: Array, unit: Array) -> Array:
    """How many units x is off; 0 for equal infinities, NaN beside NaN and zeros of either sign, infinite where only one
    of the two is finite, or for booleans that differ.

    >>> distance(np.array([1.0, np.nan]), np.array([1.5, np.nan]), np.array([0.25, 0.25]))
    array([2., 0.])
    """
    x = np.asarray(x)
    if same_bits(x, expected):  # as most are, and this is quick
        return np.zeros(expected.shape)
    if expected.dtype == bool:
        return np.where(x.astype(bool) == expected, 0.0, np.inf)
    x, expected = x.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        off = np.abs(x - expected) / unit.astype(np.float64)
    same = (x == expected) | (np.isnan(x) & np.isnan(expected))
    return np.where(same, 0.0, np.where(np.isfinite(x) & np.isfinite(expected), off, np.inf))


# -- numbers and arrays as they stand in the files ---------------------------------------------------------------------


def encode_number(x: float) -> str:
    """x as a short hexadecimal string.

    >>> encode_number(0.1), encode_number(-0.5), encode_number(0.0), encode_number(float("inf"))
    ('0x1.999999999999ap-4', '-0x1p-1', '0x0p+0', 'inf')
    """
    digits, p, exponent = float(x).hex().partition("p")
    return digits.rstrip("0").rstrip(".") + p + exponent if p and "." in digits else digits + p + exponent


def decode_number(x: Any) -> Any:
    """The inverse. Integers, booleans and None stay what they are.

    >>> decode_number("0x1p-1"), decode_number(10)
    (0.5, 10)
    """
    return float.fromhex(x) if isinstance(x, str) else x


def encode_array(x: Array, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> Any:
    """x (a masked array: None where anything will do) as a list; with its shape and dtype beside it where these are not
    the given ones."""
    flat = np.ma.asarray(x).ravel()
    data = [None if hidden else bool(v) if flat.dtype == bool else encode_number(np.real(v))
            for v, hidden in zip(flat.data, np.ma.getmaskarray(flat), strict=True)]  # fmt: skip
    if np.shape(x) == shape and (dtype is None or np.asarray(x).dtype == dtype):
        return data
    return {"shape": list(np.shape(x)), "dtype": str(np.asarray(x).dtype), "data": data}


def decode_array(x: Any, shape: tuple[int, ...], dtype: str) -> Array:
    """The inverse; None, which free marks, comes out as NaN or False."""
    if x is None:
        return None
    if isinstance(x, Mapping):
        x, shape, dtype = x["data"], tuple(x["shape"]), x["dtype"]
    if dtype == "bool":
        return np.array([bool(v) for v in x], bool).reshape(shape)
    return (
        np.array([float("nan") if v is None else decode_number(v) for v in x], np.float64).astype(dtype).reshape(shape)
    )


def decode(plain: Mapping[str, Any]) -> Vector:
    """A vector from what stands in the file."""
    shape, dtype = tuple(plain["start"]["shape"]), plain["dtype"]
    expected, free = [], []
    for fields in plain.get("expected", ()):
        kinds = {name: "bool" if name == "clipped" else dtype for name in fields}
        expected.append({name: decode_array(x, shape, kinds[name]) for name, x in fields.items()})
        nulls = {name: np.array([v is None for v in x], bool).reshape(shape) for name, x in fields.items()}
        free.append({name: where for name, where in nulls.items() if where.any()})
    tolerance = plain.get("tolerance", {})
    return Vector(
        plain["id"],
        plain["verdict"],
        tuple(plain["flags"]),
        plain["note"],
        plain["report"],
        {name: each["ulps"] for name, each in tolerance.items()},
        {name: each["reason"] for name, each in tolerance.items()},
        tuple(expected),
        tuple(free),
        plain,
    )


def decode_case(plain: Mapping[str, Any]) -> Case:
    """The inputs from what stands in the file."""
    start, dtype = plain["start"], plain["dtype"]
    shape = tuple(start["shape"])

    def array(x: Any, of: str = dtype) -> Array:
        return decode_array(x, shape, of)

    settings = {name: tuple(map(decode_number, x)) if isinstance(x, list) else decode_number(x)
                for name, x in plain["settings"].items()}  # fmt: skip
    return Case(
        plain["id"],
        plain["id"].split("/")[0],
        dtype,
        settings,
        array(plain.get("decay_mask"), "bool"),
        array(start["theta"]),
        start.get("t", 0),
        array(start.get("m")),
        array(start.get("h")),
        plain.get("layout", "C"),
        tuple(_decode_given(step, shape, dtype) for step in plain["steps"]),
        plain.get("resume_after"),
    )


def _decode_given(step: Mapping[str, Any], shape: tuple[int, ...], dtype: str) -> Given:
    arrays = {name: decode_array(step.get(name), shape, dtype) for name in ("g", "h_hat", "sampled_grad")}
    hutchinson = step.get("hutchinson")
    if hutchinson is not None:
        hutchinson = [tuple(decode_array(each[name], (), dtype) for name in ("matrix", "probe")) for each in hutchinson]
    gnb = step.get("gnb")
    if gnb is not None:
        gnb = {name: decode_array(x, (), dtype) if isinstance(x, Mapping) else x for name, x in gnb.items()}
    return Given(**arrays, hutchinson=hutchinson, gnb=gnb)


def laid_out(x: Array, layout: str) -> Array:
    """A writable copy of x that lies in memory as layout says: row by row, column by column ("F"), or in every second
    place of a longer array ("strided")."""
    if layout == "F":
        return np.array(x, order="F")
    if layout == "strided" and np.ndim(x):
        wide = np.zeros((*np.shape(x)[:-1], 2 * np.shape(x)[-1]), x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    return np.array(x, order="C")
