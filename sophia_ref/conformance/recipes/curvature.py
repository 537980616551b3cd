"""Vectors about h: its sign, its size, its first estimate, and what stands below the fraction line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sophia_ref.conformance.profiles import SIGNED, SOPHIAS
from sophia_ref.conformance.recipes.recipe import EXACT, draws, pairs, settings, vector


def vectors() -> Iterator[dict[str, Any]]:
    for profile, dtype in pairs(SOPHIAS):
        yield from _every_sophia(profile, dtype)
    for profile, dtype in pairs(SIGNED, both=SIGNED):
        yield from _negative(profile, dtype)


def _squares(profile: str, seed: str, *shape: int, size: float = 4.0) -> Any:
    """Estimates that are not negative where the profile's never are; the official form is given their roots."""
    x = draws(seed, *shape, size=size)
    return np.abs(x) if profile == "paper-G" else x


def _every_sophia(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta = draws(f"{profile} plain", 12, 6), draws("theta", 6)
    h = _squares(profile, f"{profile} h", 12, 6)
    moderate = settings(profile, beta2=0.75, gamma=0.5)
    yield vector(
        "plain",
        profile,
        dtype,
        theta,
        g,
        h,
        set=moderate,
        note="Twelve ordinary steps with an estimate every four, so that clipped and unclipped coordinates both occur.",
    )
    yield vector(
        "published",
        profile,
        dtype,
        theta,
        g[:9],
        64 * h[:9],
        set=settings(profile),
        note="The published settings, under which h grows so slowly that nearly all is clipped at first.",
    )
    yield vector(
        "exact",
        profile,
        dtype,
        theta[:4],
        g[:5, :4],
        4 * np.round(h[:5, :4]) + 4,
        set=settings(profile, EXACT),
        flags=["exact"],
        note="Powers of two for settings and few bits in the inputs: only divisions round.",
    )
    yield vector(
        "first-step",
        profile,
        dtype,
        theta,
        g[:1],
        32 * np.abs(h[:1]) + 8,
        t=0,
        set=settings(profile, beta2=0.75, gamma=1.0, every=1),
        flags=["adversarial", "bias"],
        note="One step from zeros, unclipped: catches m or h that is divided by 1 - beta^t, or is not, and an h that "
        "begins as its first estimate.",
        report="https://github.com/Liuhong99/Sophia/issues/22",
    )
    yield vector(
        "zero-curvature",
        profile,
        dtype,
        theta[:4],
        g[:3, :4],
        np.zeros((3, 4)),
        set=settings(profile, every=1),
        flags=["adversarial", "curvature"],
        note="Estimates of zero: the denominator is eps and each step is lr sign(m); catches divisions by zero.",
    )
    yield vector(
        "huge-curvature",
        profile,
        dtype,
        theta[:4],
        g[:3, :4],
        np.full((3, 4), 2.0**40),
        set=settings(profile, every=1),
        flags=["adversarial", "curvature"],
        note="So much curvature that hardly anything moves; catches a clip from below and a lost decay.",
    )
    yield vector(
        "gamma-tiny",
        profile,
        dtype,
        theta[:4],
        g[:4, :4],
        h[:4, :4],
        set=settings(profile, gamma=2.0**-30, every=1),
        flags=["adversarial", "gamma"],
        note="gamma so small that everything positive is clipped; catches a gamma that is added, or applied twice.",
    )
    yield vector(
        "gamma-large",
        profile,
        dtype,
        theta,
        np.abs(g[:4]),
        np.abs(h[:4]) + 1,
        set=settings(profile, gamma=2.0**12, beta2=0.75, every=1),
        flags=["adversarial", "gamma"],
        note="gamma so large that nothing is clipped; catches a gamma that is ignored, or clips as well as scales.",
    )
    yield vector(
        "growing-h",
        profile,
        dtype,
        theta[:4],
        np.abs(g[:6, :4]),
        4 + np.abs(h[:6, :4]) * np.arange(1, 7)[:, None],
        set=settings(profile, gamma=1.0, beta2=0.5, every=2),
        flags=["adversarial", "curvature"],
        note="Estimates that grow: catches beta1 in place of beta2, and a mean that weighs the new estimate by beta2.",
    )
    if profile == "official-G":
        yield vector(
            "bs-four-times",
            profile,
            dtype,
            theta,
            g[:6],
            h[:6] + 2 * np.sign(h[:6]),
            set=settings(profile, bs=32.0, gamma=0.5, beta2=0.5, every=2),
            flags=["adversarial", "batch"],
            note="bs counts predictions and multiplies h in the step; catches a bs of sequences, and one that is ignored.",
            report="https://github.com/Liuhong99/Sophia/issues/27",
        )
        for name, scale in (("at", 1.0), ("around", 4.0)):
            yield vector(
                f"curvature-{name}-its-eps",
                profile,
                dtype,
                np.zeros(4),
                [np.zeros(4)],
                t=1,
                m=scale * 1e-15 * np.array([0.5, -0.5, 1.0, -1.0]) * 2.0,
                h=scale * 1e-15 / 0.32 * np.array([1.0, 1.0, 2.0, 0.5]),
                set=settings(profile),
                flags=["adversarial", "eps"],
                note="rho bs h as small as the 1e-15 that is added to it: where the larger of the two was taken, nothing is clipped less.",
            )
        return
    # gamma h below, at and above eps, and zero; m so small that nothing is clipped
    eps, fractions = 2.0**-10, np.array([0.0, 0.5, 1.0, 2.0, 4.0, 1.0])
    yield vector(
        "eps-floor",
        profile,
        dtype,
        np.zeros(6),
        eps * np.array([[0.5, -0.25, 0.5, 0.125, -0.5, -0.125]]),
        eps * np.ones((1, 6)),
        t=1,
        m=np.zeros(6),
        h=2 * eps * fractions,
        set=settings(profile, EXACT, every=4),
        flags=["adversarial", "eps", "exact"],
        note="gamma h below, at and above eps with tiny m: max(gamma h, eps), neither gamma h + eps nor max(h, eps).",
        report="https://github.com/kyegomez/Sophia/issues/19",
        most=512,
    )
    yield vector(
        "eps-large",
        profile,
        dtype,
        theta,
        g[:3] / 16,
        np.abs(h[:3]),
        set=settings(profile, eps=0.5, gamma=0.5, beta2=0.5, every=1),
        flags=["adversarial", "eps"],
        note="An eps of one half, which cannot hide in rounding: catches an eps that is added.",
        report="https://github.com/kyegomez/Sophia/issues/19",
    )


def _negative(profile: str, dtype: str) -> Iterator[dict[str, Any]]:
    g, theta = draws(f"{profile} negative", 8, 6), draws("theta", 6)
    yield vector(
        "negative-curvature",
        profile,
        dtype,
        theta,
        g[:4],
        -np.abs(draws("h", 4, 6)),
        set=settings(profile, gamma=0.5, beta2=0.75, every=2),
        flags=["adversarial", "negative"],
        note="Every estimate is negative: the step is lr sign(m), downhill. Without a floor below gamma h it climbs, by as "
        "much as it likes.",
        report="https://github.com/Liuhong99/Sophia/issues/34",
    )
    h = np.abs(draws("flip", 8, 6)) + 1
    h[1::2] *= -3
    yield vector(
        "sign-flips",
        profile,
        dtype,
        theta,
        g,
        h,
        set=settings(profile, gamma=0.5, beta2=0.5, every=1),
        flags=["adversarial", "negative"],
        note="h changes its sign at every step: catches an absolute value, a square root of a square, and a floor under "
        "the estimate in place of the average.",
        report="https://github.com/Liuhong99/Sophia/issues/34",
    )
    mixed = 4 * np.array([-1.0, 1.0, -0.5, 0.25, -(2.0**-20), 2.0**-20])
    yield vector(
        "negative-h-injected",
        profile,
        dtype,
        theta,
        g[:2] / 4,
        np.abs(draws("h", 2, 6)),
        t=1,
        m=g[2] / 4,
        h=mixed,
        set=settings(profile, gamma=0.5, every=4),
        flags=["adversarial", "negative"],
        note="A state whose h is negative in three of six coordinates, and no estimate for two steps.",
        report="https://github.com/Liuhong99/Sophia/issues/34",
    )
    # huge curvature in a negative direction, tiny momentum: abs(h) would hardly move, the paper makes a whole step
    yield vector(
        "negative-huge",
        profile,
        dtype,
        theta[:4],
        g[:2, :4] / 64,
        np.full((2, 4), -(2.0**30)),
        set=settings(profile, every=1),
        flags=["adversarial", "negative"],
        note="Much negative curvature under little momentum: still a whole step of lr, where abs(h) hardly moves.",
        report="https://github.com/kyegomez/Sophia/issues/19",
    )
