"""`make demo`: the race on the paper's Figure 2 surface, then AdamW, Sophia-H and Sophia-G on a tiny GPT.

Everything that the report says is computed here from the runs; a claim that does not hold comes out as one.
"""

import csv
import io
import os
import platform
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref import comparison, report
from sophia_ref.commands.race import HEADER, LEGEND, row
from sophia_ref.comparison import BETA2, LABELS, TUNING_SEED, Comparison
from sophia_ref.files import replacing
from sophia_ref.oracle import COST_GRADIENT, COST_HVP, COST_LOSS
from sophia_ref.study import best

Array = Any
Say = Callable[[str], None]

COUNTED = {  # what the oracle adds to a cost, under the names that comparison.measured_prices gives
    "gradient": COST_GRADIENT,
    "loss": COST_LOSS,
    "gradient with sampled labels": COST_GRADIENT,
    "Hessian-vector product": COST_HVP,
}
PRICES = "Newton's Hessian and Sophia's exact diagonal cost 6 a step."
PROMPT = "The value of the "
RACE_STEPS = 50
# One learning rate for all that can bear it. A race of fifty steps is far too short for the paper's gamma and beta2 (h
# would still be zero, and Sophia a sign descent), so the toy has gamma = 1 and an h that is the curvature here and now.
RACERS = (
    sr.GradientDescent(0.014),
    sr.SignGD(0.3),
    sr.Adam(0.3),
    sr.Newton(0.3),
    sr.Sophia(0.3, beta1=0.0, beta2=0.0, gamma=1.0, every=1, estimator=sr.exact_diagonal),
)


def demo(output: str | Path = "out", quick: bool = False, say: Say = print) -> Path:
    """Run both parts, write pictures, tables and report.html to `output`, and return the report's path.

    quick: a tiny budget that shows every part and proves nothing. say: where progress is told.
    """
    output = Path(output)
    budget = comparison.QUICK if quick else comparison.FULL
    started = time.perf_counter()
    say("1. The race on the surface of the paper's Figure 2, from (0.2, 0)\n")
    blocks = race(output, say)
    say("\n2. A tiny GPT learns the Python language reference, character by character\n")
    task = comparison.language_task()
    say(f"{task.model.size:,} parameters; {budget.trials} trials a method, each of {budget.steps} steps\n")
    blocks += language_model(output, comparison.compare(budget, progress=True), say)
    seconds = time.perf_counter() - started
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    blocks.append(
        report.paragraph(
            f"Made by sophia-ref {sr.__version__} in {seconds:.0f} s on {machine}, NumPy {np.__version__}.", "soft"
        )
    )
    path = output / "report.html"
    report.write_page(path, "Sophia, tried out", [_introduction(quick), *blocks])
    say(f"\nDone in {seconds:.0f} s. Everything is in {output}{os.sep}; open {path}")
    return path


def _introduction(quick: bool) -> str:
    text = (
        "Sophia (Liu et al. 2023) divides a momentum by an estimate of the curvature, and clips what comes out. The "
        "paper says that this trains language models in half the steps of Adam. Below, first the toy that the paper "
        "explains itself with, then a real, if tiny, language model, with every method tuned by the same effort."
    )
    if quick:
        text += " This is the quick version: it shows every part, and its budget is too small to conclude anything."
    return report.paragraph(text)


