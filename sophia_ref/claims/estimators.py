"""Claim 9: bias and variance of the estimators, against the exact diagonals."""

from __future__ import annotations

from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims.budgets import Budget
from sophia_ref.claims.claim import NO, OPEN, YES, Claim, Numbers, TableOf, Verdict, number, plain, spread
from sophia_ref.claims.statistics import bootstrap
from toy_problems.layers import inverse_cdf
from toy_problems.transformer import LanguageTask, TinyGPT
from toy_problems.zipf import ZipfLanguage

Array = Any
FISHER = "empirical Fisher"
# estimator, what it should estimate
ESTIMATORS = {
    "Hutchinson": (sr.hutchinson, "hessian"),
    "Rademacher": (sr.hutchinson_rademacher, "hessian"),
    "GNB": (sr.gnb, "gauss_newton"),
    FISHER: (sr.empirical_fisher, "gauss_newton"),
}
STAGES = {"start": "at the start", "trained": "after training"}
MATRICES = {"hessian": "H", "gauss_newton": "G"}
UNBIASED = 0.05  # of the diagonal's norm


def measure(table: Any, budget: Budget) -> Numbers:
    """On a GPT small enough that H and G can be written down, at the start and after some training: estimates against
    the diagonals, entry by entry."""
    draws, steps, vocab, width = budget.of((4000, 300, 16, 8), (200, 100, 12, 8), (20, 10, 5, 2))
    task = LanguageTask(TinyGPT(vocab, 8, width, 1, 1), ZipfLanguage(np.random.default_rng(0), vocab), 4)
    start = task.init(np.random.default_rng(0)).astype(np.float64)
    opt = sr.AdamW(sr.cosine(2e-2, steps, warmup=steps // 10), beta1=0.9, beta2=0.95, weight_decay=0.0)
    thetas = {"start": start, "trained": sr.run(task, opt, steps, theta0=start, record=steps).theta}
    batch = task.batch(np.random.default_rng(1), ())
    stages = {}
    for stage, theta in thetas.items():
        H = sr.Oracle(task, theta, batch).hessian()
        exact = {"hessian": np.diag(H), "gauss_newton": gauss_newton_diagonal(task, theta, batch)}
        rest = (H**2).sum(axis=1) - np.diag(H) ** 2  # sum over j != i of H_ij^2
        formula = {"Hutchinson": 2 * np.diag(H) ** 2 + rest, "Rademacher": rest}
        rows = []
        for name, (estimator, target) in ESTIMATORS.items():
            rng = np.random.default_rng(2)
            # the empirical Fisher's labels are those of the data, which the language draws anew
            data = [
                language_labels(task, batch, rng) if estimator is sr.empirical_fisher else batch for _ in range(draws)
            ]
            h = np.stack([sr.Oracle(task, theta, each, rng).curvature(estimator) for each in data])  # (draws, P)
            rows.append(_compared(name, h, exact[target], formula.get(name), draws))
        apart = np.linalg.norm(exact["gauss_newton"] - exact["hessian"]) / np.linalg.norm(exact["hessian"])
        stages[stage] = {"rows": rows, "apart": apart, "negative": (exact["hessian"] < 0).mean()}
    return plain({"stages": stages, "parameters": task.model.size, "draws": draws, "predictions": batch[0].size})


def _compared(name: str, h: Array, truth: Array, formula: Array | None, draws: int) -> dict[str, Any]:
    """bias: <mean - truth, truth> / |truth|^2, which an estimate of the mean has no bias of its own in, with its
    interval. error: the relative error of one estimate, the root of E |h - truth|^2 / |truth|^2. variance: that
    measured over that of the formula, medians over entries."""
    size = float(truth @ truth)
    along = h @ truth / size - 1  # (draws,)
    error = np.sqrt(((h - truth) ** 2).sum(axis=1).mean() / size)
    variance = None
    if formula is not None:
        known = formula > 1e-12 * formula.max()
        variance = float(np.median(h.var(axis=0)[known] / formula[known]))
    enough = int(np.ceil((error / 0.5) ** 2)) if np.isfinite(error) else None
    return {
        "name": name,
        "bias": bootstrap([along], lambda x: x.mean(axis=1), draws=1000),
        "error": error,
        "variance": variance,
        "enough": enough,
        "negative": (h < 0).mean(),
        "correlation": np.corrcoef(h.mean(axis=0), truth)[0, 1],
    }


def language_labels(task: Any, batch: Any, rng: np.random.Generator) -> Any:
    """The batch with its labels drawn anew from the language's own chances, given the tokens."""
    tokens, targets = batch
    p = task.source.transitions[tokens].reshape(-1, task.source.vocab)
    return tokens, inverse_cdf(p, 1 - rng.random(len(p))).reshape(targets.shape)


def gauss_newton_diagonal(task: Any, theta: Array, batch: Any) -> Array:
    """diag G, exactly: the mean over positions b of sum_k p_bk (grad -log p_bk)^2, a gradient for every position and
    word."""
    tokens, targets = batch
    z = task.model.logits(theta, tokens)  # (B, T, V)
    p = np.exp(z - z.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    diagonal = np.zeros_like(theta)
    for place in np.ndindex(*tokens.shape):
        for k in range(z.shape[-1]):
            alone = np.full(targets.shape, -1)  # all others masked
            alone[place] = k
            diagonal += p[(*place, k)] * sr.Oracle(task, theta, (tokens, alone)).grad() ** 2
    return diagonal / tokens.size


def _unbiased(answers: list[str], numbers: Numbers) -> str:
    """The answers apart: of what is said to be unbiased, and of the empirical Fisher, which is not."""
    names = [row["name"] for found in numbers["stages"].values() for row in found["rows"]]
    own, fisher = (
        [a for a, name in zip(answers, names, strict=True) if (name == FISHER) == biased] for biased in (False, True)
    )
    return (
        f"The estimators are unbiased within {UNBIASED:.0%} in {own.count(YES)} of {len(own)} cases, and the {FISHER} "
        f"is biased by more in {fisher.count(YES)} of {len(fisher)}. "
    )


def verdict(numbers: Numbers) -> Verdict:
    answers, words = [], []
    for stage, found in numbers["stages"].items():
        for row in found["rows"]:
            _, low, high = row["bias"]
            small = YES if -UNBIASED < low and high < UNBIASED else NO if low > UNBIASED or high < -UNBIASED else OPEN
            biased = row["name"] == FISHER  # which is said not to estimate it
            answers.append({YES: NO, NO: YES, OPEN: OPEN}[small] if biased else small)
        text = ", ".join(f"{row['name']} {number(row['bias'][0], '+.1%')}" for row in found["rows"])
        words.append(f"Bias {STAGES[stage]}: {text}")
    last = numbers["stages"]["trained"]
    errors = ", ".join(f"{row['name']} {number(row['error'], '.1f')}" for row in last["rows"])
    why = (
        _unbiased(answers, numbers)
        + ". ".join(words)
        + f". The error of one estimate, over the size of what it estimates, after training: {errors}. G differs "
        f"from H on the diagonal by {number(last['apart'], '.0%')} of H's there."
    )
    return Verdict(
        answers,
        why,
        f"{numbers['parameters']:,} parameters, {numbers['predictions']} predictions, {numbers['draws']} draws",
    )


def headline(numbers: Numbers) -> str:
    stages = [
        f"{STAGES[stage]} " + ", ".join(f"{row['name']} {number(row['bias'][0], '+.0%')}" for row in found["rows"])
        for stage, found in numbers["stages"].items()
    ]
    return "bias " + "; ".join(stages)


def tables(numbers: Numbers) -> list[TableOf]:
    header = ("estimator", "of", "bias", "correlation of the mean", "error of one estimate",
              "estimates for an error of a half", "variance over the formula's", "negative entries")  # fmt: skip
    return [
        (
            f"The model {STAGES[stage]}",
            header,
            [
                [row["name"], MATRICES[ESTIMATORS[row["name"]][1]], spread(row["bias"], "+.1%"),
                 number(row["correlation"]), number(row["error"], ".2f"), f"{row['enough']:,}",
                 number(row["variance"], ".2f"), number(row["negative"], ".0%")]
                for row in found["rows"]
            ],
        )
        for stage, found in numbers["stages"].items()
    ]  # fmt: skip


def draw(numbers: Numbers, dark: bool) -> Any:
    from sophia_ref.claims.pictures import CYCLE, MARKERS, grid, legend, log_ticks, whiskers
    from sophia_ref.plots.style import figure

    fig = figure(9.5, 3.4, dark)
    left, right = fig.subplots(1, 2)
    names = list(ESTIMATORS)
    for i, (stage, found) in enumerate(numbers["stages"].items()):
        look = {"color": CYCLE[i], "marker": MARKERS[i], "linestyle": "none", "label": stage}
        places = np.arange(len(names)) + 0.15 * (i - 0.5)
        whiskers(left, places, [row["bias"] for row in found["rows"]], **look)
        whiskers(right, places, [(row["error"],) * 3 for row in found["rows"]], **look)
    scheme = grid(left)
    grid(right)
    left.axhline(0, color=scheme.quiet, linewidth=0.8)
    left.set_ylabel("bias, of the diagonal's size")
    left.set_yscale("symlog", linthresh=0.1)
    left.margins(y=0.1)
    right.set_ylabel("error of one estimate, relative")
    log_ticks(right, [0.5, 1, 2, 5, 10, 20, 50], "y")
    for ax in (left, right):
        ax.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    legend(left, loc="upper left")
    return fig


CLAIM = Claim(
    9,
    "estimators",
    "Both estimators are unbiased",
    "Hutchinson estimates the Hessian's diagonal and GNB the Gauss-Newton matrix's, both without bias; the "
    "empirical Fisher estimates neither.",
    "Liu et al. 2023, sections 2.3 and 2.4; variances derived anew.",
    "A GPT so small that both matrices can be written down: the Hessian by its products, the Gauss-Newton diagonal "
    "by a gradient for every position and every word. Estimates are drawn many times, at the start and after "
    "training; the labels of the empirical Fisher are drawn anew from the language. Bias is the projection of the "
    "mean on the true diagonal, over the diagonal's, less one; how alike they are beside their size, their "
    f"correlation tells. Unbiased means an interval of the bias within {UNBIASED:.0%}; the empirical Fisher's, against "
    "the Gauss-Newton diagonal, is asked to lie outside.",
    "unbiased, with GNB never negative",
    "the empirical Fisher is not the Fisher (Kunstner et al. 2019)",
    measure,
    verdict,
    headline,
    tables,
    draw,
    "Left: bias. Right: the error of a single estimate.",
    takes=(202, 12),
)
