"""Each knob of the engine, turned alone: a few steps worked by hand in numbers that floating point holds exactly."""

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.conformance import Knobs, Variant
from toy_problems.landscapes import REGISTRY

HALF = dict(lr=0.25, beta1=0.0, beta2=0.5, gamma=1.0, clip=1.0, eps=0.125, weight_decay=0.0, every=2)
H_HATS = [16.0, 32.0, 64.0, 128.0, 256.0, 512.0]  # one a step, whether or not it is asked for


def follow(knobs, grads=(1.0,) * 6, h_hats=H_HATS, theta=4.0, **settings):
    """The steps of a Variant with these knobs, in one coordinate."""
    opt = Variant(**HALF | settings, knobs=knobs)
    theta = np.array([theta])
    state, steps = opt.init(theta), []
    for g, h_hat in zip(grads, h_hats, strict=False):
        steps.append(opt.step(theta, state, sr.Given(np.array([g]), np.array([h_hat]))))
        theta, state = steps[-1].theta, steps[-1].state
    return steps


def kept(steps):
    return [step.state.h.item() for step in steps]


def used(steps):
    return [step.terms["h"].item() for step in steps]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "settings",
    [
        dict(lr=0.1),
        dict(lr=sr.cosine(0.3, 30), beta1=0.9, beta2=0.9, gamma=0.3, clip=0.7, eps=1e-3, weight_decay=0.3, every=3),
        dict(lr=0.1, gamma=np.array([0.5, 2.0]), weight_decay=np.array([0.0, 0.5]), every=1),
    ],
)
def test_with_the_knobs_of_the_paper_it_is_sophia_bit_for_bit(settings, dtype):
    start = REGISTRY["rosenbrock"].start.astype(dtype)
    runs = [sr.run(REGISTRY["rosenbrock"].f, kind(**settings), 30, theta0=start) for kind in (sr.Sophia, Variant)]
    assert runs[0].theta.dtype == runs[1].theta.dtype == dtype
    for name in ("trajectory", "losses", "cost", "unclipped"):
        np.testing.assert_array_equal(getattr(runs[0], name), getattr(runs[1], name), err_msg=name)
    for name in ("t", "m", "h"):
        np.testing.assert_array_equal(getattr(runs[0].state, name), getattr(runs[1].state, name), err_msg=name)


def test_its_terms_are_those_of_sophia():
    theta, oracle = np.array([3.0, -1.0]), sr.Given(np.array([12.0, 1.0]), np.array([4.0, -1.0]))
    one, other = (opt.step(theta, opt.init(theta), oracle).terms for opt in (sr.Sophia(0.5), Variant(0.5)))
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


@pytest.mark.parametrize(
    ("first", "every", "h"),
    [
        ("1", 2, [8, 8, 36, 36, 146, 146]),  # 16/2; 8/2 + 64/2; 36/2 + 256/2
        ("k", 2, [0, 16, 16, 72, 72, 292]),
        ("k+1", 2, [0, 0, 32, 32, 144, 144]),
        ("1", 1, [8, 20, 42, 85, 170.5, 341.25]),
        ("k", 1, [8, 20, 42, 85, 170.5, 341.25]),
        ("k+1", 1, [0, 16, 40, 84, 170, 341]),
        ("1", 7, [8] * 6),
        ("k+1", 6, [0] * 6),
    ],
)
def test_estimates_are_made_first_at_step_1_k_or_k_plus_1_and_every_k_after(first, every, h):
    assert kept(follow(Knobs(first=first), every=every)) == h


def test_t_mod_k_equal_to_1_as_written_never_holds_for_k_1():
    assert kept(follow(Knobs(literal=True), every=1)) == [0] * 6
    assert kept(follow(Knobs(literal=True), every=2)) == [8, 8, 36, 36, 146, 146]


