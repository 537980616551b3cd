"""Vectors about numbers themselves: precision, range, zeros, shapes and memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.profiles import SOPHIAS
from sophia_ref.conformance.recipes.recipe import FLOATS, draws, pairs, settings, vector
from sophia_ref.conformance.vectors import encode_array

ALL = (*SOPHIAS, "Adam", "AdamW", "Lion")
IEEE = "Where denormal numbers are flushed to zero, as on many accelerators, that is well known and accepted."


def vectors() -> Iterator[dict[str, Any]]:
    for profile in ALL:
        yield from _half(profile)
    for dtype, other in (FLOATS, FLOATS[::-1]):
        yield from _mixed(dtype, other)
    for profile, dtype in pairs(ALL):
        yield from _range(profile, dtype)
        yield from _shapes(profile, dtype)
        yield from _not_finite(profile, dtype)


def _half(profile: str) -> Iterator[dict[str, Any]]:
    """Inputs that float16 holds, in float32: what mixed precision hands over."""
    extremes = np.array([65504.0, 2.0**-24, -65504.0, -(2.0**-14), 1.0009765625, -0.333251953125])
    g = np.stack([extremes, -extremes[::-1], extremes / 2])
    yield vector(
        "float16-values",
        profile,
        "float32",
        draws("theta", 6),
        g,
        16 + np.abs(draws("h", 3, 6)),
        set=settings(profile, gamma=1.0, every=1),
        flags=["adversarial", "precision"],
        note="Gradients at the ends of float16's range with a float32 state: catches averages kept in half precision.",
    )
    small = 2.0**-20 * draws(f"{profile} small", 8, 4)
    yield vector(
        "small-after-large",
        profile,
        "float32",
        draws("theta", 4),
        [64 * draws("large", 4), *small],
        np.full((9, 4), 256.0),
        set=settings(profile, gamma=1.0, every=2),
        flags=["adversarial", "precision"],
        note="A large gradient, then tiny ones, which a half-precision average would lose.",
    )


def _mixed(dtype: str, other: str) -> Iterator[dict[str, Any]]:
    """Numbers of another precision than theta's, which they hold exactly."""
    theta, g, h = draws("theta", 4), draws("g", 1, 4), 8 + np.abs(draws("h", 1, 4))
    for key, x, name in (("g", g, "gradient"), ("h_hat", h, "curvature")):
        plain = vector(
            f"{name}-of-{other}",
            "paper-H",
            dtype,
            theta,
            g,
            h,
            set=settings("paper-H", gamma=1.0, every=1),
            verdict="acceptable",
            flags=["adversarial", "precision"],
            note=f"A {other} {name} beside a {dtype} theta: refused, or converted. theta, m and h stay {dtype}.",
        )
        plain["steps"][0][key] = encode_array(x[0].astype(other))
        yield plain


