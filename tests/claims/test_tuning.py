"""Equal budgets, seeds that do not meet, and a plan that knows its work."""

from dataclasses import replace

import numpy as np
import pytest

from sophia_ref.claims import NAMES, load
from sophia_ref.claims.budgets import BUDGETS, FULL, QUICK, TINY, TUNING_SEED
from sophia_ref.claims.methods import SPACES, space
from sophia_ref.claims.plan import Plan
from sophia_ref.claims.runs import POINTS, Result, Table
from sophia_ref.claims.tasks import make_task
from sophia_ref.claims.tuning import AS_TUNED, Arm, Change, Need, milliseconds, shown

needs_of = {name: load(name).needs for name in NAMES if load(name).needs}
pytest.importorskip("sklearn", reason="the digits need scikit-learn")  # claim 8 asks for their sizes


def result(loss):
    return Result(loss, (0.3,) * POINTS, 1.0, 0.0, (1.0, 1.0, 1.0), 0.0, None)


def filled(plan):
    """A table in which the loss of a trial is its learning rate."""
    table = Table()
    for spec in plan.trials():
        table.add(spec, result(dict(spec.settings)["lr"]))
    return table


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
@pytest.mark.parametrize("name", needs_of)
def test_every_method_of_a_claim_gets_as_many_trials(name, budget):
    trials = {}
    for arm, _ in needs_of[name](budget):
        assert len(set(arm.tuning())) == arm.trials
        trials.setdefault((arm.task, arm.model, arm.batch), set()).add(arm.trials)
    assert all(len(counts) == 1 for counts in trials.values())


@pytest.mark.parametrize("name", needs_of)
def test_tuning_and_what_is_shown_share_no_seed_and_no_held_out_data(name):
    plan = Plan(needs_of[name](TINY), TINY)
    trials, shown_runs = plan.trials(), plan.evaluations(filled(plan))
    assert {spec.seed for spec in trials} == {TUNING_SEED}
    assert {spec.seed for spec in shown_runs} == set(TINY.seeds)
    assert len(TINY.seeds) >= 5
    assert TUNING_SEED not in TINY.seeds
    assert all(spec.tuning for spec in trials)
    assert not any(spec.tuning for spec in shown_runs)


@pytest.mark.parametrize(
    ("name", "model"),
    [("text", (32, 4, 1, 1)), ("zipf=1.0", (16, 4, 1, 1)), ("digits", (4,)), ("captions", (74, 4, 1, 1))],
)
def test_the_held_out_parts_of_tuning_and_of_the_verdict_have_nothing_in_common(name, model):
    def inputs(part):
        return (
            [batch[0] for batch in part] if isinstance(part, list) else [part[0] if isinstance(part, tuple) else part]
        )

    parts = make_task(name, model, 2).parts
    tuning, verdict = inputs(parts[True]), inputs(parts[False])
    assert not any(np.shares_memory(a, b) for a in tuning for b in verdict)  # both are views of one array
    assert min(sum(map(len, tuning)), sum(map(len, verdict))) > 100


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
def test_three_run_lengths_are_tuned_each_on_its_own(budget):
    steps = {}
    for arm, _ in needs_of["half_the_steps"](budget):
        steps.setdefault(arm.method, []).append(arm.steps)
    for method in ("SophiaH", "SophiaG", "Lion", "Signum"):
        assert sorted(steps[method]) == list(budget.lengths)
    assert set(steps["AdamW"]) >= {n for length in budget.lengths for n in (length, 2 * length)}


def test_fewer_trials_are_the_first_of_more():
    few = Arm("text", (8, 4, 1, 1), 2, "SophiaG", 4, 4)
    assert few.tuning() == few._replace(trials=8).tuning()[:4]


def test_trials_lie_within_the_ranges_of_their_method():
    for method in [*SPACES, "SophiaE", "SophiaH/clip=off/floor"]:
        for spec in Arm("text", (8, 4, 1, 1), 2, method, 4, 16).tuning():
            for name, value in spec.settings:
                low, high = space(method)[name]
                assert low * 0.999 <= value <= high * 1.001


def test_a_method_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match="method: 'Sofia'; expected one of AdamW"):
        space("Sofia")


def test_the_best_trial_is_the_one_of_least_loss_and_one_that_diverged_never_is():
    arm = Arm("text", (8, 4, 1, 1), 2, "AdamW", 4, 4)
    table = Table()
    for spec, loss in zip(arm.tuning(), (None, 3.0, 2.0, None), strict=True):
        table.add(spec, result(loss))
    assert arm.best(table) == arm.tuning()[2].settings


def test_the_time_of_a_step_is_the_median_of_the_trials_that_came_to_their_end():
    arm = Arm("text", (8, 4, 1, 1), 2, "AdamW", 4, 4)
    table = Table()
    for spec, (loss, seconds) in zip(arm.tuning(), ((2.0, 0.8), (None, 0.1), (3.0, 0.4), (2.0, 60.0)), strict=True):
        table.add(spec, result(loss)._replace(seconds=seconds))
    assert milliseconds(table, arm) == 200.0


def test_a_change_is_the_best_settings_but_for_what_it_says():
    settings = (("lr", 0.01), ("1-beta2", 0.05))
    assert AS_TUNED.apply(settings) == settings
    assert Change(times=(("lr", 4.0),), to=(("1-beta2", 0.1),)).apply(settings) == (("lr", 0.04), ("1-beta2", 0.1))


@pytest.mark.parametrize("budget", [TINY, QUICK], ids=lambda b: b.name)
def test_the_plan_knows_the_number_of_runs_before_the_first(budget):
    plan = Plan((need for needs in needs_of.values() for need in needs(budget)), budget)
    forecast, made = plan.forecast(), plan.evaluations(filled(plan))
    assert len(set(forecast)) == len(forecast)
    assert len(made) <= len(forecast) <= len(made) + 5 * 30  # fewer where a change by the factor 1 is none
    alone = sum(len(Plan(needs(budget), budget).trials()) for needs in needs_of.values())
    assert len(plan.trials()) < alone  # claims share


def test_claims_that_share_an_arm_ask_for_it_once():
    arm = Arm("text", (8, 4, 1, 1), 2, "AdamW", 4, 2)
    plan = Plan([Need(arm), Need(arm, (AS_TUNED, Change(times=(("lr", 2.0),)))), Need(arm, ())], TINY)
    assert len(plan.trials()) == 2
    assert len(plan.evaluations(filled(plan))) == 10
    assert len(shown(filled(plan), arm, TINY.seeds)) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": (0, 1, 2, 3)}, "seeds"),
        ({"seeds": (0, 1, 2, 3, TUNING_SEED)}, "seeds"),
        ({"seeds": (0, 0, 1, 2, 3)}, "seeds"),
        ({"lengths": (4, 4, 8)}, "lengths"),
        ({"zipf_lengths": (3, 2, 1)}, "zipf_lengths"),
    ],
)
def test_a_budget_that_is_not_fair_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(FULL, **change)
