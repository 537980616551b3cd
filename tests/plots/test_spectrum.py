"""Histograms of a diagonal count what is in it; a density integrates to one."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

import sophia_ref as sr
from sophia_ref.plots import diagonal_figure, diagonal_histogram, figure, spectrum
from sophia_ref.plots.spectrum import NEGATIVE, POSITIVE
from sophia_ref.spectrum import SpectralDensity


@pytest.fixture
def ax():
    return figure(5, 3).subplots()


DIAGONAL = np.array([1e-3, 2e-3, 2.1e-3, 0.5, 3.0, 3.1, -0.02, -3.05, 0.0, 1e-14])


def heights(ax, color):
    (part,) = (patch for patch in ax.patches if to_hex(patch.get_facecolor()) == color)
    return part.get_data()


def test_bars_are_shares_by_sign_and_decade(ax):
    assert diagonal_histogram(ax, DIAGONAL, bins=np.arange(-4, 2)) is ax
    up, edges, _ = heights(ax, POSITIVE)
    down, _, _ = heights(ax, NEGATIVE)
    np.testing.assert_allclose(edges, [1e-4, 1e-3, 1e-2, 1e-1, 1, 10])
    np.testing.assert_allclose(up, [0, 0.3, 0, 0.1, 0.2])
    np.testing.assert_allclose(down, [0, 0, -0.1, 0, -0.1])
    assert ax.get_title("right") == "10 entries, 20.0% negative, 20.0% zero"
    assert ax.get_xscale() == "log"


def test_by_default_every_entry_is_in_a_bar(ax):
    h = np.random.default_rng(0).standard_normal(1000) ** 3
    diagonal_histogram(ax, h)
    up, down = (heights(ax, color)[0].sum() for color in (POSITIVE, NEGATIVE))
    assert (up, -down) == pytest.approx(((h > 0).mean(), (h < 0).mean()))


def test_the_figure_has_every_layer_on_one_scale():
    layout = sr.Layout({"words": (3, 2), "0.mlp.in": (2,), "0.mlp.out": (2,)})
    fig = diagonal_figure(np.append(np.full(6, -2.0), [1e-4, 1, 1, 1]), layout)
    assert [ax.get_title("left") for ax in fig.axes] == ["all", "words", "0.mlp"]
    assert [ax.get_title("right") for ax in fig.axes] == [
        "10 entries, 60.0% negative", "6 entries, 100.0% negative", "4 entries, 0.0% negative",
    ]  # fmt: skip
    assert len({ax.get_xlim() for ax in fig.axes}) == 1
    fig.canvas.draw()
    extent = fig.get_tightbbox()
    assert (extent.x0 >= 0) & (extent.y0 >= 0) & (extent.x1 <= fig.get_figwidth())


def test_a_density_integrates_to_one_and_the_legend_has_its_ends(ax):
    nodes, weights = np.array([-2.0, 0.0, 0.1, 6.0]), np.array([0.05, 0.5, 0.44, 0.01])
    assert spectrum(ax, {"trained": SpectralDensity(nodes, weights)}) is ax
    x, y = ax.lines[0].get_data()
    assert np.trapezoid(y, x) == pytest.approx(1, abs=1e-6)
    left = x < -1
    assert np.trapezoid(y[left], x[left]) == pytest.approx(0.05, abs=1e-6)
    assert ax.lines[0].get_label() == "trained: from -2 to 6"
    assert ax.get_yscale() == "log"


def test_densities_are_told_apart_by_colour_and_line(ax):
    one = SpectralDensity(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    spectrum(ax, {"a": one, "b": one})
    a, b = ax.lines[:2]
    assert a.get_color() != b.get_color()
    assert a.get_linestyle() != b.get_linestyle()


def test_bad_input_is_refused_by_name(ax):
    for h, message in (
        ([], r"diagonal: shape \(0,\); expected \(n,\)"),
        (np.ones((2, 2)), r"diagonal: shape \(2, 2\); expected \(n,\)"),
        ([1.0, np.nan], r"diagonal\[1\]: nan; expected finite numbers"),
        ([0.0, 0.0], "diagonal: all zero"),
    ):
        with pytest.raises(ValueError, match=message):
            diagonal_histogram(ax, h)
    layout = sr.Layout({"w": (3,)})
    with pytest.raises(ValueError, match=r"diagonal: shape \(2,\); expected \(3,\), as the layout has it"):
        diagonal_figure([1.0, 2.0], layout)
    with pytest.raises(TypeError, match=r"layout: \{'w': 3\}; expected a Layout"):
        diagonal_figure([1.0, 2.0], {"w": 3})
    with pytest.raises(ValueError, match="densities: empty"):
        spectrum(ax, {})
    with pytest.raises(ValueError, match=r"width: 0\.0; expected a finite number > 0"):
        spectrum(ax, {"a": SpectralDensity(np.zeros(1), np.ones(1))}, width=0.0)
    assert not ax.has_data()
