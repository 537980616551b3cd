"""Oracles: the published formulas restated, complex-step derivatives, closed forms, index theory, and a root search."""

import itertools
import math
import pickle

import numpy as np
import pytest
from scipy.optimize import brentq

from sophia_ref import autodiff
from toy_problems.landscapes import REGISTRY, Landscape, rotated_quadratic, separable_valley

ALL = pytest.mark.parametrize("landscape", REGISTRY.values(), ids=REGISTRY)
SINGULAR = {("monkey_saddle", (0, 0)), ("degenerate_saddle", (0, 0))}
COS30, SIN30 = math.sqrt(3) / 2, 0.5

PUBLISHED = {  # name -> the formula as printed, in scalars
    "sophia_fig2": lambda x, y: 8 * (x - 1) ** 2 * (1.3 * x**2 + 2 * x + 1) + 0.5 * (y - 4) ** 2,
    "rotated_quadratic": lambda x, y: 0.5 * (x * COS30 + y * SIN30) ** 2 + 50 * (y * COS30 - x * SIN30) ** 2,
    "separable_valley": lambda x, y: 0.5 * x * x + 50 * y * y,
    "saddle": lambda x, y: (x - y) * (x + y),
    "monkey_saddle": lambda x, y: x**3 - 3 * x * y**2,
    "degenerate_saddle": lambda x, y: x**2 / 2 - y**4 / 4 + y**6 / 6,
    "rosenbrock": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "beale": lambda x, y: sum((c - x + x * y**n) ** 2 for c, n in ((1.5, 1), (2.25, 2), (2.625, 3))),
    "himmelblau": lambda x, y: (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2,
    "booth": lambda x, y: (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2,
    "six_hump_camel": lambda x, y: (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2,
    "goldstein_price": lambda x, y: (
        (1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2))
        * (30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2))
    ),
    "styblinski_tang": lambda x, y: 0.5 * sum(t**4 - 16 * t**2 + 5 * t for t in (x, y)),
    "rastrigin": lambda x, y: 20 + sum(t**2 - 10 * math.cos(2 * math.pi * t) for t in (x, y)),
    "ackley": lambda x, y: (
        20
        + math.e
        - 20 * math.exp(-0.2 * math.sqrt(0.5 * (x**2 + y**2)))
        - math.exp(0.5 * (math.cos(2 * math.pi * x) + math.cos(2 * math.pi * y)))
    ),
}


def gradient(landscape, theta):
    """Complex step: exact to rounding, theta (..., 2) -> (..., 2)."""
    steps = 1e-30j * np.eye(2)
    return np.stack([landscape.f(theta + step).imag / 1e-30 for step in steps], axis=-1)


def hessian(landscape, theta, h=1e-5):
    """Central differences of the complex-step gradient, (..., 2, 2)."""
    columns = [(gradient(landscape, theta + s) - gradient(landscape, theta - s)) / (2 * h) for s in h * np.eye(2)]
    return np.stack(columns, axis=-1)


def newton(landscape, theta):
    return np.linalg.solve(hessian(landscape, theta), gradient(landscape, theta)[..., None])[..., 0]


def scattered(landscape, n, seed=0):
    (x_low, x_high), (y_low, y_high) = landscape.domain
    return np.random.default_rng(seed).uniform((x_low, y_low), (x_high, y_high), size=(n, 2))


def regular(landscape, name):
    """The listed critical points of one kind whose Hessian exists and is regular."""
    points = [p for p in getattr(landscape, name) if (landscape.name, tuple(p)) not in SINGULAR]
    if landscape.name == "ackley":
        points = [p for p in points if p.any()]
    return np.reshape(points, (-1, 2))


def test_the_registry_holds_at_least_the_promised_landscapes_under_their_own_names():
    assert set(REGISTRY) >= set(PUBLISHED)
    assert all(landscape.name == name for name, landscape in REGISTRY.items())


@ALL
def test_the_surface_is_the_published_formula(landscape):
    theta = scattered(landscape, 200)
    expected = np.array([PUBLISHED[landscape.name](x, y) for x, y in theta.tolist()])
    np.testing.assert_allclose(landscape.f(theta), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@ALL
def test_one_newton_step_from_a_listed_point_goes_nowhere(landscape):
    for name in ("minima", "saddles", "maxima"):
        points = regular(landscape, name)
        assert np.abs(newton(landscape, points)).max(initial=0) < 1e-15 * (1 + np.abs(points).max(initial=0))


@ALL
def test_the_hessian_is_definite_at_minima_and_maxima_and_indefinite_at_saddles(landscape):
    signs = {"minima": [1, 1], "saddles": [-1, 1], "maxima": [-1, -1]}
    for name, expected in signs.items():
        eigenvalues = np.linalg.eigvalsh(hessian(landscape, regular(landscape, name)))
        assert (np.sign(eigenvalues) == expected).all()
        assert np.abs(eigenvalues).min(initial=1) > 0.1


def test_the_singular_points_are_exactly_the_two_declared():
    for name, point in SINGULAR:
        landscape = REGISTRY[name]
        assert list(point) in landscape.saddles.tolist()
        assert landscape.note
        assert np.abs(gradient(landscape, np.array(point))).max() < 1e-50
        assert abs(np.linalg.det(hessian(landscape, np.array(point)))) < 1e-9


@ALL
def test_a_small_circle_lies_above_minima_below_maxima_and_on_both_sides_at_saddles(landscape):
    phi = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = 1e-3 * np.stack([np.cos(phi), np.sin(phi)], axis=-1)
    for name, above, below in (("minima", True, False), ("saddles", True, True), ("maxima", False, True)):
        points = getattr(landscape, name)
        rise = landscape.f(points[:, None] + circle) - landscape.f(points)[:, None]  # (n, 48)
        assert ((rise > 0).any(axis=1) == above).all()
        assert ((rise < 0).any(axis=1) == below).all()
        assert (rise != 0).all() or name == "saddles"


@ALL
def test_the_listed_points_lie_inside_the_domain_and_are_distinct(landscape):
    points = landscape.critical_points
    low, high = np.transpose(landscape.domain)
    assert ((low < points) & (points < high)).all()
    distances = np.hypot(*(points[:, None] - points).T) + 9 * np.eye(len(points))
    assert distances.min() > 0.05  # classify's default tolerance is 0.01


@ALL
def test_the_gradient_winds_around_the_domain_as_often_as_the_listed_points_say(landscape):
    # Poincare-Hopf: minima and maxima have index 1, saddles -1, the monkey saddle -2
    (x_low, x_high), (y_low, y_high) = landscape.domain
    t = np.linspace(0, 1, 100_000)
    corners = np.array([(x_low, y_low), (x_high, y_low), (x_high, y_high), (x_low, y_high), (x_low, y_low)])
    boundary = np.concatenate([a + (b - a) * t[:, None] for a, b in itertools.pairwise(corners)])
    g = gradient(landscape, boundary)
    turns = np.diff(np.unwrap(np.arctan2(g[:, 1], g[:, 0])))
    assert np.abs(turns).max() < 2  # well below pi, so that no turn is taken the wrong way round
    index = -2 if landscape.name == "monkey_saddle" else -1
    expected = len(landscape.minima) + index * len(landscape.saddles) + len(landscape.maxima)
    assert round(turns.sum() / (2 * np.pi), 6) == expected


@ALL
def test_newton_from_a_dense_grid_finds_the_listed_points_and_no_other(landscape):
    low, high = np.transpose(landscape.domain)
    theta = np.stack(np.meshgrid(*np.linspace(low, high, 90).T + 1e-3, indexing="ij"), axis=-1).reshape(-1, 2)
    with np.errstate(all="ignore"):
        for _ in range(60):
            hessians = hessian(landscape, theta)
            theta = theta[np.isfinite(hessians).all(axis=(1, 2)) & (np.linalg.det(hessians) != 0)]
            step = newton(landscape, theta)
            theta = theta - step * np.minimum(1, 0.25 * (high - low).max() / np.hypot(*step.T))[:, None]
            theta = theta[((low <= theta) & (theta <= high)).all(axis=1)]
    found = theta[np.hypot(*gradient(landscape, theta).T) < 1e-9]
    index, distance = landscape.nearest(found)
    assert distance.max() < (1e-3 if any(landscape.name == name for name, _ in SINGULAR) else 1e-9)
    tip = {0} if landscape.name == "ackley" else set()
    assert set(index.tolist()) == set(range(len(landscape.critical_points))) - tip


@ALL
def test_a_global_minimum_is_listed_first(landscape):
    heights = landscape.f(landscape.minima)
    assert (heights[:1] <= heights + 1e-9).all()


@pytest.mark.parametrize(
    ("name", "lowest", "how_many"),
    [
        ("sophia_fig2", 0.0, 1),
        ("rosenbrock", 0.0, 1),
        ("beale", 0.0, 1),
        ("himmelblau", 0.0, 4),
        ("booth", 0.0, 1),
        ("six_hump_camel", -1.031628453489877, 2),
        ("goldstein_price", 3.0, 1),
        ("styblinski_tang", 2 * -39.16616570377142, 1),
        ("rastrigin", 0.0, 1),
        ("ackley", 0.0, 1),
    ],
)
def test_the_global_minimum_has_the_value_of_the_literature(name, lowest, how_many):
    heights = REGISTRY[name].f(REGISTRY[name].minima)
    np.testing.assert_allclose(heights[:how_many], lowest, rtol=1e-14, atol=1e-25)
    assert (heights[how_many:] > lowest + 0.1).all()


def test_the_numbers_of_critical_points_are_those_known():
    counts = {name: tuple(len(p) for p in (lan.minima, lan.saddles, lan.maxima)) for name, lan in REGISTRY.items()}
    assert counts["himmelblau"] == (4, 4, 1)
    assert counts["six_hump_camel"] == (6, 7, 2)
    assert counts["goldstein_price"] == (4, 4, 1)
    assert counts["styblinski_tang"] == (4, 4, 1)
    assert counts["rastrigin"] == (11**2, 2 * 11 * 10, 10**2)


def test_goldstein_price_takes_its_published_values_at_its_minima():
    landscape = REGISTRY["goldstein_price"]
    expected = [((0, -1), 3), ((-0.6, -0.4), 30), ((1.8, 0.2), 84), ((1.2, 0.8), 840)]
    np.testing.assert_allclose(landscape.minima, [point for point, _ in expected], atol=1e-15)
    np.testing.assert_allclose(landscape.f(landscape.minima), [height for _, height in expected], rtol=1e-13)


def test_separable_critical_coordinates_are_the_roots_of_their_derivative():
    roots = np.sort(np.roots([4, 0, -32, 5]).real)
    np.testing.assert_allclose(np.unique(REGISTRY["styblinski_tang"].critical_points), roots, rtol=1e-13)
    t = np.linspace(-5.12, 5.12, 2_000)
    slope = lambda t: t + 10 * np.pi * np.sin(2 * np.pi * t)  # noqa: E731
    brackets = [(a, b) for a, b in itertools.pairwise(t) if slope(a) * slope(b) < 0]
    roots = [brentq(slope, a, b, xtol=1e-15) for a, b in brackets]
    np.testing.assert_allclose(np.unique(REGISTRY["rastrigin"].critical_points), roots, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("x", "height", "curvature"), [(1, 0, 68.8), (0, 8, -27.2), (-0.653846, 5.428, 45.0), (-17 / 26, 5.428, 45.0)]
)
def test_figure_2_has_its_known_heights_and_curvatures_along_x(x, height, curvature):
    theta = np.array([x, 4.0])
    assert REGISTRY["sophia_fig2"].f(theta) == pytest.approx(height, abs=5e-4)
    assert hessian(REGISTRY["sophia_fig2"], theta)[0, 0] == pytest.approx(curvature, abs=0.05)


def test_figure_2_has_its_known_inflections_and_slopes():
    fig2 = REGISTRY["sophia_fig2"]
    x = np.linspace(-1, 1.4, 49)
    theta = np.stack([x, np.full_like(x, 7.5)], axis=-1)
    np.testing.assert_allclose(gradient(fig2, theta)[:, 0], 8 * x * (x - 1) * (5.2 * x + 3.4), atol=1e-12)
    np.testing.assert_allclose(hessian(fig2, theta)[:, 0, 0], 8 * (15.6 * x**2 - 3.6 * x - 3.4), atol=1e-7)
    np.testing.assert_allclose(hessian(fig2, np.array([[-0.3655, 4], [0.5963, 4]]))[:, 0, 0], 0, atol=0.02)
    np.testing.assert_allclose(gradient(fig2, theta)[:, 1], 3.5)


def test_the_tip_of_ackley_is_flat_by_convention_and_finite():
    tip = REGISTRY["ackley"].f(np.zeros((3, 2)))
    np.testing.assert_array_equal(tip, 0)
    np.testing.assert_array_equal(gradient(REGISTRY["ackley"], np.zeros(2)), 0)
    r = np.array([1e-6, 1e-9])
    cone = REGISTRY["ackley"].f(np.stack([r, 0 * r], axis=-1))
    np.testing.assert_allclose(cone, 4 * r / math.sqrt(2), rtol=1e-5)


@pytest.mark.parametrize(("condition", "angle"), [(100.0, math.pi / 6), (1.0, 0.3), (1e6, -1.0), (0.01, 0.5)])
def test_a_rotated_quadratic_has_the_condition_number_and_axes_asked_for(condition, angle):
    landscape = rotated_quadratic(condition, angle)
    eigenvalues = np.linalg.eigvalsh(hessian(landscape, np.array([0.3, -0.7])))
    np.testing.assert_allclose(eigenvalues, sorted([1, condition]), rtol=1e-5)
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    np.testing.assert_allclose(landscape.f(np.stack([along, across])), [0.5, condition / 2], rtol=1e-9)


def test_a_separable_valley_has_the_curvatures_asked_for():
    landscape = separable_valley((0.5, 40.0))
    np.testing.assert_allclose(hessian(landscape, np.array([0.3, -0.7])), np.diag([0.5, 40.0]), atol=1e-7)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, True, "2", None])