def test_an_estimate_absorbed_after_the_update_is_used_from_the_next_step_on():
    steps = follow(Knobs(absorbed="after"))
    assert used(steps) == [0, 8, 8, 36, 36, 146]
    assert kept(steps) == [8, 8, 36, 36, 146, 146]


def test_an_estimate_absorbed_late_waits_for_the_next_multiple_of_k():
    # made at steps 3 and 5, of 64 and 256, absorbed at 4 and 6; nothing is there to absorb at step 2
    steps = follow(Knobs(first="k+1", absorbed="late"))
    assert used(steps) == kept(steps) == [0, 0, 0, 32, 32, 144]
    assert [step.state.held.item() for step in steps] == [0, 0, 64, 64, 256, 256]


def test_an_estimate_that_replaces_the_step_moves_h_alone_and_asks_for_no_gradient():
    opt, theta = Variant(**HALF, knobs=Knobs(replaces=True)), np.array([4.0])
    first = opt.step(theta, opt.init(theta), sr.Given(hessian_diag=np.array([16.0])))
    assert (first.theta, first.state.m, first.state.h, first.state.t) == (4, 0, 8, 1)
    assert first.theta is not theta
    steps = follow(Knobs(replaces=True), beta1=0.5)
    assert [step.state.m.item() for step in steps[:4]] == [0, 0.5, 0.5, 0.75]
    assert kept(steps) == [8, 8, 36, 36, 146, 146]
    assert steps[2].theta == steps[1].theta


def test_h_may_begin_with_the_first_estimate():
    assert kept(follow(Knobs(start="first"))) == [16, 16, 40, 40, 148, 148]


def test_m_corrected_is_the_mean_of_the_gradients_from_the_first_step_on():
    steps = follow(Knobs(m_corrected=True), beta1=0.5, h_hats=[2.0] * 3)
    assert [step.state.m.item() for step in steps] == [0.5, 0.75, 0.875]
    assert [step.terms["m_hat"].item() for step in steps] == [1, 1, 1]
    assert [step.terms["ratio"].item() for step in steps] == [1, 1, 2 / 3]  # h = 1, 1, 3/2


def test_h_corrected_counts_estimates_and_not_steps():
    steps = follow(Knobs(h_corrected=True))
    assert used(steps) == [8, 8, 36, 36, 146, 146]
    assert [s.terms["h_corrected"].item() for s in steps] == [16, 16, 48, 48, 146 / 0.875, 146 / 0.875]
    assert [s.terms["denominator"].item() for s in steps] == [16, 16, 48, 48, 146 / 0.875, 146 / 0.875]
    assert "h_corrected" not in follow(Knobs(h_corrected=True, first="k+1"))[0].terms


def test_a_gradient_averaged_twice_makes_beta1_its_square():
    twice = follow(Knobs(averagings=2), beta1=0.5, grads=(1.0, -1.0))
    assert [step.state.m.item() for step in twice] == [0.75, -0.5625]
    assert [s.state.m.item() for s in follow(Knobs(), beta1=0.25, grads=(1.0, -1.0))] == [0.75, -0.5625]


def test_a_batch_size_that_multiplies_in_each_step_leaves_h_without_it():
    (step,) = follow(Knobs(batch_at_step=True), bs=4.0, gamma=0.5, h_hats=[16.0])
    assert (step.state.h, step.terms["denominator"]) == (8, 16)
    (step,) = follow(Knobs(), bs=4.0, gamma=0.5, h_hats=[16.0])
    assert step.terms["denominator"] == 4


@pytest.mark.parametrize(
    ("kind", "denominators"),
    [("max", [0.125, 0.125, 1]), ("add", [-0.375, 0.25, 1.125]), ("relu+add", [0.125, 0.25, 1.125])],
)
def test_eps_is_a_bound_of_the_denominator_or_a_part_of_it(kind, denominators):
    opt, theta = Variant(**HALF | dict(gamma=0.5, beta2=0.0), knobs=Knobs(denominator=kind)), np.ones(3)
    step = opt.step(theta, opt.init(theta), sr.Given(np.ones(3), np.array([-1.0, 0.25, 2.0])))
    assert step.terms["denominator"].tolist() == denominators


