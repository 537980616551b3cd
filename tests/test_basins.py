"""Basins: each start of the grid ends where a run of its own ends, although settled rows retire."""

import dataclasses
import time

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.basins import DIVERGED, NOWHERE, SETTLED, _finder, basins, grid_of_starts, reach
from toy_problems.landscapes import REGISTRY

FIG2, HIMMELBLAU = REGISTRY["sophia_fig2"], REGISTRY["himmelblau"]
SOPHIA = sr.Sophia(lr=0.2, beta1=0.5, beta2=0.5, gamma=0.2, every=2, estimator=sr.exact_diagonal)


def test_starts_are_the_middles_of_the_cells_from_the_lower_left():
    starts = grid_of_starts(FIG2, (4, 2))
    assert starts.shape == (2, 4, 2)
    np.testing.assert_allclose(starts[0, 0], [-1.1 + 2.6 / 8, -1 + 2.5])
    np.testing.assert_allclose(starts[1, 3], [1.5 - 2.6 / 8, 9 - 2.5])


def test_gradient_descent_with_small_steps_goes_down_its_own_side():
    # dL/dx = 8 x (x - 1)(5.2 x + 3.4): each side of x = 0 has its minimum, (1, 4) and (-17/26, 4)
    found = basins(FIG2, sr.GradientDescent(lr=0.01), (26, 5), steps=1500)
    x = grid_of_starts(FIG2, (26, 5))[..., 0]
    np.testing.assert_array_equal(found.end, np.where(x > 0, 0, 1))
    assert found.shares() == {"minimum": 1.0, "saddle": 0.0, "maximum": 0.0, "nowhere": 0.0, "diverged": 0.0}


def test_newton_ends_where_newtons_map_does():
    # in x alone: x <- x - f'/f'' with f' = 41.6 x^3 - 14.4 x^2 - 27.2 x
    found = basins(FIG2, sr.Newton(lr=1.0), (60, 3), steps=100)
    x = grid_of_starts(FIG2, (60, 3))[..., 0]
    for _ in range(100):
        x = x - (41.6 * x**3 - 14.4 * x**2 - 27.2 * x) / (124.8 * x**2 - 28.8 * x - 27.2)
    expected = np.select([abs(x - 1) < 1e-6, abs(x + 17 / 26) < 1e-6, abs(x) < 1e-6], [0, 1, 2], NOWHERE)
    np.testing.assert_array_equal(found.end, expected)
    assert {0, 1, 2} <= set(found.end.flat)
    assert found.shares()["saddle"] == (expected == 2).mean()


@pytest.mark.parametrize("opt", [SOPHIA, sr.Adam(lr=0.3), sr.SignGD(lr=0.05), sr.GradientDescent(lr=0.01)])
def test_ends_and_steps_are_those_of_runs_that_nobody_retires(opt):
    found = basins(HIMMELBLAU, opt, (9, 8), steps=150)
    theta = grid_of_starts(HIMMELBLAU, (9, 8))
    path = sr.run(HIMMELBLAU, opt, 150, theta).trajectory  # (151, 8, 9, 2)
    index, distance = HIMMELBLAU.nearest(path)
    place = np.where(distance <= reach(HIMMELBLAU), index, NOWHERE)
    for at in np.ndindex(8, 9):
        stays = place[(slice(None), *at)]
        runs = np.flatnonzero(np.diff(stays, prepend=-9))  # where the place changes
        lengths = np.diff([*runs, 151])
        settled = [start for start, n in zip(runs, lengths, strict=True) if 0 <= stays[start] < 4 and n > SETTLED]
        since = settled[0] if settled else runs[-1]
        assert (found.end[at], found.steps[at]) == (stays[since], since)
    assert len(np.unique(found.end)) >= 4


def test_saddles_and_maxima_count_only_when_they_are_hit():
    found = basins(HIMMELBLAU, sr.Newton(lr=1.0), (40, 40), steps=60)
    assert {"minimum", "saddle", "maximum"} <= set(found.kinds.flat)
    # a start within reach of a saddle, from which gradient descent slowly leaves, is not at the saddle
    near = dataclasses.replace(FIG2, domain=((-0.02, 0.021), (3.98, 4.02)))
    slow = basins(near, sr.GradientDescent(lr=0.01), (4, 4), steps=600)
    assert slow.shares()["saddle"] == 0


