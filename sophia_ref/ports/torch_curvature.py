"""Hutchinson's and the Gauss-Newton-Bartlett estimate of a Hessian's diagonal, for `sophia_ref.ports.torch`.

Both are fed micro-batch by micro-batch and work under autocast: what they add up is float32 (float64 for float64
parameters). They differentiate with torch.autograd.grad, so that no `.grad` is touched, nor the hooks that wait for
one: models wrapped in DistributedDataParallel pass, fully sharded ones do not (see `torch_distributed`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

# What m, h and estimates of a parameter are, by its dtype.
STATE_DTYPES = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


def kind(x: Any) -> Any:
    """Shape, dtype, device and layout of a tensor; of anything else its repr. To compare, and for messages."""
    return (tuple(x.shape), x.dtype, str(x.device), x.layout) if isinstance(x, Tensor) else repr(x)


class _Estimator:
    """params: as the optimizer has them, in the order of its groups. generator: to draw from. loss_scale: what the loss
    is multiplied by while it is differentiated, as torch.amp.GradScaler does for float16; may be changed at any time.

    `total` holds a sum for each parameter that requires a gradient, `count` what it will be divided by. The ranks of a
    data-parallel run add up both before `estimate`: `sophia_ref.ports.torch_distributed.averaged`.
    """

    def __init__(
        self, params: Iterable[Tensor], *, generator: torch.Generator | None = None, loss_scale: float | Tensor = 1.0
    ) -> None:
        self.params, self.generator, self.loss_scale = list(params), generator, loss_scale
        for i, p in enumerate(self.params):
            if not isinstance(p, Tensor) or p.dtype not in STATE_DTYPES:
                expected = "a tensor of float16, bfloat16, float32 or float64"
                raise TypeError(f"{self._name}: parameter {i} must be {expected}, got {kind(p)}")
        self.total: list[Tensor] = []
        self.count: Any = 0

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _live(self, argument: str, output: Any) -> list[Tensor]:
        """The parameters that require a gradient, once output is known to have a graph."""
        if not isinstance(output, Tensor) or not output.requires_grad:
            expected = "a tensor that was computed from parameters, with gradients enabled"
            raise TypeError(f"{self._name}: {argument} must be {expected}, got {kind(output)}")
        if not isinstance(self.loss_scale, Tensor) and not 0 < self.loss_scale < math.inf:
            raise ValueError(f"{self._name}: loss_scale must be a finite number > 0, got {self.loss_scale!r}")
        live = [p for p in self.params if p.requires_grad]
        if not live:
            raise ValueError(f"{self._name}: params must hold one that requires a gradient, got none")
        return live

    def _add(self, terms: list[Tensor], count: Any) -> None:
        self.total = [a + b for a, b in zip(self.total, terms, strict=True)] if self.total else terms
        self.count = self.count + count

    def _taken(self) -> tuple[list[Tensor], Any]:
        """The sums and the count, which start anew."""
        if not self.total:
            raise RuntimeError(f"{self._name}: nothing to estimate from: add(...) must come before estimate()")
        taken = self.total, self.count
        self.total, self.count = [], 0
        return taken

    def summed(self) -> tuple[list[Tensor | None], Any]:
        """`total`, with None for a parameter that does not require a gradient, and `count`, of which the estimate is
        made. Then it starts anew.

        Raises RuntimeError if nothing was added.
        """
        total, count = self._taken()
        return self._placed(total), count

    def _placed(self, estimates: list[Tensor]) -> list[Tensor | None]:
        rest = iter(estimates)
        return [next(rest) if p.requires_grad else None for p in self.params]


class Hutchinson(_Estimator):
    """h_hat = u * (H u), u ~ N(0, I): the Sophia paper's Algorithm 1 (Hutchinson 1989). May be negative.

    >>> theta = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> hutchinson = Hutchinson([theta])
    >>> hutchinson.add((theta**3).sum(), probes=[torch.tensor([1.0, -2.0])])
    >>> hutchinson.estimate()  # the Hessian is diagonal, 6 theta, and u squared is (1, 4)
    [tensor([ 6., 48.])]
    """

    def add(self, loss: Tensor, probes: Sequence[Tensor] | None = None) -> None:
        """loss: 0-d, the mean over a micro-batch; its graph is freed. probes: u for every parameter (unread where it
        does not require a gradient), of its shape, dtype and device; drawn where None.

        Raises RuntimeError where the graph cannot be differentiated twice, as that of fused attention or of a compiled
        model. A custom function whose backward pass hides what it does from autograd cannot be told from a linear one:
        its part of H counts as zero.
        """
        live = self._live("loss", loss)
        if loss.ndim:
            raise ValueError(f"Hutchinson: loss must be 0-d, got {kind(loss)}")
        if probes is None:
            # drawn in float32 also where the parameter holds less
            drawn = (torch.empty_like(p, dtype=STATE_DTYPES[p.dtype]).normal_(generator=self.generator) for p in live)
            u = [x.to(p.dtype) for x, p in zip(drawn, live, strict=True)]
        elif len(probes) == len(self.params):
            u = [probe for probe, p in zip(probes, self.params, strict=True) if p.requires_grad]
        else:
            raise ValueError(f"Hutchinson: probes must hold {len(self.params)} tensors, got {len(probes)}")
        for p, probe in zip(live, u, strict=True):
            if kind(probe) != kind(p):
                raise ValueError(f"Hutchinson: probes must be tensors as parameters are, {kind(p)}, got {kind(probe)}")
        grads = torch.autograd.grad(loss * self.loss_scale, live, create_graph=True, materialize_grads=True)
        # a gradient without a graph is that of a parameter which the loss is linear in: its row of H is zero
        curved = [(g, v) for g, v in zip(grads, u, strict=True) if g.requires_grad]
        products = tuple(torch.zeros_like(p) for p in live)
        try:
            if curved:
                # H u = ∇ ⟨∇L, u⟩
                slopes, directions = zip(*curved, strict=True)
                _refuse_dead_ends(slopes)
                products = torch.autograd.grad(slopes, live, directions, materialize_grads=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(
                "Hutchinson: the loss cannot be differentiated twice. Fused attention has no second derivative; within "
                "torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH) it has one. A model under "
                f"torch.compile has none. PyTorch says: {error}"
            ) from error
        # ĥ = u ⊙ (H u)
        dtypes = [STATE_DTYPES[p.dtype] for p in live]
        self._add([v.to(t) * Hu.to(t) / self.loss_scale for v, Hu, t in zip(u, products, dtypes, strict=True)], 1)

    def estimate(self) -> list[Tensor | None]:
        """The mean over what was added, for every parameter (None where it does not require a gradient), as
        `update_curvature` takes it. Then it starts anew.

        Raises RuntimeError if nothing was added.
        """
        total, count = self._taken()
        return self._placed([x / count for x in total])


def _refuse_dead_ends(gradients: Iterable[Tensor]) -> None:
    """Raise RuntimeError where a function is marked as differentiable once only: autograd, asked for derivatives with
    respect to some tensors, would not go there, and so take its part for zero."""
    nodes = [gradient.grad_fn for gradient in gradients if gradient.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if type(node).__name__ == "Error":
            raise RuntimeError("a function in it is marked with once_differentiable")
        following = {n for n, _ in node.next_functions if n is not None} - seen
        nodes += following
        seen |= following


class GNB(_Estimator):
    """h_hat = B g_hat * g_hat, the Gauss-Newton-Bartlett estimator: the Sophia paper's Algorithm 2. Never negative.

    g_hat is the gradient of the mean loss over B predictions whose labels are drawn from the model itself. A prediction
    is a token of a language model, an image of a classifier, a row of a regression. `total` is the sum of gradients
    over all predictions of all micro-batches, `count` is B.

    >>> f = torch.nn.Parameter(torch.zeros(1, 2))  # logits: each of two labels has probability 1/2
    >>> gnb = GNB([f])
    >>> gnb.add(f * torch.ones(3, 1), labels=torch.tensor([0, 0, 1]))
    >>> gnb.estimate()  # the gradients are (-1/2, 1/2), twice, and (1/2, -1/2)
    [tensor([[0.0833, 0.0833]])]
    """

    def add(
        self,
        outputs: Tensor,
        mask: Tensor | None = None,
        labels: Tensor | None = None,
        likelihood: str = "categorical",
    ) -> None:
        """outputs (..., C): the model's, of one micro-batch; their graph is freed. They are logits, or for the
        "gaussian" likelihood means of labels with variance 1: the loss of a prediction is |outputs - labels|^2 / 2.
        mask (...): true where there is a prediction, `targets != -100`, say; all by default.
        labels: integers (...), or for "gaussian" numbers (..., C), instead of drawing them: to repeat a draw. True
        labels would make this the empirical Fisher, which is no curvature.

        Labels are drawn in float32 (float64 from float64 outputs) and held constant. torch.multinomial, which draws
        those of "categorical", waits for the device and raises RuntimeError where outputs are NaN or infinite.
        """
        live = self._live("outputs", outputs)
        loss, B = self._sampled(outputs, mask, labels, likelihood)
        # the mean, as in training, so that what scales that loss fits here too
        mean = loss / B
        grads = torch.autograd.grad(mean * self.loss_scale, live, materialize_grads=True)
        self._add([g.to(STATE_DTYPES[g.dtype]) / self.loss_scale * B for g in grads], B)

    def _sampled(
        self, outputs: Tensor, mask: Tensor | None, labels: Tensor | None, likelihood: str
    ) -> tuple[Tensor, int | Tensor]:
        """The sum of the losses of B predictions, and B, once what `add` was given is known to fit."""
        if outputs.ndim < 2 or not outputs.numel():
            raise ValueError(f"GNB: outputs must have shape (..., C), two axes or more, none 0, got {kind(outputs)}")
        if likelihood not in ("categorical", "gaussian"):
            raise ValueError(f"GNB: likelihood must be 'categorical' or 'gaussian', got {likelihood!r}")
        z, rows, C = outputs.to(STATE_DTYPES[outputs.dtype]), outputs.shape[:-1], outputs.shape[-1]
        whole = rows if likelihood == "categorical" else z.shape
        for name, given, shape in (("mask", mask, rows), ("labels", labels, whole)):
            if given is not None and (not isinstance(given, Tensor) or given.shape != shape):
                raise ValueError(f"GNB: {name} must be a tensor of shape {tuple(shape)}, got {kind(given)}")
        if mask is not None and mask.dtype != torch.bool:
            raise TypeError(f"GNB: mask must be bool, got {mask.dtype}")
        if likelihood == "categorical":
            if labels is None:
                # ŷ_b ~ softmax(f(θ, x_b))
                p = z.detach().softmax(-1).view(-1, C)
                labels = torch.multinomial(p, 1, generator=self.generator).view(rows)
            else:
                labels = labels if mask is None else labels.where(mask, 0)
                if labels.is_floating_point() or not ((labels >= 0) & (labels < C)).all():
                    raise ValueError(f"GNB: labels must be integers in 0..{C - 1} where mask is true, got others")
            loss = -z.log_softmax(-1).gather(-1, labels.long()[..., None])[..., 0]
        else:
            if labels is None:
                # ŷ_b ~ N(f(θ, x_b), I)
                labels = z.detach() + torch.empty_like(z).normal_(generator=self.generator)
            loss = (z - labels).square().sum(-1) / 2
        B = loss.numel() if mask is None else mask.sum()
        return (loss if mask is None else loss.where(mask, 0)).sum(), B

    def estimate(self) -> list[Tensor | None]:
        """The estimate from what was added, for every parameter (None where it does not require a gradient), as
        `update_curvature` takes it. Then it starts anew.

        Raises RuntimeError if nothing was added, or every position was masked. On a GPU nobody waits to see the latter:
        the estimate is NaN there.
        """
        total, B = self._taken()
        if (not isinstance(B, Tensor) or B.is_cpu) and B == 0:
            raise RuntimeError("GNB: no prediction to estimate from: every position was masked")
        # ĝ = total / B,  ĥ = B ĝ ⊙ ĝ
        return self._placed([g * g / B for g in total])
