"""The demo: what its report says is what its runs did."""

import csv
import math
import re

import numpy as np
import pytest
from PIL import Image

import sophia_ref as sr
from sophia_ref import demo
from toy_problems.landscapes import REGISTRY


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The quick demo, once: its folder and what it said."""
    folder, said = tmp_path_factory.mktemp("demo"), []
    report = demo.demo(folder, quick=True, say=said.append)
    assert report == folder / "report.html"
    return folder, "\n".join(said)


def test_everything_is_written_and_nothing_is_left_over(made):
    folder, _ = made
    assert {p.name for p in folder.iterdir()} == {
        "race.png", "race-dark.png", "race.gif", "training.png", "training-dark.png", "training.csv", "report.html",
    }  # fmt: skip
    assert (folder / "race.gif").stat().st_size < 300_000
    with Image.open(folder / "race.gif") as gif:
        assert gif.n_frames > 20


def test_the_report_stands_alone_and_says_that_it_was_quick(made):
    page = (made[0] / "report.html").read_text()
    assert not re.search(r'(src|href|srcset)="(?!data:)', page)
    assert page.count("data:image/png") == 4
    assert page.count("data:image/gif") == 1
    assert "too small to conclude anything" in page


def test_the_validation_losses_of_the_table_are_those_of_the_csv(made):
    folder, said = made
    with (folder / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    for method in demo.SPACES:
        last = [
            float(row["validation loss"])
            for row in rows
            if row["method"] == method and row["step"] == row["steps in all"] == str(demo.QUICK.steps)
        ]
        assert len(last) == len(demo.QUICK.seeds)
        assert re.search(rf"^{method} .* {np.mean(last):.3f} ± {np.ptp(last) / 2:.3f}", said, re.MULTILINE)


def test_every_method_was_tried_equally_often_and_on_no_shown_seed(made):
    page = (made[0] / "report.html").read_text().split("Every trial")[1]
    assert {page.count(f"<td>{method}</td>") for method in demo.SPACES} == {demo.QUICK.trials}
    assert {len(space) for space in demo.SPACES.values()} == {2}
    assert demo.TUNING_SEED not in demo.SHOWN_SEEDS


def test_the_race_ends_where_its_words_say():
    rows = {row[0]: row for row in (demo.race_row(sr.run(REGISTRY["sophia_fig2"], o, 50)) for o in demo.RACERS)}
    assert rows["Newton"][3:] == ("(0.000, 4.000)", "8", "saddle")
    assert rows["Sophia"][3] == "(1.000, 4.000)"
    assert rows["Sophia"][5] == "global minimum"
    assert {rows[name][5] for name in ("GradientDescent", "SignGD")} == {"no critical point"}


def test_a_race_row_counts_until_the_run_has_arrived_for_good():
    # Newton with lr = 1/2 halves its distance to the quadratic's minimum in every step
    bowl = REGISTRY["booth"]
    start = bowl.minima[0] + np.array([0.4, 0.0])
    row = demo.race_row(sr.run(bowl, sr.Newton(0.5), 10, theta0=start))
    assert row[1:3] == ("4 steps", "28")  # 0.4 / 2^4 = 0.025 < 0.05; a gradient and a 2 x 2 Hessian are 1 + 6
    row = demo.race_row(sr.run(bowl, sr.Newton(0.5), 10, theta0=bowl.minima[0]))
    assert row[1:3] == ("0 steps", "0")


def test_a_race_row_says_when_a_run_diverged():
    row = demo.race_row(sr.run(REGISTRY["sophia_fig2"], sr.GradientDescent(1.0), 50))
    assert row[1].startswith("diverged in step")


@pytest.mark.parametrize(
    ("full", "half", "outcome", "words"),
    [
        ([1.0, 1.2], [1.5, 1.6], "reproduced here", ("0.450 lower than", "0.900 lower than")),
        ([2.0, 2.1], [1.95, 2.3], "neither reproduced nor refuted here", ("overlap", "overlap")),
        ([2.2, 2.3], [2.5, 2.7], "not reproduced here", ("0.600 higher than", "0.250 higher than")),
        ([2.0, 2.1], [math.nan, 1.0], "neither reproduced nor refuted here", ("overlap", "overlap")),
        ([math.nan, math.nan], [math.nan, math.nan], "not reproduced here", ("inf higher", "inf higher")),
    ],
)
def test_a_verdict_follows_from_the_ranges_over_seeds(full, half, outcome, words):
    text = demo.verdict("SophiaX", full, half, adamw=[1.9, 2.1])
    assert f"in half the steps: {outcome}." in text
    with_half, with_as_many = text.split("; with as many,")
    assert words[0] in with_half
    assert words[1] in with_as_many


def test_a_run_that_diverges_scores_nan(monkeypatch):
    blow_up = sr.GradientDescent(1e30)
    monkeypatch.setattr(demo, "make_optimizer", lambda method, settings, steps: blow_up)
    curve = demo.train("AdamW", {}, steps=3, seed=0, points=1)
    assert math.isnan(curve.validation[-1])


def test_curvature_is_estimated_on_the_papers_share_of_a_batch():
    settings = {"lr": 1e-3, "gamma": 0.01, "beta2": 0.95}
    cost = {m: demo.train(m, settings, steps=10, seed=0, points=1).cost[-1] for m in demo.SPACES}
    assert cost == pytest.approx({"AdamW": 10, "SophiaH": 10 + 3 / 16, "SophiaG": 10 + 1 / 2})
