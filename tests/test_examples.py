"""What the examples compare with: trainings in NumPy, taken once more from what they say that they drew."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import sophia_ref as sr

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def beside():
    path = list(sys.path)
    spec = importlib.util.spec_from_file_location("beside_numpy", EXAMPLES / "beside_numpy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


def again(beside, recorded, factor=1.0):
    """The losses of the same training, with estimates written out; factor: a bug in them."""
    model, theta = recorded.model, recorded.theta0
    opt = sr.Sophia(lambda t: recorded.rates[t - 1], **beside.SETTINGS)
    state = opt.init(theta)
    for t, batch in enumerate(recorded.batches):
        yield float(model.loss(theta, batch))
        if t < len(recorded.drawn):
            g = sr.grad(model.loss)(theta, batch)
            h_hat = None
            if (drawn := recorded.drawn[t]) is not None and recorded.method == "SophiaG":
                h_hat = factor * drawn.size * sr.grad(model.loss)(theta, (batch[0], drawn)) ** 2
            elif drawn is not None:
                h_hat = factor * drawn * sr.hvp(lambda theta, batch=batch: model.loss(theta, batch), theta, drawn)
            g = g * min(1.0, beside.CLIP_NORM / float(np.linalg.norm(g)))
            theta, state, _ = opt.step(theta, state, sr.Given(g, h_hat))


@pytest.mark.parametrize("method", ["SophiaH", "SophiaG"])
def test_labels_and_probes_that_were_kept_are_those_that_were_drawn(beside, method):
    recorded = beside.record(method, 12, "float64", preset="10k")
    assert [t for t, drawn in enumerate(recorded.drawn) if drawn is not None] == [0, 10]
    assert len(recorded.batches) == len(recorded.losses) == 13
    np.testing.assert_allclose(list(again(beside, recorded)), recorded.losses, rtol=1e-13)


def test_the_comparison_sees_an_estimate_that_is_wrong(beside, tmp_path):
    steps = {"preset": "10k", "steps": 30}
    right = beside.compare(lambda recorded: again(beside, recorded), **steps)
    wrong = beside.compare(lambda recorded: again(beside, recorded, factor=0.5), **steps)
    for good, bad in zip(right, wrong, strict=True):
        limit = beside.LIMITS[good.dtype][1]
        assert good.apart.max() < limit < bad.apart.max()
    assert beside.table("twice", right).splitlines()[1].split()[:3] == ["Sophia-H", "float32", "30"]
    for dark in (False, True):
        beside.save(beside.picture("twice", right, dark), tmp_path / "picture.png")
