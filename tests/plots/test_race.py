"""The race's picture: what it shows is what was run, on the landscape that was run on."""

import warnings
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.mathtext import MathTextParser

import sophia_ref as sr
from sophia_ref.plots import contour, figure, losses, paths, race_figure, style_of, surface
from sophia_ref.plots.race import VIEWS, _hidden, inside_pieces, is_inside, joined, legend, plain_tex
from sophia_ref.plots.style import DARK, LIGHT
from toy_problems.landscapes import REGISTRY

BOX = np.array([[-1.0, 2.0], [0.0, 1.0]])


@pytest.fixture
def ax():
    return figure(4, 3).subplots()


@pytest.fixture
def ax3d():
    return figure(4, 3).add_subplot(projection="3d")


def labelled(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def drawn(line):
    """The points of a line, without gaps."""
    xy = np.asarray(line.get_xydata())
    return xy[np.isfinite(xy).all(axis=1)]


# Contours


@pytest.mark.parametrize("name", ["sophia_fig2", "himmelblau"])
def test_contour_marks_every_critical_point_as_what_it_is(ax, name):
    landscape = REGISTRY[name]
    assert contour(ax, landscape) is ax
    marks = labelled(ax)
    for label, points in (("minimum", landscape.minima), ("saddle", landscape.saddles), ("maximum", landscape.maxima)):
        assert (label in marks) == bool(len(points))
        if len(points):
            np.testing.assert_array_equal(marks[label].get_xydata(), points)
    assert len({line.get_marker() for line in marks.values()}) == len(marks)


def test_contour_marks_the_start(ax, fig2):
    contour(ax, fig2)
    assert [text.get_text() for text in ax.texts] == ["start"]
    assert any(np.array_equal(line.get_xydata(), [fig2.start]) for line in ax.lines)


@pytest.mark.parametrize("name", REGISTRY)
def test_levels_are_log_spaced_from_near_the_lowest_height_to_the_highest(ax, name):
    landscape = REGISTRY[name]
    levels = contour(ax, landscape).collections[0].levels
    (x0, x1), (y0, y1) = landscape.domain
    z = landscape.f(np.stack(np.meshgrid(np.linspace(x0, x1, 161), np.linspace(y0, y1, 161)), axis=-1))
    ratios = (levels[1:] - z.min()) / (levels[:-1] - z.min())
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)
    assert levels[-1] == pytest.approx(z.max())
    assert 0 < (z < levels[0]).mean() < 0.02
    assert (ax.get_xlim(), ax.get_ylim()) == landscape.domain


# Paths


def test_paths_shows_every_recorded_step_in_the_optimizers_colour(ax, fig2, race):
    assert paths(contour(ax, fig2), race) is ax
    marks = labelled(ax)
    for run in race:
        style = style_of(run.optimizer)
        steps = marks[style["label"]]
        np.testing.assert_array_equal(steps.get_xydata(), run.trajectory)
        assert (steps.get_color(), steps.get_marker()) == (style["color"], style["marker"])
        lines = [line for line in ax.lines if line.get_color() == style["color"] and line is not steps]
        assert len(lines) == 1
        np.testing.assert_allclose(drawn(lines[0]), run.trajectory, atol=1e-14)


def test_where_paths_coincide_the_earlier_is_seen_around_the_later(ax, fig2, race):
    paths(contour(ax, fig2), race)
    sizes = [labelled(ax)[style_of(run.optimizer)["label"]].get_markersize() for run in race]
    assert sizes == sorted(set(sizes), reverse=True)


def test_a_path_that_leaves_ends_at_the_edge_under_its_name(ax, fig2, leaver):
    paths(contour(ax, fig2), leaver)
    line, steps = (line for line in ax.lines if line.get_color() == style_of("GradientDescent")["color"])
    inside = is_inside(leaver.trajectory, np.array(fig2.domain))
    np.testing.assert_array_equal(steps.get_xydata(), leaver.trajectory[inside])
    assert len(drawn(line)) == inside.sum() + 1
    assert drawn(line)[-1, 0] == pytest.approx(fig2.domain[0][0])  # its next step is far to the left
    assert f"GD diverges at step {leaver.diverged_at}" in [text.get_text() for text in ax.texts]
    assert ax.get_xlim() == fig2.domain[0]


