"""Sophia as a PyTorch optimizer. With the Gauss-Newton-Bartlett estimator, a training loop reads

    opt = SophiaG(model.parameters(), lr=1e-3, weight_decay=0.2)
    gnb = GNB(model.parameters())
    for x, y in batches:
        if opt.curvature_due:  # before the steps 1, 11, 21, ...
            gnb.add(model(x))  # draws labels of its own; once for each micro-batch
            opt.update_curvature(gnb.estimate())
        opt.zero_grad()
        cross_entropy(model(x), y).backward()
        opt.step()

`opt.update_curvature(gnb)` takes the estimate without writing it out, which a GPU is spared by it with fused=True.

The arithmetic is that of `sophia_ref.Sophia`, operation by operation: in float32 and float64 on a CPU it gives the same
bits, whichever of the paths computes. A float16 or bfloat16 parameter is the rounded copy of a float32 theta.

The optimizers do not look for NaN, as that would wait for the device, and do not hide it: NaN in a gradient or in h_hat
is NaN in the parameter. Infinity in h_hat would hold its coordinate for good, in silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sophia_ref.optimizers.base import EXPECTED, integer, number
from sophia_ref.ports.torch_curvature import GNB, STATE_DTYPES, Hutchinson, kind

__all__ = ["GNB", "Hutchinson", "Sophia", "SophiaG", "SophiaH"]


def update(
    theta: Tensor,
    m: Tensor,
    h: Tensor,
    g: Tensor,
    *,
    lr: float | Tensor,
    beta1: float,
    gamma: float,
    clip: float,
    eps: float,
    weight_decay: float,
) -> None:
    """One step of one parameter, in place: theta and m change. All four have one shape and dtype; g may lie in theta's
    own memory, as it is read before theta is written."""
    # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    m.mul_(beta1).add_(g * (1 - beta1))
    # clip(m_t / max(γ h_t, ε), ρ),  ρ = 1
    step = (m / (h * gamma).clamp_(min=eps)).clamp_(-clip, clip)
    # θ_t ← θ_t - η_t λ θ_t
    theta.sub_(theta * (lr * weight_decay))
    # θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), 1)
    theta.sub_(step * lr)


def update_foreach(
    theta: list[Tensor],
    m: list[Tensor],
    h: list[Tensor],
    g: list[Tensor],
    *,
    lr: float | Tensor,
    beta1: float,
    gamma: float,
    clip: float,
    eps: float,
    weight_decay: float,
) -> None:
    """The same for many parameters: a GPU is called a dozen times, not a dozen times for each."""
    # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    torch._foreach_mul_(m, beta1)
    torch._foreach_add_(m, torch._foreach_mul(g, 1 - beta1))
    # clip(m_t / max(γ h_t, ε), ρ),  ρ = 1
    denominator = torch._foreach_mul(h, gamma)
    torch._foreach_clamp_min_(denominator, eps)
    step = torch._foreach_div(m, denominator)
    torch._foreach_clamp_min_(step, -clip)
    torch._foreach_clamp_max_(step, clip)
    # θ_t ← θ_t - η_t λ θ_t
    torch._foreach_sub_(theta, torch._foreach_mul(theta, lr * weight_decay))
    # θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), 1)
    torch._foreach_mul_(step, lr)
    torch._foreach_sub_(theta, step)


@cache
def update_fused() -> Any:
    """`update_foreach` as torch.compile makes it, which reads and writes each array once: in C++ on a CPU; in Triton on
    a GPU, where this repository has not run it. `sophia_ref.ports.triton` has the same by hand.

    lr must be a tensor, as every new number would be compiled anew. So are other settings, parameters of other shapes,
    and another choice of parameters that have gradients; after eight of these in a process torch takes `update_foreach`
    as it stands, and logs that.
    """
    return torch.compile(update_foreach, dynamic=False)


def _on_gpu(params: list[Tensor]) -> bool:
    return all(p.is_cuda for p in params)


def _kernels_compute(group: dict[str, Any]) -> bool:
    """Whether the kernels of `sophia_ref.ports.triton` do. A CUDA graph could not hold their table, which is made anew
    wherever gradients come to lie elsewhere."""
    return bool(group["fused"]) and not group["capturable"] and _on_gpu(group["params"])


@cache
def _kernels() -> Any:
    try:
        from sophia_ref.ports import triton
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"fused=True on a GPU needs {error.name}: pip install {error.name}") from None
    return triton


_NOT_DUE = "no estimate is due: update_curvature must come once, where curvature_due is true"

# What a setting must be, in words of its own where sophia_ref.Sophia takes arrays too, and as it judges it.
_EXPECTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "lr": ("a finite number >= 0, or a tensor of one", EXPECTED["lr"][1]),
    "beta1": EXPECTED["beta1"],
    "beta2": EXPECTED["beta2"],
    "gamma": ("a finite number > 0", EXPECTED["gamma"][1]),
    "clip": ("a number > 0 (math.inf turns clipping off)", EXPECTED["clip"][1]),
    "eps": EXPECTED["eps"],
    "weight_decay": ("a finite number >= 0", EXPECTED["weight_decay"][1]),
}


class Sophia(torch.optim.Optimizer):
    """Liu et al. 2023, arXiv 2305.14342, Algorithm 3; `sophia_ref.Sophia` says what the settings are.

    params: parameters, named ones, or groups with settings of their own; `every` is one for all groups.
    lr: a number, or a tensor of one, which may lie on the parameters' device.
    foreach, fused: which of `update`, `update_foreach` and a fused path computes; by default the second where all
    parameters of a group are on a GPU, otherwise the first. Fused is `update_fused`, and on a GPU, unless capturable,
    the kernels of `sophia_ref.ports.triton`: one launch a step, one a renewal of h.
    capturable: count steps on the device and never wait for it, so that CUDA graphs can hold `update_curvature` and
    `step`. Whether an estimate is due is then asserted on the device, where a failure is fatal to the process.

    The state of a parameter: "step", how many steps the optimizer has taken; "m" and "h" as in the paper; "h_step", the
    step for which h was last renewed; for float16 and bfloat16 also "theta", of which the parameter is a rounded copy
    (what others write to the parameter is taken over). m, h and theta are float32, for float64 parameters float64.
    A parameter whose gradient is None stays as it is, as everywhere in PyTorch.

    Raises TypeError or ValueError, by name, before anything changes.

    >>> weight = torch.nn.Parameter(torch.tensor([3.0]))  # the loss is 2 weight^2
    >>> opt = Sophia([weight], lr=0.5, betas=(0.0, 0.0), gamma=1.0, clip=2.0)
    >>> opt.update_curvature([torch.tensor([4.0])])
    >>> weight.grad = torch.tensor([12.0])
    >>> opt.step()  # Newton's 12/4 is clipped at 2
    >>> weight.data
    tensor([2.])
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor,
        *,
        betas: tuple[float, float] = (0.96, 0.99),
        gamma: float = 0.01,
        clip: float = 1.0,
        eps: float = 1e-12,
        weight_decay: float = 0.0,
        every: int = 10,
        foreach: bool | None = None,
        fused: bool | None = None,
        capturable: bool = False,
    ) -> None:
        settings = dict(lr=lr, betas=betas, gamma=gamma, clip=clip, eps=eps, weight_decay=weight_decay, every=every)
        super().__init__(params, settings | dict(foreach=foreach, fused=fused, capturable=capturable))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch.optim.Optimizer. The state is made here; who joins later counts steps as the others do.

        Raises ValueError also for a 0-d parameter and for one that is given twice, TypeError for dtypes other than
        float16, bfloat16, float32 and float64.
        """
        group = dict(param_group)
        if not isinstance(group["params"], Tensor | set):  # these two are torch's to take or to refuse
            group["params"] = list(group["params"])
            if len({id(p[1] if isinstance(p, tuple) else p) for p in group["params"]}) < len(group["params"]):
                raise ValueError(f"{self._name}: params must hold each parameter once, got one of them twice")
        super().add_param_group(group)
        try:
            self._settings(group)
            if isinstance(group["lr"], Tensor) and group["lr"].is_cpu:
                number(f"{self._name}: lr", group["lr"].item(), *_EXPECTED["lr"])
            for _, name, p in self._named():
                if p.dtype not in STATE_DTYPES or p.layout != torch.strided:
                    expected = "a dense tensor of float16, bfloat16, float32 or float64"
                    raise TypeError(f"{self._name}: {name} must be {expected}, got {kind(p)}")
                if p.ndim == 0:
                    raise ValueError(f"{self._name}: {name} must have an axis, got a 0-d tensor; reshape it to (1,)")
        except (TypeError, ValueError):
            self.param_groups.pop()
            raise
        others = list(self.state.values())
        for p in group["params"]:
            self.state[p] = self._initial(p, group["capturable"])
            for clock in ("step", "h_step") if others else ():
                self.state[p][clock].copy_(others[0][clock])

    @property
    def curvature_due(self) -> bool:
        """Whether the next `step` wants an estimate that it has not got yet: before the steps 1, 1 + every, ..."""
        return bool(self._due())

    @torch.no_grad()
    def update_curvature(self, h_hat: Iterable[Tensor | None] | GNB | Hutchinson) -> None:
        """Take in an estimate of the Hessian's diagonal, for the next step.

        h_hat: a tensor for every parameter, in the order of the groups, of its shape and device, float32 (float64 for
        float64). None may stand for a parameter that does not require a gradient. Or the estimator, which starts anew:
        `update_curvature(gnb)` is `update_curvature(gnb.estimate())`, with fewer passes over memory on the fused path.
        Raises RuntimeError unless `curvature_due`.
        """
        fused = all(map(_kernels_compute, self.param_groups))
        source, count = h_hat, 1.0
        if isinstance(source, GNB | Hutchinson):
            self._demand(self._due(), _NOT_DUE)  # or what it has gathered would be lost
            estimates, count = source.summed() if fused else (source.estimate(), 1.0)
        else:
            estimates = list(source)
        named = list(self._named())
        if len(estimates) != len(named):
            expected = f"{len(named)} tensors, one for each parameter"
            raise ValueError(f"{self._name}: h_hat must hold {expected}, got {len(estimates)}")
        for (_, name, p), estimate in zip(named, estimates, strict=True):
            h = self.state[p]["h"]
            if kind(estimate) != kind(h) and not (estimate is None and not p.requires_grad):
                error = TypeError if isinstance(estimate, Tensor) and estimate.dtype != h.dtype else ValueError
                raise error(f"{self._name}: h_hat of {name} must be a tensor as h is, {kind(h)}, got {kind(estimate)}")
        beta2s = [self._settings(group)[1] for group, _, _ in named]
        self._demand(self._due(), _NOT_DUE)
        for own in dict.fromkeys(beta2s) if fused else ():
            taken = [i for i, x in enumerate(estimates) if x is not None and beta2s[i] == own]
            hs, sums = [self.state[named[i][2]]["h"] for i in taken], [estimates[i] for i in taken]
            _kernels().renew_triton(hs, sums, sums if isinstance(source, GNB) else None, beta2=own, count=count)
        for (_, _, p), estimate, beta2 in zip(named, estimates, beta2s, strict=True):
            state = self.state[p]
            if estimate is not None and not fused:
                # h_t = β₂ h_{t-k} + (1 - β₂) ĥ_t
                state["h"].mul_(beta2).add_(estimate * (1 - beta2))
            torch.add(state["step"], 1, out=state["h_step"])

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step from the gradients in `.grad`. closure: computes them anew and returns the loss, which is returned.

        Raises RuntimeError where an estimate is due that `update_curvature` was not given, for sparse gradients, and
        for parameters that were moved or cast after the optimizer was made.
        """
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing() and not self._capturable:
            raise RuntimeError(f"{self._name}: capturable must be True for a step that a CUDA graph captures")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        settings = [self._settings(group)[0] for group in self.param_groups]
        for _, name, p in self._named():
            m, rounded = self.state[p]["m"], "theta" in self.state[p]
            now = p.shape, STATE_DTYPES.get(p.dtype), p.device, p.dtype != m.dtype
            if (m.shape, m.dtype, m.device, rounded) != now:
                raise RuntimeError(f"{self._name}: {name} was moved or cast, to {kind(p)}; its m is {kind(m)}")
            if p.grad is not None and p.grad.layout != torch.strided:
                raise RuntimeError(f"{self._name}: the gradient of {name} must be dense, got {p.grad.layout}")
        missing = "a curvature estimate is due: update_curvature(h_hat) must come before step()"
        self._demand(self._due().logical_not(), missing)
        for group, chosen in zip(self.param_groups, settings, strict=True):
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._take(params, group, chosen)
        if self.state:
            torch._foreach_add_([state["step"] for state in self.state.values()], 1)
        return loss

    def _take(self, params: list[Tensor], group: dict[str, Any], settings: dict[str, Any]) -> None:
        """The step of these parameters, all of the group that take part in it."""
        states = [self.state[p] for p in params]
        thetas = [state.get("theta", p) for p, state in zip(params, states, strict=True)]
        rounded = [(p, theta) for p, theta in zip(params, thetas, strict=True) if theta is not p]
        for p, theta in rounded:  # where somebody else has written to p, theta follows
            theta.copy_(torch.where(theta.to(p.dtype) == p, theta, p))
        ms, hs = [state["m"] for state in states], [state["h"] for state in states]
        gs = [p.grad if p.grad.dtype == m.dtype else p.grad.to(m.dtype) for p, m in zip(params, ms, strict=True)]
        if _kernels_compute(group):
            _kernels().update_triton(thetas, ms, hs, gs, **settings)
        elif group["fused"]:
            lr = torch.as_tensor(settings["lr"], dtype=torch.float64)
            update_fused()(thetas, ms, hs, gs, **settings | {"lr": lr})
        elif _on_gpu(params) if group["foreach"] is None else group["foreach"]:
            update_foreach(thetas, ms, hs, gs, **settings)
        else:
            for theta, m, h, g in zip(thetas, ms, hs, gs, strict=True):
                update(theta, m, h, g, **settings)
        for p, theta in rounded:
            p.copy_(theta)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch.optim.Optimizer, which would cast the state to the dtype of the parameters, and so round the
        float32 state of float16 and bfloat16. Here it is kept to the bit. Other dtypes and devices are converted.

        Raises TypeError or ValueError for settings and state that are not of this class.
        """
        entries: list[dict[str, Any]] = []
        # last of the hooks that may change what is loaded, and first of those that see the result
        before = self.register_load_state_dict_pre_hook(lambda _, final: entries.extend(self._entries(final)))
        after = self.register_load_state_dict_post_hook(lambda _: self._restore(entries), prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    # -- inside --------------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _named(self) -> Iterator[tuple[dict[str, Any], str, Tensor]]:
        """Every parameter with its group, and its name, or else its number."""
        i = 0
        for group in self.param_groups:
            for name, p in zip(group.get("param_names", [None] * len(group["params"])), group["params"], strict=True):
                yield group, repr(name) if name else f"parameter {i}", p
                i += 1

    def _settings(self, group: dict[str, Any], first: dict[str, Any] | None = None) -> tuple[dict[str, Any], float]:
        """What `update` takes from a group, and beta2, once they are known to be sound."""
        name, betas, lr = self._name, group["betas"], group["lr"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"{name}: betas must be a pair of numbers in [0, 1), got {betas!r}")
        if group["foreach"] and group["fused"]:
            raise ValueError(f"{name}: foreach and fused must not both be True")
        every = (first or self.param_groups[0])["every"]
        if integer(f"{name}: every", group["every"], 1) != every:
            raise ValueError(f"{name}: every must be {every!r}, as in the first group, got {group['every']!r}")
        given, unread = {**group, "beta1": betas[0], "beta2": betas[1]}, False
        if isinstance(lr, Tensor):
            if lr.numel() != 1 or not lr.is_floating_point():
                raise TypeError(f"{name}: lr must be {_EXPECTED['lr'][0]}, got {kind(lr)}")
            unread = group["capturable"] or not lr.is_cpu  # to read it would wait for the device
            given["lr"] = 0.0 if unread else lr.item()
        settings: dict[str, Any] = {key: number(f"{name}: {key}", given[key], *_EXPECTED[key]) for key in _EXPECTED}
        limits = np.finfo("d" if all(p.dtype == torch.float64 for p in group["params"]) else "f")
        if settings["eps"] <= float(limits.smallest_subnormal) / 2:
            raise ValueError(f"{name}: eps must be > 0 in {limits.dtype}, got {settings['eps']!r}, which is 0 there")
        for key in ("clip", "eps"):  # torch's clamp refuses a number that overflows in the dtype
            settings[key] = math.inf if settings[key] > float(limits.max) else settings[key]
        beta2 = settings.pop("beta2")
        return settings | ({"lr": lr.reshape(())} if unread else {}), beta2

    def _due(self) -> Tensor:
        if not self.state:
            return torch.tensor(False)
        clock = next(iter(self.state.values()))  # all show the same
        # (t - 1) mod k = 0 for the next step t; the paper's t mod k = 1 would never hold for k = 1
        return (clock["step"] % self.param_groups[0]["every"] == 0) & (clock["h_step"] <= clock["step"])

    @property
    def _capturable(self) -> bool:
        return any(group["capturable"] for group in self.param_groups)

    def _demand(self, holds: Tensor, otherwise: str) -> None:
        if self._capturable:
            torch._assert_async(holds, f"{self._name}: {otherwise}")
        elif not holds:
            raise RuntimeError(f"{self._name}: {otherwise}")

    def _initial(self, p: Tensor, capturable: bool) -> dict[str, Tensor]:
        """The state before the first step."""
        dtype, place = STATE_DTYPES[p.dtype], p.device if capturable else "cpu"
        state = {clock: torch.zeros((), dtype=torch.int64, device=place) for clock in ("step", "h_step")}
        state |= {name: torch.zeros_like(p, dtype=dtype, requires_grad=False) for name in ("m", "h")}
        return state if dtype == p.dtype else state | {"theta": p.detach().to(dtype)}

    def _entries(self, saved: dict[str, Any]) -> list[dict[str, Any]]:
        """The saved state of every parameter, in order, once it and the saved settings are known to be sound."""
        entries = []
        for group, other in zip(self.param_groups, saved["param_groups"], strict=False):  # torch compares their lengths
            # "differentiable" is a default that torch adds
            if missing := sorted(self.defaults.keys() - other.keys() - {"differentiable"}):
                raise ValueError(f"{self._name}: state_dict must hold this optimizer's settings, got no {missing[0]}")
            self._settings({**other, "params": group["params"]}, first=saved["param_groups"][0])
            entries += [saved["state"].get(key, {}) for key in other["params"]]
        for (_, name, p), entry in zip(self._named(), entries, strict=False):
            for part, fresh in self.state[p].items():
                got = entry.get(part)
                if part == "theta" and got is None:
                    continue  # saved from float32 or float64
                if not isinstance(got, Tensor) or got.shape != fresh.shape:
                    expected = f"{part} of {name} as a tensor of shape {tuple(fresh.shape)}"
                    raise ValueError(f"{self._name}: state_dict must hold {expected}, got {kind(got)}")
        return entries

    def _restore(self, entries: list[dict[str, Any]]) -> None:
        for (group, _, p), entry in zip(self._named(), entries, strict=True):
            self.state[p] = self._initial(p, group["capturable"])
            for part, fresh in self.state[p].items():
                fresh.copy_(entry.get(part, fresh))


class SophiaH(Sophia):
    """Sophia for use with `Hutchinson`. gamma = 0.01 as in the paper's experiments (from memory, not checked against a
    source)."""


class SophiaG(Sophia):
    """Sophia for use with `GNB`. gamma = 0.05 as in the paper's experiments (from memory, not checked against a
    source)."""

    def __init__(self, params: Any, lr: float | Tensor, *, gamma: float = 0.05, **settings: Any) -> None:
        super().__init__(params, lr, gamma=gamma, **settings)
