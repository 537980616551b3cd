"""The methods that are trained, by name, and the ranges that they are tuned in.

A name may have options: "SophiaG/every=20", "SophiaH/clip=off". A setting "1-beta1" is what beta1 lacks to 1, whose
logarithm is the natural scale of a memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.optimizers.base import Step, frozen
from sophia_ref.optimizers.sophia import SophiaState
from sophia_ref.study import Space

Array = Any

_MEMORY = (0.03, 0.4)  # of a momentum: 1 - beta from 0.97 to 0.6
_SIGNED = {"1-beta1": _MEMORY, "decay": (0.05, 1.0)}
SPACES: Mapping[str, Space] = {
    "AdamW": {"lr": (2e-3, 5e-2), "1-beta1": _MEMORY, "1-beta2": (0.005, 0.1), "decay": (0.02, 0.4)},
    "Lion": {"lr": (3e-4, 7.5e-3), "1-beta2": (0.005, 0.05), **_SIGNED},
    "Signum": {"lr": (3e-4, 7.5e-3), **_SIGNED},
    "AdaHessian": {"lr": (1e-2, 2.5e-1), "1-beta1": _MEMORY, "1-beta2": (0.005, 0.1), "decay": (0.02, 0.4)},
    "SophiaH": {"lr": (6e-4, 1.5e-2), "gamma": (0.003, 0.3), "1-beta2": (0.01, 0.3), **_SIGNED},
    "SophiaG": {"lr": (6e-4, 1.5e-2), "gamma": (0.01, 1.0), "1-beta2": (0.01, 0.3), **_SIGNED},
}
SAME_AS = {"SophiaE": "SophiaG", "SophiaR": "SophiaH", "SophiaA": "SophiaH"}
FLOOR = (1e-4, 1e-1)  # of the denominator where nothing is clipped
LABELS = {
    "SophiaH": "Sophia-H",
    "SophiaG": "Sophia-G",
    "SophiaE": "Sophia (empirical Fisher)",
    "SophiaR": "Sophia (Rademacher)",
    "SophiaA": "Sophia (AdaHessian's root)",
}
# The paper's shares of a batch: 240 of 480 sequences for GNB, 32 for Hutchinson.
ESTIMATORS = {
    "SophiaH": sr.on_part(sr.hutchinson, 1 / 15),
    "SophiaR": sr.on_part(sr.hutchinson_rademacher, 1 / 15),
    "SophiaA": sr.on_part(sr.hutchinson_rademacher, 1 / 15),
    "SophiaG": sr.on_part(sr.gnb, 1 / 2),
    "SophiaE": sr.on_part(sr.empirical_fisher, 1 / 2),
}


def parsed(method: str) -> tuple[str, dict[str, str]]:
    """The base and the options of a method's name.

    >>> parsed("SophiaG/every=20/floor")
    ('SophiaG', {'every': '20', 'floor': ''})
    """
    base, *options = method.split("/")
    return base, {key: value for key, _, value in (option.partition("=") for option in options)}


def label(method: str) -> str:
    """A method's name as people read it."""
    base, options = parsed(method)
    words = {"every": "k = {}", "clip": "unclipped", "floor": "with a floor"}
    rest = [words.get(key, key + " {}").format(value) for key, value in options.items()]
    return ", ".join([LABELS.get(base, base), *rest])


def space(method: str) -> Space:
    """What is tuned of a method, and from where to where. Raises ValueError for a method that is not known."""
    base, options = parsed(method)
    base = SAME_AS.get(base, base)
    if base not in SPACES:
        raise ValueError(f"method: {method!r}; expected one of {', '.join([*SPACES, *SAME_AS])}")
    return {**SPACES[base], **({"eps": FLOOR} if "floor" in options else {})}


EDGE = 1 / 8  # of a range, in its logarithm: a best setting so near its end may have a better one beyond it


def told(method: str, settings: Mapping[str, float]) -> str:
    """Settings as people read them, with a star where one lies within EDGE of an end of its range.

    >>> told("Signum", {"lr": 0.0074, "1-beta1": 0.1, "decay": 0.2})
    'lr 0.0074*, 1-beta1 0.1, decay 0.2'
    """
    words = []
    for name, value in settings.items():
        low, high = space(method)[name]
        place = np.log(value / low) / np.log(high / low)
        words.append(f"{name} {value:.3g}" + "*" * (not EDGE < place < 1 - EDGE))
    return ", ".join(words)


