"""What tuning buys: the best of n trials of each arm, by panels that can be compared."""

from itertools import combinations

import numpy as np
import pytest

from sophia_ref.claims.runs import LOST, Result, Table
from sophia_ref.claims.trials import curves, draw, expected_best, looks, panels
from sophia_ref.claims.tuning import Arm

MODEL = (8, 4, 1, 1)


@pytest.mark.filterwarnings("error")
def test_the_expected_best_of_n_is_a_mean_over_all_choices_and_what_diverged_counts_as_the_worst():
    scores = np.array([3.0, LOST, 1.0, 2.5])
    known = [3.0, 3.0, 1.0, 2.5]
    for n, value in enumerate(expected_best(scores), 1):
        assert value == pytest.approx(np.mean([min(some) for some in combinations(known, n)]))
    assert (expected_best(np.full(3, LOST)) == LOST).all()


def arms():
    return [Arm("text", MODEL, 2, method, steps, 4) for steps in (4, 8) for method in ("AdamW", "SophiaG")]


def table_of(arms):
    table = Table()
    for number, arm in enumerate(arms):
        for i, spec in enumerate(arm.tuning()):
            table.add(spec, Result(1.0 + number + i, (None,), 4.0, 0.0, (None,) * 3, 0.1, None))
    return table


def test_each_arm_has_its_curve_once():
    found = curves(table_of(arms()), arms() + arms())
    assert [(curve["method"], curve["steps"]) for curve in found] == [
        ("AdamW", 4), ("SophiaG", 4), ("AdamW", 8), ("SophiaG", 8)
    ]  # fmt: skip
    for number, curve in enumerate(found):
        assert curve["best"][-1] == 1.0 + number
        assert curve["best"][0] == pytest.approx(2.5 + number)


def test_panels_hold_what_can_be_compared_and_say_in_what_they_differ():
    more = [*arms(), Arm("text", MODEL, 2, "AdamW", 16, 4)]
    found = curves(table_of(more), more)
    assert [(title, len(group)) for title, group in panels(found)] == [("4 steps", 2), ("8 steps", 2)]
    assert [title for title, _ in panels(found[-1:])] == ["16 steps"]
    wide = [{**curve, "model": (8, 6, 1, 2)} for curve in found[:2]]
    assert [title for title, _ in panels([*found[:2], *wide])] == [
        "width 4, 1 layers, 4 steps", "width 6, 2 layers, 4 steps"
    ]  # fmt: skip
    other = [{**found[0], "task": "zipf=1.5", "batch": 8}, {**found[1], "task": "zipf=1.5", "batch": 8}]
    assert [title for title, _ in panels([*found[:2], *other])] == [
        "text, batch 2, 4 steps", "zipf=1.5, batch 8, 4 steps"
    ]  # fmt: skip


def test_runs_of_equal_cost_share_a_panel_though_their_steps_differ():
    every = {"SophiaG/every=1": 56, "SophiaG": 80, "SophiaG/every=100": 83, "Signum": 84}  # of 84 gradients
    some = [Arm("text", MODEL, 2, method, n * steps, 4) for n in (1, 4) for method, steps in every.items()]
    found = panels(curves(table_of(some), some))
    assert [[curve["method"] for curve in group] for _, group in found] == [list(every)] * 2
    assert found[0][0] == "the cost of 83 to 84 gradients"


def test_two_lengths_of_a_method_in_a_panel_are_two_lines():
    some = [Arm("text", MODEL, 2, "Signum", steps, 4) for steps in (83, 84)]
    line = draw(curves(table_of(some), some), False).axes[0].lines[0]
    assert np.array_equal(line.get_xdata(), [2, 3, 4, np.nan, 2, 3, 4], equal_nan=True)


def test_variants_of_a_method_are_told_apart():
    methods = [base + option for base in ("SophiaH", "SophiaG") for option in ("", "/every=1", "/every=20")]
    seen = {(look["color"], look["marker"], look["linestyle"]) for look in looks(methods).values()}
    assert len(seen) == len(methods)


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_draws_every_curve_from_two_trials_on(dark):
    found = curves(table_of(arms()), arms())
    found[0]["best"] = [None] * 4
    axes = [ax for ax in draw(found, dark).axes if ax.get_visible()]
    assert [len(ax.lines) for ax in axes] == [2, 2]
    drawn = [list(line.get_xdata()) for line in axes[0].lines]
    assert drawn == [[], [2, 3, 4]]
    assert list(axes[1].lines[0].get_ydata()) == pytest.approx(found[2]["best"][1:])


def test_what_is_far_above_the_others_does_not_press_them_together():
    found = curves(table_of(arms()), arms())
    found[1]["best"] = [10.0] * 4
    low, high = draw(found, False).axes[0].get_ylim()
    assert low < found[0]["best"][-1] < found[0]["best"][1] < high < found[0]["best"][1] + 1
