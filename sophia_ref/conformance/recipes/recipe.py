"""From the inputs of a vector to the whole vector: what must come out, and how near to it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.conformance.dialects import DIALECTS
from sophia_ref.conformance.profiles import DIALECT_OF, makes_estimate
from sophia_ref.conformance.recipes.orders import Arithmetic, Order, estimate, evaluate, orders
from sophia_ref.conformance.vectors import Case, decode_case, distance, encode_array, encode_number, units_of

Array = Any
FLOATS = ("float32", "float64")
EXACTLY = Order(exact=True)
# Profiles with all vectors in both precisions; those of other implementations have most in float32 alone.
BOTH = ("paper-H", "paper-G", "Adam", "AdamW", "Lion")

# A vector that must allow more ulps than this says little, and wants other inputs. Only theta and what is remembered
# count: intermediates may be far off in float32, where 1 - beta^t has lost its digits, and theta hardly at all.
MOST = 64

# Published settings, but for every = 4, and lr = 0.01 and weight_decay = 0.1 for all. EXACT: powers of two, so that what
# is computed from inputs of a few bits has an exact result.
_SHARED = dict(lr=0.01, weight_decay=0.1)
SETTINGS: dict[str, dict[str, Any]] = {
    "paper-H": dict(_SHARED, beta1=0.96, beta2=0.99, gamma=0.01, clip=1.0, eps=1e-12, every=4),
    "paper-G": dict(_SHARED, beta1=0.96, beta2=0.99, gamma=0.05, clip=1.0, eps=1e-12, every=4),
    "official-G": dict(_SHARED, beta1=0.965, beta2=0.99, rho=0.04, bs=8.0, every=4),
    "optax-H": dict(_SHARED, beta1=0.965, beta2=0.99, gamma=0.01, clip=1.0, eps=1e-8, every=4),
    "Levanter-H": dict(_SHARED, beta1=0.96, beta2=0.99, gamma=0.01, clip=1.0, eps=1e-12, every=4),
    "Adam": dict(lr=0.01, beta1=0.9, beta2=0.999, eps=1e-8),
    "AdamW": dict(_SHARED, beta1=0.9, beta2=0.95, eps=1e-8),
    "Lion": dict(_SHARED, beta1=0.95, beta2=0.98),
}
_DYADIC = dict(lr=0.25, beta1=0.5, beta2=0.5, weight_decay=0.5)
_DYADIC_SOPHIA = dict(_DYADIC, gamma=0.5, clip=1.0, eps=2.0**-10, every=2)
EXACT: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("paper-H", "paper-G", "optax-H", "Levanter-H"), _DYADIC_SOPHIA),
    "official-G": dict(_DYADIC, rho=0.125, bs=4.0, every=2),
    "Adam": dict(lr=0.25, beta1=0.5, beta2=0.5, eps=2.0**-10),
    "AdamW": dict(_DYADIC, eps=2.0**-10),
    "Lion": _DYADIC,
}


def settings(profile: str, base: Mapping[str, dict[str, Any]] = SETTINGS, **changes: Any) -> dict[str, Any]:
    """Those of a profile; changes for which it has no such setting are left out."""
    known = base[profile]
    if profile == "official-G" and "gamma" in changes:  # gamma B = rho bs, and its estimates lack B
        changes["rho"] = changes.pop("gamma") / known["bs"]
    return known | {name: value for name, value in changes.items() if name in known}


def draws(seed: str, *shape: int, size: float = 4.0, parts: int = 16) -> Array:
    """Numbers of few bits between -size and size, none of them 0: multiples of 1/parts."""
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    whole = rng.integers(1, int(size * parts) + 1, shape) * rng.choice([-1, 1], shape)
    return whole / parts


def pairs(profiles: Iterable[str], both: Iterable[str] = BOTH) -> Iterator[tuple[str, str]]:
    """(profile, dtype), with both dtypes for those of `both`, else float32."""
    for profile in profiles:
        for dtype in FLOATS if profile in both else FLOATS[:1]:
            yield profile, dtype


def vector(
    name: str,
    profile: str,
    dtype: str,
    theta: Array,
    gradients: Array,
    estimates: Any = (),
    *,
    note: str,
    flags: Iterable[str] = (),
    report: str | None = None,
    verdict: str = "valid",
    set: Mapping[str, Any],
    t: int = 0,
    m: Array = None,
    h: Array = None,
    mask: Array = None,
    layout: str = "C",
    resume_after: int | None = None,
    free: Mapping[str, Array] | None = None,
    offer_all: bool = False,
    most: int = MOST,
) -> dict[str, Any]:
    """A whole vector in plain form.

    estimates: one for each step, of which those are offered that are due, or all with offer_all; an array is h_hat (in
    official-G its root, a gradient of sampled labels), a list the hutchinson form and a dict the gnb form. free: where a
    field may be anything.
    """
    shape = np.shape(theta)

    def array(x: Array) -> Any:
        return encode_array(np.asarray(x).astype(dtype), shape)

    steps = []
    for i, g in enumerate(gradients):
        given = {} if g is None else {"g": array(g)}
        if len(estimates) and (offer_all or makes_estimate(profile, set.get("every", 1), t + i + 1)):
            given |= _offered(profile, estimates[i], array, dtype)
        steps.append(given)
    plain: dict[str, Any] = {
        "id": f"{profile}/{name}-{dtype}",
        "verdict": verdict,
        "flags": sorted(flags),
        "note": note,
        "report": report,
        "dtype": dtype,
        "settings": {key: _setting(value) for key, value in set.items()},
        "start": {"shape": list(shape), "theta": array(theta)},
    }
    plain["start"] |= {"t": t} if t else {}
    plain["start"] |= {key: array(x) for key, x in (("m", m), ("h", h)) if x is not None}
    plain |= {"decay_mask": [bool(x) for x in np.ravel(mask)]} if mask is not None else {}
    plain |= {"layout": layout} if layout != "C" else {}
    plain |= {"resume_after": resume_after} if resume_after is not None else {}
    plain["steps"] = steps
    return plain if verdict == "invalid" else plain | realize(decode_case(plain), free or {}, most)


def _setting(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [encode_number(x) for x in value]
    return value if isinstance(value, int) else encode_number(value)


def _offered(profile: str, given: Any, array: Any, dtype: str) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, list):
        pairs = ((np.asarray(A, dtype), np.asarray(u, dtype)) for A, u in given)
        return {"hutchinson": [{"matrix": encode_array(A), "probe": encode_array(u)} for A, u in pairs]}
    if isinstance(given, dict):
        return {"gnb": {name: encode_array(x) if isinstance(x, np.ndarray) else x for name, x in given.items()}}
    return {"sampled_grad" if profile == "official-G" else "h_hat": array(given)}


# -- what must come out ------------------------------------------------------------------------------------------------


def realize(case: Case, free: Mapping[str, Array], most: int) -> dict[str, Any]:
    """expected and tolerance of a case. Raises ValueError where correct orders of evaluation are further apart than
    `most` ulps: such a vector would let too much pass."""
    expected = reference(case)
    shown = [
        {
            name: encode_array(np.ma.masked_array(x, free.get(name, False)), case.theta.shape)
            for name, x in fields.items()
        }
        for fields in expected
    ]
    return {"expected": shown, "tolerance": _tolerances(case, expected, free, most)}


def _tolerances(case: Case, expected: list[dict[str, Array]], free: Mapping[str, Array], most: int) -> dict[str, Any]:
    try:
        exact = evaluate(case, EXACTLY)
    except (ZeroDivisionError, OverflowError):  # no exact result, or none that a float holds
        exact = [dict.fromkeys(fields, np.full(case.theta.shape, np.nan)) for fields in expected]
    both = zip(expected, units_of(case, expected), strict=True)
    units = _stacked([{name: unit[name] for name in fields if name in unit} for fields, unit in both])
    wanted = _stacked(expected)
    count, worst = 0, dict.fromkeys(wanted, 0.0)
    for order in orders(case):
        count += 1
        if order.last == "fused" and order.decay != "first":
            continue  # a decay that is fused with the step is the same in any form
        other = _stacked(evaluate(case, order))
        for name, x in wanted.items():
            if order.form != "second" and name in ("denominator", "ratio", "update", "clipped"):
                continue  # they mean something else there
            off = distance(other[name], x, units.get(name))
            worst[name] = max(worst[name], off[:, ~free.get(name, np.zeros(x.shape[1:], bool))].max(initial=0))
    tolerance = {}
    for name, off in worst.items():
        if off == 0 and all(
            _same(fields[name], e[name]) for fields, e in zip(expected, exact, strict=True) if name in fields
        ):
            tolerance[name] = {"ulps": 0, "reason": f"exact: no operation rounds in {case.dtype}"}
            continue
        allowed = max(2, 2 * int(np.ceil(off))) if np.isfinite(off) else off
        if (
            (name == "clipped" and off)
            or (name in ("theta", "m", "h", "v") and allowed > most)
            or not np.isfinite(allowed)
        ):
            raise ValueError(
                f"{case.id}: {name}: correct orders of evaluation are {off} ulps apart; choose other inputs"
            )
        reason = f"{count} orders of evaluation are up to {int(np.ceil(off))} ulps from the reference; twice that, at least 2"
        tolerance[name] = {"ulps": allowed if name != "clipped" else 0, "reason": reason}
    return tolerance


def _stacked(steps: list[dict[str, Array]]) -> dict[str, Array]:
    """Each field of all the steps that have it, (steps, ...)."""
    names = dict.fromkeys(name for fields in steps for name in fields)
    return {name: np.stack([fields[name] for fields in steps if name in fields]) for name in names}


def _same(x: Array, exact: Array) -> bool:
    """Whether x is what exact arithmetic gives: a number that is not finite never is."""
    pairs = zip(np.ravel(x), np.ravel(exact), strict=True)
    if x.dtype == bool:
        return all(bool(a) == bool(b) for a, b in pairs)
    return all(isfinite(a) and isfinite(b) and Fraction(float(a)) == b for a, b in pairs)


def reference(case: Case) -> list[dict[str, Array]]:
    """The fields of each step as the reference computes them: its optimizers where they take the input, which is finite,
    else their rule."""
    if any(step.gnb and not step.gnb["mask"].any() for step in case.steps):
        return evaluate(case, Order(estimate="softmax"))
    if any(
        not np.isfinite(x).all()
        for step in case.steps
        for x in (step.g, step.h_hat, step.sampled_grad)
        if x is not None
    ):
        return evaluate(case, Order())
    opt = _optimizer(case)
    theta, found = case.theta, []
    state = opt.init(theta)
    state = state._replace(t=case.t, m=state.m if case.m is None else case.m)
    if case.h is not None:
        state = state._replace(**{"v" if hasattr(state, "v") else "h": case.h})
    for i, step in enumerate(case.steps):
        fields: dict[str, Array] = {}
        if makes_estimate(case.profile, case.settings.get("every", 1), case.t + i + 1):
            fields["h_hat"] = h_hat = _h_hat(step, theta, case)
            if not np.isfinite(h_hat).all():
                return evaluate(case, Order())
        g = theta if case.layout == "alias" else step.g
        with np.errstate(all="ignore"):
            theta, state, terms = opt.step(theta, state, sr.Given(g, fields.get("h_hat")))
        kept = ("m_hat", "denominator", "ratio", "clipped", "update", "c", "v_hat")
        fields |= {name: terms[name] for name in kept if name in terms}
        fields |= dict(zip(state._fields[1:3], state[1:3], strict=False)) | {"theta": theta}
        found.append(fields)
    return found


_OPTIMIZERS: Mapping[str, Any] = {
    "paper-H": sr.SophiaH,
    "paper-G": sr.SophiaG,
    "Adam": sr.Adam,
    "AdamW": sr.AdamW,
    "Lion": sr.Lion,
}


def _optimizer(case: Case) -> Any:
    set = dict(case.settings)
    if isinstance(set["lr"], tuple):
        set["lr"] = lambda t, lrs=set["lr"], start=case.t: lrs[t - start - 1]
    if case.decay_mask is not None:
        set["weight_decay"] = np.where(case.decay_mask, set["weight_decay"], 0.0)
    if case.profile in _OPTIMIZERS:
        return _OPTIMIZERS[case.profile](**set)
    dialect = DIALECTS[DIALECT_OF[case.profile]]
    return dialect.optimizer(**{dialect.own(name): value for name, value in set.items()})


def _h_hat(step: Any, theta: Array, case: Case) -> Array:
    """The estimate, rounded once."""
    if step.gnb is not None:
        return gnb_exactly(step.gnb, theta)
    with np.errstate(all="ignore"):
        if step.hutchinson is None:
            return estimate(step, theta, Arithmetic(case.dtype, Order()))
    exact = estimate(step, theta, Arithmetic(case.dtype, EXACTLY))
    return np.array([float(x) for x in exact.ravel()], case.dtype).reshape(theta.shape)


def gnb_exactly(gnb: Mapping[str, Any], theta: Array) -> Array:
    """B ĝ² with 40 digits, rounded to theta's dtype at the end."""
    x, mask = gnb["x"], gnb["mask"]
    with localcontext() as context:
        context.prec = 40
        W = [[Decimal(float(w)) for w in row] for row in theta.reshape(x.shape[1], -1)]
        columns = len(W[0])
        total = [[Decimal(0)] * columns for _ in W]
        for row, label, counts in zip(x, gnb["labels"], mask, strict=True):
            if not counts:
                continue
            inputs = [Decimal(float(v)) for v in row]
            outputs = [sum((a * w[c] for a, w in zip(inputs, W, strict=True)), Decimal(0)) for c in range(columns)]
            if gnb["likelihood"] == "gaussian":
                slope = [f - Decimal(float(y)) for f, y in zip(outputs, label, strict=True)]
            else:
                e = [f.exp() for f in outputs]
                slope = [a / sum(e) - (c == int(label)) for c, a in enumerate(e)]
            for d, a in enumerate(inputs):
                total[d] = [old + a * s for old, s in zip(total[d], slope, strict=True)]
        B = int(mask.sum())
        squares = [[float(g * g / B) for g in row] for row in total]
    return np.array(squares, theta.dtype).reshape(theta.shape)
