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
        self.heads, self.layers, self.fused = model.heads, model.layers, fused
        self.weights = nn.ParameterDict()  # made of a dict it would be sorted
        for name, weight in model.layout.unpack(theta).items():
            self.weights[name.replace(".", "_")] = torch.tensor(weight)  # names of PyTorch have no dots

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> logits (B, T, V)"""
        w = self.weights
        x = F.embedding(tokens, w["words"]) + w["positions"][: tokens.shape[1]]  # (B, T) -> (B, T, D)
        for i in range(self.layers):
            qkv = norm(x, w[f"{i}_attention_gain"]) @ w[f"{i}_attention_in"]  # (B, T, D) -> (B, T, 3D)
            x = x + self.attention(qkv) @ w[f"{i}_attention_out"]  # (B, T, 3D) -> (B, T, D)
            hidden = F.gelu(norm(x, w[f"{i}_mlp_gain"]) @ w[f"{i}_mlp_in"], approximate="tanh")  # (B, T, 4D)
            x = x + hidden @ w[f"{i}_mlp_out"]  # (B, T, 4D) -> (B, T, D)
        return norm(x, w["gain"]) @ w["words"].T  # (B, T, D) -> (B, T, V), tied to the embedding

    def attention(self, qkv: Tensor) -> Tensor:
        """qkv (B, T, 3D) -> (B, T, D), causal"""
        batch, time, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
        # 3 of (B, H, T, d)
        q, k, v = (a.view(batch, time, self.heads, -1).transpose(1, 2) for a in qkv.split(width, dim=-1))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            later = torch.full((time, time), -math.inf, dtype=q.dtype, device=q.device).triu(1)
            y = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) + later).softmax(-1) @ v  # (B, H, T, d)
        return y.transpose(1, 2).reshape(batch, time, width)


def norm(x: Tensor, gain: Tensor) -> Tensor:
    return F.layer_norm(x, gain.shape, gain)
