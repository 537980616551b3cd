"""The equations of each optimizer as data, for `explain`.

A rule is a table of lines in the order of its code: what is computed, and from what. With symbols in place of its
{names} a line is the formula, and with one coordinate's numbers it is what was computed, so that nothing is written
twice; the tests put the numbers that are shown into the formula that is shown. {m-} is m before the step. Remarks say
in words what the numbers of a step mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from sophia_ref.optimizers import (
    AdaHessian,
    Adam,
    AdamW,
    ClippedNewton,
    DampedNewton,
    GradientDescent,
    Lion,
    Momentum,
    Newton,
    Optimizer,
    SaddleFreeNewton,
    SignGD,
    Signum,
    Sophia,
)

Lines = tuple[tuple[str, str], ...]  # (what, template)
Values = Mapping[str, Any]  # the numbers of a step by name

SYMBOLS = {
    "lr": "η", "beta": "β", "beta1": "β₁", "beta2": "β₂", "gamma": "γ", "eps": "ε", "clip": "ρ", "rho": "ρ",
    "damping": "δ", "weight_decay": "λ", "every": "k", "theta": "θ", "decayed": "θ", "h_hat": "ĥ", "m_hat": "m̂",
    "v_hat": "v̂", "eigenvalues": "s", "1-beta": "(1-β)", "1-beta1": "(1-β₁)", "1-beta2": "(1-β₂)",
}  # fmt: skip

GRADIENT = ("g", "∂L/∂θ")
ESTIMATE = ("h_hat", "estimator")  # its name comes here
AVERAGE = ("m", "{beta1}·{m-} + {1-beta1}·{g}")
SQUARES = ("v", "{beta2}·{v-} + {1-beta2}·{g}²")
DECAY = ("decayed", "{theta-} - {lr}·{weight_decay}·{theta-}")
DESCENT = ("theta", "{decayed} - {lr}·{update}")
ROOT = (
    ("m_hat", "{m} / (1 - {beta1}^{t})"),
    ("v_hat", "{v} / (1 - {beta2}^{t})"),
    ("denominator", "√{v_hat} + {eps}"),
    ("update", "{m_hat} / {denominator}"),
)

DECAYING = (Sophia, AdamW, AdaHessian, Signum)

# Coordinate by coordinate
EQUATIONS: dict[type[Optimizer], Lines] = {
    Sophia: (
        GRADIENT,
        AVERAGE,
        ESTIMATE,
        ("h", "{beta2}·{h-} + {1-beta2}·{h_hat}"),
        ("denominator", "max({gamma}·{h}, {eps})"),
        ("ratio", "{m} / {denominator}"),
        ("update", "clip({ratio}, {clip})"),
        DECAY,
        DESCENT,
    ),
    Adam: (GRADIENT, AVERAGE, SQUARES, *ROOT, DESCENT),
    AdamW: (GRADIENT, AVERAGE, SQUARES, *ROOT, DECAY, DESCENT),
    AdaHessian: (
        GRADIENT,
        ESTIMATE,
        ("D", "{h_hat}"),
        AVERAGE,
        ("v", "{beta2}·{v-} + {1-beta2}·{D}²"),
        *ROOT,
        DECAY,
        DESCENT,
    ),
    Lion: (
        GRADIENT,
        ("c", "{beta1}·{m-} + {1-beta1}·{g}"),
        ("update", "sign({c}) + {weight_decay}·{theta-}"),
        ("theta", "{theta-} - {lr}·{update}"),
        ("m", "{beta2}·{m-} + {1-beta2}·{g}"),
    ),
    GradientDescent: (GRADIENT, ("theta", "{theta-} - {lr}·{g}")),
    Momentum: (GRADIENT, ("m", "{beta}·{m-} + {g}"), ("theta", "{theta-} - {lr}·{m}")),
    SignGD: (GRADIENT, ("update", "sign({g})"), DESCENT),
    Signum: (GRADIENT, ("m", "{beta}·{m-} + {1-beta}·{g}"), ("update", "sign({m})"), DECAY, DESCENT),
    **dict.fromkeys((Newton, DampedNewton, SaddleFreeNewton, ClippedNewton), (GRADIENT, ("update", "Σ v·q"), DESCENT)),
}

# Eigenvector by eigenvector v of the Hessian
PROJECTION = ("c", "Σ v·g")
DIRECTIONS: dict[type[Optimizer], Lines] = {
    Newton: (PROJECTION, ("q", "{c} / {eigenvalues}")),
    DampedNewton: (PROJECTION, ("q", "{c} / ({eigenvalues} + {damping})")),
    SaddleFreeNewton: (PROJECTION, ("q", "{c} / (|{eigenvalues}| + {damping})")),
    ClippedNewton: (PROJECTION, ("ratio", "{c} / {eigenvalues}"), ("q", "clip({ratio}, {rho})")),
}

# For which optimizers, when, and what; a coordinate or an eigenvector is known by its numbers.
Remark = tuple[tuple[type[Optimizer], ...], Callable[[Values], bool], str]

FLOOR = "h < 0: the denominator is ε, and the step is"
REMARKS: tuple[Remark, ...] = (
    ((Sophia,), lambda v: "h_hat" not in v, "h is kept: it is estimated every {every} steps, next in step {next}."),
    ((Sophia,), lambda v: v["h"] < 0 and v["clipped"] and v["clip"] == 1, f"{FLOOR} η times the sign of m."),
    ((Sophia,), lambda v: v["h"] < 0 and v["clipped"] and v["clip"] != 1, f"{FLOOR} η·ρ times the sign of m."),
    ((Sophia,), lambda v: v["h"] < 0 and not v["clipped"], f"{FLOOR} η·m/ε."),
    ((Sophia,), lambda v: 0 <= v["gamma"] * v["h"] < v["eps"], "γ·h < ε: the denominator is ε."),
    ((Sophia,), lambda v: v["clip"] == inf, "ρ = ∞: nothing is clipped."),
    ((Adam,), lambda v: v["t"] == 1, "t = 1: m̂ = g and v̂ = g², and the update is the sign of g but for ε."),
    ((AdaHessian,), lambda v: v["h_hat"] < 0, "ĥ < 0: v holds squares, and the sign is lost."),
    ((AdaHessian,), lambda v: v["layout"] is not None, "D is the mean of ĥ over a block of its tensor."),
    ((Lion,), lambda v: v["c"] == 0, "sign(0) = 0."),
    ((SignGD, Signum), lambda v: v["update"] == 0, "sign(0) = 0: no step."),
    (DECAYING, lambda v: v["weight_decay"] > 0, "Before the step, weight decay shrinks θ by the factor 1 - η·λ."),
    ((Lion,), lambda v: v["weight_decay"] > 0, "λ·θ in the update is weight decay."),
)
CLIMBS, DESCENDS = "the step climbs along v.", "the step descends along v."
DIRECTION_REMARKS: tuple[Remark, ...] = (
    (tuple(DIRECTIONS), lambda v: "eigenvalues" not in v, "There is no curvature along v but for rounding: no step."),
    ((Newton, ClippedNewton), lambda v: v["q"] != 0 and v["eigenvalues"] < 0, f"s < 0: {CLIMBS}"),
    ((DampedNewton,), lambda v: v["q"] != 0 and v["eigenvalues"] + v["damping"] < 0, f"s + δ < 0: {CLIMBS}"),
    ((SaddleFreeNewton,), lambda v: v["q"] != 0 and v["eigenvalues"] < 0, f"s < 0, but |s| counts: {DESCENDS}"),
)
