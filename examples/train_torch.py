"""Train the tiny GPT with the PyTorch port of Sophia, and beside it in NumPy: the losses must be the same.

    python examples/train_torch.py                             200 steps in float32, 50 in float64; twelve seconds
    python examples/train_torch.py --preset 100k --dtype float64 --steps 500
    python examples/train_torch.py --output curves.png --dark

Both start from the same weights and see the same batches. What an estimate of the curvature draws, labels for Sophia-G
and a probe for Sophia-H, is drawn once, in NumPy; the port gets it in two micro-batches. So nothing differs but the
order of roundings, and a loss that drifts apart is a bug.

Unless a sign tips over. Where h is small a step is lr * sign(m), and a coordinate whose m is zero but for rounding may
go either way; at high rates such flips multiply. With the published settings and a rate of 1e-3 the NumPy run leaves
itself by 3e-2 in loss after 150 steps in float32, if it starts from weights one ulp away. So the rate is low here, and
with beta2 and gamma larger than the published ones it is the curvature that steers within 200 steps.

Prints the largest difference of two losses for each optimizer and dtype, draws losses and differences, and fails (exit
status 1) where a difference is above 1e-4 in float32 or 1e-9 in float64. Run it from the repository, in an environment
that has PyTorch: `make .venv-ports/ready` makes one, .venv-ports/bin/python.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

import sophia_ref as sr
from sophia_ref.plots.style import dress, figure, label_ends, save, style_of
from sophia_ref.ports.torch import GNB, Hutchinson, SophiaG, SophiaH
from sophia_ref.report import text_table
from toy_problems.layers import inverse_cdf
from toy_problems.text import load
from toy_problems.transformer import PRESETS, LanguageTask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from examples.gpt_torch import GPT

ALLOWED = {"float32": 1e-4, "float64": 1e-9}
STEPS = {"float32": 200, "float64": 50}
PEAK, BETA2 = 2e-4, 0.9  # PEAK: the learning rate from which a cosine falls
SETTINGS: dict[str, Any] = dict(gamma=2.0, weight_decay=0.2, every=10)
MICRO_BATCHES = 2


class Curves(NamedTuple):
    optimizer: str  # SophiaG or SophiaH
    dtype: str
    here: Any  # (steps,) losses in NumPy
    port: Any  # (steps,) losses in PyTorch, on the same batches

    @property
    def worst(self) -> float:
        return float(np.abs(self.here - self.port).max())


def train(task: LanguageTask, optimizer: str, dtype: str, steps: int, seed: int = 0, **paths: Any) -> Curves:
    """Both trainings, step by step. paths: foreach, fused or capturable, for the port."""
    theta = task.model.init(np.random.default_rng([seed, 0]), dtype)
    rate = sr.cosine(PEAK, steps=steps)

    here = {"SophiaG": sr.SophiaG, "SophiaH": sr.SophiaH}[optimizer](rate, beta2=BETA2, **SETTINGS)
    state = here.init(theta)

    gpt = GPT(task.model, theta)
    params = list(gpt.parameters())
    make = {"SophiaG": SophiaG, "SophiaH": SophiaH}[optimizer]
    port = make(params, PEAK, betas=(here.beta1, BETA2), **SETTINGS, **paths)
    gnb, hutchinson = GNB(params), Hutchinson(params)

    data, losses = np.random.default_rng([seed, 1]), []
    for t in tqdm(range(1, steps + 1), desc=f"{optimizer} {dtype}", unit="step", leave=False):
        batch = task.batch(data)
        oracle = sr.Oracle(task, theta, batch, np.random.default_rng([seed, 2, t]))
        draws = np.random.default_rng([seed, 2, t])  # the same numbers once more

        parts = [torch.tensor(part).chunk(MICRO_BATCHES) for part in batch]
        micro_batches = list(zip(*parts, strict=True))  # pairs of tokens (B, T) and targets (B, T)
        if port.curvature_due:
            if optimizer == "SophiaG":
                labels = torch.tensor(drawn_labels(task.model, theta, batch[0], draws)).chunk(MICRO_BATCHES)
                for (tokens, _), drawn in zip(micro_batches, labels, strict=True):
                    gnb.add(gpt(tokens), labels=drawn)
                port.update_curvature(gnb.estimate())
            else:
                u = task.model.layout.unpack(draws.standard_normal(theta.shape, theta.dtype))
                for tokens, targets in micro_batches:
                    hutchinson.add(loss(gpt, tokens, targets), [torch.tensor(probe) for probe in u.values()])
                port.update_curvature(hutchinson.estimate())
        port.zero_grad()
        total = 0.0
        for tokens, targets in micro_batches:
            share = loss(gpt, tokens, targets) * (len(tokens) / len(batch[0]))
            share.backward()
            total += share.item()
        for group in port.param_groups:
            group["lr"] = rate(t)
        port.step()

        step = here.step(theta, state, oracle)
        losses.append((float(oracle.loss()), total))
        theta, state = step.theta, step.state
    return Curves(optimizer, dtype, *np.array(losses).T)


def loss(gpt: GPT, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(gpt(tokens).flatten(0, 1), targets.flatten())


def drawn_labels(model: Any, theta: Any, tokens: Any, rng: np.random.Generator) -> Any:
    """The labels (B, T) that sr.gnb draws from this generator: one uniform number each, and its inverse."""
    z = model.logits(theta, tokens)  # (B, T, V)
    weights = np.exp(z - z.max(-1, keepdims=True))
    return inverse_cdf(weights.reshape(-1, model.vocab), 1 - rng.random(tokens.size)).reshape(tokens.shape)


def draw(curves: list[Curves], path: Path, dark: bool = False) -> Path:
    """The losses of each optimizer, NumPy's broad and PyTorch's thin upon it, and the largest difference so far."""
    fig = figure(12, 3.6, dark)
    *panels, gaps = fig.subplots(1, 3, width_ratios=(1, 1, 1.1))
    shown = [c for c in curves if c.dtype == curves[0].dtype]
    for ax, c in zip(panels, shown, strict=False):
        look, scheme, t = style_of(c.optimizer), dress(ax), np.arange(1, len(c.here) + 1)
        ax.plot(t, c.here, color=look["color"], linewidth=6, alpha=0.4, label="NumPy")
        ax.plot(t, c.port, color=scheme.ink, linewidth=0.9, label="PyTorch")
        ax.set_xlabel("step")
        ax.set_title(f"{look['label']}, {c.dtype}: loss", fontsize=10)
        ax.legend(frameon=False, fontsize=8, labelcolor=scheme.ink)
    scheme = dress(gaps)
    for c in curves:
        look = style_of(c.optimizer) | {"linestyle": "-" if c.dtype == "float32" else ":"}
        look["label"] += f", {c.dtype}"
        so_far = np.maximum.accumulate(np.abs(c.here - c.port)).clip(1e-17)
        gaps.plot(np.arange(1, len(so_far) + 1), so_far, **look, linewidth=1.6, markersize=4, markevery=50)
    for dtype in dict.fromkeys(c.dtype for c in curves):
        gaps.axhline(ALLOWED[dtype], color=scheme.quiet, linewidth=0.8, label=f"_{dtype}")
        gaps.annotate(f"allowed, {dtype}", (0.99, ALLOWED[dtype]), xycoords=("axes fraction", "data"), xytext=(0, 3),
                      textcoords="offset points", ha="right", fontsize=8, color=scheme.ink)  # fmt: skip
    gaps.set(xlabel="step", yscale="log")
    gaps.set_title("largest difference so far", fontsize=10)
    gaps.set_ylim(top=10 * max(ALLOWED.values()))
    label_ends(gaps)
    return save(fig, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="30k", help="size of the model")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="windows a batch, two or more")
    parser.add_argument("--steps", type=int, metavar="N", help="by default 200 in float32, 50 in float64")
    parser.add_argument("--dtype", nargs="+", choices=ALLOWED, default=list(ALLOWED))
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--output", type=Path, default=Path("out/train_torch.png"), metavar="FILE", help="the picture")
    parser.add_argument("--dark", action="store_true", help="the picture on a dark ground")
    given = parser.parse_args()
    for name, least in (("batch", MICRO_BATCHES), ("steps", 1), ("seed", 0)):
        if getattr(given, name) is not None and getattr(given, name) < least:
            parser.error(f"argument --{name}: expected at least {least}, got {getattr(given, name)}")
    torch.set_num_threads(1)  # as many as such small matrices can use
    task = LanguageTask(PRESETS[given.preset], load(), given.batch)
    curves = [
        train(task, optimizer, dtype, given.steps or STEPS[dtype], given.seed)
        for dtype in given.dtype
        for optimizer in ("SophiaG", "SophiaH")
    ]
    rows = [
        (
            c.optimizer,
            c.dtype,
            len(c.here),
            f"{c.here[-1]:.4f}",
            f"{c.port[-1]:.4f}",
            f"{c.worst:.1e}",
            ALLOWED[c.dtype],
        )
        for c in curves
    ]
    print(text_table(("", "dtype", "steps", "NumPy", "PyTorch", "worst difference", "allowed"), rows))
    print("picture:", draw(curves, given.output, given.dark))
    if any(c.worst > ALLOWED[c.dtype] for c in curves):
        sys.exit(1)


if __name__ == "__main__":
    main()
