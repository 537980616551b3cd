"""Targets in PyTorch: any torch.optim.Optimizer. How estimates get in is seen from the class:

    update_curvature(h_hat)    a list of tensors, right before the step; asked for by curvature_due, where there is one
    update_hessian()           squares .grad, that of sampled labels, as the official SophiaG does; then step(bs=...)
    step(hessian=h_hat)        a list of tensors, as kozistr's pytorch_optimizer takes it

A module that has Hutchinson and GNB as sophia_ref.ports.torch does is asked the estimators too. A decay mask becomes
two parameter groups. Everything goes to the device that was asked for, and results come back from it.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from textwrap import shorten
from types import ModuleType
from typing import Any

import numpy as np
import torch

from sophia_ref.conformance.targets.base import (
    STATE_NAMES,
    Fault,
    NotAsked,
    Results,
    TargetError,
    due,
    first_named,
    offered,
)
from sophia_ref.conformance.targets.doors import Doors
from sophia_ref.conformance.vectors import Case, Given, laid_out

Array = Any
Tensor = Any


def runner(obj: Any, names: Mapping[str, str], device: str = "cpu") -> Callable[[Case], Results]:
    """The function case -> Results. Raises TargetError unless obj is an optimizer's class, or a partial of one, and for
    a device that is not there."""
    cls: Any = obj.func if isinstance(obj, partial) else obj
    step: Any = getattr(cls, "step", None)
    if not (inspect.isclass(cls) and callable(step)):
        raise TargetError(f"{cls!r:.80} is not a class with a step; expected a torch.optim.Optimizer")
    takes = inspect.signature(step).parameters
    squares = callable(getattr(cls, "update_hessian", None))
    doors = Doors(obj, names, squares_at_step=squares, schedule=hasattr(cls, "curvature_due"))
    doors.require("lr", "beta1", "beta2")
    doors.complete(next(iter(doors.parameters)))
    if hasattr(cls, "update_curvature"):
        door = "update_curvature"
    elif squares:
        door = "update_hessian"
    else:
        door = "hessian" if "hessian" in takes else ""
    return TorchTarget(obj, doors, door, "bs" in takes, inspect.getmodule(cls), device_named(device))


def device_named(name: str) -> torch.device:
    """The device of this name, once it is known to compute. Raises TargetError, in one line, where it is not there."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise TargetError(f"device: {name!r}; expected one that PyTorch knows, such as cpu, cuda or cuda:1") from None
    try:
        torch.ones(1, device=device).item()
    except Exception as error:  # what PyTorch raises differs from device to device
        said = shorten((str(error) or type(error).__name__).splitlines()[0], 120, placeholder=" ...").rstrip(".")
        raise TargetError(f"device: {name!r} is not to be had here; expected one that is ({said})") from None
    return device


@dataclass(frozen=True)
class TorchTarget:
    cls: Any
    doors: Doors
    door: str  # by which estimates get in, "" where there is none
    takes_bs: bool
    module: ModuleType | None
    device: torch.device

    @property
    def place(self) -> str:
        """The device, and what it is where there are several of its kind."""
        if self.device.type != "cuda":
            return str(self.device)
        return f"{self.device}: {torch.cuda.get_device_name(self.device)}"

    def tensor(self, x: Array) -> Tensor:
        """x on the device; on a CPU in its own memory, elsewhere with its strides."""
        host = torch.from_numpy(x)
        if self.device.type == "cpu":
            return host
        return torch.empty_strided(host.shape, host.stride(), dtype=host.dtype, device=self.device).copy_(host)

    def __call__(self, case: Case) -> Results:
        results = _Run(self, case).steps()
        if not case.theta.ndim:
            raise NotAsked("PyTorch knows 0-d parameters")
        return results


