"""What the examples share: trainings of the tiny GPT in NumPy that keep what they drew, and another library's beside.

The other library brings a generator train(recorded): from recorded.theta0, on recorded.batches, with the labels or
probes of recorded.drawn, it yields the loss before each step, and the one after the last. The rest of an example is
`main(library, train, doc)`.
"""

import argparse
import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

import sophia_ref as sr
from sophia_ref.plots.style import dress, figure, label_ends, save, style_of
from sophia_ref.report import text_table
from toy_problems.layers import inverse_cdf
from toy_problems.text import load
from toy_problems.transformer import PRESETS, LanguageTask, TinyGPT

Array = Any

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # gpt_twins: the same model for other libraries

LIMITS = {"float32": (200, 1e-4), "float64": (50, 1e-9)}  # dtype: steps, and how far losses may be apart
METHODS = {"SophiaH": sr.hutchinson, "SophiaG": sr.gnb}
# A fast beta2 and a large gamma: a fifth to a half of the coordinates are not clipped, so that curvature counts.
SETTINGS: dict[str, Any] = dict(beta1=0.96, beta2=0.9, gamma=0.5, clip=1.0, eps=1e-12, weight_decay=0.1, every=10)
# The clip makes a whole step of what rounding left of a gradient, and training amplifies that. With ten times this
# learning rate NumPy itself, started one ulp away, is up to 5e-2 apart in 200 steps of float32: no bug would show.
CLIP_NORM, PEAK, WARMUP = 1.0, 1e-4, 20
BATCH = 16


class Recorded(NamedTuple):
    """A training in NumPy."""

    method: str  # "SophiaH" or "SophiaG"
    model: TinyGPT
    theta0: Array  # (P,)
    rates: Array  # (steps,), the learning rate of step t = 1, 2, ... at index t - 1
    batches: list[tuple[Array, Array]]  # (tokens, targets), both (B, T), of each step and of the last loss
    drawn: list[Array]  # of each step: a probe (P,), or labels (B, T), or None where no estimate is due
    losses: Array  # (steps + 1,)


class Compared(NamedTuple):
    dtype: str
    numpy: Recorded
    losses: Array  # (steps + 1,), the other library's

    @property
    def apart(self) -> Array:
        """(steps + 1,)"""
        return np.abs(self.losses - self.numpy.losses)


