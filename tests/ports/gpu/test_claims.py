"""benchmarks/gpu_claims.py and gpu_training.py."""

import json
import math
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref.claims import budgets, gpu, methods
from sophia_ref.claims.runs import LOST, Spec
from sophia_ref.optimizers.first_order import signum_update
from tests.ports.gpu.conftest import BENCHMARKS

SETTINGS = {"lr": 0.02, "gamma": 0.05, "1-beta1": 0.1, "1-beta2": 0.02, "decay": 0.1}
QUICK = ["--device", "cpu", "--quick", "--sizes", "3m"]


def specification(method, steps, seed=0, tuning=False, model=(16, 8, 2, 1)):
    settings = tuple((name, SETTINGS[name]) for name in methods.space(method))
    return Spec("bytes", model, 6, method, settings, steps, seed, tuning)


@pytest.fixture
def training(benchmark):
    return benchmark("gpu_training")


@pytest.fixture
def text(training, tmp_path):
    path = tmp_path / "text"
    path.write_bytes(bytes(range(64)) * 60)
    return training.Text.load(path, training.torch.device("cpu"))


def test_a_quick_run_prints_its_plan_trains_and_writes_a_page_that_is_not_made_twice(script, tmp_path, benchmark):
    code, out, err = script("gpu_claims", *QUICK, "--output", "claims")
    assert code == 0, err
    # 5 lengths of AdamW, 3 of 3 others; 2 trials and 3 seeds each
    assert "70 of 70 runs are to be made, about " in out
    runs = (tmp_path / "claims/gpu-quick.jsonl").read_text().splitlines()
    specs = [json.loads(line)["spec"] for line in runs]
    assert len(specs) == 70
    assert {spec[6] for spec in specs if spec[7]} == {budgets.TUNING_SEED}
    assert {spec[6] for spec in specs if not spec[7]} == {0, 1, 2}
    page = (tmp_path / "claims.md").read_text()
    assert gpu.TITLE in page
    assert "too short to conclude anything" in page
    for method in ("AdamW", "Signum", "Sophia-H", "Sophia-G"):
        assert page.count(f"| {method} |") >= 2
    for name in ("gpu-3m.png", "gpu-3m-dark.png"):
        assert (tmp_path / "claims" / name).read_bytes().startswith(b"\x89PNG")
        assert f"claims/{name}" in page
    entry = json.loads((tmp_path / "claims/gpu.json").read_text())
    assert f"PyTorch {benchmark('torch').__version__}, " in entry["machine"]
    assert set(entry["sizes"]["3m"]["steps"]) == {"AdamW", "Signum", "SophiaH", "SophiaG"}

    code, out, err = script("gpu_claims", *QUICK, "--output", "claims", "--plan")
    assert "0 of 70 runs are to be made" in out
    assert "wrote" not in out


def test_what_was_done_when_it_was_killed_is_kept(script, tmp_path):
    table = tmp_path / "claims/gpu-quick.jsonl"
    command = [sys.executable, str(BENCHMARKS / "gpu_claims.py"), *QUICK, "--output", "claims"]
    running = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (table.exists() and table.read_bytes().count(b"\n") >= 3):
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = table.read_bytes().count(b"\n")
    _, out, _ = script("gpu_claims", *QUICK, "--output", "claims", "--plan")
    assert f"{70 - done} of 70 runs are to be made" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "nowhere"], "argument --text: 'nowhere': No such file or directory; expected a file that can be"),
        (["--text", "short"], "argument --text: short has 5 bytes; expected at least 320"),
        (["--output", "short"], "argument --output: 'short': File exists; expected a folder to write to"),
        (["--sizes", "3b"], "argument --sizes: invalid choice: '3b'"),
        (["--output", "broken"], "gpu-quick.jsonl, line 1: not a run"),
    ],
)
def test_bad_input_is_one_line(script, tmp_path, options, message):
    (tmp_path / "short").write_bytes(b"short")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/gpu-quick.jsonl").write_text("{}\n")
    code, out, err = script("gpu_claims", *QUICK, *options)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]


