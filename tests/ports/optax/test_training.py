"""The example: the tiny GPT in JAX, beside NumPy."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_losses_are_numpys_to_1e_4_over_200_steps_and_in_float64_to_1e_9_over_50(port, tmp_path):
    picture = tmp_path / "losses.png"
    command = [sys.executable, str(ROOT / "examples" / "train_optax.py"), "--output", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("Sophia-")]
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("Sophia-H", "float32", "200"),
        ("Sophia-G", "float32", "200"),
        ("Sophia-H", "float64", "50"),
        ("Sophia-G", "float64", "50"),
    ]
    for row in rows:
        first, last, greatest = float(row[3]), float(row[4]), float(row[6])
        assert last < first - 0.1
        assert greatest <= {"float32": 1e-4, "float64": 1e-9}[row[1]]
    assert picture.read_bytes().startswith(b"\x89PNG")
