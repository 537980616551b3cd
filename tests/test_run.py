"""The loop: repeatable, fair between optimizers, honest about cost, and calm when rows diverge."""

import dataclasses
import math
import re
import sys

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.guard import BLOCK_BYTES, default_block

MODULE = sys.modules["sophia_ref.run"]  # sr.run is the function


def valley(theta):
    """x^2/2 + 50 y^2 + x^4/4, (..., 2) -> (...)."""
    x, y = theta[..., 0], theta[..., 1]
    return x**2 / 2 + 50 * y**2 + x**4 / 4


def quartic(theta):
    """sum theta^4 / 4: gradient descent diverges once lr theta^2 > 2."""
    return (theta**4).sum(-1) / 4


class Noisy:
    """1/2 mean over examples of |theta - x|^2, with Gaussian labels. Remembers its starts and batches."""

    def __init__(self, dtype=np.float64):
        self.dtype, self.starts, self.batches = dtype, [], []

    def init(self, rng):
        self.starts.append(rng.standard_normal(2).astype(self.dtype))
        return self.starts[-1]

    def batch(self, rng, shape):
        self.batches.append((rng.standard_normal((*shape, 4, 2)).astype(self.dtype),))
        return self.batches[-1]

    def loss(self, theta, batch):
        return ((theta[..., None, :] - batch[0]) ** 2).sum(-1).mean(-1) / 2

    def sampled_loss(self, theta, batch, rng):
        noise = rng.standard_normal((*batch[0].shape[:-2], 4, 2), self.dtype)
        return (theta[..., None, :] * noise).sum(-1).mean(-1), 4


def sophia(**settings):
    return sr.Sophia(**(dict(lr=0.05, gamma=0.5, beta2=0.5, every=2, estimator=sr.hutchinson) | settings))


class Idle:
    """Asks nothing and stays where it is."""

    def init(self, theta):
        return None

    def step(self, theta, state, oracle):
        return sr.Step(theta, state, {})


OPTIMIZERS = [
    sr.GradientDescent(lr=0.01), sr.Momentum(lr=0.01), sr.SignGD(lr=0.02), sr.Signum(lr=0.02), sr.Adam(lr=0.05),
    sr.AdamW(lr=0.05, weight_decay=0.1), sr.Lion(lr=0.02), sr.AdaHessian(lr=0.05, estimator=sr.exact_diagonal),
    sophia(estimator=sr.exact_diagonal),
]  # fmt: skip
SECOND_ORDER = [
    sr.Newton(lr=0.5), sr.DampedNewton(lr=0.5, damping=0.1), sr.ClippedNewton(lr=0.5, rho=0.1),
    sr.SaddleFreeNewton(lr=0.5),
]  # fmt: skip


def by_name(opt):
    return opt.name


