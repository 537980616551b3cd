"""Inside what optax and JAX offer: chains, masks, accumulation, injected settings, cond, vmap, saved states."""

import itertools
import pickle

import numpy as np
import pytest

import sophia_ref as sr


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return rng.normal(size=5), rng.normal(size=(12, 5)), rng.normal(size=(12, 5))


def test_in_a_chain_the_gradient_is_clipped_and_the_curvature_is_not(jnp, optax, port, problem):
    theta, grads, h_hats = problem
    tx = optax.chain(optax.clip_by_global_norm(0.5), port.sophia(0.1, gamma=0.5, every=2))
    state, opt, params = tx.init(theta), sr.Sophia(0.1, gamma=0.5, every=2), theta
    reference = opt.init(theta)
    for g, h_hat in zip(grads, h_hats, strict=True):
        updates, state = tx.update(g, state, params, curvature=h_hat)
        params = optax.apply_updates(params, updates)
        theta, reference, _ = opt.step(theta, reference, sr.Given(g * min(1, 0.5 / np.linalg.norm(g)), h_hat))
    np.testing.assert_allclose(params, theta, rtol=1e-10)


def test_an_estimate_is_computed_in_due_steps_only(jax, jnp, optax, port):
    """Counted by a callback from the compiled program: under cond in some steps, under vmap of states in every one."""
    asked = []

    def curvature(params, key):
        jax.debug.callback(lambda _: asked.append(1), params)
        return params

    tx = port.sophia(0.1, every=4)

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(params, state, params, curvature=curvature)
        return (optax.apply_updates(params, updates), state), None

    def run(params):
        return jax.lax.scan(step, (params, tx.init(params)), None, length=9)[0]

    jax.block_until_ready(jax.jit(run)(jnp.ones(3)))
    jax.effects_barrier()
    assert len(asked) == 3
    asked.clear()
    for way in (step, jax.jit(step)):
        carry = (jnp.ones(3), tx.init(jnp.ones(3)))
        for _ in range(9):
            carry, _ = way(carry, None)
    jax.effects_barrier()
    assert len(asked) == 6
    asked.clear()
    # mapped over parameters alone, with one count for all runs, cond stays a cond
    one_count = port.SophiaState(None, 0, 0, None)
    params, state = jnp.ones((2, 3)), jax.vmap(tx.init, out_axes=one_count)(jnp.ones((2, 3)))
    for _ in range(9):
        (params, state), _ = jax.vmap(step, ((0, one_count), None), ((0, one_count), None))((params, state), None)
    jax.effects_barrier()
    assert len(asked) == 3 * 2
    asked.clear()
    state = jax.vmap(tx.init)(params)
    for _ in range(9):
        (params, state), _ = jax.vmap(step, (0, None))((params, state), None)
    jax.effects_barrier()
    assert len(asked) == 9 * 2


def test_runs_under_vmap_may_have_keys_and_learning_rates_of_their_own(jax, jnp, optax, port):
    A = jnp.asarray(np.random.default_rng(1).normal(size=(4, 4)))

    def loss(x):
        return ((A @ x) ** 4).sum()

    def run(lr, key, params):
        tx = port.sophia(lr, gamma=1.0, b2=0.5, every=2)
        state = tx.init(params)._replace(key=key)

        def step(carry, _):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params), state, params, curvature=port.hutchinson(loss))
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), None, length=6)[0]

    lrs, keys = jnp.array([0.1, 0.1, 0.01]), jax.random.split(jax.random.PRNGKey(2), 3)
    params, state = jax.vmap(run, (0, 0, None))(lrs, keys, jnp.ones(4))
    for i in range(3):
        alone, _ = run(float(lrs[i]), keys[i], jnp.ones(4))
        np.testing.assert_allclose(params[i], alone, rtol=1e-9)
    assert (state.h[0] != state.h[1]).all()


