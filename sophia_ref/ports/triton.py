"""Sophia's step and the renewal of its h in Triton, each in one launch for all parameters and one pass over its arrays.

A step reads theta, m, h and g and writes theta and m, six passes over P numbers: 24 bytes a float32 parameter. Renewing
h reads h and an estimate and writes h: 12 bytes. Neither can do with less. A GPT-2 has some 150 tensors, and to launch
a kernel for each would take longer than the small ones themselves; so a program of the kernel finds out from a table
which tensor it works on and from where, a chunk of CHUNK numbers, as in the foreach functions of PyTorch and in apex.

`sophia_ref.ports.torch.Sophia(..., fused=True)` computes so on a GPU; `Sophia` here is that one by a name of its own,
for `sophia-ref conform torch:sophia_ref.ports.triton.Sophia --device cuda`.

The rules are those of `sophia_ref.sophia_update` and `sophia_ref.Sophia`, line by line and rounding by rounding: no
product is fused with a sum, and quotients are rounded correctly. So the bits are NumPy's. That is tested in Triton's
interpreter (TRITON_INTERPRET=1 before this module is imported), and in the code for sm_90 that the compiler makes of
the kernels. On a GPU this repository has not run them: none was to be had.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from sophia_ref.ports import torch as port
from sophia_ref.ports.torch import GNB, Hutchinson

__all__ = ["GNB", "Hutchinson", "Sophia", "renew_triton", "update_triton"]

BLOCK = 1024  # numbers that a program takes at a time
CHUNK = 8 * BLOCK  # numbers that it takes in all: a table of 15,000 chunks for GPT-2 small, 30 kB
KINDS = {torch.float32: tl.float32, torch.float64: tl.float64}


# -- the table ---------------------------------------------------------------------------------------------------------
# owners (chunks,): whose chunk it is. tensors (2 + arrays, n): sizes, the numbers of their first chunks, and addresses.


@triton.jit
def my_chunk(owners_at: tl.tensor, tensors_at: tl.tensor, n: tl.tensor, CHUNK: tl.constexpr) -> tuple[tl.tensor, ...]:
    """(where in the table this program's tensor stands, the first number of its chunk, the tensor's size)."""
    entry = tensors_at + tl.load(owners_at + tl.program_id(0))
    return entry, (tl.program_id(0) - tl.load(entry + n)) * CHUNK, tl.load(entry)


@triton.jit
def my_array(entry: tl.tensor, n: tl.tensor, row: tl.constexpr, KIND: tl.constexpr, ALIGNED: tl.constexpr) -> tl.tensor:
    """The address of this program's tensor in one of the arrays."""
    at = tl.load(entry + (2 + row) * n).to(tl.pointer_type(KIND))
    return tl.multiple_of(at, 16) if ALIGNED else at  # 16 bytes are then loaded at once


@triton.jit
def quotient(a: tl.tensor, b: tl.tensor) -> tl.tensor:
    """a / b, correctly rounded; Triton's own / is not in float32."""
    return tl.div_rn(a, b) if a.dtype == tl.float32 else a / b


# -- the step ----------------------------------------------------------------------------------------------------------


@triton.jit
def sophia_block(
    theta_at: tl.tensor, m_at: tl.tensor, h_at: tl.tensor, g_at: tl.tensor, i: tl.tensor, inside: tl.tensor,
    rate_at: tl.tensor, settings_at: tl.tensor,
) -> None:  # fmt: skip
    """The coordinates i of one parameter. rate: lr. settings: weight_decay, beta1, 1 - beta1, gamma, clip, eps."""
    theta, m = tl.load(theta_at + i, inside), tl.load(m_at + i, inside)
    h, g = tl.load(h_at + i, inside), tl.load(g_at + i, inside)
    kind = theta.dtype
    lr, decay = tl.load(rate_at).to(kind), (tl.load(rate_at) * tl.load(settings_at)).to(kind)
    beta1, rest = tl.load(settings_at + 1).to(kind), tl.load(settings_at + 2).to(kind)
    gamma, clip = tl.load(settings_at + 3).to(kind), tl.load(settings_at + 4).to(kind)
    eps = tl.load(settings_at + 5).to(kind)
    # m_t = β₁ m_{t-1} + (1 - β₁) g_t
    m = beta1 * m + rest * g
    # m_t / max(γ h_t, ε); NaN goes through, as it does in NumPy
    ratio = quotient(m, tl.maximum(gamma * h, eps, propagate_nan=tl.PropagateNan.ALL))
    # clip(z, ρ) = max(min(z, ρ), -ρ),  ρ = 1
    update = tl.minimum(ratio, clip, propagate_nan=tl.PropagateNan.ALL)
    update = tl.maximum(update, -clip, propagate_nan=tl.PropagateNan.ALL)
    # θ_t ← θ_t - η_t λ θ_t
    theta = theta - decay * theta
    # θ_{t+1} = θ_t - η_t clip(m_t / max(γ h_t, ε), 1)
    theta = theta - lr * update
    tl.store(m_at + i, m, inside)
    tl.store(theta_at + i, theta, inside)


