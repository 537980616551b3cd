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
        if np.shape(got[0]) == (4,) and np.allclose(got[0], 2 * theta - expected):
            return wrong + " That goes uphill: theta minus lr times the update."
        if np.shape(got[0]) == (4,) and np.allclose(got[0], theta - np.array([0.03, 1.0, -1.0, 0.00024])):
            return wrong + " Clip the ratio alone, then multiply by lr."
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
        rel=0.02,
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
        absolute=5e-4,  # three digits
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
            if s < 0 and np.size(got) == 1 and np.allclose(got, -c / s):
                return wrong + " This is Newton's step still, uphill where the curvature is negative."
            if np.size(got) == 1 and np.allclose(got, c / abs(s)):
                return wrong + " A positive slope means that the loss grows: the step must be negative."
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


# -- 03 Adam and sign descent ------------------------------------------------------------------------------------------

exercise(
    "03.1",
    numbers(
        [-1, 1, 1],
        "At t = 1 the corrected averages are g and g^2.",
        {
            (
                1,
                -1,
                -1,
            ): "That is the direction in which theta moves: the update is subtracted.",
            (-1, 1, 0): "Without eps even a tiny gradient has a sign.",
            (-0.02, 7, 1e-9): "That is the gradient. It is divided by the root of its square.",
        },
    ),
    "However small the gradient, the first step is a sign.",
)

exercise(
    "03.2",
    number(
        300,
        "Every coordinate moves by lr in each step.",
        {
            50: "That is the nearer coordinate. Both must have arrived.",
            350: "The two walk at the same time, not one after the other.",
            3: "The gradient's size does not matter: each step has length lr = 0.01.",
        },
        rel=0.004,
    ),
    "The distance in the farthest coordinate, over lr; curvature plays no role until the bouncing begins.",
)

exercise(
    "03.3",
    number(
        np.sqrt(0.04 / 1.96),
        "m is a running average of noise, v is close to the noise's variance. What is the variance of m?",
        {
            0.04 / 1.96: "That is the variance. Take its root.",
            0.04: "That is 1 - beta1, the weight of a single gradient. The earlier ones contribute as well.",
            0.2: "Nearly: that is the root of 1 - beta1. The sum of beta1^(2j) is 1 / (1 - beta1^2).",
        },
        rel=0.02,
        absolute=5e-3,  # two digits
    ),
    "A seventh of a sign step: noise is what makes Adam careful.",
)


def _adam_step(step):
    theta, m, v, g = (np.array(a) for a in ([1.0, 2.0], [0.1, -0.2], [0.04, 0.09], [0.5, -1.0]))
    got = step(theta.copy(), m.copy(), v.copy(), g.copy(), t=3, lr=0.1, beta1=0.9, beta2=0.99, eps=0.1)
    if not (isinstance(got, tuple) and len(got) == 3):
        return "It should return three arrays: the new theta, m and v."
    new_m, new_v = np.array([0.14, -0.28]), np.array([0.0421, 0.0991])
    if wrong := same(got[1], new_m, "the new m") or same(got[2], new_v, "the new v"):
        return wrong
    expected = theta - 0.1 * (new_m / 0.271) / (np.sqrt(new_v / 0.029701) + 0.1)
    if wrong := same(got[0], expected, "the new theta"):
        if np.allclose(got[0], theta - 0.1 * new_m / (np.sqrt(new_v) + 0.1)):
            return wrong + " The averages are not corrected yet: m / (1 - beta1^t), v / (1 - beta2^t)."
        if np.allclose(got[0], theta - 0.1 * (new_m / 0.271) / np.sqrt(new_v / 0.029701 + 0.1)):
            return wrong + " eps is added to the root, not under it."
        return wrong
    return None


exercise("03.4", function(_adam_step), "With beta1 = beta2 = 0 it would be sign descent.")


# -- 04 Hutchinson -----------------------------------------------------------------------------------------------------

exercise(
    "04.1",
    number(
        1,
        "With signs u_1^2 = 1: only u_1 u_2 H_12 varies.",
        {
            19: "That is the variance with normal probes. With signs the diagonal itself makes no noise.",
            9: "The diagonal makes no noise with signs, since u_1^2 = 1. What does the entry beside it make?",
            25: "That is the other row's diagonal. The noise comes from beside the diagonal.",
        },
    ),
    "The noise comes from beside the diagonal alone.",
)

