"""The same steps in other orders of evaluation, each as good as the reference's: how far apart they are is what a
vector must allow.

    m            β m + (1-β) g,  m + (1-β) (g - m),  or rounded once, as in a kernel with wider numbers
    θ            decayed first, decayed by the factor 1 - η λ, or with η (u + λ θ); or all of it rounded once
    m / d        or m times 1 / d
    1 - βᵗ       in double precision, in that of the arrays, or rounded once
    Sophia       in its first form, η/γ clip(m / max(h, ε/γ), γ)
    Adam         with the corrections moved into the rate and the root, as PyTorch has it
    estimates    softmax with or without its logarithm, sums from either end, sums of many classes one by one

Fractions as the numbers, in place of floats, show which results are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import inf, isfinite, nan
from typing import Any

import numpy as np

from sophia_ref.conformance.engine import Knobs
from sophia_ref.conformance.profiles import OFFICIAL_EPS, SOPHIAS, knobs_of
from sophia_ref.conformance.vectors import Case, Given

Array = Any
LONG = 4096  # bits of a denominator
PAIRWISE = 8  # numbers from which on NumPy does not add one after the other


@dataclass(frozen=True)
class Order:
    """One order of evaluation; exact: with Fractions and no rounding at all."""

    average: str = "products"  # or "difference", "fused"
    decay: str = "first"  # or "factor", "added"
    last: str = "rounded"  # or "fused"
    divide: str = "quotient"  # or "reciprocal"
    powers: str = "double"  # or "single", "exact"
    form: str = "second"  # or "first"; of Adam "torch"
    estimate: str = "rounded"  # or "softmax", "logarithm", "backwards", "one by one"
    exact: bool = False


def orders(case: Case) -> Iterator[Order]:
    """Those that say something about this case."""
    sophia = case.profile in SOPHIAS
    corrected = case.profile in ("optax-H", "Levanter-H", "Adam", "AdamW")
    forms = ("second", "first") if case.profile in ("paper-H", "paper-G") else ("second",)
    estimates: tuple[str, ...] = ("rounded",)
    if any(step.gnb or step.hutchinson for step in case.steps):
        estimates = ("softmax", "logarithm", "backwards")
    if any(step.gnb and case.theta.size // step.gnb["x"].shape[1] > PAIRWISE for step in case.steps):
        estimates += ("one by one",)
    for average, decay, last, divide, powers, form, estimate in product(
        ("products", "difference", "fused"),
        ("first", "factor", "added"),
        ("rounded", "fused"),
        ("quotient", "reciprocal") if sophia else ("quotient",),
        ("double", "single", "exact") if corrected else ("double",),
        forms if sophia else ("second", "torch") if corrected else ("second",),
        estimates,
    ):
        yield Order(average, decay, last, divide, powers, form, estimate)


def evaluate(case: Case, order: Order) -> list[dict[str, Array]]:
    """The fields of each step, computed in this order, in the case's dtype or exactly."""
    rule = _sophia if case.profile in SOPHIAS else _lion if case.profile == "Lion" else _adam
    arithmetic = Arithmetic(case.dtype, order)
    with np.errstate(all="ignore"):
        return rule(case, arithmetic)


class Arithmetic:
    """Arrays of floats, or of Fractions, and the few operations that can be ordered in more than one way."""

    def __init__(self, dtype: str, order: Order) -> None:
        self.order, self.dtype, self.exact = order, np.dtype(dtype), order.exact

    def array(self, x: Array) -> Array:
        return _fractions(x) if self.exact else np.array(x, self.dtype)

    def number(self, x: float) -> Any:
        return Fraction(x) if self.exact else x

    def average(self, beta: float, old: Array, new: Array, difference: bool = True) -> Array:
        """β old + (1 - β) new; without the order that takes a difference where that would make NaN of infinities."""
        b, rest = self.number(beta), self.number(1 - beta)
        if self.order.average == "difference" and difference and not self.exact:
            return old + rest * (new - old)
        if self.order.average == "fused" and not self.exact:
            return self.once(lambda x, y: Fraction(beta) * x + Fraction(1 - beta) * y, old, new)
        return b * old + rest * new

    def once(self, f: Any, *arrays: Array) -> Array:
        """f of each coordinate in exact numbers, rounded once; in floats where one is not finite."""
        found = np.empty(np.size(arrays[0]))
        for i, numbers in enumerate(zip(*map(np.ravel, arrays), strict=True)):
            numbers = tuple(map(float, numbers))
            try:
                exact = f(*map(Fraction, numbers)) if all(map(isfinite, numbers)) else 0
                found[i] = float(exact) if exact else f(*numbers)  # a zero keeps its sign
            except OverflowError:
                found[i] = inf if exact > 0 else -inf
        return found.astype(self.dtype).reshape(np.shape(arrays[0]))

    def divide(self, a: Array, b: Array) -> Array:
        if self.order.divide == "reciprocal" and not self.exact:
            quotient = a * (1 / b)
            return np.where(np.isfinite(quotient), quotient, a / b)
        return a / b

    def move(self, theta: Array, rate: float, update: Array, decay: Array) -> Array:
        """theta - rate (update + decay theta), decayed in the order that is asked for."""
        if self.order.last == "fused" and not self.exact:
            return self.once(lambda x, u, d: x - Fraction(rate) * d * x - Fraction(rate) * u, theta, update, decay)
        rate = self.number(rate)
        if self.exact or self.order.decay == "first":
            theta = theta - rate * decay * theta
        elif self.order.decay == "factor":
            theta = theta * (1 - rate * decay)
        else:
            return theta - np.asarray(rate, self.dtype) * (update + decay * theta)
        theta = theta - rate * update
        return _short(theta) if self.exact else theta

    def correction(self, beta: float, t: int) -> Any:
        """1 - β^t."""
        if self.exact:
            return 1 - Fraction(beta) ** t
        if self.order.powers == "exact":
            return _correction(beta, t)
        if self.order.powers == "single":
            return self.dtype.type(1) - self.dtype.type(beta) ** self.dtype.type(t)
        return 1 - beta**t


