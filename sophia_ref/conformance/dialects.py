"""Eleven implementations of Sophia as data: the knobs in which they differ, their settings under their own names, and
how each description is known to be right.

    >>> opt = DIALECTS["official"].optimizer(lr=3e-4, rho=0.05, bs=480)
    >>> opt.gamma, opt.bs, opt.knobs.denominator
    (0.05, 480.0, 'add')

What is made is an optimizer like any other: `sr.run`, the inspector and the plots take it. Its terms have the paper's
names, whatever the implementation calls them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sophia_ref.conformance.engine import Knobs, Variant
from sophia_ref.conformance.estimators import ESTIMATORS

PAPER = Knobs()


@dataclass(frozen=True)
class Dialect:
    """An implementation.

    settings: its defaults under its own names, None where there is none and one must be given. canonical: the engine's
    name of a setting, where that is another. fixed: settings of the engine that an implementation does not have.
    """

    name: str
    source: str  # which code, in which version
    checked: str  # how the description is known to be right
    estimators: tuple[str, ...]  # by name, the default first
    settings: Mapping[str, float | None]
    canonical: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    knobs: Knobs = PAPER
    least_every: int = 1
    note: str = ""

    @property
    def form(self) -> str:
        """The paper's first form, v1, clips at rho; its second, v2, scales h by gamma and clips at 1."""
        return "v1" if "gamma" in self.fixed else "v2"

    def optimizer(self, estimator: Any = None, **settings: Any) -> Variant:
        """The optimizer with these settings, by the implementation's own names, and defaults for the others.

        estimator: one of `estimators` by name, by default the first, or a function oracle -> h_hat of one's own.
        Raises TypeError for a setting that it does not have or that is missing, ValueError for one out of range.
        """
        for name in settings:
            if name not in self.settings:
                known = [*self.settings, "estimator"]
                near = [self.own(name)] if self.own(name) != name else difflib.get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
                raise TypeError(f"{self.name}: has no setting {name!r}; {hint}")
        chosen = {**self.settings, **settings}
        if missing := [name for name, value in chosen.items() if value is None]:
            raise TypeError(f"{self.name}: {missing[0]} has no default; expected {missing[0]}=...")
        estimator = self.estimators[0] if estimator is None else estimator
        if isinstance(estimator, str):
            if estimator not in self.estimators:
                expected = f"expected one of {', '.join(self.estimators)}, or a function oracle -> h_hat"
                raise ValueError(f"{self.name}: estimator: {estimator!r}; {expected}")
            estimator = ESTIMATORS[estimator][0]
        named = {self.canonical.get(name, name): value for name, value in chosen.items()}
        try:
            opt = Variant(**{**self.fixed, **named}, estimator=estimator, knobs=self.knobs, label=self.name)
        except (TypeError, ValueError) as error:  # it speaks of the engine's names
            refused = str(error).removeprefix(f"{self.name}: ").split(" ")[0]
            raise type(error)(str(error).replace(f": {refused} ", f": {self.own(refused)} ", 1)) from None
        if opt.every < self.least_every:
            expected = f"must be an integer >= {self.least_every}, got {opt.every}; {self.note}"
            raise ValueError(f"{self.name}: {self.own('every')} {expected}")
        return opt

    def own(self, name: str) -> str:
        """What the engine's setting of this name is called here."""
        return next((own for own, meant in self.canonical.items() if meant == name), name)


# Settings of the second form, as the paper has them; those of the first have rho for clip, and no gamma.
_PAPER: dict[str, float | None] = dict(
    lr=None, beta1=0.96, beta2=0.99, gamma=0.01, eps=1e-12, weight_decay=0.2, every=10
)  # fmt: skip
_OFFICIAL: dict[str, float | None] = dict(lr=1e-4, beta1=0.965, beta2=0.99, rho=0.04, weight_decay=0.1, bs=5120)
_ADDED = Knobs(denominator="add", floor=False, decay="factor", batch_at_step=True)
_KOZISTR: dict[str, float | None] = dict(
    lr=6e-2, beta1=0.96, beta2=0.99, p=0.01, eps=1e-12, weight_decay=0.0, update_period=10
)
_FIRST_FORM = {"gamma": 1.0}

