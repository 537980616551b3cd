"""Settings of one parameterisation as settings of another, so that the steps are the same.

    v2         θ ← θ - η λ θ; θ ← θ - η clip(m / max(γ h, ε), 1)
    v1         θ ← θ - η λ θ; θ ← θ - η clip(m / max(h, ε), ρ)
    official   θ ← θ (1 - η λ); θ ← θ - η sign(m) min(|m| / (ρ bs h_B + 1e-15), 1), h_B = h / B

v1 and v2 are one rule: c clip(z / c, 1) = clip(z, c). Both conversions are exact in real numbers, and in floating point
wherever rho is a power of two.

The official form is another rule. What maps is the learning rate, the decay and gamma B = rho bs, with B the number of
predictions in the batch that is sampled. What no setting can undo:

- 1e-15 is added to the denominator, where the paper takes the larger of the two. With h > 0 the ratios are off by the
  relative error 1e-15 / (gamma h); with h = 0 the paper divides by eps, which may be 1e-12.
- The ratio has no lower bound. With h < 0 the update is |m| / (gamma h) < 0, of any size, against the gradient; SophiaG
  itself feeds it squares, which are never negative.
- The first estimate comes after step k, so that the first k steps are sign momentum.
"""

from __future__ import annotations

from sophia_ref.optimizers.base import Array, number


def v1_to_v2(lr: float, rho: float, eps: float, weight_decay: float | Array = 0.0) -> dict[str, float | Array]:
    """lr, gamma, eps, weight_decay of the paper's second form from those of its first.

    >>> v1_to_v2(lr=0.5, rho=0.25, eps=0.5, weight_decay=1.0)
    {'lr': 0.125, 'gamma': 0.25, 'eps': 0.125, 'weight_decay': 4.0}

    Raises TypeError or ValueError unless rho is a finite number > 0.
    """
    rho = _positive("v1_to_v2: rho", rho)
    return {"lr": rho * lr, "gamma": rho, "eps": rho * eps, "weight_decay": weight_decay / rho}


def v2_to_v1(lr: float, gamma: float, eps: float, weight_decay: float | Array = 0.0) -> dict[str, float | Array]:
    """lr, rho, eps, weight_decay of the paper's first form from those of its second, whose clip is 1.

    Raises TypeError or ValueError unless gamma is a finite number > 0.
    """
    gamma = _positive("v2_to_v1: gamma", gamma)
    return {"lr": lr / gamma, "rho": gamma, "eps": eps / gamma, "weight_decay": weight_decay * gamma}


def v2_to_official(
    lr: float, gamma: float, B: float, bs: float | None = None, weight_decay: float | Array = 0.0
) -> dict[str, float | Array]:
    """lr, rho, bs, weight_decay of the official SophiaG, as near to the second form as they come.

    B: predictions in the sampled batch. bs: what its step will be given, by default B; its own default is 5120.
    Raises TypeError or ValueError unless gamma, B and bs are finite numbers > 0.
    """
    gamma, B = _positive("v2_to_official: gamma", gamma), _positive("v2_to_official: B", B)
    bs = B if bs is None else _positive("v2_to_official: bs", bs)
    return {"lr": lr, "rho": gamma * B / bs, "bs": bs, "weight_decay": weight_decay}


def official_to_v2(
    lr: float, rho: float, bs: float, B: float, weight_decay: float | Array = 0.0
) -> dict[str, float | Array]:
    """lr, gamma, weight_decay of the second form, as near to those of the official SophiaG as they come.

    B: predictions in the sampled batch, which its step's bs should be. Where it counts sequences instead, gamma here is
    as many times smaller as there are tokens in one. Raises TypeError or ValueError unless rho, bs and B are finite
    numbers > 0.
    """
    rho, bs, B = (_positive(f"official_to_v2: {name}", x) for name, x in (("rho", rho), ("bs", bs), ("B", B)))
    return {"lr": lr, "gamma": rho * bs / B, "weight_decay": weight_decay}


def _positive(name: str, value: float) -> float:
    return number(name, value, "a finite number > 0", lambda x: 0 < x < float("inf"))
