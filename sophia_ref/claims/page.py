"""The page of claims, in Markdown, from the numbers alone: first a table of verdicts, then a section for each."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import sophia_ref as sr
from sophia_ref.claims import gpu
from sophia_ref.claims.claim import BY_CHANCE, OUTCOMES, Claim, Numbers, Verdict
from sophia_ref.report import markdown_table

Found = Sequence[tuple[Claim, Numbers, dict[str, Any]]]


def markdown(found: Found, folder: Path, summary: str) -> str:
    """The page. folder: where the figures are, beside the page."""
    verdicts = {claim.name: claim.verdict(numbers) for claim, numbers, _ in found}
    budgets = sorted({entry["budget"] for *_, entry in found})
    parts = [
        "# Does it really work? The claims, tried",
        f"Made by `sophia-ref claims{' --full' * ('full' in budgets)}`; do not edit. Every verdict is a function of "
        "the numbers below it, and none of an opinion: `sophia_ref/claims/` has one file for each.",
        _how(budgets, summary),
        "## Verdicts",
        _count(list(verdicts.values())),
        markdown_table(
            ("", "claim", "verdict", "ours", "the paper's", "independent"),
            [
                (str(claim.number), f"[{claim.title}](#{claim.number}-{_anchor(claim.title)})",
                 _outcome(verdicts[claim.name]), claim.headline(numbers), claim.paper, claim.independent)
                for claim, numbers, _ in found
            ],
        ),
    ]  # fmt: skip
    for claim, numbers, entry in found:
        parts += section(claim, numbers, folder.name, bool(entry.get("trials")))
    parts.append(gpu.section(folder))
    logs = "; ".join(f"[the log]({folder.name}/{name}.log)" for name in budgets if (folder / f"{name}.log").exists())
    parts.append(f"Page written by {machine()}{'; ' * bool(logs)}{logs}.")
    return "\n\n".join(parts) + "\n"


def machine() -> str:
    """What did it, in words."""
    system = f"{platform.system()} {platform.machine()}"
    return f"sophia-ref {sr.__version__} on {system}, Python {platform.python_version()}, NumPy {np.__version__}"


def section(claim: Claim, numbers: Numbers, folder: str, tuned: bool) -> list[str]:
    """One claim: what is said, what was done, the verdict, figure and tables. tuned: whether there is a figure of its
    trials."""
    verdict = claim.verdict(numbers)
    parts = [
        f"## {claim.number}. {claim.title}",
        f"*Claim.* {claim.claim} ({claim.source.rstrip('.')}.)",
        f"*Experiment.* {claim.experiment}",
        f"**{verdict.outcome.capitalize()}.** {_counts(verdict)}{verdict.why} *Regime:* {verdict.regime}.",
        f"*Beside it.* The paper: {claim.paper}. Others: {claim.independent}.",
        _picture(f"{folder}/{claim.name}", claim.title),
        claim.caption,
    ]
    for title, header, rows in claim.tables(numbers):
        table = markdown_table(header, rows)
        if len(rows) > LONG:
            table = f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"
        else:
            table = f"{title}:\n\n{table}"
        parts.append(table)
    if tuned:
        said = "What tuning buys: the loss to expect of the best of so many trials"
        picture = _picture(f"{folder}/{claim.name}-trials", said)
        parts.append(f"<details><summary>{said}</summary>\n\n{picture}\n\n{FAR}\n\n</details>")
    return parts


def _picture(path: str, said: str) -> str:
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{path}-dark.png">'
        f'<img alt="{said}" src="{path}.png"></picture>'
    )


FAR = (
    "Losses are those of the one seed of the tuning, on held-out data of its own, and so not those of the tables. "
    "Beyond the frame is what comes out far above the others, as where all trials diverge."
)
LONG = 14  # rows of a table from which on it is folded


def _how(budgets: list[str], summary: str) -> str:
    words = {
        "full": "",
        "quick": " **This is a quick run: it shows every part, and its runs are too short to conclude anything.**",
    }
    note = "".join(words.get(name, f" (budget {name})") for name in budgets)
    return (
        "Where methods are compared, each had the same number of trials, the points of one Sobol sequence over its own "
        "ranges (learning rate, gamma, betas, decay, where it has them), for every run length anew, on a seed and "
        "held-out data that are used for nothing else. Shown are means over five other seeds; a run that diverged, or "
        "ended higher, counts as 10 nats. In brackets are 95% intervals. They hold two kinds of luck: other seeds, "
        "drawn by a bootstrap that is widened as five values need it, alike for both sides of a comparison, as one "
        "seed means the same start and the same batches; and other trials, as a best of a few owes something to where "
        "they fell. Where a claim changes a setting of a tuned method there is no second kind, and where nothing is "
        "random no interval. A star marks a best setting near the end of its range. T is the number of steps of a "
        "run, over which its learning rate decays, k the steps from one estimate of the curvature to the next; losses "
        "are in nats. Sophia-H estimates by Hutchinson, Sophia-G by Gauss-Newton-Bartlett (GNB). In all "
        f"{summary}.{note}"
        "\n\nA claim is cut into comparisons, each of which comes out as claimed, not so, or is left open by its "
        f"interval. *Reproduced*: all come out as claimed. *Partly*: more do than the {BY_CHANCE:.0%} that chance "
        "may bring; how many, is said beside it. *Not reproduced at this scale*: no more than those, and at least "
        "half do not. *Underpowered*: no more than those, and most are open. Most models have about 30,000 "
        "parameters and train on two cores; the paper's have 125 million and more. What stands in the columns *the "
        "paper's* and *independent* is quoted; where it says from memory, it was not looked up."
    )


def _outcome(verdict: Verdict) -> str:
    return f"**{verdict.outcome}**" + (f": {verdict.counts}" if verdict.answers else "")


def _counts(verdict: Verdict) -> str:
    return f"({verdict.counts[0].upper()}{verdict.counts[1:]}.) " if verdict.answers else ""


def _count(verdicts: list[Verdict]) -> str:
    counts = {outcome: sum(v.outcome == outcome for v in verdicts) for outcome in OUTCOMES}
    return "; ".join(f"{outcome}: {n}" for outcome, n in counts.items()) + "."


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return "".join(c for c in title.lower().replace(" ", "-") if c.isalnum() or c == "-")
