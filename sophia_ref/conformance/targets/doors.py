"""How an implementation's own settings are found from the paper's: by the names of its parameters.

>>> def sophia(params, learning_rate, betas=(0.965, 0.99), rho=0.04, weight_decay=0.1): ...
>>> paper = {"lr": 0.5, "beta1": 0.75, "beta2": 0.5, "gamma": 0.25, "clip": 1.0, "eps": 1.0, "weight_decay": 0.0}
>>> lr, settings = Doors(sophia, {}).arguments(paper)  # it has the paper's first form
>>> lr, settings
(2.0, {'betas': (0.75, 0.5), 'weight_decay': 0.0, 'rho': 0.25})
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from sophia_ref.conformance.conversions import v2_to_v1
from sophia_ref.conformance.targets.base import NotAsked, TargetError, first_named

# The paper's name: what implementations call it.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "lr": ("lr", "learning_rate", "eta", "step_size"),
    "beta1": ("beta1", "b1", "beta_1"),
    "beta2": ("beta2", "b2", "beta_2"),
    "gamma": ("gamma",),
    "rho": ("rho", "p"),
    "clip": ("clip", "clip_threshold", "clip_value", "clipping_threshold"),
    "eps": ("eps", "epsilon"),
    "weight_decay": ("weight_decay", "decay", "wd", "lambda_"),
    "every": (
        "every", "update_period", "update_interval", "hess_interval", "hessian_interval", "eval_every_k", "interval",
        "update_freq", "k",
    ),
    "bs": ("bs", "batch_size"),
    "mask": ("decay_mask", "mask", "weight_decay_mask"),
}  # fmt: skip


class Doors:
    """The parameters of `function` by the paper's names.

    names: the paper's name -> the parameter, for those that are called otherwise. squares_at_step: whether gamma h is
    rho bs h there, as in the official SophiaG. schedule: whether it has a schedule of its own, and so needs `every`.
    Raises TargetError for a name that is not known, and for a parameter that is not there.
    """

    def __init__(
        self, function: Any, names: Mapping[str, str], squares_at_step: bool = False, schedule: bool = False
    ) -> None:
        parameters = _parameters(function)
        self.name, self.parameters = _name(function), parameters
        self.squares_at_step, self.schedule = squares_at_step, schedule
        self.own = {canonical: first_named(known, parameters) for canonical, known in ALIASES.items()}
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for canonical, own in names.items():
            if canonical not in ALIASES:
                near = difflib.get_close_matches(canonical, ALIASES, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(ALIASES)}"
                raise TargetError(f"names: {canonical!r} is not a setting; {hint}")
            if own not in parameters and not takes_any:
                raise TargetError(f"names: {self.name} has no parameter {own!r}; it has {', '.join(parameters)}")
            self.own[canonical] = own
        self.betas = "betas" in parameters and self.own["beta1"] is None

    def require(self, *canonical: str) -> None:
        """Raises TargetError where a setting has no parameter."""
        for name in canonical:
            choices = {"gamma": ("gamma", "rho")}.get(name, (name,))
            if any(self.own[choice] for choice in choices) or (self.betas and name in ("beta1", "beta2")):
                continue
            called = [alias for choice in choices for alias in ALIASES[choice]] + ["betas"] * name.startswith("beta")
            raise TargetError(
                f"{self.name}({', '.join(self.parameters)}) has no parameter for {name}; expected one of "
                f"{', '.join(called)}, or --names {name}=ITS_NAME"
            )

    @property
    def form(self) -> str:
        """ "v2" for gamma, else "v1", or "official" where the batch size multiplies h in each step."""
        return "v2" if self.own["gamma"] else "official" if self.squares_at_step else "v1"

    def complete(self, *others: str) -> None:
        """Raises TargetError for a parameter without a default that is neither a setting nor one of the others."""
        settings = {*self.own.values(), *others, "betas"}
        for name, p in self.parameters.items():
            if _required(p, name) and name not in settings:
                expected = "a default for it, or --names SETTING=" + name
                raise TargetError(f"{self.name} has a parameter {name!r} that is no known setting; expected {expected}")

    def named(self, canonical: str, value: Any) -> dict[str, Any]:
        """This setting under its own name."""
        return {self.own[canonical] or canonical: value}

    def arguments(self, settings: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """lr, a number or a tuple of numbers as in the case, and the other settings by their own names.

        What has no parameter is left out where that changes nothing: no decay, a clip at 1, an eps of its own. Raises
        NotAsked, with the reason, elsewhere.
        """
        wanted = self._converted(settings)
        lr, arguments = wanted.pop("lr"), {}
        if self.betas:
            arguments["betas"] = (wanted.pop("beta1"), wanted.pop("beta2"))
        for name, value in wanted.items():
            own = self.own.get(name)
            if own is not None:
                arguments[own] = value
            elif not self._idle(name, value):
                raise NotAsked(f"it has no setting {name}")
        return lr, arguments

    def _converted(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        wanted = dict(settings)
        gamma = wanted.get("gamma")
        if gamma is not None and self.form != "v2" and self.own["rho"]:
            if self.form == "official":
                wanted["rho"] = wanted.pop("gamma")  # with bs = 1
            elif _positive(gamma):
                # η clip(m / max(γ h, ε), c) = η/γ clip(m / max(h, ε/γ), γ c)
                clip = wanted.pop("clip", 1.0)
                rates = wanted["lr"] if isinstance(wanted["lr"], tuple) else (wanted["lr"],)
                first = v2_to_v1(rates[0], wanted.pop("gamma"), wanted["eps"], wanted["weight_decay"])
                lr = tuple(rate / gamma for rate in rates) if isinstance(wanted["lr"], tuple) else first["lr"]
                wanted |= first | {"rho": gamma * clip, "lr": lr}
            else:
                wanted["rho"] = wanted.pop("gamma")  # to be refused
        elif "rho" in wanted and self.own["rho"] is None and self.own["gamma"]:
            wanted["gamma"] = wanted.pop("rho") * wanted.pop("bs")
        return wanted

    def _idle(self, name: str, value: Any) -> bool:
        return (
            (name == "weight_decay" and not np.any(value))
            or (name == "clip" and value == 1)
            or name in ("eps", "bs")  # its own eps shows where it matters; bs is given to its step
            or (name == "every" and not self.schedule and type(value) is int and value >= 1)
        )


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    """Its parameters; of a class that hands what it does not know on to its base, those of the base too."""
    try:
        found = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        raise TargetError(f"{_name(function)} has no signature to read its settings from") from None
    cls = function.func if isinstance(function, partial) else function
    for base in inspect.getmro(cls)[1:] if inspect.isclass(cls) else ():
        rest = [name for name, p in found.items() if p.kind is p.VAR_KEYWORD]
        if not rest:
            break
        if "__init__" in vars(base) and base is not object:
            own = {name: p for name, p in found.items() if name not in rest}
            # what a base must be given, its class gives it
            below = inspect.signature(base).parameters
            found = own | {name: p for name, p in below.items() if name not in own and not _required(p, name)}
    return found


def _required(p: inspect.Parameter, name: str) -> bool:
    """Whether a parameter has no default, and is none of the settings."""
    known = name == "betas" or any(name in aliases for aliases in ALIASES.values())
    return p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and not known


def _positive(x: Any) -> bool:
    return isinstance(x, float | int) and 0 < x < float("inf")


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
