"""The curvature picture: its level sets are those of Himmelblau's Hessian, worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from sophia_ref.plots import curvature, curvature_figure, figure, style_of
from toy_problems.landscapes import REGISTRY

HIMMELBLAU = REGISTRY["himmelblau"]
BOWL, HIDDEN, NEGATIVE = (3.6, -1.2), (1.8, 1.6), (0.5, 1.5)  # H definite; indefinite with h > 0; h_x < 0


def gradient(x, y):
    return np.array([4 * x * (x**2 + y - 11) + 2 * (x + y**2 - 7), 2 * (x**2 + y - 11) + 4 * y * (x + y**2 - 7)])


def hessian(x, y):
    return np.array([[12 * x**2 + 4 * y - 42, 4 * (x + y)], [4 * (x + y), 12 * y**2 + 4 * x - 26]])


@pytest.fixture
def ax():
    return figure(4, 4).subplots()


def level_sets(ax):
    """(points (n, 2), dashes) of every level set that is drawn in ink."""
    found = []
    for artist in ax.collections:
        if len(getattr(artist, "levels", [])) == 1:
            vertices = np.concatenate([path.vertices for path in artist.get_paths()])
            found.append((vertices, artist.linestyles))
    return found


def arrows(ax):
    return [(np.array(t.xyann), np.array(t.xy)) for t in ax.texts if t.arrow_patch is not None]


@pytest.mark.parametrize("theta", [BOWL, HIDDEN, NEGATIVE])
@pytest.mark.parametrize("seen", ["hessian", "diagonal", "sophia"])
def test_level_sets_are_those_of_what_is_seen(ax, theta, seen):
    assert curvature(ax, HIMMELBLAU, theta, seen) is ax
    H, width = hessian(*theta), 4.0
    sizes = np.abs(np.linalg.eigvalsh(H))
    c = sizes.min() * (0.35 * width) ** 2 / 2
    M = {"hessian": H, "diagonal": np.diag(np.diag(H)), "sophia": np.diag(np.maximum(np.diag(H), 1e-12))}[seen]
    sets = level_sets(ax)
    negative = np.linalg.eigvalsh(M).min() < 0
    assert [dashes for _, dashes in sets] == (["solid", "dashed"] if negative else ["solid"])
    for points, dashes in sets:
        d = points - theta
        q = np.einsum("ni,ij,nj->n", d, M, d) / 2
        np.testing.assert_allclose(q, c if dashes == "solid" else -c, rtol=0.02)
    assert ax.get_xlim() == pytest.approx((theta[0] - 2, theta[0] + 2))
    assert ax.get_ylim() == pytest.approx((theta[1] - 2, theta[1] + 2))


def test_where_the_diagonal_sees_a_bowl_the_hessian_shows_a_saddle(ax):
    assert np.linalg.eigvalsh(hessian(*HIDDEN))[0] < 0 < np.diag(hessian(*HIDDEN)).min()
    other = figure(4, 4).subplots()
    assert len(level_sets(curvature(ax, HIMMELBLAU, HIDDEN, "hessian"))) == 2
    assert len(level_sets(curvature(other, HIMMELBLAU, HIDDEN, "diagonal"))) == 1


def test_eigenvectors_are_drawn_under_their_eigenvalues_dashed_where_negative(ax):
    curvature(ax, HIMMELBLAU, HIDDEN)
    s, V = np.linalg.eigh(hessian(*HIDDEN))
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2]
    for i, line in enumerate(lines):
        ends = np.diff(line.get_xydata(), axis=0)[0]
        assert abs(ends @ V[:, i]) == pytest.approx(np.linalg.norm(ends))
        assert (line.get_linestyle() == "-") == (s[i] > 0)
    written = [text.get_text() for text in ax.texts]
    assert rf"$\lambda_1 = {s[0]:.3g}$" in written
    assert rf"$\lambda_2 = {s[1]:.3g}$" in written


def test_the_arrow_is_the_step_of_the_one_who_looks():
    theta, rho = np.array((3.9, -1.7)), 0.25
    g, H = gradient(*theta), hessian(*theta)
    h = np.diag(H)
    steps = {
        "hessian": -np.linalg.solve(H, g),
        "diagonal": -g / h,
        "sophia": -np.clip(g / h, -rho, rho),
    }
    assert (steps["sophia"] != steps["diagonal"]).any()
    for seen, step in steps.items():
        ((start, end),) = arrows(curvature(figure(4, 4).subplots(), HIMMELBLAU, theta, seen, rho=rho))
        np.testing.assert_allclose(start, theta)
        np.testing.assert_allclose(end, theta + step, rtol=1e-9)


def test_sophia_goes_downhill_where_curvature_is_negative_and_no_further_than_its_box(ax):
    curvature(ax, HIMMELBLAU, NEGATIVE, "sophia", rho=0.5)
    ((start, end),) = arrows(ax)
    assert ((end - start) * gradient(*NEGATIVE) < 0).all()
    np.testing.assert_allclose(np.abs(end - start), 0.5)
    (box,) = ax.patches
    np.testing.assert_allclose(box.get_bbox().get_points(), np.add(NEGATIVE, [[-0.5], [0.5]]))
    assert box.get_edgecolor()[:3] == pytest.approx(
        tuple(int(style_of("Sophia")["color"][i : i + 2], 16) / 255 for i in (1, 3, 5))
    )
    assert r"$h_x < 0 \to \epsilon$" in [text.get_text() for text in ax.texts]


def test_at_a_critical_point_there_is_no_step(ax):
    curvature(ax, HIMMELBLAU, HIMMELBLAU.saddles[0])
    assert arrows(ax) == []


def test_a_direction_without_curvature_gives_two_lines(ax):
    trough = SimpleNamespace(**vars(HIMMELBLAU) | {"f": lambda theta: theta[..., 0] ** 2})
    curvature(ax, trough, (0.5, 0.5))
    ((points, _),) = level_sets(ax)
    np.testing.assert_allclose(np.abs(points[:, 0] - 0.5), 0.35 * 4, rtol=1e-6)


@pytest.mark.parametrize("dark", [False, True])
def test_the_figure_has_a_row_for_each_point_and_no_writing_leaves_it(dark):
    fig = curvature_figure(HIMMELBLAU, [BOWL, NEGATIVE], dark)
    assert len(fig.axes) == 6
    fig.canvas.draw()
    extent = fig.get_tightbbox()
    assert min(extent.x0, extent.y0) >= 0
    assert extent.x1 <= fig.get_figwidth()
    assert extent.y1 <= fig.get_figheight()


def test_bad_input_is_refused_by_name(ax):
    space = SimpleNamespace(domain=[(0, 1)] * 3, f=lambda theta: theta.sum(-1))
    flat = SimpleNamespace(**vars(HIMMELBLAU) | {"f": lambda theta: theta.sum(-1)})
    with pytest.raises(ValueError, match="seen: 'gnb'; expected one of 'hessian', 'diagonal', 'sophia'"):
        curvature(ax, HIMMELBLAU, BOWL, "gnb")
    for theta in ((1, 2, 3), (np.nan, 0), 1.0):
        with pytest.raises(ValueError, match=r"theta: .*; expected two finite numbers, \(x, y\)"):
            curvature(ax, HIMMELBLAU, theta)
    with pytest.raises(ValueError, match=r"landscape: .*; expected a landscape of two dimensions"):
        curvature(ax, space, BOWL)
    with pytest.raises(ValueError, match=r"theta: \[3.6, -1.2\]; expected a point where the Hessian is not zero"):
        curvature(ax, flat, BOWL)
    for name in ("width", "rho"):
        for value in (0, -1.0, np.inf, True, "1"):
            with pytest.raises(ValueError, match=f"{name}: .*; expected a finite number > 0"):
                curvature(ax, HIMMELBLAU, BOWL, **{name: value})
    with pytest.raises(ValueError, match=r"thetas: empty; expected points \(x, y\)"):
        curvature_figure(HIMMELBLAU, [])
    assert not ax.has_data()
