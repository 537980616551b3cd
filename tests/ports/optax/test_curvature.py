"""Estimators against sums over all labels and all sign vectors, and against gradients and Hessians written by hand."""

import itertools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
D, C, N = 2, 3, 4


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, D)), rng.normal(size=(D, C)), np.array([True, True, False, True])


@pytest.fixture
def key(jax):
    return jax.random.PRNGKey(7)


def linear(w, x):
    return x @ w


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_hand(x, w, mask, labels):
    """B g_hat^2 of softmax regression: the gradient of one row is x_n (p_n - one_hot(y_n))."""
    p, B = softmax(x @ w), mask.sum()
    rows = [np.outer(x[n], p[n] - np.eye(C)[labels[n]]) for n in np.flatnonzero(mask)]
    return B * (sum(rows) / B) ** 2


# -- GNB ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batches", [1, 2, 4, (3, 1), (1, 1, 2)])
def test_gnb_sums_the_gradients_of_unmasked_rows_and_squares_once(jax, port, batch, key, micro_batches):
    (x, w, mask), labels = batch, np.array([0, 2, 1, 1])
    for kept in (mask, np.ones(N, bool)):
        estimate = port.gnb(linear, x, kept, labels, micro_batches=micro_batches)
        for call in (estimate, jax.jit(estimate)):
            np.testing.assert_allclose(call(w, key), by_hand(x, w, kept, labels), rtol=1e-13)
    np.testing.assert_allclose(port.gnb(linear, x, labels=labels)(w, key), by_hand(x, w, np.ones(N, bool), labels))


def test_the_mean_of_gnb_over_all_tuples_of_labels_is_the_gauss_newton_diagonal(jax, port, batch, key):
    x, w, mask = batch
    tuples = np.array(list(itertools.product(range(C), repeat=N)))
    p = softmax(x @ w)
    chances = np.prod(p[np.arange(N), tuples], -1)
    estimates = jax.vmap(lambda labels: port.gnb(linear, x, mask, labels)(w, key))(tuples)
    # J^T (diag p - p p^T) J, row by row
    gauss_newton = np.mean([np.outer(x[n] ** 2, p[n] - p[n] ** 2) for n in np.flatnonzero(mask)], 0)
    np.testing.assert_allclose(np.tensordot(chances, estimates, 1), gauss_newton, rtol=1e-12)


@pytest.mark.parametrize("micro_batches", [1, 2])
def test_drawn_labels_have_the_models_probabilities(jax, port, batch, micro_batches):
    x, w, mask = batch
    keys = jax.random.split(jax.random.PRNGKey(1), 40_000)
    estimates = jax.vmap(lambda key: port.gnb(linear, x, mask, micro_batches=micro_batches)(w, key))(keys)
    p = softmax(x @ w)
    gauss_newton = np.mean([np.outer(x[n] ** 2, p[n] - p[n] ** 2) for n in np.flatnonzero(mask)], 0)
    error = np.std(estimates, 0) / np.sqrt(len(keys))
    assert (np.abs(np.mean(estimates, 0) - gauss_newton) < 4.5 * error).all()
    assert error.max() < 0.02 * gauss_newton.max()


def test_gnb_of_sequences_counts_positions(port, key):
    """(N, T, C) outputs: B is the number of unmasked positions."""
    rng = np.random.default_rng(1)
    x, w, labels = rng.normal(size=(N, 5, D)), rng.normal(size=(D, C)), rng.integers(C, size=(N, 5))
    mask = rng.random((N, 5)) < 0.7
    expected = by_hand(x.reshape(-1, D), w, mask.ravel(), labels.ravel())
    for micro_batches in (1, 2, (1, 3)):
        found = port.gnb(linear, x, mask, labels, micro_batches=micro_batches)(w, key)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("micro_batches", [1, 2, (3, 1)])
def test_gaussian_gnb_is_that_of_squared_errors(port, batch, key, micro_batches):
    (x, w, mask), y = batch, np.random.default_rng(2).normal(size=(N, C))
    B = mask.sum()
    g = sum(np.outer(x[n], x[n] @ w - y[n]) for n in np.flatnonzero(mask)) / B
    found = port.gnb(linear, x, mask, y, "gaussian", micro_batches)(w, key)
    np.testing.assert_allclose(found, B * g**2, rtol=1e-12)


def test_drawn_gaussian_labels_give_the_diagonal_of_j_t_j(jax, port, batch):
    x, w, mask = batch
    keys = jax.random.split(jax.random.PRNGKey(3), 40_000)
    estimates = jax.vmap(lambda key: port.gnb(linear, x, mask, likelihood="gaussian")(w, key))(keys)
    expected = np.broadcast_to(np.mean(x[mask] ** 2, 0)[:, None], (D, C))
    error = np.std(estimates, 0) / np.sqrt(len(keys))
    assert (np.abs(np.mean(estimates, 0) - expected) < 4.5 * error).all()


