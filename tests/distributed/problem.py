"""A small model and its data, and what one process makes of them: the numbers that ranks must arrive at.

Labels and probes are given, by step and by micro-batch of the whole batch, so that they do not depend on who draws.
"""

from functools import cache

import numpy as np
import torch
from torch import nn

from sophia_ref.ports.torch import GNB, Sophia

ROWS, TOKENS, INPUTS, CLASSES = 24, 2, 5, 3  # a batch: (24, 2, 5) -> labels (24, 2)
STEPS, EVERY = 7, 3
SETTINGS = dict(lr=0.01, betas=(0.9, 0.8), gamma=0.5, weight_decay=0.1, every=EVERY)
RNG = np.random.default_rng(7)
X = RNG.normal(size=(STEPS, ROWS, TOKENS, INPUTS))
Y, DRAWN = RNG.integers(CLASSES, size=(2, STEPS, ROWS, TOKENS))
MASKS = {
    "all": np.ones((ROWS, TOKENS), bool),
    "unequal": RNG.random((ROWS, TOKENS)) < np.linspace(0.1, 1, ROWS)[:, None],
    "none-on-rank-0": np.repeat(np.arange(ROWS) >= ROWS // 2, TOKENS).reshape(ROWS, TOKENS),
}


def net(dtype=torch.float64):
    """Shapes that no world size divides."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, 7), nn.Tanh(), nn.Linear(7, CLASSES)).to(dtype)


def probes(params, step, part):
    rng = np.random.default_rng((step, part))
    return [torch.tensor(rng.normal(size=p.shape), dtype=p.dtype) for p in params]


def losses(outputs, labels):
    """outputs (..., C), labels (...) -> losses (...)"""
    return -outputs.log_softmax(-1).gather(-1, labels[..., None])[..., 0]


def flat(tensors):
    return torch.cat([x.detach().reshape(-1) for x in tensors]).clone()


@cache
def train(method, mask, parts, dtype=torch.float64):
    """One process, the whole batch at once: theta after each step (STEPS, P), the estimates (., P), and the share of
    coordinates that are not clipped at last."""
    model, kept, thetas, estimates = net(dtype), torch.tensor(MASKS[mask]), [], []
    params = list(model.parameters())
    opt, gnb = Sophia(params, **SETTINGS), GNB(params)
    for t in range(STEPS):
        x, y = torch.tensor(X[t], dtype=dtype), torch.tensor(Y[t])
        if t % EVERY == 0:
            if method == "G":
                gnb.add(model(x), kept, torch.tensor(DRAWN[t]))
                estimate = gnb.estimate()
            else:
                estimate = by_whole_hessians(model, x, y, kept, t, parts)
            opt.update_curvature(estimate)
            estimates.append(flat(estimate))
        opt.zero_grad()
        (losses(model(x), y)[kept].sum() / kept.sum()).backward()
        opt.step()
        thetas.append(flat(params))
    m, h = (flat(opt.state[p][name] for p in params).numpy() for name in "mh")
    share = np.mean(np.abs(m / np.maximum(SETTINGS["gamma"] * h, 1e-12)) < 1)
    return torch.stack(thetas), torch.stack(estimates), share


def by_whole_hessians(model, x, y, kept, t, parts):
    """The mean over micro-batches of u * (H u), each with a Hessian written out in full, (P, P)."""
    names, params = zip(*model.named_parameters(), strict=True)
    sizes, shapes = [p.numel() for p in params], [p.shape for p in params]
    theta, total = flat(params), 0

    for part, rows in enumerate(np.arange(ROWS).reshape(parts, -1)):

        def loss(theta, rows=rows):
            tensors = (w.view(shape) for w, shape in zip(theta.split(sizes), shapes, strict=True))
            outputs = torch.func.functional_call(model, dict(zip(names, tensors, strict=True)), x[rows])
            return (losses(outputs, y[rows]) * kept[rows]).sum() * parts / kept.sum()

        u = flat(probes(params, t, part))
        total = total + u * (torch.func.hessian(loss)(theta) @ u)
    return [w.view(shape) for w, shape in zip((total / parts).split(sizes), shapes, strict=True)]
