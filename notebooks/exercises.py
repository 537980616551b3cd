"""The exercises of the notebooks: what is right, and what is said of the errors that people make.

Nothing here asks sophia_ref. A name is the notebook's number and the exercise's.
"""

import numpy as np
from checks import Exercise, choice, function, number, numbers, same

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


# -- 06 Sophia step by step --------------------------------------------------------------------------------------------

exercise(
    "06.1",
    number(
        -0.03,
        "First the ratio m / (gamma h), then the clip, then minus the learning rate times that.",
        {
            0.3: "That is the ratio. It still has to be multiplied by minus the learning rate.",
            -0.3: "That is minus the ratio. It still has to be multiplied by the learning rate.",
            -0.1: "That would be a clipped step. Is |m| really larger than gamma h?",
            -0.015: "You have divided by h, without gamma.",
            0.03: "The size is right. A positive gradient means that the loss grows with theta: which way is down?",
        },
    ),
    "Within the limits it is Newton's step, with learning rate lr / gamma.",
)

exercise(
    "06.2",
    number(
        0.25,
        "A coordinate is not changed if |m| / (gamma h) is at most 1.",
        {
            4: "That is h. Solve m / (gamma h) = 1 for gamma.",
            1: "For gamma = 1 the ratio is 1/4, well within the limits.",
        },
    ),
    "From there on a larger gamma only makes the step shorter.",
)

exercise(
    "06.3",
    number(
        681,
        "After n estimates h = 1 - 0.99^n, and the n-th estimate comes before step 10 n - 9.",
        {
            69: "That is the number of estimates. They are 10 steps apart, and the first comes before step 1.",
            690: "69 estimates is right, but the first comes before step 1, not before step 10.",
            691: "69 estimates is right, but the first comes before step 1, not before step 11.",
            1: "h is not the curvature at once: the first estimate enters with a weight of 1 - 0.99.",
            501: "50 estimates of weight 0.01 do not add up to 0.5: each step forgets a hundredth of what was there.",
        },
        rel=1e-9,
    ),
    "h needs hundreds of steps to be half of the curvature. Until then, more is clipped than will be.",
)


def _sophia_step(step):
    theta, m = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.2, -0.1, 0.1, 0.02])
    h, g = np.array([4.0, -3.0, 0.0, 50.0]), np.array([1.0, 0.6, -2.0, 0.1])
    setting = {"lr": 0.1, "beta1": 0.5, "gamma": 0.5, "eps": 1e-12}
    got = step(theta.copy(), m.copy(), h.copy(), g.copy(), **setting)
    if not (isinstance(got, tuple) and len(got) == 2):
        return "It should return two arrays: the new theta and the new m."
    new_m = np.array([0.6, 0.25, -0.95, 0.06])
    if wrong := same(got[1], new_m, "the new m"):
        return wrong + " The momentum is beta1 m + (1 - beta1) g."
    # 0.6 / 2, floor, floor, 0.06 / 25
    expected = theta - 0.1 * np.array([0.3, 1.0, -1.0, 0.0024])
    if wrong := same(got[0], expected, "the new theta"):
        if np.shape(got[0]) == (4,) and np.allclose(np.asarray(got[0])[[0, 3]], expected[[0, 3]]):
            return wrong + " Where h is negative or zero the denominator is eps, and the step lr times the sign of m."
        return wrong + " The update is m / max(gamma h, eps), clipped to -1 and 1."
    return None


exercise("06.4", function(_sophia_step), "That is all of Sophia but for the estimate of h.")


# -- 01 why curvature matters ------------------------------------------------------------------------------------------

exercise(
    "01.1",
    number(
        0.02,
        "Look at the factor |1 - lr h| of the steepest direction: it must be less than 1.",
        {
            0.01: "At 1/h the steep direction is there in one step. It still converges beyond, until the factor is -1.",
            2: "That is the limit for the flat direction, of curvature 1. The steep one diverges long before.",
            2 / 101: "That is the best learning rate; the limit lies a little beyond.",
        },
        rel=0.004,
    ),
    "The steepest direction decides for all of them.",
)

exercise(
    "01.2",
    number(
        2 / 101,
        "At the best learning rate both factors have the same size: 1 - lr = -(1 - 100 lr).",
        {
            0.02: "There the factor of the steep direction is -1: it never converges.",
            0.01: "That is best for the steep direction alone. The flat one can still gain from more.",
            1: "That is best for the flat direction alone, and fifty times what the steep one can bear.",
        },
        rel=0.004,
    ),
    "The slower of the two cannot be faster than there.",
)

