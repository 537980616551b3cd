"""The heat map: every cell where its settings are, what diverged crossed out, the best marked."""

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.plots import figure, heat_map
from toy_problems.landscapes import REGISTRY

LR, GAMMA = np.array([1e-3, 1e-2, 1e-1]), np.array([0.1, 1.0])
LOSSES = np.array([[3.0, 2.0, np.nan], [4.0, 0.5, np.inf]])


@pytest.fixture
def ax():
    return figure(5, 3).subplots()


def test_cells_stand_around_their_settings(ax):
    assert heat_map(ax, LR, GAMMA, LOSSES) is ax
    mesh = ax.collections[0]
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], 10.0 ** np.array([-3.5, -2.5, -1.5, -0.5]))
    np.testing.assert_allclose(corners[:, 0, 1], 10.0 ** np.array([-1.5, -0.5, 0.5]))
    np.testing.assert_array_equal(mesh.get_array().filled(-1), [[3, 2, -1], [4, 0.5, -1]])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_what_diverged_is_crossed_out_and_the_best_is_marked(ax):
    heat_map(ax, LR, GAMMA, LOSSES)
    crosses, star = ax.lines
    np.testing.assert_array_equal(crosses.get_xydata(), [[0.1, 0.1], [0.1, 1.0]])
    assert (crosses.get_marker(), star.get_marker()) == ("x", "*")
    np.testing.assert_array_equal(star.get_xydata(), [[1e-2, 1.0]])
    assert ax.texts[0].get_text() == "best 0.5\nlr 0.01, $\\gamma$ 1"


@pytest.mark.parametrize(("factor", "scale"), [(5, "linear"), (1000, "log")])
def test_colours_are_logarithmic_where_losses_lie_far_apart(ax, factor, scale):
    heat_map(ax, LR, GAMMA, np.geomspace(1, factor, 6).reshape(2, 3))
    assert ax.get_figure().axes[1].get_yscale() == scale
    heat_map(
        figure(5, 3).subplots(), LR, GAMMA, np.linspace(-1, factor, 6).reshape(2, 3)
    )  # and not where they cannot be


def test_a_grid_of_settings_is_one_run(ax):
    """A cell is what a run with its settings alone gives."""
    landscape = REGISTRY["rosenbrock"]
    shape = (len(GAMMA), len(LR), 1)
    sophia = dict(every=1, estimator=sr.exact_diagonal)
    lr, gamma = np.broadcast_to(LR[:, None], shape), np.broadcast_to(GAMMA[:, None, None], shape)
    start = np.tile(landscape.start, (*shape[:2], 1))
    losses = sr.run(landscape, sr.Sophia(lr, gamma=gamma, **sophia), 20, theta0=start).losses[-1]
    for i, j in np.ndindex(losses.shape):
        one = sr.run(landscape, sr.Sophia(float(LR[j]), gamma=float(GAMMA[i]), **sophia), 20)
        assert losses[i, j] == pytest.approx(one.losses[-1], rel=1e-12)
    heat_map(ax, LR, GAMMA, losses)


@pytest.mark.parametrize("at", [(0, 0), (0, 2), (1, 0), (1, 2)])
def test_the_name_of_the_best_stays_within_the_figure(at):
    fig = figure(5, 3)
    losses = np.ones((2, 3))
    losses[at] = 0.1
    heat_map(fig.subplots(), LR, GAMMA, losses)
    fig.canvas.draw()
    box = fig.axes[0].texts[0].get_window_extent()
    axes = fig.axes[0].bbox
    assert (axes.x0 <= box.x0) & (box.x1 <= axes.x1) & (axes.y0 <= box.y0) & (box.y1 <= axes.y1)


def test_one_setting_is_a_map_too(ax):
    heat_map(ax, [0.1], [0.5], [[2.0]])
    ax.get_figure().canvas.draw()


@pytest.mark.parametrize(
    ("lr", "gamma", "losses", "message"),
    [
        (LR, GAMMA, LOSSES.T, r"losses: shape \(3, 2\); expected \(2, 3\), a row for each gamma"),
        (LR, GAMMA, np.full((2, 3), np.nan), "losses: none is finite"),
        (LR[::-1], GAMMA, LOSSES, r"lr: \[0.1, .*\]; expected positive finite numbers that ascend"),
        (LR, [0.0, 1.0], LOSSES, r"gamma: \[0.0, 1.0\]; expected positive"),
        ([], GAMMA, np.zeros((2, 0)), r"lr: shape \(0,\); expected \(n,\)"),
        (LR, 0.5, LOSSES, r"gamma: shape \(\); expected \(n,\)"),
    ],
)
def test_bad_input_is_refused_by_name(ax, lr, gamma, losses, message):
    with pytest.raises(ValueError, match=message):
        heat_map(ax, lr, gamma, losses)
    assert not ax.has_data()