def test_a_bad_knob_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"condition: .*expected a finite number > 0"):
        rotated_quadratic(bad)
    with pytest.raises(ValueError, match=r"curvatures: .*expected finite numbers > 0"):
        separable_valley((1.0, bad))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, False, "0"])
def test_a_bad_angle_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"angle: .*expected a finite number of radians"):
        rotated_quadratic(10, bad)


def test_three_curvatures_are_refused():
    with pytest.raises(ValueError, match=r"curvatures: \(1, 2, 3\); expected two numbers"):
        separable_valley((1, 2, 3))


@ALL
def test_rows_do_not_touch_each_other(landscape):
    theta = scattered(landscape, 12).reshape(3, 4, 2)
    before, moved = landscape.loss(theta, None), theta.copy()
    moved[1, 2] += 0.125
    changed = landscape.loss(moved, None) != before
    assert changed[1, 2]
    assert changed.sum() == 1


@ALL
def test_a_batch_gives_row_by_row_what_single_thetas_give(landscape):
    theta = scattered(landscape, 7)
    single = np.array([landscape.loss(row, None) for row in theta])
    np.testing.assert_allclose(landscape.loss(theta, None), single, rtol=1e-14, atol=1e-15)
    assert landscape.loss(theta[0], None).shape == ()
    assert landscape.loss(theta.reshape(7, 1, 2), None).shape == (7, 1)


