"""Sophia's step as one kernel in Triton, which reads and writes each array once: a step cannot do with less.

Six passes over P numbers (theta, m, h, g in; theta, m out) are 24 bytes a float32 parameter. The rule is that of
`sophia_ref.sophia_update`, line by line. Without a GPU the kernel runs in Triton's interpreter, slowly, where the tests
find the same bits: set TRITON_INTERPRET=1 before this module is imported. On a GPU this repository has not run it yet;
what the interpreter cannot show is that a GPU's maximum drops NaN unless it is told not to.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # numbers that one program of the kernel takes


@triton.jit
def sophia_kernel(
    theta_at: tl.tensor, m_at: tl.tensor, h_at: tl.tensor, g_at: tl.tensor, settings_at: tl.tensor, size: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    """BLOCK coordinates of one parameter. settings: lr, lr * weight_decay, beta1, 1 - beta1, gamma, clip, eps."""
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < size
    theta, m = tl.load(theta_at + i, inside), tl.load(m_at + i, inside)
    h, g = tl.load(h_at + i, inside), tl.load(g_at + i, inside)
    kind = theta.dtype
    lr, decay = tl.load(settings_at).to(kind), tl.load(settings_at + 1).to(kind)
    beta1, rest = tl.load(settings_at + 2).to(kind), tl.load(settings_at + 3).to(kind)
    gamma, clip = tl.load(settings_at + 4).to(kind), tl.load(settings_at + 5).to(kind)
    eps = tl.load(settings_at + 6).to(kind)
    # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    m = beta1 * m + rest * g
    # m_t / max(γ h_t, ε); NaN goes through, as it does in NumPy
    ratio = m / tl.maximum(gamma * h, eps, propagate_nan=tl.PropagateNan.ALL)
    # clip(z, ρ) = max(min(z, ρ), -ρ),  ρ = 1
    update = tl.minimum(ratio, clip, propagate_nan=tl.PropagateNan.ALL)
    update = tl.maximum(update, -clip, propagate_nan=tl.PropagateNan.ALL)
    # θ_t ← θ_t - η_t λ θ_t
    theta = theta - decay * theta
    # θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), 1)
    theta = theta - lr * update
    tl.store(m_at + i, m, inside)
    tl.store(theta_at + i, theta, inside)


def update_triton(
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
    """`sophia_ref.ports.torch.update_foreach` by the kernel: theta and m change in place. g may lie in theta's memory.

    lr may be a tensor on the device, which is then not waited for. Arrays that are not contiguous are copied first.
    """
    where = theta[0].device
    rate = torch.as_tensor(lr, dtype=torch.float64, device=where).reshape(1)
    rest = torch.tensor([beta1, 1 - beta1, gamma, clip, eps], dtype=torch.float64).to(where, non_blocking=True)
    settings = torch.cat([rate, rate * weight_decay, rest])
    for x, mean, curvature, gradient in zip(theta, m, h, g, strict=True):
        outs = [a.contiguous() for a in (x, mean)]
        ins = [a.contiguous() for a in (curvature, gradient)]
        sophia_kernel[(triton.cdiv(x.numel(), BLOCK),)](*outs, *ins, settings, x.numel(), BLOCK=BLOCK)
        for a, out in zip((x, mean), outs, strict=True):
            if out is not a:
                a.copy_(out)
