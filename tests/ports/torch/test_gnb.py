"""The Gauss-Newton-Bartlett estimate: against sums written out in NumPy, and by enumerating every tuple of labels."""

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")

N, D, C = 4, 3, 3
RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(N, D)), RNG.normal(size=(D, C))
MASK = np.array([True, False, True, True])
LABELS = np.array([2, 0, 1, 1])


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_hand(labels, mask=None):
    """B g_hat^2 of softmax regression, logits x W: g_hat = 1/B sum of x (p - y)^T over what is unmasked."""
    kept = np.ones(N, bool) if mask is None else mask
    g = X[kept].T @ (softmax(X @ W) - np.eye(C)[labels])[kept] / kept.sum()
    return kept.sum() * g * g


def weights(dtype=torch.float64):
    return torch.nn.Parameter(torch.tensor(W, dtype=dtype))


def x(dtype=torch.float64, rows=slice(None)):
    return torch.tensor(X[rows], dtype=dtype)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_given_labels_an_estimate_is_the_sum_written_out(mask):
    w = weights()
    gnb = port.GNB([w])
    gnb.add(x() @ w, None if mask is None else torch.tensor(mask), torch.tensor(LABELS))
    np.testing.assert_allclose(gnb.estimate()[0].numpy(), by_hand(LABELS, mask), rtol=1e-12)


def test_the_mean_over_all_labels_is_the_diagonal_of_the_gauss_newton_matrix():
    w, p, mask = weights(), softmax(X @ W), torch.tensor(MASK)
    gnb, mean = port.GNB([w]), np.zeros((D, C))
    for labels in product(range(C), repeat=N):
        gnb.add(x() @ w, mask, torch.tensor(labels))
        mean += np.prod(p[np.arange(N), labels]) * gnb.estimate()[0].numpy()
    # 1/B sum of J^T (diag p - p p^T) J, whose entry for W_dc is x_d^2 p_c (1 - p_c)
    expected = (X[MASK] ** 2).T @ (p * (1 - p))[MASK] / MASK.sum()
    np.testing.assert_allclose(mean, expected, rtol=1e-12)


