"""Bad input is refused by name, with its value and what was expected."""

import math
import re

import numpy as np
import pytest

SETTINGS = [
    ("learning_rate", -0.1, ValueError, "a finite number >= 0, or a schedule count -> number, got -0.1"),
    ("learning_rate", math.inf, ValueError, "a finite number >= 0, or a schedule"),
    ("learning_rate", "0.1", TypeError, "a finite number >= 0, or a schedule count -> number, got '0.1'"),
    ("learning_rate", np.ones(3), TypeError, "a finite number >= 0, or a schedule"),
    ("learning_rate", True, TypeError, "got True"),
    ("b1", 1.0, ValueError, "a number in [0, 1), got 1.0"),
    ("b2", -0.1, ValueError, "a number in [0, 1), got -0.1"),
    ("b2", None, TypeError, "a number in [0, 1), got None"),
    ("gamma", 0.0, ValueError, "a finite number > 0, got 0.0"),
    ("clip", 0.0, ValueError, "a number > 0 (jnp.inf turns clipping off), got 0.0"),
    ("clip", math.nan, ValueError, "a number > 0"),
    ("eps", 0.0, ValueError, "a finite number > 0, got 0.0"),
    ("weight_decay", -1.0, ValueError, "a finite number >= 0, got -1.0"),
    ("every", 0, ValueError, "an integer >= 1, got 0"),
    ("every", 2.5, TypeError, "an integer >= 1, got 2.5"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), SETTINGS)
def test_settings(port, name, value, error, message):
    with pytest.raises(error, match=rf"^sophia: {name} must be .*" + re.escape(message).replace("must be ", "")):
        port.sophia(**{"learning_rate": 0.1, name: value})


def test_numbers_in_0_d_arrays_are_judged_too_and_tracers_are_not(jax, jnp, port):
    with pytest.raises(ValueError, match=r"sophia: b1 must be a number in \[0, 1\), got 1.5"):
        port.sophia(0.1, b1=jnp.float32(1.5))
    with pytest.raises(TypeError, match=r"sophia: every must be an integer >= 1, got 2\.5"):
        port.sophia(0.1, every=jnp.float32(2.5))
    jax.jit(lambda b1: port.sophia(0.1, b1=b1).init(jnp.ones(1)))(1.5)


def test_a_schedules_number(jnp, port):
    tx = port.sophia(lambda count: -1.0)
    with pytest.raises(ValueError, match=r"sophia: learning_rate\(count\) must be a finite number >= 0, got -1\.0"):
        tx.update(jnp.ones(1), tx.init(jnp.ones(1)), jnp.ones(1), curvature=jnp.ones(1))


@pytest.mark.parametrize(
    ("leaf", "error", "message"),
    [
        (np.float64(3.0), ValueError, r"must have an axis, got a 0-d array; reshape it to \(1,\)"),
        (np.ones(2, int), TypeError, "must be an array of float32, .* got dtype int64"),
        (np.ones(2, complex), TypeError, "must be an array of float32, .* got dtype complex128"),
        (np.ones(2, bool), TypeError, "must be an array of float32, .* got dtype bool"),
        (3.0, TypeError, r"must be an array of float32, .* got 3\.0"),
    ],
)
def test_leaves(port, leaf, error, message):
    with pytest.raises(error, match=rf"^sophia: params\['w'\] {message}"):
        port.sophia(0.1).init({"v": np.ones(2), "w": leaf})


@pytest.mark.parametrize("name", ["grads", "params", "curvature", "curvature from a function"])
@pytest.mark.parametrize(
    ("tree", "error", "message"),
    [
        ({"w": np.ones(3)}, ValueError, r"\['w'\] must have shape \(2,\), got shape \(3,\)"),
        ({"w": np.ones((1, 2))}, ValueError, r"\['w'\] must have shape \(2,\), got shape \(1, 2\)"),
        ({"w": np.ones(2, int)}, TypeError, r"\['w'\] must be an array of float32, .* got dtype int64"),
        ({"w": None}, ValueError, r" must have the structure .*'w': \*.*, got .*'w': None"),
        ({"u": np.ones(2)}, ValueError, " must have the structure"),
        ({}, ValueError, " must have the structure"),
        ({"w": {"w": np.ones(2)}}, ValueError, " must have the structure"),
        (np.ones(2), ValueError, " must have the structure"),
    ],
)
@pytest.mark.parametrize("way", ["eager", "jit"])
def test_trees_that_do_not_fit(jax, port, name, tree, error, message, way):
    good = {"w": np.ones(2)}
    tx = port.sophia(0.1)
    state = tx.init(good)
    given = dict(grads=good, params=good, curvature=good) | {name: tree}
    curvature = given["curvature"]
    if name == "curvature from a function":
        name, curvature = "curvature", lambda params, key: tree

    def update(grads, params):
        return tx.update(grads, state, params, curvature=curvature)

    with pytest.raises(error, match=f"^sophia: {name}{message}"):
        (jax.jit(update) if way == "jit" else update)(given["grads"], given["params"])
    assert state.count == 0


