"""The mistakes that are made with Sophia's rule and its schedule, each as a run of the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from sophia_ref.conformance.diagnosis.hypothesis import Hypothesis
from sophia_ref.conformance.diagnosis.simulate import Settings, Sophia, shortened
from sophia_ref.conformance.dialects import DIALECTS, Dialect
from sophia_ref.conformance.engine import Knobs
from sophia_ref.conformance.profiles import OFFICIAL_EPS, SIGNED, SOPHIAS, knobs_of

Array = Any
FLOORED = ("paper-H", "paper-G", "optax-H", "Levanter-H")  # that have gamma and an eps of their own


def _set(**changes: Any) -> Any:
    """Settings with these changes, each a number or a function of the settings."""
    return lambda s: s | {name: x(s) if callable(x) else x for name, x in changes.items()}


def _rates(f: Any) -> Any:
    """Settings with every learning rate replaced by f(rates, i)."""

    def changed(s: Settings) -> Settings:
        lr = s["lr"]
        return s | {"lr": tuple(f(lr, i) for i in range(len(lr)))} if isinstance(lr, tuple) else s

    return changed


def _no_decay(s: Settings) -> Settings:
    return s | {"weight_decay": 0.0, "decay": s["weight_decay"]}


def _root(h: Array, s: Settings) -> Array:
    """What makes the denominator its own square root."""
    return np.sqrt(np.maximum(s["gamma"] * h, s["eps"])) / s["gamma"]


def _h_by_steps(h: Array, t: int, s: Settings) -> Array:
    return h / (1 - s["beta2"] ** t)


KNOBS: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    ("m bias-corrected", {"m_corrected": True}, "m is divided by 1 - beta1^t before it is used, as in Adam",
     "use m as it is"),
    ("m not bias-corrected", {"m_corrected": False}, "m is used as it is, where this dialect divides it by 1 - beta1^t",
     "divide m by 1 - beta1^t"),
    ("h bias-corrected", {"h_corrected": True}, "h is divided by 1 - beta2^n, n estimates, before it is used",
     "use h as it is: it starts at zero and grows slowly on purpose"),
    ("h from the first estimate", {"start": "first"}, "h begins as the first estimate instead of (1 - beta2) times it",
     "start h at zero and average the first estimate like every other"),
    ("momentum twice", {"averagings": 2}, "each gradient is averaged into m twice, which makes beta1 its square",
     "update m once a step"),
    ("eps added", {"denominator": "add"}, "eps is added to gamma h instead of bounding it from below",
     "divide by max(gamma h, eps)"),
    ("eps added to max(gamma h, 0)", {"denominator": "relu+add"}, "the denominator is max(gamma h, 0) + eps",
     "divide by max(gamma h, eps)"),
    ("eps by max", {"denominator": "max"}, "the denominator is the larger of rho bs h and eps",
     "add 1e-15 to rho bs h"),
    ("no floor, eps added", {"floor": False, "denominator": "add"},
     "the ratio is sign(m) min(|m| / (gamma h + eps), clip), as in the official code",
     "clip m / max(gamma h, eps) from both sides"),
    ("first estimate at step k", {"first": "k"}, "estimates are made in steps k, 2k, ... (t mod k = 0)",
     "make them in steps 1, 1 + k, ...: (t - 1) mod k = 0"),
    ("first estimate at step k + 1", {"first": "k+1"},
     "estimates are made in steps 1 + k, 1 + 2k, ... and none in step 1",
     "make the first before step 1"),
    ("first estimate at step 1", {"first": "1"}, "an estimate is made in step 1 already", "make the first later"),
    ("t mod k = 1, literally", {"literal": True}, "t mod k = 1 is tested as it is written, which never holds for k = 1",
     "test (t - 1) mod k = 0"),
    ("estimate used one step late", {"absorbed": "after"}, "h takes an estimate in after the update of that step",
     "update h first, then theta, in the same step"),
    ("estimate used in the same step", {"absorbed": "before"}, "h takes an estimate in before the update of that step",
     "update theta first, then h"),
    ("estimate used at the end of its interval", {"absorbed": "late"}, "h takes an estimate in at steps k, 2k, ...",
     "update h in the step that makes the estimate"),
    ("an estimate replaces the step", {"replaces": True}, "a step that estimates curvature does not move theta",
     "take the training step too"),
)  # fmt: skip

RULES: tuple[tuple[str, tuple[str, ...], dict[str, Any], str, str], ...] = (
    # the fraction
    ("abs(h)", SIGNED, {"curvature": lambda h, t, s: np.abs(h)}, "h is replaced by its absolute value",
     "divide by max(gamma h, eps), which turns negative curvature into a step of lr"),
    ("abs of the estimate", SIGNED, {"taken": lambda h_hat, g, h, s: np.abs(h_hat)},
     "the absolute value of each estimate is averaged", "average estimates with their signs"),
    ("estimates floored at zero", SIGNED, {"taken": lambda h_hat, g, h, s: np.maximum(h_hat, 0)},
     "negative estimates are averaged as zeros", "average estimates with their signs; the floor is under gamma h"),
    ("estimates squared", SIGNED, {"taken": lambda h_hat, g, h, s: h_hat**2},
     "the square of each estimate is averaged, as AdaHessian does", "average the estimates themselves"),
    ("negative estimates left out", SIGNED, {"taken": lambda h_hat, g, h, s: np.where(h_hat < 0, h, h_hat)},
     "where an estimate is negative h stays as it is", "average estimates with their signs"),
    ("square root of the denominator", FLOORED, {"curvature": lambda h, t, s: _root(h, s)},
     "m is divided by the square root of max(gamma h, eps)", "divide by max(gamma h, eps) itself"),
    ("square root of h", SOPHIAS, {"curvature": lambda h, t, s: np.sqrt(h)}, "m is divided by the square root of h",
     "divide by h: it is a curvature, not a mean square"),
    ("eps bounds h instead of gamma h", FLOORED, {"settings": _set(eps=lambda s: s["gamma"] * s["eps"])},
     "the denominator is gamma max(h, eps)", "divide by max(gamma h, eps)"),
    ("an eps of 1e-15, added", FLOORED, {"knobs": {"floor": False, "denominator": "add"}, "settings": _set(eps=1e-15)},
     "the ratio is sign(m) min(|m| / (gamma h + 1e-15), clip), as in the official code, whose eps is fixed",
     "clip m / max(gamma h, eps) from both sides"),
    ("no eps", SOPHIAS, {"settings": _set(eps=np.finfo(np.float64).tiny)}, "nothing bounds gamma h from below",
     "divide by max(gamma h, eps)"),
    ("eps inside a root", FLOORED, {"settings": _set(eps=lambda s: float(np.sqrt(s["eps"])))},
     "the square root of eps stands below the fraction line", "use eps itself"),
    ("h corrected by steps", FLOORED, {"curvature": _h_by_steps}, "h is divided by 1 - beta2^t", "use h as it is"),
    # gamma, clip, rho, bs
    ("gamma ignored", SOPHIAS, {"settings": _set(gamma=1.0)}, "gamma (rho) is 1, whatever was asked for",
     "scale h by gamma"),
    ("gamma squared", SOPHIAS, {"settings": _set(gamma=lambda s: s["gamma"] ** 2)},
     "gamma is applied twice, in h and in the denominator", "apply it once"),
    ("divided by gamma", SOPHIAS, {"settings": _set(gamma=lambda s: 1 / s["gamma"])}, "h is divided by gamma",
     "multiply h by gamma"),
    ("clip missing", SOPHIAS, {"settings": _set(clip=np.inf)}, "nothing limits the ratio", "clip it at 1"),
    ("clipped from above alone", SOPHIAS, {"limit": lambda ratio, clip: np.minimum(ratio, clip)},
     "nothing limits a negative ratio", "clip from both sides"),
    ("step without its sign", SOPHIAS, {"limit": lambda ratio, clip: np.minimum(np.abs(ratio), clip)},
     "the clipped ratio's absolute value is subtracted", "keep the sign of m"),
    ("always clipped", SOPHIAS, {"settings": _set(gamma=2.0**-120, eps=2.0**-120)},
     "every step is lr times the sign of m", "clip the ratio; do not replace it by its sign"),
    ("clip at gamma, lr not converted", FLOORED, {"settings": _set(gamma=1.0, clip=lambda s: s["gamma"] * s["clip"])},
     "the first form, clip(m / max(h, eps), rho), is given the second form's lr",
     "convert: lr1 = lr / gamma, eps1 = eps / gamma, weight_decay1 = gamma weight_decay"),
    ("clip at gamma h", FLOORED, {"settings": _set(clip=lambda s: s["gamma"])},
     "gamma scales h and is the limit of the ratio too", "clip at 1"),
    ("another clip ignored", FLOORED, {"settings": _set(clip=1.0)}, "the clip is at 1, whatever was asked for",
     "clip at the limit that is given"),
    ("bs ignored", ("official-G",), {"settings": _set(bs=1.0)}, "rho h is not multiplied by bs",
     "multiply h by bs, the number of predictions in the batch"),
    ("bs in the estimate too", ("official-G",), {"taken": lambda h_hat, g, h, s: s["bs"] * h_hat},
     "bs multiplies the estimate, and h in each step again", "multiply by it once"),
    ("bs squared", ("official-G",), {"settings": _set(bs=lambda s: s["bs"] ** 2)}, "bs multiplies h twice",
     "multiply h by bs once"),
    # the averages
    ("betas swapped", SOPHIAS, {"settings": lambda s: s | {"beta1": s["beta2"], "beta2": s["beta1"]}},
     "beta1 and beta2 have changed places", "beta1 is for gradients, beta2 for curvature"),
    ("beta1 for both", SOPHIAS, {"settings": _set(beta2=lambda s: s["beta1"])}, "h is averaged with beta1",
     "average h with beta2"),
    ("beta2 for both", SOPHIAS, {"settings": _set(beta1=lambda s: s["beta2"])}, "m is averaged with beta2",
     "average m with beta1"),
    ("beta2 weighs the new estimate", SOPHIAS, {"settings": _set(beta2=lambda s: min(1 - s["beta2"], 1 - 2.0**-53))},
     "h is (1 - beta2) h + beta2 h_hat", "h = beta2 h + (1 - beta2) h_hat"),
    ("beta1 weighs the new gradient", SOPHIAS, {"settings": _set(beta1=lambda s: min(1 - s["beta1"], 1 - 2.0**-53))},
     "m is (1 - beta1) m + beta1 g", "m = beta1 m + (1 - beta1) g"),
    ("h not averaged", SOPHIAS, {"settings": _set(beta2=0.0)}, "h is the last estimate alone",
     "h = beta2 h + (1 - beta2) h_hat"),
    ("heavy-ball momentum", SOPHIAS, {"gradient": lambda g, theta, s: g / (1 - s["beta1"])},
     "m is beta1 m + g, without the factor 1 - beta1", "m = beta1 m + (1 - beta1) g"),
    ("h summed", SOPHIAS, {"taken": lambda h_hat, g, h, s: h_hat / (1 - s["beta2"])},
     "h is beta2 h + h_hat, without the factor 1 - beta2", "h = beta2 h + (1 - beta2) h_hat"),
    ("Nesterov momentum", SOPHIAS, {"momentum": lambda old, m, g, s: s["beta1"] * m + (1 - s["beta1"]) * g},
     "what is divided by h looks one gradient ahead of m", "divide m itself"),
    ("momentum used before it is updated", SOPHIAS, {"momentum": lambda old, m, g, s: old},
     "theta moves by the m of the step before", "update m first"),
    ("momentum left out", SOPHIAS, {"momentum": lambda old, m, g, s: g}, "the gradient itself is divided by h",
     "divide m"),
    ("gradient norm clipped", SOPHIAS, {"gradient": lambda g, theta, s: shortened(g)},
     "gradients are shortened to norm 1 inside the optimizer", "leave clipping to the training loop"),
    ("averages in half precision", SOPHIAS, {"kept": lambda x: x.astype(np.float16).astype(x.dtype)},
     "m and h are kept in float16", "keep them in float32"),
    ("float64 computed in float32", ("paper-H", "paper-G"), {"dtype": "float32"},
     "float64 is rounded to float32 on the way", "keep theta's dtype"),
    # the schedule
    ("an estimate in every step", SOPHIAS, {"due": lambda knobs, t, k: True}, "h takes in an estimate in every step",
     "take one in every k steps, whatever is offered"),
    ("a stale estimate taken in every step", SOPHIAS, {"stale": True},
     "the last estimate is averaged into h again in every step", "touch h in steps with a new estimate alone"),
    ("h decays without an estimate", SOPHIAS, {"forgets": True}, "a step without an estimate averages a zero into h",
     "leave h as it is in such a step"),
    ("no estimate taken in", SOPHIAS, {"due": lambda knobs, t, k: False}, "h never changes",
     "take an estimate in every k steps"),
    ("one estimate alone", SOPHIAS, {"due": lambda knobs, t, k: t == 1}, "h takes in the first estimate and no other",
     "take one in every k steps"),
    ("interval one too long", SOPHIAS, {"settings": _set(every=lambda s: s["every"] + 1)},
     "estimates are made every k + 1 steps", "count from 1 to k"),
    ("an estimate in step 2, k + 2, ...", SOPHIAS, {"due": lambda knobs, t, k: knobs.estimates_at(t - 1, k)},
     "the schedule is one step behind", "make the first estimate before step 1"),
    ("counter lost at resuming", SOPHIAS, {"resumed": lambda t, m, h: (0, m, h)},
     "the count of steps starts anew after a save", "save t with m and h"),
    ("counter one ahead after resuming", SOPHIAS, {"resumed": lambda t, m, h: (t + 1, m, h)},
     "the count of steps is that of the step to come after a save", "save the number of steps taken"),
    ("state lost at resuming", SOPHIAS, {"resumed": lambda t, m, h: (0, 0 * m, 0 * h)},
     "everything starts anew after a save", "save t, m and h"),
    ("h lost at resuming", SOPHIAS, {"resumed": lambda t, m, h: (t, m, 0 * h)}, "h is zero after a save", "save h"),
    ("m lost at resuming", SOPHIAS, {"resumed": lambda t, m, h: (t, 0 * m, h)}, "m is zero after a save", "save m"),
    ("averages saved in half precision", SOPHIAS,
     {"resumed": lambda t, m, h: (t, m.astype(np.float16).astype(m.dtype), h.astype(np.float16).astype(h.dtype))},
     "m and h lose digits in a save", "save them as they are"),
    ("h saved in half precision", SOPHIAS,
     {"resumed": lambda t, m, h: (t, m, h.astype(np.float16).astype(h.dtype))},
     "h loses digits in a save", "save it as it is"),
    # the decay and the rate
    ("decay after the update", SOPHIAS, {"settings": _no_decay,
                                         "after": lambda theta, lr, s: theta - lr * s["decay"] * theta},
     "theta is decayed after the update, which is decayed too", "decay theta first"),
    ("L2 decay", SOPHIAS, {"settings": _no_decay, "gradient": lambda g, theta, s: g + s["decay"] * theta},
     "weight_decay theta is added to the gradient and goes through m and h", "decay theta itself"),
    ("gradient read after the decay", SOPHIAS, {"reads_decayed": True},
     "theta is decayed in place before m takes the gradient, which may lie in the same memory", "read g first"),
    ("no decay", SOPHIAS, {"settings": _no_decay}, "weight_decay has no effect", "decay theta by lr weight_decay"),
    ("decay not multiplied by lr", SOPHIAS, {"settings": _no_decay,
                                            "decayed": lambda theta, lr, s: theta - s["decay"] * theta},
     "theta is decayed by weight_decay alone", "decay theta by lr weight_decay"),
    ("decay multiplied by lr twice", SOPHIAS, {"settings": _no_decay,
                                              "decayed": lambda theta, lr, s: theta - lr * lr * s["decay"] * theta},
     "theta is decayed by lr^2 weight_decay", "decay theta by lr weight_decay"),
    ("decay with the wrong sign", SOPHIAS, {"settings": _no_decay,
                                           "decayed": lambda theta, lr, s: theta + lr * s["decay"] * theta},
     "decay makes theta grow", "subtract lr weight_decay theta"),
    ("decay on masked entries", SOPHIAS,
     {"settings": lambda s: s | {"weight_decay": s.get("whole_decay", s["weight_decay"])}},
     "entries outside of the mask are decayed too", "decay where the mask says so alone"),
    ("mask the wrong way round", SOPHIAS, {"settings": lambda s: s | (
        {"weight_decay": s["whole_decay"] - s["weight_decay"]} if "whole_decay" in s else {})},
     "the entries outside of the mask are decayed, and those inside are not", "decay where the mask is true"),
    ("schedule one step late", SOPHIAS, {"settings": _rates(lambda lr, i: lr[max(0, i - 1)])},
     "step t takes the learning rate of step t - 1", "ask the schedule for step t = 1, 2, ..."),
    ("schedule one step early", SOPHIAS, {"settings": _rates(lambda lr, i: lr[min(len(lr) - 1, i + 1)])},
     "step t takes the learning rate of step t + 1", "ask the schedule for step t = 1, 2, ..."),
    ("first learning rate kept", SOPHIAS, {"settings": _rates(lambda lr, i: lr[0])},
     "the learning rate of the first step is used in all", "read it in every step"),
    ("gradient descends the wrong way", SOPHIAS, {"gradient": lambda g, theta, s: -g},
     "theta climbs: the sign is wrong", "subtract the update"),
)  # fmt: skip


def hypotheses() -> Iterator[Hypothesis]:
    """Mistakes first, then the dialects."""
    for name, knobs, cause, fix in KNOBS:
        profiles = tuple(p for p in SOPHIAS if replace(knobs_of(p), **knobs) != knobs_of(p))
        if name == "eps added to max(gamma h, 0)":  # which is what it is where h is never negative
            profiles = SIGNED
        yield Hypothesis(name, cause, fix, Sophia(knobs=knobs), profiles)
    for name, profiles, changes, cause, fix in RULES:
        yield Hypothesis(name, cause, fix, Sophia(**changes), profiles)
    for dialect in DIALECTS.values():
        yield from _dialect(dialect)


def _dialect(dialect: Dialect) -> Iterator[Hypothesis]:
    """An implementation's own rule, as far as it differs from that of the profile."""
    fixed = {"eps": OFFICIAL_EPS} if dialect.fixed.get("eps") == OFFICIAL_EPS else {}
    fixed |= {"every": 1} if "every" in dialect.fixed else {}
    changes: dict[str, Any] = {"settings": _set(**fixed)}
    if "training-square" in dialect.estimators:
        changes |= {"estimate": lambda given, theta: theta, "taken": lambda h_hat, g, h, s: g * g, "free": True}
    knobs = replace(dialect.knobs, rate_over_clip=False, batch_at_step=False)
    profiles = tuple(p for p in SOPHIAS if _plain(knobs_of(p)) != _plain(knobs))
    if profiles:
        run = Sophia(knobs=vars(knobs) | {"batch_at_step": True}, **changes)
        fix = "none is needed if this is what you want: ask for the profile of that dialect, where there is one"
        yield Hypothesis(dialect.name, f"it is what {dialect.name} does ({dialect.source})", fix, run, profiles, True)


def _plain(knobs: Knobs) -> Knobs:
    """Without what changes no number, or only how settings are named."""
    return replace(knobs, rate_over_clip=False, batch_at_step=False, decay="first")