def test_labels_are_held_constant(jax, jnp, port, key):
    """Were the Gaussian labels differentiated, f - y would not depend on the weights at all."""
    h_hat = port.gnb(lambda w, x: x * w, np.ones((8, 1)), likelihood="gaussian")(jnp.ones(1), key)
    assert h_hat[0] > 0.01


def test_inputs_may_be_a_tree_and_a_class_that_cannot_be_drawn_does_no_harm(jax, jnp, port, batch, key):
    x, w, mask = batch

    def apply(w, inputs):
        return (inputs["x"] * inputs["scale"]) @ w + jnp.where(jnp.arange(C) == 2, -jnp.inf, 0.0)

    inputs = {"x": x, "scale": np.ones((N, 1))}
    for micro_batches in (2, (3, 1)):
        h_hat = port.gnb(apply, inputs, mask, micro_batches=micro_batches)(w, key)
        assert np.isfinite(h_hat).all()
        np.testing.assert_array_equal(h_hat[:, 2], 0)


def test_where_all_is_masked_the_estimate_is_nan(port, batch, key):
    x, w, _ = batch
    assert np.isnan(port.gnb(linear, x, np.zeros(N, bool))(w, key)).all()


def test_bfloat16_gradients_are_added_and_squared_in_float32(jnp, port, key):
    """256 + 1 is 256 in bfloat16, which has 8 bits."""
    x, w = jnp.asarray([[256.0], [1.0]], jnp.bfloat16), jnp.zeros((1, 2), jnp.bfloat16)
    h_hat = port.gnb(linear, x, labels=np.array([0, 0]), micro_batches=2)(w, key)
    assert h_hat.dtype == jnp.float32
    np.testing.assert_array_equal(h_hat, np.full((1, 2), 2 * (257 / 4) ** 2))


# -- Hutchinson --------------------------------------------------------------------------------------------------------


def cubic(params):
    """A loss with a full Hessian: at params it is A + diag of third-order terms."""
    x = params["a"]
    return x @ A @ x / 2 + (x**3).sum() / 6 + (params["b"] ** 2 * x[0]).sum()


A = np.array([[2.0, -1.0, 0.5], [-1.0, 8.0, 0.25], [0.5, 0.25, -4.0]])


def hessian_by_hand(a, b):
    H = np.zeros((5, 5))
    H[:3, :3] = A + np.diag(a)
    H[0, 3:] = H[3:, 0] = 2 * b
    H[3:, 3:] = 2 * a[0] * np.eye(2)
    return H


def test_hutchinson_is_u_hu(jax, port, key):
    a, b = np.array([0.5, -1.0, 2.0]), np.array([1.5, -0.5])
    u = np.array([0.5, -2.0, 1.5, 0.25, -1.0])
    estimate = port.hutchinson(cubic, probes={"a": u[:3], "b": u[3:]})
    for call in (estimate, jax.jit(estimate)):
        h_hat = call({"a": a, "b": b}, key)
        np.testing.assert_allclose(
            np.concatenate([h_hat["a"], h_hat["b"]]), u * (hessian_by_hand(a, b) @ u), rtol=1e-13
        )


def test_the_mean_of_hutchinson_over_all_sign_vectors_is_the_diagonal(jax, port, key):
    a, b = np.array([0.5, -1.0, 2.0]), np.array([1.5, -0.5])
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
    probes = {"a": signs[:, :3], "b": signs[:, 3:]}
    h_hat = jax.vmap(lambda u: port.hutchinson(cubic, u)({"a": a, "b": b}, key))(probes)
    found = np.concatenate([h_hat["a"].mean(0), h_hat["b"].mean(0)])
    np.testing.assert_allclose(found, np.diag(hessian_by_hand(a, b)), rtol=1e-13)


def test_drawn_probes_are_standard_normal_and_independent_from_leaf_to_leaf(jax, jnp, port):
    """The mean is the diagonal, the variance 2 H_ii^2 + the sum of the other H_ij^2."""
    a, b = np.array([0.5, -1.0, 2.0]), np.array([1.5, -0.5])
    keys, H = jax.random.split(jax.random.PRNGKey(5), 100_000), hessian_by_hand(a, b)
    h_hat = jax.vmap(lambda key: port.hutchinson(cubic)({"a": jnp.asarray(a), "b": jnp.asarray(b)}, key))(keys)
    found = np.concatenate([h_hat["a"], h_hat["b"]], 1)
    variance = (H**2).sum(0) + np.diag(H) ** 2
    assert (np.abs(found.mean(0) - np.diag(H)) < 4.5 * np.sqrt(variance / len(keys))).all()
    np.testing.assert_allclose(found.var(0), variance, rtol=0.1)


def test_probes_have_the_dtype_of_the_parameters_and_the_estimate_at_least_float32(jnp, port, key):
    for dtype, wide in (("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")):
        h_hat = port.hutchinson(lambda w: (w**2).sum())(jnp.ones(3, dtype), key)
        assert h_hat.dtype == wide
        assert (h_hat > 0).all()


