"""The claims made for Sophia, each tried, and a verdict computed from what was measured.

Sixteen claims of the paper and of articles about it, and a map that nobody has drawn. Each is one file with the claim
and its source, the experiment, its figure, its tables, and, but for the map, a verdict that is a function of the
numbers: reproduced, partly, not reproduced at this scale, or underpowered, where the intervals are too wide to say.
None is a matter of opinion, and one that goes against Sophia is printed like one that is in its favour.

How it hangs together:

    claim.py        what a claim is; how intervals become answers, and answers an outcome
    statistics.py   intervals, of seeds and of tuning; the best of n trials; how much sooner one method arrives
    tasks.py        what is trained on          methods.py   the methods, and the ranges that they are tuned in
    runs.py         one table of all runs: a run is a Spec, described by names and numbers, and its Result one line of a
                    file. Claims share runs; a run in the table is not made again; a kill loses what is under way
    budgets.py      how much is done: lengths, trials, models, seeds
    tuning.py       an Arm is a method on a task for a run length. Every arm gets as many trials, from one Sobol
                    sequence, on a seed and a part of the held-out data that nothing else sees; the best is trained with
                    other seeds
    plan.py         so it is known before the first run how many there are, and what they take
    conduct.py      plan, run, measure, draw     page.py      the page, from the numbers alone
    quadratic.py    quadratics in which everything can be turned, for claims 6 and 17
    cells.py        a cell of the map: who wins it, and how it is drawn
    pictures.py     what the figures share           gpu.py       claim 1 at a larger scale, where a GPU trained it

Why so. A verdict on an optimizer is worth what its tuning is worth: so budgets are equal, and the best of n trials is
shown for every n. A short run alone predetermines it: so there are three lengths, each tuned anew and decayed in full.
Steps alone flatter a method that pays for curvature: so costs in gradients and seconds stand beside them. And few seeds
and few trials say little: so intervals are widened as befits five seeds, hold what other trials could have found, and
what they cannot decide is called underpowered.

A claim of one's own is a file with a `CLAIM`, and its name in NAMES.
"""

from importlib import import_module

from sophia_ref.claims.claim import Claim

NAMES = (
    "half_the_steps",
    "frequency",
    "wrong_curvature",
    "saddle",
    "hessian_cost",
    "heterogeneous",
    "scale",
    "domains",
    "estimators",
    "estimator_ablation",
    "clipping_ablation",
    "norm_clipping",
    "learning_rate",
    "gamma",
    "overhead",
    "spread",
    "where",
)  # in the order of their numbers


def load(name: str) -> Claim:
    """The claim of this name, one of NAMES."""
    claim: Claim = import_module(f"sophia_ref.claims.{name}").CLAIM
    return claim