@ALL
def test_float32_stays_float32_and_close(landscape):
    theta = scattered(landscape, 50).astype(np.float32)
    exact = landscape.f(theta.astype(np.float64))
    for thetas, expected in ((theta, exact), (theta[0], exact[0])):
        assert landscape.f(thetas).dtype == np.float32
        np.testing.assert_allclose(landscape.f(thetas), expected, rtol=1e-4, atol=1e-4 * np.abs(exact).max())


@ALL
def test_init_gives_a_fresh_copy_of_a_start_inside_the_domain_away_from_critical_points(landscape):
    rng = np.random.default_rng(0)
    theta = landscape.init(rng)
    assert theta.shape == (2,)
    assert theta.dtype == np.float64
    theta += 1
    np.testing.assert_array_equal(landscape.init(rng), landscape.start)
    low, high = np.transpose(landscape.domain)
    assert ((low <= landscape.start) & (landscape.start <= high)).all()
    assert np.linalg.norm(gradient(landscape, landscape.start)) > 1e-2
    assert landscape.batch(rng, ()) is None


@ALL
def test_a_landscape_describes_itself_survives_pickling_and_cannot_be_edited(landscape):
    assert all((landscape.title, landscape.formula, landscape.source))
    copy = pickle.loads(pickle.dumps(landscape))
    assert copy.f(landscape.start) == landscape.f(landscape.start)
    for points in (landscape.start, landscape.minima, landscape.saddles, landscape.maxima):
        with pytest.raises(ValueError, match="read-only"):
            points += 1
    with pytest.raises(AttributeError):
        landscape.title = "another"


