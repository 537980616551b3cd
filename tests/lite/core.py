"""What test_python.py compares: run here, and in the Python of the site, it prints the same numbers as JSON."""

import contextlib
import io
import json
import sys

import numpy as np

import sophia_ref as sr
from sophia_ref.basins import basins
from sophia_ref.conformance import examine
from sophia_ref.study import processes, run_all
from toy_problems.landscapes import REGISTRY
from toy_problems.text import Text, language_reference
from toy_problems.transformer import LanguageTask, TinyGPT


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def tiny_gpt():
    """(its loss on one batch as a function of theta, theta, a direction), in float64."""
    task = LanguageTask(TinyGPT(40, 16, 16, 2, 1), Text("the quick brown fox jumps over the lazy dog. " * 30), 4)
    theta = task.model.init(np.random.default_rng(0), np.float64)
    batch = task.batch(np.random.default_rng(1), ())
    return lambda theta: task.loss(theta, batch), theta, np.random.default_rng(2).standard_normal(len(theta))


def said(*words):
    """What a command of sophia-ref writes to stderr."""
    from sophia_ref.cli import main

    with contextlib.redirect_stderr(io.StringIO()) as text, contextlib.redirect_stdout(io.StringIO()):
        with contextlib.suppress(SystemExit):
            main([str(word) for word in words])
    return text.getvalue()


def measured():
    report = examine("numpy:sophia_ref.Sophia", ["paper-H"])
    loss, theta, v = tiny_gpt()
    fig2 = REGISTRY["sophia_fig2"]
    race = sr.run(fig2, sr.SophiaH(0.3), 20)
    ends = basins(fig2, sr.Newton(1.0), (12, 9), steps=40)
    with processes(2) as pool:
        squares = run_all(pow, [(i, 2) for i in range(5)], pool)
    return {
        "platform": sys.platform,
        "conformance": [len(report.passed), len(report.failed), report.verdict("paper-H")],
        "hvp": sr.hvp(rosenbrock, np.array([-1.2, 1.0]), np.array([1.0, 2.0])).tolist(),
        "gpt": [float(loss(theta)), sr.grad(loss)(theta).tolist(), sr.hvp(loss, theta, v).tolist()],
        "race": race.trajectory.tolist(),
        "basins": ends.end.tolist(),
        "squares": squares,
        "text": language_reference(),
        "torch": said("conform", "torch:my_package.Sophia"),
        "video": said("race", "sophia_fig2", "--video", "--steps", 2),
    }


if __name__ == "__main__":
    print(json.dumps(measured()))
