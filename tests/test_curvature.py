"""Estimators of the Hessian's diagonal. Every probe or label that could be drawn is drawn, with its probability,
through a generator that follows a script: means and variances are then exact, and no test depends on luck.
"""

import itertools
import pickle

import numpy as np
import pytest

import sophia_ref as sr


class Script:
    """A generator whose draws are given: one entry of the list a call, in the shape that is asked for."""

    def __init__(self, *, integers=(), standard_normal=(), random=()):
        self.left = {"integers": list(integers), "standard_normal": list(standard_normal), "random": list(random)}

    def _next(self, name, shape, dtype):
        draw = np.asarray(self.left[name].pop(0)).astype(dtype)
        assert draw.shape == shape
        return draw

    def integers(self, low, high, shape):
        assert (low, high) == (0, 2)
        return self._next("integers", shape, int)

    def standard_normal(self, shape, dtype=float):
        return self._next("standard_normal", shape, dtype)

    def random(self, shape):
        return self._next("random", shape, float)


def bits(n):
    """All 2^n vectors of zeros and ones, (2^n, n)."""
    return np.array(list(itertools.product([0, 1], repeat=n)))


def hermite(n):
    """Nodes (3^n, n) and weights (3^n,) that give E p(u), u ~ N(0, I), of polynomials of degree 5 in each variable."""
    nodes, weights = np.array([-np.sqrt(3), 0, np.sqrt(3)]), np.array([1, 4, 1]) / 6
    index = np.array(list(itertools.product(range(3), repeat=n)))
    return nodes[index], weights[index].prod(axis=1)


def moments(h_hat, weights):
    mean = weights @ h_hat
    return mean, weights @ (h_hat - mean) ** 2


def off_diagonal_squares(H):
    return (H**2).sum(axis=1) - np.diag(H) ** 2


def close(actual, expected, scale=None):
    """To 1e-12 relative; where the expectation is zero, relative to `scale`."""
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=0 if scale is None else 1e-12 * scale)


# -- Hutchinson: all probes --------------------------------------------------------------------------------------------


class Quadratic:
    """1/2 theta^T H theta, H symmetric with entries of both signs and of widely different sizes."""

    def __init__(self, n):
        rng = np.random.default_rng(n)
        A = rng.standard_normal((n, n)) * np.geomspace(1, 30, n)
        self.H = A + A.T

    def __call__(self, theta):
        return ((theta @ self.H) * theta).sum(-1) / 2


class Curved:
    """log sum exp(A theta) + sum c theta^4 + theta_0^2 theta_1: no two Hessians are alike."""

    def __init__(self, n):
        rng = np.random.default_rng(100 + n)
        self.A, self.c = rng.standard_normal((n + 2, n)), rng.standard_normal(n)

    def __call__(self, theta):
        terms = np.log(np.exp(theta @ self.A.T).sum(-1)) + (self.c * theta**4).sum(-1)
        return terms + theta[..., 0] ** 2 * theta[..., 1]

    def hessian(self, theta):
        p = np.exp(self.A @ theta)
        p /= p.sum()
        H = self.A.T @ (np.diag(p) - np.outer(p, p)) @ self.A + np.diag(12 * self.c * theta**2)
        H[0, 0] += 2 * theta[1]
        H[0, 1] += 2 * theta[0]
        H[1, 0] += 2 * theta[0]
        return H


@pytest.mark.parametrize("n", range(1, 13))
def test_over_all_sign_vectors_the_mean_is_the_diagonal_and_the_variance_is_the_squares_beside_it(n):
    f, probes = Quadratic(n), bits(n)
    theta = np.tile(np.random.default_rng(0).standard_normal(n), (len(probes), 1))
    h_hat = sr.hutchinson_rademacher(sr.Oracle(f, theta, rng=Script(integers=[probes])))
    mean, variance = moments(h_hat, np.full(2**n, 2.0**-n))
    close(mean, np.diag(f.H))
    close(variance, off_diagonal_squares(f.H), scale=(f.H**2).max())