@pytest.mark.parametrize(("floor", "update"), [(True, [-1, 1, 1, 1, 0.5]), (False, [-4, 4, 1, 1, 0.5])])
def test_without_a_floor_negative_curvature_steps_against_the_gradient_by_any_length(floor, update):
    opt = Variant(**HALF | dict(gamma=0.5, beta2=0.0, eps=0.25), knobs=Knobs(denominator="add", floor=floor))
    theta, g, h = np.ones(5), np.array([1.0, -1.0, 1.0, 1.0, 1.0]), np.array([-1.0, -1.0, 0.5, 1.5, 3.5])
    step = opt.step(theta, opt.init(theta), sr.Given(g, h))
    assert step.terms["ratio"].tolist() == [-4, 4, 2, 1, 0.5]
    assert step.terms["update"].tolist() == update
    assert step.terms["clipped"].tolist() == [floor, floor, True, False, False]


def test_decay_is_one_number_in_three_roundings():
    lr, decay, x = 0.6, 1.1, 0.9
    by_hand = {
        "first": (x - lr * decay * x) - lr * 1.0,
        "factor": x * (1 - lr * decay) - lr * 1.0,
        "added": x - lr * (1.0 + decay * x),
    }
    settings = dict(lr=lr, weight_decay=decay, theta=x, h_hats=[1.0])
    for kind, theta in by_hand.items():
        assert follow(Knobs(decay=kind), **settings)[0].theta == theta, kind
    assert len(set(by_hand.values())) == 3
    for kind in by_hand:  # 4 - 1/4 1/2 4 - 1/4 1
        assert follow(Knobs(decay=kind), weight_decay=0.5, h_hats=[1.0])[0].theta == 3.25, kind


def test_a_rate_over_the_clip_is_the_longest_step_and_decay_keeps_the_rate():
    settings = dict(lr=0.5, clip=0.25, weight_decay=0.5, h_hats=[1.0])
    for decay in ("first", "factor"):
        (step,) = follow(Knobs(rate_over_clip=True, decay=decay), **settings)
        assert (step.terms["update"], step.theta) == (0.25, 4 - 0.5 * 0.5 * 4 - 0.5)


def test_rows_are_runs_in_blocks_too():
    starts = np.linspace(-1, 1, 12).reshape(6, 2)
    opt = Variant(0.1, gamma=0.5, every=3, knobs=Knobs(first="k+1", absorbed="late"), estimator=sr.exact_diagonal)
    whole = sr.run(REGISTRY["sophia_fig2"].f, opt, 12, theta0=starts)
    for block in (2, 6):
        many = sr.run(REGISTRY["sophia_fig2"].f, opt, 12, theta0=starts, block=block)
        np.testing.assert_array_equal(many.theta, whole.theta)
    for start, end in zip(starts, whole.theta, strict=True):
        np.testing.assert_array_equal(sr.run(REGISTRY["sophia_fig2"].f, opt, 12, theta0=start).theta, end)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(first="2"), "Knobs: first must be one of '1', 'k', 'k\\+1', got '2'"),
        (dict(denominator="relu"), "Knobs: denominator must be one of 'max', 'add', 'relu\\+add', got 'relu'"),
        (dict(averagings=3), "Knobs: averagings must be one of 1, 2, got 3"),
    ],
)
def test_a_direction_that_a_knob_does_not_have_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Knobs(**settings)


@pytest.mark.parametrize(("bs", "error"), [(0, ValueError), (np.inf, ValueError), ("64", TypeError)])
def test_a_batch_size_must_be_a_finite_number_above_0(bs, error):
    with pytest.raises(error, match="Variant: bs must be a finite number > 0, got"):
        Variant(0.1, bs=bs)
