"""Replaying a run gives the terms that a callback would have kept, and only for runs that repeat."""

from dataclasses import replace

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.replay import replay
from toy_problems.landscapes import REGISTRY

FIG2 = REGISTRY["sophia_fig2"]
SOPHIA = sr.Sophia(0.3, beta1=0.5, beta2=0.5, gamma=0.5, every=3, estimator=sr.hutchinson)


def test_the_terms_are_those_that_the_run_computed():
    kept = []
    done = sr.run(FIG2.noisy(1.0), SOPHIA, 10, seed=4, callback=lambda t, step, oracle: kept.append(step.terms))
    terms = replay(done)
    assert list(terms) == ["g", "m", "h", "denominator", "ratio", "clipped", "update", "h_hat"]
    for name in kept[0]:
        for i, step in enumerate(kept):
            np.testing.assert_array_equal(terms[name][i], step.get(name, np.full(2, np.nan)))
    assert terms["clipped"].dtype == bool
    # the path moves by what the terms say
    np.testing.assert_allclose(np.diff(done.trajectory, axis=0), -0.3 * terms["update"], atol=1e-12)
    assert not np.isnan(terms["h_hat"][::3]).any()
    assert np.isnan(np.delete(terms["h_hat"], [0, 3, 6, 9], axis=0)).all()


def test_a_sparse_record_has_the_terms_of_every_step():
    assert replay(sr.run(FIG2, sr.Adam(0.3), 7, record=4))["v_hat"].shape == (7, 2)


def test_a_path_that_does_not_begin_at_the_problems_start_repeats():
    done = sr.run(FIG2, sr.GradientDescent(0.01), 2, np.array([[0.5, 1.0], [1.0, 2.0]]))
    x, y = done.trajectory[0].T
    gradient = np.stack([8 * x * (x - 1) * (5.2 * x + 3.4), y - 4], axis=-1)  # worked out by hand
    np.testing.assert_allclose(replay(done)["g"][0], gradient)


def test_the_step_that_diverged_has_no_terms():
    done = sr.run(FIG2, sr.GradientDescent(0.2), 20)
    assert len(replay(done)["g"]) == done.diverged_at - 1
    assert replay(sr.run(FIG2, sr.Adam(0.1), 0)) == {}


@pytest.mark.parametrize(
    ("done", "error", "message"),
    [
        ("run", TypeError, "done: 'run'; expected a Run"),
        (sr.run(FIG2, SOPHIA, 3, trajectory=False), ValueError, "done.trajectory: None; expected a path"),
        (
            sr.run(FIG2, SOPHIA, 3, clip_norm=0.5),
            ValueError,
            "done.clipped_steps: 3; expected 0, as a Run does not know its clip_norm",
        ),
        (replace(sr.run(FIG2, SOPHIA, 3), seed=1), ValueError, "done: a repetition of its 3 steps ended at"),
        (replace(sr.run(FIG2, SOPHIA, 3), theta=np.zeros(2)), ValueError, "done: a repetition of its 3 steps"),
    ],
)
def test_what_does_not_repeat_is_refused(done, error, message):
    with pytest.raises(error, match=message):
        replay(done)
