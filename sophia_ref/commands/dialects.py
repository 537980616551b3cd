"""`sophia-ref dialects`: how implementations of Sophia differ, as tables of their knobs, and how far they drift."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sophia_ref.commands.output import Say, picture
from sophia_ref.conformance.dialects import DIALECTS, Dialect
from sophia_ref.conformance.drift import STEPS, Drift, drift
from sophia_ref.conformance.estimators import ESTIMATORS
from sophia_ref.report import text_table
from toy_problems.landscapes import REGISTRY
from toy_problems.regression import SoftmaxRegression

Row = Sequence[str]

LABELS = "softmax"  # the problem that has labels to draw
PROBLEMS = [*REGISTRY, LABELS]

LEGEND = f"""\
Largest distance of theta from the paper's in {STEPS} steps, and the first step after
which it is another by more than rounding. Settings are converted to mean the
same as far as they can; start, batches, probes and labels are the same. Those
that draw labels, and squares of gradients, are compared with Sophia-G, the
others with Sophia-H."""


def command(args: Namespace, say: Say) -> int:
    if args.problem is None:
        say(markdown() if args.markdown else text() + f"\n\n{REMARKS}", end="")
        return 0
    if args.markdown:
        args.parser.error(f"argument --markdown: given with {args.problem!r}; expected no PROBLEM beside it")
    path = picture(args, f"dialects_{args.problem}.png")
    here, paper = problem(args.problem)
    found, left_out = drift(here, paper, args.seed)
    settings = ", ".join(f"{name} {value:.3g}" for name, value in paper.items())
    title = f"{getattr(here, 'title', 'Softmax regression')}, {STEPS} steps"
    say(f"{title}\nthe paper's settings: {settings}\n")
    say(text_table(HEADER, [row(each) for each in found]) + "\n")
    say(LEGEND + f"\nLeft out, as there are no labels to draw: {', '.join(left_out)}." * bool(left_out) + "\n")

    from sophia_ref.plots import save
    from sophia_ref.plots.dialects import drift_figure

    say(f"wrote {save(drift_figure(found, title), path)}")
    return 0


def problem(name: str) -> tuple[Any, dict[str, float]]:
    """The problem of this name, and the paper's settings for it: a step of a tenth of the domain for a landscape, as in
    `sophia-ref race`, and an h that follows the curvature within a few estimates."""
    if name == LABELS:
        paper = dict(lr=0.03, beta1=0.9, beta2=0.9, gamma=0.05, eps=1e-12, weight_decay=0.1, every=10)
        return SoftmaxRegression(examples=512, features=8, classes=8), paper
    landscape = REGISTRY[name]
    size = min(high - low for low, high in landscape.domain)
    paper = dict(lr=0.02 * size, beta1=0.5, beta2=0.5, gamma=0.1 * size, eps=1e-12, weight_decay=0.0, every=10)
    return landscape, paper


def update(dialect: Dialect) -> str:
    """The rule in letters, as the knobs say it."""
    knobs, scale = dialect.knobs, "" if dialect.form == "v1" else "γ "
    if knobs.batch_at_step:
        scale = "ρ bs "
    m, h = "m̂" if knobs.m_corrected else "m", "ȟ" if knobs.h_corrected else "h"
    denominator = {
        "max": f"max({scale}{h}, ε)",
        "add": f"({scale}{h} + ε)",
        "relu+add": f"(max({scale}{h}, 0) + ε)",
    }[knobs.denominator]
    bound = "ρ" if dialect.form == "v1" else "1"
    rate = "η/ρ" if knobs.rate_over_clip else "η"
    if knobs.floor:
        return f"{rate} clip({m}/{denominator}, {bound})"
    return f"{rate} sign({m}) min(|{m}|/{denominator}, {bound})"


def when(dialect: Dialect) -> str:
    """When curvature is estimated, and when it is used."""
    knobs = dialect.knobs
    if "every" in dialect.fixed:
        return "in every step"
    first = {"1": 1, "k": 10, "k+1": 11}[knobs.first]
    steps = f"{first}, {first + 10}, ..."
    if knobs.replaces:
        return f"instead of step {steps}"
    if knobs.absorbed == "late":
        return f"in {steps}; used from 20, 30, ..."
    if knobs.absorbed == "after":
        return f"in {steps}; used from {first + 1}, {first + 11}, ..."
    if knobs.first == "k+1":
        return "after 10, 20, ..."
    return f"in {steps}" + ", never for k = 1" * knobs.literal


def _decay(dialect: Dialect) -> str:
    return "added to the update" if dialect.knobs.decay == "added" else "first"


def _m(dialect: Dialect) -> str:
    return "averaged twice" if dialect.knobs.averagings == 2 else "corrected" * dialect.knobs.m_corrected


def _estimates(dialect: Dialect) -> str:
    said = " or ".join(ESTIMATORS[estimator][1] for estimator in dialect.estimators)
    return said.replace("or u(Hu), ", "or ")


def _defaults(*names: str) -> Callable[[Dialect], str]:
    def cell(dialect: Dialect) -> str:
        own = next((own for own in dialect.settings if dialect.canonical.get(own, own) in names), None)
        value = next((dialect.fixed[name] for name in names if name in dialect.fixed), None)
        value = value if own is None else dialect.settings[own]
        return "" if value is None else f"{value:g}"

    return cell


def _scale(dialect: Dialect) -> str:
    own = dialect.own("clip" if dialect.form == "v1" else "gamma")
    return f"{own} {dialect.settings[own]:g}"


# title: columns, each a header and what fills it
TABLES: dict[str, dict[str, Callable[[Dialect], str]]] = {
    "the update": {"": lambda d: d.name, "FORM": lambda d: d.form, "STEP": update, "M": _m, "DECAY": _decay},
    "the curvature, k = 10": {"": lambda d: d.name, "ESTIMATE": _estimates, "WHEN, IN STEPS": when},
    "defaults": {
        "": lambda d: d.name,
        "LR": _defaults("lr"),
        "BETA1": _defaults("beta1"),
        "BETA2": _defaults("beta2"),
        "SCALE": _scale,
        "EPS": _defaults("eps"),
        "DECAY": _defaults("weight_decay"),
        "K": _defaults("every"),
        "BS": _defaults("bs"),
        "CHECKED": lambda d: d.checked,
    },
}
REMARKS = """\
m̂ is m / (1 - β₁ᵗ), ȟ is h / (1 - β₂ⁿ) after n estimates. B is the number of
predictions in a batch; official and kyegomez leave it out of the estimate and
multiply by bs in each step. An estimate made after step 10 sees the parameters
that step 11 begins with. Decay that is added to the update differs from decay
that comes first by rounding alone.
"""


def tables() -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, header, rows) of each table."""
    return [
        (title, list(columns), [[fill(dialect) for fill in columns.values()] for dialect in DIALECTS.values()])
        for title, columns in TABLES.items()
    ]