@pytest.mark.parametrize("lengths", [(4,), (2, 2), (1, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
def test_micro_batches_of_any_lengths_make_the_estimate_of_the_whole(lengths, mask):
    w, start = weights(), 0
    gnb = port.GNB([w])
    for length in lengths:  # with (1, 1, 1, 1) and the mask, one micro-batch is masked as a whole
        rows = slice(start, start + length)
        start += length
        gnb.add(x(rows=rows) @ w, None if mask is None else torch.tensor(mask[rows]), torch.tensor(LABELS[rows]))
    np.testing.assert_allclose(gnb.estimate()[0].numpy(), by_hand(LABELS, mask), rtol=1e-12)


def test_ranks_that_add_up_total_and_count_get_the_estimate_of_all_data():
    w = weights()
    ranks = [port.GNB([w]), port.GNB([w])]
    for rank, rows in zip(ranks, (slice(0, 1), slice(1, 4)), strict=True):
        rank.add(x(rows=rows) @ w, torch.tensor(MASK[rows]), torch.tensor(LABELS[rows]))
    total, count = ranks[0].total[0] + ranks[1].total[0], ranks[0].count + ranks[1].count
    for rank in ranks:
        rank.total[0].copy_(total)  # what all_reduce does
        rank.count.copy_(count)
        np.testing.assert_allclose(rank.estimate()[0].numpy(), by_hand(LABELS, MASK), rtol=1e-12)


def test_more_axes_are_more_predictions():
    w = weights()
    gnb = port.GNB([w])
    gnb.add((x() @ w).view(2, 2, C), torch.tensor(MASK).view(2, 2), torch.tensor(LABELS).view(2, 2))
    np.testing.assert_allclose(gnb.estimate()[0].numpy(), by_hand(LABELS, MASK), rtol=1e-12)


def test_labels_where_the_mask_is_false_are_not_read():
    w = weights()
    gnb = port.GNB([w])
    labels = torch.tensor(LABELS).where(torch.tensor(MASK), -100)
    gnb.add(x() @ w, torch.tensor(MASK), labels)
    np.testing.assert_allclose(gnb.estimate()[0].numpy(), by_hand(LABELS, MASK), rtol=1e-12)


def drawn_labels(logits, seed, outputs=torch.Tensor.clone):
    """Which labels it draws: with theta added to the logits, the gradient of each row is p - one_hot(label)."""
    theta = torch.nn.Parameter(torch.zeros(logits.shape, dtype=logits.dtype))
    gnb = port.GNB([theta], generator=torch.Generator().manual_seed(seed))
    gnb.add(outputs(theta + logits))
    (total,) = gnb.total
    return total.argmin(-1)


def test_labels_are_drawn_from_the_models_own_distribution():
    logits, n = torch.tensor([2.0, 0.0, -1.0, -torch.inf, 1.0]), 40_000
    counts = drawn_labels(logits.expand(n, 5), 0).bincount(minlength=5).numpy()
    p = softmax(logits.numpy())
    assert counts[3] == 0
    assert (np.abs(counts - n * p) <= 5 * np.sqrt(n * p * (1 - p))).all()


def test_labels_come_from_the_generator_and_rows_are_independent():
    logits = torch.zeros(64, 7)
    assert torch.equal(drawn_labels(logits, 1), drawn_labels(logits, 1))
    assert not torch.equal(drawn_labels(logits, 1), drawn_labels(logits, 2))
    assert len(drawn_labels(logits, 1).unique()) > 1


def test_the_mean_of_many_estimates_with_labels_of_its_own_is_the_diagonal():
    w, n = weights(), 4000
    gnb = port.GNB([w], generator=torch.Generator().manual_seed(0))
    estimates = np.empty((n, D, C))
    for i in range(n):
        gnb.add(x() @ w, torch.tensor(MASK))
        estimates[i] = gnb.estimate()[0].numpy()
    p = softmax(X @ W)
    expected = (X[MASK] ** 2).T @ (p * (1 - p))[MASK] / MASK.sum()
    assert (np.abs(estimates.mean(0) - expected) <= 5 * estimates.std(0) / n**0.5).all()


def test_gaussian_labels_given_the_estimate_is_the_sum_written_out():
    w, y = weights(), RNG.normal(size=(N, C))
    gnb = port.GNB([w])
    for rows in (slice(0, 1), slice(1, 4)):
        gnb.add(x(rows=rows) @ w, torch.tensor(MASK[rows]), torch.tensor(y[rows]), "gaussian")
    g = X[MASK].T @ (X @ W - y)[MASK] / MASK.sum()
    np.testing.assert_allclose(gnb.estimate()[0].numpy(), MASK.sum() * g * g, rtol=1e-12)


def test_over_labels_with_the_moments_of_a_gaussian_the_mean_is_the_gauss_newton_diagonal():
    # |f - y| = 1 in every coordinate, all signs: mean f and covariance I, which is all that a square asks for
    w, f = weights(), X[:2] @ W
    gnb, mean = port.GNB([w]), np.zeros((D, C))
    for signs in product([-1.0, 1.0], repeat=2 * C):
        y = torch.tensor(f + np.reshape(signs, (2, C)))
        gnb.add(x(rows=slice(2)) @ w, labels=y, likelihood="gaussian")
        mean += gnb.estimate()[0].numpy() / 2 ** (2 * C)
    np.testing.assert_allclose(mean, np.repeat((X[:2] ** 2).mean(0)[:, None], C, 1), rtol=1e-12)


def test_gaussian_labels_of_its_own_have_the_outputs_as_mean_and_variance_one():
    f = torch.nn.Parameter(torch.full((40_000, 1), 3.0))
    gnb = port.GNB([f], generator=torch.Generator().manual_seed(0))
    gnb.add(f * 1, likelihood="gaussian")
    noise = -gnb.total[0].double()  # the gradient is f - y
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (4, 3, 96)):
        assert abs((noise**power).mean() - moment) < 5 * (variance / 40_000) ** 0.5


@pytest.mark.parametrize("likelihood", ["categorical", "gaussian"])
@pytest.mark.parametrize("scale", [2.0**16, torch.tensor(2.0**-10)])
def test_a_loss_scale_comes_out_before_anything_is_squared(likelihood, scale):
    w, results = weights(), []
    for loss_scale in (1.0, scale):
        gnb = port.GNB([w], generator=torch.Generator().manual_seed(0), loss_scale=loss_scale)
        gnb.add(x() @ w, likelihood=likelihood)
        results.append(gnb.estimate()[0])
    assert torch.equal(*results)


def test_a_scale_made_for_the_mean_loss_of_a_large_batch_does_not_overflow_in_float16():
    """With the sum in place of the mean a GradScaler's 65,536 would be beyond float16 in a single logit."""
    w = torch.nn.Parameter(torch.zeros(1, 2, dtype=torch.float16))
    gnb = port.GNB([w], loss_scale=2.0**16)
    ones = torch.ones(4096, 1, dtype=torch.float16)
    labels = torch.arange(4096) % 4 // 3  # three zeros to a one: the gradient is the sum of p - y = -1024, 1024
    gnb.add(ones @ w, labels=labels)
    assert gnb.estimate()[0].tolist() == [[256.0, 256.0]]  # 1024^2 / 4096


def test_under_autocast_labels_are_drawn_in_float32_and_estimates_are_float32(monkeypatch):
    w, drawn_from, multinomial = weights(torch.float32), [], torch.multinomial

    def spy(p, *rest, **named):
        drawn_from.append(p)
        return multinomial(p, *rest, **named)

    monkeypatch.setattr(torch, "multinomial", spy)
    gnb, other = (port.GNB([w], generator=torch.Generator().manual_seed(0)) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        z = x(torch.float32) @ w
        assert z.dtype == torch.bfloat16
        gnb.add(z)
    other.add(x(torch.float32) @ w)
    (estimate,), (expected,) = gnb.estimate(), other.estimate()
    assert {p.dtype for p in drawn_from} == {estimate.dtype} == {torch.float32}
    assert torch.equal(drawn_from[0], z.detach().float().softmax(-1))
    np.testing.assert_allclose(estimate.numpy(), expected.numpy(), atol=0.02)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_estimates_of_low_precision_parameters_are_float32_and_add_up_in_it(dtype):
    w = weights(getattr(torch, dtype))
    gnb = port.GNB([w])
    for i in range(N):
        gnb.add(x(w.dtype, slice(i, i + 1)) @ w, labels=torch.tensor(LABELS[i : i + 1]))
    (estimate,) = gnb.estimate()
    assert estimate.dtype == torch.float32
    np.testing.assert_allclose(estimate.numpy(), by_hand(LABELS), atol=0.05)
    port.Sophia([w], 0.1).update_curvature([estimate])


def test_parameters_that_take_no_part():
    w, unused, frozen = weights(), torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(C), False)
    frozen = frozen.double()
    gnb = port.GNB([w, unused, frozen])
    gnb.add(x() @ w + frozen, labels=torch.tensor(LABELS))
    estimate = gnb.estimate()
    np.testing.assert_allclose(estimate[0].numpy(), by_hand(LABELS), rtol=1e-12)
    assert estimate[1].tolist() == [0.0, 0.0]
    assert estimate[2] is None


def test_gradients_of_the_parameters_are_not_touched_and_estimates_start_anew():
    w = weights()
    w.grad = torch.ones_like(w)
    gnb = port.GNB([w])
    for _ in range(2):
        gnb.add(x() @ w, labels=torch.tensor(LABELS))
        np.testing.assert_allclose(gnb.estimate()[0].numpy(), by_hand(LABELS), rtol=1e-12)
    assert torch.equal(w.grad, torch.ones_like(w))


def test_where_all_is_masked_there_is_no_estimate():
    w = weights()
    gnb = port.GNB([w])
    gnb.add(x() @ w, torch.zeros(N, dtype=torch.bool))
    with pytest.raises(RuntimeError, match="GNB: no prediction to estimate from: every position was masked"):
        gnb.estimate()


def test_nan_is_not_hidden():
    w = weights()
    gnb = port.GNB([w])
    inputs = x()
    inputs[0, 1] = torch.nan
    gnb.add(inputs @ w, labels=torch.tensor(LABELS))
    assert gnb.estimate()[0].isnan().all()
    with pytest.raises(RuntimeError, match="probability tensor contains either `inf`, `nan`"):
        gnb.add(inputs @ w)  # labels cannot be drawn


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (lambda w: [torch.ones(2, 3)], TypeError, "outputs must be a tensor that was computed from parameters"),
        (lambda w: [w[0]], ValueError, r"outputs must have shape \(..., C\), two axes or more"),
        (lambda w: [w[:0]], ValueError, r"outputs must have shape \(..., C\), two axes or more, none 0"),
        (lambda w: [w * 1, torch.ones(3)], TypeError, "mask must be bool, got torch.float32"),
        (lambda w: [w * 1, torch.ones(2) > 0], ValueError, r"mask must be a tensor of shape \(3,\), got \(\(2,\)"),
        (lambda w: [w * 1, [True] * 3], ValueError, r"mask must be a tensor of shape \(3,\), got \[True"),
        (lambda w: [w * 1, None, torch.ones(3, 3).long()], ValueError, r"labels must be a tensor of shape \(3,\)"),
        (lambda w: [w * 1, None, np.zeros(3, int)], ValueError, r"labels must be a tensor of shape \(3,\), got array"),
        (lambda w: [w * 1, None, torch.zeros(3)], ValueError, "labels must be integers in 0..2"),
        (lambda w: [w * 1, None, torch.tensor([0, 1, 3])], ValueError, "labels must be integers in 0..2"),
        (lambda w: [w * 1, None, torch.tensor([0, -100, 2])], ValueError, "labels must be integers in 0..2"),
        (lambda w: [w * 1, None, torch.zeros(3), "gaussian"], ValueError, r"labels must be a tensor of shape \(3, 3\)"),
        (lambda w: [w * 1, None, None, "poisson"], ValueError, "likelihood must be 'categorical' or 'gaussian'"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, error, message):
    w = weights()
    gnb = port.GNB([w])
    with pytest.raises(error, match=f"GNB: {message}"):
        gnb.add(*arguments(w))
    with pytest.raises(RuntimeError, match="nothing to estimate from"):
        gnb.estimate()