def make_optimizer(method: str, settings: Mapping[str, float], steps: int, layout: Any = None) -> Any:
    """The method with these settings, whose learning rate warms up over a tenth of the steps and falls by a cosine to a
    twentieth. layout: of the model, for AdaHessian's averages."""
    base, options = parsed(method)
    own: dict[str, Any] = {
        "lr": sr.cosine(settings["lr"], steps, warmup=steps // 10),
        "weight_decay": settings["decay"],
        **{name: 1 - settings[f"1-{name}"] for name in ("beta1", "beta2") if f"1-{name}" in settings},
    }
    if base == "AdamW":
        return sr.AdamW(**own)
    if base == "Lion":
        return sr.Lion(**own)
    if base == "Signum":
        return sr.Signum(own["lr"], beta=own["beta1"], weight_decay=own["weight_decay"])
    if base == "AdaHessian":
        return sr.AdaHessian(**own, layout=layout)
    estimator: Any = ESTIMATORS[base]
    for key, wrong in (("noise", noisy), ("flip", flipped), ("stale", Stale)):
        if key in options:
            estimator = wrong(estimator, float(options[key]))
    rule = RootMeanSquareSophia if base == "SophiaA" else sr.Sophia
    return rule(
        **own,
        gamma=settings["gamma"],
        eps=settings.get("eps", 1e-12),
        clip=np.inf if "clip" in options else 1.0,
        every=int(options.get("every", 10)),
        estimator=estimator,
    )


def cost_a_step(method: str, batch: int) -> float:
    """What a step costs on average, in gradients on the batch, by the oracle's prices."""
    base, options = parsed(method)
    if base == "AdaHessian":
        return 4.0
    if base not in ESTIMATORS:
        return 1.0
    price = {"SophiaG": 1.0, "SophiaE": 4 / 3}.get(base, 3.0)
    share = max(1, round(ESTIMATORS[base].fraction * batch)) / batch
    return 1 + price * share / int(options.get("every", 10))


@dataclass(frozen=True, eq=False)
class RootMeanSquareSophia(sr.Sophia):
    """Sophia with AdaHessian's mean of the curvature, h = sqrt(mean of h_hat^2), which is never negative: the paper's
    ablation "AH + clip"."""

    def step(self, theta: Array, state: SophiaState, oracle: Any) -> Step:
        v, t = state.h, state.t
        # v_t = β₂ v_{t-k} + (1 - β₂) ĥ_t²,  kept in the place of h
        if t % self.every == 0:
            v = frozen(self.beta2 * v + (1 - self.beta2) * oracle.curvature(self.estimator) ** 2)
        # a step of Sophia whose h is √v
        settings = {**vars(self), "every": 1, "beta2": 0.0, "estimator": lambda oracle: np.sqrt(v)}
        step = sr.Sophia(**settings).step(theta, state, oracle)
        return step._replace(state=SophiaState(step.state.t, step.state.m, v))


# Wrong estimates, for claim 3


@dataclass(frozen=True)
class noisy:
    """Gaussian noise on every estimate, `level` times the root mean square of its entries."""

    estimator: Callable[[Any], Array]
    level: float

    def __call__(self, oracle: Any) -> Array:
        h_hat = self.estimator(oracle)
        size = self.level * float(np.sqrt(np.vdot(h_hat, h_hat) / h_hat.size))
        return h_hat + size * oracle.rng.standard_normal(h_hat.shape, h_hat.dtype)


@dataclass(frozen=True)
class flipped:
    """Every entry of an estimate has its sign flipped with probability `chance`."""

    estimator: Callable[[Any], Array]
    chance: float

    def __call__(self, oracle: Any) -> Array:
        h_hat = self.estimator(oracle)
        return np.where(oracle.rng.random(h_hat.shape) < self.chance, -h_hat, h_hat)


class Stale:
    """Every estimate arrives `late` estimates late, the first until then. It remembers, so each run needs its own."""

    def __init__(self, estimator: Callable[[Any], Array], late: float) -> None:
        self.estimator = estimator
        self.seen: deque[Array] = deque(maxlen=int(late) + 1)

    def __call__(self, oracle: Any) -> Array:
        self.seen.append(self.estimator(oracle))
        return self.seen[0]