def text() -> str:
    """The tables for a terminal of 100 columns."""
    return "\n\n".join(
        text_table([title.upper() if not name else name for name in header], rows) for title, header, rows in tables()
    )


def markdown() -> str:
    """The tables, and where each description is from, as docs/dialects.md has them."""
    parts = [
        "# How implementations of Sophia differ",
        "Made by `make docs/dialects.md` from `sophia_ref/conformance/dialects.py`; do not edit. The same in a "
        "terminal, and how far each drifts from the paper on a problem: `sophia-ref dialects` and `sophia-ref dialects "
        "softmax`.",
    ]
    for title, header, rows in tables():
        parts += [f"## {title.capitalize()}", _markdown_table(["dialect" * (not h) or h.lower() for h in header], rows)]
        if title == next(iter(TABLES)):
            parts.append(REMARKS.strip())
    sources = [[d.name, d.source, d.checked, d.note] for d in DIALECTS.values()]
    parts += ["## Sources", _markdown_table(["dialect", "source", "checked", "note"], sources)]
    parts.append(
        "*run*: the published package takes the same steps in `make test-ports`, exactly in powers of two and to two "
        "ulp an operation elsewhere. *recorded*: so do its recorded steps in `make test`. *by reading*: the source was "
        "read, not run."
    )
    return "\n\n".join(parts) + "\n"


def _markdown_table(header: Row, rows: Sequence[Row]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


HEADER = ("", "estimator", "distance", "differs from", "final loss", "paper's")


def row(each: Drift) -> tuple[str, ...]:
    """The cells of HEADER."""
    distance = np.nanmax(each.distances)
    differs = "never" if each.first is None else f"step {each.first}"
    ends = [_loss(run) for run in (each.run, each.paper)]
    return each.dialect, each.estimator, "0" if each.first is None else f"{distance:.3g}", differs, *ends


def _loss(run: Any) -> str:
    return f"{run.losses[-1]:.4g}" if run.diverged_at is None else f"diverged in {run.diverged_at}"
