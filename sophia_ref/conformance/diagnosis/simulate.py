"""Sophia with mistakes: the engine's rule, with a place for each mistake that its knobs do not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sophia_ref.conformance.engine import Knobs, Variant
from sophia_ref.conformance.profiles import OFFICIAL_EPS, knobs_of
from sophia_ref.conformance.targets.base import Results, offered
from sophia_ref.conformance.vectors import Case, Given

Array = Any
Settings = dict[str, Any]


@dataclass(frozen=True)
class Sophia:
    """Sophia of a case's profile but for these changes; called with a case it returns the Results.

    knobs: other directions of the engine's knobs. settings: other settings from the case's. due: whether step t makes
    an estimate, every k steps. estimate: h_hat from what the step is given, at theta. taken: what h takes in, from
    h_hat, g and h. gradient: what m takes in from g at theta. momentum: what is divided by h, from m before the step, m
    after it, and g. curvature: what divides, from h in step t. limit: the update, from the ratio and the clip, in
    place of the engine's. decayed, after: theta before and after the update.
    resumed: t, m, h as they come back from being saved. kept: m and h as they are stored. dtype: of all arithmetic.
    """

    knobs: Mapping[str, Any] = field(default_factory=dict)
    settings: Callable[[Settings], Settings] = lambda s: s
    due: Callable[[Knobs, int, int], bool] = lambda knobs, t, k: knobs.estimates_at(t, k)
    estimate: Callable[[Given, Array], Array] = lambda given, theta: right_estimate(given, theta)
    taken: Callable[[Array, Array, Array, Settings], Array] = lambda h_hat, g, h, s: h_hat
    gradient: Callable[[Array, Array, Settings], Array] = lambda g, theta, s: g
    momentum: Callable[[Array, Array, Array, Settings], Array] = lambda old, m, g, s: m
    curvature: Callable[[Array, int, Settings], Array] = lambda h, t, s: h
    decayed: Callable[[Array, float, Settings], Array] = lambda theta, lr, s: theta
    after: Callable[[Array, float, Settings], Array] = lambda theta, lr, s: theta
    limit: Callable[[Array, float], Array] | None = None
    resumed: Callable[[int, Array, Array], tuple[int, Array, Array]] = lambda t, m, h: (t, m, h)
    kept: Callable[[Array], Array] = lambda x: x
    reads_decayed: bool = False  # the gradient is read after theta, whose memory it may share, has been decayed
    forgets: bool = False  # a step without an estimate averages a zero
    stale: bool = False  # the last estimate is taken in again in every step
    free: bool = False  # its estimate needs nothing that is offered
    dtype: str | None = None

    def __call__(self, case: Case) -> Results:
        with np.errstate(all="ignore"):
            return self._run(case)

    def _run(self, case: Case) -> Results:
        dtype = np.dtype(self.dtype or case.dtype)
        s = self.settings(settings_of(case))
        rates, k = s["lr"] if isinstance(s["lr"], tuple) else (s["lr"],) * len(case.steps), s["every"]
        knobs = replace(knobs_of(case.profile), **self.knobs)
        names = ("beta1", "beta2", "gamma", "clip", "eps", "weight_decay", "bs")
        opt = Variant(1.0, every=k, knobs=knobs, **{name: s[name] for name in names})
        theta, zeros = case.theta.astype(dtype), np.zeros(case.theta.shape, dtype)
        m, h = (zeros if x is None else x.astype(dtype) for x in (case.m, case.h))
        t, held, last, results = case.t, zeros, None, []
        for i, given in enumerate(case.steps):
            t, lr, fields = t + 1, rates[i], {}
            n, making = knobs.estimates(t, k), self.due(knobs, t, k)
            h_hat = self.estimate(given, theta.astype(case.dtype)) if making and (self.free or offered(given)) else None
            last = h_hat if h_hat is not None else last
            if self.stale:
                h_hat = last
            raw = (theta if case.layout == "alias" else given.g).astype(dtype)
            if self.reads_decayed and case.layout == "alias":
                raw = theta - lr * s["weight_decay"] * theta
            g = self.gradient(raw, theta, s)
            if h_hat is not None:
                fields["h_hat"] = h_hat = self.taken(h_hat.astype(dtype), raw, h, s)
                if knobs.absorbed == "before" or knobs.replaces:
                    h = self.kept(opt._absorb(h, h_hat, n))
                held = h_hat
            elif self.forgets:
                h = s["beta2"] * h
            if h_hat is not None and knobs.replaces:
                results.append(fields | {"m": m, "h": h, "theta": theta})
                continue
            if knobs.absorbed == "late" and t % k == 0:
                h = self.kept(opt._absorb(h, held, n))
            old = m
            for _ in range(knobs.averagings):
                m = self.kept(s["beta1"] * m + (1 - s["beta1"]) * g)
            used = self.momentum(old, m, g, s)
            start = self.decayed(theta, lr, s)
            theta, terms = opt._update(start, used, self.curvature(h, t, s), t, n, lr, {})
            if self.limit is not None:
                theta = start - lr * s["weight_decay"] * start - lr * self.limit(terms["ratio"], s["clip"])
            theta = self.after(theta, lr, s).astype(dtype)
            if h_hat is not None and knobs.absorbed == "after":
                h = self.kept(opt._absorb(h, h_hat, n))
            results.append(terms | fields | {"m": m, "h": h, "theta": theta})
            if i + 1 == case.resume_after:
                t, m, h = self.resumed(t, m, h)
        return [{name: x if x.dtype == bool else x.astype(case.dtype) for name, x in r.items()} for r in results]


def shortened(g: Array, more: float = 1e-6) -> Array:
    """g with a Euclidean norm of at most 1; more: what PyTorch's clip_grad_norm_ adds to the norm."""
    return g * min(1.0, 1.0 / (float(np.linalg.norm(g)) + more or 1.0))


