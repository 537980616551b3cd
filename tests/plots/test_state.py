"""The panel of a rule's state shows the numbers of the step, and the gauge what the clip makes of the ratio."""

from dataclasses import replace

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.plots.state import BEYOND, LEFT, RIGHT, state
from sophia_ref.plots.style import figure


def rows(ax):
    """What is written, row by row, each from the left."""
    lines = {}
    for text in ax.texts:
        if text.get_visible():
            lines.setdefault(round(text.get_position()[1], 2), []).append((text.get_position()[0], text.get_text()))
    return [[word for _, word in sorted(line)] for _, line in sorted(lines.items())]


@pytest.fixture
def ax():
    return figure(2.6, 2.2).subplots()


def test_the_first_step_of_sophia_on_figure_2_has_the_numbers_worked_out_by_hand(ax, race):
    # at (0.2, 0): L1' = 8 x (x - 1)(5.2 x + 3.4) = -5.6832, L1'' = 8 (15.6 x^2 - 3.6 x - 3.4) = -27.968; y - 4, 1
    state(ax, race[4])(1)
    assert rows(ax) == [
        ["Sophia, step 1"],
        ["x", "y"],
        ["$g$", "−5.68", "−4.00"],
        ["$m$", "−5.68", "−4.00"],
        ["$h$", "−28.0", "1.00"],
        [r"$\gamma h$", "−28.0", "1.00"],
        [r"$m / \max(\gamma h, \varepsilon)$", "−5.7e12", "−4.00"],
        [r"$\mathrm{clip}(\cdot, 1)$", "−1.00", "−1.00"],
        ["x", "clipped"],
        ["y", "clipped"],
        ["−1", "0", "1"],
    ]


def test_gauges_show_the_ratio_within_the_clip_or_beyond_it(ax, race):
    show, middle, unit = state(ax, race[4]), (LEFT + RIGHT) / 2, (RIGHT - LEFT) / 2 / BEYOND
    # step 3 begins at (0.8, 0.6): L1' = -9.6768, L1'' = 29.632, so that x is not clipped; y is, at -3.4
    lines = [artist for artist in show(3) if hasattr(artist, "get_xdata")]
    (bar_x, needle_x), (bar_y, needle_y) = lines[:2], lines[2:]
    np.testing.assert_allclose(needle_x.get_xdata(), [middle - 9.6768 / 29.632 * unit])
    np.testing.assert_allclose(bar_x.get_xdata(), [middle, middle - 9.6768 / 29.632 * unit])
    np.testing.assert_allclose(needle_y.get_xdata(), [LEFT])  # as far as the gauge goes
    np.testing.assert_allclose(bar_y.get_xdata(), [middle, middle - unit])
    assert (needle_x.get_marker(), needle_y.get_marker()) == ("o", "<")
    assert needle_x.get_markerfacecolor() != needle_y.get_markerfacecolor() == "#ffffff"
    assert rows(ax)[8:10] == [["x"], ["y", "clipped"]]


def test_the_clip_and_gamma_are_those_of_the_settings(ax, fig2):
    opt = sr.Sophia(0.3, gamma=np.array([2.0, 0.5]), clip=3.0, beta2=0.0, every=1, estimator=sr.exact_diagonal)
    state(ax, sr.run(fig2, opt, 4))(1)
    shown = rows(ax)
    assert shown[5] == [r"$\gamma h$", "−55.9", "0.500"]
    assert shown[7][0] == r"$\mathrm{clip}(\cdot, 3)$"
    assert shown[-1] == ["−3", "0", "3"]


def test_without_a_clip_there_is_no_gauge(ax, fig2, sophia):
    state(ax, sr.run(fig2, replace(sophia, clip=np.inf), 1))(1)
    assert len(rows(ax)) == 8


@pytest.mark.parametrize(
    ("opt", "labels"),
    [
        (sr.GradientDescent(0.01), ["$g$", "update"]),
        (sr.Adam(0.1), ["$g$", "$m$", "$v$", r"$\hat m$", r"$\hat v$", "denominator", "update"]),
        (sr.Newton(0.1), ["$g$", "update"]),
        (sr.ClippedNewton(0.1, rho=1.0), ["$g$", "update"]),  # its ratios are not those of x and y
        (sr.AdaHessian(0.1), ["$g$", "$D$", "$m$", "$v$", r"$\hat m$", r"$\hat v$", "denominator", "update"]),
    ],
)
def test_other_rules_show_what_they_know_of_each_coordinate(ax, fig2, opt, labels):
    show = state(ax, sr.run(fig2, opt, 3))
    show(2)
    assert [row[0] for row in rows(ax)[2:]] == labels
    before = rows(ax)
    show(3)
    assert rows(ax)[0] == [f"{sr.plots.style_of(opt)['label']}, step 3"]
    last = rows(ax)
    show(99)
    assert rows(ax) == last != before


def test_nothing_is_cut_off_or_overlaps(ax, race):
    ax.figure.set_size_inches(2.3, 1.7)
    show = state(ax, race[4])
    ax.figure.canvas.draw()
    for step in (1, 6, 15):
        show(step)
        boxes = [text.get_window_extent() for text in ax.texts if text.get_visible() and text.get_text()]
        assert all(ax.figure.bbox.x0 - 2 <= box.x0 and box.x1 <= ax.figure.bbox.x1 + 2 for box in boxes)
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                assert not (a.x0 < b.x1 - 1 and b.x0 < a.x1 - 1 and a.y0 < b.y1 - 4 and b.y0 < a.y1 - 4)


def test_bad_input_is_refused(ax, fig2):
    with pytest.raises(ValueError, match=r"run: a theta of shape \(3, 2\); expected \(2,\), a run in the plane"):
        state(ax, sr.run(fig2, sr.Adam(0.1), 2, np.zeros((3, 2))))
    with pytest.raises(ValueError, match="run: no step was taken"):
        state(ax, sr.run(fig2, sr.Adam(0.1), 0))
    with pytest.raises(ValueError, match="clipped_steps: 2"):
        state(ax, sr.run(fig2, sr.Adam(0.1), 2, clip_norm=0.1))