exercise(
    "04.2",
    number(
        19,
        "u_1^2 has variance 2 now: the formula is 2 H_ii^2 plus the squares beside the diagonal.",
        {
            1: "That is with signs. A normal u_1 has a u_1^2 that varies.",
            10: "The variance of the square of a normal variable is 2, not 1.",
            7: "The diagonal enters with its square: 2 times 3^2.",
        },
    ),
    "The diagonal makes noise for itself.",
)

exercise(
    "04.3",
    numbers(
        [4, 6],
        "With u = (-1, -1), H u is minus the sum of each row, and so u * (H u) is plus that.",
        {
            (-4, -6): "That is H u. It is multiplied by u once more.",
            (3, 5): "That would be the diagonal, which needs signs that vary.",
        },
    ),
    "Row sums: a bias that no averaging removes.",
)


def _my_hutchinson(estimate):
    H = np.array([[4.0, 1.0, -2.0], [1.0, 1.0, 0.5], [-2.0, 0.5, -1.0]])
    rng, seen = np.random.default_rng(0), []

    def hvp(u):
        seen.append(np.array(u, float))
        return H @ u

    values = np.array([estimate(hvp, 3, rng) for _ in range(4000)], float)
    if values.shape != (4000, 3):
        return f"It should return an array of shape (P,) = (3,), got {values.shape[1:]}."
    probes = np.array(seen)
    if not len(probes):
        return "It never asked for a Hessian-vector product."
    if not np.allclose(np.abs(probes), 1):
        return f"The probes should be signs, -1 or 1; one of them was {probes[0]}."
    if (probes == probes[0]).all():
        return "Every probe was the same: this gives the sums of rows, not the diagonal. Draw each time anew, from rng."
    if np.abs(np.corrcoef(probes.T) - np.eye(3)).max() > 0.1:
        return "The entries of a probe must be independent of each other."
    error = np.abs(values.mean(axis=0) - np.diag(H)).max()
    if error > 0.25:
        if np.abs(values.mean(axis=0)).max() < 0.25:
            return "The mean is zero: H u alone averages out. Multiply by u once more, entry by entry."
        return f"The mean of 4,000 estimates is {values.mean(axis=0).round(2)}, the diagonal {np.diag(H)}."
    return None


exercise("04.4", function(_my_hutchinson), "Unbiased, for one product.")


# -- 05 Gauss-Newton-Bartlett ------------------------------------------------------------------------------------------

exercise(
    "05.1",
    numbers(
        [0, 0.25],
        "The gradient is p - e_y: -0.5 for one label and 0.5 for the other, each with chance one half.",
        {
            (0, 0): "The mean is zero, but squares do not cancel.",
            (0, 0.5): "The root of the mean square, perhaps: the square of 0.5 is 0.25.",
            (-0.5, 0.25): "That is the gradient for one label. What is the mean over both?",
            (0.5, 0.25): "That is the gradient for one label. What is the mean over both?",
        },
    ),
    "A mean of zero, and the curvature p (1 - p).",
)

exercise(
    "05.2",
    numbers(
        [-0.5, 0.25],
        "The gradient is p - e_y with y the true label: no mean over labels.",
        {(0, 0.25): "That is for sampled labels. A true label is one label.", (0.5, 0.25): "p_1 - 1, for label 1."},
    ),
    "Here the gradient has a mean, which B copies do not average away.",
)

exercise(
    "05.3",
    number(
        240 * 1024,
        "B counts predictions, and every token is one; half of the windows are looked at.",
        {
            240: "Those are the windows. Each holds 1,024 predictions.",
            480: "Those are all windows. Only half of them are looked at, and each holds 1,024 predictions.",
            480 * 1024: "Only half of the windows are looked at.",
            120 * 1024: "Half of 480 is 240.",
        },
        rel=1e-6,
    ),
    "A quarter of a million.",
)


