"""The cosine schedule: its corners, its closed form, and what it refuses."""

import math
import pickle

import numpy as np
import pytest

from sophia_ref.optimizers import cosine


def test_warm_up_is_linear_and_ends_at_the_peak():
    lr = cosine(peak=0.5, steps=100, warmup=8)
    assert [lr(t) for t in range(1, 9)] == [0.5 * t / 8 for t in range(1, 9)]


def test_the_end_is_the_final_share_of_the_peak_and_stays_there():
    lr = cosine(peak=2.0, steps=50, warmup=10, final=0.25)
    assert lr(50) == lr(51) == lr(1000) == 0.5


def test_between_warm_up_and_end_it_is_half_a_cosine():
    lr = cosine(peak=3.0, steps=40, warmup=10, final=0.1)
    for t in range(10, 41):
        # sin^2 of the angle still to go, an equal form of (1 + cos) / 2
        share = math.sin(math.pi / 2 * (40 - t) / 30) ** 2
        assert lr(t) == pytest.approx(0.3 + 2.7 * share, rel=1e-13)


def test_halfway_it_is_midway_between_peak_and_final():
    assert cosine(peak=1.0, steps=20, final=0.5)(10) == pytest.approx(0.75, rel=1e-15)


def test_without_warm_up_it_falls_from_the_first_step_on():
    lr = cosine(peak=1.0, steps=10)
    values = [1.0] + [lr(t) for t in range(1, 11)]
    assert np.all(np.diff(values) < 0)


def test_a_schedule_prints_as_it_is_written_and_survives_pickling():
    lr = cosine(0.1, steps=10, warmup=2)
    assert repr(lr) == "cosine(peak=0.1, steps=10, warmup=2, final=0.05)"
    assert pickle.loads(pickle.dumps(lr)) == lr


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"peak": -1.0, "steps": 10}, ValueError, r"peak must be a finite number >= 0, got -1\.0"),
        ({"peak": math.inf, "steps": 10}, ValueError, "peak must be a finite number >= 0, got inf"),
        ({"peak": "1", "steps": 10}, TypeError, "peak must be a finite number >= 0, got '1'"),
        ({"peak": 1.0, "steps": 0}, ValueError, "steps must be an integer >= 1, got 0"),
        ({"peak": 1.0, "steps": 10.0}, TypeError, r"steps must be an integer >= 1, got 10\.0"),
        ({"peak": 1.0, "steps": 10, "warmup": -1}, ValueError, "warmup must be an integer >= 0, got -1"),
        ({"peak": 1.0, "steps": 10, "warmup": 10}, ValueError, "warmup must be less than steps = 10, got 10"),
        ({"peak": 1.0, "steps": 10, "final": 1.5}, ValueError, r"final must be a number in \[0, 1\], got 1\.5"),
        ({"peak": 1.0, "steps": 10, "final": math.nan}, ValueError, r"final must be a number in \[0, 1\], got nan"),
    ],
)
def test_bad_arguments_are_refused_by_name_and_value(arguments, error, message):
    with pytest.raises(error, match="cosine: " + message):
        cosine(**arguments)
