"""Hutchinson's estimate: against explicit Hessians, and by enumerating every vector of signs."""

from itertools import product

import numpy as np
import pytest

import sophia_ref as sr

torch = pytest.importorskip("torch", reason="PyTorch is not installed here; `make test-ports` installs it")
port = pytest.importorskip("sophia_ref.ports.torch")

X = np.random.default_rng(0).normal(size=(6, 2))
Y = np.random.default_rng(1).normal(size=(6, 1))
START = np.random.default_rng(2).normal(size=9) / 2  # 2 x 2 and 2, 2 x 1 and 1


def numpy_loss(theta):
    hidden = np.tanh(X @ theta[:4].reshape(2, 2) + theta[4:6])
    return ((hidden @ theta[6:8].reshape(2, 1) + theta[8:] - Y) ** 2).mean()


def model(dtype=torch.float64, start=START):
    parts = start[:4].reshape(2, 2), start[4:6], start[6:8].reshape(2, 1), start[8:]
    return [torch.nn.Parameter(torch.tensor(part, dtype=dtype)) for part in parts]


def torch_loss(params, rows=slice(None)):
    w1, b1, w2, b2 = params
    x, y = torch.tensor(X[rows], dtype=w1.dtype), torch.tensor(Y[rows], dtype=w1.dtype)
    return ((torch.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean()


def like(params, u):
    parts = torch.tensor(u, dtype=params[0].dtype).split([p.numel() for p in params])
    return [part.view(p.shape) for part, p in zip(parts, params, strict=True)]


def flat(tensors):
    return np.concatenate([x.detach().float().numpy().ravel() if x.dtype != torch.float64 else x.numpy().ravel()
                           for x in tensors])  # fmt: skip


def test_an_estimate_is_the_probe_times_the_hessian_times_the_probe():
    params, u = model(), np.random.default_rng(3).normal(size=9)
    hutchinson = port.Hutchinson(params)
    hutchinson.add(torch_loss(params), like(params, u))
    np.testing.assert_allclose(flat(hutchinson.estimate()), u * (sr.hessian(numpy_loss)(START) @ u), rtol=1e-12)


def test_the_mean_over_all_vectors_of_signs_is_the_diagonal():
    params = model()
    hutchinson = port.Hutchinson(params)
    for signs in product([-1.0, 1.0], repeat=9):
        hutchinson.add(torch_loss(params), like(params, signs))
    np.testing.assert_allclose(flat(hutchinson.estimate()), sr.hessian_diag(numpy_loss)(START), rtol=1e-11)


def test_probes_of_its_own_are_standard_normal_and_come_from_the_generator():
    def drawn(seed):
        params = [torch.nn.Parameter(torch.zeros(20_000)), torch.nn.Parameter(torch.zeros(20_000))]
        hutchinson = port.Hutchinson(params, generator=torch.Generator().manual_seed(seed))
        hutchinson.add(sum((p**2).sum() for p in params) / 2)  # H = I, so that the estimate is u squared
        return torch.cat(hutchinson.estimate()).double()

    one, again, other = drawn(1), drawn(1), drawn(2)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[:20_000], one[20_000:])
    for power, moment, variance in ((1, 1, 2), (2, 3, 96), (3, 15, 10170)):  # of u^2, chi-squared
        assert abs((one**power).mean() - moment) < 5 * (variance / 40_000) ** 0.5


def test_probes_change_sign_independently():
    params = [torch.nn.Parameter(torch.zeros(2))]
    A = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    hutchinson = port.Hutchinson(params, generator=torch.Generator().manual_seed(0))
    estimates = []
    for _ in range(2000):
        hutchinson.add(params[0] @ A @ params[0] / 2)
        estimates.append(hutchinson.estimate()[0])
    # u_1 (u_1 + u_2): mean 1 and variance 3; a probe of ones would give 2
    assert abs(torch.stack(estimates).mean(0) - 1).max() < 5 * (3 / 2000) ** 0.5


def test_micro_batches_are_averaged_and_the_next_estimate_starts_anew():
    params, u = model(), np.random.default_rng(3).normal(size=9)
    hutchinson = port.Hutchinson(params)
    hutchinson.add(torch_loss(params), like(params, u))
    whole = flat(hutchinson.estimate())
    for _ in range(2):
        for rows in (slice(0, 3), slice(3, 6)):
            hutchinson.add(torch_loss(params, rows), like(params, u))
        np.testing.assert_allclose(flat(hutchinson.estimate()), whole, rtol=1e-12)


def test_no_gradient_is_left_behind_and_none_is_touched():
    params = model()
    params[0].grad = torch.ones_like(params[0])
    hutchinson = port.Hutchinson(params)
    hutchinson.add(torch_loss(params))
    hutchinson.estimate()
    assert torch.equal(params[0].grad, torch.ones_like(params[0]))
    assert params[1].grad is None


def test_rows_of_zeros_and_parameters_that_take_no_part():
    curved, linear, unused, frozen = (torch.nn.Parameter(torch.ones(2), requires_grad=i < 3) for i in range(4))
    hutchinson = port.Hutchinson([curved, linear, unused, frozen])
    one = torch.ones(2)
    hutchinson.add((curved**2).sum() + linear.sum() + frozen.sum(), [one, one, one, None])
    estimates = hutchinson.estimate()
    assert [x if x is None else x.tolist() for x in estimates] == [[2.0, 2.0], [0.0, 0.0], [0.0, 0.0], None]
    port.Sophia([curved, linear, unused, frozen], 0.1).update_curvature(estimates)
    hutchinson.add(linear.sum())
    assert [x if x is None else x.tolist() for x in hutchinson.estimate()] == [[0.0, 0.0]] * 3 + [None]


def test_a_tied_weight_counts_with_all_its_uses():
    w = torch.nn.Parameter(torch.tensor([0.5, -1.0], dtype=torch.float64))
    hutchinson = port.Hutchinson([w])
    for signs in product([-1.0, 1.0], repeat=2):
        hutchinson.add((w * w[[1, 0]] ** 3).sum(), [torch.tensor(signs, dtype=torch.float64)])
    expected = sr.hessian_diag(lambda w: (w * w[::-1] ** 3).sum())(np.array([0.5, -1.0]))
    np.testing.assert_allclose(hutchinson.estimate()[0].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [2.0**16, torch.tensor(2.0**-10)])
def test_a_loss_scale_comes_out_again(scale):
    params, u = model(), np.random.default_rng(3).normal(size=9)
    results = []
    for loss_scale in (1.0, scale):
        hutchinson = port.Hutchinson(params, loss_scale=loss_scale)
        hutchinson.add(torch_loss(params), like(params, u))
        results.append(flat(hutchinson.estimate()))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_estimates_of_low_precision_parameters_are_float32(dtype):
    dtype = getattr(torch, dtype)
    params = model(dtype)
    exact = [p.detach().double().requires_grad_() for p in params]
    u = [x.to(dtype) for x in like(exact, np.random.default_rng(3).normal(size=9))]
    hutchinson, other = port.Hutchinson(params), port.Hutchinson(exact)
    hutchinson.add(torch_loss(params), u)
    other.add(torch_loss(exact), [x.double() for x in u])
    estimates, expected = hutchinson.estimate(), other.estimate()
    assert {x.dtype for x in estimates} == {torch.float32}
    np.testing.assert_allclose(flat(estimates), flat(expected), atol=0.1 if dtype == torch.bfloat16 else 0.01)
    hutchinson.add(torch_loss(params))  # with probes of its own
    port.Sophia(params, 0.1).update_curvature(hutchinson.estimate())


def test_under_autocast_estimates_are_float32_and_near():
    params, exact = model(torch.float32), model()
    u = np.random.default_rng(3).normal(size=9)
    hutchinson, other = port.Hutchinson(params), port.Hutchinson(exact)
    with torch.autocast("cpu", torch.bfloat16):
        w1, b1, w2, b2 = params
        hidden = torch.tanh(torch.tensor(X, dtype=torch.float32) @ w1 + b1)
        assert (hidden @ w2).dtype == torch.bfloat16
        loss = ((hidden @ w2 + b2 - torch.tensor(Y, dtype=torch.float32)) ** 2).mean()
        hutchinson.add(loss, like(params, u))
    other.add(torch_loss(exact), like(exact, u))
    estimates = hutchinson.estimate()
    assert {x.dtype for x in estimates} == {torch.float32}
    np.testing.assert_allclose(flat(estimates), flat(other.estimate()), atol=0.1)


def attention(q):
    return torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True).square().sum()