def _my_gnb(estimate):
    x = np.array([1.0, -2.0, 0.5, 3.0])
    z = np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.3, 0.2, 0.1], [-1.0, 0.0, 0.5]])
    p, rng, seen = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), np.random.default_rng(0), []

    def mean_gradient(labels):
        labels = np.asarray(labels)
        if labels.shape != (4,) or labels.dtype.kind not in "iu":
            raise ValueError(f"labels must be 4 integers, one an example, got {labels!r}")
        seen.append(labels)
        return x @ (p - np.eye(3)[labels]) / 4

    G = (x**2) @ (p * (1 - p)) / 4
    values = np.array([estimate(p.copy(), mean_gradient, rng) for _ in range(3000)], float)
    if values.shape != (3000, 3):
        return f"It should return an array of shape (P,) = (3,), got {values.shape[1:]}."
    labels = np.array(seen)
    if not len(labels):
        return "It never asked for a gradient."
    if (labels == labels[0]).all():
        return "The labels were the same each time. They are to be drawn anew, from the probabilities p."
    if np.abs(np.eye(3)[labels].mean(axis=0) - p).max() > 0.06:
        return "The labels do not follow the probabilities p: row b of p is for example b."
    mean = values.mean(axis=0)
    if np.allclose(mean, G, rtol=0.15):
        return None
    if np.allclose(4 * mean, G, rtol=0.15):
        return "Four times too small: the square of a mean gradient lacks the factor B."
    if np.abs(mean).max() < 0.1:
        return "The mean is zero: the gradient has to be squared."
    return f"The mean of 3,000 estimates is {mean.round(2)}, the diagonal of G is {G.round(2)}."


exercise("05.4", function(_my_gnb), "Sampled labels, mean gradient, square, times B.")


# -- 07 Figure 2 rebuilt -----------------------------------------------------------------------------------------------

exercise(
    "07.1",
    number(
        2 / 68.8,
        "It is 2 over the largest curvature there, which is that along x.",
        {
            1 / 68.8: "At 1/h it arrives in one step. It stays up to 2/h.",
            2: "That is the limit along y, of curvature 1. Along x the surface is far steeper.",
            2 / 27.2: "That is the size of the curvature at the saddle. Take that at x = 1.",
            2 / 45: "That is the curvature of the spurious minimum. Take that at x = 1.",
        },
    ),
    "Beyond it the minimum itself pushes gradient descent away.",
)

exercise(
    "07.2",
    numbers(
        [0.8, 1.1],
        "From 0.2 in steps of 0.3 it can only be at 0.2, 0.5, 0.8, ...: which two lie around 1?",
        {
            (0.7, 1.3): "It does not pass through 1: it can only be at 0.2 + 0.3 n.",
            (0.85, 1.15): "It does not pass through 1: it can only be at 0.2 + 0.3 n.",
            (1.1, 0.8): "Those two; the smaller one first.",
        },
    ),
    "It never gets nearer to 1 than 0.1.",
)

exercise(
    "07.3",
    number(
        1,
        "y is exactly quadratic, so that it is right after one step. And x? See exercise 1 of notebook 02.",
        {2: "Sooner: x is at -0.003 after the first step. How far is that from the saddle?"},
        rel=1e-9,
    ),
    "Nobody gets to the minimum as fast as Newton's method gets to the saddle.",
)

exercise(
    "07.4",
    number(
        13,
        "No step is longer than 0.3 along y, and 3.8 have to be covered.",
        {
            14: "It need not arrive at 4 exactly: 3.8 is enough.",
            12: "After twelve steps it is at 3.6.",
            3.8 / 0.3: "Steps are whole: round up.",
            4: "The clip is at 1, but the step is lr times that.",
            15: "So it is for gamma = 1, which takes shorter steps near the end. How few can it be?",
            17: "So it is in the table above, for 0.1 and gamma = 1. How few can it be?",
        },
        rel=1e-3,
    ),
    "The clip is a speed limit for every coordinate.",
)


# -- 08 autodiff from nothing ------------------------------------------------------------------------------------------


def _dual_exp(exp_of):  # exp_of(value, tangent): the exponential of the notebook's Dual(value, tangent)
    for value, tangent in ((0.0, 1.0), (1.0, 2.0), (-0.5, -3.0)):
        got, e = exp_of(value, tangent), float(np.exp(value))
        if not (hasattr(got, "value") and hasattr(got, "tangent")):
            return f"It should return a Dual, got {got!r}."
        if wrong := same(got.value, e, f"the value of exp({value:g})"):
            return wrong
        if wrong := same(got.tangent, e * tangent, f"the tangent for Dual({value:g}, {tangent:g})"):
            if np.isclose(got.tangent, e):
                return wrong + " The chain rule: the slope times the tangent that comes in."
            return wrong
    return None