def test_a_path_that_leaves_without_diverging_says_when(ax):
    saddle = REGISTRY["saddle"]
    run = sr.run(saddle, sr.SignGD(0.5), 10)
    outside = int(np.argmin(is_inside(run.trajectory, np.array(saddle.domain))))
    paths(contour(ax, saddle), run)
    assert f"SignGD leaves at step {outside}" in [text.get_text() for text in ax.texts]


def test_a_run_that_diverges_from_within_is_named_where_it_stopped(ax, fig2, race):
    paths(contour(ax, fig2), replace(race[0], diverged_at=16))
    (label,) = (text for text in ax.texts if text.get_text() == "GD diverges at step 16")
    np.testing.assert_allclose(ax.transLimits.inverted().transform(label.xy), race[0].trajectory[-1])


def test_names_of_paths_that_leave_side_by_side_do_not_cover_each_other(ax):
    saddle = REGISTRY["saddle"]
    paths(contour(ax, saddle), [sr.run(saddle, opt, 12) for opt in (sr.SignGD(0.4), sr.Adam(0.4), sr.Lion(0.4))])
    ax.get_figure().canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts if "leaves" in text.get_text()]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize("steps", [0, 1])
def test_the_shortest_runs_are_drawn(ax, fig2, sophia, steps):
    run = sr.run(fig2, sophia, steps)
    paths(contour(ax, fig2), run)
    np.testing.assert_array_equal(labelled(ax)["Sophia"].get_xydata(), run.trajectory)


def test_a_path_in_float32_is_drawn(ax, fig2, sophia):
    paths(contour(ax, fig2), sr.run(fig2, sophia, 3, theta0=np.array([0.2, 0.0], np.float32)))
    assert len(drawn(labelled(ax)["Sophia"])) == 4


# Cutting paths to the picture

coordinates = st.integers(-6, 6).map(lambda n: n / 2)  # often on the edges and corners of the box
points = st.tuples(coordinates, coordinates)


@given(st.lists(points, min_size=2, max_size=6).map(lambda p: np.array(p, float)))
def test_pieces_are_what_lies_in_the_box_until_the_last_step_that_does(path):
    """Against dense sampling: the pieces are as long as the share of sample points in the box says."""
    pieces = inside_pieces(path, BOX)
    assert is_inside(pieces, BOX + np.array([-1e-12, 1e-12])).all()
    steps_inside = np.flatnonzero(is_inside(path, BOX))
    shown = path[: steps_inside[-1] + 2] if len(steps_inside) else path[:1]
    length = 0.0
    for a, b in pairwise(shown):
        share = is_inside(np.linspace(a, b, 2001), BOX + np.array([-1e-9, 1e-9])).mean()
        length += share * np.linalg.norm(b - a)
    assert np.linalg.norm(pieces[:, 1] - pieces[:, 0], axis=-1).sum() == pytest.approx(length, abs=0.05)


def test_pieces_leave_and_come_back():
    path = np.array([[0, 0.5], [4, 0.5], [0, 0.75], [0, 5]])
    np.testing.assert_allclose(
        inside_pieces(path, BOX), [[[0, 0.5], [2, 0.5]], [[2, 0.625], [0, 0.75]], [[0, 0.75], [0, 1]]]
    )


def test_pieces_of_enormous_steps_are_finite():
    path = np.array([[0, 0.5], [1e308, 0.5], [-1e308, 0.5], [1, 0.5], [1e300, 1e300]])
    pieces = inside_pieces(path, BOX)
    assert np.isfinite(pieces).all()
    np.testing.assert_allclose(pieces[0], [[0, 0.5], [2, 0.5]])