@triton.jit
def sophia_kernel(
    owners_at: tl.tensor, tensors_at: tl.tensor, n: tl.tensor, rate_at: tl.tensor, settings_at: tl.tensor,
    KIND: tl.constexpr, ALIGNED: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
) -> None:  # fmt: skip
    entry, first, size = my_chunk(owners_at, tensors_at, n, CHUNK)
    theta_at, m_at = my_array(entry, n, 0, KIND, ALIGNED), my_array(entry, n, 1, KIND, ALIGNED)
    h_at, g_at = my_array(entry, n, 2, KIND, ALIGNED), my_array(entry, n, 3, KIND, ALIGNED)
    for start in range(0, CHUNK, BLOCK):
        i = first + start + tl.arange(0, BLOCK)
        if first + start + BLOCK <= size:  # without a mask, which would part what is loaded at once
            sophia_block(theta_at, m_at, h_at, g_at, i, None, rate_at, settings_at)
        else:
            sophia_block(theta_at, m_at, h_at, g_at, i, i < size, rate_at, settings_at)


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
    """`sophia_ref.ports.torch.update_foreach` by one launch of the kernel: theta and m change in place. g may lie in
    theta's memory.

    lr may be a tensor on the device, which is then not waited for. Tensors of several devices, or of float32 and
    float64, are a launch each. Arrays that are not contiguous are copied first.
    """
    theta, m, h, g = map(_local, (theta, m, h, g))
    for some in _alike(theta):
        where = theta[some[0]].device
        settings = _settings((weight_decay, beta1, 1 - beta1, gamma, clip, eps), where)
        _launch(
            sophia_kernel, [[array[i] for i in some] for array in (theta, m, h, g)], 2, _number(lr, where), settings
        )


# -- the renewal of h --------------------------------------------------------------------------------------------------


@triton.jit
def renewal_block(
    h_at: tl.tensor, a_at: tl.tensor, b_at: tl.tensor, i: tl.tensor, inside: tl.tensor, count_at: tl.tensor,
    settings_at: tl.tensor, FACTORS: tl.constexpr, SQUARE: tl.constexpr,
) -> None:  # fmt: skip
    """The coordinates i of one parameter. settings: beta2, 1 - beta2."""
    h, h_hat = tl.load(h_at + i, inside), tl.load(a_at + i, inside)
    kind = h.dtype
    beta2, rest = tl.load(settings_at).to(kind), tl.load(settings_at + 1).to(kind)
    # ĥ = a ⊙ b / count
    if SQUARE:
        h_hat = h_hat * h_hat
    elif FACTORS == 2:
        h_hat = h_hat * tl.load(b_at + i, inside)
    h_hat = quotient(h_hat, tl.load(count_at).to(kind))
    # h_t = β₂ h_{t-k} + (1 - β₂) ĥ_t
    h = beta2 * h + rest * h_hat
    tl.store(h_at + i, h, inside)


@triton.jit
def renewal_kernel(
    owners_at: tl.tensor, tensors_at: tl.tensor, n: tl.tensor, count_at: tl.tensor, settings_at: tl.tensor,
    KIND: tl.constexpr, ALIGNED: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
    FACTORS: tl.constexpr, SQUARE: tl.constexpr,
) -> None:  # fmt: skip
    entry, first, size = my_chunk(owners_at, tensors_at, n, CHUNK)
    h_at, a_at = my_array(entry, n, 0, KIND, ALIGNED), my_array(entry, n, 1, KIND, ALIGNED)
    b_at = my_array(entry, n, FACTORS, KIND, ALIGNED)
    for start in range(0, CHUNK, BLOCK):
        i = first + start + tl.arange(0, BLOCK)
        if first + start + BLOCK <= size:
            renewal_block(h_at, a_at, b_at, i, None, count_at, settings_at, FACTORS, SQUARE)
        else:
            renewal_block(h_at, a_at, b_at, i, i < size, count_at, settings_at, FACTORS, SQUARE)