def same(a, b):
    """Whether two runs recorded the same numbers, to the bit."""
    for name in ("theta", "steps", "losses", "cost", "trajectory", "unclipped", "diverged_at", "clipped_steps"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


# -- what is recorded --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opt", [*OPTIMIZERS, *SECOND_ORDER], ids=by_name)
def test_a_run_is_the_loop_one_would_write_by_hand(opt):
    theta = np.array([1.0, 0.5])
    run = sr.run(valley, opt, 7, theta0=theta)
    state, cost = opt.init(theta), 0.0
    for t in range(8):
        oracle = sr.Oracle(valley, theta)
        np.testing.assert_array_equal(run.trajectory[t], theta)
        assert run.losses[t] == valley(theta)
        assert run.cost[t] == cost
        step = opt.step(theta, state, oracle)
        share = 1 - step.terms["clipped"].mean() if "clipped" in step.terms else np.nan
        if t < 7:
            np.testing.assert_array_equal(run.unclipped[t + 1], share)
            theta, state, cost = step.theta, step.state, cost + oracle.cost
    np.testing.assert_array_equal(run.theta, theta)
    for ours, theirs in zip(run.state, state, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(run.steps, np.arange(8))
    assert np.isnan(run.unclipped[0])
    assert (run.diverged_at, run.clipped_steps) == (None, 0)
    assert run.seconds > 0
    assert (run.optimizer, run.problem.f, run.seed) == (opt, valley, 0)


@pytest.mark.parametrize("lead", [(), (3,), (2, 2)])
def test_each_loss_is_that_of_its_theta_on_the_batch_of_its_step(lead):
    problem = Noisy()
    run = sr.run(problem, sophia(), 6, theta0=np.ones((*lead, 2)))
    assert run.losses.shape == run.unclipped.shape == (7, *lead)
    assert run.trajectory.shape == (7, *lead, 2)
    assert len(problem.batches) == 7
    for i in range(7):
        np.testing.assert_array_equal(run.losses[i], problem.loss(run.trajectory[i], problem.batches[i]))
    np.testing.assert_array_equal(run.trajectory[0], np.ones((*lead, 2)))
    np.testing.assert_array_equal(run.trajectory[-1], run.theta)


@pytest.mark.parametrize(
    ("steps", "record", "expected"),
    [
        (5, 1, [0, 1, 2, 3, 4, 5]),
        (5, None, [0, 1, 2, 3, 4, 5]),
        (6, 2, [0, 2, 4, 6]),
        (7, 3, [0, 3, 6, 7]),
        (7, 7, [0, 7]),
        (7, 100, [0, 7]),
        (7, np.int64(5), [0, 5, 7]),
        (0, None, [0]),
        (0, 3, [0]),
        (1, 1, [0, 1]),
    ],
)
def test_every_nth_step_is_recorded_and_the_start_and_the_end_always(steps, record, expected):
    full = sr.run(Noisy(), sophia(), steps, seed=3, record=1)
    run = sr.run(Noisy(), sophia(), steps, seed=3, record=record)
    assert run.steps.tolist() == expected
    for name in ("losses", "cost", "trajectory", "unclipped"):  # and sparse recording changes nothing
        np.testing.assert_array_equal(getattr(run, name), getattr(full, name)[expected], err_msg=name)
    np.testing.assert_array_equal(run.theta, full.theta)


def test_the_optimizers_questions_cost_and_the_recorded_losses_do_not():
    price = [0, 4, 5, 6, 10, 11, 12, 16]  # a gradient a step, and 3 for the product at steps 1, 4, 7
    for record, progress in ((1, False), (3, False), (1, True)):
        run = sr.run(valley, sophia(every=3), 7, theta0=np.ones(2), record=record, progress=progress)
        assert run.cost.tolist() == [price[t] for t in run.steps]


def test_an_optimizer_that_asks_nothing_spends_nothing():
    for progress in (False, True):
        run = sr.run(valley, Idle(), 3, theta0=np.ones(2), callback=lambda t, step, o: o.grad(), progress=progress)
        assert run.cost.tolist() == [0, 0, 0, 0]


def test_curvature_on_a_part_of_the_batch_costs_its_share():
    opt = sophia(every=2, estimator=sr.on_part(sr.gnb, 0.25))
    assert sr.run(Noisy(), opt, 4).cost.tolist() == [0, 1.25, 2.25, 3.5, 4.5]


def test_no_steps_is_the_start_alone():
    run = sr.run(valley, sr.Adam(lr=0.1), 0, theta0=np.array([1.0, 2.0]))
    assert (run.steps.tolist(), run.cost.tolist(), run.losses.tolist()) == ([0], [0], [200.75])
    np.testing.assert_array_equal(run.theta, [1, 2])
    assert run.state.t == 0


def test_many_rows_are_recorded_at_start_and_end_where_every_step_would_not_fit(monkeypatch):
    theta0 = np.ones((10, 2))  # 160 bytes a step
    monkeypatch.setattr(MODULE, "MEMORY", 160 * 6)
    assert sr.run(valley, sr.Adam(lr=0.1), 5, theta0=theta0).steps.tolist() == [0, 1, 2, 3, 4, 5]
    run = sr.run(valley, sr.Adam(lr=0.1), 6, theta0=theta0)
    assert run.steps.tolist() == [0, 6]
    assert run.trajectory.shape == (2, 10, 2)
    run = sr.run(valley, sr.Adam(lr=0.1), 40, theta0=theta0, record=1)  # as asked, but without thetas
    assert len(run.losses) == 41
    assert run.trajectory is None
    monkeypatch.setattr(MODULE, "MEMORY", 0)
    assert sr.run(valley, sr.Adam(lr=0.1), 0, theta0=theta0).steps.tolist() == [0]


def test_a_single_large_theta_still_has_every_loss_but_not_every_theta(monkeypatch):
    monkeypatch.setattr(MODULE, "MEMORY", 100)
    run = sr.run(valley, sr.Adam(lr=0.1), 9, theta0=np.ones(2))
    assert run.steps.tolist() == list(range(10))
    assert run.trajectory is None


def test_a_million_rows_take_no_more_memory_than_start_and_end():
    run = sr.run(lambda theta: theta.sum(-1), sr.SignGD(lr=0.1), 8, theta0=np.ones((1_000_000, 1)))
    assert run.steps.tolist() == [0, 8]


def test_the_trajectory_is_left_out_or_kept_as_asked(monkeypatch):
    assert sr.run(valley, sr.Adam(lr=0.1), 3, theta0=np.ones(2), trajectory=False).trajectory is None
    monkeypatch.setattr(MODULE, "MEMORY", 0)
    assert sr.run(valley, sr.Adam(lr=0.1), 3, theta0=np.ones(2), trajectory=True).trajectory.shape == (4, 2)


# -- seeds -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [sr.hutchinson, sr.hutchinson_rademacher, sr.gnb])
def test_one_seed_gives_one_run_to_the_bit(estimator):
    runs = [sr.run(Noisy(), sophia(estimator=estimator), 8, seed=5) for _ in range(2)]
    same(*runs)
    assert sr.run(Noisy(), sophia(estimator=estimator), 8, seed=6).losses[-1] != runs[0].losses[-1]


def test_two_optimizers_with_one_seed_see_the_same_start_and_the_same_batches():
    problems = []
    draws = (sr.GradientDescent(lr=0.1), sophia(every=1), sophia(every=1, estimator=sr.averaged(sr.gnb, 3)))
    for opt in draws:
        problems.append(Noisy())
        sr.run(problems[-1], opt, 5, seed=7)
    for problem in problems[1:]:
        np.testing.assert_array_equal(problem.starts, problems[0].starts)
        np.testing.assert_array_equal(problem.batches, problems[0].batches)


def test_a_given_start_does_not_change_the_batches():
    drawn, given = Noisy(), Noisy()
    sr.run(drawn, sr.SignGD(lr=0.1), 3, seed=1)
    sr.run(given, sr.SignGD(lr=0.1), 3, seed=1, theta0=np.ones(2))
    np.testing.assert_array_equal(drawn.batches, given.batches)


def test_start_data_and_probes_are_drawn_from_different_streams():
    problem, probes = Noisy(), []

    def spy(oracle):
        probes.append(oracle.rng.standard_normal(8))
        return np.ones(2)

    sr.run(problem, sophia(estimator=spy), 1, seed=0)
    drawn = [problem.starts[0][0], problem.batches[0][0][0, 0], probes[0][0]]
    assert len(set(drawn)) == 3


def test_a_shorter_run_is_the_beginning_of_a_longer_one():
    short, long = (sr.run(Noisy(), sophia(), steps, seed=2) for steps in (4, 9))
    np.testing.assert_array_equal(short.trajectory, long.trajectory[:5])
    np.testing.assert_array_equal(short.losses, long.losses[:5])


def test_watching_changes_nothing():
    def watch(t, step, oracle):
        oracle.curvature(sr.hutchinson), oracle.loss(), oracle.hessian()

    plain = sr.run(Noisy(), sophia(), 6, seed=4)
    same(plain, sr.run(Noisy(), sophia(), 6, seed=4, callback=watch))
    same(plain, sr.run(Noisy(), sophia(), 6, seed=4, progress=True))


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip_norm", [None, 5.0])
@pytest.mark.parametrize("opt", [*OPTIMIZERS, *SECOND_ORDER], ids=by_name)
def test_a_batch_of_rows_is_what_single_runs_are(opt, clip_norm):
    starts = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2))
    together = sr.run(valley, opt, 12, theta0=starts, clip_norm=clip_norm)
    for row in np.ndindex(2, 3):
        alone = sr.run(valley, opt, 12, theta0=starts[row], clip_norm=clip_norm)
        # eigenvectors go through LAPACK; all else is elementwise, and equal to the bit
        tolerance = {"rtol": 1e-12, "atol": 1e-15} if opt in SECOND_ORDER else {"rtol": 0}
        at = (slice(None), *row)
        np.testing.assert_allclose(together.trajectory[at], alone.trajectory, **tolerance)
        np.testing.assert_allclose(together.losses[at], alone.losses, **tolerance)
        np.testing.assert_array_equal(together.unclipped[at], alone.unclipped)
        np.testing.assert_array_equal(together.cost, alone.cost)
        assert together.clipped_steps[row] == alone.clipped_steps


