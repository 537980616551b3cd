"""Vectors about weight decay and the learning rate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.profiles import SOPHIAS
from sophia_ref.conformance.recipes.recipe import EXACT, SETTINGS, draws, pairs, settings, vector

BITSANDBYTES = "https://github.com/bitsandbytes-foundation/bitsandbytes/issues/2010"


def vectors() -> Iterator[dict[str, Any]]:
    for profile, dtype in pairs((*SOPHIAS, "AdamW", "Lion")):
        yield from _decay(profile, dtype)
    for profile, dtype in pairs(("Adam",)):
        yield from _rate(profile, dtype)


def _decay(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta, h = draws(f"{profile} decay", 5, 6), draws("theta", 6), 8 + np.abs(draws("h", 5, 6))
    base = settings(profile, gamma=1.0, beta2=0.5 if profile in SOPHIAS else SETTINGS[profile]["beta2"], every=2)
    yield vector(
        "decay-order",
        profile,
        dtype,
        theta,
        g[:3],
        h[:3],
        set=base | {"lr": 0.25, "weight_decay": 1.0},
        flags=["adversarial", "decay"],
        note="lr * weight_decay = 1/4: a decay after the update also shrinks the update.",
        report=BITSANDBYTES,
    )
    yield vector(
        "decay-without-gradient",
        profile,
        dtype,
        theta,
        np.zeros((3, 6)),
        h[:3],
        set=base | {"lr": 0.25, "weight_decay": 0.5},
        flags=["adversarial", "decay"],
        note="Zero gradients: theta shrinks by the factor 7/8 and m stays 0. Catches L2 decay, which goes through m.",
        report="https://github.com/nntrainer/nntrainer/pull/3565",
    )
    yield vector(
        "decay-to-zero",
        profile,
        dtype,
        theta,
        g[:2],
        h[:2],
        set=base | {"lr": 0.5, "weight_decay": 2.0},
        flags=["adversarial", "decay"],
        most=4096,
        note="lr * weight_decay = 1: nothing is left of theta but the update.",
    )
    yield vector(
        "decay-beyond-zero",
        profile,
        dtype,
        theta,
        g[:3],
        h[:3],
        set=base | {"lr": 0.5, "weight_decay": 3.0},
        flags=["adversarial", "decay"],
        note="lr * weight_decay = 3/2: theta changes its sign, as the rule says; it is not held at 0.",
    )
    yield vector(
        "decay-masked",
        profile,
        dtype,
        theta,
        g[:4],
        h[:4],
        mask=[True, False, False, True, True, False],
        set=base | {"lr": 0.125, "weight_decay": 1.0},
        flags=["adversarial", "decay", "mask"],
        note="Half of the coordinates are exempt from decay, and from nothing else.",
    )
    yield from _rate(profile, dtype)


def _rate(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta, h = draws(f"{profile} rate", 5, 6), draws("theta", 6), 8 + np.abs(draws("h", 5, 6))
    base = settings(profile, gamma=1.0, beta2=0.5 if profile in SOPHIAS else SETTINGS[profile]["beta2"], every=2)
    yield vector(
        "lr-zero",
        profile,
        dtype,
        theta,
        g[:3],
        h[:3],
        set=base | {"lr": 0.0},
        flags=["adversarial", "rate"],
        note="A learning rate of 0, as a warm-up begins: theta stays to the bit, its averages do not.",
    )
    yield vector(
        "lr-warm-up",
        profile,
        dtype,
        theta,
        g,
        h,
        set=base | {"lr": (0.0, 0.125, 0.25, 0.5, 0.0625)},
        flags=["adversarial", "rate"],
        note="A learning rate that changes with every step, and the decay with it: catches a schedule that is one step "
        "ahead or behind, and a decay that keeps the first rate.",
    )
    yield vector(
        "exact-rate",
        profile,
        dtype,
        theta[:2],
        np.abs(g[:2, :2]),
        np.full((2, 2), 2.0**20),
        set=settings(profile, EXACT, every=1),
        flags=["decay"],
        note="Powers of two throughout: the decay is exact.",
    )
