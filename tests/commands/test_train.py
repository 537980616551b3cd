"""Trainings that are stopped, fail, go on, and read what they are given."""

import csv
import hashlib
import itertools
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sophia_ref import checkpoint
from sophia_ref.cli import main
from sophia_ref.commands import training
from sophia_ref.optimizers import SignGD
from toy_problems.transformer import TinyGPT

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "sophia_ref"]
SMALL = ("--preset", "10k", "--batch-size", "2")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Pictures take half a second each."""
    for module in ("train", "training"):
        monkeypatch.setattr(
            f"sophia_ref.commands.{module}.save_picture", lambda rows, opt, unit, folder: folder / "curve.png"
        )


@pytest.fixture
def book():
    """A text of 700 characters."""
    Path("book.txt").write_text("to be, or not to be, that is the question: " * 16 + "whether 'tis")
    return "book.txt"


def fail_at(monkeypatch, call, error=KeyboardInterrupt, method="loss"):
    """This call of a method of TinyGPT raises; later ones do not."""
    calls, true = itertools.count(1), getattr(TinyGPT, method)

    def watched(self, *arguments, **options):
        if next(calls) == call:
            raise error
        return true(self, *arguments, **options)

    monkeypatch.setattr(TinyGPT, method, watched)


def outcome(out):
    """What is said about the trained model."""
    return out[out.index("\nvalidation loss") : out.index("wrote")]


def log(folder):
    return Path(folder, "log.csv").read_text()


def read_log(folder):
    with open(Path(folder, "log.csv"), newline="") as file:
        return list(csv.DictReader(file))


# -- going on ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "method", "calls"),
    [
        ("sophia-g", "loss", (9, 5)),  # in step 7, and in the validation loss after step 10
        ("sophia-g", "sampled_loss", (2,)),  # in the curvature of step 11
        ("sophia-h", "loss", (5,)),
        ("adahessian", "loss", (17,)),
        ("adamw", "sample", (1, 2)),  # while it writes: in the look after step 20, and once all is done
        ("lion", "loss", (1,)),  # before the first step
    ],
)
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(optimizer, method, calls, monkeypatch, capsys, book):
    argv = ["train", "--text", book, "--optimizer", optimizer, "--steps", "24", "--every", "5", *SMALL]
    assert main([*argv, "--output", "whole"]) == 0
    whole = outcome(capsys.readouterr().out)
    argv += ["--output", "cut"]
    for call in calls:
        with monkeypatch.context() as patch:
            fail_at(patch, call, method=method)
            assert main(argv) == 130
        argv = ["train", "--resume", "cut"]
    capsys.readouterr()
    assert main(argv) == 0
    assert outcome(capsys.readouterr().out) == whole
    assert log("cut") == log("whole")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_training_that_was_killed_ends_as_one_that_was_not(capsys, book):
    argv = ["train", "--text", book, "--steps", "2000", "--every", "100", *SMALL]
    assert main([*argv, "--output", "whole"]) == 0
    whole = outcome(capsys.readouterr().out)
    process = subprocess.Popen([*COMMAND, *argv, "--output", "cut"], stdout=subprocess.DEVNULL)
    while not Path("cut/step-00000500.ckpt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    assert not Path("cut/step-00002000.ckpt").exists()
    assert main(["train", "--resume", "cut"]) == 0
    assert outcome(capsys.readouterr().out) == whole
    assert log("cut") == log("whole")


def test_a_look_that_was_interrupted_is_not_counted_as_a_step(monkeypatch, capsys, book):
    fail_at(monkeypatch, 1, method="sample")
    assert main(["train", "--text", book, "--steps", "24", "--every", "5", *SMALL]) == 130
    assert "interrupted after 19 of 24 steps" in capsys.readouterr().err
    assert checkpoint.Checkpoints("out/train_sophia-g", 1).latest().t == 19


def stopped(monkeypatch, book):
    """A training of 24 steps that was interrupted in the 13th, with looks after 1, 5 and 10; it lies in `cut`."""
    argv = ["train", "--text", book, "--optimizer", "adam", "--steps", "24", "--every", "5", *SMALL]
    assert main([*argv, "--output", "whole"]) == 0
    with monkeypatch.context() as patch:
        fail_at(patch, 16)
        assert main([*argv, "--output", "cut"]) == 130
    assert checkpoint.Checkpoints("cut", 1).latest().t == 12


def test_rows_that_the_log_lost_come_back_from_the_checkpoint(monkeypatch, book):
    stopped(monkeypatch, book)
    rows = log("cut").splitlines(keepends=True)
    Path("cut/log.csv").write_text("".join(rows[:11]))  # as if killed after the last checkpoint, before the log
    assert main(["train", "--resume", "cut"]) == 0
    assert log("cut") == log("whole")


def test_a_log_that_was_removed_costs_the_validation_losses_alone(monkeypatch, book):
    stopped(monkeypatch, book)
    Path("cut/log.csv").unlink()
    assert main(["train", "--resume", "cut"]) == 0
    whole = read_log("whole")
    for row in whole[:12]:
        row["validation_loss"] = ""
    assert read_log("cut") == whole


def test_a_training_that_is_done_is_shown_again(capsys, book):
    assert main(["train", "--text", book, "--steps", "3", "--output", "done", *SMALL]) == 0
    first, rows = outcome(capsys.readouterr().out), log("done")
    assert main(["train", "--resume", "done"]) == 0
    captured = capsys.readouterr()
    assert "3 steps of 2 x 32 characters; 3 are done" in captured.out
    assert outcome(captured.out) == first
    assert log("done") == rows


def test_a_training_interrupted_before_it_saved_anything_begins_anew(monkeypatch, capsys, book):
    argv = ["train", "--text", book, "--steps", "3", *SMALL]
    assert main([*argv, "--output", "whole"]) == 0
    with monkeypatch.context() as patch:
        fail_at(patch, 1, method="init")
        assert main([*argv, "--output", "cut"]) == 130
    assert capsys.readouterr().err == "\nsophia-ref: interrupted; to go on:\nsophia-ref train --resume cut\n"
    assert main(["train", "--resume", "cut"]) == 0
    assert log("cut") == log("whole")


@pytest.mark.parametrize(("owner", "method"), [("train", "judge"), ("training", "save_log"), ("train", "save_picture")])
def test_ctrl_c_at_any_other_moment_says_how_to_go_on_too(owner, method, monkeypatch, capsys, book):
    """While the trained model is judged, and, as the second Ctrl-C would be, while the log or the picture is saved."""
    argv = ["train", "--text", book, "--steps", "3", *SMALL]
    assert main([*argv, "--output", "whole"]) == 0

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"sophia_ref.commands.{owner}.{method}", interrupted)
        assert main([*argv, "--output", "cut"]) == 130
    assert capsys.readouterr().err.endswith("interrupted; to go on:\nsophia-ref train --resume cut\n")
    assert main(["train", "--resume", "cut"]) == 0
    assert log("cut") == log("whole")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for one process")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_training_that_is_told_to_end_saves_and_says_how_to_go_on(name, capsys, book):
    argv = ["train", "--text", book, "--steps", "500", "--every", "400", *SMALL]
    assert main([*argv, "--output", "whole"]) == 0
    number = getattr(signal, name)
    process = subprocess.Popen(
        [*COMMAND, *argv, "--output", "cut"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # it may be ignored where the tests run
    )
    while not Path("cut/log.csv").exists():  # the first look
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    done = checkpoint.Checkpoints("cut", 1).latest().t
    assert done < 500
    assert err.endswith(f"interrupted after {done} of 500 steps; to go on:\nsophia-ref train --resume cut\n")
    assert main(["train", "--resume", "cut"]) == 0
    assert log("cut") == log("whole")


def test_signals_mean_afterwards_what_they_meant_before(book):
    before = signal.getsignal(signal.SIGTERM)
    assert main(["train", "--text", book, "--steps", "1", *SMALL]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_killed_training_left_half_written_goes(monkeypatch, book):
    stopped(monkeypatch, book)
    for name in ("train.json", "log.csv", "curve.png", "step-00000012.ckpt", "mine"):
        Path("cut", f".{name}.a1b2.tmp").write_bytes(b"half")
    assert main(["train", "--resume", "cut"]) == 0
    assert [path.name for path in Path("cut").glob(".*")] == [".mine.a1b2.tmp"]


def test_a_text_that_moved_is_found_where_one_says_and_from_then_on(monkeypatch, capsys, book, tmp_path):
    stopped(monkeypatch, book)
    Path(book).rename("moved.txt")
    assert main(["train", "--resume", "cut"]) == 2
    assert "argument --text: " + repr(str(tmp_path / book)) in capsys.readouterr().err
    with monkeypatch.context() as patch:
        fail_at(patch, 2)
        assert main(["train", "--resume", "cut", "--text", "moved.txt"]) == 130
    assert main(["train", "--resume", "cut"]) == 0
    assert log("cut") == log("whole")


def test_another_text_is_refused(monkeypatch, capsys, book):
    stopped(monkeypatch, book)
    content = Path(book).read_text()
    Path(book).write_text(content.upper())
    files = {path: path.read_bytes() for path in Path("cut").iterdir()}
    capsys.readouterr()
    assert main(["train", "--resume", "cut"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in (content.upper(), content):
        assert f"700 bytes, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}" in captured.err
    assert {path: path.read_bytes() for path in Path("cut").iterdir()} == files


@pytest.mark.parametrize(
    "change", [{"lr": 0.5}, {"seed": 1}, {"steps": 25}, {"optimizer": "lion"}, {"preset": "100k", "batch_size": 1}]
)
def test_settings_that_are_not_those_of_the_checkpoint_are_refused(change, monkeypatch, capsys, tmp_path):
    Path("long.txt").write_text("to be, or not to be" * 100)
    argv = ["train", "--text", "long.txt", "--optimizer", "adam", "--steps", "24", "--output", "cut", *SMALL]
    with monkeypatch.context() as patch:
        fail_at(patch, 20)
        assert main(argv) == 130
    settings = json.loads(Path("cut/train.json").read_text())
    settings["arguments"] |= change
    Path("cut/train.json").write_text(json.dumps(settings))
    capsys.readouterr()
    assert main(["train", "--resume", "cut"]) == 1
    assert re.search(r"error: cut.step-\d+\.ckpt: not of the training that its train.json", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("file", "content", "words", "code"),
    [
        ("train.json", "{", "argument --resume: .*train.json' is not as a training writes it", 2),
        ("train.json", "[]", "argument --resume: .*train.json' is not as a training writes it", 2),
        ("train.json", '{"arguments": {"steps": -3}, "text": ""}', "argument --steps: '-3'; expected an integer", 2),
        ("train.json", '{"arguments": {"stps": 3}, "text": ""}', "unrecognized arguments: --stps=3", 2),
        ("log.csv", "step,loss\n1,2\n", "log.csv' is not as a training writes it", 1),
        ("log.csv", "step,validation_loss\n1,x\n", "log.csv' is not as a training writes it", 1),
        ("step-00000012.ckpt", "", "step-00000012.ckpt: not a checkpoint", 1),
    ],
)
def test_a_damaged_file_is_refused_by_name(file, content, words, code, monkeypatch, capsys, book):
    stopped(monkeypatch, book)
    capsys.readouterr()
    Path("cut", file).write_text(content)
    assert main(["train", "--resume", "cut"]) == code
    err = capsys.readouterr().err
    assert re.search(words, err)
    assert err.count("\n") == 1


def test_without_a_damaged_checkpoint_the_one_before_it_serves(monkeypatch, capsys, book):
    stopped(monkeypatch, book)
    with open("cut/step-00000012.ckpt", "r+b") as file:
        file.seek(1000)
        file.write(b"?")
    assert main(["train", "--resume", "cut"]) == 1
    assert "; remove that file to go on from the one before it" in capsys.readouterr().err
    Path("cut/step-00000012.ckpt").unlink()
    assert main(["train", "--resume", "cut"]) == 0
    assert "10 are done" in capsys.readouterr().out
    assert log("cut") == log("whole")


def test_a_folder_is_that_of_one_training(capsys, book):
    argv = ["train", "--text", book, "--steps", "1", "--optimizer", "gd", *SMALL]
    for _ in range(3):
        assert main(argv) == 0
    assert sorted(p.name for p in Path("out").iterdir()) == ["train_gd", "train_gd-2", "train_gd-3"]
    capsys.readouterr()
    assert main([*argv, "--output", "out/train_gd"]) == 2
    expected = "'out/train_gd' holds a training; expected another folder, or --resume out/train_gd to go on with it"
    assert expected in capsys.readouterr().err


def test_a_folder_whose_name_has_a_space_is_quoted(monkeypatch, capsys, book):
    fail_at(monkeypatch, 3)
    assert main(["train", "--text", book, "--output", "my run", *SMALL]) == 130
    command = capsys.readouterr().err.splitlines()[-1]
    assert shlex.split(command)[-1] == "my run"


# -- steps that fail ---------------------------------------------------------------------------------------------------


def poison(monkeypatch, method, call, tensor=None, value=0.0):
    """From this call on, `value` is added to the loss, and the gradient of `tensor` becomes NaN without the loss."""
    calls, true = itertools.count(1), getattr(TinyGPT, method)

    def poisoned(self, theta, *arguments):
        answer = true(self, theta, *arguments)
        if next(calls) < call:
            return answer
        venom = value
        if tensor is not None:
            weights = self.layout.unpack(theta)[tensor]
            venom = np.sqrt(0 * (weights * weights).sum())  # 0, with the derivative 0 / 0
        return (answer[0] + venom, *answer[1:]) if isinstance(answer, tuple) else answer + venom

    monkeypatch.setattr(TinyGPT, method, poisoned)


@pytest.mark.parametrize(
    ("optimizer", "method", "tensor", "value", "said"),
    [
        ("adam", "loss", None, np.nan, "the loss is nan; the largest weight, in TENSOR, is LARGEST"),
        ("adam", "loss", None, np.inf, "the loss is inf; the largest weight, in TENSOR, is LARGEST"),
        ("sophia-g", "loss", "1.mlp.in", 0, "the gradient of 1.mlp.in is not finite in 1024 of 1024 entries"),
        ("lion", "loss", "gain", 0, "the gradient of gain is not finite in 16 of 16 entries"),
    ],
)
def test_a_step_that_fails_ends_the_run_with_its_number_the_tensor_and_the_state_before(
    optimizer, method, tensor, value, said, monkeypatch, capsys, book
):
    argv = ["train", "--text", book, "--optimizer", optimizer, "--steps", "20", "--every", "10", *SMALL]
    with monkeypatch.context() as patch:
        poison(patch, method, 6, tensor, value)  # step 5: a call a step, and one after the first
        assert main([*argv, "--output", "failed"]) == 1
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    *_, command, action, path = shlex.split(second)
    weights = np.abs(checkpoint.load(path).theta)
    slices = TinyGPT(17, 32, 16, 2, 2).layout.slices.items()
    largest = next(name for name, at in slices if at.start <= weights.argmax() < at.stop)
    said = said.replace("TENSOR", largest).replace("LARGEST", f"{weights.max():.3g}")
    assert first == f"sophia-ref: error: step 5: {said}; a smaller --lr may help"
    assert "validation loss" not in captured.out
    assert [int(row["step"]) for row in read_log("failed")] == [1, 2, 3, 4]
    assert main([command, action, path]) == 0
    assert re.search(r"^t +4$", capsys.readouterr().out, re.MULTILINE)
    assert np.isfinite(checkpoint.load(path).theta).all()
    # without the poison the run goes on from there as if nothing had happened
    assert main(["train", "--resume", "failed"]) == 0
    assert main([*argv, "--output", "whole"]) == 0
    assert log("failed") == log("whole")


def test_a_loss_that_is_not_finite_leads_to_the_largest_weight(monkeypatch, capsys, book):
    layout, step = TinyGPT(17, 32, 16, 2, 2).layout, SignGD.step

    def grown(self, theta, state, oracle):
        done = step(self, theta, state, oracle)
        weights = done.theta.copy()
        if done.state.t == 4:
            layout.unpack(weights)["1.attention.in"][:] = -1e38
        return done._replace(theta=weights)

    monkeypatch.setattr(SignGD, "step", grown)
    assert main(["train", "--text", book, "--optimizer", "signgd", "--steps", "20", *SMALL]) == 1
    said = "step 5: the loss is nan; the largest weight, in 1.attention.in, is 1e+38; a smaller --lr may help"
    assert said in capsys.readouterr().err


def test_a_curvature_that_is_not_finite_is_named(monkeypatch, capsys, book):
    poison(monkeypatch, "sampled_loss", 2, "0.attention.out")
    assert main(["train", "--text", book, "--steps", "20", *SMALL]) == 1
    said = "step 11: the curvature of 0.attention.out is not finite in 256 of 256 entries"
    assert said in capsys.readouterr().err


def test_the_step_that_is_looked_into_is_the_one_that_failed(monkeypatch, capsys, book):
    seen, true = [], TinyGPT.sampled_loss

    def sampled_loss(self, theta, batch, rng, *threads):
        seen.append((batch[0].tobytes(), batch[1].tobytes(), str(rng.bit_generator.state)))
        loss, count = true(self, theta, batch, rng, *threads)
        return loss * (np.nan if len(seen) > 1 else 1.0), count

    monkeypatch.setattr(TinyGPT, "sampled_loss", sampled_loss)
    assert main(["train", "--text", book, "--steps", "20", *SMALL]) == 1
    assert "step 11: the curvature of words" in capsys.readouterr().err
    assert len(seen) > 2
    assert len(set(seen)) == 2  # step 1, and step 11 each time


def test_weights_that_leave_the_finite_numbers_are_named(capsys, book):
    argv = ["train", "--text", book, "--optimizer", "signgd", "--lr", "1e39", "--steps", "2", *SMALL]
    assert main(argv) == 1  # 1e39 is infinite in float32
    assert re.search(r"step 1: the next value of words is not finite in \d+ of 272 entries", capsys.readouterr().err)


def test_a_failure_that_does_not_repeat_is_called_so(monkeypatch, capsys, book):
    calls, true = itertools.count(1), TinyGPT.loss

    def loss(self, *arguments):
        return true(self, *arguments) * (np.nan if next(calls) == 4 else 1.0)

    monkeypatch.setattr(TinyGPT, "loss", loss)
    assert main(["train", "--text", book, "--optimizer", "gd", "--every", "5", *SMALL]) == 1
    assert "step 3: what was not finite is finite when the step is taken again" in capsys.readouterr().err


def test_weights_that_are_all_but_infinite_are_judged_without_a_warning(capsys, book):
    argv = ["train", "--text", book, "--optimizer", "signgd", "--lr", "2e38", "--steps", "1", *SMALL]
    assert main(argv) == 0
    assert "validation loss nan" in capsys.readouterr().out


@pytest.mark.parametrize("error", [MemoryError("no room"), OSError(5, "disk gone")])
def test_a_run_that_breaks_off_keeps_its_log(error, monkeypatch, capsys, book):
    fail_at(monkeypatch, 9, error)
    assert main(["train", "--text", book, "--every", "5", "--optimizer", "adam", *SMALL]) == 1
    said = f"sophia-ref: error: {error}; to go on:\nsophia-ref train --resume out/train_adam\n"
    assert capsys.readouterr().err == said
    assert len(read_log("out/train_adam")) == 6
    assert checkpoint.Checkpoints("out/train_adam", 1).latest().t == 6


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_looks_are_lines_of_80_columns_and_every_fourth_has_a_sample(capsys, book):
    argv = ["train", "--text", book, "--steps", "100", "--optimizer", "adamw", *SMALL]
    assert main(argv) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "  validation " in line]
    rows = [row for row in read_log("out/train_adamw") if row["validation_loss"]]
    assert [int(row["step"]) for row in rows] == [1, *range(5, 101, 5)]
    assert max(map(len, lines)) <= 80
    for line, row in zip(lines, rows, strict=True):
        step, loss, validation = row["step"], float(row["loss"]), float(row["validation_loss"])
        said = f"{step:>3}  loss {loss:.3f}  validation {validation:.3f}"
        assert line.startswith(said)
        assert (len(line) > len(said)) == (int(step) in (20, 40, 60, 80))


def test_the_bar_tells_all_that_is_asked_for_in_80_columns(book, terminal):
    master, slave = terminal()
    import fcntl  # not on Windows, where there is no terminal either
    import struct
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    argv = [*COMMAND, "train", "--text", book, "--steps", "1000", "--every", "500", *SMALL]
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=slave, env=environment)
    os.close(slave)
    written = b""
    while chunk := _read(master):
        written += chunk
    os.close(master)
    assert process.wait(timeout=30) == 0
    lines = re.split(r"[\r\n]+", written.decode())
    assert max(map(len, lines)) <= 80
    number = r"\d+\.\d{3}"
    told = rf"\d+/1000 \|.*\| \d\d:\d\d left, loss {number}, val {number}, \S+k tok/s, \d+% unclipped"
    assert sum(bool(re.fullmatch(told, line)) for line in lines) > 2


def _read(file):
    try:
        return os.read(file, 2**16)
    except OSError:  # the other end is closed, says Linux
        return b""


def test_the_first_picture_comes_soon_and_all_take_a_fiftieth_of_the_time(monkeypatch, capsys, book):
    clock, drawn = [0.0], []

    def draw(rows, opt, unit, folder):
        drawn.append((clock[0], len(rows)))
        clock[0] += 3.0

    def say(line):
        clock[0] += 1.0  # a look a second

    monkeypatch.setattr(training.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(training, "save_picture", draw)
    monkeypatch.setattr("builtins.print", lambda *words, **options: say(words))
    assert main(["train", "--text", book, "--steps", "500", "--every", "1", "--optimizer", "gd", *SMALL]) == 0
    # each takes three seconds, and the next may come 150 later
    starts = [start for start, _ in drawn]
    assert 5 <= starts[0] <= 7
    assert (np.diff(starts) >= 150).all()
    assert len(drawn) == 4


# -- tokens ------------------------------------------------------------------------------------------------------------


def test_any_file_can_be_learned_byte_by_byte(capsys):
    Path("noise.bin").write_bytes(np.random.default_rng(0).bytes(4000))
    assert main(["train", "--text", "noise.bin", "--steps", "2", *SMALL]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^tokens are bytes: 'noise.bin' has byte 0x\w\w at \d+; expected text in utf-8", out, re.M)
    assert "2 steps of 2 x 32 bytes" in out
    assert "nats a byte" in out
    assert float(read_log("out/train_sophia-g")[0]["loss"]) == pytest.approx(math.log(256), abs=0.1)
    assert json.loads(Path("out/train_sophia-g/train.json").read_text())["arguments"]["tokens"] == "bytes"


def test_a_text_is_learned_by_bytes_if_asked_for(capsys):
    Path("greek.txt").write_text("λόγος " * 200, encoding="utf-8")
    argv = ["train", "--text", "greek.txt", "--steps", "300", "--optimizer", "adam", *SMALL]
    assert main([*argv, "--tokens", "bytes"]) == 0
    out = capsys.readouterr().out
    assert "tokens are bytes" not in out
    assert "λόγος λόγος" in out
    assert main([*argv, "--steps", "1"]) == 0
    assert "2 x 32 characters" in capsys.readouterr().out


def test_characters_of_a_large_file_are_refused_and_bytes_are_the_default(monkeypatch, capsys, book):
    monkeypatch.setattr(training, "CHARACTERS", 699)
    argv = ["train", "--text", book, "--steps", "1", *SMALL]
    assert main([*argv, "--tokens", "characters"]) == 2
    expected = "argument --text: 'book.txt' has 700 bytes; expected at most 699; --tokens bytes takes any file"
    assert expected in capsys.readouterr().err
    assert main(argv) == 0
    assert "tokens are bytes: 'book.txt' has 700 bytes; expected at most 699 for characters" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no getrusage, and files there are not sparse unasked")
def test_a_file_larger_than_memory_is_learned_in_little_memory(tmp_path):
    with open("vast.bin", "wb") as file:
        file.truncate(6 * 2**30)  # of zeros that take no room on the disk
        for place in np.random.default_rng(0).integers(6 * 2**30, size=100):
            file.seek(place)
            file.write(b"some words")
    code = """
        import resource, sys
        from sophia_ref.cli import main
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert main(sys.argv[1:]) == 0
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        grown_mib = grown / (2**20 if sys.platform == "darwin" else 2**10)
        assert grown_mib < 200, grown_mib
    """
    argv = ["train", "--text", "vast.bin", "--steps", "300", *SMALL]
    script = "\n".join(line.strip() for line in code.splitlines())
    subprocess.run([sys.executable, "-c", script, *argv], check=True, stdout=subprocess.DEVNULL)
    os.unlink("vast.bin")
    assert float(read_log("out/train_sophia-g")[-1]["validation_loss"]) < 1


def test_a_file_that_shrinks_ends_the_training_with_all_that_was_saved(monkeypatch, capsys):
    Path("data.bin").write_bytes(bytes(range(256)) * 8)
    calls, true = itertools.count(1), TinyGPT.loss

    def loss(self, *arguments):
        if next(calls) == 5:
            os.truncate("data.bin", 100)
        return true(self, *arguments)

    monkeypatch.setattr(TinyGPT, "loss", loss)
    argv = ["train", "--text", "data.bin", "--tokens", "bytes", "--optimizer", "gd", *SMALL]
    assert main(argv) == 1
    assert "'data.bin' has become shorter; expected 2048 bytes" in capsys.readouterr().err
    assert checkpoint.Checkpoints("out/train_gd", 1).latest().t == len(read_log("out/train_gd")) > 0