class _Run:
    """One case: its parameters, an optimizer over them, and the steps."""

    def __init__(self, target: TorchTarget, case: Case) -> None:
        self.target, self.case = target, case
        if not target.door and any(due(case, i) and offered(given) for i, given in enumerate(case.steps, start=1)):
            raise NotAsked("it has no door for an estimate: update_curvature, update_hessian or step(hessian=...)")
        self.lr, self.settings = target.doors.arguments(case.settings)
        self.decay = self.settings.get(target.doors.own["weight_decay"] or "", 0.0)
        self._make(case.theta)
        self._begin()

    def steps(self) -> Results:
        results = []
        for i, given in enumerate(self.case.steps, start=1):
            lr = self.lr[i - 1] if isinstance(self.lr, tuple) else self.lr
            for group in self.opt.param_groups:
                group["lr"] = lr
            before = self.shown()
            try:
                shown = self._step(given, i)
            except (Fault, NotAsked):
                raise
            except Exception as error:
                after = self.shown()
                if any(not np.array_equal(before[name], after[name], equal_nan=True) for name in before):
                    raise Fault(
                        f"stops when something has changed already: {type(error).__name__}: {error}", i
                    ) from None
                raise
            for p, place in zip(self.params, self.places, strict=True):
                if p.shape != (expected := self.case.theta[place].shape):
                    raise Fault(f"theta has shape {tuple(p.shape)}; expected {expected}", i)
            results.append(shown)
            if i == self.case.resume_after:
                self._resume()
        return results

    # -- parameters and groups -----------------------------------------------------------------------------------------

    def _make(self, theta: Array) -> None:
        """Parameters that hold theta, one or two, and a new optimizer over them."""
        mask, case = self.case.decay_mask, self.case
        self.places: list[Any] = [...] if mask is None else [place for place in (mask, ~mask) if place.any()]
        self.params = []
        for place in self.places:
            x = self.target.tensor(laid_out(theta[place], case.layout if mask is None else "C"))
            self.params.append(torch.nn.Parameter(x, requires_grad=x.is_floating_point()))
        groups: list[dict[str, Any]] = [{"params": [p]} for p in self.params]
        if mask is not None:
            for group, place in zip(groups, self.places, strict=True):
                decay = self.decay if mask[place].all() else 0.0
                group |= self.target.doors.named("weight_decay", decay)
        lr = self.lr[0] if isinstance(self.lr, tuple) else self.lr
        self.opt = self.target.cls(groups, **self.target.doors.named("lr", lr), **self.settings)

    def split(self, x: Array) -> list[Tensor]:
        """An array of theta's shape as tensors like the parameters, laid out as they are."""
        layout = self.case.layout if self.case.decay_mask is None else "C"
        if x.shape != self.case.theta.shape:
            return [self.target.tensor(x.copy())]
        return [self.target.tensor(laid_out(x[place], layout if layout != "alias" else "C")) for place in self.places]

    def joined(self, tensors: list[Tensor]) -> Array:
        """The inverse, as an array of its own."""
        first = tensors[0].detach().cpu().numpy()
        if self.case.decay_mask is None:
            return first.copy()
        found = np.empty(self.case.theta.shape, first.dtype)
        for place, x in zip(self.places, tensors, strict=True):
            found[place] = x.detach().cpu().numpy()
        return found

    def shown(self) -> dict[str, Array]:
        """theta and the averages as they are now."""
        found = {"theta": self.joined([p.data for p in self.params])}
        state = self.opt.state.get(self.params[0], {})
        for name in ("m", "h", "v"):
            own = first_named(STATE_NAMES[name], state)
            if own is not None and all(own in self.opt.state[p] for p in self.params):
                kept = [self.opt.state[p][own] for p in self.params]
                if other := [x for x in kept if not isinstance(x, torch.Tensor) or x.is_meta or x.is_sparse]:
                    raise Fault(f"state[{own!r}] is {other[0]!r:.60}; expected a dense tensor")
                found[name] = self.joined(kept)
        if self.case.profile not in ("Adam", "AdamW"):
            found.pop("v", None)
        return found

    # -- a step --------------------------------------------------------------------------------------------------------

    def _step(self, given: Given, i: int) -> dict[str, Array]:
        case, door, opt = self.case, self.target.door, self.opt
        wants = due(case, i)
        if door == "update_curvature" and hasattr(opt, "curvature_due"):
            asks = opt.curvature_due() if callable(opt.curvature_due) else opt.curvature_due
            if asks and not wants and not offered(given):
                raise Fault("asks for curvature, where none is due", i)
            wants = asks
        bs, arguments, h_hat = case.settings.get("bs", 1.0), {}, None
        grads = [p.detach() for p in self.params] if case.layout == "alias" else self.split(given.g)
        self._give(grads)  # before the estimate, as PyTorch itself may refuse them
        if wants and offered(given):
            if door == "update_hessian":
                roots, bs = self._roots(given, bs)
                self._give(roots)
                opt.update_hessian()
            else:
                h_hat = self._estimate(given)
                if door == "hessian":
                    arguments["hessian"] = h_hat
                else:
                    opt.update_curvature(h_hat)
        self._give(grads)
        copies = [x.clone() for x in (*grads, *(h_hat or []))]
        opt.step(**arguments, **({"bs": bs} if self.target.takes_bs else {}))
        for name, x, copy in zip(
            ["g"] * len(grads) + ["h_hat"] * len(h_hat or []), (*grads, *(h_hat or [])), copies, strict=True
        ):
            if not (name == "g" and case.layout == "alias") and not torch.equal(x.nan_to_num(), copy.nan_to_num()):
                raise Fault(f"changes {name} in place", i)
        shown = self.shown()
        if door == "update_hessian" and any(step.gnb is not None for step in case.steps):
            del shown["h"]  # B is not in it, but in bs
        return shown

    def _give(self, grads: list[Tensor]) -> None:
        for p, g in zip(self.params, grads, strict=True):
            p.grad = g

    def _estimate(self, given: Given) -> list[Tensor]:
        if given.h_hat is not None:
            return self.split(given.h_hat)
        if given.sampled_grad is not None:
            return self.split(given.sampled_grad**2)
        name = "Hutchinson" if given.hutchinson is not None else "GNB"
        estimator = getattr(self.target.module, name, None)
        if estimator is None:
            raise NotAsked(f"its module has no {name}")
        estimate = estimator(self.params)
        if given.hutchinson is not None:
            for A, u in given.hutchinson:
                theta = self.flat()
                probes = (
                    [self.target.tensor(u.copy())]
                    if u.size != theta.numel()
                    else self.split(u.reshape(self.case.theta.shape))
                )
                estimate.add(theta @ (self.target.tensor(A) @ theta) / 2, probes=probes)
        else:
            gnb = given.gnb
            ends = np.cumsum(gnb["micro_batches"])
            if ends[-1] != len(gnb["x"]):
                raise NotAsked("micro-batches are cut by its user")
            for end, length in zip(ends, gnb["micro_batches"], strict=True):
                part = slice(int(end - length), int(end))
                mask = (
                    None
                    if gnb["mask"].all() and len(gnb["mask"]) == ends[-1]
                    else self.target.tensor(gnb["mask"][part])
                )
                estimate.add(
                    self.outputs(gnb["x"][part]), mask, self.target.tensor(gnb["labels"][part]), gnb["likelihood"]
                )
        return list(estimate.estimate())

    def flat(self) -> Tensor:
        """theta (P,), row by row, as a function of the parameters."""
        if self.case.decay_mask is None:
            return self.params[0].reshape(-1)
        index = [self.target.tensor(np.flatnonzero(place)) for place in self.places]
        return torch.cat(self.params)[torch.argsort(torch.cat(index))]

    def outputs(self, x: Array) -> Tensor:
        return self.target.tensor(x) @ self.flat().reshape(x.shape[1], -1)

    def _roots(self, given: Given, bs: float) -> tuple[list[Tensor], float]:
        """What update_hessian is to square, and what its step is to multiply by."""
        if given.sampled_grad is not None:
            return self.split(given.sampled_grad), bs
        if given.h_hat is not None:
            with np.errstate(invalid="ignore"):
                root = np.sqrt(given.h_hat)
            if not np.array_equal(root * root, given.h_hat):
                raise NotAsked("it squares a gradient, and this estimate is not a square")
            return self.split(root), bs
        if given.gnb is None:
            raise NotAsked("it squares a gradient of sampled labels, and takes no probes")
        gnb, kept = given.gnb, self.target.tensor(given.gnb["mask"])
        if sum(gnb["micro_batches"]) != len(gnb["x"]) or not gnb["mask"].any():
            raise NotAsked("micro-batches and masks are its user's")
        z, labels = self.outputs(gnb["x"]), self.target.tensor(gnb["labels"])
        if gnb["likelihood"] == "gaussian":
            losses = (z - labels).square().sum(-1) / 2
        else:
            losses = torch.nn.functional.cross_entropy(z, labels, reduction="none")
        mean = losses.where(kept, 0).sum() / kept.sum()
        return list(torch.autograd.grad(mean, self.params)), float(kept.sum())

    # -- the state -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Put the case's own state in place, after an idle step where the optimizer makes its state in one."""
        case = self.case
        if not case.t and case.m is None and case.h is None:
            return
        if not self.opt.state.get(self.params[0]):
            self._give([torch.zeros_like(p) for p in self.params])
            zeros = [torch.zeros_like(p) for p in self.params]
            arguments: dict[str, Any] = {"hessian": zeros} if self.target.door == "hessian" else {}
            self.opt.step(**arguments)
            with torch.no_grad():
                for p, x in zip(self.params, self.split(case.theta), strict=True):
                    p.copy_(x)
        second = "v" if case.profile in ("Adam", "AdamW") else "h"
        for name, array in (("m", case.m), (second, case.h)):
            values = self.split(np.zeros_like(case.theta) if array is None else array)
            for p, x in zip(self.params, values, strict=True):
                own = first_named(STATE_NAMES[name], self.opt.state[p])
                if own is not None:
                    self.opt.state[p][own].copy_(x)
                elif array is not None:
                    raise NotAsked(f"its state has no {name} to set, but {', '.join(map(str, self.opt.state[p]))}")
        counters = [*self.opt.param_groups, *(self.opt.state[p] for p in self.params)]
        counted = False
        for place in counters:
            own = first_named(STATE_NAMES["t"], place)
            if own is not None:
                place[own] = torch.full_like(place[own], case.t) if isinstance(place[own], torch.Tensor) else case.t
                counted = True
        if not counted and case.profile != "Lion":
            raise NotAsked("its state has no count of steps to set")

    def _resume(self) -> None:
        """Save, throw everything away, and go on from what was saved."""
        file = io.BytesIO()
        torch.save(self.opt.state_dict(), file)
        theta = self.joined([p.data for p in self.params])
        file.seek(0)
        self._make(theta)
        self.opt.load_state_dict(torch.load(file, weights_only=False))