def test_a_path_that_never_enters_is_not_drawn(ax, fig2, race):
    far = replace(race[0], trajectory=race[0].trajectory + 100)
    assert len(inside_pieces(far.trajectory, BOX)) == 0
    paths(contour(ax, fig2), far)
    assert len(drawn(labelled(ax)["GD"])) == 0


def test_joined_keeps_gaps():
    pieces = np.array([[[0, 0], [1, 1]], [[1, 1], [2, 0]], [[5, 5], [6, 6]]], float)
    gap = [np.nan, np.nan]
    np.testing.assert_array_equal(joined(pieces), [gap, gap, [0, 0], [1, 1], [2, 0], gap, [5, 5], [6, 6]])


# The surface


def test_paths_lie_on_the_surface(ax3d, fig2, race):
    assert surface(ax3d, fig2, race) is ax3d
    colors = {style_of(run.optimizer)["color"]: run for run in race}
    steps = {color: [] for color in colors}
    for line in ax3d.lines:
        xyz = np.array(line.get_data_3d()).T
        xyz = xyz[np.isfinite(xyz).all(axis=1)]
        np.testing.assert_allclose(xyz[:, 2], fig2.f(xyz[:, :2]), rtol=1e-12, atol=1e-12)
        if line.get_color() in colors and line.get_marker() not in ("", "None", None):
            steps[line.get_color()] += [tuple(point) for point in xyz[:, :2]]
    for color, run in colors.items():  # hidden steps and seen ones make the whole
        assert sorted(steps[color]) == sorted(map(tuple, run.trajectory))


def test_the_surface_shows_its_critical_points_and_the_domain(ax3d, fig2, race):
    surface(ax3d, fig2, race)
    marks = labelled(ax3d)
    np.testing.assert_array_equal(np.array(marks["minimum"].get_data_3d())[:2].T, fig2.minima)
    np.testing.assert_array_equal(np.array(marks["saddle"].get_data_3d())[:2].T, fig2.saddles)
    assert (ax3d.get_xlim(), ax3d.get_ylim()) == fig2.domain


def test_the_race_of_figure_2_is_seen_almost_whole(ax3d, fig2, race):
    surface(ax3d, fig2, race)
    limits = np.array([ax3d.get_xlim(), ax3d.get_ylim(), ax3d.get_zlim()])
    view = (ax3d.elev, ax3d.azim)
    assert not _hidden(fig2.f, np.concatenate([fig2.minima, fig2.saddles]), limits, view).any()
    assert _hidden(fig2.f, np.concatenate([run.trajectory for run in race]), limits, view).mean() < 0.1


LIMITS = np.array([[-1.0, 1.0], [-1.0, 1.0], [0.0, 1.0]])


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_on_a_plane_is_hidden(view):
    theta = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    assert not _hidden(lambda theta: 0.5 + 0.2 * theta[..., 0] - 0.1 * theta[..., 1], theta, LIMITS, view).any()


def test_a_wall_hides_what_is_behind_it_as_far_as_its_shadow_reaches():
    # a wall at y = 0 of the full height, looked at from -y and 45 degrees above
    wall = lambda theta: np.where(np.abs(theta[..., 1]) < 0.05, 1.0, 0.0) + 0 * theta[..., 0]  # noqa: E731
    y = np.linspace(-0.9, 0.9, 37)
    y = y[np.abs(y) > 0.06]
    # the picture is 1.2 deep for 2 in y, and 0.75 high: at 45 degrees the shadow is 0.75 long, 1.25 in y
    hidden = _hidden(wall, np.column_stack([np.zeros_like(y), y]), LIMITS, (45.0, -90.0))
    np.testing.assert_array_equal(hidden, y > 0)
    hidden = _hidden(wall, np.column_stack([np.zeros_like(y), y]), LIMITS, (70.0, -90.0))
    # tan 70 = 2.75: the shadow is 0.273 long, 0.455 in y
    np.testing.assert_array_equal(hidden, (y > 0) & (y < 0.05 + 0.455))