exercise("08.1", function(_dual_exp), "The slope of exp is exp, times the tangent that comes in.")

exercise(
    "08.2",
    numbers(
        [15, 3],
        "The Hessian has 6ab and 3a^2 in its first row, 3a^2 and 0 in its second.",
        {
            (6, 1): "That is the gradient. Its change in the direction v is asked for.",
            (12, 0): "That is the diagonal. Multiply the whole Hessian with v.",
            (12, 3): "That is the first column, for v = (1, 0).",
        },
    ),
    "One pass, without ever writing down H.",
)

exercise(
    "08.3",
    choice(
        "forward",
        {"reverse": "Reverse mode takes one pass for each output, here 1,000. How many does forward mode take?"},
    ),
    "One pass for each input. A loss has many inputs and one output, which is why training uses reverse mode.",
)

exercise(
    "08.4",
    numbers(
        [7, 1],
        "L = a^2 + a. Without `reversed`, in the order a, product, L: what is in each one's bar when its turn comes?",
        {
            (6, 1): "The second is right. In the first the third use of a, the summand, is missing.",
            (4, 1): "The second is right. In the first the product uses a twice, and each use adds its share.",
            (12, 1): "The second is right. The first is L itself at 3.",
            (7, 0): "The first is right. In the second L, the last, still passes 1 to the summand a.",
            (7, 7): "The first is right. In the second the product has its turn before L: what is in its bar by then?",
            (7, 6): "The first is right. In the second it is the product that has nothing to pass on, not the summand.",
        },
    ),
    "The product has its turn before L has given it anything: a node must wait for all that use it.",
)


# -- 09 the tiny GPT, layer by layer -----------------------------------------------------------------------------------

exercise(
    "09.1",
    number(
        108_864,
        "Words V D, positions T D, in each layer 12 D^2 for four matrices and 2 D for gains, and D for the last gain.",
        {
            108_864 + 96 * 64: "The output is the table of words again: it is counted once.",
            108_864 - 64: "The gain of the last norm is missing.",
            108_864 - 5 * 64: "The gains of the norms are missing, two in each layer and one at the end.",
            108_864 - 4 * 64: "The gains of the layers are missing, two in each.",
            108_864 - 64 * 64: "The positions have a table too.",
            108_864 - 4 * 64 * 64: "The first matrix of attention makes queries, keys and values: D times 3 D.",
            59_584: "That is with one layer. There are two.",
        },
        rel=1e-9,
    ),
    "Nearly all of it in the matrices of the blocks.",
)

exercise(
    "09.2",
    number(
        np.log(50257),
        "If all words are equally likely, each has p = 1/V, and the surprise is -log p.",
        {
            np.log2(50257): "That is in bits. Losses are in nats: the natural logarithm.",
            np.log10(50257): "That is the logarithm to base 10. Losses are in nats: the natural logarithm.",
            1 / 50257: "That is the probability. The loss is minus its logarithm.",
        },
        rel=0.001,
    ),
    "If a training starts far above this, something is wrong.",
)

exercise(
    "09.3",
    number(
        2080,
        "Position t sees itself and what came before: t weights in row t = 1, ..., 64.",
        {
            2016: "A token may look at itself: the diagonal counts.",
            4096: "That is the whole square. The future is masked.",
            2048: "A little more than half: the diagonal belongs to it.",
        },
        rel=1e-9,
    ),
    "A triangle with its diagonal.",
)


def _surprise_of(surprise):
    far = [1000.0, 999.0, 0.0]
    for z, target in (([0.0, 0.0], 1), ([1.0, 2.0, 3.0], 0), (far, 1), ([-2000.0, -2001.0], 0), (far, 2)):
        logits = np.array(z)
        with np.errstate(all="ignore"):
            got = surprise(logits.copy(), target)
        expected = np.logaddexp.reduce(logits) - logits[target]
        if not np.all(np.isfinite(np.asarray(got, float))):
            if target == 2:
                return (
                    f"For z = {z} and target 2 it gives {got}: p rounds to 0. Take log p apart before you compute it."
                )
            return f"For z = {z} it gives {got}: exp overflows, or all are 0. Shift z first; softmax does not notice."
        if wrong := same(got, expected, f"for z = {z} and target {target}"):
            if np.allclose(got, -expected):
                return wrong + " That is log p. The surprise is minus that."
            return wrong
    return None


