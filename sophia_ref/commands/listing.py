"""`sophia-ref list`: what there is to race on, to race with, and to train."""

from argparse import Namespace

from sophia_ref.commands.output import Say
from sophia_ref.report import text_table
from sophia_ref.settings import ESTIMATORS, LANGUAGE, OPTIMIZERS, TOYS
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import PRESETS


def command(args: Namespace, say: Say) -> int:
    problems = [(name, p.title, len(p.minima), len(p.saddles), len(p.maxima)) for name, p in REGISTRY.items()]
    say(text_table(("PROBLEM", "", "min", "saddle", "max"), problems) + "\n")
    uses = [("yes" * (name in TOYS), "yes" * (name in LANGUAGE)) for name in OPTIMIZERS]
    optimizers = [(*item, *use) for item, use in zip(OPTIMIZERS.items(), uses, strict=True)]
    say(text_table(("OPTIMIZER", "", "races", "trains"), optimizers) + "\n")
    say(text_table(("ESTIMATOR", "of the Hessian's diagonal"), list(ESTIMATORS.items())) + "\n")
    models = [(name, f"{m.size:,}", m.vocab, m.context, m.width, m.heads, m.layers) for name, m in PRESETS.items()]
    say(text_table(("PRESET", "parameters", "vocabulary", "context", "width", "heads", "layers"), models))
    return 0