def test_no_rows_are_no_error():
    run = sr.run(valley, sr.Adam(lr=0.1), 3, theta0=np.ones((0, 2)))
    assert run.theta.shape == (0, 2)
    assert run.losses.shape[1:] == run.diverged_at.shape == (0,)


@pytest.mark.parametrize("opt", [*OPTIMIZERS, *SECOND_ORDER, sophia()], ids=by_name)
def test_float32_stays_float32(opt):
    start = np.array([[1.0, 0.5], [1e30, 0.5]], np.float32)  # the second diverges at once
    run = sr.run(valley, opt, 4, theta0=start, clip_norm=np.float64(2.0))
    assert run.theta.dtype == run.losses.dtype == run.trajectory.dtype == np.float32
    assert all(array.dtype == np.float32 for array in run.state[1:])
    assert sr.run(Noisy(np.float32), sophia(), 2).theta.dtype == np.float32


# -- divergence --------------------------------------------------------------------------------------------------------


def descend(x, lr):
    """Gradient descent on x^4 / 4 in Python floats, and the step in which it leaves the finite numbers."""
    path = [x]
    for t in range(1, 51):
        try:
            x = x - lr * x**3
        except OverflowError:
            return path, t
        if not math.isfinite(x):
            return path, t
        path.append(x)
    return path, None


def test_a_single_run_that_diverges_stops_and_says_where():
    path, t = descend(3.0, 1.0)
    asked = []
    run = sr.run(
        quartic, sr.GradientDescent(lr=1.0), 50, theta0=np.array([3.0]), callback=lambda *a: asked.append(a[0])
    )
    assert run.diverged_at == t < 20
    np.testing.assert_allclose(run.trajectory[:-1, 0], path, rtol=1e-12)
    np.testing.assert_array_equal(run.theta, run.trajectory[-2])  # where it was before
    np.testing.assert_array_equal(run.theta, run.trajectory[-1])
    assert run.steps.tolist() == list(range(t + 1))
    assert run.cost.tolist() == list(range(t + 1))  # the failed step was paid for
    assert run.state.t == t - 1  # but it was not taken
    assert asked == list(range(1, t))


def test_rows_diverge_each_in_its_own_step_and_the_others_go_on_as_if_alone():
    starts = np.array([[3.0], [1.0], [30.0], [0.5], [1e200]])
    run = sr.run(quartic, sr.GradientDescent(lr=1.0), 50, theta0=starts)
    alone = [descend(float(x), 1.0) for (x,) in starts]
    assert run.diverged_at.tolist() == [-1 if t is None else t for _, t in alone]
    assert run.diverged_at[4] == 1
    assert len(set(run.diverged_at.tolist())) == 4
    for i, (path, t) in enumerate(alone):
        single = sr.run(quartic, sr.GradientDescent(lr=1.0), 50, theta0=starts[i])
        assert single.diverged_at == t
        np.testing.assert_array_equal(run.trajectory[: len(path), i], single.trajectory[: len(path)])
        np.testing.assert_array_equal(run.trajectory[len(path) :, i], np.tile(single.theta, (51 - len(path), 1)))
    assert np.isfinite(run.theta).all()
    assert len(run.steps) == 51


def test_a_run_ends_when_no_finite_row_is_left():
    starts = np.array([[3.0], [30.0], [300.0]])
    run = sr.run(quartic, sr.GradientDescent(lr=1.0), 50, theta0=starts)
    assert run.steps[-1] == run.diverged_at.max() < 20


