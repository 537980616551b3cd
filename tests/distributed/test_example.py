"""examples/train_distributed.py, run by torchrun."""

import importlib
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.distributed.launch import ROOT, torchrun

pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-distributed` installs it")

EXAMPLE = "examples/train_distributed.py"
SETTINGS = ("--steps", "40", "--warmup", "2", "--gamma", "5", "--log-every", "1")
MULTIPLE = "expected a multiple of --micro-batch x processes, 2 x 2 = 4, at most --batch"


def rows(world, *arguments):
    """step -> (loss, share of unclipped coordinates or None), of a run that must succeed."""
    done = torchrun(world, EXAMPLE, *SETTINGS, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"step +(\d+)  loss ([\d.]+)(?:  unclipped ([\d.]+))?  [\d,]+ tokens/s\n", done.stdout)
    assert len(lines) == done.stdout.count("  loss ")  # and those of the first process alone
    return {int(step): (float(loss), float(share) if share else None) for step, loss, share in lines}


def test_a_run_saved_by_two_processes_goes_on_in_four_as_one_would_have(example, started, tmp_path):
    one = rows(1, "--until", "12")
    assert list(one) == list(range(1, 13))
    assert one[12][0] < one[1][0] - 0.01
    assert 0.01 < one[12][1] < 0.99
    folder = ("--folder", str(tmp_path), "--save-every", "2")
    two = rows(2, *folder, "--until", "6")
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-00000004", "step-00000006"]
    for step in (98, 99):  # of runs that were killed while they saved
        (tmp_path / f"step-000000{step}").mkdir()
    four = rows(4, *folder, "--engine", "fsdp", "--resume", "--until", "12")
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-00000010", "step-00000012"]
    assert list(two | four) == list(one)
    # losses are printed to 1e-6; a share is of 14,928 coordinates, and rounding may take one over the clip
    found, expected = np.array([*(two | four).values()]), np.array([*one.values()])
    np.testing.assert_allclose(found[:, 0], expected[:, 0], atol=2e-6, rtol=0)
    np.testing.assert_allclose(found[:, 1], expected[:, 1], atol=2e-4, rtol=0)
    started(*SETTINGS, *folder, "--resume", "--seed", "1")
    data = example.Data(example.options(), example.PRESETS["10k"])
    with pytest.raises(ValueError, match="--seed: 1; expected 0, as before --resume"):
        example.load(example.options(), data, None, None)
    data.tokens = data.tokens[:1000]
    with pytest.raises(ValueError, match=r"--data: .*, 1,000 tokens; expected .*, \d{3},\d{3} tokens, as before"):
        example.load(example.options(), data, None, None)
    for broken in ("{}", "[", "[1]"):
        (tmp_path / "settings.json").write_text(broken)
        with pytest.raises(ValueError, match=r"--resume: .*settings.json; expected the settings of the run \("):
            example.load(example.options(), data, None, None)
    started(*SETTINGS, "--folder", str(tmp_path / "nothing"), "--resume")
    with pytest.raises(ValueError, match=r"--resume: .*/nothing has no checkpoint"):
        example.load(example.options(), data, None, None)


def test_sophia_h_is_the_same_on_one_process_and_sharded_on_two():
    arguments = ("--method", "sophia-h", "--until", "4")
    one, two = rows(1, *arguments), rows(2, *arguments, "--engine", "fsdp")
    np.testing.assert_allclose(list(two.values()), list(one.values()), atol=2e-4, rtol=0)
    assert max(abs(two[step][0] - one[step][0]) for step in one) <= 2e-6


def test_adamw_in_bfloat16_on_a_file_of_tokens(tmp_path):
    tokens = np.random.default_rng(0).integers(128, size=5000)
    tokens.astype("<u2").tofile(tmp_path / "train.bin")
    arguments = ["--steps", "40", "--method", "adamw", "--bf16", "--until", "3", "--log-every", "1"]
    done = torchrun(1, EXAMPLE, *arguments, "--data", str(tmp_path / "train.bin"))
    assert done.returncode == 0, done.stderr
    losses = [float(x) for x in re.findall(r"loss ([\d.]+)  [\d,]+ tokens/s", done.stdout)]
    np.testing.assert_allclose(losses, np.log(128), atol=0.1)


def test_processes_that_disagree_are_told_so():
    command = f"{sys.executable} {EXAMPLE} --gamma 0.$((RANK + 1))"
    done = torchrun(2, "--no-python", "sh", "-c", command)
    assert done.returncode
    assert "train_distributed: ranks must agree on gamma, got, by rank: 0.1 on 0; 0.2 on 1\n" in done.stderr


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("train_distributed")


@pytest.fixture
def started(monkeypatch):
    """started(arguments, environment): as torchrun would have it, in this process."""

    def start(*arguments, **environment):
        for name, value in (dict(RANK="0", WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", LOCAL_RANK="0") | environment).items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", [EXAMPLE, *arguments])

    return start


@pytest.fixture
def said(example, started, capsys):
    """said(arguments, environment): what it prints where it stops; what it says of options comes without the usage."""

    def run(*arguments, **environment):
        started(*arguments, **environment)
        try:
            example.main()
        except SystemExit:
            return capsys.readouterr().err.rpartition("train_distributed.py: error: ")[2].rstrip()
        return capsys.readouterr().out

    return run


def test_gpt2_small_has_the_published_settings_and_124_373_760_parameters(said, example, monkeypatch):
    printed = said("--preset", "gpt2-small", "--dry-run", "8", "--data", str(ROOT / "README.md"), RANK=None)
    P = 50304 * 768 + 1024 * 768 + 12 * (12 * 768**2 + 2 * 768) + 768  # words, positions, blocks with gains, last gain
    assert printed.splitlines() == [
        f"gpt2-small: {P:,} parameters, {480 * 1024:,} tokens a step, 100,000 steps",
        "8 processes, ddp: each 10 x 6 sequences a step, 5 x 6 an estimate",
        f"a process keeps {16 * P / 1e9:.2f} GB of float32: parameters, gradients, two states",
        f"a process sends {2 * 7 / 8 * 4 * P / 1e9:.2f} GB a step, {2 * 7 / 8 * 4 * P / 1e9:.2f} GB an estimate",
    ]
    assert f"{P:,}" == "124,373,760"
    for method in ("sophia-g", "sophia-h", "adamw"):
        for ranks in ("1", "2", "4", "8"):
            assert "124,373,760" in said("--preset", "gpt2-small", "--method", method, "--dry-run", ranks)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--batch", "30"], f"--batch: 30; {MULTIPLE}"),
        (["--curvature-batch", "20"], f"--curvature-batch: 20; {MULTIPLE}"),
        (["--method", "adamw", "--gamma", "1"], "--gamma and --curvature-batch: AdamW has neither"),
        (["--lr", "nan"], "--lr: nan; expected a finite number > 0"),
        (["--until", "0"], "--until: 0; expected an integer >= 1"),
        (["--warmup", "200"], "--warmup: 200; expected less than --steps, 200"),
        (["--resume"], "--resume: expected --folder with it"),
        (["--data", "nowhere.bin"], "--data: nowhere.bin; expected the name of a file"),
        (["--data", "odd.bin"], "--data: odd.bin has an odd number of bytes; expected two for each token"),
        (["--folder", "odd.bin"], "--folder: odd.bin is a file; expected a folder"),
        (["--device", "cuda"], "--nproc-per-node: 2; expected at most one process a GPU, and there are 0"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_line(said, arguments, expected, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.bin").write_bytes(b"odd")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert said(*arguments) == expected


def test_without_torchrun_it_says_how_to_start_it(said):
    command = "torchrun --standalone --nproc-per-node 2 examples/train_distributed.py"
    assert said(RANK=None) == f"expected to be started by torchrun: {command}"


def test_without_pytorch_it_says_what_installs_it():
    code = f"import sys, runpy; sys.modules['torch'] = None; runpy.run_path({EXAMPLE!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode
    assert done.stderr == "train_distributed: PyTorch is missing; pip install 'sophia-ref[torch]' installs it\n"