def test_another_key_is_another_estimate_and_the_same_key_the_same(jax, port, batch, key):
    x, w, _ = batch
    for estimate in (port.gnb(linear, x), port.hutchinson(lambda w: ((x @ w) ** 3).sum())):
        one, again, other = estimate(w, key), estimate(w, key), estimate(w, jax.random.PRNGKey(8))
        np.testing.assert_array_equal(one, again)
        assert (np.asarray(one) != other).any()


# -- on several devices ------------------------------------------------------------------------------------------------


def test_gnb_over_devices_adds_up_sums_and_counts(jax, port, batch, key):
    """Not the mean of the devices' estimates, which have other counts."""
    (x, w, mask), labels = batch, np.array([0, 2, 1, 1])

    def on_device(x, mask, labels):
        return port.gnb(linear, x, mask, labels, axis_name="devices")(w, key)

    shards = [part.reshape(2, 2, *part.shape[1:]) for part in (x, mask, labels)]
    found = jax.vmap(on_device, axis_name="devices")(*shards)
    for device in found:
        np.testing.assert_allclose(device, by_hand(x, w, mask, labels), rtol=1e-12)


def test_hutchinson_over_devices_is_the_mean(jax, jnp, port, key):
    matrices, u = np.stack([A, 2 * A + np.eye(3)]), np.array([[0.5, -2.0, 1.5], [1.0, 3.0, -1.0]])

    def on_device(A, u):
        return port.hutchinson(lambda x: x @ A @ x / 2, u, axis_name="devices")(jnp.ones(3), key)

    found = jax.vmap(on_device, axis_name="devices")(matrices, u)
    expected = np.mean([u * (A @ u) for A, u in zip(matrices, u, strict=True)], 0)
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-13)


def test_devices_draw_labels_and_probes_of_their_own(jax, jnp, port, key):
    """Were they the same on both, sums of gradients would be twice, and the mean of u * (H u) what one has alone."""
    x = np.ones((2, 2, 1))

    def gnb(x, axis_name):
        return port.gnb(lambda w, x: x * w, x, likelihood="gaussian", axis_name=axis_name)

    def hutchinson(x, axis_name):
        return port.hutchinson(lambda w: x[0, 0] * w @ w, axis_name=axis_name)

    for estimate, same in ((gnb, 2), (hutchinson, 1)):
        together = jax.vmap(lambda x, f=estimate: f(x, "devices")(jnp.ones(1), key), axis_name="devices")(x)
        alone = estimate(x[0], None)(jnp.ones(1), jax.random.fold_in(key, 0))
        assert together[0] == together[1]
        assert abs(together[0] / alone - same) > 0.01


SHARDED = """
    import os
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    import jax, jax.numpy as jnp, numpy as np
    from jax.sharding import PartitionSpec as P
    from sophia_ref.ports.optax import gnb, hutchinson, sophia
    import optax
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=(8, 2))), jnp.asarray(rng.normal(size=(2, 3)))
    labels, mask = jnp.asarray(rng.integers(3, size=8)), jnp.asarray(rng.random(8) < 0.6)
    u = jnp.asarray(rng.normal(size=(2, 3)))
    def loss(w, x, labels):
        return optax.softmax_cross_entropy_with_integer_labels(x @ w, labels).mean()
    def both(w, x, labels, mask, axis_name=None):
        estimates = (
            gnb(lambda w, x: x @ w, x, mask, labels, axis_name=axis_name),
            gnb(lambda w, x: x @ w, x, mask, labels, micro_batches=2, axis_name=axis_name),
            hutchinson(lambda w: loss(w, x, labels), u, axis_name=axis_name),
        )
        tx, out = sophia(0.1, every=2), []
        for estimate in estimates:
            updates, state = tx.update(w, tx.init(w), w, curvature=estimate)
            out.append(state.h)
        return out
    mesh = jax.make_mesh((2,), ("devices",), axis_types=(jax.sharding.AxisType.Auto,))
    specs = (P(), P("devices"), P("devices"), P("devices"))
    for checked in (True, False):
        sharded = jax.shard_map(lambda *a: both(*a, axis_name="devices"), mesh=mesh, in_specs=specs, out_specs=P(),
                                check_vma=checked)
        for one, whole in zip(jax.jit(sharded)(w, x, labels, mask), both(w, x, labels, mask), strict=True):
            np.testing.assert_allclose(one, whole, rtol=1e-12)
    print("same")
"""


def test_shard_map_over_two_devices_gives_the_estimate_of_the_whole_batch(jax):
    """Where JAX follows what varies over devices (check_vma), it sums the gradients of shared parameters by itself."""
    if not hasattr(jax, "shard_map"):
        pytest.skip("this JAX has no jax.shard_map")
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    code = textwrap.dedent(SHARDED)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout == "same\n", done.stderr