def test_what_must_be_given(port):
    tx, x = port.sophia(0.1), np.ones(2)
    wanted = r"must be given, got None; expected update\(grads, state, params, curvature=\.\.\.\), in every step"
    with pytest.raises(ValueError, match=f"sophia: curvature {wanted}"):
        tx.update(x, tx.init(x), x)
    with pytest.raises(ValueError, match=f"sophia: params {wanted}"):
        tx.update(x, tx.init(x), curvature=x)
    with pytest.raises(TypeError, match=r"sophia: state must be a SophiaState, as init returns it, got \(\)"):
        tx.update(x, (), x, curvature=x)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        ({"w": 1.0}, TypeError, r"sophia: mask\['w'\] must be True or False, got 1\.0"),
        ({"u": True}, ValueError, "sophia: mask must have the structure of params, .*'w'.*, or of a prefix, got .*'u'"),
        (lambda params: 1, TypeError, "sophia: mask must be True or False, got 1"),
    ],
)
def test_masks(port, mask, error, message):
    x = {"w": np.ones(2)}
    tx = port.sophia(0.1, mask=mask)
    with pytest.raises(error, match=message):
        tx.update(x, tx.init(x), x, curvature=x)


X, W = np.ones((6, 2)), np.ones((2, 3))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (dict(likelihood="poisson"), ValueError, "likelihood must be 'categorical' or 'gaussian', got 'poisson'"),
        (dict(mask=np.ones(5, bool)), ValueError, r"mask must be an array, bool \(6,\), got bool \(5,\)"),
        (dict(mask=np.ones(6)), ValueError, r"mask must be an array, bool \(6,\), got float64 \(6,\)"),
        (dict(mask=[True] * 6), ValueError, r"mask must be an array, bool \(6,\), got list"),
        (
            dict(labels=np.zeros((6, 3), int)),
            ValueError,
            r"labels must be an array, integer \(6,\), got int64 \(6, 3\)",
        ),
        (dict(labels=np.zeros(6)), ValueError, r"labels must be an array, integer \(6,\), got float64 \(6,\)"),
        (dict(labels=np.full(6, 3)), ValueError, r"labels must be in 0, \.\.\., 2 where they count, got 3"),
        (dict(labels=np.full(6, -1)), ValueError, r"labels must be in 0, \.\.\., 2 where they count, got -1"),
        (
            dict(labels=np.zeros(6), likelihood="gaussian"),
            ValueError,
            r"labels must be an array, floating \(6, 3\), got float64",
        ),
        (dict(micro_batches=4), ValueError, r"micro_batches must be a number that divides N = 6, or .*, got 4"),
        (dict(micro_batches=0), ValueError, "micro_batches must be an integer >= 1, got 0"),
        (dict(micro_batches=2.0), TypeError, r"micro_batches must be an integer >= 1, got 2\.0"),
        (dict(micro_batches=(2, 3)), ValueError, r"micro_batches must be .* add up to it, got \(2, 3\)"),
        (dict(micro_batches=(7, -1)), ValueError, "micro_batches must be an integer >= 1, got -1"),
        (dict(micro_batches=()), ValueError, r"micro_batches must be .* add up to it, got \(\)"),
    ],
)
def test_gnb(jax, port, settings, error, message):
    with pytest.raises(error, match=f"^gnb: {message}"):
        port.gnb(lambda w, x: x @ w, X, **settings)(W, jax.random.PRNGKey(0))


def test_outputs_and_inputs_of_gnb(jax, port):
    key = jax.random.PRNGKey(0)
    with pytest.raises(
        ValueError, match=r"gnb: apply must return \(N, \.\.\., C\), got shape \(6,\); where there is one"
    ):
        port.gnb(lambda w, x: (x @ w)[:, 0], X)(W, key)
    with pytest.raises(ValueError, match=r"gnb: inputs\['y'\] must have shape \(6, \.\.\.\), .* got shape \(2, 6\)"):
        port.gnb(lambda w, i: i["x"] @ w, {"x": X, "y": np.ones((2, 6))})(W, key)


def test_a_label_where_the_mask_is_not_may_be_anything(jax, port):
    labels, mask = np.array([0, 1, 2, 0, -1, 99]), np.array([True] * 4 + [False] * 2)
    assert np.isfinite(port.gnb(lambda w, x: x @ w, X, mask, labels)(W, jax.random.PRNGKey(0))).all()


def test_probes(jax, port):
    for probes, message in (
        ({"v": X}, "probes must have the structure"),
        (np.ones(3), r"probes must have shape \(2,\)"),
    ):
        with pytest.raises(ValueError, match=f"^hutchinson: {message}"):
            port.hutchinson(lambda x: x @ x, probes)(np.ones(2), jax.random.PRNGKey(0))
