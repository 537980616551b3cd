"""The picture of basins: each start has the colour of the place where it ends, and is paler the longer it took."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import sophia_ref as sr
from sophia_ref.basins import Basins, basins
from sophia_ref.plots.basins import KINDS, MINIMA, basins_figure
from sophia_ref.plots.basins import basins as draw
from sophia_ref.plots.style import DARK, figure
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
    for at, color in {
        (0, 0): MINIMA[0], (1, 0): KINDS["saddle"], (1, 1): KINDS["nowhere"], (1, 2): KINDS["diverged"],
        (2, 0): KINDS["maximum"], (2, 1): MINIMA[1], (2, 2): MINIMA[2],
    }.items():  # fmt: skip
        np.testing.assert_allclose(image[at], to_rgb(color), atol=1e-12)
    paper = np.array(to_rgb(DARK.paper if dark else "white"))
    away = np.linalg.norm(image[0] - paper, axis=-1)
    assert away[0] > away[1] > away[2] > 0.5 * away[0]
    assert ax.images[0].get_extent() == [-5, 5, -5, 5]
    assert ax.images[0].origin == "lower"
    assert ax.get_title() == "Newton"


def test_panels_stand_side_by_side_with_shares_and_no_label_is_cut():
    found = [basins(HIMMELBLAU, opt, (12, 12), steps=40) for opt in (sr.Newton(lr=1.0), sr.SignGD(lr=0.3))] * 2
    fig = basins_figure(found)
    assert len(fig.axes) == 4
    fig.canvas.draw()
    for ax, item in zip(fig.axes, found, strict=True):
        for kind, share in item.shares().items():
            assert (f"{kind} {share:.1%}" in ax.get_xlabel()) == (share > 0)
        for text in (ax.title, ax.xaxis.label):
            box = text.get_window_extent()
            assert 0 <= box.x0 < box.x1 <= fig.bbox.width
            assert 0 <= box.y0 < box.y1 <= fig.bbox.height
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert legend[:2] == ["minimum, a colour each", "saddle"]


def test_bad_input_is_refused():
    other = basins(REGISTRY["booth"], sr.Newton(lr=1.0), (2, 2))
    with pytest.raises(ValueError, match="found: empty; expected Basins or a list of them"):
        basins_figure([])
    with pytest.raises(ValueError, match=r"found: \['himmelblau', 'booth'\]; expected one landscape"):
        basins_figure([by_hand([[0]], [[0]]), other])