_ALL = (
    Dialect(
        "paper-v2",
        "arXiv 2305.14342, Algorithm 3, from its second version on",
        "the reference",
        ("gaussian", "gnb"),
        _PAPER,
        note="gamma is 0.05 for GNB",
    ),
    Dialect(
        "paper-v1",
        "arXiv 2305.14342, Algorithm 3, first version",
        "equal to v2, exactly",
        ("gaussian", "gnb"),
        dict(lr=None, beta1=0.96, beta2=0.99, rho=0.01, eps=1e-12, weight_decay=0.2, every=10),
        {"rho": "clip"},
        _FIRST_FORM,
        note="v2 in other letters: sophia_ref.conformance.v1_to_v2",
    ),
    Dialect(
        "official",
        "Liuhong99/Sophia, SophiaG; on PyPI as sophia-opt 0.2.2",
        "run, and recorded",
        ("sampled-square",),
        dict(_OFFICIAL, every=10),
        {"rho": "gamma"},
        {"eps": 1e-15},
        replace(_ADDED, first="k+1"),
        note="every is up to the training loop; its script estimates after steps 10, 20, ...",
    ),
    Dialect(
        "optax",
        "optax.contrib.sophia, optax 0.2.8",
        "run",
        ("rademacher",),
        dict(
            lr=None, b1=0.965, b2=0.99, gamma=0.01, clip_threshold=1.0, eps=1e-8, weight_decay=1e-4, update_interval=10
        ),
        {"b1": "beta1", "b2": "beta2", "update_interval": "every", "clip_threshold": "clip"},
        knobs=Knobs(absorbed="after", m_corrected=True, decay="added"),
        note="takes another estimator as hessian_diagonal_fn",
    ),
    Dialect(
        "levanter",
        "stanford-crfm/levanter, optim/sophia.py, SophiaHConfig",
        "by reading",
        ("gaussian",),
        dict(
            lr=None, beta1=0.96, beta2=0.99, gamma=0.01, clip_threshold=1.0, epsilon=1e-12, weight_decay=0.1,
            update_interval=10,
        ),
        {"epsilon": "eps", "update_interval": "every", "clip_threshold": "clip"},
        knobs=Knobs(first="k", absorbed="after", m_corrected=True, decay="added"),
        note="its function sophia_h has beta1 0.965, eps 1e-8 and no decay; its Sophia-G is not implemented",
    ),
    Dialect(
        "labml",
        "labml_nn.optimizers.sophia, labml-nn 0.5.1, and its training loop with_sophia.py",
        "rule run, loop by reading",
        ("gnb-norm-clipped",),
        dict(lr=1e-4, beta1=0.9, beta2=0.95, rho=0.03, eps=1e-12, weight_decay=0.0, hess_interval=10),
        {"rho": "clip", "hess_interval": "every"},
        _FIRST_FORM,
        Knobs(replaces=True, denominator="add", decay="factor", rate_over_clip=True),
        note="the 1st, 11th, ... batch is not trained on; lr is the longest step, eta rho",
    ),
    Dialect(
        "kozistr-4",
        "pytorch_optimizer.SophiaH 4.1.0",
        "run",
        ("gaussian", "rademacher"),
        _KOZISTR,
        {"p": "clip", "update_period": "every"},
        _FIRST_FORM,
        Knobs(decay="factor"),
    ),
    Dialect(
        "kozistr-3.9",
        "pytorch_optimizer.SophiaH 3.9.0",
        "run",
        ("gaussian", "row-sums"),
        _KOZISTR,
        {"p": "clip", "update_period": "every"},
        _FIRST_FORM,
        Knobs(first="k+1", absorbed="late", decay="factor"),
        least_every=2,
        note="with 1 the package stops at its first step with KeyError: 'momentum'",
    ),
    Dialect(
        "kyegomez",
        "Sophia-Optimizer 0.2.5 on PyPI, SophiaG",
        "run",
        ("training-square",),
        _OFFICIAL,
        {"rho": "gamma"},
        {"eps": 1e-15, "every": 1},
        replace(_ADDED, averagings=2),
        note="the package itself does not import: its __init__ asks for a name that is not there",
    ),
    Dialect(
        "somax",
        "cor3bit/somax, sophia_h and sophia_g",
        "by reading",
        ("rademacher", "gnb"),
        dict(
            lr=1.0, beta1=0.965, beta2=0.99, gamma=0.01, clip_value=1.0, eps=1e-8, weight_decay=0.2, eval_every_k=10
        ),
        {"eval_every_k": "every", "clip_value": "clip"},
        knobs=Knobs(m_corrected=True, h_corrected=True, decay="added"),
        note="gamma is 0.05 for GNB; n_samples averages estimates, 1 by default",
    ),
    Dialect(
        "sciml",
        "SciML/Optimization.jl, OptimizationSophia",
        "by reading",
        ("gaussian",),
        dict(lr=1e-3, beta1=0.9, beta2=0.999, rho=0.04, eps=1e-8, weight_decay=0.1, k=10),
        {"rho": "clip", "k": "every"},
        _FIRST_FORM,
        Knobs(literal=True),
        note="i counts within an epoch",
    ),
)  # fmt: skip
DIALECTS: Mapping[str, Dialect] = {dialect.name: dialect for dialect in _ALL}


def dialect(name: str) -> Dialect:
    """The dialect of this name. Raises ValueError, with the nearest name, for any other.

    >>> dialect("optaxx")
    Traceback (most recent call last):
    ValueError: dialect: 'optaxx' is not known; did you mean 'optax'?
    """
    if name not in DIALECTS:
        near = difflib.get_close_matches(str(name), DIALECTS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(DIALECTS)}"
        raise ValueError(f"dialect: {name!r} is not known; {hint}")
    return DIALECTS[name]
