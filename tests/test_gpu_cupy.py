"""benchmarks/gpu_cupy.py where there is no CuPy: in the stand-in's arrays, and what it says."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.device_array import Array, outside

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def gpu_cupy(monkeypatch):
    environment = dict(os.environ)  # which side_by_side changes for its own process
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("gpu_cupy")
    os.environ.clear()
    os.environ.update(environment)


def stand_in(back=lambda x: x.get()):
    def moved(x):
        return x if isinstance(x, Array) else outside(np.array(x))

    return SimpleNamespace(name="a stand-in", moved=moved, back=back, wait=lambda: None)


SMALL = "--preset 10k --starts 50 --batch 2 --repetitions 1".split()


def test_every_comparison_is_exact_in_the_stand_in_and_times_are_told(gpu_cupy, tmp_path, capsys):
    path = tmp_path / "cupy.json"
    gpu_cupy.main([*SMALL, "--output", str(path)], stand_in())
    out = capsys.readouterr().out
    results = json.loads(path.read_text())
    assert len(results["checks"]) > 25
    assert {check["off"] for check in results["checks"]} == {0.0}
    assert f"{len(results['checks'])} comparisons with NumPy hold on a stand-in; the worst is 0\n" in out
    assert len(results["seconds"]) == 5
    assert "times as fast" in out


def test_a_device_that_is_wrong_is_found_and_nothing_is_timed(gpu_cupy, tmp_path):
    path = tmp_path / "cupy.json"
    with pytest.raises(SystemExit, match=r"error: \d+ of \d+ comparisons with NumPy failed on a stand-in"):
        gpu_cupy.main([*SMALL, "--output", str(path)], stand_in(lambda x: x.get() * (1 + 1e-8)))
    assert not path.exists()


def test_without_cupy_it_says_so_in_one_line(tmp_path):
    if importlib.util.find_spec("cupy"):
        pytest.skip("CuPy is there")
    done = subprocess.run([sys.executable, BENCHMARKS / "gpu_cupy.py"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: CuPy is needed: pip install ")
    assert done.stderr.count("\n") == 1