def renew_triton(
    h: list[Tensor],
    a: list[Tensor],
    b: list[Tensor] | None = None,
    *,
    beta2: float,
    count: float | Tensor = 1.0,
) -> None:
    """h = beta2 h + (1 - beta2) a * b / count in one launch: h changes in place, and the estimate is never written.

    Without b, a / count is the estimate itself: of Hutchinson's products u * (H u), the sum of count of them. With b:
    u and H u. Where a and b are the same list it is read once: for Gauss-Newton-Bartlett, ĥ = B ĝ ⊙ ĝ, a is B ĝ, the
    gradient's sum over B predictions, and count is B. All have shape, dtype and device of h; count may be a tensor on
    the device.
    """
    square = b is a
    h, *factors = map(_local, (h, a) if b is None or square else (h, a, b))
    for some in _alike(h):
        where = h[some[0]].device
        arrays = [[array[i] for i in some] for array in (h, *factors)]
        settings = _settings((beta2, 1 - beta2), where)
        _launch(renewal_kernel, arrays, 1, _number(count, where), settings, FACTORS=len(factors), SQUARE=square)


# -- launching ---------------------------------------------------------------------------------------------------------


class Table(NamedTuple):
    owners: Tensor  # int16, for more than 32,768 tensors int32, (chunks,)
    tensors: Tensor  # int64 (2 + arrays, n)


@lru_cache(maxsize=16)
def _owners(sizes: tuple[int, ...], where: torch.device) -> tuple[Tensor, tuple[int, ...]]:
    """Whose each chunk is, and the number of the first chunk of each tensor."""
    chunks = [-(-size // CHUNK) for size in sizes]
    firsts = accumulate(chunks[:-1], initial=0)
    kind = torch.int16 if len(sizes) <= 2**15 else torch.int32
    owners = torch.repeat_interleave(torch.arange(len(sizes), dtype=kind), torch.tensor(chunks))
    return owners.to(where), tuple(firsts)


@lru_cache(maxsize=64)  # gradients that are made anew lie at a few places in turn
def _table(sizes: tuple[int, ...], addresses: tuple[int, ...], where: torch.device) -> Table:
    owners, firsts = _owners(sizes, where)
    return Table(owners, torch.tensor([*sizes, *firsts, *addresses]).to(where))


@lru_cache(maxsize=64)
def _settings(values: tuple[float, ...], where: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).to(where)


def _local(tensors: Sequence[Tensor]) -> list[Tensor]:
    """This rank's shards, where FSDP2 has made DTensors of the tensors, which have no address of their own."""
    return [x.to_local() if hasattr(x, "to_local") else x for x in tensors]


def _number(x: float | Tensor, where: torch.device) -> Tensor:
    """x on the device, float64 (1,); nobody waits for it where it is there already."""
    if isinstance(x, Tensor):
        return x.to(where, torch.float64).reshape(1)
    return torch.full((1,), x, dtype=torch.float64, device=where)


def _alike(tensors: Sequence[Tensor]) -> list[list[int]]:
    """The numbers of the tensors that have anything in them, by device and dtype."""
    groups: dict[Any, list[int]] = {}
    for i, x in enumerate(tensors):
        if x.numel():
            groups.setdefault((x.device, x.dtype), []).append(i)
    return list(groups.values())


def _launch(
    kernel: Any, arrays: list[list[Tensor]], written: int, number: Tensor, settings: Tensor, **constants: Any
) -> None:
    """One launch over lists of tensors, of which the first `written` change."""
    flat = [[x.contiguous() for x in array] for array in arrays]
    if len({tuple(x.numel() for x in array) for array in flat}) > 1:
        raise ValueError("shards of parameters, states, gradients and estimates must be of one size on a rank")
    first = flat[0][0]
    addresses = tuple(x.data_ptr() for array in flat for x in array)
    table = _table(tuple(x.numel() for x in flat[0]), addresses, first.device)
    constants |= {"KIND": KINDS[first.dtype], "ALIGNED": not any(address % 16 for address in addresses)}
    constants |= {"CHUNK": CHUNK, "BLOCK": BLOCK, "enable_fp_fusion": False}
    with torch.cuda.device_of(first):
        kernel[(len(table.owners),)](*table, len(flat[0]), number, settings, **constants)
    for array, outs in zip(arrays[:written], flat, strict=False):
        for x, out in zip(array, outs, strict=True):
            if out is not x:
                x.copy_(out)


class Sophia(port.Sophia):
    """`sophia_ref.ports.torch.Sophia` with fused = True, as it stands: on a GPU the kernels above, on a CPU what
    torch.compile makes."""

    def __init__(self, params: Any, lr: float | Tensor, **settings: Any) -> None:
        super().__init__(params, lr, **{"fused": True} | settings)
