"""The tiny GPT trained by Sophia in PyTorch, beside the same training in NumPy.

    python examples/train_torch.py [--steps 20] [--output out/train_torch.png]

Sophia-H and Sophia-G, 200 steps in float32 and 50 in float64, from the same weights, on the same batches, with the same
labels and probes. It prints how far the losses are apart, draws both, and fails where they are further apart than
beside_numpy.py allows. The training loop is what one would write for a large model, gradients and curvature gathered
over micro-batches; only labels and probes would be drawn by `GNB` and `Hutchinson` themselves.
"""

from collections.abc import Iterator

import beside_numpy
import torch
from gpt_torch import GPT
from torch import Tensor
from torch.nn.functional import cross_entropy

from sophia_ref.ports.torch import GNB, Hutchinson, Sophia

MICRO_BATCHES = 2


def train(recorded: beside_numpy.Recorded) -> Iterator[float]:
    gpt = GPT(recorded.model, recorded.theta0)
    params = list(gpt.parameters())
    gnb, hutchinson = GNB(params), Hutchinson(params)
    s = dict(beside_numpy.SETTINGS)
    opt = Sophia(params, lr=0.0, betas=(s.pop("beta1"), s.pop("beta2")), **s)

    def loss(tokens: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(gpt(tokens).flatten(0, 1), targets.flatten())

    for (tokens, targets), drawn, rate in zip(recorded.batches[:-1], recorded.drawn, recorded.rates, strict=True):
        parts = list(zip(halves(tokens), halves(targets), strict=True))
        if opt.curvature_due:
            if recorded.method == "SophiaG":
                for (part, _), labels in zip(parts, halves(drawn), strict=True):
                    gnb.add(gpt(part), labels=labels)
                opt.update_curvature(gnb.estimate())
            else:
                probes = [torch.tensor(u) for u in recorded.model.layout.unpack(drawn).values()]
                for part in parts:
                    hutchinson.add(loss(*part), probes)
                opt.update_curvature(hutchinson.estimate())
        opt.zero_grad()
        value = 0.0
        for part in parts:
            share = loss(*part) / MICRO_BATCHES
            share.backward()
            value += share.item()
        clip_gradients(params, beside_numpy.CLIP_NORM)
        opt.param_groups[0]["lr"] = float(rate)
        opt.step()
        yield value
    with torch.no_grad():
        yield loss(*map(torch.tensor, recorded.batches[-1])).item()


def halves(x) -> tuple[Tensor, ...]:
    return torch.tensor(x).chunk(MICRO_BATCHES)


def clip_gradients(params: list[Tensor], most: float) -> None:
    """g <- g min(1, most / |g|). torch's clip_grad_norm_ adds 1e-6 to |g|, which a comparison to 1e-9 would see."""
    grads = [p.grad for p in params]
    torch._foreach_mul_(grads, (most / torch.nn.utils.get_total_norm(grads)).clamp(max=1.0))


if __name__ == "__main__":
    torch.set_num_threads(1)  # as many as such small matrices can use
    beside_numpy.main("torch", train, __doc__)