def test_what_the_surface_hides_is_faint(ax3d, fig2, race, monkeypatch):
    monkeypatch.setattr("sophia_ref.plots.race.VIEWS", [(30, -90)])

    def hill(theta):
        return np.exp(-8 * theta[..., 1] ** 2) + 0 * theta[..., 0]

    landscape = replace(fig2, surface=None, domain=((-1.0, 1.0), (-1.0, 1.0)), start=np.array([0.0, -0.8]))
    landscape = SimpleNamespace(**vars(landscape) | {"f": hill})
    front, behind = [0.0, -0.8], [0.0, 0.5]
    surface(ax3d, landscape, replace(race[0], trajectory=np.array([front, behind])))
    shown = {None: [], 0.25: []}
    for line in ax3d.lines:
        if line.get_marker() == "o" and line.get_color() == style_of("GradientDescent")["color"]:
            xyz = np.array(line.get_data_3d()).T
            shown[line.get_alpha()] += xyz[np.isfinite(xyz).all(axis=1), :2].tolist()
    assert shown == {None: [front], 0.25: [behind]}


# The figure


@pytest.mark.parametrize(("name", "dark"), [("sophia_fig2", False), ("himmelblau", True)])
def test_the_figure_names_everyone_and_no_writing_leaves_it(name, dark, sophia):
    landscape = REGISTRY[name]
    optimizers = (sr.GradientDescent(0.01), sr.SignGD(0.3), sr.Adam(0.3), sr.SaddleFreeNewton(0.3), sophia)
    fig = race_figure(landscape, [sr.run(landscape, opt, 8) for opt in optimizers], dark=dark)
    fig.canvas.draw()
    kinds = [kind for kind in ("minima", "saddles", "maxima") if len(getattr(landscape, kind))]
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert names[:5] == ["GD", "SignGD", "Adam", "Saddle-free Newton", "Sophia"]
    assert len(names) == 5 + len(kinds)
    assert landscape.title in fig.get_suptitle()
    extent = fig.get_tightbbox()  # of everything that is drawn, in inches
    assert min(extent.x0, extent.y0) >= 0
    assert extent.x1 <= 11
    assert extent.y1 <= 5.6
    ink = (DARK if dark else LIGHT).ink
    assert {to_hex(text.get_color()) for text in fig.legends[0].get_texts()} == {ink}
    assert fig.axes[1].xaxis.label.get_color() == ink
    below = fig.legends[0].get_window_extent().y1
    assert below < fig.axes[1].xaxis.label.get_window_extent().y0


def test_fourteen_racers_fit_under_the_pictures(fig2, race):
    optimizers = [style(0.1) for style in (sr.GradientDescent, sr.SignGD, sr.Signum, sr.Momentum, sr.Lion, sr.Adam)]
    optimizers += [style(0.1) for style in (sr.AdamW, sr.AdaHessian, sr.Newton, sr.SaddleFreeNewton, sr.Sophia)]
    optimizers += [sr.SophiaH(0.1), sr.DampedNewton(0.1, damping=1.0), sr.ClippedNewton(0.1, rho=1.0)]
    fig = race_figure(fig2, [replace(race[0], optimizer=opt) for opt in optimizers])
    fig.canvas.draw()
    extent = fig.legends[0].get_window_extent()
    assert len(fig.legends[0].get_texts()) == 14 + 2
    assert (extent.x0 > 0) & (extent.x1 < fig.bbox.x1)
    assert extent.y1 < fig.axes[1].xaxis.label.get_window_extent().y0


def test_a_long_legend_takes_as_many_rows_as_it_needs(fig2, race):
    fig = figure(5, 4)
    contour(fig.subplots(), fig2)
    legend(fig, fig2, [*race, replace(race[0], optimizer=sr.SaddleFreeNewton(0.1))], fontsize=8)
    fig.canvas.draw()
    extent = fig.legends[0].get_window_extent()
    assert (extent.x0 > 0) & (extent.x1 < fig.bbox.x1)
    assert extent.y1 < fig.axes[0].xaxis.label.get_window_extent().y0