def test_traced_settings_of_float64_leave_float32_state_and_parameters_as_they_are(jax, jnp, optax, port):
    def run(lr, b1, b2, weight_decay, params):
        tx = port.sophia(lr, b1, b2, weight_decay=weight_decay, every=2)

        def step(carry, _):
            params, state = carry
            updates, state = tx.update(params, state, params, curvature=params)
            return (optax.apply_updates(params, updates), state), updates.dtype == params.dtype

        return jax.lax.scan(step, (params, tx.init(params)), None, length=3)

    settings = [jnp.asarray(x, jnp.float64) for x in (0.1, 0.5, 0.5, 0.1)]
    (params, state), same = jax.jit(run)(*settings, jnp.ones(2, jnp.float32))
    assert params.dtype == state.m.dtype == state.h.dtype == jnp.float32
    assert same.all()


def test_multi_transform_and_masked_use_the_part_of_h_hat_that_is_theirs(jax, jnp, optax, port):
    params = {"body": jnp.array([1.0, 2.0]), "head": jnp.array([3.0])}
    grads, h_hat = (
        {"body": jnp.array([0.5, 1.0]), "head": jnp.ones(1)},
        {"body": jnp.array([1.0, 4.0]), "head": jnp.ones(1)},
    )
    rule = port.sophia(0.5, b1=0.0, b2=0.0, gamma=1.0)
    labels, mask = {"body": "sophia", "head": "sgd"}, {"body": True, "head": False}
    together = optax.multi_transform({"sophia": rule, "sgd": optax.sgd(0.25)}, labels)
    masked = optax.chain(optax.masked(rule, mask), optax.masked(optax.sgd(0.25), {"body": False, "head": True}))

    def loss(params):
        return (h_hat["body"] * params["body"] ** 2).sum() / 2 + (params["head"] ** 2).sum() / 2

    signs = jax.tree.map(jnp.ones_like, params)
    for tx in (together, masked):
        for curvature in (h_hat, lambda _, key: port.hutchinson(loss, signs)(params, key)):
            for update in (tx.update, jax.jit(lambda *a, tx=tx, c=curvature: tx.update(*a, curvature=c))):
                extra = dict(curvature=curvature) if update == tx.update else {}
                updates, _ = update(grads, tx.init(params), params, **extra)
                np.testing.assert_array_equal(updates["body"], [-0.25, -0.125])
                np.testing.assert_array_equal(updates["head"], [-0.25])


def test_in_multi_steps_the_last_micro_batch_estimates(jax, jnp, optax, port):
    asked = []

    def curvature_of(value):
        def curvature(params, key):
            jax.debug.callback(lambda _: asked.append(value), params)
            return jnp.full_like(params, value)

        return curvature

    tx, params = optax.MultiSteps(port.sophia(0.1, b1=0.0, b2=0.0, gamma=1.0, every=2), 3), jnp.ones(2)
    state = tx.init(params)
    for i in range(12):
        updates, state = tx.update(jnp.full(2, i / 64), state, params, curvature=curvature_of(float(i + 1)))
        if i % 3 < 2:
            np.testing.assert_array_equal(updates, 0)
        else:
            due = {2: 3.0, 5: 3.0, 8: 9.0, 11: 9.0}[i]
            np.testing.assert_array_equal(state.inner_opt_state.h, due)
            np.testing.assert_allclose(updates, -0.1 * ((i - 1) / 64) / due, rtol=1e-12)
    jax.effects_barrier()
    assert asked == [1.0, 2.0, 3.0, 7.0, 8.0, 9.0]  # the steps t = 1 and 3; the others of a step are forgotten
    assert state.inner_opt_state.count == 4


def test_each_estimate_draws_anew_from_the_seed_and_the_step(jax, jnp, port):
    def drawn(seed, steps):
        tx = port.sophia(0.0, b2=0.0, every=2, seed=seed)
        state, params, found = tx.init(jnp.ones(3)), jnp.ones(3), []
        for _ in range(steps):
            _, state = tx.update(params, state, params, curvature=port.hutchinson(lambda x: x @ x))
            found.append(tuple(np.asarray(state.h)))
        return found

    found = drawn(0, 6)
    assert found == drawn(0, 6)
    assert [a == b for a, b in itertools.pairwise(found)] == [True, False, True, False, True]
    assert len(set(found)) == 3
    assert found[0] != drawn(1, 1)[0]