def test_fused_attention_has_no_second_derivative_and_the_error_says_what_has():
    q = torch.nn.Parameter(torch.randn(1, 2, 8, 4, generator=torch.Generator().manual_seed(0)))
    hutchinson = port.Hutchinson([q])
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice.*SDPBackend\.MATH.*not implemented"):
        hutchinson.add(attention(q))
    with pytest.raises(RuntimeError, match="nothing to estimate from"):
        hutchinson.estimate()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        hutchinson.add(attention(q))
    assert hutchinson.estimate()[0].abs().sum() > 0


def test_a_compiled_model_has_none_either():
    torch._dynamo.reset()
    p = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice.*torch.compile has none.*double backward"):
        port.Hutchinson([p]).add(torch.compile(lambda x: (x**3).sum(), backend="aot_eager")(p))


class Once(torch.autograd.Function):
    """x^2, whose backward pass autograd does not look into."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


def test_nor_has_a_function_that_is_marked_so_which_is_not_always_noticed():
    p = torch.nn.Parameter(torch.ones(2))
    hutchinson = port.Hutchinson([p])
    with pytest.raises(RuntimeError, match=r"cannot be differentiated twice.*once_differentiable"):
        hutchinson.add((Once.apply(p) ** 2).sum())
    hutchinson.add(Once.apply(p).sum())  # its gradient is a constant, as far as autograd knows
    assert hutchinson.estimate()[0].tolist() == [0.0, 0.0]


def test_nan_is_not_hidden():
    p = torch.nn.Parameter(torch.tensor([1.0, torch.nan]))
    hutchinson = port.Hutchinson([p])
    hutchinson.add((p**3).sum())
    assert hutchinson.estimate()[0].isnan().tolist() == [False, True]


@pytest.mark.parametrize(
    ("loss", "probes", "error", "message"),
    [
        (lambda p: 1.0, None, TypeError, "loss must be a tensor that was computed from parameters.*got 1.0"),
        (lambda p: torch.ones(()), None, TypeError, "loss must be a tensor that was computed from parameters"),
        (lambda p: p**2, None, ValueError, r"loss must be 0-d, got \(\(2,\)"),
        (lambda p: (p**2).sum(), [], ValueError, "probes must hold 1 tensors, got 0"),
        (lambda p: (p**2).sum(), [torch.ones(1)], ValueError, r"probes must be tensors.*\(2,\).*got \(\(1,\)"),
        (lambda p: (p**2).sum(), [torch.ones(2).double()], ValueError, "probes must be.*got.*float64"),
        (lambda p: (p**2).sum(), [np.ones(2)], ValueError, "probes must be tensors.*got array"),
        (lambda p: (p**2).sum(), [None], ValueError, "probes must be tensors.*got None"),
    ],
)
def test_bad_input_is_refused_by_name(loss, probes, error, message):
    p = torch.nn.Parameter(torch.ones(2))
    with pytest.raises(error, match=f"Hutchinson: {message}"):
        port.Hutchinson([p]).add(loss(p), probes)


@pytest.mark.parametrize("kind", ["Hutchinson", "GNB"])
def test_estimators_refuse_bad_parameters_and_scales_by_name(kind):
    make, p = getattr(port, kind), torch.nn.Parameter(torch.ones(1, 2))
    with pytest.raises(TypeError, match=f"{kind}: parameter 1 must be a tensor of float16.*int64"):
        make([p, torch.ones(2, dtype=torch.int64)])
    with pytest.raises(TypeError, match=f"{kind}: parameter 0 must be.*got 1.0"):
        make([1.0])
    argument = {"Hutchinson": lambda: (p**2).sum(), "GNB": lambda: p * 2}[kind]
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"{kind}: loss_scale must be a finite number > 0, got {scale}"):
            make([p], loss_scale=scale).add(argument())
    with pytest.raises(ValueError, match=f"{kind}: params must hold one that requires a gradient"):
        make([torch.ones(2)]).add(argument())
    with pytest.raises(RuntimeError, match=rf"{kind}: nothing to estimate from: add\(...\) must come before"):
        make([p]).estimate()
