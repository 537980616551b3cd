"""Curves: what they show is what was recorded, and names hide nothing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgba

import sophia_ref as sr
from sophia_ref.plots import band, figure, losses, losses_figure, style_of, unclipped


@pytest.fixture
def ax():
    return figure(5, 3).subplots()


@pytest.fixture(scope="module")
def many(sophia):
    """Three rows at once."""
    start = np.random.default_rng(0).uniform(0.5, 3.0, (3, 4))
    return sr.run(lambda theta: np.cosh(theta).sum(-1), sr.Sophia(0.1, gamma=0.05), 12, theta0=start)


def curves_of(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def names_of(ax):
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("x", ["steps", "cost"])
def test_losses_shows_what_was_recorded(ax, race, x):
    assert losses(ax, race, x=x) is ax
    curves = curves_of(ax)
    assert list(curves) == [style_of(run.optimizer)["label"] for run in race]
    for run, line in zip(race, curves.values(), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), getattr(run, x))
        np.testing.assert_array_equal(line.get_ydata(), run.losses)
        assert line.get_color() == style_of(run.optimizer)["color"]
    assert ax.get_xlabel() == {"steps": "step", "cost": "cost in gradients"}[x]


def test_losses_that_fall_far_are_on_a_logarithmic_axis(ax, race):
    assert losses(ax, race).get_yscale() == "log"


def test_losses_that_stay_close_or_change_sign_are_on_a_linear_axis(ax, race):
    newton = race[3]  # from 15 to the saddle's 8
    assert losses(ax, newton).get_yscale() == "linear"
    assert losses(ax, replace(newton, losses=newton.losses - 9)).get_yscale() == "linear"


def test_a_loss_of_zero_does_not_stretch_the_logarithmic_axis(ax, race):
    fallen = replace(race[4], losses=np.array([10.0, 1.0, 1e-30, 0.0]), steps=np.arange(4))
    bottom, top = losses(ax, fallen).get_ylim()
    assert bottom == pytest.approx(10 / 1e8 / 2)
    assert 10 < top < 100


@pytest.mark.parametrize("sign", [1, -1])
def test_a_diverged_run_does_not_flatten_the_others(ax, race, sign):
    steep = replace(race[0], losses=sign * 10.0 ** np.arange(0, 320, 20)[:16], steps=np.arange(16))
    bottom, top = losses(ax, [race[3], steep]).get_ylim()
    assert max(abs(bottom), abs(top)) < 1e4
    ax.get_figure().canvas.draw()


def test_losses_of_a_batch_of_runs_are_a_band(ax, many):
    losses(ax, many)
    np.testing.assert_allclose(curves_of(ax)["Sophia"].get_ydata(), many.losses.mean(axis=1), rtol=1e-14)
    assert len(ax.collections) == 1


def test_band_is_the_mean_with_the_range_around_it(ax):
    x = np.array([0.0, 10.0, 20.0])
    assert band(ax, x, [[1.0, 2.0, 6.0], [3.0, 2.0, 0.0]], "AdamW") is ax
    line, filled = curves_of(ax)["AdamW"], ax.collections[0]
    np.testing.assert_array_equal(line.get_xydata(), [[0, 2], [10, 2], [20, 3]])
    corners = {tuple(corner) for corner in filled.get_paths()[0].vertices}
    assert corners == {(0, 1), (0, 3), (10, 2), (20, 6), (20, 0)}
    assert tuple(filled.get_facecolor()[0][:3]) == to_rgba(style_of("AdamW")["color"])[:3]


def test_one_curve_has_no_band(ax):
    band(ax, [0, 1], [5.0, 4.0], sr.AdamW(0.1))
    assert len(ax.collections) == 0
    np.testing.assert_array_equal(curves_of(ax)["AdamW"].get_ydata(), [5, 4])


def test_where_a_seed_is_lost_its_fellows_do_not_speak_for_it(ax):
    band(ax, [0, 1, 2], [[5.0, np.nan, np.inf], [3.0, 2.0, 1.0]], "AdamW")
    np.testing.assert_array_equal(curves_of(ax)["AdamW"].get_ydata(), [4, np.nan, np.nan])


def test_unclipped_shows_the_runs_that_clip(ax, race, many):
    assert unclipped(ax, [race[0], many]) is ax
    assert list(curves_of(ax)) == ["Sophia"]
    np.testing.assert_array_equal(curves_of(ax)["Sophia"].get_ydata(), many.unclipped.mean(axis=1))
    assert ax.get_ylim()[0] <= 0 < 1 <= ax.get_ylim()[1]


def test_every_curve_is_named_once_beside_the_axes_and_no_name_covers_another(ax, race):
    losses(ax, race)
    band(ax, [0, 15], [[1e-3, 5.0]], "Lion")
    assert sorted(names_of(ax)) == sorted(curves_of(ax)) == ["Adam", "GD", "Lion", "Newton", "SignGD", "Sophia"]
    fig = ax.get_figure()
    fig.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in ax.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 for below, above in pairwise(boxes))
    assert all(box.x0 > ax.bbox.x1 and box.x1 <= fig.bbox.x1 for box in boxes)


def test_names_stand_in_the_order_of_the_last_heights(ax):
    for name, end in (("Adam", 1.0), ("Lion", 3.0), ("Sophia", 2.0)):
        band(ax, [0, 1], [0.0, end], name)
    assert sorted(names_of(ax), key=lambda name: [t.xy[1] for t in ax.texts if t.get_text() == name]) == [
        "Adam", "Sophia", "Lion",
    ]  # fmt: skip


def test_names_of_curves_that_end_at_the_top_stay_beside_the_axes(ax):
    for name in ("Adam", "Lion", "Sophia", "AdamW"):
        band(ax, [0, 1], [0.0, 1.0], name)
    ax.get_figure().canvas.draw()
    assert max(text.get_window_extent().y1 for text in ax.texts) < ax.bbox.y1 + 10


def test_bad_input_to_losses_is_refused_by_name(ax, race):
    with pytest.raises(ValueError, match="x: 'time'; expected 'steps' or 'cost'"):
        losses(ax, race, x="time")
    with pytest.raises(ValueError, match="runs: empty"):
        losses(ax, [])
    with pytest.raises(ValueError, match="runs: no loss at a start is finite"):
        losses(ax, replace(race[0], losses=np.full(16, np.nan)))
    assert len(ax.lines) == 0


@pytest.mark.parametrize(
    ("x", "curves", "message"),
    [
        ([0, 1], [[1.0, 2.0, 3.0]], r"curves: shape \(1, 3\); expected \(seeds, 2\)"),
        ([0, 1], np.empty((0, 2)), r"curves: shape \(0, 2\); expected \(seeds, 2\)"),
        ([0, 1], np.ones((2, 2, 2)), r"curves: shape \(2, 2, 2\); expected \(seeds, 2\)"),
        ([[0, 1]], [[1.0, 2.0]], r"x: shape \(1, 2\); expected \(n,\)"),
        ([], [[]], r"x: shape \(0,\); expected \(n,\)"),
    ],
)
def test_bad_input_to_band_is_refused_by_name(ax, x, curves, message):
    with pytest.raises(ValueError, match=message):
        band(ax, x, curves, "Adam")
    with pytest.raises(ValueError, match="optimizer: 'Adamm' is not known"):
        band(ax, [0], [1.0], "Adamm")
    assert len(ax.lines) == 0


def test_unclipped_of_rules_that_do_not_clip_is_refused(ax, race):
    with pytest.raises(ValueError, match="runs: no optimizer among them clips"):
        unclipped(ax, race[:4])


def test_losses_stand_side_by_side_by_step_and_by_cost(race):
    fig = losses_figure(race, dark=True)
    left, right = fig.axes
    for run in race:
        name = style_of(run.optimizer)["label"]
        np.testing.assert_array_equal(curves_of(left)[name].get_xydata().T, [run.steps, run.losses])
        np.testing.assert_array_equal(curves_of(right)[name].get_xydata().T, [run.cost, run.losses])
    assert names_of(left) == []
    assert sorted(names_of(right)) == sorted(curves_of(left))
    assert left.get_ylim() == right.get_ylim()
    with pytest.raises(ValueError, match="runs: empty"):
        losses_figure([])
