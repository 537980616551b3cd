"""The exercises of the notebooks: what is right, and what is said of the errors that people make.

Nothing here asks sophia_ref. A name is the notebook's number and the exercise's.
"""

import numpy as np
from checks import Exercise, choice, close, function, number, numbers, real, same

EXERCISES: dict[str, Exercise] = {}


def exercise(name, judge, right):
    EXERCISES[name] = Exercise(judge, right)


# -- 00 start here -----------------------------------------------------------------------------------------------------

exercise(
    "00.1",
    choice(
        "Newton",
        {
            "GD": "Gradient descent is still on its way: the table says at which kind of point each one ended.",
            "SignGD": "Sign descent bounces around the minimum: the table says at which kind of point each one ended.",
            "Adam": "Adam is near the minimum: the table says at which kind of point each one ended.",
            "Sophia": "Sophia is at the minimum. Look for the word saddle in the table.",
        },
    ),
    "It solves for a point where the gradient vanishes, and a saddle is one.",
)

exercise(
    "00.2",
    numbers(
        [280, 300_001],
        "A step asks for one gradient (cost 1) and for P Hessian-vector products (3 each).",
        {
            (240, 300_000): "You have counted the products alone: a step needs the gradient as well.",
            (120, 100_001): "A Hessian-vector product costs 3 gradients, not 1.",
            (160, 4): "One product gives one column of the Hessian; it takes P of them.",
            (280, 12_000_040): "The first is right. The second asks for one step, not forty.",
        },
        rel=1e-9,
    ),
    "And that is why curvature has to be estimated.",
)


def _clip(clip):
    for z, rho, expected in ((0.3, 1, 0.3), (-0.3, 1, -0.3), (7, 1, 1), (-7, 1, -1), (7, 2.5, 2.5), (-1e12, 0.5, -0.5)):
        if wrong := same(clip(z, rho), expected, f"clip({z:g}, {rho:g})"):
            return wrong
    return None


exercise("00.3", function(_clip), "Whatever comes in, what goes out is at most rho in size.")