@pytest.mark.parametrize("clip_norm", [None, 0.1])
@pytest.mark.parametrize("opt", [*OPTIMIZERS, *SECOND_ORDER], ids=by_name)
def test_with_every_optimizer_a_broken_row_is_frozen_and_the_others_do_not_notice(opt, clip_norm):
    def broken(theta):  # from x = 2 on NaN, with a gradient that looks sound
        return valley(theta) + 0 * np.log(2 - theta[..., 0])

    starts = np.array([[1.0, 0.5], [3.0, 0.5], [-1.0, 0.1]])
    sound = starts[[0, 2]]
    run, fine = (sr.run(broken, opt, 12, theta0=start, clip_norm=clip_norm) for start in (starts, sound))
    assert run.diverged_at.tolist() == [-1, 1, -1]
    np.testing.assert_array_equal(run.theta[1], starts[1])
    np.testing.assert_array_equal(run.trajectory[:, [0, 2]], fine.trajectory)
    np.testing.assert_array_equal(run.unclipped[:, [0, 2]], fine.unclipped)
    assert np.isnan(run.unclipped[:, 1]).all()
    assert run.clipped_steps.tolist() == [fine.clipped_steps[0], 0, fine.clipped_steps[1]]
    for ours, theirs in zip(run.state[1:], fine.state[1:], strict=True):
        np.testing.assert_array_equal(ours[[0, 2]], theirs)


def nan_gradient(first):
    """A loss that is always finite, with a gradient that is NaN where theta_0 < first."""

    def forward(theta):
        return theta.sum(-1), theta

    def backward(theta, y_bar):
        return (np.where(theta[..., :1] < first, np.nan, np.ones_like(theta)) * y_bar[..., None],)

    return sr.primitive(forward, backward)


def test_a_gradient_that_is_not_finite_counts_even_if_the_loss_is():
    run = sr.run(nan_gradient(0.75), sr.GradientDescent(lr=0.125), 9, theta0=np.array([1.0, 0.0]))
    assert run.diverged_at == 4  # 1, 0.875, 0.75, 0.625: there the gradient of step 4 is NaN
    np.testing.assert_array_equal(run.theta, [0.625, -0.375])
    assert np.isfinite(run.losses).all()


