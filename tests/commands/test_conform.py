"""`sophia-ref conform`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sophia_ref.cli import main
from sophia_ref.conformance import vectors

ROOT = Path(__file__).parents[2]

MODULE = """\
import sophia_ref
from sophia_ref import Lion


class Climbing(Lion):
    def step(self, theta, state, oracle):
        step = super().step(theta, state, oracle)
        return step._replace(theta=2 * theta - step.theta)


def broken(case):
    raise ZeroDivisionError("at last")


class Renamed(Lion):
    def __init__(self, speed, beta1, beta2, weight_decay):
        super().__init__(speed, beta1, beta2, weight_decay)
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("conform_example.py").write_text(MODULE)
    yield
    sys.modules.pop("conform_example", None)


def test_what_conforms_is_certified_and_the_certificate_verified(capsys):
    assert main(["conform", "numpy:conform_example.Lion"]) == 0
    out = capsys.readouterr().out
    n = len(vectors.load("Lion"))
    assert f"Lion     {n}      0       0          conforms: update rule" in out
    assert out.endswith("wrote out/conform-numpy-Lion.json\nwrote out/conform-numpy-Lion.svg\n")
    assert main(["conform", "out/conform-numpy-Lion.json"]) == 0
    assert "CERTIFICATE  holds together\ntarget       numpy:conform_example.Lion" in capsys.readouterr().out


def test_what_does_not_conform_ends_with_1_and_says_why(capsys):
    assert main(["conform", "numpy:conform_example.Climbing", "--profile", "Lion", "--output", "here"]) == 1
    out = capsys.readouterr().out
    assert "Lion: likely cause: theta climbs: the sign is wrong" not in out  # its decay climbs too
    assert "does not conform" in out
    assert json.loads(Path("here/conform-numpy-Climbing.json").read_text())["verdict"] == "does not conform"
    assert main(["conform", "here/conform-numpy-Climbing.json"]) == 1


def test_an_error_of_the_target_is_a_failure_with_its_line_and_no_trace(capsys):
    assert main(["conform", "numpy:conform_example.broken", "--profile", "Lion", "Adam"]) == 1
    out, err = capsys.readouterr()
    assert "refuses it: ZeroDivisionError: at last (conform_example.py, line 12)" in out
    assert "Traceback" not in out + err


