"""Sophia where every rank has a part of the batch: under DistributedDataParallel, and under FSDP2, whose
`torch.distributed.fsdp.fully_shard` gives every rank a shard of each parameter.

    check_agreement(model, **settings)  # before the model is wrapped
    fully_shard(model)  # or model = DistributedDataParallel(model); on CPUs beside GPUs, with a mesh of "cpu"
    opt = SophiaG(model.parameters(), lr=1e-3, weight_decay=0.2)
    gnb = EngineGNB(model.parameters())
    for t, (x, y) in enumerate(batches):  # micro-batches by their numbers in the whole batch
        opt.zero_grad()  # first, as the estimate passes through gradients too
        if opt.curvature_due:
            for i in own_parts(len(x)):
                gnb.generator = stream(seed, t, i)
                gnb.add(model(x[i]))
            opt.update_curvature(gnb.estimate())
        ...

The optimizer itself acts on each coordinate alone, so it does not know of ranks. What must know is the estimate.

GNB squares the gradient of the mean over all B predictions of all ranks. So gradients are averaged first and squared
once, and B is the global count of what is not masked. Squares of each rank's gradient would be N times too large with
that B, where there are N ranks, and so could be estimates from labels that all ranks have in common. Hutchinson's
u * (H u) is linear in H: each rank takes the product for its own part with a probe of its own, and the mean is taken.

All ranks of the default process group are data-parallel here. torch.distributed moves the numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial

from sophia_ref.optimizers.base import integer
from sophia_ref.ports.torch import Sophia
from sophia_ref.ports.torch_curvature import GNB, STATE_DTYPES, Hutchinson

__all__ = ["EngineGNB", "averaged", "check_agreement", "own_parts", "stream", "unclipped", "whole"]


def check_agreement(model: torch.nn.Module, /, **settings: Any) -> None:
    """Raise ValueError, on all ranks, where they disagree about the parameters of a model that is not wrapped yet
    (names, shapes, dtypes), or about settings (compared by their repr): the first of them, with its values by rank.

    Without this, ranks that differ hang in each other's collectives, or train, each its own model, in silence.
    """
    parameters = {f"parameter {name!r}": f"{tuple(p.shape)} {p.dtype}" for name, p in model.named_parameters()}
    here = {name: repr(value) for name, value in settings.items()} | parameters
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, here)
    for name in dict.fromkeys(chain(*everywhere)):
        ranks: dict[str, list[int]] = {}
        for rank, there in enumerate(everywhere):
            ranks.setdefault(there.get(name, "not there"), []).append(rank)
        if len(ranks) > 1:
            values = "; ".join(f"{value} on {', '.join(map(str, found))}" for value, found in ranks.items())
            raise ValueError(f"ranks must agree on {name}, got, by rank: {values}")


def own_parts(parts: int) -> range:
    """The numbers of this rank's micro-batches, where a batch has `parts` of them, all of one size.

    Raises ValueError unless the world size divides parts: ranks without an equal share would wait for the others.
    """
    share, rest = divmod(integer("own_parts: parts", parts, 1), dist.get_world_size())
    if rest:
        raise ValueError(f"own_parts: parts must be a multiple of the world size, {dist.get_world_size()}, got {parts}")
    return range(dist.get_rank() * share, (dist.get_rank() + 1) * share)


def stream(seed: int, step: int, part: int, device: Any = "cpu") -> torch.Generator:
    """A generator for the labels or the probe of micro-batch number `part` of the whole batch at a step.

    Streams of other seeds, steps or parts are independent (numpy.random.SeedSequence), so those of ranks are. One is
    the same on whichever rank it is made: an estimate does not depend on the world size, nor on where a run resumed.
    """
    place = integer("stream: step", step, 0), integer("stream: part", part, 0)
    state = np.random.SeedSequence(integer("stream: seed", seed, 0), spawn_key=place).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(state[0]))


class EngineGNB(GNB):
    """h_hat = B g_hat * g_hat by the backward pass of DistributedDataParallel or fully_shard, which averages gradients
    over ranks into `.grad`. There it costs what a gradient costs, in memory and on the network too.

    params: those of the wrapped model, all with `.grad` None until `estimate`, which leaves them so. As in training,
    micro-batches but the last may come with `no_sync()`, or `set_requires_gradient_sync(False)`.
    """

    def add(
        self,
        outputs: Tensor,
        mask: Tensor | None = None,
        labels: Tensor | None = None,
        likelihood: str = "categorical",
    ) -> None:
        """As in `GNB`, and outputs must come from the wrapped model. A rank may have its part all masked, but it must
        add as often as the others.

        Raises RuntimeError, before the first pass, if a parameter has a gradient already.
        """
        self._live("outputs", outputs)
        if not isinstance(self.count, Tensor) and any(p.grad is not None for p in self.params):
            raise RuntimeError("EngineGNB: gradients must be None before the first add: zero_grad() must come first")
        loss, B = self._sampled(outputs, mask, labels, likelihood)
        # the sum, as ranks have other counts; divided by B when all is there
        (loss * self.loss_scale).backward()
        self.count = self.count + torch.as_tensor(B, device=loss.device)

    def estimate(self) -> list[Tensor | None]:
        """As in `GNB`, the same on all ranks, each parameter's in shards as the parameter is. All must call it."""
        if isinstance(self.count, Tensor):
            live = [p for p in self.params if p.requires_grad]
            # what the engine has divided by the world size
            scale = dist.get_world_size() / self.loss_scale
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in live]
            self.total = [g.to(STATE_DTYPES[g.dtype]) * scale for g in grads]
            self.count = _over_ranks(self.count)
            for p in live:
                p.grad = None
        return super().estimate()


