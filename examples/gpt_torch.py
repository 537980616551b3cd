"""toy_problems.transformer.TinyGPT as a PyTorch module: the same weights, in the same order and shapes."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GPT(nn.Module):
    """model: a TinyGPT. theta: (P,), copied, tensor by tensor as the model's layout has them. fused: whether attention
    is PyTorch's fused one, which has no second derivative.

    `parameters()` come in the order of the layout, so that theta is these, laid end to end.
    """

    def __init__(self, model: Any, theta: Any, fused: bool = False) -> None:
        super().__init__()
        self.heads, self.fused = model.heads, fused
        weights = {name: nn.Parameter(torch.tensor(w)) for name, w in model.layout.unpack(theta).items()}
        self.words, self.positions = weights["words"], weights["positions"]
        self.blocks = nn.ModuleList(Block(weights, i) for i in range(model.layers))
        self.last = Norm(weights["gain"])  # a module: of these, `parameters()` has a module's own first

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        x = F.embedding(tokens, self.words) + self.positions[: tokens.shape[1]]  # (B, T) -> (B, T, D)
        for block in self.blocks:
            x = block(x, self.heads, self.fused)  # (B, T, D) -> (B, T, D)
        return self.last(x) @ self.words.T  # (B, T, D) -> (B, T, V), tied to the embedding


class Block(nn.Module):
    """Attention and MLP, number i of the model whose weights these are, by their names in the layout."""

    def __init__(self, weights: dict[str, nn.Parameter], i: int) -> None:
        super().__init__()
        for part in ("attention", "mlp"):
            for name in ("gain", "in", "out"):
                self.register_parameter(f"{part}_{name}", weights[f"{i}.{part}.{name}"])  # PyTorch's names have no dots

    def forward(self, x: Tensor, heads: int, fused: bool) -> Tensor:
        """x (B, T, D) -> (B, T, D)"""
        qkv = norm(x, self.attention_gain) @ self.attention_in  # (B, T, D) -> (B, T, 3D)
        x = x + attention(qkv, heads, fused) @ self.attention_out  # (B, T, 3D) -> (B, T, D)
        hidden = F.gelu(norm(x, self.mlp_gain) @ self.mlp_in, approximate="tanh")  # (B, T, D) -> (B, T, 4D)
        return x + hidden @ self.mlp_out  # (B, T, 4D) -> (B, T, D)


class Norm(nn.Module):
    def __init__(self, gain: nn.Parameter) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        return norm(x, self.gain)


def attention(qkv: Tensor, heads: int, fused: bool) -> Tensor:
    """qkv (B, T, 3D) -> (B, T, D), causal"""
    batch, time, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    # 3 of (B, H, T, d)
    q, k, v = (a.view(batch, time, heads, -1).transpose(1, 2) for a in qkv.split(width, dim=-1))
    if fused:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        later = torch.full((time, time), -math.inf, dtype=q.dtype, device=q.device).triu(1)
        y = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) + later).softmax(-1) @ v  # (B, H, T, d)
    return y.transpose(1, 2).reshape(batch, time, width)


def norm(x: Tensor, gain: Tensor) -> Tensor:
    return F.layer_norm(x, gain.shape, gain)
