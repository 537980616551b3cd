"""Writes tiny_gpt_torch.json: a tiny GPT's loss, logits, gradient and HVP in float64. Run: python record_tiny_gpt.py

Needs PyTorch, which the tests do not. Arrays are little-endian, in base64. The weights lie in theta in the order of
GPT-2's forward pass; a matrix of PyTorch maps columns, y = W x, and so is the transpose of ours.
"""

import base64
import json
import math
from pathlib import Path

import numpy as np

VOCAB, CONTEXT, WIDTH, HEADS, LAYERS = 11, 6, 8, 2, 2
BATCH, TIME = 3, 5  # shorter than the context
MASKED = [(0, 2), (2, 4)]  # targets that are ignored


def base64_of(array, dtype):
    return base64.b64encode(np.asarray(array, dtype).tobytes()).decode()


def logits_of(theta, tokens):
    import torch
    from torch.nn import functional as F

    start = 0

    def take(*shape):
        nonlocal start
        start += math.prod(shape)
        return theta[start - math.prod(shape) : start].view(shape)

    def gain(x):
        return F.layer_norm(x, (WIDTH,), weight=take(WIDTH))

    def linear(x, width):
        return F.linear(x, take(x.shape[-1], width).T)

    words, positions = take(VOCAB, WIDTH), take(CONTEXT, WIDTH)
    x = F.embedding(tokens, words) + positions[:TIME]
    later = torch.ones(TIME, TIME, dtype=torch.bool).triu(1)
    for _ in range(LAYERS):
        qkv = linear(gain(x), 3 * WIDTH)
        q, k, v = (a.view(BATCH, TIME, HEADS, WIDTH // HEADS).transpose(1, 2) for a in qkv.split(WIDTH, dim=-1))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(WIDTH // HEADS)
        y = scores.masked_fill(later, -math.inf).softmax(-1) @ v
        x = x + linear(y.transpose(1, 2).reshape(BATCH, TIME, WIDTH), WIDTH)
        x = x + linear(F.gelu(linear(gain(x), 4 * WIDTH), approximate="tanh"), WIDTH)
    logits = F.linear(gain(x), words)
    assert start == len(theta)
    return logits


def main():
    import torch

    size = VOCAB * WIDTH + CONTEXT * WIDTH + LAYERS * (2 * WIDTH + 12 * WIDTH**2) + WIDTH
    rng = np.random.default_rng(11)
    theta = (0.4 * rng.standard_normal(size)).astype(np.float32)  # exact in float64, and short to write
    v = rng.standard_normal(size).astype(np.float32)
    tokens = rng.integers(VOCAB, size=(BATCH, TIME))
    targets = rng.integers(VOCAB, size=(BATCH, TIME))
    for place in MASKED:
        targets[place] = -1

    x = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
    logits = logits_of(x, torch.tensor(tokens))
    flat = logits.view(-1, VOCAB)
    loss = torch.nn.functional.cross_entropy(flat, torch.tensor(targets).view(-1), ignore_index=-1)
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    (hvp,) = torch.autograd.grad(grad @ torch.tensor(v, dtype=torch.float64), x)

    recorded = {
        "source": f"PyTorch {torch.__version__}, NumPy {np.__version__}, recorded by record_tiny_gpt.py",
        "model": {"vocab": VOCAB, "context": CONTEXT, "width": WIDTH, "heads": HEADS, "layers": LAYERS},
        "tokens": tokens.tolist(),
        "targets": targets.tolist(),
        "theta": base64_of(theta, "<f4"),
        "v": base64_of(v, "<f4"),
        "loss": loss.item().hex(),
        "logits": base64_of(logits.detach(), "<f8"),
        "grad": base64_of(grad.detach(), "<f8"),
        "hvp": base64_of(hvp, "<f8"),
    }
    Path(__file__).with_name("tiny_gpt_torch.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
