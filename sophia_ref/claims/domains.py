"""Claim 8: it carries to other domains: real images, and images with captions."""

from __future__ import annotations

from typing import Any

import numpy as np

from sophia_ref.claims.claim import Claim, Numbers, TableOf, Verdict, answer, combine, plain, spread
from sophia_ref.claims.methods import label
from sophia_ref.claims.runs import Table
from sophia_ref.claims.statistics import bootstrap, difference, mean_over_seeds
from sophia_ref.claims.tuning import Arm, Budget, Need, shown

SOPHIAS = ("SophiaH", "SophiaG")
METHODS = ("AdamW", "Signum", *SOPHIAS)
TITLES = {"digits": "handwritten digits, nats an image", "captions": "digits with captions, nats a token"}
BETTER_BY = 0.0


def arms(budget: Budget) -> list[Arm]:
    from toy_problems.vision import DigitCaptions

    context = DigitCaptions.length - 1
    of_captions = budget.of((context, 32, 4, 2), (context, 32, 4, 2), (context, 4, 1, 1))
    of_digits = budget.of((128,), (128,), (4,))
    batches = budget.of((64, 8), (64, 4), (8, 2))
    return [
        Arm(task, model, batch, method, steps, budget.few_trials)
        for task, model, batch in (("digits", of_digits, batches[0]), ("captions", of_captions, batches[1]))
        for method in METHODS
        for steps in (budget.lengths if task == "digits" else [length // 4 for length in budget.lengths])
    ]


def needs(budget: Budget) -> list[Need]:
    return [Need(arm) for arm in arms(budget)]


def measure(table: Table, budget: Budget) -> Numbers:
    losses = {
        (arm.task, arm.method, arm.steps): np.array([table[spec].loss for spec in shown(table, arm, budget.seeds)])
        for arm in arms(budget)
    }
    rows = [
        {
            "task": task,
            "method": method,
            "steps": steps,
            "loss": bootstrap([own], mean_over_seeds),
            "minus_adamw": difference(own, losses[task, "AdamW", steps]),
            "minus_signum": difference(own, losses[task, "Signum", steps]),
        }
        for (task, method, steps), own in losses.items()
    ]
    return plain({"rows": rows})


def verdict(numbers: Numbers) -> Verdict:
    judged = [row for row in numbers["rows"] if row["method"] in SOPHIAS]
    answers = [answer(row["minus_adamw"], BETTER_BY) for row in judged]
    parts = []
    for task in TITLES:
        own = [a for a, row in zip(answers, judged, strict=True) if row["task"] == task]
        name = TITLES[task].split(",")[0]
        parts.append(f"on {name} better than AdamW in {own.count('yes')} and worse in {own.count('no')} of {len(own)}")
    why = "With as many steps Sophia is " + ", ".join(parts) + "."
    steps = sorted({row["steps"] for row in numbers["rows"]})
    return Verdict(combine(answers), why, f"about 28,000 parameters, {', '.join(map(str, steps))} steps")


def headline(numbers: Numbers) -> str:
    answers = [answer(row["minus_adamw"], BETTER_BY) for row in numbers["rows"] if row["method"] in SOPHIAS]
    return f"better than AdamW in {answers.count('yes')}, worse in {answers.count('no')} of {len(answers)} comparisons"


def tables(numbers: Numbers) -> list[TableOf]:
    header = ("method", "steps", "validation loss", "minus AdamW", "minus Signum")
    return [
        (
            title.capitalize(),
            header,
            [
                [label(row["method"]), str(row["steps"]), spread(row["loss"]), spread(row["minus_adamw"], "+.3f"),
                 spread(row["minus_signum"], "+.3f")]
                for row in numbers["rows"]
                if row["task"] == task
            ],
        )
        for task, title in TITLES.items()
    ]  # fmt: skip


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import grid, log_ticks, look_of, whiskers
    from sophia_ref.plots.style import figure, label_ends

    fig = figure(9.5, 3.4, dark)
    for ax, (task, title) in zip(fig.subplots(1, 2), TITLES.items(), strict=True):
        for i, method in enumerate(METHODS):
            rows = [row for row in numbers["rows"] if (row["task"], row["method"]) == (task, method)]
            steps = [row["steps"] * 1.03**i for row in rows]  # beside each other
            whiskers(ax, steps, [row["loss"] for row in rows], **look_of(method))
        scheme = grid(ax)
        ax.set(xlabel="steps, each run fully decayed", ylabel="validation loss")
        log_ticks(ax, sorted({row["steps"] for row in numbers["rows"] if row["task"] == task}))
        ax.set_title(title, color=scheme.ink, fontsize=9)
        label_ends(ax)
    return fig


CLAIM = Claim(
    8,
    "domains",
    "It carries to other domains",
    "What Sophia gains on language it also gains elsewhere: images, several modalities.",
    "The article's outlook; the paper itself trains language models alone.",
    "The 1,797 handwritten digits that scikit-learn carries: a perceptron tells them apart, and a GPT reads "
    "sequences of two modalities, 64 pixels and then a caption such as 'digit three', of which it predicts every "
    "token from those before. Training images are shifted by a pixel at random (digits). Tuned as everywhere, with "
    "as many trials for each method.",
    "not tried",
    "none that we know of",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Loss on held-out images after runs of different lengths.",
    needs,
)
