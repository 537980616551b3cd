"""Adam, AdamW and Lion with mistakes, and the mistakes that are made with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sophia_ref.conformance.diagnosis.hypothesis import Hypothesis
from sophia_ref.conformance.diagnosis.simulate import Settings, shortened
from sophia_ref.conformance.targets.base import Results
from sophia_ref.conformance.vectors import Case

Array = Any
ADAMS, ALL, DECAYED = ("Adam", "AdamW"), ("Adam", "AdamW", "Lion"), ("AdamW", "Lion")
State = tuple[int, Array, Array]  # t, m, v


@dataclass(frozen=True)
class FirstOrder:
    """The rule of a case's profile but for these changes; called with a case it returns the Results.

    settings: other settings from the case's. gradient: what the averages take in. squared: what v takes in of it.
    adam: the update from m, v, t and g. lion: the update from c, m and g. before, after: theta before and after the
    update, from theta, lr and weight_decay. resumed: t, m, v as they come back from being saved. kept: m and v as they
    are stored. dtype: of all arithmetic.
    """

    settings: Callable[[Settings], Settings] = lambda s: s
    gradient: Callable[[Array, Array, Settings], Array] = lambda g, theta, s: g
    squared: Callable[[Array, Array], Array] = lambda g, m: g**2
    adam: Callable[[Array, Array, int, Array, Settings], Array] = lambda m, v, t, g, s: _adam(m, v, t, s)
    lion: Callable[[Array, Array, Array, Settings], Array] = lambda c, m, g, s: np.sign(c)
    before: Callable[[Array, float, Any], Array] = lambda theta, lr, wd: theta - lr * wd * theta
    after: Callable[[Array, float, Any], Array] = lambda theta, lr, wd: theta
    reads_decayed: bool = False  # the gradient is read after theta, whose memory it may share, has been decayed
    late: bool = False  # theta moves by the averages of the step before
    resumed: Callable[[int, Array, Array], State] = lambda t, m, v: (t, m, v)
    kept: Callable[[Array], Array] = lambda x: x
    dtype: str | None = None

    def __call__(self, case: Case) -> Results:
        with np.errstate(all="ignore"):
            return self._run(case)

    def _run(self, case: Case) -> Results:
        dtype, lion = np.dtype(self.dtype or case.dtype), case.profile == "Lion"
        s = self.settings(_settings_of(case))
        rates = s["lr"] if isinstance(s["lr"], tuple) else (s["lr"],) * len(case.steps)
        theta, zeros = case.theta.astype(dtype), np.zeros(case.theta.shape, dtype)
        m, v = (zeros if x is None else x.astype(dtype) for x in (case.m, case.h))
        t, beta1, beta2, wd = case.t, s["beta1"], s["beta2"], s["weight_decay"]
        results = []
        for i, given in enumerate(case.steps):
            t, lr = t + 1, rates[i]
            raw = (theta if case.layout == "alias" else given.g).astype(dtype)
            if self.reads_decayed and case.layout == "alias":
                raw = theta - lr * wd * theta
            g = self.gradient(raw, theta, s)
            if lion:
                c = beta1 * m + (1 - beta1) * g
                m = self.kept(beta2 * m + (1 - beta2) * g)
                update = self.lion(c, m, g, s)
            else:
                used = m, v
                m = self.kept(beta1 * m + (1 - beta1) * g)
                v = self.kept(beta2 * v + (1 - beta2) * self.squared(g, m))
                update = self.adam(*(used if self.late else (m, v)), t, g, s)
            theta = self.before(theta, lr, wd) - lr * update
            theta = self.after(theta, lr, wd).astype(dtype)
            results.append({"m": m, "theta": theta} | ({} if lion else {"v": v}))
            if i + 1 == case.resume_after:
                t, m, v = self.resumed(t, m, v)
        return [{name: x.astype(case.dtype) for name, x in r.items()} for r in results]


def _adam(m: Array, v: Array, t: int, s: Settings) -> Array:
    return m / (1 - s["beta1"] ** t) / (np.sqrt(v / (1 - s["beta2"] ** t)) + s["eps"])


def _settings_of(case: Case) -> Settings:
    s = {"weight_decay": 0.0, "eps": 1e-8, **case.settings}
    s["whole_decay"] = s["weight_decay"]
    if case.decay_mask is not None:
        s["weight_decay"] = np.where(case.decay_mask, s["weight_decay"], 0.0).astype(case.dtype)
    return s


def _no_root(m: Array, v: Array, t: int, g: Array, s: Settings) -> Array:
    return m / (1 - s["beta1"] ** t) / (v / (1 - s["beta2"] ** t) + s["eps"])


def _root_of_both(m: Array, v: Array, t: int, g: Array, s: Settings) -> Array:
    return m / (1 - s["beta1"] ** t) / np.sqrt(v / (1 - s["beta2"] ** t) + s["eps"])


def _corrected_late(m: Array, v: Array, t: int, g: Array, s: Settings) -> Array:
    """Algorithm 1 in the order of its section 2, where eps is not corrected."""
    return m / (np.sqrt(v) + s["eps"]) * (1 - s["beta2"] ** t) ** 0.5 / (1 - s["beta1"] ** t)


def _nadam(m: Array, v: Array, t: int, g: Array, s: Settings) -> Array:
    return _adam(s["beta1"] * m + (1 - s["beta1"]) * g, v, t, s)


def _l2(g: Array, theta: Array, s: Settings) -> Array:
    return g + s["weight_decay"] * theta


def _rates(f: Any) -> Any:
    def changed(s: Settings) -> Settings:
        lr = s["lr"]
        return s | {"lr": tuple(f(lr, i) for i in range(len(lr)))} if isinstance(lr, tuple) else s

    return changed


def _half(x: Array) -> Array:
    return x.astype(np.float16).astype(x.dtype)


RULES: tuple[tuple[str, tuple[str, ...], dict[str, Any], str, str], ...] = (
    ("no bias correction", ADAMS, {"adam": lambda m, v, t, g, s: m / (np.sqrt(v) + s["eps"])},
     "m and v are used without dividing by 1 - beta^t", "divide both"),
    ("v not bias-corrected", ADAMS, {"adam": lambda m, v, t, g, s: m / (1 - s["beta1"] ** t) / (np.sqrt(v) + s["eps"])},
     "m alone is divided by 1 - beta^t", "divide v by 1 - beta2^t too"),
    ("m not bias-corrected", ADAMS, {"adam": lambda m, v, t, g, s: m / (np.sqrt(v / (1 - s["beta2"] ** t)) + s["eps"])},
     "v alone is divided by 1 - beta^t", "divide m by 1 - beta1^t too"),
    ("eps inside the root", ADAMS, {"adam": _root_of_both}, "eps is added to v under the root", "add it to the root"),
    ("eps before the correction", ADAMS, {"adam": _corrected_late},
     "eps is added to the root of v before v is corrected", "correct v first"),
    ("no eps", ADAMS, {"adam": lambda m, v, t, g, s: _adam(m, v, t, s | {"eps": 0.0})}, "eps is left out", "add it"),
    ("no root", ADAMS, {"adam": _no_root},
     "m is divided by v, not by its root", "take the root of v"),
    ("absolute values in place of squares", ADAMS, {"squared": lambda g, m: np.abs(g)}, "v averages |g|",
     "average g^2"),
    ("squares of deviations", ADAMS, {"squared": lambda g, m: (g - m) ** 2}, "v averages (g - m)^2, as AdaBelief does",
     "average g^2"),
    ("Nesterov momentum", ADAMS, {"adam": _nadam}, "m looks one gradient ahead, as in NAdam", "use m itself"),
    ("correction of the step before", ADAMS, {"adam": lambda m, v, t, g, s: _adam(m, v, max(1, t - 1), s)},
     "beta^t is taken with the t of the step before", "count the step first"),
    ("correction of the next step", ADAMS, {"adam": lambda m, v, t, g, s: _adam(m, v, t + 1, s)},
     "beta^t is taken with the t of the next step", "count from 1"),
    ("averages used before they are updated", ADAMS, {"late": True},
     "theta moves by the averages of the step before", "update them first"),
    ("momentum left out", ADAMS, {"adam": lambda m, v, t, g, s: _adam(g * (1 - s["beta1"] ** t), v, t, s)},
     "the gradient takes the place of m", "use m"),
    ("betas swapped", ALL, {"settings": lambda s: s | {"beta1": s["beta2"], "beta2": s["beta1"]}},
     "beta1 and beta2 have changed places", "beta1 is for m (Lion: the step), beta2 for v (Lion: m)"),
    ("beta1 for both", ALL, {"settings": lambda s: s | {"beta2": s["beta1"]}}, "beta1 is used for both averages",
     "use beta2 for the second"),
    ("beta2 for both", ADAMS, {"settings": lambda s: s | {"beta1": s["beta2"]}}, "beta2 is used for both averages",
     "use beta1 for the first"),
    ("m without its factor", ALL, {"gradient": lambda g, theta, s: g / (1 - s["beta1"])},
     "m is beta1 m + g, without the factor 1 - beta1", "m = beta1 m + (1 - beta1) g"),
    ("sign of m", ("Lion",), {"lion": lambda c, m, g, s: np.sign(m)}, "the step is the sign of m, as in Signum",
     "take the sign of c = beta1 m + (1 - beta1) g"),
    ("m updated first", ("Lion",), {"lion": lambda c, m, g, s: np.sign(s["beta1"] * m + (1 - s["beta1"]) * g)},
     "c is interpolated from the new m", "update m last"),
    ("sign of 0 is 1", ("Lion",), {"lion": lambda c, m, g, s: np.where(c >= 0, 1, -1).astype(c.dtype)},
     "a coordinate whose c is 0 moves by lr", "sign(0) is 0"),
    ("no sign", ("Lion",), {"lion": lambda c, m, g, s: c}, "the step is c itself", "take its sign"),
    ("decay after the update", DECAYED, {"before": lambda theta, lr, wd: theta,
                                         "after": lambda theta, lr, wd: theta - lr * wd * theta},
     "theta is decayed after the update, which is decayed too", "decay theta first"),
    ("L2 decay", DECAYED, {"gradient": _l2, "before": lambda theta, lr, wd: theta},
     "weight_decay theta is added to the gradient and goes through the averages", "decay theta itself"),
    ("decoupled decay of 0.01", ("Adam",), {"before": lambda theta, lr, wd: theta - lr * 0.01 * theta},
     "theta is decayed, as AdamW's default says", "Adam has no decay"),
    ("gradient read after the decay", DECAYED, {"reads_decayed": True},
     "theta is decayed in place before m takes the gradient, which may lie in the same memory", "read g first"),
    ("no decay", DECAYED, {"before": lambda theta, lr, wd: theta}, "weight_decay has no effect",
     "decay theta by lr weight_decay"),
    ("decay not multiplied by lr", DECAYED, {"before": lambda theta, lr, wd: theta - wd * theta},
     "theta is decayed by weight_decay alone", "decay theta by lr weight_decay"),
    ("decay multiplied by lr twice", DECAYED, {"before": lambda theta, lr, wd: theta - lr * lr * wd * theta},
     "theta is decayed by lr^2 weight_decay", "decay theta by lr weight_decay"),
    ("decay with the wrong sign", DECAYED, {"before": lambda theta, lr, wd: theta + lr * wd * theta},
     "decay makes theta grow", "subtract lr weight_decay theta"),
    ("decay on masked entries", DECAYED, {"settings": lambda s: s | {"weight_decay": s["whole_decay"]}},
     "entries outside of the mask are decayed too", "decay where the mask says so alone"),
    ("mask the wrong way round", DECAYED, {"settings": lambda s: s | (
        {"weight_decay": s["whole_decay"] - s["weight_decay"]} if np.ndim(s["weight_decay"]) else {})},
     "the entries outside of the mask are decayed, and those inside are not", "decay where the mask is true"),
    ("counter lost at resuming", ADAMS, {"resumed": lambda t, m, v: (0, m, v)},
     "the count of steps starts anew after a save", "save t with m and v"),
    ("state lost at resuming", ALL, {"resumed": lambda t, m, v: (0, 0 * m, 0 * v)},
     "everything starts anew after a save", "save t, m and v"),
    ("m lost at resuming", ADAMS, {"resumed": lambda t, m, v: (t, 0 * m, v)}, "m is zero after a save", "save m"),
    ("v lost at resuming", ADAMS, {"resumed": lambda t, m, v: (t, m, 0 * v)}, "v is zero after a save", "save v"),
    ("averages saved in half precision", ALL, {"resumed": lambda t, m, v: (t, _half(m), _half(v))},
     "m and v lose digits in a save", "save them as they are"),
    ("averages in half precision", ALL, {"kept": _half}, "m and v are kept in float16", "keep them in float32"),
    ("float64 computed in float32", ALL, {"dtype": "float32"}, "float64 is rounded to float32 on the way",
     "keep theta's dtype"),
    ("gradient norm clipped", ALL, {"gradient": lambda g, theta, s: shortened(g)},
     "gradients are shortened to norm 1 inside the optimizer", "leave clipping to the training loop"),
    ("schedule one step late", ALL, {"settings": _rates(lambda lr, i: lr[max(0, i - 1)])},
     "step t takes the learning rate of step t - 1", "ask the schedule for step t = 1, 2, ..."),
    ("schedule one step early", ALL, {"settings": _rates(lambda lr, i: lr[min(len(lr) - 1, i + 1)])},
     "step t takes the learning rate of step t + 1", "ask the schedule for step t = 1, 2, ..."),
    ("first learning rate kept", ALL, {"settings": _rates(lambda lr, i: lr[0])},
     "the learning rate of the first step is used in all", "read it in every step"),
    ("gradient descends the wrong way", ALL, {"gradient": lambda g, theta, s: -g}, "theta climbs: the sign is wrong",
     "subtract the update"),
)  # fmt: skip


def hypotheses() -> Iterator[Hypothesis]:
    for name, profiles, changes, cause, fix in RULES:
        yield Hypothesis(name, cause, fix, FirstOrder(**changes), profiles)