def settings_of(case: Case) -> Settings:
    """The settings of a case under the engine's names; weight_decay by entries where there is a mask."""
    s = {"clip": 1.0, "bs": 1.0, **case.settings}
    if "rho" in s:
        s |= {"gamma": s.pop("rho"), "eps": OFFICIAL_EPS}
    if case.decay_mask is not None:
        s["whole_decay"] = s["weight_decay"]
        s["weight_decay"] = np.where(case.decay_mask, s["weight_decay"], 0.0).astype(case.dtype)
    return s


def lacks(case: Case, mistake: Any) -> bool:
    """Whether this would want an estimate in a step that has none."""
    if not isinstance(mistake, Sophia) or mistake.free:
        return False
    k = mistake.settings(settings_of(case))["every"]
    knobs = replace(knobs_of(case.profile), **mistake.knobs)
    t, nothing = case.t, np.zeros(1)
    for i, given in enumerate(case.steps, start=1):
        t += 1
        if mistake.due(knobs, t, k) and not offered(given):
            return True
        if i == case.resume_after:
            t, _, _ = mistake.resumed(t, nothing, nothing)
    return False


# -- estimates ---------------------------------------------------------------------------------------------------------


def right_estimate(given: Given, theta: Array) -> Array:
    """h_hat as it should be."""
    if given.h_hat is not None:
        return given.h_hat
    if given.sampled_grad is not None:
        return given.sampled_grad**2
    if given.hutchinson is not None:
        products = [u * (A @ u) for A, u in given.hutchinson]
        return (sum(products[1:], products[0]) / len(products)).reshape(theta.shape)
    rows = slopes(given.gnb, theta, given.gnb["labels"])[given.gnb["mask"]]
    return (rows.sum(0) ** 2 / len(rows)).reshape(theta.shape)


def slopes(gnb: Mapping[str, Any], theta: Array, labels: Array, shift: bool = True) -> Array:
    """The gradient of every row's own loss, (N, P). shift: whether the softmax takes its maximum out first."""
    x = gnb["x"]
    z = x @ theta.reshape(x.shape[1], -1)  # (N, C)
    if gnb["likelihood"] == "gaussian":
        slope = z - labels
    else:
        e = np.exp(z - z.max(-1, keepdims=True) if shift else z)
        slope = e / e.sum(-1, keepdims=True) - (labels[:, None] == np.arange(z.shape[-1]))
    return np.einsum("nd,nc->ndc", x, slope).reshape(len(x), -1)


def parts(gnb: Mapping[str, Any]) -> list[slice]:
    """The rows of each micro-batch."""
    ends = np.cumsum(gnb["micro_batches"])
    return [slice(int(end - length), int(end)) for end, length in zip(ends, gnb["micro_batches"], strict=True)]
