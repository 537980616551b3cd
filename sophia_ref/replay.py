"""What a rule computed on the way: a run holds thetas and losses, and its intermediates are found by running it again.

A run is repeatable to the bit, so nothing has to be kept in case somebody wants to look at it later.
"""

from typing import Any

import numpy as np

from sophia_ref.run import Run, run

Array = Any


def replay(done: Run) -> dict[str, Array]:
    """Every intermediate of the steps of a run by its name in the paper, in the rule's order: name -> (steps, ...).

    Entry i belongs to step i + 1, which led from theta_i to theta_{i+1}; a step that diverged has none. What not every
    step has, such as h_hat, is NaN in the others.

    >>> import numpy as np, sophia_ref as sr
    >>> done = sr.run(lambda theta: (theta**2).sum(-1), sr.GradientDescent(0.25), 2, np.array([1.0, 4.0]))
    >>> replay(done)["g"].tolist()
    [[2.0, 8.0], [1.0, 4.0]]

    Raises TypeError for what is not a Run, ValueError for one without a trajectory, whose start is not known, and for
    one that does not repeat: gradients clipped by norm, a loss with a memory of its own.
    """
    if not isinstance(done, Run):
        raise TypeError(f"done: {done!r}; expected a Run, as sophia_ref.run returns it")
    if done.trajectory is None:
        raise ValueError("done.trajectory: None; expected a path, which run keeps with trajectory=True")
    if np.any(done.clipped_steps):
        raise ValueError(f"done.clipped_steps: {done.clipped_steps}; expected 0, as a Run does not know its clip_norm")
    start, steps = done.trajectory[0], int(done.steps[-1])
    kept: list[dict[str, Array]] = []
    again = run(
        done.problem, done.optimizer, steps, start, done.seed, max(steps, 1), trajectory=False, block=done.block,
        callback=lambda t, step, oracle: kept.append(step.terms),
    )  # fmt: skip
    if not all(map(np.array_equal, (done.theta, *done.state), (again.theta, *again.state))):
        raise ValueError(
            f"done: a repetition of its {steps} steps ended at {again.theta} with {again.state}, not at {done.theta} "
            f"with {done.state}; expected a run that problem, optimizer and seed repeat"
        )
    first = kept[0] if kept else {}
    missing = {name: np.full_like(array, np.nan) for name, array in first.items() if array.dtype.kind == "f"}
    return {name: np.array([terms.get(name, missing.get(name)) for terms in kept]) for name in first}
