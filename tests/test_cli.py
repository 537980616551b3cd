"""The command, as a user meets it: what it prints, what it writes, and what it says to mistakes."""

import csv
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sophia_ref as sr
from sophia_ref import settings
from sophia_ref.cli import main
from sophia_ref.settings import ESTIMATORS, LANGUAGE, OPTIMIZERS, TOYS
from toy_problems import text
from toy_problems.landscapes import REGISTRY
from toy_problems.transformer import PRESETS, LanguageTask, TinyGPT

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "sophia_ref"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder and a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONUNBUFFERED", "")  # processes print as they do at home


@pytest.fixture
def book(tmp_path):
    """A text of 700 characters."""
    path = tmp_path / "book.txt"
    path.write_text("to be, or not to be, that is the question: " * 16 + "whether 'tis")
    return str(path)


@pytest.fixture
def no_picture(monkeypatch):
    """Pictures take a second each."""
    monkeypatch.setattr("sophia_ref.plots.race_figure", lambda landscape, runs: None)
    monkeypatch.setattr("sophia_ref.plots.save", lambda figure, path: path)


def table(out, name):
    """The words of the line that begins with this name."""
    (line,) = (line for line in out.splitlines() if line.split()[:1] == [name])
    return line.split()


def read_log(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def interrupt(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    return out, err


def start(*argv):
    """The command as a process that Ctrl-C reaches, even where the tests run in the background."""

    def listen():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*COMMAND, *argv], text=True, preexec_fn=listen, **pipes)


# -- list --------------------------------------------------------------------------------------------------------------


