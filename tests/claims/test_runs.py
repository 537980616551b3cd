"""The table of runs: kept, found again, shared; and what a kill costs."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sophia_ref.claims import runs
from sophia_ref.claims.runs import LOST, POINTS, Result, Spec, Table, perform

ROOT = Path(__file__).parents[2]
SETTINGS = (("lr", 0.01), ("1-beta1", 0.1), ("1-beta2", 0.05), ("decay", 0.1))
SPEC = Spec("zipf=1.0", (4, 4, 1, 1), 2, "AdamW", SETTINGS, 10, 0, False)
RESULT = Result(None, (None,) * POINTS, 10.0, 0.5, (0.1, 0.2, 0.3), 0.1, 9)


def spec(i):
    return SPEC._replace(seed=i)


def test_a_result_is_found_again_in_the_file_and_nowhere_else(tmp_path):
    table = Table(tmp_path / "folder" / "runs.jsonl")
    table.add(spec(0), RESULT)
    again = Table(table.path)
    assert again[spec(0)] == RESULT
    assert (again[spec(0)].diverged, len(again)) == (True, 1)
    assert again.missing([spec(1), spec(0), spec(1), spec(2)]) == [spec(1), spec(2)]
    with pytest.raises(KeyError):
        again[spec(1)]


@pytest.mark.parametrize(
    "change",
    [
        {"task": "zipf=0.0"}, {"model": (4, 8, 1, 1)}, {"batch": 3}, {"method": "Lion"}, {"steps": 11}, {"seed": 1},
        {"tuning": True}, {"settings": (("lr", 0.010000001), *SETTINGS[1:])},
    ],
)  # fmt: skip
def test_anything_about_a_run_makes_it_another(change):
    assert SPEC._replace(**change).key != SPEC.key


def test_a_change_of_the_code_or_of_the_text_makes_all_runs_anew(monkeypatch):
    key, text = SPEC.key, SPEC._replace(task="text").key
    monkeypatch.setattr(runs, "fingerprint", lambda task: "another" if task == "text" else "")
    assert (SPEC.key == key, SPEC._replace(task="text").key == text) == (True, False)
    monkeypatch.setattr(runs, "SEMANTICS", runs.SEMANTICS + 1)
    assert SPEC.key != key


def test_a_line_that_was_being_written_is_dropped_and_the_next_is_sound(tmp_path):
    table = Table(tmp_path / "runs.jsonl")
    for i in range(3):
        table.add(spec(i), RESULT)
    whole = table.path.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1])):
        table.path.write_bytes(whole[:-cut])
        again = Table(table.path)
        assert len(again) == 2
        again.add(spec(2), RESULT)
        assert table.path.read_bytes() == whole


@pytest.mark.parametrize("line", ["nonsense", '{"key": "a"}', '{"key": "a", "result": [1, 2]}', "[]"])
def test_a_file_that_is_no_table_is_refused_with_its_line(tmp_path, line):
    table = Table(tmp_path / "runs.jsonl")
    table.add(spec(0), RESULT)
    with open(table.path, "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 2: not a run"):
        Table(table.path)


def test_runs_that_are_there_are_not_made_again_and_none_is_made_twice(tmp_path):
    made = []

    def work(spec):
        made.append(spec)
        return RESULT

    table = Table(tmp_path / "runs.jsonl")
    with ThreadPoolExecutor(2) as pool:
        table.fill([spec(i % 4) for i in range(12)], pool, work=work)
        table.fill([spec(i) for i in range(6)], pool, work=work)
    assert sorted(spec.seed for spec in made) == [0, 1, 2, 3, 4, 5]


def test_what_is_done_before_an_error_is_kept(tmp_path):
    def work(given):
        if given.seed == 3:
            raise RuntimeError("a run failed")
        return RESULT

    table = Table(tmp_path / "runs.jsonl")
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="a run failed"):
        table.fill([spec(i) for i in range(40)], pool, work=work)
    kept = Table(table.path)
    assert 0 < len(kept) == len(table) < 40
    assert spec(3) not in kept


KILLED = """
    import sys, time
    from concurrent.futures import ThreadPoolExecutor
    from sophia_ref.claims.runs import POINTS, Result, Spec, Table

    def work(spec):
        time.sleep(0.02)
        return Result(spec.seed / 100, (None,) * POINTS, 1.0, 0.0, (1.0, 1.0, 1.0), 0.0, None)

    with ThreadPoolExecutor(2) as pool:
        specs = [Spec("zipf=1.0", (4, 4, 1, 1), 2, "AdamW", (), 10, i, False) for i in range(60)]
        Table(sys.argv[1]).fill(specs, pool, work=work)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_study_that_is_killed_again_and_again_comes_to_its_end_with_every_run_right(tmp_path):
    path, script = tmp_path / "runs.jsonl", tmp_path / "study.py"
    script.write_text(textwrap.dedent(KILLED), encoding="utf-8")
    counts = []
    for _ in range(20):
        process = subprocess.Popen([sys.executable, script, path], env=os.environ | {"PYTHONPATH": str(ROOT)})
        before = len(path.read_bytes().splitlines()) if path.exists() else 0
        end = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < end:
            if path.exists() and len(path.read_bytes().splitlines()) >= before + 15:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        ended = process.wait()
        counts.append(len(Table(path)))
        if ended == 0:
            break
    assert ended == 0
    assert sorted(counts) == counts  # nothing is lost
    assert len(counts) > 2
    table = Table(path)
    found = {i: table[Spec("zipf=1.0", (4, 4, 1, 1), 2, "AdamW", (), 10, i, False)].loss for i in range(60)}
    assert found == {i: i / 100 for i in range(60)}
    lines = [json.loads(line)["key"] for line in path.read_bytes().splitlines()]
    assert len(lines) == len(set(lines)) == 60


def test_a_run_is_the_same_whoever_makes_it():
    first, again = perform(SPEC), perform(SPEC)
    assert first._replace(seconds=0) == again._replace(seconds=0)
    assert first.loss == first.final > 0
    assert (first.cost, first.diverged_at) == (10.0, None)
    assert perform(SPEC._replace(seed=1)).loss != first.loss != perform(SPEC._replace(tuning=True)).loss


def test_a_run_that_diverges_counts_as_lost_and_says_when():
    broken = (("lr", 1e4), ("1-beta1", 0.1), ("1-beta2", 0.05), ("decay", 1.0))
    found = perform(SPEC._replace(settings=broken, steps=40))
    assert found.diverged
    assert (found.loss, found.final) == (LOST, None)
    assert found.diverged_at < 40
    json.dumps(found, allow_nan=False)


def test_a_loss_beyond_all_measure_counts_as_lost_too():
    far = RESULT._replace(final=1e12)
    assert (far.loss, far.diverged) == (LOST, False)


def test_every_run_of_a_schedule_is_looked_at_even_if_it_is_shorter_than_its_points():
    found = perform(SPEC._replace(steps=3))
    assert found.loss < LOST
    assert len(found.unclipped) == POINTS
