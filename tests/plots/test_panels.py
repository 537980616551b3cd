"""Panels: what they show is what the rule computed, and nothing is hidden by a run that diverges."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

import sophia_ref as sr
from sophia_ref.plots import figure, panel, panels_figure, style_of
from sophia_ref.plots.panels import MOST, SHOWN
from toy_problems.landscapes import REGISTRY


@pytest.fixture
def ax():
    return figure(5, 3).subplots()


def of(opt, steps=30, theta0=None):
    """A run and its terms, kept while it ran."""
    kept = []
    done = sr.run(REGISTRY["sophia_fig2"], opt, steps, theta0, callback=lambda t, step, oracle: kept.append(step.terms))
    return done, {name: np.array([terms.get(name, np.full(2, np.nan)) for terms in kept]) for name in kept[0]}


@pytest.fixture(scope="module")
def sophia():
    opt = sr.Sophia(0.3, beta1=0.5, beta2=0.5, gamma=0.3, every=1, estimator=sr.exact_diagonal)
    return of(opt)


@pytest.fixture(scope="module")
def adam():
    return of(sr.Adam(0.3))


@pytest.fixture(scope="module")
def leaver():
    return of(sr.GradientDescent(0.2))


def curve(ax, label="Sophia"):
    (line,) = (line for line in ax.lines if line.get_label() == label)
    return line


@pytest.mark.parametrize("name", ["g", "m", "h", "update"])
@pytest.mark.parametrize("coordinate", [0, 1])
def test_a_panel_shows_a_term_of_one_coordinate(ax, sophia, name, coordinate):
    run, terms = sophia
    assert panel(ax, name, run, coordinate) is ax
    np.testing.assert_array_equal(curve(ax).get_xydata().T, [range(1, 31), terms[name][:, coordinate]])
    assert curve(ax).get_color() == style_of("Sophia")["color"]
    assert curve(ax).get_marker() == style_of("Sophia")["marker"]


def test_gamma_h_is_what_the_denominator_is_where_it_is_positive(ax, sophia):
    run, terms = sophia
    panel(ax, "gamma_h", run, 1)
    np.testing.assert_allclose(curve(ax).get_ydata(), terms["denominator"][:, 1])
    gamma = np.array([0.3, 0.5])
    run, terms = of(sr.Sophia(0.3, gamma=gamma, every=1, estimator=sr.exact_diagonal))
    other = figure(3, 3).subplots()
    panel(other, "gamma_h", run, 1)
    np.testing.assert_array_equal(curve(other).get_ydata(), 0.5 * terms["h"][:, 1])


def test_a_ratio_that_is_too_large_is_a_triangle_at_the_edge(ax, sophia):
    run, terms = sophia
    panel(ax, "ratio", run)
    ratio = terms["ratio"][:, 0]
    beyond = np.flatnonzero(ratio < -MOST) + 1
    assert len(beyond) == 2
    (triangles,) = (line for line in ax.lines if line.get_marker() == "v" and len(line.get_xdata()))
    np.testing.assert_array_equal(triangles.get_xydata().T, [beyond, [-MOST, -MOST]])
    inside = np.abs(ratio) <= MOST
    np.testing.assert_array_equal(curve(ax).get_ydata(), ratio[inside])
    assert ax.get_ylim()[0] < -MOST
    dotted = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert sorted(dotted) == [-1, 1]


def test_clipped_is_a_row_for_each_run_that_clips(ax, sophia, adam):
    other = of(sr.SophiaH(0.3, gamma=0.3, every=1))
    panel(ax, "clipped", [sophia[0], adam[0], other[0]], 1)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["Sophia", "Sophia-H"]
    full, pale = ax.collections[:2]
    clipped = sophia[1]["clipped"][:, 1]
    middles = [path.vertices[:4, 0].mean() for path in full.get_paths()]
    np.testing.assert_allclose(middles, np.flatnonzero(clipped) + 1)
    assert len(pale.get_paths()) == (~clipped).sum()
    assert to_hex(full.get_facecolor()[0]) == style_of("Sophia")["color"]


def test_terms_that_are_not_in_every_step_are_joined(ax):
    run, _terms = of(sr.SophiaH(0.1, every=5), 12)
    panel(ax, "h_hat", run)
    np.testing.assert_array_equal(curve(ax, "Sophia-H").get_xdata(), [1, 6, 11])


def test_a_run_that_diverges_does_not_flatten_the_others_and_is_named(ax, leaver, adam):
    panel(ax, "g", [leaver[0], adam[0]])
    g = leaver[1]["g"][:, 0]
    assert np.abs(g).max() > 1e6
    assert np.abs(ax.get_ylim()).max() < 110 * np.abs(g[0])
    assert [text.get_text() for text in ax.texts] == [f"GD diverges at step {leaver[0].diverged_at}"]
    ax.get_figure().canvas.draw()


@pytest.mark.parametrize("beside", [[], ["adam"]])
def test_the_word_of_divergence_stays_beside_its_line_within_the_axes(ax, leaver, adam, beside):
    panel(ax, "g", [leaver[0], *([adam[0]] if beside else [])])
    ax.get_figure().canvas.draw()
    box = ax.texts[0].get_window_extent()
    assert (ax.bbox.x0 <= box.x0) & (box.x1 <= ax.bbox.x1)


def test_the_figure_has_a_panel_for_each_term_and_coordinate(sophia, adam):
    fig = panels_figure([adam[0], sophia[0]], dark=True)
    assert len(fig.axes) == 2 * len(SHOWN)
    assert [ax.get_ylabel() for ax in fig.axes[::2]] == [
        "$g$", "$m$", "$h$", r"$\gamma h$", "ratio", "clipped", "update",
    ]  # fmt: skip
    assert [ax.get_title() for ax in fig.axes[:2]] == ["coordinate x", "coordinate y"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["Adam", "Sophia"]
    for i, ax in enumerate(fig.axes[:2]):
        np.testing.assert_array_equal(curve(ax).get_ydata(), sophia[1]["g"][:, i])


@pytest.mark.parametrize("opt", [sr.Adam(0.1), sr.AdaHessian(0.1), sr.Lion(0.1), sr.Newton(0.5), sr.SophiaH(0.1)])
def test_the_figure_of_any_optimizer_has_the_terms_that_it_has(opt):
    fig = panels_figure(of(opt, 6)[0])
    shown = [ax.get_ylabel() for ax in fig.axes[::2]]
    assert (shown[0], shown[-1]) == ("$g$", "update")
    assert ("ratio" in shown) == isinstance(opt, sr.Sophia)
    fig.canvas.draw()


def test_no_writing_leaves_the_figure_or_covers_another(sophia, leaver):
    fig = panels_figure([leaver[0], sophia[0]])
    fig.canvas.draw()
    extent = fig.get_tightbbox()
    assert min(extent.x0, extent.y0) >= 0
    assert extent.x1 <= fig.get_figwidth()
    assert extent.y1 <= fig.get_figheight()
    for upper, lower in zip(fig.axes[:-2], fig.axes[2:], strict=True):
        assert lower.get_tightbbox().y1 <= upper.get_tightbbox().y0 + 1


def test_of_a_large_theta_chosen_coordinates_are_shown():
    run = sr.run(lambda theta: (theta**2).sum(-1), sr.Adam(0.1), 4, np.arange(100.0))
    fig = panels_figure(run, names=["v"], coordinates=[5, 90])
    assert [ax.get_title() for ax in fig.axes] == ["coordinate 5", "coordinate 90"]
    assert curve(fig.axes[1], "Adam").get_ydata()[0] == pytest.approx(0.001 * 180**2)
    assert len(panels_figure(run, names=["v"]).axes) == 4


def test_terms_that_were_kept_need_no_replay(ax):
    """Gradients clipped by norm: such a run cannot be replayed."""
    kept = []
    run = sr.run(
        REGISTRY["beale"], sr.Adam(0.1), 5, clip_norm=0.1, callback=lambda t, step, oracle: kept.append(step.terms)
    )
    terms = {name: np.array([step[name] for step in kept]) for name in kept[0]}
    with pytest.raises(ValueError, match=r"clipped_steps: 5; expected 0"):
        panel(ax, "g", run)
    panel(ax, "g", run, terms=[terms])
    np.testing.assert_array_equal(curve(ax, "Adam").get_ydata(), terms["g"][:, 0])


def test_of_newton_only_what_a_coordinate_has_is_shown(ax):
    run = of(sr.ClippedNewton(1.0, rho=0.1), 3)[0]
    panel(ax, "update", run)
    for name in ("ratio", "clipped", "eigenvalues"):
        with pytest.raises(ValueError, match=f"name: '{name}'; expected a term that one of the runs has: g, update"):
            panel(ax, name, run)


def test_bad_input_is_refused_by_name(ax, sophia, adam):
    run, terms = sophia
    with pytest.raises(ValueError, match="name: 'ratio'; expected a term that one of the runs has: g, m, v"):
        panel(ax, "ratio", adam[0])
    for coordinate in (2, -1, 0.5):
        with pytest.raises(ValueError, match=rf"coordinate: {coordinate}; expected an index into theta, 0 to 1"):
            panel(ax, "g", run, coordinate)
    with pytest.raises(ValueError, match="terms: 1; expected those of each of the 2 runs"):
        panel(ax, "g", [run, run], terms=[terms])
    with pytest.raises(ValueError, match=r"runs\[0\]: no step; expected a run of at least one"):
        panel(ax, "g", sr.run(REGISTRY["beale"], sr.Adam(0.1), 0))
    with pytest.raises(ValueError, match=r"runs\[0\].theta: shape \(3, 2\); expected \(P,\)"):
        panel(ax, "g", of(sr.Adam(0.1), 4, np.ones((3, 2)))[0])
    with pytest.raises(ValueError, match=r"names: \[\]; expected at least one"):
        panels_figure(run, names=[])
    with pytest.raises(ValueError, match=r"coordinates: \[\]; expected at least one"):
        panels_figure(run, coordinates=[])
    with pytest.raises(ValueError, match="runs: empty"):
        panels_figure([])
    assert not ax.has_data()
