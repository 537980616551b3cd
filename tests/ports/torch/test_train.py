"""examples/train_torch.py: the losses of the port are those of NumPy. The model that it trains is TinyGPT."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toy_problems.transformer import PRESETS

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def example(monkeypatch):
    """An example's module by its name."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


def test_losses_are_numpys_to_1e_4_over_200_steps_and_in_float64_to_1e_9_over_50(tmp_path):
    picture = tmp_path / "losses.png"
    command = [sys.executable, str(EXAMPLES / "train_torch.py"), "--output", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("Sophia-")]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("Sophia-H", "float32", "200"),
        ("Sophia-G", "float32", "200"),
        ("Sophia-H", "float64", "50"),
        ("Sophia-G", "float64", "50"),
    ]
    for row in rows:
        first, last, greatest = float(row[3]), float(row[4]), float(row[6])
        assert last < first - 0.1  # it has learnt something
        assert greatest <= {"float32": 1e-4, "float64": 1e-9}[row[1]]
    assert picture.read_bytes().startswith(b"\x89PNG")


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
