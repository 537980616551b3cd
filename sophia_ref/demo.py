"""`make demo`: the race on the paper's Figure 2 surface, then AdamW, Sophia-H and Sophia-G on a tiny GPT.

Everything that the report says is computed here from the runs; a claim that does not hold comes out as one.
"""

import csv
import io
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sophia_ref as sr
from sophia_ref import report
from sophia_ref.files import replacing
from sophia_ref.study import Settings, Space, Trial, best, processes, run_all, tune

Array = Any
Say = Callable[[str], None]

# -- the race ----------------------------------------------------------------------------------------------------------

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
RACE_HEADER = ("optimizer", "arrives after", "at cost", "ends at", "loss", "which is")


def race_row(run: Any) -> tuple[str, ...]:
    """What became of one run: which critical point it came within 0.05 of for good, when, and at what cost."""
    name = type(run.optimizer).__name__
    if run.diverged_at is not None:
        return (name, f"diverged in step {run.diverged_at}", f"{run.cost[-1]:.0f}", "", "", "")
    point, distance = run.problem.nearest(run.trajectory)  # of each step, the closest critical point
    there = (distance < 0.05) & (point == point[-1])
    arrived = len(there) - int(np.argmin(there[::-1])) if not there.all() else 0
    kind = str(run.problem.classify(run.theta, tol=0.05))
    if kind == "minimum":
        lowest = run.problem.minima[np.argmin(run.problem.f(run.problem.minima))]
        kind = "global minimum" if np.allclose(run.theta, lowest, atol=0.05) else "local minimum"
    settled = kind != "none"
    x, y = run.theta
    return (
        name,
        f"{arrived} steps" if settled else f"not in {run.steps[-1]}",
        f"{run.cost[arrived if settled else -1]:.0f}",
        f"({x:.3f}, {y:.3f})",
        f"{run.losses[-1]:.2g}",
        kind if settled else "no critical point",
    )


# -- the tiny GPT ------------------------------------------------------------------------------------------------------

DECAY = {"AdamW": 0.1, "SophiaH": 0.2, "SophiaG": 0.2}  # as in the paper: Sophia's is twice AdamW's
SPACES: Mapping[str, Space] = {  # two settings each are tuned; the rest are the paper's
    "AdamW": {"lr": (1e-3, 1e-1), "beta2": (0.9, 0.999)},
    "SophiaH": {"lr": (3e-4, 3e-2), "gamma": (1e-3, 1.0)},
    "SophiaG": {"lr": (3e-4, 3e-2), "gamma": (1e-3, 1.0)},
}
BATCH, CONTEXT, WIDTH, HEADS, LAYERS = 16, 32, 32, 4, 2
TUNING_SEED, SHOWN_SEEDS = 1000, (0, 1, 2)
POINTS = 30  # of a validation curve


class Budget(NamedTuple):
    """How much is trained: trials of each method, and steps of each run."""

    trials: int
    steps: int
    seeds: tuple[int, ...]


FULL = Budget(trials=8, steps=800, seeds=SHOWN_SEEDS)
QUICK = Budget(trials=2, steps=40, seeds=SHOWN_SEEDS[:2])


class Curve(NamedTuple):
    """One training run: step numbers, validation loss and cost at each, unclipped share, and the trained theta."""

    steps: Array
    validation: Array
    cost: Array
    unclipped: Array
    theta: Array


@cache
def language_task() -> Any:
    """TinyGPT on the Python language reference, one character a token; made once a process."""
    from toy_problems import text
    from toy_problems.transformer import LanguageTask, TinyGPT

    source = text.load()
    return LanguageTask(TinyGPT(source.vocab, CONTEXT, WIDTH, HEADS, LAYERS), source, BATCH)


