"""What the examples that train beside NumPy must say, whichever library they train in."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def assert_losses_are_numpys(library, folder):
    """Run examples/train_LIBRARY.py in a folder: 1e-4 over 200 steps in float32, 1e-9 over 50 in float64."""
    picture = folder / "losses.png"
    command = [sys.executable, str(EXAMPLES / f"train_{library}.py"), "--output", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), cwd=folder)
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
        assert last < first - 0.1  # it has learnt something
        assert greatest <= {"float32": 1e-4, "float64": 1e-9}[row[1]]
    assert picture.read_bytes().startswith(b"\x89PNG")