def test_a_loss_that_is_not_finite_is_recorded_and_stops_nothing_while_gradients_are_finite():
    infinite = sr.primitive(lambda theta: (theta.sum() * np.inf, theta), lambda theta, y_bar: (np.ones_like(theta),))
    run = sr.run(infinite, sr.GradientDescent(lr=0.5), 2, theta0=np.ones(1))
    assert run.diverged_at is None
    assert run.losses.tolist()[:1] == [np.inf]
    assert run.theta.tolist() == [0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_curvature_that_is_not_finite_freezes_its_row(bad):
    calls = []

    def estimator(oracle):
        calls.append(0)
        h_hat = np.ones_like(oracle.theta)
        if len(calls) == 3:
            h_hat[1, 0] = bad
        return h_hat

    opt, start = sophia(every=1, estimator=estimator), np.ones((3, 2))
    run = sr.run(valley, opt, 5, theta0=start)
    assert run.diverged_at.tolist() == [-1, 3, -1]
    assert not np.array_equal(run.trajectory[2, 1], run.trajectory[1, 1])
    np.testing.assert_array_equal(run.trajectory[2:, 1], np.tile(run.trajectory[2, 1], (4, 1)))
    np.testing.assert_array_equal(run.trajectory[:, 0], run.trajectory[:, 2])
    assert not np.array_equal(run.trajectory[5, 0], run.trajectory[2, 0])


def test_a_step_beyond_the_largest_number_freezes_its_row_before_it():
    opt = sr.GradientDescent(lr=1e308)
    run = sr.run(lambda theta: -(10 * theta).sum(-1), opt, 3, theta0=np.array([[1.0], [2.0]]))
    assert run.diverged_at.tolist() == [1, 1]
    np.testing.assert_array_equal(run.theta, [[1], [2]])


@pytest.mark.parametrize("pole", [np.log, np.reciprocal])
def test_a_pole_of_the_loss_is_divergence_and_no_warning(pole):
    run = sr.run(lambda theta: pole(theta).sum(-1), sr.GradientDescent(lr=0.1), 2, theta0=np.array([[0.0], [1.0]]))
    assert run.diverged_at.tolist() == [1, -1]


def test_a_callback_sees_frozen_rows_where_they_are():
    seen = []
    starts = np.array([[3.0], [0.5]])
    opt = sr.Momentum(lr=1.0)  # goes on with its momentum when it is told that the gradient is zero
    run = sr.run(quartic, opt, 30, theta0=starts, callback=lambda t, step, oracle: seen.append(step.theta))
    assert run.diverged_at[0] > 0
    np.testing.assert_array_equal(seen, run.trajectory[1:])


# -- clipping the gradient's norm --------------------------------------------------------------------------------------


def test_long_gradients_are_scaled_to_the_norm_and_counted_and_short_ones_left_alone():
    gradients = []
    run = sr.run(
        lambda theta: (theta**2).sum(-1) / 2,
        sr.GradientDescent(lr=0.5),
        4,
        theta0=np.array([[30.0, 40.0], [0.3, 0.4], [0.0, 0.0], [3.0, 4.0]]),
        clip_norm=5.0,
        callback=lambda t, step, oracle: gradients.append(step.terms["g"]),
    )
    np.testing.assert_allclose(gradients[0][0], [3, 4], rtol=1e-15)  # (30, 40) scaled to length 5
    np.testing.assert_allclose(np.linalg.norm(gradients[1][0]), 5, rtol=1e-15)
    np.testing.assert_array_equal(gradients[0][1:], [[0.3, 0.4], [0, 0], [3, 4]])  # 5 is not longer than 5
    assert run.clipped_steps.tolist() == [4, 0, 0, 0]


def test_a_single_run_counts_its_clipped_steps_in_an_integer():
    run = sr.run(
        lambda theta: (theta**2).sum() / 2, sr.GradientDescent(lr=0.5), 9, theta0=np.array([8.0]), clip_norm=1.0
    )
    # 8, 7.5, ..., 1: fourteen steps of 1/2 would be clipped; the gradient at 1 is no longer
    assert run.clipped_steps == 9
    assert type(run.clipped_steps) is int
    assert run.theta.tolist() == [3.5]
    run = sr.run(
        lambda theta: (theta**2).sum() / 2, sr.GradientDescent(lr=0.5), 20, theta0=np.array([8.0]), clip_norm=1.0
    )
    assert run.clipped_steps == 14


@pytest.mark.parametrize(("dtype", "huge"), [(np.float32, 1e25), (np.float64, 1e200), (np.float64, 1.7e308)])
def test_a_gradient_whose_square_overflows_is_clipped_to_the_norm_and_not_to_zero(dtype, huge):
    slopes = np.array([huge, -huge / 2], dtype)
    run = sr.run(
        lambda theta: (slopes * theta).sum(), sr.GradientDescent(lr=1.0), 1, theta0=np.zeros(2, dtype), clip_norm=1.0
    )
    np.testing.assert_allclose(run.theta, [-2 / 5**0.5, 1 / 5**0.5], rtol=1e-6)
    assert run.clipped_steps == 1


def test_curvature_estimates_see_the_gradient_unclipped():
    h_hats = []
    opt = sophia(every=1, estimator=sr.empirical_fisher)
    problem = Noisy()
    run = sr.run(
        problem, opt, 3, theta0=np.array([30.0, 40.0]), clip_norm=1.0,
        callback=lambda t, step, oracle: h_hats.append((step.terms["h_hat"], step.terms["g"])),
    )  # fmt: skip
    for (h_hat, g), theta, batch in zip(h_hats, run.trajectory[:-1], problem.batches[:-1], strict=True):
        whole = theta - batch[0].mean(0)
        np.testing.assert_allclose(h_hat, 4 * whole**2, rtol=1e-13)
        np.testing.assert_allclose(g, whole / np.linalg.norm(whole), rtol=1e-13)


# -- schedules and optimizers ------------------------------------------------------------------------------------------


def test_a_schedule_is_asked_for_steps_1_2_3():
    schedule = sr.cosine(peak=1.0, steps=6, warmup=2, final=0.1)
    run = sr.run(lambda theta: theta.sum(), sr.SignGD(lr=schedule), 6, theta0=np.zeros(1))
    np.testing.assert_allclose(-np.diff(run.trajectory[:, 0]), [schedule(t) for t in range(1, 7)], rtol=1e-14)
    by_hand = [0.5, 1] + [0.1 + 0.9 * (1 + math.cos(math.pi * k / 4)) / 2 for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(-np.diff(run.trajectory[:, 0]), by_hand, rtol=1e-13)


def test_an_optimizer_of_ones_own_may_ask_everything_that_an_oracle_answers():
    class ExactLineSearch:
        """theta - (g.g / g.Hg) g, the exact step on a quadratic."""

        def init(self, theta):
            return None

        def step(self, theta, state, oracle):
            g = oracle.grad()
            length = (g * g).sum(-1, keepdims=True) / (g * oracle.hvp(g)).sum(-1, keepdims=True)
            rest = (oracle.loss(), oracle.hessian(), oracle.hessian_diag(), oracle.batch, oracle.cost, oracle.rng)
            return sr.Step(theta - length * g, state, {"rest": rest})

    run = sr.run(lambda theta: 3 * (theta**2).sum(-1), ExactLineSearch(), 1, theta0=np.array([[2.0, 1.0], [0.0, 5.0]]))
    np.testing.assert_allclose(run.theta, np.zeros((2, 2)), atol=1e-15)
    assert run.cost[-1] == 1 + 3 + 6 + 6


def test_whatever_an_optimizer_asks_of_a_broken_row_is_answered_by_zeros():
    answers = []

    class Curious:
        def init(self, theta):
            return None

        def step(self, theta, state, oracle):
            ones = np.ones_like(theta)
            g = oracle.sampled_grad()[0]
            answers.append([oracle.hvp(ones), oracle.hessian_diag(), oracle.hessian(), oracle.grad(), g])
            return sr.Step(theta - 1, state, {})

    class Broken(Noisy):
        def loss(self, theta, batch):
            return (np.log(theta) ** 2).sum(-1)

        def sampled_loss(self, theta, batch, rng):
            return self.loss(theta, batch), 4

    run = sr.run(Broken(), Curious(), 2, theta0=np.array([[3.0, 4.0], [-1.0, 1.0]]))
    assert run.diverged_at.tolist() == [-1, 1]
    for answer in answers[0] + answers[1]:
        assert np.isfinite(answer).all()
        assert (answer[0] != 0).any()
    assert all((answer[1] == 0).all() for answer in answers[1])


# -- arrays stay what they were ----------------------------------------------------------------------------------------


def test_the_given_start_is_neither_changed_nor_kept():
    start = np.ones(2)
    run = sr.run(valley, sr.Adam(lr=0.1), 3, theta0=start)
    np.testing.assert_array_equal(start, np.ones(2))
    start[:] = 7
    np.testing.assert_array_equal(run.trajectory[0], np.ones(2))


def test_the_result_is_ones_own_to_change():
    run = sr.run(valley, sr.Adam(lr=0.1), 3, theta0=np.ones(2))
    run.theta[:] = 0
    assert (run.trajectory[-1] != 0).all()


def test_runs_can_be_told_apart():
    one, other = (sr.run(valley, sr.Adam(lr=0.1), 3, theta0=np.ones(2)) for _ in range(2))
    assert one == one != other
    assert len({one, other}) == 2


def test_a_callback_cannot_move_theta():
    def push(t, step, oracle):
        step.theta[0] = 100

    with pytest.raises(ValueError, match="read-only"):
        sr.run(valley, sr.Adam(lr=0.1), 3, theta0=np.ones(2), callback=push)


def test_a_loss_that_writes_into_theta_is_refused():
    def forward(theta):
        theta *= 2
        return theta.sum(), None

    loss = sr.primitive(forward, lambda saved, y_bar: (np.ones(2),))

    with pytest.raises(ValueError, match="read-only"):
        sr.run(loss, Idle(), 0, theta0=np.ones(2))


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1][::-1]])
def test_the_layout_of_the_start_in_memory_does_not_matter(layout):
    starts = np.random.default_rng(0).uniform(-1, 1, (4, 2))
    same(*(sr.run(valley, sr.Adam(lr=0.1), 5, theta0=start) for start in (starts, layout(starts))))


