"""The core in the Python of the site, under Node: WebAssembly, another libm, no BLAS of ours, no threads.

core.py is run there and here. Where nothing rounds, and in the vectors, every bit must be the same.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.lite import core
from tests.lite.sites import ROOT, SITES

HERE = Path(__file__).parent


def in_node(script, *words):
    if shutil.which("node") is None:
        pytest.skip("node is not on the PATH; on Debian `apt-get install nodejs` puts it there")
    command = ["node", HERE / "run.mjs", SITES["offline"], HERE / script, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def there():
    return in_node("core.py")


@pytest.fixture(scope="module")
def here():
    return core.measured()


def test_it_is_another_python(there, here):
    assert there["platform"] == "emscripten" != here["platform"]


def test_the_rule_conforms_to_the_recorded_vectors_there_too(there, here):
    passed, failed, verdict = there["conformance"]
    assert (passed, failed) == (here["conformance"][0], 0)
    assert passed > 150
    assert verdict.startswith("conforms: update rule and estimators")


def test_a_product_with_the_hessian_is_the_closed_form(there):
    # f = (1 - x)² + 100 (y - x²)²: H = [[1200 x² - 400 y + 2, -400 x], [-400 x, 200]]
    x, y = -1.2, 1.0
    hessian = np.array([[1200 * x**2 - 400 * y + 2, -400 * x], [-400 * x, 200]])
    np.testing.assert_allclose(there["hvp"], hessian @ [1.0, 2.0], rtol=1e-14)


def test_the_tiny_gpt_has_the_same_loss_gradient_and_curvature(there, here):
    for theirs, ours in zip(there["gpt"], here["gpt"], strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-9, atol=1e-13)


def test_a_race_takes_the_same_path(there, here):
    np.testing.assert_allclose(there["race"], here["race"], rtol=1e-12)


def test_what_runs_on_threads_and_processes_elsewhere_is_done_in_turn(there, here):
    assert there["basins"] == here["basins"]
    assert there["squares"] == [0, 1, 4, 9, 16]


def test_the_text_that_a_tiny_gpt_reads_is_there(there, here):
    assert there["text"] == here["text"]


def test_what_cannot_run_there_says_so(there):
    assert there["torch"].count("\n") == there["video"].count("\n") == 1
    assert "needs torch, which is not installed" in there["torch"]
    assert "needs the program ffmpeg, which is not on the PATH" in there["video"]


@pytest.mark.parametrize(
    "name", ["02_newton_and_its_saddle_trap", "12_does_it_really_work", "13_from_here_to_pytorch_and_jax"]
)
def test_a_notebook_that_needs_threads_or_files_runs_and_prints_what_is_stored(name):
    stored = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in stored if cell["cell_type"] == "code"]
    found = in_node("cells.py", name)
    assert [cell["source"] for cell in found] == [cell["source"] for cell in code]
    assert [cell["error"] for cell in found] == [None] * len(code)
    for cell, now in zip(code, found, strict=True):
        if "volatile" not in cell["metadata"].get("tags", []):
            text = "".join("".join(o["text"]) for o in cell["outputs"] if o.get("name") == "stdout")
            assert text in now["text"]
