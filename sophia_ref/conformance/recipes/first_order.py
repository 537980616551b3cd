"""Vectors of what Sophia is compared with: Adam, AdamW and Lion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.recipes.recipe import EXACT, FLOATS, SETTINGS, draws, settings, vector


def vectors() -> Iterator[dict[str, Any]]:
    for dtype in FLOATS:
        for profile in ("Adam", "AdamW", "Lion"):
            yield from _plain(profile, dtype)
        for profile in ("Adam", "AdamW"):
            yield from _adam(profile, dtype)
        yield from _lion(dtype)


def _plain(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta = draws(f"{profile} plain", 10, 6), draws("theta", 6)
    yield vector("plain", profile, dtype, theta, g, set=SETTINGS[profile], note="Ten ordinary steps.", most=1024)
    yield vector(
        "exact",
        profile,
        dtype,
        theta[:4],
        2.0 ** np.round(g[:1, :4]),
        set=settings(profile, EXACT),
        flags=["exact"],
        note="Powers of two: one step in which hardly anything rounds.",
    )
    still = np.concatenate([g[:1], np.zeros((4, 6))])
    yield vector(
        "zero-gradient",
        profile,
        dtype,
        theta,
        still,
        set=SETTINGS[profile],
        flags=["adversarial", "momentum"],
        most=1024,
        note="One gradient, then zeros: momentum goes on.",
    )
    yield vector(
        "nothing-at-all",
        profile,
        dtype,
        theta,
        np.zeros((3, 6)),
        set=SETTINGS[profile],
        flags=["adversarial", "momentum"],
        note="Zero gradients from the start: 0 / (0 + eps) is 0, the sign of 0 is 0, and only a decay acts.",
    )
    yield vector(
        "gradient-flips",
        profile,
        dtype,
        theta,
        g[:1] * np.array([1, -1, 1, -1])[:, None],
        set=SETTINGS[profile],
        flags=["adversarial", "momentum"],
        most=1024,
        note="A gradient that changes its sign at every step: the sign of m is not that of g.",
    )
    yield vector(
        "betas-apart",
        profile,
        dtype,
        theta,
        g[:5],
        set=SETTINGS[profile] | {"beta1": 0.25, "beta2": 0.875},
        flags=["adversarial", "momentum"],
        note="betas far apart from each other: catches one in the place of the other.",
    )
    yield vector(
        "late-state",
        profile,
        dtype,
        theta,
        g[:2],
        t=1000,
        m=g[3],
        h=None if profile == "Lion" else np.abs(g[4]),
        set=SETTINGS[profile],
        flags=["momentum"],
        note="A state of a thousand steps ago.",
    )


def _adam(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta = draws(f"{profile} adam", 4, 6), draws("theta", 6)
    base = SETTINGS[profile]
    yield vector(
        "first-step",
        profile,
        dtype,
        theta,
        g[:1] / 64,
        set=base,
        flags=["adversarial", "bias"],
        most=1024,
        note="The first step is about lr sign(g), whatever the size of g, thanks to the corrections.",
        report="https://github.com/ml-explore/mlx/pull/1640",
    )
    yield vector(
        "eps-large",
        profile,
        dtype,
        theta,
        g / 16,
        set=base | {"eps": 0.25},
        flags=["adversarial", "eps"],
        most=1024,
        note="An eps of a quarter: outside the root, and not scaled by the correction of v.",
        report="https://github.com/pytorch/pytorch/pull/22628",
    )
    yield vector(
        "eps-alone",
        profile,
        dtype,
        theta,
        2.0**-24 * g[:2],
        set=base,
        flags=["adversarial", "eps"],
        most=1024,
        note="Gradients far below eps, which is then all of the denominator: inside the root it would be ten thousand times as large.",
        report="https://github.com/goodfire-ai/spd/issues/602",
    )
    yield vector(
        "first-correction",
        profile,
        dtype,
        theta,
        g[:3],
        set=base | {"beta1": 0.5, "beta2": 0.99609375},
        flags=["adversarial", "bias"],
        most=4096,
        note="Corrections that are far from one for a long time: catches t that counts from 0.",
        report="https://github.com/Oneflow-Inc/oneflow/pull/5960",
    )
    yield vector(
        "second-moment-alone",
        profile,
        dtype,
        theta,
        g * np.arange(1, 5)[:, None],
        set=base | {"beta1": 0.0},
        flags=["momentum"],
        most=1024,
        note="No first moment.",
    )


def _lion(dtype: str) -> Iterator[dict[str, Any]]:
    theta = draws("theta", 4)
    base = SETTINGS["Lion"] | {"beta1": 0.5, "beta2": 0.75}
    yield vector(
        "tie",
        "Lion",
        dtype,
        theta,
        [np.array([2.0, -2.0, 1.0, -1.0]), np.ones(4)],
        m=np.array([-2.0, 2.0, -1.0, 1.0]),
        set=base,
        flags=["adversarial", "momentum"],
        note="beta1 m + (1 - beta1) g is exactly 0: no step there but the decay.",
    )
    yield vector(
        "update-before-momentum",
        "Lion",
        dtype,
        theta,
        [np.array([1.0, -1.0, 1.0, -1.0]), -4 * np.ones(4), np.ones(4)],
        m=np.array([-0.75, 0.75, 2.0, -2.0]),
        set=base,
        flags=["adversarial", "momentum"],
        note="The step is taken with the old m: with the new one its signs differ.",
    )
    yield vector(
        "interpolation",
        "Lion",
        dtype,
        theta,
        draws("c", 6, 4),
        set=SETTINGS["Lion"] | {"beta1": 0.25, "beta2": 0.984375},
        flags=["momentum"],
        note="beta1 for the step, beta2 for the momentum, far apart.",
    )
