"""`sophia-ref profile`: the table adds up, and what it prints fits the terminal."""

import pytest
from PIL import Image

from sophia_ref import profile as module
from sophia_ref.cli import main
from sophia_ref.commands.profile import HEADER, LEGEND, rows
from sophia_ref.profile import PASSES, Part, Profile
from sophia_ref.report import text_table
from toy_problems.transformer import PRESETS


def test_the_table_adds_up():
    parts = [
        Part("linear mlp.in", "forward", 0.004, flops=2_000_000, bytes=500_000),
        Part("linear mlp.in", "backward", 0.005, flops=1_000_000, bytes=4_000_000),
        Part("gelu", "forward", 0.002, bytes=100_000),
        Part("tape", "", 0.001),
    ]
    table = rows(Profile(parts, 0.0125, flop_rate=1e9, byte_rate=1e9))
    assert {tuple(map(str.strip, row[:2])): [cell.strip() for cell in row[2:]] for row in table} == {
        ("linear mlp.in", "forward"): ["4000", "32.0%", "2", "0.5", "2000", "50%"],
        ("", "backward"): ["5000", "40.0%", "1", "4", "4000", "80%"],
        ("gelu", "forward"): ["2000", "16.0%", "", "0.1", "100", "5%"],
        ("tape", ""): ["1000", "8.0%", "", "", "", ""],
        ("not attributed", ""): ["500", "4.0%", "", "", "", ""],
        ("whole step", ""): ["12500", "100.0%", "3", "4.6", "6100", "49%"],
    }


def test_small_and_large_amounts_have_three_figures_and_no_exponent():
    for flops, moved, mflop, megabytes in (
        (493_312, 9_372, "0.493", "0.009"),
        (50_331_648, 2_195_968, "50.3", "2.2"),
        (1_234_567_890_123, 3_296_123_456, "1230000", "3300"),
    ):
        row = rows(Profile([Part("linear", "forward", 1.0, flops, moved)], 1.0, 1e12, 1e9))[0]
        assert [cell.strip() for cell in row[4:6]] == [mflop, megabytes]


def test_every_column_is_explained():
    for name in (*filter(None, map(str.strip, HEADER)), *PASSES):
        assert f"{name}: " in LEGEND, name


def test_table_and_legend_fit_80_columns():
    part = Part("norm_linear attention.in", "forward", 0.5, 50_000_000_000, 12_345_678)
    table = text_table(HEADER, rows(Profile([part], 0.999, 1e11, 1e11)))
    assert max(map(len, (table + "\n" + LEGEND).splitlines())) <= 80


@pytest.mark.parametrize(("output", "picture"), [([], "out/profile.png"), (["--output", "steps.svg"], "steps.svg")])
def test_profile_prints_a_table_and_draws_it(output, picture, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "machine", lambda: (1e11, 1e10))
    assert main(["profile", "--preset", "10k", "--batch-size", "2", "--optimizer", "sophia-h", *output]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert f"sophia-h, a GPT of {PRESETS['10k'].size:,} parameters, 2 x 32 tokens a step" in out
    assert "100 Gflop/s in products of large matrices, 10 GB/s in a large copy" in out
    for name in ("norm_linear attention.in", "gelu", "curvature", "not attributed", "whole step"):
        assert f"\n{name} " in out
    assert out.endswith(f"wrote {picture}\n")
    if picture.endswith(".png"):
        with Image.open(picture) as image:
            assert image.size[0] >= 800
    else:
        assert b"<svg" in (tmp_path / picture).read_bytes()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--preset", "100"], "argument --preset: '100' is not a preset; did you mean '100k'?"),
        (["--optimizer", "newton"], "argument --optimizer: 'newton' is not an optimizer that trains"),
        (["--batch-size", "0"], "argument --batch-size: '0'; expected an integer of at least 1"),
        (["--output", "a.jpg"], "argument --output: 'a.jpg'; expected a folder, or a file .png, .svg, .pdf"),
    ],
)
def test_a_wrong_argument_is_named(argv, said, capsys):
    assert main(["profile", *argv]) == 2
    assert said in capsys.readouterr().err
