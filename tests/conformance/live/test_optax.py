"""optax.contrib.sophia beside its dialect, in float64 and float32 on a CPU."""

import inspect

import numpy as np
import pytest

from sophia_ref.conformance import DIALECTS


@pytest.fixture
def optax(library):
    library("jax")
    return library("optax")


@pytest.mark.parametrize("kind", ["dyadic", "float64", "float32"])
@pytest.mark.parametrize("every", [1, 2, 3, 10])
def test_steps(optax, library, gives, assert_same_steps, kind, every):
    contrib, jnp = library("optax.contrib"), library("jax.numpy")
    if kind == "dyadic":
        # b1 = 0, as XLA may divide by 1 - b1^t as it likes: by 3/4 with its reciprocal, say
        settings = dict(b1=0.0, b2=0.5, gamma=0.5, clip_threshold=1.0, eps=0.125, weight_decay=0.5)
    else:
        settings = dict(b1=0.965, b2=0.99, gamma=0.01, clip_threshold=1.0, eps=1e-8, weight_decay=0.1)
    grads, h_hats, theta = gives(kind, {"dyadic": 8}.get(kind, 25))
    lr = 0.25 if kind == "dyadic" else 0.03

    def given(updates, state, params=None, *, h_hat, **_):
        return h_hat, state

    estimator = optax.GradientTransformationExtraArgs(lambda params: (), given)
    theirs = contrib.sophia(lr, **settings, update_interval=every, hessian_diagonal_fn=estimator)
    params = jnp.asarray(theta)
    memory = theirs.init(params)

    def other(t, g, h_hat):
        nonlocal params, memory
        updates, memory = theirs.update(jnp.asarray(g), memory, params, h_hat=jnp.asarray(h_hat))
        params = optax.apply_updates(params, updates)
        return tuple(np.array(x) for x in (params, memory[0].mu, memory[0].nu))

    opt = DIALECTS["optax"].optimizer(lr=lr, **settings, update_interval=every)
    assert_same_steps(opt, other, kind, grads, h_hats, theta)


def test_its_own_estimate_is_hutchinsons_with_random_signs(optax, library):
    jnp, contrib = library("jax.numpy"), library("optax.contrib")
    jax, H = library("jax"), np.array([[2.0, -1.0, 0.5], [-1.0, 8.0, 0.25], [0.5, 0.25, -4.0]])
    theirs = contrib.hutchinson_estimator_diag_hessian(jax.random.PRNGKey(3))
    params = jnp.ones(3)
    h_hat, _ = theirs.update(params, theirs.init(params), params, obj_fn=lambda x: x @ H @ x / 2)
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1).reshape(-1, 3)
    assert np.isclose(signs * (signs @ H), np.array(h_hat), rtol=1e-14).all(axis=1).any()


def test_defaults(library):
    parameters = inspect.signature(library("optax.contrib").sophia).parameters
    known = DIALECTS["optax"].settings
    assert parameters["learning_rate"].default is inspect.Parameter.empty
    assert {name: parameters[name].default for name in known if name != "lr"} == {
        name: value for name, value in known.items() if name != "lr"
    }