def record(method: str, steps: int, dtype: str, preset: str = "30k", seed: int = 0) -> Recorded:
    """Train in NumPy, and keep batches, labels and probes."""
    task = _Kept(PRESETS[preset], load(), BATCH)
    schedule, drawn = sr.cosine(PEAK, steps=LIMITS["float32"][0], warmup=WARMUP), []

    def estimator(oracle: sr.Oracle) -> Array:
        again = copy.deepcopy(oracle.rng)
        h_hat = METHODS[method](oracle)
        if method == "SophiaH":
            drawn.append(again.standard_normal(oracle.theta.shape, oracle.theta.dtype))
        else:
            tokens, _ = oracle.batch
            z = task.model.logits(oracle.theta, tokens).reshape(tokens.size, -1)  # (B, T, V) -> (B*T, V)
            labels = inverse_cdf(np.exp(z - z.max(-1, keepdims=True)), 1 - again.random(tokens.size))
            drawn.append(labels.reshape(tokens.shape))
        return h_hat

    theta0 = task.model.init(np.random.default_rng(seed), np.dtype(dtype))
    opt = sr.Sophia(schedule, **SETTINGS, estimator=estimator)
    run = sr.run(task, opt, steps, theta0, seed, clip_norm=CLIP_NORM, trajectory=False)
    rates, every = np.array([schedule(t) for t in range(1, steps + 1)]), SETTINGS["every"]
    by_step = [None if i % every else drawn[i // every] for i in range(steps)]
    return Recorded(method, task.model, theta0, rates, task.batches, by_step, run.losses)


class _Kept(LanguageTask):
    """A task that keeps the batches which it was asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.batches: list[tuple[Array, Array]] = []

    def batch(self, rng: np.random.Generator, shape: tuple[int, ...] = ()) -> tuple[Array, Array]:
        self.batches.append(super().batch(rng, shape))
        return self.batches[-1]


def compare(train: Callable[[Recorded], Iterator[float]], steps: int | None = None, **given: Any) -> list[Compared]:
    """Both methods in both dtypes, in NumPy and by `train`. steps: at most so many. given: for `record`."""
    lengths = {dtype: min(most, steps or most) for dtype, (most, _) in LIMITS.items()}
    compared = []
    with tqdm(total=sum(lengths.values()) * len(METHODS), unit="step", disable=None) as bar:
        for dtype, length in lengths.items():
            for method in METHODS:
                bar.set_description(f"{method} {dtype}")
                recorded, losses = record(method, length, dtype, **given), []
                for loss in train(recorded):
                    losses.append(loss)
                    bar.update(len(losses) > 1)
                compared.append(Compared(dtype, recorded, np.array(losses)))
    return compared


def table(library: str, compared: list[Compared]) -> str:
    """For each training: the last losses, and the greatest difference of two beside what is allowed."""
    header = ("", "dtype", "steps", "first loss", "last, NumPy", f"last, {library}", "greatest difference", "allowed")
    rows = []
    for c in compared:
        here, there = c.numpy.losses, c.losses
        ends = (f"{here[0]:.6f}", f"{here[-1]:.6f}", f"{there[-1]:.6f}")
        apart = (f"{c.apart.max():.1e}", f"{LIMITS[c.dtype][1]:.0e}")
        rows.append((style_of(c.numpy.method)["label"], c.dtype, len(there) - 1, *ends, *apart))
    return text_table(header, rows)


def picture(library: str, compared: list[Compared], dark: bool = False) -> Any:
    """Left the losses in float32, NumPy's as lines and the other's on top as markers; right how far they have been
    apart so far."""
    fig = figure(10, 3.8, dark)
    left, right = fig.subplots(1, 2)
    for ax, y in ((left, f"loss in float32: NumPy lines, {library} markers"), (right, "greatest difference so far")):
        scheme = dress(ax)
        ax.grid(axis="y", color=scheme.quiet, alpha=0.2, linewidth=0.6)
        ax.set_xlabel("step")
        ax.set_ylabel(y)
    right.set_yscale("log")
    right.set_ylim(1e-16, max(1e-3, *(3 * c.apart.max() for c in compared)))
    for c in compared:
        look, steps = style_of(c.numpy.method), np.arange(len(c.losses))
        line = dict(color=look["color"], linewidth=1.4)
        marks = dict(marker=look["marker"], markersize=4.5)
        if c.dtype == "float32":
            left.plot(steps, c.numpy.losses, **line)
            left.plot(steps[::10], c.losses[::10], **marks, **line | dict(linewidth=0), label=look["label"])
        so_far = np.maximum.accumulate(c.apart)
        marks |= dict(markevery=max(1, len(steps) // 8), label=f"{look['label']}, {c.dtype}")
        right.plot(steps, np.where(so_far, so_far, np.nan), **line, **marks)
    for dtype, (_, limit) in LIMITS.items():
        right.axhline(limit, color=scheme.quiet, linewidth=0.8, linestyle=(0, (4, 3)))
        place = dict(xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points")
        right.annotate(f"allowed in {dtype}", (0.01, limit), **place, fontsize=8, color=scheme.ink)
    for ax in (left, right):
        label_ends(ax)
    return fig


def main(library: str, train: Callable[[Recorded], Iterator[float]], doc: str | None) -> None:
    """The command: compare, print the table, write the picture; exit status 1 where losses are too far apart."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, metavar="N", help="at most so many steps of each training")
    parser.add_argument("--preset", choices=PRESETS, default="30k", help="size of the model (default: 30k)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, batches and draws (default: 0)")
    parser.add_argument(
        "--output", default=f"out/train_{library}.png", metavar="FILE", help="the picture (%(default)s)"
    )
    parser.add_argument("--dark", action="store_true", help="the picture on a dark ground")
    args = parser.parse_args()
    for name, least in (("steps", 1), ("seed", 0)):
        if (value := getattr(args, name)) is not None and value < least:
            parser.error(f"--{name}: {value}; expected an integer >= {least}")
    if Path(args.output).suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"--output: {args.output}; expected a name that ends in .png, .svg or .pdf")
    compared = compare(train, args.steps, preset=args.preset, seed=args.seed)
    print(table(library, compared))
    print(f"\nwrote {save(picture(library, compared, args.dark), args.output)}")
    if any(not c.apart.max() <= LIMITS[c.dtype][1] for c in compared):
        sys.exit("losses are further apart than allowed")