def test_list_names_everything_once_within_80_columns(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first_words = [line.split()[0] for line in lines if line]
    for name in [*REGISTRY, *OPTIMIZERS, *ESTIMATORS, *PRESETS]:
        assert first_words.count(name) == 1
    assert max(map(len, lines)) <= 80


def test_list_says_what_races_and_what_trains(capsys):
    main(["list"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    header = lines["OPTIMIZER"]
    for name in OPTIMIZERS:
        for use, able in (("races", TOYS), ("trains", LANGUAGE)):
            assert lines[name][header.index(use) :].startswith("yes") == (name in able)


def test_list_counts_parameters_and_critical_points(capsys):
    main(["list"])
    out = capsys.readouterr().out
    assert table(out, "gpt2-small")[1] == "124,373,760"
    assert table(out, "himmelblau")[-3:] == ["4", "4", "1"]


def test_the_tables_of_settings_fit_together():
    assert set(OPTIMIZERS) == set(TOYS) | set(LANGUAGE)
    assert all(callable(getattr(sr, name)) for name in ESTIMATORS)


def test_help_and_list_start_without_what_only_the_others_need():
    code = """
        import sys
        from sophia_ref.cli import main
        main(["list"]), main(["race", "--help"])
        assert not {"matplotlib", "scipy", "tqdm", "PIL"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, stdout=subprocess.DEVNULL)


# -- race --------------------------------------------------------------------------------------------------------------


def test_race_tells_where_newton_and_gradient_descent_end_on_a_quadratic(capsys, no_picture):
    assert main(["race", "booth", "--optimizers", "newton", "gd", "--lr", "gd=0.05", "--steps", "20"]) == 0
    out = capsys.readouterr().out
    # (x + 2 y - 7)^2 + (2 x + y - 5)^2 has H = [[10, 8], [8, 10]]: Newton is there after one step, for a gradient and
    # two products, and gradient descent contracts by 1 - 0.05 * 18 and 1 - 0.05 * 2 along (1, 1) and (1, -1)
    assert table(out, "newton") == ["newton", "1", "1", "7", "(1,", "3)", "0", "global", "minimum"]
    u, v = (-9 + 3) / 2 * 0.1**20, (-9 - 3) / 2 * 0.9**20
    x, y = 1 + u + v, 3 + u - v
    distance = math.hypot(x - 1, y - 3)
    loss = (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2
    expected = f"gd 0.05 20 20 ({x:.3g}, {y:.3g}) {loss:.3g} {distance:.2g} from a minimum"
    assert table(out, "gd") == expected.split()


def test_race_knows_the_saddle_from_the_spurious_and_the_global_minimum(capsys, no_picture):
    main(["race", "sophia_fig2", "--optimizers", "newton", "saddle-free"])
    out = capsys.readouterr().out
    assert table(out, "newton")[-1:] == ["saddle"]
    assert table(out, "saddle-free")[-2:] == ["global", "minimum"]
    main(["race", "sophia_fig2", "--optimizers", "sophia", "--start", "-0.5", "0"])
    out = capsys.readouterr().out
    assert "from (-0.5, 0)" in out
    assert table(out, "sophia")[-2:] == ["local", "minimum"]


def test_race_counts_steps_from_when_a_run_stays_and_not_from_when_it_passes(capsys, no_picture):
    argv = ["race", "separable_valley", "--start", "1", "0", "--optimizers", "momentum", "--lr", "momentum=0.05"]
    assert main([*argv, "--steps", "200"]) == 0
    x, m, path = 1.0, 0.0, [1.0]  # x^2 / 2 along the floor: heavy-ball momentum 0.9 swings through the minimum
    for _ in range(200):
        m = 0.9 * m + x
        x -= 0.05 * m
        path.append(x)
    away = [t for t, x in enumerate(path) if abs(x) > 0.01]
    assert away != list(range(len(away)))
    assert int(table(capsys.readouterr().out, "momentum")[2]) == away[-1] + 1


def test_race_writes_the_picture_and_the_animation_where_it_says(capsys, tmp_path):
    assert main(["race", "sophia_fig2", "--steps", "8", "--output", "deep/er", "--animate"]) == 0
    said = re.findall(r"wrote (.*)", capsys.readouterr().out)
    assert said == [str(Path("deep/er/race_sophia_fig2.png")), str(Path("deep/er/race_sophia_fig2.gif"))]
    assert sorted(p.name for p in (tmp_path / "deep/er").iterdir()) == ["race_sophia_fig2.gif", "race_sophia_fig2.png"]
    with Image.open(said[0]) as picture:
        assert picture.size[0] >= 800
    with Image.open(said[1]) as gif:
        assert gif.n_frames > 4
    assert os.path.getsize(said[1]) < 300_000


def test_a_video_needs_ffmpeg_and_says_so_before_the_race(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert main(["race", "booth", "--video"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "argument --video needs the program ffmpeg, which is not on the PATH; --animate does not" in captured.err
    assert not Path("out").exists()


def test_race_writes_a_video_beside_the_animation(monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("sophia_ref.plots.animate", lambda landscape, runs, path: path)
    assert main(["race", "booth", "--steps", "2", "--optimizers", "gd", "--animate", "--video"]) == 0
    assert [Path(name).name for name in re.findall(r"wrote (.*)", capsys.readouterr().out)] == [
        "race_booth.png",
        "race_booth.gif",
        "race_booth.mp4",
    ]


def test_the_picture_and_the_animation_show_the_start_that_was_given(monkeypatch):
    starts = []
    monkeypatch.setattr("sophia_ref.plots.race_figure", lambda landscape, runs: starts.append(landscape.start))
    monkeypatch.setattr("sophia_ref.plots.save", lambda figure, path: path)
    monkeypatch.setattr("sophia_ref.plots.animate", lambda landscape, runs, path: starts.append(landscape.start))
    assert main(["race", "booth", "--start", "2", "-1.5", "--steps", "2", "--animate"]) == 0
    assert [start.tolist() for start in starts] == [[2.0, -1.5]] * 2


@pytest.mark.parametrize(("name", "magic"), [("a.svg", b"<?xml"), ("b.pdf", b"%PDF")])
def test_race_writes_the_kind_of_picture_that_the_name_asks_for(name, magic):
    assert main(["race", "booth", "--optimizers", "newton", "--steps", "2", "--output", name]) == 0
    assert Path(name).read_bytes().startswith(magic)


def test_noise_depends_on_the_seed_alone(capsys, no_picture):
    def race(*options):
        main(["race", "booth", "--optimizers", "gd", "--steps", "5", *options])
        return capsys.readouterr().out

    assert race("--noise", "2", "--seed", "1") == race("--noise", "2", "--seed", "1")
    assert race("--noise", "2", "--seed", "1") != race("--noise", "2", "--seed", "2")
    assert race("--seed", "1") == race("--seed", "2") == race()


def test_noise_is_a_standard_deviation(capsys, no_picture):
    def end(noise):
        main(
            [
                "race",
                "booth",
                "--optimizers",
                "gd",
                "--lr",
                "gd=0.1",
                "--steps",
                "1",
                "--start",
                "1",
                "3",
                "--noise",
                noise,
            ]
        )
        x, y = re.search(r"\((\S+), (\S+)\)  ", capsys.readouterr().out).groups()
        return float(x) - 1, float(y) - 3  # at the minimum, the step is the noise

    assert end("2000") == pytest.approx([2 * z for z in end("1000")], rel=0.01)


def test_a_race_in_which_one_diverges_goes_on_and_says_so(capsys):
    assert main(["race", "rosenbrock", "--optimizers", "gd", "newton", "--lr", "gd=1"]) == 0
    captured = capsys.readouterr()
    assert table(captured.out, "gd")[-1] == "diverged"
    assert table(captured.out, "newton")[-2:] == ["global", "minimum"]
    assert captured.err == ""


@pytest.mark.parametrize("name", TOYS)
def test_every_racer_gets_through_figure_2_with_a_line_of_80_columns(name, capsys, no_picture):
    assert main(["race", "sophia_fig2", "--optimizers", name, "--steps", "40"]) == 0
    out = capsys.readouterr().out
    assert "diverged" not in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("x", ["0", "1e-300"])
def test_a_race_from_where_the_hessian_vanishes_has_learning_rates(x, capsys, no_picture):
    assert main(["race", "monkey_saddle", "--start", x, "0", "--optimizers", "gd", "damped-newton"]) == 0
    # H = 6 [[x, -y], [-y, -x]] with eigenvalues +-6 |(x, y)|: largest in the corners (1.5, 1.5)
    out = capsys.readouterr().out
    assert float(table(out, "gd")[1]) == pytest.approx(1 / (9 * math.sqrt(2)), rel=0.01)
    assert table(out, "gd")[-1] == table(out, "damped-newton")[-1] == "saddle"


@pytest.mark.parametrize("name", REGISTRY)
def test_the_furthest_start_and_the_largest_noise_are_raced(name, capsys, no_picture):
    (left, right), (bottom, top) = REGISTRY[name].domain
    corner = [str(left - 10 * (right - left)), str(top + 10 * (top - bottom))]
    assert main(["race", name, "--start", *corner, "--optimizers", *TOYS, "--noise", "1e154", "--steps", "3"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["sophia", "sophia-h"])
def test_a_learning_rate_given_to_sophia_is_where_newtons_step_is_cut_off(name, capsys, no_picture):
    def end(rate):
        argv = ["race", "separable_valley", "--start", "1", "0", "--optimizers", name, "--steps", "1"]
        assert main([*argv, "--lr", f"{name}={rate}"]) == 0
        return float(re.search(r"\((\S+), \S+\)  ", capsys.readouterr().out)[1])

    # x^2 / 2 along the floor; with gamma = lr, a larger lr moves the cut and not the step
    assert end(0.1) == pytest.approx(0.9)
    far = [end(rate) for rate in (50, 100)]
    assert far[0] == far[1]  # nothing is cut off any more
    assert end(0) == 1


def test_a_race_of_one_step_off_an_unbounded_surface_says_so(capsys, no_picture):
    assert main(["race", "saddle", "--optimizers", "gd", "--lr", "gd=1e9", "--steps", "1"]) == 0
    out = capsys.readouterr().out
    assert ", 1 step from" in out
    assert table(out, "gd")[-3:] == ["left", "the", "domain"]


# -- train -------------------------------------------------------------------------------------------------------------

SMALL = ("--preset", "10k", "--batch-size", "2")


def test_train_writes_a_log_of_every_step(capsys, book):
    argv = ["train", "--text", book, "--optimizer", "sophia-g", "--steps", "12", "--lr", "0.01", *SMALL]
    assert main(argv) == 0
    folder = Path("out/train_sophia-g")
    wrote = re.findall(r"wrote (.*)", capsys.readouterr().out)
    assert wrote == [str(folder / "log.csv"), str(folder / "curve.png")]
    checkpoints = [f"step-{t:08d}.ckpt" for t in (10, 11, 12)]
    assert sorted(p.name for p in folder.iterdir()) == ["curve.png", "log.csv", *checkpoints, "train.json"]
    log = read_log(wrote[0])
    assert [int(row["step"]) for row in log] == list(range(1, 13))
    # a gradient a step, and at steps 1 and 11 one more on half of the batch
    assert [float(row["cost"]) for row in log] == [*(t + 0.5 for t in range(1, 11)), 12.0, 13.0]
    # one step of warm-up, then a cosine from 0.01 to a twentieth
    assert float(log[0]["lr"]) == pytest.approx(0.01)
    assert float(log[-1]["lr"]) == pytest.approx(0.0005)
    assert all(0 <= float(row["unclipped"]) <= 1 for row in log)
    # an untrained model knows nothing: ln of the number of characters
    assert float(log[0]["loss"]) == pytest.approx(math.log(len(set(Path(book).read_text()))), abs=0.1)
    assert log[0]["validation_loss"]
    assert log[-1]["validation_loss"]


def test_the_log_holds_the_losses_of_a_run_as_the_paper_trains(capsys, book):
    assert main(["train", "--text", book, "--optimizer", "adahessian", "--steps", "20", "--seed", "3", *SMALL]) == 0
    source = text.load(book)
    task = LanguageTask(replace(PRESETS["10k"], vocab=source.vocab), source, 2)
    opt = sr.AdaHessian(sr.cosine(0.1, 20, warmup=2, final=0.05), layout=task.model.layout)
    expected = sr.run(task, opt, 20, seed=3, clip_norm=1.0)
    assert expected.clipped_steps
    assert [float(row["loss"]) for row in read_log("out/train_adahessian/log.csv")] == expected.losses[:-1].tolist()


def test_train_learns_and_its_sample_shows_it(capsys, tmp_path):
    (tmp_path / "ab.txt").write_text("ab" * 400)
    argv = ["train", "--text", "ab.txt", "--optimizer", "adamw", "--steps", "60", *SMALL]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert float(re.search(r"validation loss ([\d.]+)", out)[1]) < 0.05
    assert "ab" * 100 in out
    assert {row["unclipped"] for row in read_log("out/train_adamw/log.csv")} == {""}


def test_train_takes_the_settings_that_are_given(capsys, book):
    def losses(*options):
        assert main(["train", "--text", book, "--steps", "4", "--optimizer", "sophia-h", *SMALL, *options]) == 0
        (log,) = re.findall(r"wrote (.*csv)", capsys.readouterr().out)
        return [row["loss"] for row in read_log(log)]

    default = losses()
    assert losses("--gamma", "0.01", "--weight-decay", "0.2", "--seed", "0") == default
    for options in (("--lr", "0.1"), ("--gamma", "1000"), ("--weight-decay", "30"), ("--seed", "1")):
        assert losses(*options) != default


@pytest.mark.parametrize("name", LANGUAGE)
def test_every_learner_takes_a_step_and_lowers_the_loss(name, capsys, book):
    assert main(["train", "--text", book, "--optimizer", name, "--steps", "8", *SMALL]) == 0
    log = read_log(f"out/train_{name}/log.csv")
    assert float(log[-1]["validation_loss"]) < float(log[0]["validation_loss"])


def test_a_sample_cannot_command_the_terminal(capsys, tmp_path):
    (tmp_path / "red.txt").write_text("\x1b[31m\n" * 100)
    assert main(["train", "--text", "red.txt", "--steps", "1", *SMALL]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("?") > 20


def test_train_reads_the_language_reference_by_default(capsys):
    assert main(["train", "--steps", "1", *SMALL]) == 0
    assert "the Python language reference" in capsys.readouterr().out


def test_a_training_that_diverges_is_a_failure_and_keeps_its_log(capsys, book):
    argv = ["train", "--text", book, "--optimizer", "gd", "--lr", "1e38", "--steps", "9", *SMALL]
    assert main(argv) == 1
    captured = capsys.readouterr()
    assert re.search(
        r"error: step \d: the loss is nan; the largest weight, in \S+, is \S+e\+37; a smaller --lr may help",
        captured.err,
    )
    assert "validation loss" not in captured.out
    assert 0 < len(read_log("out/train_gd/log.csv")) < 9


def interrupted_at(monkeypatch, call):
    """Ctrl-C in this call of the loss."""
    calls, true_loss = itertools.count(1), TinyGPT.loss

    def loss(self, *arguments):
        if next(calls) == call:
            raise KeyboardInterrupt
        return true_loss(self, *arguments)

    monkeypatch.setattr(TinyGPT, "loss", loss)


def test_ctrl_c_in_training_saves_the_steps_before_it_and_says_how_to_go_on(monkeypatch, capsys, book):
    argv = ["train", "--text", book, "--optimizer", "adam", "--steps", "100", "--every", "50", *SMALL]
    interrupted_at(monkeypatch, 7)  # a call for the first step, one for the loss on held-out text, then one a step
    assert main(argv) == 130
    captured = capsys.readouterr()
    assert [int(row["step"]) for row in read_log("out/train_adam/log.csv")] == [1, 2, 3, 4, 5]
    folder = Path("out/train_adam")
    assert captured.err == (
        f"sophia-ref: interrupted after 5 of 100 steps; to go on:\nsophia-ref train --resume {folder.as_posix()}\n"
    )
    checkpoints = ["step-00000000.ckpt", "step-00000005.ckpt"]
    assert sorted(p.name for p in folder.iterdir()) == ["curve.png", "log.csv", *checkpoints, "train.json"]


def test_ctrl_c_before_the_first_step_says_how_to_begin(monkeypatch, capsys, book):
    interrupted_at(monkeypatch, 1)
    assert main(["train", "--text", book, *SMALL]) == 130
    folder = Path("out/train_sophia-g")
    assert sorted(p.name for p in folder.iterdir()) == ["log.csv", "step-00000000.ckpt", "train.json"]
    said = f"interrupted after 0 of 1000 steps; to go on:\nsophia-ref train --resume {folder.as_posix()}"
    assert said in capsys.readouterr().err


def test_ctrl_c_while_a_picture_is_written_leaves_no_half_of_it(monkeypatch):
    def savefig(self, file, **options):
        file.write(b"half a pic")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    assert main(["race", "booth", "--optimizers", "newton", "--steps", "2"]) == 130
    assert list(Path("out").iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_real_ctrl_c_ends_a_training_with_what_there_is():
    process = start("train", "--steps", "100000", "--every", "20", *SMALL)
    while "40  loss" not in process.stdout.readline():  # step 20 is on the disk
        pass
    out, err = interrupt(process)
    assert re.search(r"interrupted after \d+ of 100000 steps", err)
    assert "wrote" in out
    assert {"log.csv", "curve.png"} < {p.name for p in Path("out/train_sophia-g").iterdir()}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_real_ctrl_c_ends_a_race_without_a_file():
    process = start("race", "rosenbrock", "--steps", "10000000")
    while not Path("out").exists():  # made when the arguments have been read
        time.sleep(0.05)
    time.sleep(0.2)
    _, err = interrupt(process)
    assert err.strip() == "sophia-ref: interrupted"
    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("curvature", "expected"), [(0.002, 0.002), (0.0005, 1.0)])
def test_the_curvature_is_that_of_the_whole_domain_where_it_all_but_vanishes_at_the_points(scale, curvature, expected):
    pit = replace(
        REGISTRY["booth"],
        surface=lambda x, y: scale * (curvature * x**2 / 2 + y**4 / 12),  # of Hessian diag(curvature, y^2)
        domain=((-1.0, 1.0), (-1.0, 1.0)),
        start=np.zeros(2),
        minima=np.zeros((1, 2)),
    )
    assert settings._curvature(pit) == pytest.approx(scale * expected)


# -- demo --------------------------------------------------------------------------------------------------------------


def test_demo_is_handed_its_options(monkeypatch, capsys):
    def demo(output, quick, say):
        say(f"to {output}, quick: {quick}")

    monkeypatch.setattr("sophia_ref.demo.demo", demo)
    assert main(["demo"]) == 0
    assert main(["demo", "--quick", "--output", "there"]) == 0
    assert capsys.readouterr().out == "to out, quick: False\nto there, quick: True\n"


# -- help and refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["race", "train", "profile", "demo"])
def test_help_fits_80_columns_has_examples_that_parse_and_shows_defaults(command, capsys):
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "(default: out" in " ".join(out.split())
    examples = re.findall(r"^  sophia-ref (.*)", out, re.MULTILINE)
    assert examples
    for example in examples:  # one argument more is refused only when all others are fine
        assert main([*example.split(), "--steps-", "1"]) == 2
        assert "'--steps-' was not expected" in capsys.readouterr().err


def test_help_of_race_says_that_toys_have_their_own_settings(capsys):
    main(["race", "--help"])
    out = capsys.readouterr().out
    assert "gamma = lr" in out
    assert "beta2 is 0.5" in out
    sophia = TOYS["sophia"](2.0, 1.0)
    assert (sophia.lr, sophia.gamma, sophia.beta2, sophia.every) == (0.2, 0.2, 0.5, 1)


def test_no_command_shows_help_and_fails(capsys):
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "COMMAND" in captured.err


def test_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sophia-ref {sr.__version__}\n"


REFUSED = [
    # what is typed, and what the answer must hold
    ("lst", "'lst'", "did you mean 'list'?"),
    (
        "help",
        "'help'",
        "expected list, race, step, basins, explore, dialects, conform, train, profile, claims, checkpoint, demo",
    ),
    ("race", "PROBLEM", "required"),
    ("race rosenbrok", "PROBLEM", "'rosenbrok'", "did you mean 'rosenbrock'?"),
    ("race fig2", "'fig2'", "did you mean 'sophia_fig2'?"),
    ("race zzz", "'zzz'", "expected sophia_fig2, "),
    ("race booth --optimizers adam sofia", "--optimizers", "'sofia'", "did you mean 'sophia'?"),
    ("race booth --optimizers adam,sophia", "--optimizers", "'adam,sophia'", "separated by spaces"),
    ("race booth --optimizers sophia-g", "--optimizers", "'sophia-g' is not an optimizer that races"),
    ("race booth --steps 0", "--steps", "'0'", "an integer of at least 1"),
    ("race booth --steps 1.5", "--steps", "'1.5'", "an integer of at least 1"),
    ("race booth --seed -1", "--seed", "'-1'", "an integer of at least 0"),
    ("race booth --noise -1", "--noise", "'-1'", "a finite number >= 0"),
    ("race booth --noise 1e160", "--noise", "'1e160'", "a finite square"),
    ("race booth --start 1e300 0", "--start", "x = 1e+300", "-210 <= x <= 210"),
    ("race booth --start 0 -211", "--start", "y = -211", "-210 <= y <= 210"),
    ("race booth --start 1", "--start", "expected 2"),
    ("race booth --start 1 2 3", "'3'", "--start takes two numbers"),
    ("race booth --start 1 nan", "--start", "'nan'", "a finite number"),
    ("race booth --lr gd=-0.1", "--lr", "'gd=-0.1'", "a finite number >= 0"),
    ("race booth --lr 0.1", "--lr", "'0.1'", "NAME=LR"),
    ("race booth --lr sofia=1", "--lr", "'sofia'", "did you mean 'sophia'?"),
    ("race booth --lr lion=1", "--lr", "'lion' is not in the race"),
    ("race booth --frames 3", "'--frames' was not expected", "race --help"),
    ("basins", "PROBLEM", "required"),
    ("basins himelblau", "'himelblau'", "did you mean 'himmelblau'?"),
    ("basins booth --optimizers newtn", "--optimizers", "'newtn'", "did you mean 'newton'?"),
    ("basins booth --grid 300", "--grid", "expected 2"),
    ("basins booth --grid 0 300", "--grid", "'0'", "an integer of at least 1"),
    ("basins booth --steps 0", "--steps", "'0'", "an integer of at least 1"),
    ("basins booth --lr lion=1", "--lr", "'lion' is not in the race"),
    ("basins booth --noise -1", "--noise", "'-1'", "a finite number >= 0"),
    ("basins booth --output a.jpg", "--output", "'a.jpg'", ".png, .svg, .pdf"),
    ("race booth --step-s 3", "'--step-s' was not expected", "did you mean '--steps'?"),
    ("demo --quik", "'--quik' was not expected", "did you mean '--quick'?"),
    ("race booth --output a.jpg", "--output", "'a.jpg'", ".png, .svg, .pdf"),
    ("race booth --output book.txt/a.png", "--output", "'book.txt/a.png'", "a folder that can be written to"),
    ("train --output book.txt", "--output", "'book.txt'", "a folder that can be written to"),
    ("demo --output book.txt", "--output", "'book.txt'", "a folder that can be written to"),
    ("train --optimizer adamm", "--optimizer", "'adamm'", "did you mean 'adam'?"),
    ("train --optimizer newton", "--optimizer", "'newton' is not an optimizer that trains"),
    ("train --preset 31k", "--preset", "'31k'", "did you mean '30k'?"),
    ("train --steps 0", "--steps", "'0'", "an integer of at least 1"),
    ("train --batch-size 0", "--batch-size", "'0'", "an integer of at least 1"),
    ("train --lr -1", "--lr", "'-1'", "a finite number >= 0"),
    ("train --lr inf", "--lr", "'inf'", "a finite number >= 0"),
    ("train --gamma 0", "--gamma", "'0'", "a finite number > 0"),
    ("train --optimizer adam --gamma 1", "--gamma", "1", "adam has no gamma"),
    ("train --optimizer gd --weight-decay 1", "--weight-decay", "1", "gd has no weight_decay"),
    ("train --text nowhere.txt", "--text", "'nowhere.txt'"),
    ("train --text empty.txt", "--text", "empty.txt", "empty"),
    ("train --text binary.txt --tokens characters", "--text", "binary.txt", "utf-8", "--tokens bytes takes any file"),
    ("train --text binary.txt", "--text", "'binary.txt' of 2 bytes", "at least 650"),
    ("train --tokens byte", "--tokens", "'byte' is not a kind of token", "did you mean 'bytes'?"),
    ("train --tokens bytes", "--tokens", "expected a --text FILE"),
    ("train --every 0", "--every", "'0'", "an integer of at least 1"),
    ("train --resume nowhere", "--resume", "'nowhere' has no train.json", "the folder of a training"),
    ("train --resume nowhere --batch-size 2", "--batch-size", "2", "none beside --resume"),
    ("train --resume nowhere --output out", "--output", "out", "none beside --resume"),
    ("explore rosenbrok", "PROBLEM", "'rosenbrok' is not a problem", "did you mean 'rosenbrock'?"),
    ("explore --output page.png", "--output", "'page.png'", "expected a file .html"),
    ("explore --output empty.txt/page.html", "--output", "'empty.txt/page.html' is in or on a file"),
    ("checkpoint", "required", "show, FILE"),
    ("checkpoint shw x", "show", "'shw'", "did you mean 'show'?"),
    ("checkpoint show nowhere", "FILE", "'nowhere'", "expected a checkpoint"),
]


@pytest.mark.parametrize(("typed", "words"), [(typed, words) for typed, *words in REFUSED], ids=[r[0] for r in REFUSED])
def test_a_mistake_is_answered_in_one_line_before_anything_is_done(typed, words, capsys, book, tmp_path):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "binary.txt").write_bytes(b"\xff\x00")
    before = sorted(tmp_path.iterdir())
    assert main(typed.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sophia-ref")
    assert captured.err.count("\n") == 1
    for word in words:
        assert word in captured.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_text_that_is_too_short_for_the_preset_is_refused_with_the_length_it_needs(capsys, tmp_path):
    (tmp_path / "short.txt").write_text("x" * 649)
    assert main(["train", "--text", "short.txt"]) == 2
    assert "'short.txt' of 649 characters; expected at least 650 for preset 30k" in capsys.readouterr().err
    (tmp_path / "short.txt").write_text("xy" * 325)
    assert main(["train", "--text", "short.txt", "--steps", "1"]) == 0


@pytest.mark.parametrize("x", ["-1e-3", "-1.", "-.5E+0"])
def test_a_start_may_be_any_negative_number(x, capsys, no_picture):
    assert main(["race", "booth", "--optimizers", "newton", "--steps", "1", "--start", x, "0"]) == 0
    assert f"from ({float(x):g}, 0)" in capsys.readouterr().out


def test_a_folder_may_have_a_dot_in_its_name(tmp_path):
    (tmp_path / "v1.2").mkdir()
    assert main(["race", "booth", "--optimizers", "newton", "--steps", "2", "--output", "v1.2"]) == 0
    assert [path.name for path in (tmp_path / "v1.2").iterdir()] == ["race_booth.png"]


def test_a_folder_that_is_read_only_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    assert main(["race", "booth", "--output", "there"]) == 2
    assert "argument --output: 'there' is read-only" in capsys.readouterr().err


def test_a_disk_that_fills_up_is_a_failure_in_one_line(monkeypatch, capsys):
    def savefig(self, file, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    assert main(["race", "booth", "--optimizers", "newton", "--steps", "2"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert list(Path("out").iterdir()) == []


# -- basins ------------------------------------------------------------------------------------------------------------


def test_basins_tells_newtons_saddles_from_sophias(capsys):
    argv = ["basins", "sophia_fig2", "--optimizers", "newton", "sophia", "--grid", "60", "3", "--output", "b.png"]
    assert main(argv) == 0
    captured = capsys.readouterr()
    assert "60 x 3 starts, up to 300 steps" in captured.out
    # Newton's map of x alone: x <- x - f'/f'' with f' = 41.6 x^3 - 14.4 x^2 - 27.2 x
    x = np.linspace(-1.1, 1.5, 121)[1::2]
    for _ in range(100):
        x = x - (41.6 * x**3 - 14.4 * x**2 - 27.2 * x) / (124.8 * x**2 - 28.8 * x - 27.2)
    saddle = (abs(x) < 1e-6).mean()
    assert table(captured.out, "newton")[1:4] == ["1", f"{1 - saddle:.1%}", f"{saddle:.1%}"]
    assert table(captured.out, "sophia")[:3] == ["sophia", "0.26", "100%"]
    assert "newton: 100%" in captured.err
    assert "180/180" in captured.err
    with Image.open("b.png") as picture:
        assert picture.size[0] > 800


def test_basins_takes_learning_rates_noise_and_a_seed(capsys, monkeypatch):
    monkeypatch.setattr("sophia_ref.plots.basins.basins_figure", lambda found: None)
    monkeypatch.setattr("sophia_ref.plots.save", lambda figure, path: path)

    def shares(*options):
        main(["basins", "himmelblau", "--optimizers", "gd", "--grid", "9", "9", "--steps", "30", *options])
        return table(capsys.readouterr().out, "gd")

    assert shares("--lr", "gd=1")[:3] == ["gd", "1", "100%"]  # all diverged
    noisy = shares("--noise", "20", "--seed", "1")
    assert noisy == shares("--noise", "20", "--seed", "1") != shares("--noise", "20", "--seed", "2")


# -- explore -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """The addresses that a browser was asked to open."""
    addresses = []
    monkeypatch.setattr("webbrowser.open", lambda address: addresses.append(address) or True)
    return addresses


def test_explore_writes_one_page_and_opens_it(capsys, opened, tmp_path):
    assert main(["explore"]) == 0
    assert capsys.readouterr().out == f"wrote {Path('out/explorer.html')}\n"
    assert opened == [(tmp_path / "out/explorer.html").as_uri()]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["explorer.html"]
    page = (tmp_path / "out/explorer.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert '"problem": "sophia_fig2"' in page


def test_explore_writes_where_it_is_told_makes_the_folder_and_need_not_open_it(capsys, opened, tmp_path):
    assert main(["explore", "ackley", "--output", "new/folder/tip.html", "--no-open"]) == 0
    assert opened == []
    assert '"problem": "ackley"' in (tmp_path / "new/folder/tip.html").read_text(encoding="utf-8")


def test_explore_says_so_where_there_is_no_browser(capsys, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert main(["explore"]) == 0
    assert "no browser was found" in capsys.readouterr().out


# -- as a process ------------------------------------------------------------------------------------------------------


def test_the_module_runs_and_its_exit_code_is_that_of_main():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"sophia-ref {sr.__version__}\n")
    assert subprocess.run([*COMMAND, "race", "nothing"], capture_output=True, check=False).returncode == 2


def test_a_reader_that_leaves_early_is_no_news():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "list"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_terminal_that_cannot_show_a_character_gets_another(tmp_path):
    (tmp_path / "greek.txt").write_text("λόγος " * 100, encoding="utf-8")
    argv = [*COMMAND, "train", "--text", "greek.txt", "--steps", "1", *SMALL]
    done = subprocess.run(argv, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 0
    assert b"?" in done.stdout