@lru_cache(maxsize=1024)
def _correction(beta: float, t: int) -> float:
    return float(1 - Fraction(beta) ** t)


def _fractions(x: Array) -> Array:
    flat = np.empty(np.size(x), object)
    flat[:] = [Fraction(v) if isfinite(v) else v for v in map(float, np.ravel(x))]
    return flat.reshape(np.shape(x))


def _short(x: Array) -> Array:
    """Fractions, and NaN for those that have grown too LONG: with every step that is rounded theta's get longer, and none
    of them is a float again, whose denominators have 1,075 bits at most."""
    found = np.empty(x.size, object)
    found[:] = [nan if isinstance(v, Fraction) and v.denominator.bit_length() > LONG else v for v in x.ravel()]
    return found.reshape(x.shape)


def _start(case: Case, arithmetic: Arithmetic) -> tuple[Array, Array, Array, Array]:
    """theta, m, h and where the weight decays, with its strength."""
    zeros = np.zeros(case.theta.shape)
    decay = np.full(case.theta.shape, case.settings.get("weight_decay", 0.0))
    if case.decay_mask is not None:
        decay = np.where(case.decay_mask, decay, 0.0)
    m, h = (arithmetic.array(zeros if x is None else x) for x in (case.m, case.h))
    return arithmetic.array(case.theta), m, h, arithmetic.array(decay)


def _gradient(case: Case, step: Given, theta: Array, arithmetic: Arithmetic) -> Array:
    return theta if case.layout == "alias" else arithmetic.array(step.g)


def _sign(x: Array) -> Array:
    """np.sign, for Fractions too."""
    return np.array([0 * v if v == 0 else v / abs(v) for v in x.ravel()], x.dtype).reshape(x.shape)


def _sophia(case: Case, arithmetic: Arithmetic) -> list[dict[str, Array]]:
    knobs, s, found = knobs_of(case.profile), case.settings, []
    theta, m, h, decay = _start(case, arithmetic)
    number, official = arithmetic.number, case.profile == "official-G"
    gamma = number(s["rho"]) * number(s["bs"]) if official else number(s["gamma"])
    clip, eps = number(s.get("clip", 1.0)) if s.get("clip") != np.inf else np.inf, number(s.get("eps", OFFICIAL_EPS))
    for i, step in enumerate(case.steps):
        t = case.t + i + 1
        g = _gradient(case, step, theta, arithmetic)
        fields: dict[str, Array] = {}
        due = knobs.estimates_at(t, s["every"])
        if due:
            h_hat = fields["h_hat"] = estimate(step, theta, arithmetic)
        if due and knobs.absorbed == "before":
            h = arithmetic.average(s["beta2"], h, h_hat)
        m = arithmetic.average(s["beta1"], m, g)
        m_hat = m
        if knobs.m_corrected:
            m_hat = fields["m_hat"] = m / arithmetic.correction(s["beta1"], t)
        fields |= _clipped(m_hat, h, gamma, clip, eps, knobs, arithmetic)
        if arithmetic.order.form == "first" and not arithmetic.exact and clip == 1:
            ratio = arithmetic.divide(m_hat, np.maximum(h, eps / gamma))
            update, rate = np.clip(ratio, -gamma, gamma), case.lr(i + 1) / gamma
            theta = arithmetic.move(theta, rate, update, decay * gamma)
        else:
            theta = arithmetic.move(theta, case.lr(i + 1), fields["update"], decay)
        if due and knobs.absorbed == "after":
            h = arithmetic.average(s["beta2"], h, h_hat)
        found.append(fields | {"m": m, "h": h, "theta": theta})
    return found


def _clipped(
    m: Array, h: Array, gamma: Any, clip: Any, eps: Any, knobs: Knobs, arithmetic: Arithmetic
) -> dict[str, Array]:
    scaled = gamma * h
    denominator = scaled + eps if knobs.denominator == "add" else np.maximum(scaled, arithmetic.array(eps))
    ratio = arithmetic.divide(m, denominator)
    if knobs.floor:
        update = ratio if clip == np.inf else np.minimum(np.maximum(ratio, -clip), clip)
        clipped = abs(ratio) > clip
    else:
        length = arithmetic.divide(abs(m), denominator)
        update, clipped = _sign(m) * np.minimum(length, clip), length > clip
    return {"denominator": denominator, "ratio": ratio, "clipped": clipped.astype(bool), "update": update}