@pytest.mark.parametrize("n", range(1, 8))
def test_over_the_gauss_hermite_grid_gaussian_probes_add_twice_the_squared_diagonal_to_the_variance(n):
    f, (probes, weights) = Quadratic(n), hermite(n)
    theta = np.tile(np.random.default_rng(0).standard_normal(n), (len(probes), 1))
    h_hat = sr.hutchinson(sr.Oracle(f, theta, rng=Script(standard_normal=[probes])))
    mean, variance = moments(h_hat, weights)
    close(mean, np.diag(f.H))
    close(variance, 2 * np.diag(f.H) ** 2 + off_diagonal_squares(f.H))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_same_holds_for_a_curved_function_asked_probe_by_probe(n):
    f, theta = Curved(n), np.random.default_rng(1).standard_normal(n)
    H = f.hessian(theta)
    script = Script(integers=bits(n))
    h_hat = np.array([sr.hutchinson_rademacher(sr.Oracle(f, theta, rng=script)) for _ in range(2**n)])
    mean, variance = moments(h_hat, np.full(2**n, 2.0**-n))
    close(mean, np.diag(H))
    close(variance, off_diagonal_squares(H))
    probes, weights = hermite(n)
    script = Script(standard_normal=probes)
    h_hat = np.array([sr.hutchinson(sr.Oracle(f, theta, rng=script)) for _ in weights])
    mean, variance = moments(h_hat, weights)
    close(mean, np.diag(H))
    close(variance, 2 * np.diag(H) ** 2 + off_diagonal_squares(H))


def test_the_exact_diagonal_of_a_curved_function_is_its_closed_form():
    f, theta = Curved(6), np.random.default_rng(2).standard_normal(6)
    close(sr.exact_diagonal(sr.Oracle(f, theta)), np.diag(f.hessian(theta)))


