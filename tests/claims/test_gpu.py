"""What the page of claims says of runs on a GPU."""

import pytest

from sophia_ref.claims import gpu, half_the_steps
from sophia_ref.claims.conduct import render
from sophia_ref.claims.runs import POINTS, FolderError, Result, Table
from sophia_ref.claims.tuning import Arm, shown


def test_without_a_run_the_page_says_which_command_makes_one(tmp_path):
    (tmp_path / "claims").mkdir()
    page = render(tmp_path / "claims").read_text()
    assert gpu.TITLE in page
    assert (
        "as no GPU was to be had; on one, `python benchmarks/gpu_claims.py --text FILE --output FOLDER` makes it"
        in page
    )


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"machine": "x"}'])
def test_a_file_of_something_else_is_named(tmp_path, content):
    (tmp_path / "gpu.json").write_text(content)
    with pytest.raises(FolderError, match=r"gpu\.json: not what gpu_claims\.py leaves .*; remove the file"):
        gpu.section(tmp_path)


@pytest.mark.parametrize(
    ("behind", "seconds", "said"),
    [
        (0.0005, 1.05, "**Reproduced.** (12 of 12 as claimed, 0 not, 0 open.)"),  # within the margin of half the steps
        (0.02, 1.05, "**Not reproduced at this scale.** (0 of 12 as claimed, 12 not, 0 open.)"),
        (0.0, 1.5, "**Partly.** (6 of 12 as claimed, 6 not, 0 open.)"),  # half the steps, not half the time
    ],
)
def test_the_page_judges_a_size_as_claim_1_does(tmp_path, behind, seconds, said):
    """Sophia's loss after T steps is `behind` above AdamW's after 2T, its step takes `seconds`, AdamW's 1."""
    table, lengths, seeds = Table(), (500, 2000, 8000), (0, 1, 2)

    def result(method, steps):
        value = 8 / steps**0.5 if method == "AdamW" else 8 / (2 * steps) ** 0.5 + behind
        slower = 1.0 if method == "AdamW" else seconds
        return Result(value, (None,) * POINTS, 1.0, 0.0, (1.0,) * 3, slower * steps, None)

    arms = [
        Arm("bytes", (256, 4, 1, 1), 64, method, steps, 2)
        for method in ("AdamW", "Signum", "SophiaH", "SophiaG")
        for steps in (half_the_steps.adamw_lengths(lengths) if method == "AdamW" else lengths)
    ]
    for arm in arms:
        for spec in arm.tuning():
            table.add(spec, result(arm.method, arm.steps))
    for arm in arms:
        for spec in shown(table, arm, seeds):
            table.add(spec, result(arm.method, arm.steps))
    numbers = half_the_steps.compared(table, arms, lengths, seeds)
    step = {"ms": 1.0, "low": 0.9, "high": 1.1, "peak_bytes": None}
    size = {"parameters": 3_000_000, "batch": 64, "context": 256, "numbers": numbers, "steps": {"AdamW": step}}
    text = {"name": "a text", "bytes": 9, "sha256": "0" * 64}
    entry = {"machine": "a GPU", "precision": "float32", "text": text, "seeds": seeds, "trials": 2, "quick": False}
    gpu.keep(tmp_path, {**entry, "sizes": {"3m": size}})
    page = gpu.section(tmp_path)
    assert said in page
    assert "comes to AdamW's loss, within 0.01 nats, in" in page
    assert "3,000,000 parameters, 16,384 tokens a step, T = 500, 2000, 8000 steps" in page
    assert "30,000" not in page