def race(output: Path, say: Say) -> list[str]:
    """Race, picture, animation and table; returns blocks for the report."""
    from sophia_ref.plots import animate, race_figure, save, style_of
    from toy_problems.landscapes import REGISTRY

    landscape = REGISTRY["sophia_fig2"]
    runs = [sr.run(landscape, racer, RACE_STEPS) for racer in RACERS]
    rows = [row(landscape, style_of(run.optimizer)["label"], run) for run in runs]
    say(report.text_table(HEADER, rows))
    for name, dark in (("race", False), ("race-dark", True)):
        save(race_figure(landscape, runs, dark=dark), output / f"{name}.png")
        animate(landscape, runs, output / f"{name}.gif", dark=dark)
    say(f"\n{LEGEND} The loss is\nthat after all {RACE_STEPS} steps. {PRICES}\n")
    outcome = race_verdict(rows)
    say(textwrap.fill(outcome, 80))
    return [
        "<h2>The race</h2>",
        report.paragraph(outcome, "verdict"),
        report.figure(
            output / "race.png",
            "The surface in three dimensions and its contours, with the path of each optimizer.",
            "The surface of the paper's Figure 2, and the same from above. All start at (0.2, 0), where the curvature "
            "along x is negative.",
            dark=output / "race-dark.png",
        ),
        report.html_table(HEADER, rows),
        report.paragraph(
            "Newton's method is drawn to the saddle. Gradient descent needs a learning rate small enough for the steep "
            "direction and then crawls along the flat one. Sign descent moves at one speed in every direction and ends "
            "up bouncing. Sophia uses curvature where it is positive and the sign of the gradient elsewhere. Its toy "
            "settings are not the paper's: gamma is 1, there is no averaging, and its curvature is exact and new in "
            "every step.",
        ),
        report.paragraph(f"{LEGEND} The loss is that after all {RACE_STEPS} steps. {PRICES}", "soft"),
        report.figure(
            output / "race.gif",
            "The race, animated, beside Sophia's numbers.",
            "The same race, step by step, and what Sophia computes: gradient g, its average m, curvature h, and their "
            "ratio, which is clipped at 1.",
            dark=output / "race-dark.gif",
        ),
    ]


def race_verdict(rows: Sequence[Sequence[str]]) -> str:
    """Who ended where, from rows of HEADER."""
    ends: dict[str, list[str]] = {}
    for name, _, steps, cost, _, _, where in rows:
        ends.setdefault(where, []).append(f"{name} ({steps} steps, cost {cost})")
    goal = ", ".join(ends.pop("global minimum", ["nobody"]))
    others = "; ".join(f"{', '.join(names)}: {where}" for where, names in ends.items())
    return f"At the global minimum within {RACE_STEPS} steps: {goal}. " + (f"Elsewhere: {others}." if others else "")


