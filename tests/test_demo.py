"""The demo: what its report says is what its runs did."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sophia_ref as sr
from sophia_ref import comparison, demo
from sophia_ref.commands.race import row
from sophia_ref.plots import style_of
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
        "race.png", "race-dark.png", "race.gif", "race-dark.gif",
        "training.png", "training-dark.png", "training.csv", "report.html",
    }  # fmt: skip
    assert (folder / "race.gif").stat().st_size < 300_000
    with Image.open(folder / "race.gif") as gif:
        assert gif.n_frames > 20


def test_the_report_stands_alone_and_says_that_it_was_quick(made):
    page = (made[0] / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href|srcset)="(?!data:)', page)
    assert page.count("data:image/png") == 4
    assert page.count("data:image/gif") == 2
    assert "too small to conclude anything" in page


def test_the_validation_losses_of_the_table_are_those_of_the_csv(made):
    folder, said = made
    with (folder / "training.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for method in comparison.SPACES:
        last = [
            float(row["validation_loss"])
            for row in rows
            if row["method"] == method and row["step"] == row["steps_in_all"] == str(comparison.QUICK.steps)
        ]
        assert len(last) == len(comparison.QUICK.seeds)
        assert re.search(
            rf"^{comparison.LABELS[method]} .* {np.mean(last):.3f} ± {np.ptp(last) / 2:.3f}", said, re.MULTILINE
        )


def test_prices_that_are_counted_stand_beside_those_that_were_measured(made):
    page = (made[0] / "report.html").read_text(encoding="utf-8")
    for question, counted in demo.COUNTED.items():
        measured = float(re.search(rf"<td>{question}</td><td>{counted:.3g}</td><td>(.*?)</td>", page).group(1))
        assert counted / 5 < measured < 5 * counted


def test_every_method_was_tried_equally_often_and_on_no_shown_seed(made):
    page = (made[0] / "report.html").read_text(encoding="utf-8").split("Every trial")[1]
    assert {page.count(f"<td>{label}</td>") for label in comparison.LABELS.values()} == {comparison.QUICK.trials}
    assert {len(space) for space in comparison.SPACES.values()} == {2}
    assert comparison.TUNING_SEED not in comparison.SHOWN_SEEDS


def test_the_report_says_on_what_text_its_trials_were_judged_and_that_half_runs_keep_their_settings(made):
    page = (made[0] / "report.html").read_text(encoding="utf-8")
    before_trials = page.split("Every trial")[1].split("<table>")[0]
    assert f"seed {comparison.TUNING_SEED}" in before_trials
    assert "not to be compared with the losses above" in before_trials
    assert "with the same settings and its own full schedule" in page


def test_what_others_found_has_a_source(made):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for text in ((made[0] / "report.html").read_text(encoding="utf-8"), readme):
        assert "2509.02046" in text
        assert "ndependent stud" not in text  # three of its four authors wrote the Sophia paper too


def test_labels_are_those_of_the_pictures():
    assert {method: style_of(method)["label"] for method in comparison.SPACES} == comparison.LABELS


def test_the_race_ends_where_its_words_say():
    landscape = REGISTRY["sophia_fig2"]
    where = {type(o).__name__: row(landscape, "", sr.run(landscape, o, demo.RACE_STEPS))[-1] for o in demo.RACERS}
    assert where["Newton"] == "saddle"
    assert where["Sophia"] == "global minimum"
    assert "from a minimum" in where["GradientDescent"]
    assert "from a minimum" in where["SignGD"]


def test_the_races_verdict_follows_from_its_table(made):
    rows = [
        ("GD", "0.1", "50", "50", "", "", "0.2 from a minimum"),
        ("Adam", "0.1", "31", "31", "", "", "global minimum"),
        ("Newton", "0.1", "9", "63", "", "", "saddle"),
        ("Sophia", "0.1", "12", "84", "", "", "global minimum"),
    ]
    assert demo.race_verdict(rows) == (
        "At the global minimum within 50 steps: Adam (31 steps, cost 31), Sophia (12 steps, cost 84). "
        "Elsewhere: GD (50 steps, cost 50): 0.2 from a minimum; Newton (9 steps, cost 63): saddle."
    )
    assert "steps: nobody. Elsewhere" in demo.race_verdict(rows[:1])
    page = (made[0] / "report.html").read_text(encoding="utf-8")
    assert re.search(r'class="verdict">At the global minimum within 50 steps: .*Sophia \(\d+ steps, cost', page)


def test_tuning_reads_other_held_out_text_than_what_is_shown(monkeypatch):
    task, seen = comparison.language_task(), []
    windows = np.arange(len(task.validation_batches))
    assert not set(windows[comparison.TUNED_ON]) & set(windows[comparison.SHOWN_ON])
    assert abs(len(windows[comparison.TUNED_ON]) - len(windows[comparison.SHOWN_ON])) <= 1
    monkeypatch.setattr(type(task), "validation_loss", lambda self, theta, batches: seen.append(batches) or 1.0)
    settings = {"lr": 1e-3, "beta2": 0.95}
    comparison.final_loss(1, "AdamW", settings)
    comparison.train("AdamW", settings, steps=1, seed=0, points=1)
    for batches, part in zip(seen, (comparison.TUNED_ON, comparison.SHOWN_ON), strict=True):
        assert [id(b) for b in batches] == [id(b) for b in task.validation_batches[part]]


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
    text = comparison.verdict("SophiaH", full, half, adamw=[1.9, 2.1])
    assert f"in half the steps: {outcome}." in text
    with_half, with_as_many = text.split("; with as many,")
    assert words[0] in with_half
    assert words[1] in with_as_many


def test_a_run_that_diverges_scores_nan(monkeypatch):
    blow_up = sr.GradientDescent(1e30)
    monkeypatch.setattr(comparison, "make_optimizer", lambda method, settings, steps: blow_up)
    curve = comparison.train("AdamW", {}, steps=3, seed=0, points=1)
    assert math.isnan(curve.validation[-1])


def test_curvature_is_estimated_on_the_papers_share_of_a_batch():
    settings = {"lr": 1e-3, "gamma": 0.01, "beta2": 0.95}
    cost = {m: comparison.train(m, settings, steps=10, seed=0, points=1).cost[-1] for m in comparison.SPACES}
    assert cost == pytest.approx({"AdamW": 10, "SophiaH": 10 + 3 / 16, "SophiaG": 10 + 1 / 2})