def _range(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    theta, tiny = draws("theta", 4), float(np.finfo(dtype).smallest_subnormal)
    sign = np.array([1.0, -1.0, 1.0, -1.0])
    yield vector(
        "denormals",
        profile,
        dtype,
        theta,
        [64 * tiny * sign * np.arange(1, 5)],
        [np.full(4, 4.0)],
        set=settings(profile, beta1=0.5, beta2=0.5, gamma=1.0, every=1),
        verdict="acceptable",
        flags=["adversarial", "range"],
        free={"m": np.ones(4, bool), **_nearly_nothing(profile)},
        note="Denormal gradients. " + IEEE,
    )
    yield vector(
        "negative-zero",
        profile,
        dtype,
        np.array([-0.0, 0.0, -0.0, 0.0]),
        [np.array([-0.0, 0.0, 0.0, -0.0])],
        [np.ones(4)],
        set=settings(profile, every=1),
        flags=["adversarial", "range"],
        note="Zeros of both signs: nothing moves. The sign of a zero is not compared.",
    )
    yield vector(
        "large-theta",
        profile,
        dtype,
        2.0**100 * theta,
        draws("g", 3, 4),
        np.full((3, 4), 8.0),
        set=settings(profile, gamma=1.0, every=1),
        flags=["range"],
        note="Parameters beside which the update vanishes; the decay does not.",
    )
    size = 2.0**80 if dtype == "float32" else 2.0**600
    if profile in ("Adam", "AdamW"):
        yield vector(
            "square-overflows",
            profile,
            dtype,
            theta,
            [size * sign, np.ones(4)],
            set=settings(profile),
            verdict="acceptable",
            flags=["adversarial", "range"],
            note="The square of a gradient overflows: v is infinite from then on and theta stays, unless it is refused. "
            "Catches NaN.",
        )
    if profile in SOPHIAS and profile != "official-G":
        yield vector(
            "large-gradient",
            profile,
            dtype,
            theta,
            [size * sign, -size * sign],
            np.full((2, 4), 4.0),
            set=settings(profile, every=1),
            flags=["adversarial", "range"],
            note="A gradient whose square overflows: Sophia never squares it, clips, and goes on. Catches norms and squares "
            "that are taken on the way.",
        )


def _nearly_nothing(profile: str) -> dict[str, Any]:
    """Fields that stand or fall with a denormal m."""
    free = np.ones(4, bool)
    if profile == "Lion":
        return {"c": free, "update": free, "theta": free}
    names = (
        ("ratio", "update", "m_hat", "theta")
        if profile in SOPHIAS
        else ("m_hat", "update", "v", "v_hat", "denominator", "theta")
    )
    return dict.fromkeys((*names, "clipped"), free) if profile == "official-G" else dict.fromkeys(names, free)


def _shapes(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    base = settings(profile, gamma=1.0, every=2)
    g, h, theta = draws(f"{profile} shape", 3, 2, 3), 8 + np.abs(draws("h", 3, 2, 3)), draws("theta", 2, 3)
    for layout, name, note in (
        ("C", "matrix", "A parameter of two rows and three columns."),
        ("F", "transposed", "The same matrix, column by column in memory: catches what walks over memory as it lies."),
        (
            "strided",
            "strided",
            "Every second entry of a longer array: catches what assumes that entries are neighbours.",
        ),
    ):
        yield vector(
            name,
            profile,
            dtype,
            theta,
            g,
            h,
            layout=layout,
            set=base,
            flags=["memory"] + ["adversarial"] * (layout != "C"),
            note=note,
        )
    yield vector(
        "aliased",
        profile,
        dtype,
        draws("theta", 4),
        [None] * 3,
        8 + np.abs(draws("h", 3, 4)),
        layout="alias",
        set=base,
        flags=["adversarial", "memory"],
        note="The gradient of theta.theta/2 is theta itself, in the same memory: catches a decay in place that changes the "
        "gradient before m has taken it.",
    )
    yield vector(
        "empty",
        profile,
        dtype,
        np.zeros(0),
        np.zeros((2, 0)),
        np.zeros((2, 0)),
        set=base,
        flags=["adversarial", "memory"],
        note="A parameter without entries, as a filter may leave it: nothing happens, and nothing breaks.",
    )
    yield vector(
        "one",
        profile,
        dtype,
        draws("theta", 1),
        draws("g", 3, 1),
        8 + np.abs(draws("h", 3, 1)),
        set=base,
        flags=["memory"],
        note="A single coordinate.",
    )


def _not_finite(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    """May be refused, or shown: never hidden behind a finite number."""
    base, theta = settings(profile, gamma=1.0, every=1), draws("theta", 4)
    g, h = draws("g", 4), 8 + np.abs(draws("h", 4))
    bad = np.array([False, True, False, False])
    yield vector(
        "nan-gradient",
        profile,
        dtype,
        theta,
        [np.where(bad, np.nan, g)],
        [h],
        set=base,
        verdict="acceptable",
        flags=["adversarial", "nan"],
        free={"clipped": bad},
        note="A gradient that is not a number: refused, or theta is NaN there and as ever elsewhere. Catches a clip that "
        "turns NaN into a step.",
    )
    if profile in SOPHIAS and profile != "official-G":
        yield vector(
            "nan-curvature",
            profile,
            dtype,
            theta,
            [g, g],
            [np.where(bad, np.nan, h), h],
            set=base,
            verdict="acceptable",
            flags=["adversarial", "nan"],
            free={"clipped": bad},
            note="An estimate that is not a number: refused, or h and theta are NaN there. Catches a maximum that drops NaN.",
        )
