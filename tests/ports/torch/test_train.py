"""examples/train_torch.py: the losses of the port are those of NumPy. The model that it trains is TinyGPT."""

import importlib

import numpy as np
import pytest

from tests.ports.beside_numpy import EXAMPLES, assert_losses_are_numpys
from toy_problems.transformer import PRESETS

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")


@pytest.fixture
def example(monkeypatch):
    """An example's module by its name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_losses_are_numpys_to_1e_4_over_200_steps_and_in_float64_to_1e_9_over_50(tmp_path):
    assert_losses_are_numpys("torch", tmp_path)


def test_an_estimate_that_is_off_by_a_tenth_would_be_seen(example, monkeypatch):
    beside, train = example("beside_numpy"), example("train_torch").train
    original = port.Sophia.update_curvature
    monkeypatch.setattr(port.Sophia, "update_curvature", lambda opt, h: original(opt, [1.1 * x for x in h]))
    for compared in beside.compare(train, 60):
        assert compared.apart.max() > 2 * beside.LIMITS[compared.dtype][1]


def test_the_module_is_the_model(example):
    model, rng = PRESETS["10k"], np.random.default_rng(0)
    theta = model.init(rng, np.float64)
    tokens = rng.integers(model.vocab, size=(2, model.context - 1))
    for fused in (False, True):
        gpt = example("gpt_torch").GPT(model, theta, fused)
        assert sum(p.numel() for p in gpt.parameters()) == model.size
        np.testing.assert_array_equal(np.concatenate([p.detach().numpy().ravel() for p in gpt.parameters()]), theta)
        logits = gpt(torch.tensor(tokens)).detach().numpy()
        np.testing.assert_allclose(logits, model.logits(theta, tokens), rtol=1e-12, atol=1e-13)