@ALL
@pytest.mark.parametrize("theta", [np.zeros(3), np.zeros(()), np.zeros((2, 1)), np.zeros((4, 2, 0)), [0.0, 0.0], 1.0])
def test_a_theta_of_the_wrong_shape_is_refused_by_name(landscape, theta):
    with pytest.raises(ValueError, match=rf"theta: .*{landscape.name} expects an array of shape \(\.\.\., 2\)"):
        landscape.loss(theta, None)


# nearest and classify


@ALL
def test_every_listed_point_is_classified_as_what_it_is(landscape):
    for name, kind in (("minima", "minimum"), ("saddles", "saddle"), ("maxima", "maximum")):
        points = getattr(landscape, name)
        assert (landscape.classify(points + 0.005) == kind).all()
        assert (landscape.classify(points + 0.02) == "none").all()
        assert (landscape.classify(points + 0.02, tol=0.03) == kind).all()


def test_classify_keeps_the_leading_axes_and_calls_a_lost_theta_none():
    theta = np.array([[[1, 4], [0, 4], [np.nan, 4]], [[-17 / 26, 4.001], [np.inf, 0], [0.5, 4]]])
    expected = [["minimum", "saddle", "none"], ["minimum", "none", "none"]]
    np.testing.assert_array_equal(REGISTRY["sophia_fig2"].classify(theta), expected)
    assert REGISTRY["sophia_fig2"].classify(theta[0, 1]).shape == ()