exercise(
    "01.3",
    number(
        np.log(1000) / np.log(10001 / 9999),
        "Solve ((kappa - 1) / (kappa + 1))^n = 1/1000 for n.",
        {
            np.log(1000) * 1e4: "Twice too many: the factor is 1 - 2/kappa, not 1 - 1/kappa.",
            3 / np.log10(np.e) * 1e4: "Twice too many: the factor is 1 - 2/kappa, not 1 - 1/kappa.",
            3 * 5e3: "You have taken the logarithm to base 10 in one place and the natural one in the other.",
        },
    ),
    "Thirty-five thousand steps, for a quadratic in two dimensions.",
)


def _newton_step(step):
    H, g, theta = np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0]), np.array([0.5, -1.0])
    move = np.array([1.0, 7.0]) / 11  # H^-1 g by Cramer's rule
    got = step(theta.copy(), g.copy(), H.copy())
    wrong = same(got, theta - move, "for H = [[4, 1], [1, 3]], g = (1, 2), theta = (0.5, -1)")
    if wrong and np.shape(got) == (2,):
        if np.allclose(got, theta + move):
            return "That step goes the other way: theta minus H^-1 g."
        if np.allclose(got, theta - H @ g):
            return "You have multiplied by H. Newton's step divides by it: np.linalg.solve(H, g)."
        if np.allclose(got, theta - g / np.diag(H)):
            return "You have divided by the diagonal alone. Newton's step solves with all of H."
        if np.allclose(got, move):
            return "That is H^-1 g, by which theta changes. Return the new theta."
    return wrong


exercise("01.4", function(_newton_step), "One step, and on a quadratic you are at the critical point.")


# -- 02 Newton and its saddle trap -------------------------------------------------------------------------------------

_slope, _curvature = 8 * 0.2 * -0.8 * (5.2 * 0.2 + 3.4), 8 * (15.6 * 0.04 - 3.6 * 0.2 - 3.4)
exercise(
    "02.1",
    number(
        0.2 - _slope / _curvature,
        "It is x - L'(x) / L''(x), with slope -5.68 and curvature -27.97.",
        {
            0.2 + _slope / _curvature: "That is x + L' / L''. Newton's step subtracts.",
            -_slope / _curvature: "That is the step. Where is it then, if it was at 0.2 before?",
            0: "That is where it goes in the end. After one step it has not quite arrived.",
            1: "That is the minimum. Curvature is negative at 0.2: where is the extreme point of the parabola?",
        },
        rel=0.005,
    ),
    "It climbs to the top of the hill, since the parabola there opens downward.",
)

_root = np.sqrt(3.6**2 + 4 * 15.6 * 3.4)
exercise(
    "02.2",
    number(
        (3.6 + _root) / 31.2,
        "It goes downhill where the curvature is positive: look for the zero of L'' that is positive.",
        {
            (3.6 - _root) / 31.2: "That is the other zero of L'', on the left of the hill.",
            1: "That is the minimum. It goes downhill well before.",
        },
        rel=0.002,
    ),
    "Between the two points of inflection it climbs.",
)


def _cured(step):
    for c, s in ((2.0, 4.0), (-3.0, 0.5), (2.0, -4.0), (-3.0, -0.5)):
        got = step(c, s)
        if wrong := same(got, -c / abs(s), f"for slope {c:g} and curvature {s:g}"):
            if np.size(got) == 1 and np.allclose(got, c / abs(s)):
                return wrong + " A positive slope means that the loss grows: the step must be negative."
            if s < 0 and np.size(got) == 1 and np.allclose(got, -c / s):
                return wrong + " This is Newton's step still, uphill where the curvature is negative."
            return wrong
    return None


exercise("02.3", function(_cured), "Newton's speed, and always downhill.")

exercise(
    "02.4",
    numbers(
        [2, 2, -4],
        "The Hessian is [[2, 6], [6, 2]]; its eigenvectors are (1, 1) and (1, -1).",
        {
            (2, 2, 8): "That is the larger eigenvalue. Along (1, -1) it is 2 - 6.",
            (1, 1, -2): "You have left out the factor 2 of the second derivative of x^2, or a half of the 6.",
            (2, 2, 2): "The diagonal does not tell the eigenvalues: the 6 beside it does much to them.",
        },
    ),
    "A bowl to the diagonal, a saddle in truth.",
)