def _adam(case: Case, arithmetic: Arithmetic) -> list[dict[str, Array]]:
    s, found = case.settings, []
    theta, m, v, decay = _start(case, arithmetic)
    for i, step in enumerate(case.steps):
        t, lr = case.t + i + 1, case.lr(i + 1)
        g = _gradient(case, step, theta, arithmetic)
        m, v = arithmetic.average(s["beta1"], m, g), arithmetic.average(s["beta2"], v, g * g, difference=False)
        first, second = arithmetic.correction(s["beta1"], t), arithmetic.correction(s["beta2"], t)
        m_hat, v_hat, eps = m / first, v / second, arithmetic.number(s["eps"])
        denominator = _root(v_hat) + eps
        update = m_hat / denominator
        if arithmetic.order.form == "torch" and not arithmetic.exact:
            decayed = theta - (lr * decay) * theta
            theta = decayed - (lr / float(first)) * (m / (np.sqrt(v) / np.sqrt(float(second)) + eps))
        else:
            theta = arithmetic.move(theta, lr, update, decay)
        fields = {"m": m, "v": v, "m_hat": m_hat, "v_hat": v_hat, "denominator": denominator, "update": update}
        found.append(fields | {"theta": theta})
    return found


def _root(x: Array) -> Array:
    if x.dtype != object:
        return np.sqrt(x)
    exact = []
    for v in map(float, x.ravel()):
        root = Fraction(v**0.5) if isfinite(v) else v
        exact.append(root if root * root == v else float("nan"))
    found = np.empty(len(exact), object)
    found[:] = exact
    return found.reshape(x.shape)


def _lion(case: Case, arithmetic: Arithmetic) -> list[dict[str, Array]]:
    s, found = case.settings, []
    theta, m, _, decay = _start(case, arithmetic)
    for i, step in enumerate(case.steps):
        g = _gradient(case, step, theta, arithmetic)
        c = arithmetic.average(s["beta1"], m, g)
        sign = _sign(c)
        # the reference's update has the decay within
        fields = {"c": c, "update": sign + decay * theta}
        theta = arithmetic.move(theta, case.lr(i + 1), sign, decay)
        m = arithmetic.average(s["beta2"], m, g)
        found.append(fields | {"m": m, "theta": theta})
    return found


# -- estimates ---------------------------------------------------------------------------------------------------------


def estimate(step: Given, theta: Array, arithmetic: Arithmetic) -> Array:
    """h_hat of this step, in whichever form it is given."""
    if step.h_hat is not None:
        return arithmetic.array(step.h_hat)
    if step.sampled_grad is not None:
        g = arithmetic.array(step.sampled_grad)
        return g * g
    if step.hutchinson is not None:
        found = [
            arithmetic.array(u) * _product(arithmetic.array(A), arithmetic.array(u), arithmetic)
            for A, u in step.hutchinson
        ]
        return (sum(found[1:], found[0]) / len(found)).reshape(theta.shape)
    if arithmetic.exact:
        return np.full(theta.shape, float("nan"))  # a softmax has no exact value
    return gnb_in_floats(step.gnb, theta, arithmetic.order.estimate)


def _product(A: Array, u: Array, arithmetic: Arithmetic) -> Array:
    if arithmetic.exact or arithmetic.order.estimate == "softmax":
        return A @ u
    if arithmetic.order.estimate == "backwards":
        return (A[:, ::-1] @ u[::-1]).astype(A.dtype)
    return (A.astype(np.float64) @ u.astype(np.float64)).astype(A.dtype)


def gnb_in_floats(gnb: dict[str, Any], theta: Array, estimate: str) -> Array:
    """B ĝ² in theta's dtype: ĝ the mean over unmasked rows of the gradient with the drawn labels."""
    x, mask, labels = (gnb[name][:: -1 if estimate == "backwards" else 1] for name in ("x", "mask", "labels"))
    dtype = theta.dtype
    W = theta.reshape(x.shape[1], -1)
    outputs = x @ W
    if gnb["likelihood"] == "gaussian":
        slope = outputs - labels
    else:
        shifted = outputs - outputs.max(-1, keepdims=True)
        e = np.exp(shifted)
        total = np.add.accumulate(e, -1)[:, -1:] if estimate == "one by one" else e.sum(-1, keepdims=True)
        p = np.exp(shifted - np.log(total)) if estimate == "logarithm" else e / total
        slope = p - np.eye(W.shape[1], dtype=dtype)[labels.astype(int)]
    slope, B = slope * mask[:, None], int(mask.sum())
    if estimate == "logarithm":  # squares the sum and divides once
        total = x.T @ slope
        return (total * total / dtype.type(B)).reshape(theta.shape)
    g = x.T @ (slope / dtype.type(B))
    return (dtype.type(B) * g * g).reshape(theta.shape)