@pytest.mark.parametrize("method", ["AdamW", "Signum", "SophiaG"])
def test_an_optimizer_takes_the_steps_of_the_numpy_claims(training, method):
    """From given gradients and estimates, under the settings of a trial."""
    torch, steps = training.torch, 12
    rng = np.random.default_rng(0)
    theta = rng.normal(size=20)
    p = torch.nn.Parameter(torch.tensor(theta))
    settings = {name: SETTINGS[name] for name in methods.space(method)}
    opt = training.make_optimizer(method, settings, [p])
    if method == "Signum":
        opt.update_curvature([torch.zeros_like(p)])
    reference = methods.make_optimizer(method, settings, steps)
    rate = sr.cosine(settings["lr"], steps, warmup=steps // 10)
    state = reference.init(theta)
    for t in range(1, steps + 1):
        g, h_hat = rng.normal(size=(2, 20))
        theta, state, _ = reference.step(theta, state, sr.Given(g, h_hat))
        if getattr(opt, "curvature_due", False):
            opt.update_curvature([torch.tensor(h_hat)])
        p.grad = torch.tensor(g)
        for group in opt.param_groups:
            group["lr"] = rate(t)
        opt.step()
        np.testing.assert_allclose(p.detach().numpy(), theta, rtol=1e-12, atol=1e-14)


def test_signum_without_curvature_is_the_sign_of_the_momentum_of_float32(training):
    torch = training.torch
    p = torch.nn.Parameter(torch.zeros(4))
    opt = training.make_optimizer("Signum", {"lr": 0.5, "1-beta1": 0.5, "decay": 0.0}, [p])
    opt.update_curvature([torch.zeros(4)])
    p.grad = torch.tensor([1e-30, -1e30, 0.0, 3.0])
    opt.step()
    expected, _, _ = signum_update(np.zeros(4), np.zeros(4), p.grad.numpy(), lr=0.5, beta=0.5, weight_decay=0.0)
    np.testing.assert_array_equal(p.detach().numpy(), expected)


@pytest.mark.parametrize("method", ["AdamW", "Signum", "SophiaH", "SophiaG"])
def test_a_run_learns_and_comes_out_the_same_twice(training, text, method):
    device = training.torch.device("cpu")
    spec = specification(method, 24)
    ticks = []
    result = training.perform(spec, text, device, False, lambda: ticks.append(1))
    assert len(ticks) == 24
    assert result.diverged_at is None
    assert result.final < math.log(256) - 0.01
    assert (result.unclipped[-1] is None) == (method in ("AdamW", "Signum"))
    again = training.perform(spec, text, device, False)
    assert again._replace(seconds=0) == result._replace(seconds=0)
    other = training.perform(spec._replace(seed=1), text, device, False)
    assert other.final != result.final


@pytest.mark.parametrize("method", ["AdamW", "Signum", "SophiaH", "SophiaG"])
def test_a_run_that_diverges_ends_and_is_lost(training, text, method):
    spec = specification(method, 160)
    spec = spec._replace(settings=tuple((k, 1e30 if k == "lr" else v) for k, v in spec.settings))
    result = training.perform(spec, text, training.torch.device("cpu"), False)
    # at the first look, or at the second estimate, whose labels cannot be drawn
    assert result.diverged_at == (11 if method == "SophiaG" else 20)
    assert result.final is None
    assert result.diverged
    assert result.loss == LOST


def test_methods_see_the_same_start_and_batches_and_tuning_sees_other_data(training, text):
    runs = [
        training.Training(specification(method, 5), text, training.torch.device("cpu"), False)
        for method in ("AdamW", "SophiaG")
    ]
    for p, q in zip(*(run.params for run in runs), strict=True):
        assert training.torch.equal(p, q)
    runs[1].step()  # draws labels too
    runs[0].step()
    assert runs[0].norms[0] == runs[1].norms[0]
    first, second = (text.held_out(16, tuning) for tuning in (False, True))
    assert len(first) + len(second) == (len(text.validation) - 1) // 16
    assert text.train.numel() + text.validation.numel() == text.size
    assert text.validation.numel() == text.size // 10


@pytest.mark.parametrize(("method", "share"), [("SophiaG", 16 * 3), ("SophiaH", 1)])
def test_curvature_is_estimated_every_ten_steps_on_the_papers_part_of_a_batch(training, text, method, share):
    """240 of 480 windows for GNB, whose count is predictions; 32 of 480, here one window, for Hutchinson."""
    run = training.Training(specification(method, 30), text, training.torch.device("cpu"), False)
    counts, windows = [], []
    update, add = run.opt.update_curvature, run.estimator.add
    run.opt.update_curvature = lambda estimator: (counts.append((run.t, estimator.count)), update(estimator))
    run.estimator.add = lambda x, **more: (windows.append(x.shape), add(x, **more))
    for _ in range(21):
        run.step()
    assert counts == [(0, share), (10, share), (20, share)]
    assert set(windows) == {(3, 16, 256) if method == "SophiaG" else ()}
    assert run.gpt.fused


def test_bfloat16_products_leave_the_weights_in_float32(training, text):
    spec, device = specification("SophiaH", 12), training.torch.device("cpu")
    run = training.Training(spec, text, device, True)
    for _ in range(12):
        run.step()
    assert {p.dtype for p in run.params} == {training.torch.float32}
    exact = training.perform(spec, text, device, False).loss
    assert run.look()[0] == pytest.approx(exact, abs=0.05)


def test_the_sizes_are_those_that_are_claimed(benchmark):
    claims = benchmark("gpu_claims")
    assert abs(claims.SIZES["3m"].size / 3e6 - 1) < 0.15
    assert abs(claims.SIZES["30m"].size / 30e6 - 1) < 0.1
    assert budgets.TUNING_SEED not in claims.SEEDS
    assert len(set(claims.SEEDS)) >= 3
