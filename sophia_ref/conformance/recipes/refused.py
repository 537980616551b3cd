"""Vectors of input that must be refused, before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.recipes.recipe import FLOATS, SETTINGS, draws, vector

NAN = float("nan")
_BETA = {"one": 1.0, "negative": -0.125, "nan": NAN}
# setting: {name of the vector: value}; every is refused by the type too
_OUT_OF_RANGE: dict[str, dict[str, Any]] = {
    "lr": {"negative": -0.125, "nan": NAN},
    "beta1": _BETA,
    "beta2": _BETA,
    "gamma": {"zero": 0.0, "negative": -0.5, "nan": NAN},
    "clip": {"zero": 0.0, "negative": -1.0, "nan": NAN},
    "eps": {"negative": -(2.0**-20), "nan": NAN},
    "weight_decay": {"negative": -0.125, "nan": NAN},
    "every": {"zero": 0, "negative": -1, "fraction": 1.5},
}
_RANGES = {
    "lr": "a finite number >= 0",
    "beta1": "a number in [0, 1)",
    "beta2": "a number in [0, 1)",
    "gamma": "a finite number > 0",
    "clip": "a number > 0",
    "eps": "a finite number > 0",
    "weight_decay": "a finite number >= 0",
    "every": "an integer >= 1",
}


def vectors() -> Iterator[dict[str, Any]]:
    theta, g, h = draws("theta", 4), draws("g", 1, 4), 8 + np.abs(draws("h", 1, 4))
    for profile in ("paper-H", "Adam", "AdamW", "Lion"):
        for setting, values in _OUT_OF_RANGE.items():
            if setting in SETTINGS[profile]:
                for name, value in values.items():
                    note = f"{setting} must be {_RANGES[setting]}."
                    yield _refused(
                        f"{setting.replace('_', '-')}-{name}", profile, theta, g, h, note, set={setting: value}
                    )
        for name, dtype in (("integer", "int64"), ("complex", "complex128")):
            note = f"theta must be floating point; {dtype} would be rounded, or ordered, by accident."
            yield _refused(f"theta-{name}", profile, np.round(theta), np.round(g), np.round(h), note, dtype=dtype)
        note = "The gradient must have theta's shape; one of shape (5,) belongs to another theta."
        yield _refused("gradient-longer", profile, theta, draws("longer", 1, 5), h, note)
    yield from _sophia(theta, g, h)
    yield from _estimates(g)


def _sophia(theta: Any, g: Any, h: Any) -> Iterator[dict[str, Any]]:
    yield _refused(
        "theta-0-d",
        "paper-H",
        np.array(1.5),
        [np.array(0.5)],
        [np.array(8.0)],
        "theta must have an axis: (1,) does for a single number.",
    )
    note = "gamma h is compared with an eps that is 0 in float32, so that 0 / 0 comes back."
    yield _refused("eps-vanishes", "paper-H", theta, g, 0 * h, note, set={"eps": 1e-60})
    for name, shape in (("column", (4, 1)), ("one", (1,))):
        note = f"The gradient must have theta's shape (4,); {shape} would be broadcast."
        yield _refused(f"gradient-{name}", "paper-H", theta, [np.ones(shape)], h, note)
        note = f"The estimate must have theta's shape (4,); {shape} would be broadcast."
        yield _refused(f"curvature-{name}", "paper-H", theta, g, [np.ones(shape)], note)
    yield _refused("curvature-longer", "paper-H", theta, g, [np.ones(5)], "The estimate must have theta's shape.")
    yield _refused("curvature-missing", "paper-H", theta, g, [], "Step 1 needs an estimate, and none is offered.")
    note = "gamma h is compared with an eps that is 0 in float32, if only just."
    yield _refused("eps-vanishes-just", "paper-H", theta, g, 0 * h, note, set={"eps": 2.0**-151})
    yield _refused(
        "theta-0-d",
        "paper-H",
        np.array(1.5),
        [np.array(0.5)],
        [np.array(8.0)],
        "theta must have an axis.",
        dtype="float64",
    )
    for setting in ("lr", "gamma", "weight_decay"):
        name = f"{setting.replace('_', '-')}-infinite"
        yield _refused(
            name, "paper-H", theta, g, h, f"{setting} must be {_RANGES[setting]}.", set={setting: float("inf")}
        )
    for setting in ("gamma", "every"):
        value = {"gamma": 0.0, "every": 0}[setting]
        yield _refused(
            f"{setting}-zero", "paper-G", theta, g, h, f"{setting} must be {_RANGES[setting]}.", set={setting: value}
        )


def _estimates(g: Any) -> Iterator[dict[str, Any]]:
    theta, A = draws("theta", 4), np.diag([1.0, 2.0, 3.0, 4.0])
    for name, u, note in (
        ("longer", np.ones(5), "A probe must have theta's shape."),
        ("one", np.ones(1), "A probe must have theta's shape; (1,) would be broadcast."),
    ):
        for dtype in FLOATS:
            yield _refused(f"probe-{name}", "paper-H", theta, g, [[(A, u)]], note, dtype=dtype)
    x, labels = draws("inputs", 4, 2).astype("float32"), np.array([0, 1, 0, 1])
    good = {
        "x": x,
        "labels": labels,
        "true_labels": labels,
        "mask": np.ones(4, bool),
        "micro_batches": [4],
        "likelihood": "categorical",
    }
    for name, changes, note in (
        ("label-too-large", {"labels": np.array([0, 1, 2, 1])}, "There are two classes, 0 and 1."),
        (
            "label-negative",
            {"labels": np.array([0, -1, 0, 1])},
            "A label of -1 would count from the end; rows are left out by the mask.",
        ),
        ("labels-too-few", {"labels": labels[:3]}, "Four rows need four labels."),
        ("micro-batches-too-short", {"micro_batches": [2, 1]}, "Micro-batches of 2 and 1 leave a row of four out."),
        ("mask-too-short", {"mask": np.ones(3, bool)}, "Four rows need a mask of four."),
    ):
        for dtype in FLOATS:
            data = good | changes | {"x": x.astype(dtype)}
            yield _refused(f"gnb-{name}", "paper-G", theta, g, [data], note, dtype=dtype)


def _refused(
    name: str,
    profile: str,
    theta: Any,
    gradients: Any,
    estimates: Any,
    note: str,
    set: Any = None,
    dtype: str = "float32",
) -> dict[str, Any]:
    flags = ["refused"] + ["estimate"] * (len(estimates) > 0 and isinstance(estimates[0], list | dict))
    every = {"every": 1} if "every" in SETTINGS[profile] else {}
    known = SETTINGS[profile] | every | (set or {})
    return vector(
        f"refused-{name}",
        profile,
        dtype,
        theta,
        gradients,
        estimates,
        note=note,
        flags=flags,
        verdict="invalid",
        set=known,
        offer_all=True,
    )