def test_nearest_names_the_point_by_its_place_in_critical_points_and_measures_the_distance():
    fig2 = REGISTRY["sophia_fig2"]
    np.testing.assert_array_equal(fig2.critical_points, [[1, 4], [-17 / 26, 4], [0, 4]])
    index, distance = fig2.nearest(np.array([[4.0, 8.0], [-9.0, 4.0], [0.1, 4.0], [np.nan, 4.0]]))
    np.testing.assert_array_equal(index, [0, 1, 2, -1])
    np.testing.assert_allclose(distance, [5, 9 - 17 / 26, 0.1, np.inf])


# noise

COVARIANCE = np.array([[4.0, 1.5], [1.5, 1.0]])


@ALL
def test_the_noise_moves_the_gradient_by_xi_and_leaves_the_hessian(landscape):
    noisy = landscape.noisy(COVARIANCE)
    theta = scattered(landscape, 6).reshape(2, 3, 2)
    xi = noisy.batch(np.random.default_rng(3), theta.shape[:-1])
    assert xi.shape == theta.shape
    np.testing.assert_array_equal(noisy.loss(theta, xi), landscape.f(theta) + (xi * theta).sum(axis=-1))
    stepped = np.stack([noisy.loss(theta + s, xi).imag / 1e-30 for s in 1e-30j * np.eye(2)], axis=-1)
    scale = np.abs(gradient(landscape, theta)).max()
    np.testing.assert_allclose(stepped - gradient(landscape, theta), xi, rtol=0, atol=1e-15 * (scale + 10))
    np.testing.assert_array_equal(noisy.loss(theta, None), landscape.loss(theta, None))


@pytest.mark.parametrize("covariance", [0, 2.25, np.float32(0.5), COVARIANCE, np.ones((2, 2)), np.diag([0.0, 9.0])])
def test_the_noise_is_standard_normal_times_a_root_of_the_covariance(covariance):
    noisy = REGISTRY["booth"].noisy(covariance)
    full = covariance * np.eye(2) if np.ndim(covariance) == 0 else covariance
    np.testing.assert_allclose(noisy.noise @ noisy.noise.T, full, atol=1e-14)
    xi = noisy.batch(np.random.default_rng(5), (3,))
    np.testing.assert_allclose(xi, [noisy.noise @ z for z in np.random.default_rng(5).standard_normal((3, 2))])


def test_the_noise_has_mean_zero_and_the_covariance_asked_for():
    xi = REGISTRY["booth"].noisy(COVARIANCE).batch(np.random.default_rng(0), (200_000,))
    np.testing.assert_allclose(xi.mean(axis=0), 0, atol=5 * 2 / math.sqrt(200_000))
    np.testing.assert_allclose(np.cov(xi.T), COVARIANCE, atol=5 * 4 * math.sqrt(2 / 200_000))


def test_the_noise_repeats_with_its_seed_and_differs_between_rows_and_draws():
    noisy = REGISTRY["booth"].noisy(1.0)
    rng = np.random.default_rng(7)
    first, second = noisy.batch(rng, (4,)), noisy.batch(rng, (4,))
    np.testing.assert_array_equal(first, noisy.batch(np.random.default_rng(7), (4,)))
    assert len(np.unique(np.concatenate([first, second]))) == 16
    assert noisy.batch(rng, ()).shape == (2,)


