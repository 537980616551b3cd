"""Vectors about m, and about clipping m / max(gamma h, eps)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.profiles import SOPHIAS
from sophia_ref.conformance.recipes.recipe import EXACT, draws, pairs, settings, vector


def vectors() -> Iterator[dict[str, Any]]:
    for profile, dtype in pairs(SOPHIAS):
        yield from _momentum(profile, dtype)
        yield from _clip(profile, dtype)


def _momentum(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta, h = draws(f"{profile} m", 6, 6), draws("theta", 6), 8 + np.abs(draws("h", 6, 6))
    still = np.concatenate([g[:1], np.zeros((4, 6))])
    unclipped = settings(profile, gamma=1.0, beta2=0.5, every=2)
    yield vector(
        "zero-gradient",
        profile,
        dtype,
        theta,
        still,
        h,
        set=unclipped,
        flags=["adversarial", "momentum"],
        note="One gradient, then zeros: momentum goes on. Catches parameters that are skipped where their gradient is 0.",
    )
    yield vector(
        "nothing-at-all",
        profile,
        dtype,
        theta,
        np.zeros((3, 6)),
        np.zeros((3, 6)),
        set=settings(profile, every=1),
        flags=["adversarial", "momentum"],
        note="No gradient, no curvature: 0 / eps is 0 and only the decay acts. Catches 0 / 0 and a sign of 0 that is not 0.",
    )
    yield vector(
        "gradient-flips",
        profile,
        dtype,
        theta,
        g[:1] * np.array([1, -1, 1, -1, 1, -1])[:, None],
        h,
        set=unclipped,
        flags=["adversarial", "momentum"],
        note="A gradient that changes its sign at every step: catches the sign of g in place of that of m, and Nesterov.",
    )
    yield vector(
        "beta1-zero",
        profile,
        dtype,
        theta,
        g[:3],
        h[:3],
        set=unclipped | {"beta1": 0.0},
        flags=["momentum"],
        note="No momentum: m is the gradient.",
    )
    yield vector(
        "beta2-zero",
        profile,
        dtype,
        theta,
        g[:4],
        h[:4] * np.array([1, 4, 2, 8])[:, None],
        set=unclipped | {"beta2": 0.0},
        flags=["momentum"],
        note="No average: h is the latest estimate. A beta2 of 0 is not to be refused.",
    )
    yield vector(
        "betas-apart",
        profile,
        dtype,
        theta,
        g[:5],
        h[:5],
        set=settings(profile, gamma=1.0, beta1=0.25, beta2=0.875, every=1),
        flags=["adversarial", "momentum"],
        note="betas far apart from each other: catches beta1 and beta2 in each other's place, and momentum applied twice.",
    )
    yield vector(
        "momentum-injected",
        profile,
        dtype,
        theta,
        g[:2],
        h[:2],
        t=3,
        m=4 * g[3],
        h=h[3],
        set=settings(profile, gamma=1.0),
        flags=["momentum"],
        note="A state of three steps ago with momentum against the gradient.",
    )


def _clip(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    theta, one = np.zeros(6), np.dtype(dtype).type(1)
    exact = settings(profile, EXACT, every=4, weight_decay=0.0)
    # at t = 1 with m = g the new m is g, its bias-corrected form twice that; gamma h is one
    half = 0.5 if profile in ("optax-H", "Levanter-H") else 1.0
    up, down = float(np.nextafter(one, 2 * one)), float(np.nextafter(one, 0 * one))
    m = half * np.array([1.0, up, down, -1.0, -up, -down])
    yield vector(
        "clip-at-the-limit",
        profile,
        dtype,
        theta,
        [m],
        [np.zeros(6)],
        m=m,
        h=np.full(6, _unit(profile, exact)) / _kept(profile),
        set=exact,
        flags=["adversarial", "clip", "exact"],
        note="Ratios of exactly 1 and one unit in the last place to either side, of both signs: catches a limit that is "
        "off, a clip from one side, and a mask that counts equality.",
    )
    g, h = draws(f"{profile} wide", 4, 8) * 2.0 ** np.arange(-4, 4), np.full((4, 8), 2.0)
    wide = settings(profile, gamma=0.5, beta2=0.5, every=1)
    yield vector(
        "ratios-on-all-scales",
        profile,
        dtype,
        draws("theta", 8),
        g,
        h,
        set=wide,
        flags=["clip"],
        note="Ratios from far below the limit to far above it.",
    )
    one_sided = np.abs(g) * np.where(np.arange(8) % 2, 1, -1)
    yield vector(
        "clip-both-sides",
        profile,
        dtype,
        draws("theta", 8),
        16 * one_sided,
        h,
        set=wide,
        flags=["adversarial", "clip"],
        note="Large ratios of lasting sign, half of them negative: catches a clip that is not symmetric.",
    )
    overflowing = (
        np.array([[1e30, -1e30, 1e-30, -1e-30]]) if dtype == "float32" else np.array([[1e300, -1e300, 1e-300, -1e-300]])
    )
    yield vector(
        "ratio-overflows",
        profile,
        dtype,
        draws("theta", 4),
        overflowing,
        np.zeros((1, 4)),
        set=settings(profile, every=1),
        flags=["adversarial", "clip", "range"],
        note="m / eps overflows to infinity, which the clip brings back to 1; catches inf * 0 and NaN.",
    )
    if profile == "official-G":
        return
    for clip, name in ((0.5, "half"), (2.0, "two"), (np.inf, "off")):
        yield vector(
            f"clip-{name}",
            profile,
            dtype,
            draws("theta", 8),
            g,
            h,
            set=wide | {"clip": clip},
            flags=["clip"],
            note="Another limit than 1"
            + (": none at all." if clip == np.inf else ", which bounds the update and not the step lr * update."),
        )


def _unit(profile: str, exact: dict[str, float]) -> float:
    """The h for which gamma h (rho bs h) is one; official adds 1e-15, which vanishes beside one in float32 only."""
    return 1 / (exact["rho"] * exact["bs"]) if profile == "official-G" else 1 / exact["gamma"]


def _kept(profile: str) -> float:
    """What an estimate of zero leaves of h where it is absorbed before the step, at t = 1: beta2 = 1/2."""
    return 0.5 if profile in ("paper-H", "paper-G") else 1.0