def test_paths_that_leave_are_diverged_and_those_without_rest_are_nowhere():
    assert (basins(HIMMELBLAU, sr.GradientDescent(lr=1.0), (5, 4), steps=30).end == DIVERGED).all()
    found = basins(HIMMELBLAU, sr.SignGD(lr=1.0), (5, 4), steps=30)
    assert found.shares()["nowhere"] > 0.5
    assert basins(HIMMELBLAU, sr.SignGD(lr=0.01), (2, 2), steps=1).shares()["nowhere"] == 1


def test_a_loss_that_is_not_a_number_is_divergence():
    def surface(x, y):
        return x - np.log(x) + (y - 4) ** 2 / 2  # no number for x < 0, where the derivative 1 - 1/x has one

    half = dataclasses.replace(FIG2, surface=surface)
    found = basins(half, sr.GradientDescent(lr=0.1), (10, 2), steps=50)
    np.testing.assert_array_equal(found.end == DIVERGED, grid_of_starts(half, (10, 2))[..., 0] < 0)


def test_starts_nearest_to_one_of_many_minima_end_there():
    rastrigin = REGISTRY["rastrigin"]
    found = basins(rastrigin, sr.GradientDescent(lr=0.001), (30, 30), steps=400)
    start, _ = rastrigin.nearest(grid_of_starts(rastrigin, (30, 30)))
    np.testing.assert_array_equal(found.kinds, "minimum")
    # a start nearest to a minimum goes to it
    close = start < len(rastrigin.minima)
    assert close.any()
    np.testing.assert_array_equal(found.end[close], start[close])


@pytest.mark.parametrize("name", REGISTRY)
def test_the_critical_point_within_reach_is_found_as_by_looking_at_all_of_them(name):
    landscape, rng = REGISTRY[name], np.random.default_rng(0)
    (left, right), (bottom, top) = landscape.domain
    anywhere = rng.uniform((left - 1, bottom - 1), (right + 1, top + 1), (2000, 2))
    around = landscape.critical_points[:, None] + rng.normal(
        0, reach(landscape), (len(landscape.critical_points), 9, 2)
    )
    theta = np.concatenate([anywhere, around.reshape(-1, 2), [[1e300, -1e300]]])
    away = np.hypot(*(theta[:, None] - landscape.critical_points).T)  # (points, n)
    place, distance = _finder(landscape)(*theta.T)
    expected = np.where(away.min(axis=0) <= reach(landscape), away.argmin(axis=0), NOWHERE)
    np.testing.assert_array_equal(place, expected)
    np.testing.assert_array_equal(distance[place >= 0], away.min(axis=0)[place >= 0])
    assert 0 < (place >= 0).sum() < len(theta) - 1000


@pytest.mark.parametrize("opt", [sr.Newton(lr=1.0), sr.SaddleFreeNewton(lr=0.5), SOPHIA, sr.Adam(lr=0.1)])
def test_single_runs_end_where_the_grid_says(opt):
    found = basins(HIMMELBLAU, opt, (40, 40), steps=200)
    for at in ((0, 0), (5, 31), (13, 8), (20, 20), (27, 12), (39, 2), (33, 38)):
        theta0 = grid_of_starts(HIMMELBLAU, (40, 40))[at]
        run = sr.run(HIMMELBLAU, opt, 200, theta0)
        assert found.kinds[at] == HIMMELBLAU.classify(run.theta, reach(HIMMELBLAU))
        assert found.end[at] == HIMMELBLAU.nearest(run.theta)[0]


@pytest.mark.parametrize("opt", [sr.Newton(lr=1.0), SOPHIA, sr.Adam(lr=0.1), sr.GradientDescent(lr=0.05)])
def test_a_symmetric_landscape_has_symmetric_basins(opt):
    camel = REGISTRY["six_hump_camel"]  # L(-x, -y) = L(x, y)
    found = basins(camel, opt, (24, 16), steps=200)
    mirrored, _ = camel.nearest(-camel.critical_points)
    mirrored = np.append(mirrored, [DIVERGED, NOWHERE])  # where the indices -2 and -1 point
    np.testing.assert_array_equal(found.end[::-1, ::-1], mirrored[found.end])
    np.testing.assert_array_equal(found.steps[::-1, ::-1], found.steps)
    assert len(np.unique(found.end)) >= 4