exercise("09.4", function(_surprise_of), "Exact, for logits of any size.")


# -- 10 training a tiny GPT --------------------------------------------------------------------------------------------

exercise(
    "10.1",
    number(
        1.05,
        "Every step pays 1 for its gradient; every tenth pays half of a sampled gradient more.",
        {
            1.1: "It looks at half of the batch.",
            1.5: "That would be an estimate in every step.",
            0.05: "That is the surcharge. The gradient itself costs 1.",
            1.15: "A gradient with sampled labels costs 1, not 3.",
        },
        rel=0.001,
    ),
    "Five per cent, as the paper says.",
)

exercise(
    "10.2",
    number(
        1 + 3 / 160,
        "Every step pays 1; every tenth pays 3 for a product, times the share of the batch.",
        {
            1.3: "It looks at a sixteenth of the batch.",
            1 + 1 / 160: "A Hessian-vector product costs 3 gradients.",
            1 + 3 / 16: "That would be an estimate in every step.",
            3 / 160: "That is the surcharge. The gradient itself costs 1.",
        },
        rel=0.002,
    ),
    "Less than two per cent.",
)

exercise(
    "10.3",
    choice(
        "no 100000",
        {
            "yes 100000": "The step is right, but the plot was read at another: there AdamW's rate is still high.",
            "no 50000": "It does not show it. But the claim is about twice as many steps of AdamW.",
            "yes 50000": "Midway in AdamW's run its rate is still high. And the claim is about twice the steps.",
        },
    ),
    "T/2 against T, each at the end of its own schedule.",
)

exercise(
    "10.4",
    number(
        (3 * 0.5 + 2 * 0.6 + 0.7) / 6,
        "Write down the six pairs and take the smaller loss of each.",
        {
            0.5: "That is the best of all four. Two trials find it only in half of the cases.",
            0.675: "That is the mean of single trials. Of two, take the better one.",
            0.55: "That is the mean of the two best. Draw any two, and take the better one.",
            0.59375: "That is with replacement: the same trial cannot be drawn twice.",
            4.7 / 6: "That is with the larger of each pair. The smaller loss is the better one.",
        },
    ),
    "With more trials the expected best falls, whatever the method: equal budgets, or no comparison.",
)


# -- 11 the theorem, numerically ---------------------------------------------------------------------------------------

exercise(
    "11.1",
    number(
        (10 - np.sqrt(2)) / 2 * 1000,
        "One half of (sqrt(100) - sqrt(2)), times sqrt(kappa).",
        {
            (10 - np.sqrt(2)) * 1000: "The factor one half is missing.",
            (10 - np.sqrt(2)) / 2 * 1e6: "The condition number enters by its square root.",
            (100 - np.sqrt(2)) / 2 * 1000: "Delta / eps enters by its square root as well.",
            5000: "What is forgiven near the end, the root of 2, is to be subtracted.",
        },
    ),
    "Four thousand steps, and five for clipped Newton.",
)

exercise(
    "11.2",
    number(
        38,
        "It walks at the speed eta rho = 0.25, and has 9.5 to go.",
        {
            40: "That is all the way. It is within rho of the minimum earlier.",
            19: "The step is eta times the clipped rho.",
            20: "The step is eta times the clipped rho, and it need not go all the way.",
        },
        rel=1e-6,
    ),
    "The first term of the theorem: proportional to the distance, without curvature.",
)

exercise(
    "11.3",
    number(
        10,
        "The loss goes with the square of the distance, so that it falls by a factor of 4 in each step.",
        {
            20: "That is for the distance. The loss falls with its square.",
            9.966: "Steps are whole: round up.",
            6: "Six powers of ten, but a step is a factor of 4.",
        },
        rel=1e-3,
    ),
    "The second term: a logarithm.",
)


