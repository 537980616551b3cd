"""Vectors about when h is refreshed, and about going on from a saved state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.profiles import SOPHIAS
from sophia_ref.conformance.recipes.recipe import SETTINGS, draws, pairs, settings, vector


def vectors() -> Iterator[dict[str, Any]]:
    for profile, dtype in pairs(SOPHIAS):
        yield from _refresh(profile, dtype)
    for profile, dtype in pairs((*SOPHIAS, "Adam", "AdamW", "Lion")):
        yield from _resume(profile, dtype)
    for profile, dtype in pairs(("Adam", "AdamW", "Lion")):
        g, theta = draws(f"{profile} resume", 5, 4), draws("theta", 4)
        yield vector(
            "resume",
            profile,
            dtype,
            theta,
            g,
            set=SETTINGS[profile],
            resume_after=2,
            flags=["adversarial", "resume"],
            note="Saved and loaded after two steps: catches a step count, a moment or a precision that is lost.",
            report="https://github.com/tenstorrent/tt-metal/issues/53212",
        )


def _refresh(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta, h = draws(f"{profile} refresh", 26, 3), draws("theta", 3), 4 + np.abs(draws(f"{profile} h", 26, 3))
    base = settings(profile, gamma=1.0, beta2=0.5)
    yield vector(
        "every-1",
        profile,
        dtype,
        theta,
        g[:4],
        h[:4],
        set=base | {"every": 1},
        flags=["adversarial", "refresh"],
        note="k = 1: t mod k == 1, read literally, never holds.",
    )
    yield vector(
        "every-2",
        profile,
        dtype,
        theta,
        g[:6],
        h[:6],
        set=base | {"every": 2},
        flags=["refresh"],
        note="k = 2, the smallest interval in which a wrong phase shows.",
    )
    yield vector(
        "interval-beyond-the-end",
        profile,
        dtype,
        theta,
        g[:5],
        h[:5],
        set=base | {"every": 50},
        flags=["adversarial", "refresh"],
        note="k larger than the number of steps: one estimate, or none.",
        report="https://github.com/Liuhong99/Sophia/issues/44",
    )
    yield vector(
        "around-an-estimate",
        profile,
        dtype,
        theta,
        g[:4],
        h[:4],
        t=3,
        m=g[5],
        h=h[5],
        set=base | {"every": 5},
        flags=["adversarial", "refresh"],
        note="Steps k - 1, k, k + 1, k + 2 from a given state: an estimate before step k + 1, after it, after step k, or "
        "used one step late all leave different numbers.",
        report="https://github.com/Liuhong99/Sophia/issues/22",
    )
    yield vector(
        "three-intervals",
        profile,
        dtype,
        theta,
        g,
        h,
        set=base | {"every": 10},
        flags=["refresh"],
        note="The published interval of 10 over 26 steps: estimates at 1, 11, 21, or where a dialect has them.",
    )
    strange = h[:8].copy()
    strange[np.arange(8) % 4 != 0] *= -100
    yield vector(
        "offered-too-often",
        profile,
        dtype,
        theta,
        g[:8],
        strange,
        set=base | {"every": 4},
        offer_all=True,
        flags=["adversarial", "refresh"],
        note="An estimate is offered in every step and those that are not due are nonsense: they must not be taken.",
    )
    for after, name in (
        (2, "inside-an-interval"),
        (3, "before-an-estimate"),
        (4, "after-an-interval"),
        (5, "after-an-estimate"),
    ):
        yield vector(
            f"resume-{name}",
            profile,
            dtype,
            theta,
            g[:9],
            h[:9],
            set=base | {"every": 4},
            resume_after=after,
            flags=["adversarial", "resume"],
            note=f"k = 4, saved and loaded after step {after}: the schedule goes on where it was. Catches a counter that "
            f"begins anew, and an m, an h or a held estimate that is lost.",
            report="https://github.com/tenstorrent/tt-metal/issues/53212",
        )


def _resume(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    """Of what is easily lost when everything is saved in the midst of a run."""
    g, theta, h = draws(f"{profile} saved", 6, 2, 3), draws("theta", 2, 3), 4 + np.abs(draws("h", 6, 2, 3))
    base = settings(profile, gamma=1.0) | ({"beta2": 0.5} if profile in SOPHIAS else {})
    late = np.abs(draws("late h", 6)) + 4
    yield vector(
        "resume-late",
        profile,
        dtype,
        theta.ravel(),
        g.reshape(6, 6),
        h.reshape(6, 6),
        t=2049,
        m=draws("late m", 6),
        h=None if profile == "Lion" else late,
        set=base,
        resume_after=2,
        flags=["adversarial", "resume"],
        note="Saved after step 2051, which float16 rounds to 2052 and int8 to 3: catches a step count that is cast along with the rest.",
    )
    scale = np.array([0.01, 0.3, 3.0, 40.0, 5e3, 9e4]) * np.pi  # the last is beyond what float16 holds
    yield vector(
        "resume-with-all-digits",
        profile,
        dtype,
        theta.ravel(),
        g[:3].reshape(3, 6) / 16 * scale,
        t=1,
        m=draws("saved m", 6) / 16 * scale,
        h=None if profile == "Lion" else scale,
        set=base | ({"every": 8} if profile in SOPHIAS else {}),
        resume_after=2,
        flags=["adversarial", "resume"],
        note="m and h have all the digits of their dtype when they are saved, and no estimate follows: catches a state kept in half precision.",
    )
    yield vector(
        "resume-transposed",
        profile,
        dtype,
        theta,
        g,
        h,
        layout="F",
        set=base,
        resume_after=3,
        flags=["adversarial", "memory", "resume"],
        note="A matrix that lies column by column when it is saved: catches bytes that are written as they lie and read row by row.",
    )
    if profile != "Adam":
        yield vector(
            "resume-masked",
            profile,
            dtype,
            theta,
            g[:4],
            h[:4],
            mask=np.array([[True, False, True], [False, False, True]]),
            set=base | {"lr": 0.125, "weight_decay": 1.0},
            resume_after=2,
            flags=["adversarial", "mask", "resume"],
            note="Half of the coordinates are exempt from decay, after loading too.",
        )
    yield vector(
        "resume-in-a-warm-up",
        profile,
        dtype,
        theta.ravel(),
        g[:5].reshape(5, 6),
        h[:5].reshape(5, 6),
        set=base | {"lr": (0.0625, 0.125, 0.25, 0.5, 0.125)},
        resume_after=2,
        flags=["adversarial", "rate", "resume"],
        note="A learning rate that changes with every step, saved after two: catches a schedule that begins anew.",
        most=256,
    )
    if profile in SOPHIAS:
        strange = h.copy()
        strange[np.arange(6) % 4 != 0] *= -100
        yield vector(
            "resume-offered-too-often",
            profile,
            dtype,
            theta,
            g,
            strange,
            set=base | {"every": 4},
            resume_after=2,
            offer_all=True,
            flags=["adversarial", "refresh", "resume"],
            note="Estimates are offered in every step, the one after loading too, which is not due: catches a first step of an object that always estimates.",
        )