def test_parts_on_several_threads_are_the_whole(monkeypatch):
    whole = [basins(HIMMELBLAU, opt, (13, 7), steps=60) for opt in (SOPHIA, sr.Newton(lr=1.0))]
    monkeypatch.setattr("sophia_ref.basins.PART", 10)
    parts = [basins(HIMMELBLAU, opt, (13, 7), steps=60) for opt in (SOPHIA, sr.Newton(lr=1.0))]
    for one, many in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one.end, many.end)
        np.testing.assert_array_equal(one.steps, many.steps)
        assert one.cost == many.cost


def test_a_browser_which_has_one_thread_finds_the_same(monkeypatch):
    def no_thread(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("sophia_ref.basins.PART", 10)
    on_threads = basins(HIMMELBLAU, SOPHIA, (13, 7), steps=60)
    monkeypatch.setattr("sys.platform", "emscripten")
    monkeypatch.setattr("threading.Thread.start", no_thread)
    in_turn = basins(HIMMELBLAU, SOPHIA, (13, 7), steps=60)
    np.testing.assert_array_equal(in_turn.end, on_threads.end)
    np.testing.assert_array_equal(in_turn.steps, on_threads.steps)


def test_an_error_in_a_part_ends_them_all(monkeypatch):
    begun = []

    def surface(x, y):
        begun.append(x)
        time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr("sophia_ref.basins.PART", 1)
    monkeypatch.setattr("sophia_ref.basins._cores", lambda: 2)
    with pytest.raises(KeyboardInterrupt):
        basins(dataclasses.replace(FIG2, surface=surface), SOPHIA, (9, 9))
    assert len(begun) < 40


def test_a_path_at_rest_outside_of_the_domain_is_nowhere_and_takes_no_more_steps():
    asked = []

    def surface(x, y):
        asked.append(np.size(x))
        return (x - 3) ** 2 + (y - 4) ** 2

    away = dataclasses.replace(FIG2, surface=surface)
    found = basins(away, sr.Newton(lr=1.0), (5, 5), steps=1000)
    assert found.shares()["nowhere"] == 1
    assert len(asked) < 100


def test_a_landscape_with_one_critical_point_has_room_for_what_diverges():
    found = basins(REGISTRY["booth"], sr.GradientDescent(lr=1.0), (3, 3), steps=50)
    assert found.shares()["diverged"] == 1


def test_noise_is_repeatable(monkeypatch):
    monkeypatch.setattr("sophia_ref.basins.PART", 10)
    noisy = HIMMELBLAU.noisy(4.0)
    a, b, c = (basins(noisy, SOPHIA, (6, 6), steps=60, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.steps, b.steps)
    assert (a.steps != c.steps).any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"landscape": lambda theta: theta.sum()}, TypeError, "basins: landscape must be a Landscape, as in toy_pro"),
        (
            {"landscape": dataclasses.replace(FIG2, minima=np.empty((0, 2)), saddles=np.empty((0, 2)))},
            ValueError,
            "basins: landscape must have critical points, got sophia_fig2 without any",
        ),
        ({"opt": "sophia"}, TypeError, "basins: opt must be an optimizer of sophia_ref, .* got 'sophia'"),
        ({"opt": sr.Adam(lr=np.ones((4, 1)))}, TypeError, "basins: lr must be one number for all starts"),
        ({"grid": 300}, TypeError, r"basins: grid must be a pair \(columns, rows\), got 300"),
        ({"grid": (3, 0)}, ValueError, "basins: grid must be an integer >= 1, got 0"),
        ({"steps": 0}, ValueError, "basins: steps must be an integer >= 1, got 0"),
        ({"seed": -1}, ValueError, "basins: seed must be an integer >= 0, got -1"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        basins(**({"landscape": FIG2, "opt": SOPHIA, "grid": (2, 2)} | arguments))


def test_progress_counts_starts(capsys):
    basins(FIG2, SOPHIA, (3, 3), steps=50, progress=True)
    assert "9/9" in capsys.readouterr().err