def test_a_setting_of_another_name_is_given(capsys):
    assert main(["conform", "numpy:conform_example.Renamed", "--profile", "Lion"]) == 2
    err = capsys.readouterr().err
    assert (
        "argument TARGET: 'numpy:conform_example.Renamed': Renamed(speed, beta1, beta2, weight_decay) has no parameter "
    )
    assert "for lr; expected one of lr, learning_rate, eta, step_size, or --names lr=ITS_NAME" in err
    assert main(["conform", "numpy:conform_example.Renamed", "--profile", "Lion", "--names", "lr=speed"]) == 0


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "argument TARGET: none was given; expected torch:module.Class"),
        (["numpy:conform_example.Liom"], "'conform_example' has no 'Liom'; did you mean 'Lion'?"),
        (["numpy:no_such.x"], "there is no module 'no_such' here or on the path of Python"),
        (["nothing.json"], "argument TARGET: 'nothing.json' cannot be read"),
        (["numpy:conform_example.Lion", "--profile", "lion"], "argument --profile: 'lion' is not a profile"),
        (["numpy:conform_example.Lion", "--names", "lr"], "argument --names: 'lr'; expected A=B, such as gamma="),
        (["numpy:conform_example.Lion", "--names", "rate=x"], "names: 'rate' is not a setting; expected one of lr"),
        (
            ["numpy:conform_example.Lion", "--output", "conform_example.py"],
            "argument --output: 'conform_example.py' is",
        ),
        (["--show", "Lion/plain"], "argument --show: 'Lion/plain' is not a vector; did you mean 'Lion/plain-float"),
        (["--show", "xyzzy"], "is not a vector; `sophia-ref conform --list` shows them all"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(argv, words, capsys):
    assert main(["conform", *argv]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("sophia-ref conform: error: ")
    assert words in err
    assert err.count("\n") == 1
    assert not out


def test_a_damaged_certificate_is_refused(capsys):
    main(["conform", "numpy:conform_example.Lion"])
    path = Path("out/conform-numpy-Lion.json")
    path.write_text(path.read_text().replace("conforms: update rule", "conforms: all", 1))
    capsys.readouterr()
    assert main(["conform", str(path)]) == 2
    assert "it was changed after it was written" in capsys.readouterr().err


def test_the_vectors_are_listed(capsys):
    assert main(["conform", "--list", "--profile", "Lion"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["VECTOR", "verdict", "what", "it", "is", "there", "for"]
    assert [line.split()[0] for line in lines[1:]] == [vector.id for vector in vectors.load("Lion")]
    assert main(["conform", "--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + sum(1 for _ in vectors.every())


@pytest.mark.parametrize(
    ("id", "words"),
    [
        ("Lion/plain-float64", ["must come out as below", "settings  lr 0.01", "step 10\n", "  must leave\n", "ulp: "]),
        ("paper-H/refused-lr-negative-float32", ["must be refused\nlr must be a finite number >= 0.\n", "lr -0.125"]),
        ("paper-H/denormals-float32", ["may be refused, or must come out as below", "(anything, where free)"]),
        ("paper-G/gnb-masked-float64", ["  mask           [ True False", "  micro_batches  [8]"]),
        ("paper-H/hutchinson-diagonal-float32", ["  probe          [ 1. -1. -1.  1.]"]),
        ("paper-H/resume-inside-an-interval-float32", ["saved, and gone on with from what was saved"]),
        ("paper-H/transposed-float32", ["float32, shape (2, 3), in memory: F"]),
    ],
)
def test_a_vector_is_shown_for_a_reader(id, words, capsys):
    assert main(["conform", "--show", id]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{id}: ")
    for word in words:
        assert word in out


def test_every_vector_can_be_shown():
    from sophia_ref.commands.conform import shown

    for vector in vectors.every():
        assert vector.note in shown(vector)


# -- the plugin of pytest ----------------------------------------------------------------------------------------------


def pytest_run(*argv):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_vector_is_a_test_of_its_own_under_pytest():
    n = len(vectors.load("Lion"))
    done = pytest_run("-q", "--conform", "numpy:conform_example.Lion")
    assert (done.returncode, f"{n} passed" in done.stdout) == (0, True), done.stdout + done.stderr
    done = pytest_run("-q", "--conform", "numpy:conform_example.Renamed", "--conform-profile", "Lion",
                      "--conform-names", "lr=speed", "-k", "plain")  # fmt: skip
    assert f"2 passed, {n - 2} deselected" in done.stdout


def test_a_vector_that_fails_under_pytest_says_what_differs_and_how_to_see_it():
    Path("test_mine.py").write_text("def test_something_else(): pass\n")
    done = pytest_run("--conform", "numpy:conform_example.Climbing", "--conform-profile", "Lion")
    assert done.returncode == 1
    assert "numpy:conform_example.Climbing: Lion/plain-float64" in done.stdout
    assert "sophia-ref conform --show Lion/plain-float64" in done.stdout
    assert "step 1: theta[0] is " in done.stdout
    assert "Traceback" not in done.stdout
    assert "test_mine.py ." in done.stdout
    done = pytest_run(
        "-q", "--conform", "numpy:sophia_ref.sophia_update", "--conform-profile", "paper-H", "-m", "conform"
    )
    assert "1 deselected" in done.stdout
    assert "skipped" in done.stdout  # a rule alone refuses nothing


@pytest.mark.parametrize(
    "argv", [["numpy:conform_example.Liom"], ["numpy:conform_example.Lion", "--conform-profile", "x"]]
)
def test_pytest_refuses_a_wrong_target_by_name(argv):
    done = pytest_run("--conform", *argv)
    assert done.returncode == 4
    assert "ERROR: --conform: " in done.stderr + done.stdout


def test_the_plugin_does_not_load_numpy_before_it_is_asked():
    code = "import sys, pytest, pytest_sophia_ref; print('numpy' in sys.modules, 'sophia_ref' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    "arguments", [["numpy:sophia_ref.Lion"], ["--list", "--profile", "Lion"], ["--show", "Lion/plain-float32"]]
)
def test_vectors_that_were_edited_are_refused_in_a_line(arguments, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "vectors"
    folder.mkdir()
    for path in vectors.FOLDER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "Lion.json").write_bytes((folder / "Lion.json").read_bytes().replace(b"0x1p", b"0x1.8p", 1))
    monkeypatch.setattr(vectors, "FOLDER", folder)
    vectors._load.cache_clear()
    assert main(["conform", *arguments]) == 2
    vectors._load.cache_clear()
    assert "Lion.json: SHA-256" in capsys.readouterr().err.splitlines()[-1]


def test_a_device_is_for_targets_that_can_be_given_one(capsys):
    assert main(["conform", "numpy:conform_example.Lion", "--device", "cuda"]) == 2
    assert (
        "argument TARGET: 'numpy:conform_example.Lion': a target of numpy is given no device, got 'cuda'\n"
        in capsys.readouterr().err
    )
    Path("results.json").write_text("{}")
    assert main(["conform", "results.json", "--device", "cuda"]) == 2
    assert "'results.json' is a results file, which computes nowhere; expected no device" in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_certificate_of_numpy_names_no_device(capsys):
    assert main(["conform", "numpy:conform_example.Lion"]) == 0
    assert json.loads(Path("out/conform-numpy-Lion.json").read_text())["target"]["device"] is None
    main(["conform", "out/conform-numpy-Lion.json"])
    assert "\ndevice" not in capsys.readouterr().out