# -- callback and bar --------------------------------------------------------------------------------------------------


def test_the_callback_comes_after_each_step_with_the_step_and_the_oracle_it_asked():
    seen = []

    def watch(t, step, oracle):
        seen.append((t, step.theta, oracle.theta, oracle.grad(), oracle.cost))
        return "ignored"

    run = sr.run(valley, sr.GradientDescent(lr=0.01), 4, theta0=np.ones(2), callback=watch)
    assert [t for t, *_ in seen] == [1, 2, 3, 4]
    for t, after, before, g, cost in seen:
        np.testing.assert_array_equal(after, run.trajectory[t])
        np.testing.assert_array_equal(before, run.trajectory[t - 1])
        np.testing.assert_allclose(before - after, 0.01 * g, rtol=1e-12)
        assert cost == 1  # what was kept is free


@pytest.fixture
def bars(monkeypatch):
    """The progress bars that are made, each with what it showed."""
    import tqdm.auto

    made = []

    class Spy(tqdm.auto.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.shown, self.closed = [], False
            made.append(self)

        def set_postfix(self, *args, **kwargs):
            super().set_postfix(*args, **kwargs)
            self.shown.append(self.postfix)

        def close(self):
            self.closed = True
            super().close()

    monkeypatch.setattr("tqdm.auto.tqdm", Spy)
    return made


def test_the_bar_shows_loss_cost_and_the_unclipped_share(bars, capsys):
    run = sr.run(valley, sophia(every=1, clip=0.9, estimator=sr.exact_diagonal), 3, theta0=np.ones(2), progress=True)
    (bar,) = bars
    assert (bar.total, bar.n, bar.closed) == (3, 3, True)
    assert bar.shown == [
        f"loss={run.losses[t]:.4g}, cost={run.cost[t + 1]:.4g}, unclipped={run.unclipped[t + 1]:.0%}" for t in range(3)
    ]
    out, err = capsys.readouterr()
    assert out == ""
    assert "loss=" in err


def test_the_bar_of_a_rule_that_does_not_clip_leaves_the_share_out(bars):
    sr.run(valley, sr.Adam(lr=0.1), 2, theta0=np.ones((3, 2)), progress=True)
    assert re.fullmatch(r"loss=[\d.]+, cost=2", bars[0].shown[-1])


def test_the_bar_shows_the_mean_over_rows_that_have_not_diverged(bars):
    starts = np.array([[1.0, 1.0], [1e200, 1.0], [1.0, 1.0]])
    run = sr.run(valley, sophia(estimator=sr.exact_diagonal), 2, theta0=starts, progress=True)
    assert run.diverged_at.tolist() == [-1, 1, -1]
    assert f"unclipped={run.unclipped[2, 0]:.0%}" in bars[0].shown[1]


def test_the_bar_of_a_run_that_ends_early_closes_without_a_warning(bars):
    assert sr.run(lambda theta: np.log(theta).sum(), sophia(), 9, theta0=np.zeros(1), progress=True).diverged_at == 1
    assert bars[0].closed
    assert bars[0].shown == ["loss=-inf, cost=4"]


@pytest.mark.parametrize("progress", [True, False])
def test_without_a_bar_nothing_is_printed(progress, capsys, bars):
    sr.run(quartic, sr.GradientDescent(lr=1.0), 30, theta0=np.array([3.0]), progress=progress)
    out, err = capsys.readouterr()
    assert out == ""
    assert (err != "") == progress == bool(bars)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_closes_its_bar(error, bars):
    def stop(t, step, oracle):
        raise error("enough")

    with pytest.raises(error, match="enough"):
        sr.run(valley, sr.Adam(lr=0.1), 3, theta0=np.ones(2), callback=stop, progress=True)
    assert bars[0].closed


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"steps": -1}, ValueError, "run: steps must be an integer >= 0, got -1"),
        ({"steps": 2.0}, TypeError, "run: steps must be an integer >= 0, got 2.0"),
        ({"steps": True}, TypeError, "run: steps must be an integer >= 0, got True"),
        ({"seed": -1}, ValueError, "run: seed must be an integer >= 0, got -1"),
        ({"seed": 1.5}, TypeError, "run: seed must be an integer >= 0, got 1.5"),
        ({"seed": None}, TypeError, "run: seed must be an integer >= 0, got None"),
        ({"record": 0}, ValueError, "run: record must be an integer >= 1, got 0"),
        ({"record": "all"}, TypeError, "run: record must be an integer >= 1, got 'all'"),
        ({"clip_norm": 0}, ValueError, "run: clip_norm must be a finite number > 0, got 0"),
        ({"clip_norm": -1.0}, ValueError, "run: clip_norm must be a finite number > 0, got -1.0"),
        ({"clip_norm": np.nan}, ValueError, "run: clip_norm must be a finite number > 0, got nan"),
        ({"clip_norm": np.inf}, ValueError, "run: clip_norm must be a finite number > 0, got inf"),
        ({"clip_norm": True}, TypeError, "run: clip_norm must be a finite number > 0, got True"),
        ({"callback": 3}, TypeError, "run: callback must be a function (t, step, oracle), got 3"),
        ({"progress": "no"}, TypeError, "run: progress must be True or False, got 'no'"),
        ({"trajectory": 5}, TypeError, "run: trajectory must be True or False, got 5"),
        ({"opt": "adam"}, TypeError, "run: opt must have a method init, got 'adam'"),
        ({"opt": sr.Adam}, TypeError, "run: opt must have a method init, got <class"),
        ({"problem": 3}, TypeError, "problem must have a method loss(theta, batch) or be a function f(theta), got 3"),
        ({"theta0": None}, ValueError, "theta0 is needed: valley is a bare function"),
        ({"theta0": [1.0, 2.0]}, TypeError, "theta0 must be a float32 or float64 array of shape (..., P), got [1"),
        ({"theta0": np.array([1, 2])}, TypeError, "run: theta0 must be a float32 or float64 array"),
        ({"theta0": np.array([1, 2], complex)}, TypeError, "run: theta0 must be a float32 or float64 array"),
        ({"theta0": 1.0}, TypeError, "run: theta0 must be a float32 or float64 array"),
        ({"theta0": np.array(1.0)}, ValueError, "must be a float32 or float64 array of shape (..., P), got the 0-d"),
        ({"theta0": np.array([1.0, np.nan])}, ValueError, "theta must be finite, got theta[1] = nan"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_by_name_before_anything_is_asked(arguments, error, message):
    asked = []

    def valley(theta):
        asked.append(theta)
        return theta.sum()

    good = {"problem": valley, "opt": sr.Adam(lr=0.1), "steps": 3, "theta0": np.ones(2)}
    with pytest.raises(error, match=re.escape(message)):
        sr.run(**(good | arguments))
    assert asked == []


@pytest.mark.parametrize("missing", ["batch", "init"])
def test_a_problem_without_a_method_that_is_needed_is_refused(missing):
    methods = {
        "init": lambda rng: np.ones(2),
        "batch": lambda rng, shape: None,
        "loss": lambda theta, batch: theta.sum(),
    }
    del methods[missing]
    problem = dataclasses.make_dataclass("Model", [])()
    for name, method in methods.items():
        object.__setattr__(problem, name, method)
    with pytest.raises(TypeError, match=re.escape(f"run: problem must have a method {missing}, got Model()")):
        sr.run(problem, sr.Adam(lr=0.1), 3)
    if missing == "init":
        assert sr.run(problem, sr.Adam(lr=0.1), 1, theta0=np.ones(2)).diverged_at is None


def test_an_initialisation_of_another_kind_is_refused_as_the_problems():
    class Listed(Noisy):
        def init(self, rng):
            return [1.0, 2.0]

    message = "run: what problem.init returns must be a float32 or float64 array of shape (..., P), got [1.0, 2.0]"
    with pytest.raises(TypeError, match=re.escape(message)):
        sr.run(Listed(), sr.Adam(lr=0.1), 3)


# -- blocks of rows ----------------------------------------------------------------------------------------------------

STARTS = np.random.default_rng(0).uniform(-1.5, 1.5, (7, 2))


def in_blocks(problem, opt, theta0=STARTS, steps=9, **settings):
    """The run with all rows at once, which those in blocks of 1, 2, 3 and 6 rows must equal."""
    whole = sr.run(problem(), opt, steps, theta0, block=len(theta0), **settings)
    for block in (1, 2, 3, 6):
        same(whole, sr.run(problem(), opt, steps, theta0, block=block, **settings))
    return whole


@pytest.mark.parametrize("opt", OPTIMIZERS + SECOND_ORDER, ids=by_name)
def test_blocks_of_rows_take_the_steps_of_all_rows(opt):
    in_blocks(lambda: valley, opt)


def test_batches_and_random_numbers_are_those_of_all_rows():
    in_blocks(Noisy, sophia())  # Gaussian probes fill an array row by row
    in_blocks(Noisy, sophia(estimator=sr.gnb))
    in_blocks(Noisy, sophia(estimator=sr.on_part(sr.gnb, 0.5)))


def test_leading_axes_are_cut_along_the_first():
    theta0 = np.random.default_rng(1).uniform(-1.5, 1.5, (7, 3, 2))
    in_blocks(Noisy, sophia(lr=np.linspace(0.01, 0.1, 3)[:, None]), theta0)
    in_blocks(Noisy, sophia(lr=np.linspace(0.01, 0.1, 7)[:, None, None]), theta0)


@pytest.mark.parametrize("name", ["lr", "gamma", "weight_decay"])
def test_each_row_keeps_its_own_settings(name):
    values = np.linspace(0.02, 0.2, 7)[:, None]
    opt = {"estimator": sr.exact_diagonal}
    whole = in_blocks(lambda: valley, sophia(**opt, **{name: values}))
    sixth = sr.run(valley, sophia(**opt, **{name: float(values[5, 0])}), 9, STARTS[5:6])
    np.testing.assert_array_equal(whole.trajectory[:, 5:6], sixth.trajectory)


def test_rows_diverge_each_at_its_step_also_when_a_block_is_lost():
    theta0 = np.array([[0.5, 0.5], [30.0, 1.0], [9.0, 9.0], [1.0, 0.1], [2.0, 50.0], [0.1, 0.1], [0.2, 0.0]])
    run = in_blocks(lambda: quartic, sr.GradientDescent(lr=0.5), theta0, steps=15)
    assert (run.diverged_at >= 0).tolist() == [False, True, True, False, True, False, False]
    everything = in_blocks(lambda: quartic, sr.GradientDescent(lr=0.5), 40 + theta0, steps=15)
    assert (everything.diverged_at >= 0).all()
    assert everything.steps[-1] == everything.diverged_at.max() == 5


def test_a_lost_row_stays_lost_when_its_gradient_would_be_finite_again():
    class Glitch(Noisy):
        def batch(self, rng, shape):
            (x,) = super().batch(rng, shape)
            if len(self.batches) == 3:
                x[4] = np.nan
            return (x,)

    run = in_blocks(Glitch, sophia())
    assert run.diverged_at.tolist() == [-1, -1, -1, -1, 3, -1, -1]
    np.testing.assert_array_equal(run.theta[4], run.trajectory[2, 4])


def test_gradient_norms_are_clipped_row_by_row():
    run = in_blocks(lambda: quartic, sr.GradientDescent(lr=0.1), clip_norm=0.5)
    assert 0 < (run.clipped_steps > 0).sum() < 7


def test_a_callback_sees_all_rows_and_every_term():
    seen = {}

    def callback(t, step, oracle):
        terms = {name: term.copy() for name, term in step.terms.items()}
        seen.setdefault(t, []).append((step.theta, terms, oracle.loss(), oracle.cost, oracle.grad()))

    for block in (7, 3):
        sr.run(Noisy(), sophia(), 4, STARTS, block=block, callback=callback)
    for whole, blocks in seen.values():
        assert whole[1].keys() == blocks[1].keys() >= {"m", "h", "ratio", "clipped"}
        for ours, theirs in zip(blocks, whole, strict=True):
            np.testing.assert_equal(ours, theirs)


def test_a_run_in_blocks_resumes_to_the_bit(tmp_path):
    whole = sr.run(Noisy(), sophia(), 9, STARTS, block=3)
    saved = sr.Checkpoints(tmp_path, every=2)
    sr.run(Noisy(), sophia(), 4, STARTS, block=3, checkpoint=saved)
    problem = Noisy()
    same(whole, sr.run(problem, sophia(), 9, STARTS, resume=saved.latest()))
    with pytest.raises(ValueError, match="run: block must be 3, as in the run to resume, got 7"):
        sr.run(Noisy(), sophia(), 9, STARTS, resume=saved.latest(), block=7)


def test_the_default_block_is_half_a_megabyte_of_theta():
    assert default_block(np.zeros((10**6, 2))) * 2 * 8 == BLOCK_BYTES
    assert default_block(np.zeros((10**6, 2), np.float32)) * 2 * 4 == BLOCK_BYTES
    assert default_block(np.zeros((5, 10**6))) == 1
    assert default_block(np.zeros((0, 2))) == default_block(np.zeros(10**6)) == 1
    assert sr.run(valley, sr.SignGD(lr=0.1), 1, STARTS).block == BLOCK_BYTES // 16


def test_an_optimizer_of_other_make_gets_all_rows():
    shapes = []

    class Mine:
        def init(self, theta):
            return None

        def step(self, theta, state, oracle):
            shapes.append((theta.shape, oracle.grad().shape))
            return sr.Step(theta - 0.1 * oracle.grad(), None, {})

    sr.run(valley, Mine(), 2, STARTS, block=2)
    assert shapes == [((7, 2), (7, 2))] * 2


def test_a_loss_with_a_constant_for_each_row_is_told_what_to_do():
    kappa = np.arange(1.0, 8.0)

    def loss(theta):
        return kappa * theta[..., 0] ** 2 + theta[..., 1] ** 2

    with pytest.raises(ValueError, match="broadcast") as caught:
        sr.run(loss, sr.SignGD(lr=0.1), 2, STARTS, block=2)
    assert caught.value.__notes__ == ["run took 2 rows of theta at a time; with block=7 it takes all at once"]
    sr.run(loss, sr.SignGD(lr=0.1), 2, STARTS, block=7)


@pytest.mark.parametrize(("block", "error"), [(0, ValueError), (2.0, TypeError), (True, TypeError)])
def test_a_bad_block_is_refused(block, error):
    with pytest.raises(error, match=f"run: block must be an integer >= 1, got {block}"):
        sr.run(valley, sr.SignGD(lr=0.1), 2, STARTS, block=block)
