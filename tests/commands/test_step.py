"""The inspector in the terminal: lines go in, pages come out."""

import io
import os
import re
import signal
import subprocess
import sys
import time
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest

import sophia_ref as sr
from sophia_ref.cli import main
from sophia_ref.commands.step import optimizer
from sophia_ref.settings import TOYS, toy
from toy_problems.landscapes import REGISTRY

COMMAND = [sys.executable, "-m", "sophia_ref"]
FIG2 = REGISTRY["sophia_fig2"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


@pytest.fixture
def step(monkeypatch, capsys):
    """A function (typed, arguments) -> (exit code, what was printed)."""

    def step(typed, *arguments):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = main(["step", *arguments])
        captured = capsys.readouterr()
        assert captured.err == ""
        return code, captured.out

    return step


def where(out):
    """Where each answer stands: the step's number, "start", or the first word of something else."""
    return [re.match(r"(?:step )?(\w+)", title)[1] for title in re.findall(r"^(?:step \d+|start):", out, re.MULTILINE)]


@pytest.mark.parametrize(
    ("typed", "steps"),
    [
        ("n\nn\nq\n", "1 2"),
        ("n\nn", "1 2"),  # the end of input is the end
        ("\n\n\n", "1 2 3"),
        ("7\nb\nb 3\nb99\n", "7 6 3 start"),
        ("n 4\nJ 25\nj2\nr\nq\nn\n", "4 25 2 start"),
        ("  n   2 \n", "2"),
    ],
)
def test_lines_move_it(step, typed, steps):
    code, out = step(typed, "sophia_fig2")
    assert code == 0
    assert where(out)[1:] == steps.split()


def test_c_and_u_go_on_to_where_a_coordinate_is_clipped_or_not(step):
    clipped = {}
    sr.run(FIG2, toy(FIG2, "sophia"), 40, callback=lambda t, step, oracle: clipped.update({t: step.terms["clipped"]}))
    at, expected = 0, []
    wanted = [lambda x, y: x or y, lambda x, y: x or y, lambda x, y: not (x and y), lambda x, y: not y]
    for holds in wanted:
        at = next(t for t in range(at + 1, 41) if holds(*clipped[t]))
        expected.append(str(at))
    _, out = step("c\nc\nu\nu y\n", "sophia_fig2")
    assert where(out)[1:] == expected
    assert len(set(expected)) == 4


def test_what_is_printed_is_the_inspector(step):
    _, out = step("n\n3\nb\n", "sophia_fig2", "--optimizer", "sophia-h", "--noise", "0.5", "--seed", "3")
    inspector = sr.Inspector(FIG2.noisy(0.25), toy(FIG2, "sophia-h"), seed=3)
    pages = [inspector.lines(), inspector.forward().lines(), inspector.forward(3).lines(), inspector.back().lines()]
    assert (
        out
        == FIG2.title
        + "; h lists what to type\n\n"
        + "\n\n".join("\n".join(line for _, line in page) for page in pages)
        + "\n"
    )


def test_unknown_commands_are_answered_with_help_and_it_goes_on(step):
    code, out = step("frobnicate\nx y z\nn 0\n\x1b[A\nj\nh\nn\n", "booth")
    assert code == 0
    assert out.count("is not a command") == 5
    assert out.count("the next step") == 6
    assert where(out)[1:] == ["1"]


def test_steps_are_printed_without_being_asked_for(step):
    code, out = step("should not be read", "booth", "--optimizer", "newton", "--steps", "3")
    assert code == 0
    assert where(out) == ["start", "1", "2", "3"]


def test_a_step_that_diverges_is_one_line_and_back_still_works(step):
    code, out = step("j 50\nn\nb\n", "rosenbrock", "--optimizer", "gd", "--lr", "1")
    assert code == 0
    diverged = sr.run(REGISTRY["rosenbrock"], sr.GradientDescent(1.0), 50).diverged_at
    said = [line for line in out.splitlines() if "diverges" in line]
    assert len(said) == 2
    for line in said:
        assert re.fullmatch(
            rf"step {diverged} diverges: GradientDescent: grad must be finite, got grad\[0\] = \S+; "
            rf"this is step {diverged - 1}",
            line,
        )
    assert where(out)[-1] == str(diverged - 2)


def test_printing_steps_ends_with_the_one_that_diverges(step):
    code, out = step("", "rosenbrock", "--optimizer", "gd", "--lr", "1", "--steps", "50")
    assert code == 0
    assert out.count("diverges") == 1
    assert "diverges" in out.splitlines()[-1]


def test_a_rule_that_does_not_clip_says_so(step):
    _, out = step("n\nc\nn\n", "booth", "--optimizer", "adam")
    assert "Adam does not clip; this is step 1" in out
    assert where(out)[1:] == ["1", "2"]


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_are_those_of_race_but_for_what_is_given(step):
    given = ["--lr", "0.5", "--gamma", "0.2", "--beta1", "0.8", "--beta2", "0.7", "--clip", "inf", "--every", "3"]
    _, out = step("", "sophia_fig2", *given, "--start", "1", "-2")
    assert "  x = 1, y = -2\n" in out
    told = " ".join(out.split())
    assert "lr η = 0.5, beta1 β₁ = 0.8, beta2 β₂ = 0.7, gamma γ = 0.2, clip ρ = ∞" in told
    assert "every k = 3, estimator = exact_diagonal" in told
    for name in TOYS:
        assert optimizer(FIG2, name, dict.fromkeys(["lr", "gamma", "clip"])) == toy(FIG2, name)
    assert optimizer(FIG2, "sophia", {"lr": 0.5}).gamma == 0.5  # as in a race
    assert optimizer(FIG2, "sophia", {"lr": 0.5, "gamma": 0.1}).gamma == 0.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "'nowhere' is not a problem"),
        (["booth", "--optimizer", "sophi"], "did you mean 'sophia'?"),
        (["booth", "--optimizer", "sophia-g"], "'sophia-g' is not an optimizer that races"),
        (["booth", "--optimizer", "adam", "--gamma", "2"], "argument --gamma: 2; expected none, as adam has no gamma"),
        (["booth", "--optimizer", "gd", "--every", "2"], "argument --every: 2; expected none, as gd has no every"),
        (["booth", "--beta1", "1"], "argument --beta1: '1'; expected a number in [0, 1)"),
        (["booth", "--clip", "0"], "argument --clip: '0'; expected a number > 0, or inf"),
        (["booth", "--clip", "nan"], "argument --clip: 'nan'; expected a number > 0, or inf"),
        (["booth", "--steps", "0"], "argument --steps: '0'; expected an integer of at least 1"),
        (["booth", "--start", "1e9", "0"], "argument --start: x = 1e+09; expected"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(arguments, said, capsys):
    assert main(["step", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


# -- the terminal ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
def test_everything_fits_80_columns(step, name):
    for problem in ("sophia_fig2", "goldstein_price"):
        _, out = step("h\nwhat\n" + "n\n" * 12, problem, "--optimizer", name, "--noise", "0.3")
        for line in out.splitlines():
            assert len([letter for letter in line if not unicodedata.combining(letter)]) <= 80, line


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("name", TOYS)
def test_letters_that_the_output_cannot_hold_are_spelled(monkeypatch, name, encoding):
    output = io.TextIOWrapper(io.BytesIO(), encoding)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", output)
        assert main(["step", "sophia_fig2", "--optimizer", name, "--steps", "3"]) == 0
    shown = output.buffer.getvalue()
    assert shown.isascii()
    assert b"?" not in shown
    if name == "lion":
        assert b"update = sign(c) + lambda*x" in shown


def test_no_color_where_the_output_is_not_a_terminal(step):
    assert "\x1b" not in step("n\n", "booth")[1]


def at_a_terminal(terminal, typed, *arguments, **environment):
    """(exit code, what the terminal showed) when these lines are typed one after another; "^C" and "^D" are keys."""
    ours, theirs = terminal()
    process = subprocess.Popen(
        [*COMMAND, "step", "booth", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", **environment},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    shown = ""

    def read_until(text, times):
        nonlocal shown
        end = time.monotonic() + 30
        while shown.count(text) < times and time.monotonic() < end:
            shown += os.read(ours, 65536).decode()

    for number, line in enumerate(typed, 1):
        read_until("> ", number)
        if line == "^C":
            interrupt(process)
        else:
            os.write(ours, b"\x04" if line == "^D" else line.encode() + b"\n")
    code = process.wait(30)
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # Linux: nobody holds the other end any more
            break
        if not more:
            break
        shown += more.decode()
    os.close(ours)
    return code, shown


def interrupt(process):
    """Again and again: one that comes just before Python waits for a line is seen with the next."""
    for _ in range(30):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
            return


def test_at_a_terminal_there_is_a_prompt_and_color(terminal):
    code, shown = at_a_terminal(terminal, ["", "b", "q"])
    assert code == 0
    assert re.findall(r"step (\d+)> ", shown) == ["0", "1", "0"]
    assert "\x1b[1mstep 1: loss" in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_color_can_be_declined(terminal, environment):
    _, shown = at_a_terminal(terminal, ["n", "q"], **environment)
    assert "step 1: loss" in shown
    assert not re.search(r"\x1b\[\d+m", shown)


def test_control_d_ends_it_well_and_control_c_with_130(terminal):
    assert at_a_terminal(terminal, ["n", "^D"])[0] == 0
    code, shown = at_a_terminal(terminal, ["n", "^C"])
    assert code == 130
    assert "sophia-ref: interrupted" in shown
    assert "Traceback" not in shown