def make_optimizer(method: str, settings: Settings, steps: int) -> Any:
    """The method with these settings, on a cosine schedule to a twentieth, with a tenth of the steps as warm-up.

    Curvature is estimated every 10 steps on the paper's share of a batch: 1/15 (32 of 480 sequences) for Hutchinson,
    which is one window here, and 1/2 (240 of 480) for GNB.
    """
    lr = sr.cosine(settings["lr"], steps, warmup=steps // 10)
    decay = DECAY[method]
    if method == "AdamW":
        return sr.AdamW(lr, beta1=0.9, beta2=settings["beta2"], weight_decay=decay)
    if method == "SophiaH":
        estimator = sr.on_part(sr.hutchinson, 1 / BATCH)
        return sr.SophiaH(lr, gamma=settings["gamma"], weight_decay=decay, estimator=estimator)
    return sr.SophiaG(lr, gamma=settings["gamma"], weight_decay=decay, estimator=sr.on_part(sr.gnb, 1 / 2))


def train(method: str, settings: Settings, steps: int, seed: int, points: int) -> Curve:
    """One run, with the validation loss at `points` steps; NaN from the step on in which it diverged."""
    task = language_task()
    some = task.validation_batches[::8]
    every = max(1, steps // points)
    curve: dict[int, tuple[float, float, float]] = {}
    spent = 0.0

    def look(t: int, step: Any, oracle: Any) -> None:
        nonlocal spent
        spent += oracle.cost
        if t % every == 0 or t == steps:
            clipped = step.terms.get("clipped")
            unclipped = np.nan if clipped is None else 1 - clipped.mean()
            curve[t] = task.validation_loss(step.theta, some), spent, unclipped

    run = sr.run(
        task, make_optimizer(method, settings, steps), steps, seed=seed, clip_norm=1.0, record=steps, callback=look
    )
    if run.diverged_at is not None:
        curve[steps] = np.nan, spent, np.nan
    validation, cost, unclipped = np.array(list(curve.values())).T
    return Curve(np.array(list(curve)), validation, cost, unclipped, run.theta)


def final_loss(steps: int, method: str, settings: Settings) -> float:
    """What tuning minimises: the validation loss at the end of a run of full length, on a seed that is not shown."""
    return float(train(method, settings, steps, TUNING_SEED, points=1).validation[-1])


def milliseconds_a_step(chosen: Mapping[str, Trial], rounds: int = 5, steps: int = 20) -> dict[str, float]:
    """Time of a training step, curvature included: the median of rounds in which the methods take turns."""
    times: dict[str, list[float]] = {method: [] for method in chosen}
    for _ in range(rounds):
        for method, trial in chosen.items():
            run = sr.run(
                language_task(), make_optimizer(method, trial.settings, steps), steps, clip_norm=1.0, record=steps
            )
            times[method].append(run.seconds / steps * 1e3)
    return {method: float(np.median(values)) for method, values in times.items()}


# -- what the numbers say ----------------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> str:
    """Mean, and half the range over seeds."""
    return f"{np.mean(values):.3f} ± {np.ptp(values) / 2:.3f}"


def verdict(method: str, full: Sequence[float], half: Sequence[float], adamw: Sequence[float]) -> str:
    """What became of the paper's claim, as good as AdamW in half the steps, by the final losses over seeds.

    Two groups of losses differ if their ranges do not overlap; a run that diverged counts as infinitely bad.
    """

    def against(losses: Sequence[float]) -> tuple[int, str]:
        known = np.nan_to_num(losses, nan=np.inf)
        gap = abs(np.mean(known) - np.mean(adamw))
        if known.min() > max(adamw):
            return 1, f"its loss is {gap:.3f} higher than AdamW's"
        if known.max() < min(adamw):
            return -1, f"its loss is {gap:.3f} lower than AdamW's"
        return 0, "its loss and AdamW's overlap"

    sign, with_half = against(half)
    outcome = {-1: "reproduced here", 0: "neither reproduced nor refuted here", 1: "not reproduced here"}[sign]
    return (
        f"{method}, as good as AdamW in half the steps: {outcome}. With half the steps {with_half}; with as many, "
        f"{against(full)[1]}."
    )


# -- the demo ----------------------------------------------------------------------------------------------------------


def demo(output: str | Path = "out", quick: bool = False, say: Say = print) -> Path:
    """Run both parts, write pictures, tables and report.html to `output`, and return the report's path.

    quick: a tiny budget that shows every part and proves nothing. say: where progress is told.
    """
    output = Path(output)
    budget = QUICK if quick else FULL
    started = time.perf_counter()
    say("1. The race on the surface of the paper's Figure 2, from (0.2, 0)\n")
    blocks = race(output, say)
    say("\n2. A tiny GPT learns the Python language reference, character by character\n")
    blocks += language_model(output, budget, say)
    seconds = time.perf_counter() - started
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    blocks.append(
        report.paragraph(
            f"Made by sophia-ref {sr.__version__} in {seconds:.0f} s on {machine}, NumPy {np.__version__}.", "soft"
        )
    )
    path = output / "report.html"
    report.write_page(path, "Sophia, tried out", [_introduction(quick), *blocks])
    say(f"\nEverything is in {output}{os.sep}; open {path} ({seconds:.0f} s)")
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
    from sophia_ref.plots import animate, race_figure, save
    from toy_problems.landscapes import REGISTRY

    landscape = REGISTRY["sophia_fig2"]
    runs = [sr.run(landscape, racer, RACE_STEPS) for racer in RACERS]
    rows = [race_row(run) for run in runs]
    say(report.text_table(RACE_HEADER, rows))
    for name, dark in (("race", False), ("race-dark", True)):
        save(race_figure(landscape, runs, dark=dark), output / f"{name}.png")
    animate(landscape, runs, output / "race.gif")
    say(
        "\nCost counts gradients: a Hessian-vector product is 3, Newton's Hessian and Sophia's exact diagonal 6 a step."
    )
    return [
        "<h2>The race</h2>",
        report.figure(
            output / "race.png",
            "The surface in three dimensions and its contours, with the path of each optimizer.",
            "The surface of the paper's Figure 2, and the same from above. All start at (0.2, 0), where the curvature "
            "along x is negative.",
            dark=output / "race-dark.png",
        ),
        report.html_table(RACE_HEADER, rows),
        report.paragraph(
            "Newton's method is drawn to the saddle. Gradient descent needs a learning rate small enough for the steep "
            "direction and then crawls along the flat one. Sign descent moves at one speed in every direction and ends "
            "up bouncing. Sophia uses curvature where it is positive and the sign of the gradient elsewhere. Its toy "
            "settings are not the paper's: gamma is 1, there is no averaging, and its curvature is exact and new in "
            "every step, which is as costly here as Newton's Hessian. Cost counts gradients.",
        ),
        report.figure(output / "race.gif", "The race, animated.", "The same race, step by step."),
    ]


def language_model(output: Path, budget: Budget, say: Say) -> list[str]:
    """Tune, train, compare; returns blocks for the report."""
    task, steps = language_task(), budget.steps
    dimensions = f"{task.model.size:,} parameters, {BATCH} windows of {CONTEXT} characters a step"
    say(f"{dimensions}; {budget.trials} trials a method, each of {steps} steps\n")
    with processes() as pool:
        trials = tune(SPACES, partial(final_loss, steps), budget.trials, pool, "tuning")
        chosen = best(trials)
        jobs = [
            (method, trial.settings, length, seed, POINTS)
            for method, trial in chosen.items()
            for length in ((steps, steps // 2) if method != "AdamW" else (steps,))
            for seed in budget.seeds
        ]
        done = run_all(train, jobs, pool, "training")
    with processes(1) as pool:  # alone on the machine, and with one thread as above
        times = pool.submit(milliseconds_a_step, chosen).result()
    curves: dict[tuple[str, int], list[Curve]] = {}
    for (method, _, length, _, _), curve in zip(jobs, done, strict=True):
        curves.setdefault((method, length), []).append(curve)
    finals = {key: [float(curve.validation[-1]) for curve in group] for key, group in curves.items()}

    header = ("method", "tuned settings", "validation loss", "half the steps", "cost a step", "ms a step", "unclipped")
    rows = []
    for method, trial in chosen.items():
        group = curves[method, steps]
        rows.append(
            (
                method,
                ", ".join(f"{name} {value:.3g}" for name, value in trial.settings.items()),
                spread(finals[method, steps]),
                spread(finals[method, steps // 2]) if (method, steps // 2) in finals else "",
                f"{group[0].cost[-1] / steps:.2f}",
                f"{times[method]:.2f} ({times[method] / times['AdamW'] - 1:+.0%})",
                f"{np.mean([curve.unclipped for curve in group]):.0%}" if method != "AdamW" else "",
            )
        )
    adamw = finals["AdamW", steps]
    verdicts = [
        verdict(method, finals[method, steps], finals[method, steps // 2], adamw)
        for method in chosen
        if method != "AdamW"
    ]
    samples = {method: _sample(curves[method, steps][0].theta) for method in chosen}
    say("\n" + report.text_table(header, rows) + "\n\n" + "\n".join(verdicts))
    say(f"\nWhat {list(samples)[-1]}'s model writes:\n" + list(samples.values())[-1])

    _save_curves(output / "training.csv", jobs, done)
    full = {method: curves[method, steps] for method in chosen}
    for name, dark in (("training", False), ("training-dark", True)):
        _picture(output / f"{name}.png", full, dark)
    return [
        "<h2>A tiny GPT on real English text</h2>",
        report.paragraph(
            f"GPT-2's architecture with {dimensions}, on the Python language reference, which every Python carries. "
            f"Each method had {budget.trials} trials of {steps} steps over two settings (AdamW: lr and beta2, Sophia: "
            f"lr and gamma), from one Sobol sequence, on a seed that is not shown. What is shown are the seeds "
            f"{', '.join(map(str, budget.seeds))}: lines are means, bands the range over seeds. Cosine schedule with "
            "warm-up, gradients clipped to norm 1. Curvature every 10 steps, on one window (Sophia-H) or half of the "
            "batch (Sophia-G)."
        ),
        *(report.paragraph(text, "verdict") for text in verdicts),
        report.html_table(header, rows),
        report.paragraph(
            "Validation loss in nats a character: mean ± half the range over seeds, on an eighth of the held-out text. "
            "Half the steps: a run half as long with its own full schedule, which is how the paper judges. Cost in "
            "gradient-equivalents. Unclipped: share of coordinates that were not clipped, averaged over the run; "
            "the paper advises 10 to 50%.",
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
            "Independent studies at such scales found that Sophia and a well-tuned AdamW end up level."
        ),
        "<h2>Every trial</h2>",
        report.html_table(
            ("method", "settings", "validation loss"),
            [
                (trial.method, ", ".join(f"{k} {v:.3g}" for k, v in trial.settings.items()), f"{trial.score:.3f}")
                for trial in trials
            ],
        ),
        "<h2>What the models write</h2>",
        *(f"<h3>{method}</h3>" + report.preformatted(text) for method, text in samples.items()),
    ]


def _sample(theta: Array, length: int = 240) -> str:
    """A continuation of the first held-out window."""
    task = language_task()
    prompt = task.validation_batches[0][0][0]
    tokens = task.model.sample(theta, prompt, length, np.random.default_rng(0), temperature=0.8)
    return str(task.source.decode(tokens[-length:]))


def _save_curves(path: Path, jobs: Sequence[tuple[Any, ...]], curves: Sequence[Curve]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["method", "steps in all", "seed", "step", "validation loss", "cost", "unclipped"])
    for (method, _, length, seed, _), curve in zip(jobs, curves, strict=True):
        for values in zip(curve.steps, curve.validation, curve.cost, curve.unclipped, strict=True):
            writer.writerow([method, length, seed, *values])
    with replacing(path) as file:
        file.write(text.getvalue().encode())


def _picture(path: Path, curves: Mapping[str, Sequence[Curve]], dark: bool) -> None:
    from sophia_ref.plots import band, figure, save

    fig = figure(11, 3.6, dark=dark)
    by_step, by_cost, share = fig.subplots(1, 3)
    by_step.set(xlabel="step", ylabel="validation loss (nats a character)")
    by_cost.set(xlabel="cost (gradient-equivalents)")
    share.set(xlabel="step", ylabel="unclipped share of coordinates")
    share.yaxis.set_major_formatter("{x:.0%}")
    for method, group in curves.items():
        validation = np.array([curve.validation for curve in group])
        band(by_step, group[0].steps, validation, method)
        band(by_cost, group[0].cost, validation, method)
        if method != "AdamW":
            band(share, group[0].steps, np.array([curve.unclipped for curve in group]), method)
    save(fig, path)