def test_a_noisy_float32_loss_stays_float32():
    noisy = REGISTRY["booth"].noisy(1.0)
    theta = np.ones((3, 2), np.float32)
    assert noisy.loss(theta, noisy.batch(np.random.default_rng(0), (3,))).dtype == np.float32


def test_noise_makes_a_new_landscape_and_leaves_the_old_one_quiet():
    noisy = REGISTRY["booth"].noisy(2.0)
    assert isinstance(noisy, Landscape)
    assert noisy.name == "booth"
    assert REGISTRY["booth"].noise is None
    assert noisy.noisy(0).batch(np.random.default_rng(0), (5,)).any() == np.False_


@pytest.mark.parametrize(
    "bad",
    [
        math.nan,
        math.inf,
        -1.0,
        True,
        None,
        "1",
        1j,
        np.eye(3),
        np.ones(2),
        np.eye(2, dtype=bool),
        np.array([[1.0, 0.5], [0.4, 1.0]]),
        np.array([[1.0, 2.0], [2.0, 1.0]]),
        np.array([[1.0, np.nan], [np.nan, 1.0]]),
        -np.eye(2),
    ],
)
def test_a_bad_covariance_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=r"covariance: .*expected a finite number >= 0 or a symmetric") as caught:
        REGISTRY["booth"].noisy(bad)
    assert str(caught.value).startswith(f"covariance: {np.array(bad).tolist()!r}; ")


def test_a_batch_of_another_shape_is_refused_by_name():
    with pytest.raises(ValueError, match=r"batch: shape \(2,\); expected theta's shape \(3, 2\)"):
        REGISTRY["booth"].noisy(1.0).loss(np.ones((3, 2)), np.ones(2))


# derivatives through NumPy's protocols


@ALL
def test_autodiff_agrees_with_the_complex_step_on_all_rows_at_once(landscape):
    theta = np.concatenate([scattered(landscape, 20), landscape.critical_points[:20]])
    value, pullback = autodiff.vjp(landscape.f, theta)
    np.testing.assert_array_equal(value, landscape.f(theta))
    g = gradient(landscape, theta)
    np.testing.assert_allclose(pullback(np.ones_like(value)), g, rtol=1e-12, atol=1e-14 * np.abs(g).max())


@ALL
def test_autodiff_hessians_agree_with_differences(landscape):
    points = [*scattered(landscape, 4), *regular(landscape, "minima")[:4], *regular(landscape, "saddles")[:4]]
    for theta in points:
        h = hessian(landscape, theta)
        np.testing.assert_allclose(autodiff.hessian(landscape.f)(theta), h, rtol=1e-5, atol=1e-7 * np.abs(h).max())


def test_autodiff_is_finite_at_the_tip_of_ackley():
    f, tip = REGISTRY["ackley"].f, np.zeros(2)
    np.testing.assert_array_equal(autodiff.grad(f)(tip), 0)
    np.testing.assert_allclose(autodiff.hessian(f)(tip), 2 * math.pi**2 * math.e * np.eye(2), rtol=1e-14)


@ALL
def test_autodiff_keeps_float32_with_and_without_noise(landscape):
    theta = landscape.start.astype(np.float32)
    xi = landscape.noisy(1.0).batch(np.random.default_rng(0), ())
    for f in (landscape.f, lambda theta: landscape.noisy(1.0).loss(theta, xi)):
        assert autodiff.grad(f)(theta).dtype == np.float32
        assert autodiff.hvp(f, theta, np.ones_like(theta)).dtype == np.float32


@ALL
def test_a_noisy_gradient_is_the_gradient_plus_xi_and_the_hessian_is_unchanged(landscape):
    noisy = landscape.noisy(COVARIANCE)
    xi = noisy.batch(np.random.default_rng(1), ())
    g = autodiff.grad(lambda theta: noisy.loss(theta, xi))(landscape.start)
    np.testing.assert_array_equal(g, autodiff.grad(landscape.f)(landscape.start) + xi)
    h = autodiff.hessian(lambda theta: noisy.loss(theta, xi))(landscape.start)
    np.testing.assert_array_equal(h, autodiff.hessian(landscape.f)(landscape.start))