def _clipped_newton(step):
    # eigenvectors (2, 2, -1) / 3 with 9, (-1, 2, 2) / 3 with 18, (2, -1, 2) / 3 with 36; no matrix of them is symmetric
    Q = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
    H, g, z = (Q * [9, 18, 36]) @ Q.T, np.array([15.0, -12.0, -7.5]), np.array([0.5, -1.0, 0.25])  # z = Q^T g / s
    for eta, rho in ((0.5, 10.0), (0.5, 0.3)):

        def cut(q, eta=eta, rho=rho):
            return -eta * np.clip(q, -rho, rho)

        expected = Q @ cut(z)
        got = step(g.copy(), H.copy(), eta, rho)
        given = f"for H = [[22, -8, 10], [-8, 16, -2], [10, -2, 25]], g = (15, -12, -7.5), eta = {eta}, rho = {rho:g}"
        if wrong := same(got, expected, given):
            s, V = np.linalg.eigh(H)
            for other, why in (
                (-expected, "The step goes against the gradient."),
                (
                    cut(np.linalg.solve(H, g)),
                    "That clips along the coordinates. Clip along the eigenvectors, then turn back.",
                ),
                (V.T @ cut(V @ g / s), "eigh's eigenvectors are columns: V.T turns in, V turns back."),
                (cut(V.T @ g / s), "The clipped coordinates are still those along the eigenvectors: turn them back."),
                (-V @ np.clip(eta * (V.T @ g / s), -rho, rho), "eta belongs outside of the clip."),
            ):
                if np.shape(got) == (3,) and np.allclose(got, other):
                    return f"{wrong} {why}"
            return wrong
    return None


exercise("11.4", function(_clipped_newton), "Newton's step, with a speed limit for each eigenvector.")


# -- 12 does it really work --------------------------------------------------------------------------------------------


def _judge(judge):
    yes, no, open_ = (-2.0, -1.0), (1.0, 2.0), (-1.0, 1.0)
    cases = {
        "reproduced": [[yes], [yes, yes, (-1.0, 0.0)]],
        "partly": [[yes, no], [no, no, open_, yes], [yes, open_]],
        "not reproduced at this scale": [[no], [no, open_], [no, no, open_], [yes, *[no] * 9]],
        "underpowered": [[open_], [no, open_, open_], [open_, (0.0, 1.0)]],
    }
    for expected, lists in cases.items():
        for intervals in lists:
            if (got := judge(list(intervals))) != expected:
                said = f"For {intervals} your rule says {got!r}, and the page {expected!r}."
                if (0.0, 1.0) in intervals:
                    return said + " An interval that begins at 0 does not exclude it: it is open."
                if len(intervals) == 10:
                    return said + " One in ten may come by chance."
                if (-1.0, 0.0) in intervals:
                    return said + " An interval that ends at 0 from below counts as yes."
                if str(got).strip().casefold() == expected:
                    return said + " The words are right; write them as they stand here."
                if intervals == [no, open_] and got == "underpowered":
                    return said + " One of two is half, and half is enough."
                return said + " Count first how many intervals lie below zero, and how many above."
    return None


exercise("12.1", function(_judge), "And it was fixed before the runs were made.")

exercise(
    "12.2",
    numbers(
        [-0.02 / np.sqrt((0.00425 + 0.0054) / 5), -0.02 / np.sqrt(0.0001 / 5)],
        "Take the mean of the five differences; variances with n - 1; n = 5.",
        {
            (
                -0.02 / np.sqrt((0.0034 + 0.00432) / 5),
                -0.02 / np.sqrt(0.00008 / 5),
            ): "Variances of a sample: divide by n - 1.",
            (
                -0.02 / np.sqrt(0.00965),
                -0.02 / np.sqrt(0.0001),
            ): "The error of a mean is smaller than that of one seed, by sqrt(5).",
            (
                0.02 / np.sqrt(0.00965 / 5),
                0.02 / np.sqrt(0.0001 / 5),
            ): "The sizes are right. Ours minus theirs is negative.",
        },
        rel=0.015,  # -0.46 is right
    ),
    "What a seed does to both methods cancels in the difference.",
)

exercise(
    "12.3",
    number(
        600 * 2**0.5 / 400,
        "Find how many steps AdamW needs for 2.125, between 600 and 1200, then divide by 400.",
        {
            2.25: "That is interpolated in the steps. Half way in the logarithm is their geometric mean.",
            600 * 2**0.5: "That is how many steps AdamW needs. The other method needed 400.",
            400 / (600 * 2**0.5): "That is the other way round: steps of the method that one of AdamW's is worth.",
        },
        rel=0.015,  # 2.1 is right
    ),
    "More than 2: what this made-up method does, Sophia is claimed to do.",
)