def test_two_runs_of_one_optimizer_have_one_entry(fig2, sophia):
    fig = race_figure(fig2, [sr.run(fig2, sophia, 4), sr.run(fig2, sophia, 5)])
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["Sophia", "minimum", "saddle"]


@pytest.mark.parametrize("name", REGISTRY)
def test_every_formula_can_be_typeset(name):
    MathTextParser("path").parse(f"${plain_tex(REGISTRY[name].formula)}$")


@pytest.mark.parametrize("name", REGISTRY)
def test_a_race_on_any_landscape_is_drawn_without_a_warning(name, monkeypatch):
    monkeypatch.setattr("sophia_ref.plots.race.RESOLUTION", 21)
    landscape = REGISTRY[name]
    # a path whose last step is so small that the way to the edge is infinitely many of it
    crawl = replace(sr.run(landscape, sr.Newton(1.0), 2), steps=np.arange(3), diverged_at=None)
    theta = np.tile(landscape.start, (3, 1)) * [[0], [0], [0]]
    theta[1] = 5e-324
    runs = [sr.run(landscape, sr.GradientDescent(0.01), 5), replace(crawl, trajectory=theta)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        race_figure(landscape, runs).canvas.draw()


# Bad input


def test_what_is_no_landscape_of_two_dimensions_is_refused_by_name(ax, ax3d, race):
    plane = {"f": lambda theta: theta[..., 0], "title": "", "formula": "", "saddles": [], "maxima": []}
    space = SimpleNamespace(**plane, domain=[(0, 1)] * 3, start=np.zeros(3), minima=np.zeros((1, 3)))
    for draw in (partial(contour, ax), partial(surface, ax3d, runs=race), partial(race_figure, runs=race)):
        with pytest.raises(
            ValueError, match=r"landscape: domain of shape \(3, 2\) and start of shape \(3,\); expected"
        ):
            draw(space)
        with pytest.raises(TypeError, match=r"landscape: .* has no \.f; expected a landscape"):
            draw(np.zeros(2))
    assert not ax.has_data()


@pytest.mark.parametrize("height", [2.0, np.nan, np.inf])
def test_a_landscape_without_heights_to_draw_is_refused(ax, fig2, height):
    def f(theta):
        return np.where(theta[..., 0] < 0, 2.0, height)

    with pytest.raises(ValueError, match=r"landscape: heights from .*; expected finite ones that differ"):
        contour(ax, SimpleNamespace(**vars(fig2) | {"f": f}))


def test_paths_that_cannot_be_drawn_are_refused_by_name(ax, ax3d, fig2, race):
    path = race[0].trajectory
    torn = path.copy()
    torn[3, 1] = np.nan
    bad = [
        (torn, r"runs\[1\]\.trajectory\[3\]: \[.* nan\]; expected finite numbers"),
        (np.ones((4, 3)), r"runs\[1\]\.trajectory: shape \(4, 3\); expected \(steps, 2\)"),
        (np.ones((4, 2, 2)), r"runs\[1\]\.trajectory: shape \(4, 2, 2\); expected \(steps, 2\)"),
        (None, r"runs\[1\]\.trajectory: None; expected a path"),
        (path[:0], r"runs\[1\]\.trajectory: no points; expected at least the start"),
    ]
    for trajectory, message in bad:
        runs = [race[1], replace(race[0], trajectory=trajectory)]
        for draw in (lambda: paths(ax, runs), lambda: surface(ax3d, fig2, runs), lambda: race_figure(fig2, runs)):  # noqa: B023
            with pytest.raises(ValueError, match=message):
                draw()
    with pytest.raises(ValueError, match="runs: empty"):
        race_figure(fig2, [])
    unrecorded = replace(race[0], **{name: getattr(race[0], name)[:0] for name in ("steps", "losses", "trajectory")})
    for draw in (lambda: paths(ax, unrecorded), lambda: losses(ax, unrecorded)):
        with pytest.raises(ValueError, match=r"runs\[0\]: no step recorded; expected at least the start"):
            draw()
    assert not ax.has_data()
