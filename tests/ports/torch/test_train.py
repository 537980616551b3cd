"""examples/train_torch.py: the losses of the port are those of NumPy."""

import sys

import numpy as np
import pytest

import sophia_ref as sr
from toy_problems.text import load
from toy_problems.transformer import PRESETS, LanguageTask

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")
example = pytest.importorskip("examples.train_torch")


@pytest.fixture(scope="module")
def task():
    return LanguageTask(PRESETS["30k"], load(), batch_size=8)


@pytest.mark.parametrize("optimizer", ["SophiaG", "SophiaH"])
@pytest.mark.parametrize(("dtype", "steps", "allowed"), [("float32", 200, 1e-4), ("float64", 50, 1e-9)])
def test_losses_are_those_of_numpy(task, optimizer, dtype, steps, allowed):
    curves = example.train(task, optimizer, dtype, steps)
    assert len(curves.here) == len(curves.port) == steps
    assert curves.worst <= allowed
    assert curves.here[-1] < curves.here[0] - 0.1  # it has learnt something


@pytest.mark.parametrize("optimizer", ["SophiaG", "SophiaH"])
@pytest.mark.parametrize(("dtype", "steps", "allowed"), [("float32", 60, 1e-4), ("float64", 15, 1e-9)])
def test_an_estimate_that_is_off_by_a_tenth_would_be_seen(task, optimizer, dtype, steps, allowed, monkeypatch):
    original = port.Sophia.update_curvature
    monkeypatch.setattr(port.Sophia, "update_curvature", lambda opt, h: original(opt, [1.1 * x for x in h]))
    assert example.train(task, optimizer, dtype, steps).worst > 10 * allowed


def test_the_labels_are_those_that_the_reference_draws():
    model = PRESETS["10k"]
    rng = np.random.default_rng(0)
    theta, tokens = model.init(rng), rng.integers(model.vocab, size=(2, model.context))
    labels = example.drawn_labels(model, theta, tokens, np.random.default_rng(1))
    g = sr.Oracle(model, theta, (tokens, labels)).grad()
    h_hat = sr.gnb(sr.Oracle(model, theta, (tokens, tokens), np.random.default_rng(1)))
    np.testing.assert_array_equal(tokens.size * g * g, h_hat)


def test_the_module_is_the_model():
    model, rng = PRESETS["10k"], np.random.default_rng(0)
    theta = model.init(rng, np.float64)
    tokens = rng.integers(model.vocab, size=(2, model.context - 1))
    for fused in (False, True):
        gpt = example.GPT(model, theta, fused)
        assert sum(p.numel() for p in gpt.parameters()) == model.size
        np.testing.assert_array_equal(np.concatenate([p.detach().numpy().ravel() for p in gpt.parameters()]), theta)
        logits = gpt(torch.tensor(tokens)).detach().numpy()
        np.testing.assert_allclose(logits, model.logits(theta, tokens), rtol=1e-12, atol=1e-13)


def test_it_prints_a_table_and_draws_a_picture(tmp_path, monkeypatch, capsys):
    picture = tmp_path / "curves.png"
    arguments = ["--preset", "10k", "--steps", "3", "--batch", "2", "--output", str(picture)]
    monkeypatch.setattr(sys, "argv", ["train_torch.py", *arguments])
    example.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:5]] == [
        [optimizer, dtype, "3"] for dtype in ("float32", "float64") for optimizer in ("SophiaG", "SophiaH")
    ]
    assert lines[5] == f"picture: {picture}"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_it_fails_where_the_losses_drift_apart(tmp_path, monkeypatch, capsys):
    def apart(task, optimizer, dtype, steps, seed):
        losses = np.linspace(4, 3, steps)
        return example.Curves(optimizer, dtype, losses, losses + 2 * example.ALLOWED[dtype])

    monkeypatch.setattr(example, "train", apart)
    monkeypatch.setattr(sys, "argv", ["train_torch.py", "--output", str(tmp_path / "curves.png")])
    with pytest.raises(SystemExit) as end:
        example.main()
    assert end.value.code == 1