def _interval(interval):
    for values in ((0.0, 1.0, 5.0), (3.0, -1.0, 4.0, 1.5), (0.1, 0.2, 0.4, 0.3, 0.0)):
        n = len(values)
        # independent of the solution: the means by how often each value is drawn
        sums = [0.0]
        for _ in range(n):
            sums = [s + v for s in sums for v in values]
        means = np.sort(sums) / n
        expected = [means[int(0.025 * n**n)], means[int(0.975 * n**n)]]
        got = interval(list(values))
        if wrong := same(got, expected, f"for the values {', '.join(map(str, values))}"):
            if np.shape(got) == (2,) and np.allclose(got, np.mean(values)):
                return wrong + " Without replacement every draw has the same mean."
            if np.shape(got) == (2,) and np.allclose(got, np.quantile(values, [0.025, 0.975])):
                return wrong + " Those are quantiles of the values themselves, and not of the means of draws."
            if np.shape(got) == (2,) and got[0] > got[1]:
                return wrong + " Sort the means first."
            if np.shape(got) == (2,) and np.allclose(got, [min(values), max(values)]):
                return wrong + " Each order of the same values is a draw of its own, and all n ** n count."
            return wrong
    return None


exercise("12.4", function(_interval), "27 draws for three values, 3125 for five; beyond that, chance has to do.")


# -- 13 from here to PyTorch and JAX -----------------------------------------------------------------------------------

exercise(
    "13.1",
    numbers(
        [0.0008, 0.04],
        "Pull rho out of the clip: clip(z, rho) = rho clip(z / rho, 1).",
        {
            (0.02, 0.04): "gamma is rho, but the learning rate takes it over too: a whole step was 0.02 times 0.04.",
            (0.5, 0.04): "You have divided by rho. A whole step of the first form is eta rho, of the second eta.",
            (0.0008, 25): "gamma stands beside h in the denominator: m / (rho h), not m / (h / rho).",
        },
        rel=1e-6,
    ),
    "One rule, two parameterisations.",
)

exercise(
    "13.2",
    numbers(
        [1, -0.3],
        "The paper takes the larger of gamma h and eps, then clips; the other divides by gamma h as it is.",
        {
            (-0.3, -0.3): "The paper bounds the denominator from below by eps > 0: it cannot become negative.",
            (1, 1): "min(., 1) bounds from above alone. What is 0.3 / (-1)?",
            (1, -1): "Nothing bounds the other one from below, and 0.3 / (-1) is not -1.",
            (1, 0.3): "The denominator is negative: which sign has the quotient?",
            (-1, 0.3): "Those are the changes. The update is what is multiplied by the learning rate and subtracted.",
        },
        rel=1e-6,
    ),
    "The same numbers, and one goes down while the other climbs.",
)

exercise(
    "13.3",
    numbers(
        [0.04, 0.08],
        "The estimate is B times the square of the mean gradient, and the mean is the sum over B.",
        {
            (16, 0.08): "B times the square of the *mean* gradient: the sum, 4, must be divided by 400 first.",
            (0.04, 0.16): "The two estimates are averaged, not added.",
            (0.04, 0.04): "Squared by themselves they are 36/300 and 4/100.",
            (0.04, 0.1): "The first is right. The second is meant as the plain mean, not weighted by predictions.",
            (0.0001, 0.08): "That is the square of the mean gradient. The factor B is missing.",
        },
        rel=1e-6,
    ),
    "Add up first, square once.",
)


def _due(due):
    for k in (1, 2, 10):
        for t in range(1, 25):
            got = due(t, k)
            if not isinstance(got, bool | np.bool_):
                return f"due({t}, {k}) should be True or False, got {got!r}."
            if bool(got) != (t in range(1, 25, k)):
                said = f"due({t}, {k}) is {got}. Estimates come in the steps 1, {1 + k}, {1 + 2 * k}, ..."
                return said + " For k = 1 that is every step." * (k == 1)
    return None


exercise("13.4", function(_due), "Also for k = 1.")
