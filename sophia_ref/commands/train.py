"""`sophia-ref train`: one optimizer on a language task, with a log that survives Ctrl-C."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sophia_ref.files import replacing
from sophia_ref.optimizers import cosine
from sophia_ref.run import run

Array = Any
LOOKS = 10  # how often the validation loss is measured on the way
PART = 12  # and on how many batches


class Row(NamedTuple):
    """One step: loss on its batch, validation_loss after it (NaN where not measured), learning rate lr, cost in
    gradient-equivalents so far, share of coordinates that were not clipped (NaN for rules that do not clip)."""

    step: int
    loss: float
    validation_loss: float
    lr: float
    cost: float
    unclipped: float


class Training(NamedTuple):
    """theta (P,) after the last whole step, the rows of the log, and how it ended."""

    theta: Array
    rows: list[Row]
    interrupted: bool = False
    diverged_at: int | None = None


def train(task: Any, opt: Any, peak: float, steps: int, seed: int) -> Training:
    """Train under a progress bar, as the paper does: warm-up to the learning rate `peak` (over a tenth of the steps
    here) and a cosine down to a twentieth of it, gradients clipped to norm 1.

    Ctrl-C ends the training and not the program. Before the first step is done there is nothing to keep, and it raises
    KeyboardInterrupt.
    """
    from tqdm.auto import tqdm

    lr = cosine(peak, steps, warmup=steps // 10)
    some = task.validation_batches[:: max(1, len(task.validation_batches) // PART)]
    rows: list[Row] = []
    theta, cost, shown = None, 0.0, {}

    def look(t: int, step: Any, oracle: Any) -> None:
        nonlocal theta, cost
        cost += oracle.cost
        loss, validation, unclipped = float(oracle.loss()), np.nan, np.nan
        shown["loss"] = f"{loss:.3f}"
        if t in (1, steps) or t % max(1, steps // LOOKS) == 0:
            validation = task.validation_loss(step.theta, some)
            shown["validation"] = f"{validation:.3f}"
        if "clipped" in step.terms:
            unclipped = 1 - float(step.terms["clipped"].mean())
            shown["unclipped"] = f"{unclipped:.0%}"
        theta = step.theta
        rows.append(Row(t, loss, validation, lr(t), cost, unclipped))
        bar.set_postfix(shown, refresh=False)
        bar.update()

    form = "step {n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"
    with tqdm(total=steps, disable=None, dynamic_ncols=True, bar_format=form) as bar:
        try:
            done = run(task, replace(opt, lr=lr), steps, seed=seed, record=steps, clip_norm=1.0, callback=look)
        except KeyboardInterrupt:
            if not rows:
                raise
            return Training(theta, rows, interrupted=True)
    return Training(done.theta, rows, diverged_at=done.diverged_at)


def sample(task: Any, theta: Array, length: int, seed: int) -> str:
    """How the model goes on after the first held-out window; a question mark for what a terminal may not show."""
    prompt = task.source.held_out(task.context)[0]
    tokens = task.model.sample(theta, prompt, length, np.random.default_rng(seed), temperature=0.8)
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in task.source.decode(tokens))


def save_log(rows: Sequence[Row], path: Path) -> Path:
    """A CSV of the rows, empty where something was not measured."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(["" if np.isnan(value) else value for value in row] for row in rows)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
    return path


def save_picture(rows: Sequence[Row], opt: Any, path: Path) -> Path:
    """The losses by step and, for rules that clip, the share of coordinates that were not clipped."""
    from sophia_ref.plots import figure, save, style_of
    from sophia_ref.plots.style import dress

    steps, loss, validation, _, _, unclipped = np.array(rows).T
    panels = 2 if np.isfinite(unclipped).any() else 1
    fig = figure(5.5 * panels, 4)
    style, seen = style_of(opt), np.isfinite(validation)
    losses, *share = fig.subplots(1, panels, squeeze=False)[0]
    dress(losses)
    losses.plot(steps, loss, color=style["color"], alpha=0.4, linewidth=1, label="batches it trains on")
    losses.plot(steps[seen], validation[seen], color=style["color"], marker=style["marker"], label="held-out text")
    losses.set(xlabel="step", ylabel="loss (nats a character)", title=style["label"])
    losses.legend(frameon=False)
    for ax in share:
        dress(ax)
        ax.plot(steps, unclipped, color=style["color"])
        ax.set(xlabel="step", ylabel="share of coordinates that were not clipped", ylim=(0, 1))
    return save(fig, path)