def test_where_the_hessian_is_diagonal_one_sign_vector_is_exact_and_one_gaussian_probe_is_not():
    oracle = sr.Oracle(lambda theta: (theta**2 * [1, 2, 4]).sum(), np.ones(3), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(sr.hutchinson_rademacher(oracle), [2, 4, 8])
    assert not np.allclose(sr.hutchinson(oracle), [2, 4, 8], rtol=0.01)


def test_a_probe_that_is_always_minus_one_gives_row_sums_instead_of_the_diagonal():
    f, theta = Curved(5), np.random.default_rng(3).standard_normal(5)
    row_sums = f.hessian(theta).sum(axis=1)
    close(sr.hutchinson_rademacher(sr.Oracle(f, theta, rng=Script(integers=[np.zeros(5)]))), row_sums)
    assert not np.allclose(row_sums, np.diag(f.hessian(theta)), rtol=0.1)


@pytest.mark.parametrize("estimator", [sr.hutchinson, sr.hutchinson_rademacher])
def test_rows_get_independent_probes(estimator):
    f = Quadratic(4)
    h_hat = estimator(sr.Oracle(f, np.ones((3, 2, 4)), rng=np.random.default_rng(0)))
    assert len(np.unique(h_hat.reshape(6, 4)[:, 0])) > 1


# -- Gauss-Newton-Bartlett: all labels ---------------------------------------------------------------------------------

D, HIDDEN = 3, 2  # features of an example, hidden units


class Classifier:
    """Softmax over C classes of a linear model or of a tanh network: the Problem, and its Jacobian by hand.

    batch: X (..., n, D), labels (..., n), mask (..., n) of the predictions that count. `loss` also has a penalty.
    """

    name = "classifier"

    def __init__(self, C, hidden):
        self.C, self.hidden = C, hidden
        shapes = {"W": (HIDDEN if hidden else D, C)} | ({"V": (D, HIDDEN)} if hidden else {})
        self.layout = sr.Layout(shapes)

    def logits(self, theta, X):  # (..., P), (..., n, D) -> (..., n, C)
        tensors = self.layout.unpack(theta)
        X = X.astype(theta.dtype)
        return (np.tanh(X @ tensors["V"]) if self.hidden else X) @ tensors["W"]

    def mean_loss(self, theta, X, labels, mask):
        z = self.logits(theta, X)
        picked = labels[..., None] == np.arange(self.C)
        losses = np.log(np.exp(z).sum(-1)) - (z * picked).sum(-1)  # (..., n)
        return (losses * mask).sum(-1) / mask.sum(-1).astype(theta.dtype)

    def loss(self, theta, batch):
        return self.mean_loss(theta, *batch) + (theta**2).sum(-1)

    def sampled_loss(self, theta, batch, rng):
        X, _, mask = batch
        edges = np.cumsum(probabilities(self.logits(theta, X)), axis=-1)[..., :-1]
        labels = (rng.random(mask.shape)[..., None] > edges).sum(-1)  # a comparison: it has no derivative
        return self.mean_loss(theta, X, labels, mask), mask.sum(-1)

    def jacobian(self, theta, x):
        """d z / d theta at one example x (D,), by hand: (C, P)."""
        W, C = self.layout.unpack(theta)["W"], self.C
        a = np.tanh(x @ self.layout.unpack(theta)["V"]) if self.hidden else x  # what W multiplies
        J_W = np.einsum("i,kc->cik", a, np.eye(C)).reshape(C, -1)  # dz_c / dW_ik = a_i [k = c]
        if not self.hidden:
            return J_W
        J_V = np.einsum("d,h,hc->cdh", x, 1 - a**2, W).reshape(C, -1)  # dz_c / dV_dh = x_d (1 - a_h^2) W_hc
        return np.concatenate([J_W, J_V], axis=1)


def probabilities(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def covariance_term(J, p):
    """diag of J^T (diag p - p p^T) J."""
    return np.einsum("cp,cd,dp->p", J, np.diag(p) - np.outer(p, p), J)


class Enumeration:
    """A classifier at one theta, its B predictions, and every tuple of labels they could be given, one a row."""

    def __init__(self, C, B, hidden=False, mask=None, draws=1):
        rng = np.random.default_rng([C, B, hidden])
        self.problem = Classifier(C, hidden)
        self.theta = rng.standard_normal(self.problem.layout.size)
        self.mask = np.ones(B, bool) if mask is None else np.array(mask)
        self.X = rng.standard_normal((len(self.mask), D))
        self.J = np.array([self.problem.jacobian(self.theta, x) for x in self.X])  # (n, C, P)
        self.p = probabilities(self.problem.logits(self.theta, self.X))  # (n, C)
        # tuples over the counted predictions; the others get label 0, of no consequence
        labels = np.array(list(itertools.product(range(C), repeat=B * draws))).reshape(-1, draws, B)
        self.labels = np.zeros((len(labels), draws, len(self.mask)), int)
        self.labels[..., self.mask] = labels
        self.B, self.rows = B, len(labels)

    def weights(self, p):
        """Probability of each row if the labels of prediction b follow p[b]: (rows,)."""
        chosen = p[np.arange(len(self.mask)), self.labels]  # (rows, draws, n)
        return chosen[..., self.mask].prod(axis=(1, 2))

    def gauss_newton(self):
        """diag of J^T (diag p - p p^T) J / B, summed over the predictions that count."""
        return sum(covariance_term(J, p) for J, p in zip(self.J[self.mask], self.p[self.mask], strict=True)) / self.B

    def oracle(self, labels=None):
        """One row a tuple. The script draws each label from the middle of its share of the unit interval; a wrong
        model distribution would give other labels."""
        edges = np.cumsum(self.p, axis=-1)
        middles = (edges - self.p / 2)[np.arange(len(self.mask)), self.labels]  # (rows, draws, n)
        lead = (self.rows, len(self.mask))
        true = np.zeros(lead, int) if labels is None else labels
        batch = (np.broadcast_to(self.X, (*lead, D)), true, np.broadcast_to(self.mask, lead))
        theta = np.tile(self.theta, (self.rows, 1))
        return sr.Oracle(self.problem, theta, batch, Script(random=np.moveaxis(middles, 1, 0)))

    def gradients(self):
        """The gradient under each tuple of labels (the first draw), by hand: J^T (p - e_y), averaged: (rows, P)."""
        residual = self.p - np.eye(self.problem.C)[self.labels[:, 0]]  # (rows, n, C)
        return np.einsum("rnc,ncp->rp", residual[:, self.mask], self.J[self.mask]) / self.B


CASES = [
    (2, 12, False),
    (4, 6, False),
    (16, 3, False),
    (2, 11, True),
    (3, 7, True),
    (5, 5, True),
    (8, 4, True),
    (64, 2, True),
]


@pytest.mark.parametrize(("C", "B", "hidden"), CASES)
def test_over_all_labels_gnb_is_the_gauss_newton_diagonal(C, B, hidden):
    every = Enumeration(C, B, hidden)
    assert every.rows == C**B <= 4096
    weights = every.weights(every.p)
    close(weights.sum(), 1)
    close(weights @ sr.gnb(every.oracle()), every.gauss_newton())


def test_gnb_of_one_theta_asked_tuple_by_tuple_is_the_gauss_newton_diagonal():
    every = Enumeration(3, 4, hidden=True)
    rows, total = every.oracle(), 0.0
    uniforms = rows.rng.random((every.rows, 4))
    for weight, u in zip(every.weights(every.p), uniforms, strict=True):
        batch = (every.X, np.zeros(4, int), every.mask)
        total = total + weight * sr.gnb(sr.Oracle(every.problem, every.theta, batch, Script(random=[u])))
    close(total, every.gauss_newton())


def test_the_gauss_newton_diagonal_is_the_hessians_for_the_linear_output_layer_only():
    every = Enumeration(3, 5, hidden=True)
    batch = (every.X, np.zeros(5, int), every.mask)
    hessian = sr.exact_diagonal(sr.Oracle(every.problem, every.theta, batch)) - 2  # less the penalty's
    gauss_newton, outer = every.gauss_newton(), every.problem.layout.slices["W"]
    close(hessian[outer], gauss_newton[outer])
    assert (np.abs(hessian - gauss_newton)[outer.stop :] > 0.05 * gauss_newton[outer.stop :]).all()


@pytest.mark.parametrize("mask", [[1, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 0, 1, 1, 0, 0]])
def test_masked_positions_do_not_count_as_predictions(mask):
    mask = np.array(mask, bool)
    every = Enumeration(4, mask.sum(), hidden=True, mask=mask)
    close(every.weights(every.p) @ sr.gnb(every.oracle()), every.gauss_newton())


def test_rows_with_different_masks_have_each_their_own_number_of_predictions():
    problem, rng = Classifier(3, hidden=True), np.random.default_rng(5)
    theta, X = rng.standard_normal((2, 3, problem.layout.size)), rng.standard_normal((2, 3, 4, D))
    labels, mask = rng.integers(0, 3, (2, 3, 4)), np.arange(4) < np.array([[1, 2, 3], [4, 3, 2]])[..., None]
    uniforms = rng.random((2, 3, 4))
    together = sr.gnb(sr.Oracle(problem, theta, (X, labels, mask), Script(random=[uniforms])))
    for row in np.ndindex(2, 3):
        batch = (X[row], labels[row], mask[row])
        alone = sr.gnb(sr.Oracle(problem, theta[row], batch, Script(random=[uniforms[row]])))
        close(together[row], alone)


# -- negative controls: wrong by what theory says ----------------------------------------------------------------------


@pytest.mark.parametrize(("C", "B"), [(2, 10), (4, 5), (7, 3)])
def test_without_the_factor_b_the_estimate_is_too_small_by_exactly_b(C, B):
    every = Enumeration(C, B, hidden=True)

    def forgot_b(oracle):
        g, _ = oracle.sampled_grad()
        return g * g

    close(B * (every.weights(every.p) @ forgot_b(every.oracle())), every.gauss_newton())


@pytest.mark.parametrize(("C", "B"), [(2, 9), (3, 6)])
def test_true_labels_add_b_times_the_squared_mean_gradient_and_the_difference_of_the_label_covariances(C, B):
    every = Enumeration(C, B, hidden=True)
    every.problem.loss = lambda theta, batch: every.problem.mean_loss(theta, *batch)  # no penalty here
    q = probabilities(np.random.default_rng(9).standard_normal((B, C)))  # where the true labels come from
    h_hat = sr.empirical_fisher(every.oracle(labels=every.labels[:, 0]))
    # E B g^2 = B (E g)^2 + B Var g,  E g = 1/B sum_b J_b^T (p_b - q_b),  B Var g = 1/B sum_b diag J_b^T Cov_q J_b
    mean = sum(J.T @ (p - r) for J, p, r in zip(every.J, every.p, q, strict=True)) / B
    covariances = sum(
        covariance_term(J, r) - covariance_term(J, p) for J, p, r in zip(every.J, every.p, q, strict=True)
    )
    excess = B * mean**2 + covariances / B
    close(every.weights(q) @ h_hat, every.gauss_newton() + excess)
    assert np.abs(excess).max() > 0.1 * every.gauss_newton().max()
    # with labels that follow the model itself nothing is in excess: only then is it Fisher's matrix
    close(every.weights(every.p) @ h_hat, every.gauss_newton())


def test_empirical_fisher_is_b_times_the_square_of_the_whole_gradient_with_its_penalty():
    every = Enumeration(3, 4)
    labels = np.array([2, 0, 1, 1])
    oracle = sr.Oracle(every.problem, every.theta, (every.X, labels, every.mask))
    g = sum(J.T @ (p - np.eye(3)[y]) for J, p, y in zip(every.J, every.p, labels, strict=True)) / 4 + 2 * every.theta
    close(sr.empirical_fisher(oracle), 4 * g**2)


@pytest.mark.parametrize("quantile", [0.2, 0.8])
def test_clipping_the_sampled_gradients_norm_before_squaring_biases_the_estimate_low(quantile):
    every = Enumeration(3, 6, hidden=True)
    norms = np.linalg.norm(every.gradients(), axis=1)
    limit = np.quantile(norms, quantile)

    def clipped(oracle):
        g, B = oracle.sampled_grad()
        return B * (g * np.minimum(1, limit / np.linalg.norm(g, axis=-1, keepdims=True))) ** 2

    missing = 6 * (every.weights(every.p) * (1 - np.minimum(1, limit / norms) ** 2)) @ every.gradients() ** 2
    assert (missing > 0).all()
    close(every.weights(every.p) @ clipped(every.oracle()), every.gauss_newton() - missing)


# -- averages and parts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "draws"), [(6, 2), (4, 3), (2, 6)])
def test_averaging_divides_the_variance_of_signed_probes_by_the_number_of_draws(n, draws):
    f, probes = Quadratic(n), bits(n * draws)
    script = Script(integers=np.moveaxis(probes.reshape(-1, draws, n), 1, 0))
    oracle = sr.Oracle(f, np.zeros((len(probes), n)), rng=script)
    mean, variance = moments(
        sr.averaged(sr.hutchinson_rademacher, draws)(oracle), np.full(len(probes), 1 / len(probes))
    )
    close(mean, np.diag(f.H))
    close(variance, off_diagonal_squares(f.H) / draws)
    assert oracle.cost == 3 * draws


def test_averaging_divides_the_variance_of_gnb_by_the_number_of_draws():
    one, two = Enumeration(2, 5, hidden=True), Enumeration(2, 5, hidden=True, draws=2)
    mean, variance = moments(sr.gnb(one.oracle()), one.weights(one.p))
    oracle = two.oracle()
    halved = moments(sr.averaged(sr.gnb, 2)(oracle), two.weights(two.p))
    close(halved[0], mean)
    close(halved[1], variance / 2)
    assert oracle.cost == 2


def test_one_draw_averaged_is_the_draw_itself():
    f = Quadratic(3)
    one, same = (sr.Oracle(f, np.ones(3), rng=np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(sr.averaged(sr.hutchinson, 1)(one), sr.hutchinson(same))


def test_on_a_part_gnb_is_the_gauss_newton_diagonal_of_the_first_examples_with_their_own_b():
    part = Enumeration(3, 4, hidden=True)
    rng = np.random.default_rng(0)
    X = np.concatenate([part.X, rng.standard_normal((6, D))])  # the first 4 of 10 are looked at
    edges = np.cumsum(part.p, axis=-1)
    middles = (edges - part.p / 2)[np.arange(4), part.labels[:, 0]]
    lead = (part.rows, 10)
    batch = (np.broadcast_to(X, (*lead, D)), np.zeros(lead, int), np.ones(lead, bool))
    oracle = sr.Oracle(part.problem, np.tile(part.theta, (part.rows, 1)), batch, Script(random=[middles]))
    close(part.weights(part.p) @ sr.on_part(sr.gnb, 0.4)(oracle), part.gauss_newton())
    assert oracle.cost == pytest.approx(0.4, rel=1e-15)


@pytest.mark.parametrize(
    ("estimator", "price"),
    [
        (sr.hutchinson, 3),
        (sr.hutchinson_rademacher, 3),
        (sr.gnb, 1),
        (sr.empirical_fisher, 4 / 3),
        (sr.exact_diagonal, 45),
    ],
)
def test_an_estimate_costs_what_the_table_says_and_on_a_part_that_times_its_share(estimator, price):
    problem, rng = Classifier(5, hidden=False), np.random.default_rng(0)
    batch = (rng.standard_normal((8, D)), rng.integers(0, 5, 8), np.ones(8, bool))
    theta = rng.standard_normal(problem.layout.size)
    whole, part = (sr.Oracle(problem, theta, batch, np.random.default_rng(1)) for _ in range(2))
    whole.curvature(estimator)
    assert whole.cost == pytest.approx(price, rel=1e-14)
    h_hat = part.curvature(sr.on_part(estimator, 0.25))
    assert part.cost == pytest.approx(price / 4, rel=1e-14)
    first = sr.Oracle(problem, theta, tuple(array[:2] for array in batch), np.random.default_rng(1))
    np.testing.assert_array_equal(h_hat, estimator(first))


def test_averages_of_parts_and_parts_of_averages_are_the_same():
    problem, rng = Classifier(3, hidden=True), np.random.default_rng(0)
    batch = (rng.standard_normal((6, D)), rng.integers(0, 3, 6), np.ones(6, bool))
    one, other = (sr.Oracle(problem, np.ones(problem.layout.size), batch, np.random.default_rng(1)) for _ in range(2))
    a = one.curvature(sr.averaged(sr.on_part(sr.gnb, 0.5), 3))
    b = other.curvature(sr.on_part(sr.averaged(sr.gnb, 3), 0.5))
    np.testing.assert_array_equal(a, b)
    assert one.cost == other.cost == 1.5


def test_an_optimizer_made_of_averages_and_parts_can_be_compared_and_pickled():
    estimator = sr.on_part(sr.averaged(sr.gnb, 2), 0.5)
    assert estimator == sr.on_part(sr.averaged(sr.gnb, 2), 0.5) != sr.on_part(sr.averaged(sr.gnb, 3), 0.5)
    opt = sr.SophiaG(lr=0.1, estimator=estimator)
    assert pickle.loads(pickle.dumps(opt)) == opt


# -- dtype and bad input -----------------------------------------------------------------------------------------------

ESTIMATORS = [
    sr.hutchinson, sr.hutchinson_rademacher, sr.gnb, sr.empirical_fisher, sr.exact_diagonal,
    sr.averaged(sr.gnb, 3), sr.averaged(sr.hutchinson, np.int64(2)), sr.on_part(sr.gnb, 0.5),
]  # fmt: skip


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=range(len(ESTIMATORS)))
@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_estimates_have_the_shape_and_dtype_of_theta(estimator, lead, dtype):
    problem, rng = Classifier(3, hidden=True), np.random.default_rng(0)
    theta = rng.standard_normal((*lead, problem.layout.size)).astype(dtype)
    mask = np.arange(4) != 3  # B is then an array of integers, one a row
    batch = (rng.standard_normal((*lead, 4, D)), rng.integers(0, 3, (*lead, 4)), np.broadcast_to(mask, (*lead, 4)))
    h_hat = sr.Oracle(problem, theta, batch, rng).curvature(estimator)
    assert h_hat.shape == theta.shape
    assert h_hat.dtype == dtype


@pytest.mark.parametrize("n", [2.0, True, "2", None])
def test_a_number_of_draws_that_is_no_integer_is_refused(n):
    with pytest.raises(TypeError, match=f"averaged: n must be an integer >= 1, got {n!r}"):
        sr.averaged(sr.gnb, n)


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_draw_is_refused(n):
    with pytest.raises(ValueError, match=f"averaged: n must be an integer >= 1, got {n}"):
        sr.averaged(sr.gnb, n)


@pytest.mark.parametrize("fraction", [0, -0.5, 1.1, np.nan, np.inf, True, "half", None])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(
        ValueError, match=f"on_part: fraction must be a number with 0 < fraction <= 1, got {fraction!r}"
    ):
        sr.on_part(sr.gnb, fraction)


def test_an_estimator_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match="averaged: estimator must be a function oracle -> h_hat, got 'gnb'"):
        sr.averaged("gnb", 2)
    with pytest.raises(TypeError, match="on_part: estimator must be a function oracle -> h_hat, got 'gnb'"):
        sr.on_part("gnb", 0.5)
