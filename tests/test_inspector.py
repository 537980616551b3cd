"""The inspector takes the steps of `run`, bit for bit, and goes back to them."""

from dataclasses import replace

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.commands.training import read_text
from sophia_ref.settings import LANGUAGE, TOYS
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import PRESETS, LanguageTask

FIG2 = REGISTRY["sophia_fig2"]
SURFACES = {"exact": FIG2, "noisy": FIG2.noisy(0.5)}


def toy(name):
    return TOYS[name](2.6, 68.8)


def equal(one, other):
    """Bit for bit, whatever is nested in what."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return np.asarray(one).tobytes() == np.asarray(other).tobytes() and np.shape(one) == np.shape(other)


def stand(inspector):
    return inspector.t, inspector.theta, inspector.state, inspector.cost, inspector.loss, inspector.terms


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", TOYS)
def test_fifty_steps_are_those_of_run_bit_for_bit(name, surface):
    terms = [{}]
    expected = sr.run(
        SURFACES[surface], toy(name), 50, seed=7, callback=lambda t, step, oracle: terms.append(step.terms)
    )
    inspector = sr.Inspector(SURFACES[surface], toy(name), seed=7)
    for t in range(51):
        inspector.jump(t)
        for mine, runs in zip(
            (inspector.theta, inspector.loss, inspector.cost, inspector.terms),
            (expected.trajectory[t], expected.losses[t], expected.cost[t], terms[t]),
            strict=True,
        ):
            assert equal(mine, runs)
    assert equal(inspector.state, expected.state)


@pytest.mark.parametrize("name", ["sophia-g", "sophia-h"])
def test_steps_of_a_model_are_those_of_run_too(name):
    source, _ = read_text(None, None)
    task = LanguageTask(replace(PRESETS["10k"], vocab=source.vocab), source, 2)
    expected = sr.run(task, LANGUAGE[name], 3, seed=1)
    inspector = sr.Inspector(task, LANGUAGE[name], seed=1, coordinates=[7, 4000]).forward(3)
    assert equal(inspector.theta, expected.theta)
    assert inspector.theta.dtype == np.float32
    page = repr(inspector)
    assert "2 of 8,384 coordinates; coordinates=[...] chooses others" in page
    assert [line.split(":")[0] for line in page.splitlines() if line.startswith("θ")] == ["θ[7]", "θ[4000]"]


@pytest.mark.parametrize("name", ["sophia-h", "adahessian", "adam"])
def test_back_and_forth_is_exact_with_noise_and_probes(name):
    inspector = sr.Inspector(SURFACES["noisy"], toy(name), seed=2)
    first = [stand(inspector)] + [stand(inspector.forward()) for _ in range(12)]
    fresh = sr.Inspector(SURFACES["noisy"], toy(name), seed=2)
    moves = [lambda: fresh.forward(5), fresh.back, lambda: fresh.back(3), fresh.forward, lambda: fresh.jump(9)]
    moves += [lambda: fresh.jump(0), lambda: fresh.forward(2), lambda: fresh.jump(12), lambda: fresh.back(12)]
    seen = []
    for move in moves:
        assert move() is fresh
        assert equal(stand(fresh), first[fresh.t])
        assert equal(stand(fresh), stand(fresh))  # looking changes nothing
        seen.append(fresh.t)
    assert seen == [5, 4, 1, 2, 9, 0, 2, 12, 0]


def test_what_it_hands_out_cannot_be_changed():
    inspector = sr.Inspector(FIG2, toy("sophia")).forward(2)
    for array in (inspector.theta, *inspector.state[1:]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_other_seeds_give_other_steps():
    ends = {tuple(sr.Inspector(SURFACES["noisy"], toy("adam"), seed=seed).forward(3).theta) for seed in (0, 0, 1)}
    assert len(ends) == 2


# -- on to the next clipped coordinate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("coordinate", [None, 0, 1])
@pytest.mark.parametrize("clipped", [True, False])
def test_it_goes_on_to_the_first_step_in_which_a_coordinate_is_clipped_or_not(clipped, coordinate):
    masks = [np.zeros(2, bool)]
    sr.run(FIG2, toy("sophia"), 40, callback=lambda t, step, oracle: masks.append(step.terms["clipped"]))
    chosen = [0, 1] if coordinate is None else [coordinate]
    expected = [t for t in range(1, 41) if (masks[t][chosen] == clipped).any()]
    inspector = sr.Inspector(FIG2, toy("sophia"))
    move = inspector.until_clipped if clipped else inspector.until_unclipped
    found = []
    for _ in expected:
        found.append(move(coordinate).t)
    assert found == expected
    assert len(expected) not in (0, 40)


def test_where_none_is_clipped_it_says_so_and_stays():
    inspector = sr.Inspector(lambda theta: (theta**2).sum(-1), sr.ClippedNewton(0.5, rho=9.0), np.ones(2)).forward(3)
    with pytest.raises(LookupError, match="no coordinate is clipped in the steps 4 to 13"):
        inspector.until_clipped(within=10)
    with pytest.raises(LookupError, match="direction 2 is never clipped in the steps 4 to 13"):
        inspector.until_clipped(1, within=10)
    assert inspector.t == 3
    assert equal(stand(inspector), stand(sr.Inspector(inspector.problem, inspector.opt, np.ones(2)).forward(3)))


def test_a_coordinate_that_is_never_clipped_is_named():
    quiet = sr.Sophia(0.1, gamma=100.0, beta2=0.0, every=1, estimator=sr.exact_diagonal)
    inspector = sr.Inspector(lambda theta: (theta**2).sum(-1), quiet, np.ones(2))
    with pytest.raises(LookupError, match=r"^θ\[1\] is never clipped in the steps 1 to 5$"):
        inspector.until_clipped(1, within=5)


@pytest.mark.parametrize("move", ["until_clipped", "until_unclipped"])
def test_rules_that_do_not_clip_are_said_not_to(move):
    inspector = sr.Inspector(FIG2, toy("adam"))
    with pytest.raises(LookupError, match="Adam does not clip"):
        getattr(inspector, move)()
    assert inspector.t == 0


# -- divergence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "lr", "theta0", "reason"),
    [
        (lambda theta: (theta**4).sum(-1), 1.0, 2.0, r"GradientDescent: grad must be finite, got grad\[0\] = -?inf"),
        (lambda theta: np.log(theta).sum(-1), 2.0, 1.0, "the loss is nan"),
        (lambda theta: (1e200 * theta).sum(-1), 1e200, 1.0, r"θ\[0\] would be -inf"),
    ],
)
def test_a_step_that_diverges_is_named_with_what_it_was_and_the_way_back_is_open(loss, lr, theta0, reason):
    opt, theta0 = sr.GradientDescent(lr), np.array([theta0])
    expected = sr.run(loss, opt, 50, theta0)
    inspector = sr.Inspector(loss, opt, theta0)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=rf"^step {expected.diverged_at} diverges: {reason}$"):
            inspector.jump(50)
        assert inspector.t == expected.diverged_at - 1
        assert equal(inspector.theta, expected.theta)
        repr(inspector)  # without a warning
    inspector.jump(0)
    assert equal(inspector.theta, theta0)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"theta0": np.zeros((3, 2))}, ValueError, r"theta0 must be one run, of shape \(P,\), got shape \(3, 2\)"),
        ({"theta0": [0.0, 1.0]}, TypeError, "theta0 must be a float32 or float64 array"),
        ({"coordinates": [0, 2]}, ValueError, "coordinates must be less than 2, the size of theta, got 2"),
        ({"coordinates": [-1]}, ValueError, "coordinates must be an integer >= 0, got -1"),
        ({"coordinates": [0.5]}, TypeError, r"coordinates must be an integer >= 0, got 0\.5"),
        ({"coordinates": 1}, TypeError, "coordinates must be a list of indices into theta, got 1"),
        ({"seed": -1}, ValueError, "seed must be an integer >= 0, got -1"),
        ({"opt": sr.Adam}, TypeError, "opt must have a method"),
        ({"problem": "himmelblau"}, TypeError, "problem must have a method loss"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments, error, message):
    with pytest.raises(error, match=message):
        sr.Inspector(**{"problem": FIG2, "opt": sr.Adam(0.1), **arguments})


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (lambda at: at.back(3), r"Inspector\.back: n must be at most 2, the steps taken, got 3"),
        (lambda at: at.forward(0), r"Inspector\.forward: n must be an integer >= 1, got 0"),
        (lambda at: at.jump(-1), r"Inspector\.jump: t must be an integer >= 0, got -1"),
        (lambda at: at.until_clipped(2), "coordinates must be less than 2"),
        (lambda at: at.until_clipped(within=0), r"Inspector\.until_clipped: within must be an integer >= 1, got 0"),
    ],
)
def test_bad_moves_are_refused_and_move_nothing(move, message):
    inspector = sr.Inspector(FIG2, toy("sophia")).forward(2)
    before = stand(inspector)
    with pytest.raises(ValueError, match=message):
        move(inspector)
    assert equal(stand(inspector), before)


def test_numbers_beyond_the_largest_are_shown_without_a_warning():
    opt = sr.AdamW(1e200, weight_decay=1e200)
    page = repr(sr.Inspector(lambda theta: (1e200 * theta).sum(-1), sr.Adam(1.0), np.ones(1)).forward())
    assert "∞" in page
    with pytest.raises(FloatingPointError, match=r"step 1 diverges: θ\[0\] would be -inf"):
        sr.Inspector(lambda theta: theta.sum(-1), opt, np.ones(1)).forward()


def test_of_a_large_theta_the_first_coordinates_are_shown_with_a_word_about_the_others():
    inspector = sr.Inspector(lambda theta: (theta**2).sum(-1), sr.Newton(0.5), np.ones(20))
    assert "8 of 20 coordinates; coordinates=[...] chooses others" in repr(inspector)
    page = repr(inspector.forward())
    assert "8 of 20 coordinates; coordinates=[...] chooses others" in page
    titles = [line for line in page.splitlines() if line.startswith(("θ", "direction"))]
    assert len(titles) == 16
