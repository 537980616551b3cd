"""The picture of basins: each start has the colour of the place where it ends, and is paler the longer it took."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import sophia_ref as sr
from sophia_ref.basins import Basins, basins, percent
from sophia_ref.plots.basins import FADE, MAXIMUM, MINIMA, NOWHERE, SADDLE, basins_figure
from sophia_ref.plots.basins import basins as draw
from sophia_ref.plots.style import DARK, LIGHT, figure
from toy_problems.landscapes import REGISTRY

HIMMELBLAU = REGISTRY["himmelblau"]


def by_hand(end, steps):
    return Basins(HIMMELBLAU, sr.Newton(lr=1.0), np.array(end), np.array(steps), 1.0)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_say_where_and_shades_how_soon(dark):
    # critical points 0 to 3 are minima, then come the saddles and the maximum
    saddle, maximum = 4, len(HIMMELBLAU.critical_points) - 1
    ax = figure(4, 4, dark).subplots()
    draw(ax, by_hand([[0, 0, 0], [saddle, -1, -2], [maximum, 1, 2]], [[0, 5, 50], [0, 9, 9], [0, 0, 0]]))
    image = ax.images[0].get_array()
    scheme = DARK if dark else LIGHT
    for at, color in {
        (0, 0): MINIMA[0], (1, 0): SADDLE, (1, 1): NOWHERE[scheme], (1, 2): scheme.ink,
        (2, 0): MAXIMUM, (2, 1): MINIMA[1], (2, 2): MINIMA[2],
    }.items():  # fmt: skip
        np.testing.assert_allclose(image[at], to_rgb(color), atol=1e-12)
    paper = np.array(to_rgb(scheme.paper))
    away = np.linalg.norm(image[0] - paper, axis=-1)
    assert away[0] > away[1] > away[2] > 0.5 * away[0]
    assert ax.images[0].get_extent() == [-5, 5, -5, 5]
    assert ax.images[0].origin == "lower"
    assert ax.get_title() == "Newton"


def test_panels_stand_side_by_side_with_shares_and_no_label_is_cut():
    found = [basins(HIMMELBLAU, opt, (12, 12), steps=40) for opt in (sr.Newton(lr=1.0), sr.SignGD(lr=0.3))] * 2
    fig = basins_figure(found)
    assert len(fig.axes) == 6
    assert [ax.axison for ax in fig.axes] == [True] * 4 + [False] * 2
    fig.canvas.draw()
    for ax, item in zip(fig.axes, found, strict=False):
        for kind, share in item.shares().items():
            assert (f"{kind} {percent(share)}" in ax.get_xlabel()) == (share > 0)
        for text in (ax.title, ax.xaxis.label):
            box = text.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= fig.bbox.width
            assert 0 <= box.y0 < box.y1 <= fig.bbox.height
    (legend,) = (ax.get_legend() for ax in fig.axes if ax.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == [
        "at a minimum, a colour each", "at a saddle", "at a maximum", "nowhere", "minimum", "saddle", "maximum"
    ]  # fmt: skip
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= fig.bbox.width


@pytest.mark.parametrize("count", [1, 2, 3])
def test_without_a_spare_place_the_legend_is_below_and_whole(count):
    fig = basins_figure([basins(HIMMELBLAU, sr.Newton(lr=1.0), (12, 12), steps=40)] * count)
    fig.canvas.draw()
    box = fig.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= fig.bbox.width
    assert 0 <= box.y0 < box.y1 < fig.axes[0].xaxis.label.get_window_extent().y0


def test_shades_mean_the_same_in_every_panel():
    slow = by_hand([[0, 0]], [[9, 90]])
    fig = basins_figure([by_hand([[0, 0]], [[9, 9]]), slow])
    images = [np.asarray(ax.images[0].get_array()) for ax in fig.axes[:2]]
    np.testing.assert_array_equal(images[0][0, 0], images[1][0, 0])


# Machado, Oliveira, Fernandes (2009), severity 1, on linear RGB
EYES = {
    "usual": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def lab(rgb, eyes):
    """sRGB (..., 3) as CIE L*a*b* (..., 3) of what these eyes see."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ np.transpose(EYES[eyes])).clip(0, 1) @ np.transpose(XYZ) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_where_a_start_ends_is_told_by_colour_blind_eyes_in_every_shade(eyes, scheme):
    paper, shades = np.array(to_rgb(scheme.paper)), np.linspace(FADE, 1, 5)[:, None]

    def seen(*names):
        """(colours, shades, 3)"""
        return lab(np.array([paper + shades * (np.array(to_rgb(name)) - paper) for name in names]), eyes)

    flat = [lab(np.array([to_rgb(name)]), eyes) for name in (NOWHERE[scheme], scheme.ink)]
    kinds = [seen(*MINIMA).reshape(-1, 3), seen(SADDLE)[0], seen(MAXIMUM)[0], *flat]
    for i, one in enumerate(kinds):
        for other in kinds[:i]:
            assert np.linalg.norm(one[:, None] - other, axis=-1).min() > 15
    minima = seen(*MINIMA)
    for i, one in enumerate(minima):
        for other in minima[:i]:
            assert np.linalg.norm(one - other, axis=-1).min() > 8


def test_bad_input_is_refused():
    other = basins(REGISTRY["booth"], sr.Newton(lr=1.0), (2, 2))
    with pytest.raises(ValueError, match="found: empty; expected Basins or a list of them"):
        basins_figure([])
    with pytest.raises(ValueError, match=r"found: \['himmelblau', 'booth'\]; expected one landscape"):
        basins_figure([by_hand([[0]], [[0]]), other])
