"""The benchmarks that are made for a GPU, run small on a CPU: every line of theirs but those of a GPU."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"

if os.environ.get("SOPHIA_REF_PORTS") == "required":
    importlib.import_module("torch")


@pytest.fixture
def benchmark(monkeypatch):
    """A script of benchmarks/, imported."""
    pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
    environment = dict(os.environ)  # which side_by_side changes for its own process
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def script(tmp_path):
    """Runs a script of benchmarks/ in a folder of its own: (exit code, what it printed, its errors)."""
    pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")

    def run(name, *arguments, **environment):
        done = subprocess.run(
            [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | environment,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def no_gpu():
    import torch

    return not torch.cuda.is_available()