@pytest.mark.parametrize("make", ["sophia", "sophia_h", "sophia_g"])
def test_injected_settings_can_be_changed_on_the_way(jax, jnp, optax, port, problem, make):
    theta, grads, h_hats = problem
    injected = optax.inject_hyperparams(getattr(port, make), static_args="mask")
    tx = injected(learning_rate=0.1, weight_decay=0.5, every=3, mask=lambda params: True)
    update, params, state = jax.jit(tx.update), theta, tx.init(theta)
    gamma = {"sophia_g": 0.05}.get(make, 0.01)
    reference = sr.Sophia.State(0, np.zeros(5), np.zeros(5))
    for t, (g, h_hat) in enumerate(zip(grads, h_hats, strict=True)):
        lr = 0.1 if t < 5 else 0.01
        state.hyperparams["learning_rate"] = jnp.asarray(lr)
        updates, state = update(g, state, params, curvature=h_hat)
        params = optax.apply_updates(params, updates)
        opt = sr.Sophia(lr, gamma=gamma, weight_decay=0.5, every=3)
        theta, reference, _ = opt.step(theta, reference, sr.Given(g, h_hat))
        np.testing.assert_allclose(params, theta, rtol=1e-9)


def test_optax_finds_its_way_in_the_state(jax, jnp, optax, port):
    params = {"w": jnp.ones((2, 3))}
    tx = optax.chain(optax.clip_by_global_norm(1.0), port.sophia(0.1, mask={"w": True}))
    state = tx.init(params)
    assert optax.tree_utils.tree_get(state, "count") == 0
    doubled = optax.tree_utils.tree_map_params(tx, lambda x: x + 1, state)
    np.testing.assert_array_equal(doubled[1].m["w"], 1)
    assert doubled[1].count == 0
    shapes = jax.eval_shape(tx.init, params)
    assert shapes[1].h["w"].shape == (2, 3)


@pytest.mark.parametrize("by", ["pickle", "npz"])
@pytest.mark.parametrize("after", [1, 4, 5])
def test_a_state_that_was_saved_within_an_interval_goes_on_to_the_bit(jax, jnp, optax, port, tmp_path, by, after):
    x = jnp.asarray(np.random.default_rng(3).normal(size=(6, 4)))

    def apply(params, x):
        return jnp.tanh(x @ params["w"]) @ params["v"]

    def loss(params):
        return (apply(params, x) ** 2).mean()

    def make():
        tx = port.sophia(optax.linear_schedule(0.1, 0.0, 9), gamma=0.5, weight_decay=0.1, every=4, seed=7)

        @jax.jit
        def step(params, state):
            updates, state = tx.update(jax.grad(loss)(params), state, params, curvature=port.gnb(apply, x))
            return optax.apply_updates(params, updates), state

        return tx, step

    tx, step = make()
    params = {"w": jnp.ones((4, 3)) / 4, "v": jnp.ones((3, 2))}
    state = tx.init(params)
    for t in range(9):
        if t == after:
            if by == "pickle":
                kept = pickle.loads(pickle.dumps((params, state)))
            else:
                leaves, structure = jax.tree.flatten((params, state))
                np.savez(tmp_path / "state.npz", *leaves)
                with np.load(tmp_path / "state.npz") as file:
                    kept = jax.tree.unflatten(structure, [file[name] for name in file.files])
        params, state = step(params, state)
    tx, step = make()
    for _ in range(after, 9):
        kept = step(*kept)
    for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves((params, state)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_buffers_can_be_given_up(jax, jnp, optax, port):
    """m and h are arrays of their own, so that a compiled step may write over both (donate_argnums)."""
    tx = port.sophia(0.1)
    step = jax.jit(lambda g, s, p: tx.update(g, s, p, curvature=g), donate_argnums=1)
    state = tx.init(jnp.ones(3))
    _, state = step(jnp.ones(3), state, jnp.ones(3))
    _, state = step(jnp.ones(3), state, jnp.ones(3))
    assert state.count == 2