def language_model(output: Path, results: Comparison, say: Say) -> list[str]:
    """Tables, pictures and verdicts of a comparison; returns blocks for the report."""
    budget, steps, chosen = results.budget, results.budget.steps, best(results.trials)
    header = ("method", "validation loss", "half the steps", "cost a step", "ms a step", "unclipped")
    rows = []
    for method in chosen:
        curves, clips = results.curves[method, steps], method != "AdamW"
        slower = results.milliseconds[method] / results.milliseconds["AdamW"] - 1
        rows.append(
            (
                LABELS[method],
                _spread(results.final(method, steps)),
                _spread(results.final(method, steps // 2)) if clips else "",
                f"{curves[0].cost[-1] / steps:.2f}",
                f"{results.milliseconds[method]:.2f} ({slower:+.0%})"
                if clips
                else f"{results.milliseconds[method]:.2f}",
                f"{np.mean([curve.unclipped for curve in curves]):.0%}" if clips else "",
            )
        )
    verdicts = comparison.verdicts(results)
    samples = {method: _sample(results.curves[method, steps][0].theta) for method in chosen}
    tuned = [f"{LABELS[method]}: {_settings(trial.settings)}" for method, trial in chosen.items()]
    say("\nTuned: " + "\n       ".join(tuned) + "\n\n" + report.text_table(header, rows))
    say("\nValidation loss in nats a character: mean ± half the range over seeds.\n")
    say("\n".join(textwrap.fill(verdict, 80) for verdict in verdicts))
    say(f"\nAdamW's model continues {PROMPT!r}:\n\n{samples['AdamW']}")

    _save_curves(output / "training.csv", results)
    for name, dark in (("training", False), ("training-dark", True)):
        _picture(output / f"{name}.png", results, dark)
    task = comparison.language_task()
    prices = [(name, f"{COUNTED[name]:.3g}", f"{price:.2f}") for name, price in results.prices.items()]
    tried = [(LABELS[trial.method], _settings(trial.settings), f"{trial.score:.3f}") for trial in results.trials]
    return [
        "<h2>A tiny GPT on the Python language reference</h2>",
        report.paragraph(
            f"GPT-2's architecture, without biases, with {task.model.size:,} parameters, on the text that every "
            f"Python carries, {task.batch_size} windows of {task.context} characters a step. "
            f"Each method had {budget.trials} trials of {steps} steps over two settings (AdamW: lr and beta2, Sophia: "
            f"lr and gamma), from one Sobol sequence, on seed {TUNING_SEED} and on held-out text that is used for "
            f"nothing else. What is shown are the seeds {', '.join(map(str, budget.seeds))} on other held-out text: "
            "lines are means, bands the range over seeds. Cosine schedule with "
            "warm-up, gradients clipped to norm 1. Curvature every 10 steps, on one window (Sophia-H) or half of the "
            f"batch (Sophia-G). Sophia's beta2 is {BETA2}, not the paper's 0.99, which is too slow for runs this short."
        ),
        *(report.paragraph(text, "verdict") for text in verdicts),
        report.html_table(header, rows),
        report.paragraph("Tuned settings. " + "; ".join(tuned) + "."),
        report.paragraph(
            "Validation loss in nats a character: mean ± half the range over seeds, on an eighth of the held-out text. "
            "Half the steps: a run half as long, with the same settings and its own full schedule, since the paper "
            "compares runs that have fully decayed. Cost in gradient-equivalents; ms of processor time on one thread. "
            "Unclipped: share of coordinates that were not clipped, averaged over the run; the paper advises 10 to "
            "50%.",
            "soft",
        ),
        report.figure(
            output / "training.png",
            "Validation loss by step and by cost, and the unclipped share by step.",
            "Validation loss by step and by cost, and the share of coordinates that are not clipped.",
            dark=output / "training-dark.png",
        ),
        report.paragraph(
            "What this does not show: larger models, longer runs, larger batches. A model this small, trained for a "
            "few hundred steps, says little about the paper's, of 125 million parameters and more, and 100,000 steps. "
            "A later study tuned both with the same care at 130 and 300 million parameters and found Sophia-H and "
            "AdamW level (Wen, Hall, Ma, Liang 2025, arXiv 2509.02046; three of them wrote the Sophia paper too)."
        ),
        "<h2>What a cost is</h2>",
        report.paragraph(
            "Costs are counted by fixed prices in gradients, so that they do not depend on the machine. Beside them is "
            "the time that each answer took here, relative to a gradient."
        ),
        report.html_table(("question", "counted as", "measured"), prices),
        "<h2>Every trial</h2>",
        report.paragraph(
            f"On seed {TUNING_SEED} and the text kept for tuning: not to be compared with the losses above.", "soft"
        ),
        report.html_table(("method", "settings", "validation loss"), tried),
        "<h2>What the models write</h2>",
        *(f"<h3>{LABELS[method]}</h3>" + report.preformatted(text) for method, text in samples.items()),
    ]


def _settings(settings: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in settings.items())


def _spread(values: list[float]) -> str:
    """Mean, and half the range over seeds."""
    return f"{np.mean(values):.3f} ± {np.ptp(values) / 2:.3f}"


def _sample(theta: Any, length: int = 240) -> str:
    """PROMPT, and how the model goes on."""
    task = comparison.language_task()
    prompt = task.source.encode(PROMPT)
    tokens = task.model.sample(theta, prompt, length, np.random.default_rng(0), temperature=0.8)
    return PROMPT + str(task.source.decode(tokens))


def _save_curves(path: Path, results: Comparison) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "steps_in_all", "seed", "step", "validation_loss", "cost", "unclipped"])
    for (method, length), curves in results.curves.items():
        for seed, curve in zip(results.budget.seeds, curves, strict=True):
            for values in zip(curve.steps, curve.validation, curve.cost, curve.unclipped, strict=True):
                writer.writerow([method, length, seed, *("" if np.isnan(value) else value for value in values)])
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def _picture(path: Path, results: Comparison, dark: bool) -> None:
    from sophia_ref.plots import band, figure, save

    fig = figure(11, 3.6, dark=dark)
    by_step, by_cost, share = fig.subplots(1, 3)
    by_step.set(xlabel="step", ylabel="validation loss (nats a character)")
    by_cost.set(xlabel="cost (gradient-equivalents)")
    share.set(xlabel="step", ylabel="unclipped share of coordinates")
    share.yaxis.set_major_formatter("{x:.0%}")
    for method in best(results.trials):
        curves = results.curves[method, results.budget.steps]
        validation = np.array([curve.validation for curve in curves])
        band(by_step, curves[0].steps, validation, method)
        band(by_cost, curves[0].cost, validation, method)
        if method != "AdamW":
            band(share, curves[0].steps, np.array([curve.unclipped for curve in curves]), method)
    save(fig, path)