def averaged(estimator: GNB | Hutchinson, params: Iterable[Tensor]) -> list[Tensor | None]:
    """`estimator.estimate()` from what all ranks have added, the same on all; all must call it.

    params: those of the optimizer. What the estimator was made of may be these themselves, or the `whole` ones of a
    sharded model; the result is in shards as params are. `Hutchinson` takes a mean over micro-batches, each with its
    mean loss. Where ranks or micro-batches have other numbers n of unmasked predictions, of N in all of M
    micro-batches, the losses to add are the sums times M / N.

    Raises ValueError if params do not fit, RuntimeError if nothing was added.
    """
    if not estimator.total:
        return estimator.estimate()  # which says so
    live, own = ([p for p in of if p.requires_grad] for of in (params, estimator.params))
    if [p.shape for p in live] != [p.shape for p in own]:
        raise ValueError("averaged: params must be those of the estimator, in its order, got others")
    estimator.count = _over_ranks(torch.as_tensor(estimator.count, device=own[0].device))
    for i, (term, p) in enumerate(zip(estimator.total, live, strict=True)):
        if isinstance(p, DTensor):
            parts = DTensor.from_local(term, p.device_mesh, [Partial()] * p.device_mesh.ndim, run_check=False)
            estimator.total[i] = parts.redistribute(placements=p.placements)
        else:
            estimator.total[i] = term.contiguous()
            dist.all_reduce(estimator.total[i])
    return estimator.estimate()


def whole(model: torch.nn.Module) -> dict[str, Tensor]:
    """The parameters of a model by name, sharded ones gathered from all ranks, for torch.func.functional_call.

    Hutchinson differentiates twice, and the passes of `fully_shard` can be differentiated once only. So its loss is
    that of a twin of the model that was never sharded, made under torch.device("meta"), say:

        params = whole(model)
        hutchinson = Hutchinson(params.values())
        hutchinson.add(cross_entropy(functional_call(twin, params, x), y))
        opt.update_curvature(averaged(hutchinson, model.parameters()))

    This needs room for whole parameters and for three more of their size, on every rank, while it estimates. All ranks
    must call it.
    """
    return {
        name: p.full_tensor().detach().requires_grad_(p.requires_grad) if isinstance(p, DTensor) else p
        for name, p in model.named_parameters()
    }


@torch.no_grad()
def unclipped(opt: Sophia) -> float:
    """The share of coordinates whose ratio m / max(gamma h, eps) was within the clip in the last step, of all shards.

    The paper's rule for gamma is that this be 0.1 to 0.5 (from memory, not checked). All ranks must call it.
    """
    counts: Any = 0
    for group in opt.param_groups:
        for p in group["params"]:
            m, h = (x.to_local() if isinstance(x, DTensor) else x for x in (opt.state[p]["m"], opt.state[p]["h"]))
            inside = (m / (h * group["gamma"]).clamp(min=group["eps"])).abs() < group["clip"]
            counts = counts + torch.stack([inside.sum(), torch.ones_like(inside).sum()])
    dist.all_reduce(counts)
    within, of = counts.tolist()
    return float(within / of)


def _over_ranks(count: Tensor) -> int:
    count = count.clone()
    dist.all_reduce(count)
    return int(count)
