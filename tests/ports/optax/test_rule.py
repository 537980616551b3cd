"""The rule beside sophia_ref.Sophia: to the bit where nothing is rounded, else to two ulp an operation."""

import numpy as np
import pytest

import sophia_ref as sr

WAYS = ("eager", "jit", "scan", "vmap")
EXACT = dict(lr=0.25, beta1=0.5, beta2=0.5, gamma=0.5, clip=1.0, eps=0.125, weight_decay=0.5)
PLAIN = dict(lr=0.003, beta1=0.96, beta2=0.99, gamma=0.01, clip=1.0, eps=1e-12, weight_decay=0.1)


def dyadic(rng, steps, shape, every):
    """Few bits everywhere: h is a power of two, of either sign, as each estimate is 3 h."""
    g, theta = rng.integers(-16, 17, (steps, *shape)) / 4.0, rng.integers(-16, 17, shape) / 4.0
    h_hat = np.where(rng.random(shape) < 0.7, 1, -1) * 2.0 ** rng.integers(-4, 5, shape)
    estimates = [h_hat] + [1.5 * h_hat * 2.0**n for n in range(steps // every + 1)]
    return g, np.array([estimates[t // every] for t in range(steps)]), theta


def plain(rng, steps, shape, every):
    return rng.normal(size=(steps, *shape)), rng.normal(size=(steps, *shape)), rng.normal(size=shape)


def taken(jax, optax, tx, theta, grads, h_hats, way):
    """(theta, m, h) after each step, stacked: step by step, compiled or not, in one scan, or as rows of a vmap."""

    def step(carry, given):
        params, state = carry
        updates, state = tx.update(given[0], state, params, curvature=given[1])
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state.m, state.h)

    if way == "vmap":  # (rows, P): each row a run
        rows = jax.vmap(lambda theta, *given: jax.lax.scan(step, (theta, tx.init(theta)), given)[1], (0, 1, 1), 1)
        return [np.asarray(x) for x in rows(theta, grads, h_hats)]
    carry = (jax.numpy.asarray(theta), tx.init(theta))
    if way == "scan":
        return [np.asarray(x) for x in jax.lax.scan(step, carry, (grads, h_hats))[1]]
    step, out = (jax.jit(step) if way == "jit" else step), []
    for given in zip(jax.numpy.asarray(grads), jax.numpy.asarray(h_hats), strict=True):
        carry, after = step(carry, given)
        out.append(after)
    return [np.stack(x) for x in zip(*out, strict=True)]


def transformation(port, settings, **others):
    names = {"lr": "learning_rate", "beta1": "b1", "beta2": "b2"}
    return port.sophia(**{names.get(name, name): x for name, x in settings.items()}, **others)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("every", "decay"), [(1, 0.5), (3, 0.5), (3, 0.0)])
def test_where_nothing_is_rounded_every_bit_is_numpys(jax, optax, port, way, dtype, every, decay):
    settings, shape = EXACT | {"weight_decay": decay}, (4, 40)
    given = [x.astype(dtype) for x in dyadic(np.random.default_rng(1), 5, shape, every)]
    grads, h_hats, theta = given
    thetas, ms, hs = taken(jax, optax, transformation(port, settings, every=every), theta, grads, h_hats, way)
    opt, clipped = sr.Sophia(**settings, every=every), []
    state = opt.init(theta)
    for t in range(5):
        theta, state, terms = opt.step(theta, state, sr.Given(grads[t], h_hats[t]))
        clipped.append(terms["clipped"])
        for x, y in zip((thetas[t], ms[t], hs[t]), (theta, state.m, state.h), strict=True):
            assert x.dtype == y.dtype == dtype
            np.testing.assert_array_equal(x, y)
    assert 0.2 < np.mean(clipped) < 0.8


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", [PLAIN, PLAIN | dict(gamma=1.0, beta2=0.5), PLAIN | dict(weight_decay=0.0)])
def test_elsewhere_each_operation_is_two_ulp_off_at_most(jax, optax, port, way, dtype, settings):
    steps, every, shape = 25, 3, (3, 50)
    grads, h_hats, theta = (x.astype(dtype) for x in plain(np.random.default_rng(2), steps, shape, every))
    found = taken(jax, optax, transformation(port, settings, every=every), theta, grads, h_hats, way)
    opt = sr.Sophia(**settings, every=every)
    m = h = np.zeros_like(theta)
    for t, after in enumerate(zip(*found, strict=True)):  # each step from where the port was
        step = opt.step(theta, opt.State(t, m, h), sr.Given(grads[t], h_hats[t]))
        allowed = bounds(opt, theta, m, grads[t], h_hats[t], step)
        for name, x, y, most in zip("θmh", after, (step.theta, step.state.m, step.state.h), allowed, strict=True):
            assert (np.abs(x - y) <= most).all(), (name, t)
        theta, m, h = after


def bounds(opt, theta, m, g, h_hat, step):
    """Two ulp for each operation, of its largest operand, carried through to theta, m and h."""

    def ulps(*operands):
        return 2 * np.max([np.spacing(np.abs(x)) for x in operands], axis=0)

    terms = step.terms
    m_off, h_off = 2 * ulps(m, g), 2 * ulps(terms["h"], h_hat)
    off = (m_off + np.abs(terms["ratio"]) * opt.gamma * h_off) / terms["denominator"] + 3 * ulps(terms["ratio"])
    off = np.where(np.abs(terms["ratio"]) - off < opt.clip, off, 0)
    length = opt.lr * terms["update"]
    return 3 * ulps(theta, length) + opt.lr * off, m_off, h_off


def test_the_returned_difference_leads_to_numpys_theta_to_the_bit_within_a_factor_of_two(jax, optax, port):
    rng, settings = np.random.default_rng(3), PLAIN | dict(beta1=0.0, beta2=0.0, lr=0.01)
    theta, g = rng.normal(size=(2, 100_000)).astype(np.float32)
    h_hat = np.full_like(theta, 100)
    (found,), _, _ = taken(jax, optax, transformation(port, settings), theta, g[None], h_hat[None], "eager")
    opt = sr.Sophia(**settings)
    # operations that are not compiled together are NumPy's to the bit
    expected, _, terms = opt.step(theta, opt.init(theta), sr.Given(g, h_hat))
    near = (expected / theta > 0.5) & (expected / theta < 2)
    np.testing.assert_array_equal(found[near], expected[near])
    change = np.abs(expected - theta)
    assert (np.abs(found - expected) <= np.spacing(np.maximum(change, np.abs(expected)))).all()
    assert 0.95 < near.mean() < 1
    # what one would return at first sight
    naive = theta + -(np.float32(0.01 * 0.1) * theta + np.float32(0.01) * terms["update"])
    assert 0.1 < (naive != expected).mean() < 0.4


def test_without_decay_the_returned_update_leads_to_numpys_theta_everywhere(jax, optax, port):
    rng, settings = np.random.default_rng(4), PLAIN | dict(beta1=0.0, beta2=0.0, lr=1.0, weight_decay=0.0)
    theta, g = rng.normal(size=(2, 100_000)).astype(np.float32)
    h_hat = np.full_like(theta, 100)
    (found,), _, _ = taken(jax, optax, transformation(port, settings), theta, g[None], h_hat[None], "eager")
    opt = sr.Sophia(**settings)
    np.testing.assert_array_equal(found, opt.step(theta, opt.init(theta), sr.Given(g, h_hat)).theta)


@pytest.mark.parametrize("every", [1, 2, 3, 10])
def test_estimates_enter_at_t_1_and_every_k_steps_after(jax, optax, port, every):
    h_hats = 2.0 ** np.arange(25)[:, None]
    *_, hs = taken(jax, optax, port.sophia(0.1, b2=0.0, every=every), np.ones(1), np.ones((25, 1)), h_hats, "scan")
    np.testing.assert_array_equal(hs[:, 0], [2.0 ** (every * (t // every)) for t in range(25)])


def test_a_schedule_is_asked_for_counts_from_0(jax, optax, port):
    rates = np.array([0.5, 0.25, 0.125])
    for way in ("eager", "jit", "scan"):
        tx = port.sophia(lambda count: jax.numpy.asarray(rates)[count])
        thetas, *_ = taken(jax, optax, tx, np.zeros(1), np.ones((3, 1)), np.zeros((3, 1)), way)
        np.testing.assert_array_equal(thetas[:, 0], -np.cumsum(rates))
    tx = port.sophia(optax.linear_schedule(0.5, 0.0, 2))
    thetas, *_ = taken(jax, optax, tx, np.zeros(1), np.ones((3, 1)), np.zeros((3, 1)), "scan")
    np.testing.assert_array_equal(thetas[:, 0], [-0.5, -0.75, -0.75])


@pytest.mark.parametrize("kind", ["tree", "prefix", "function", "none"])
def test_a_mask_says_what_decays(jax, jnp, optax, port, kind):
    params = {"blocks": [{"w": jnp.ones((2, 2))}, {"w": jnp.ones(3)}], "gain": jnp.ones(2)}
    mask = {
        "tree": {"blocks": [{"w": True}, {"w": False}], "gain": False},
        "prefix": {"blocks": [True, False], "gain": False},
        "function": lambda params: jax.tree.map(lambda x: x.ndim == 2, params),
        "none": None,
    }[kind]
    zeros = jax.tree.map(jnp.zeros_like, params)
    tx = port.sophia(0.5, weight_decay=0.5, mask=mask)
    updates, _ = tx.update(zeros, tx.init(params), params, curvature=zeros)
    changes = [float(x.ravel()[0]) for x in jax.tree.leaves(updates)]
    assert changes == ([-0.25, -0.25, -0.25] if kind == "none" else [-0.25, 0.0, 0.0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_parameters_keep_float32_state_and_get_updates_of_their_own(jnp, optax, port, dtype):
    rng, settings = np.random.default_rng(5), PLAIN | dict(lr=0.01)
    rows = rng.normal(size=(3, 100))
    theta, g, h_hat = (jnp.asarray(x, dtype) for x in rows)
    tx = transformation(port, settings)
    updates, state = tx.update(g, tx.init(theta), theta, curvature=h_hat)
    assert updates.dtype == optax.apply_updates(theta, updates).dtype == dtype
    assert state.m.dtype == state.h.dtype == jnp.float32
    opt = sr.Sophia(**settings)
    wide = [np.asarray(x, np.float32) for x in (theta, g, h_hat)]
    step = opt.step(wide[0], opt.init(wide[0]), sr.Given(*wide[1:]))
    np.testing.assert_allclose(state.m, step.state.m, rtol=3e-7)
    np.testing.assert_allclose(state.h, step.state.h, rtol=3e-7)
    change = step.theta - wide[0]
    np.testing.assert_allclose(np.asarray(updates, np.float32), change, rtol=2.0**-8, atol=1e-6)


def test_none_and_empty_leaves_are_as_optax_has_them(jnp, optax, port):
    params = {"w": jnp.ones(2), "frozen": None, "empty": jnp.zeros((0, 3))}
    tx = port.sophia(0.5, weight_decay=0.5)
    updates, state = tx.update(params, tx.init(params), params, curvature=params)
    assert updates["frozen"] is None
    assert updates["empty"].shape == state.m["empty"].shape == (0, 3)
    np.testing.assert_array_equal(optax.apply_updates(params, updates)["w"], np.full(2, 0.25))
    assert tx.update({}, tx.init({}), {}, curvature={})[0] == {}


@pytest.mark.parametrize("where", ["grads", "curvature", "params"])
def test_nan_is_not_hidden(jax, jnp, port, where):
    given = dict(grads=jnp.ones(2), curvature=jnp.ones(2), params=jnp.ones(2))
    given[where] = jnp.array([jnp.nan, 1.0])
    tx = port.sophia(0.1, weight_decay=0.1)
    updates, _ = jax.jit(lambda s, grads, curvature, params: tx.update(grads, s, params, curvature=curvature))(
        tx.init(jnp.ones(2)), **given
    )
    assert np.isnan(updates).tolist() == [True, False]


def test_xla_takes_denormals_for_zero_on_a_cpu(jax, jnp, port):
    """What the module says; where this fails, eps need not be refused any more."""
    tiny = float(np.finfo(np.float32).tiny)
    assert float(jnp.float32(tiny / 4) * jnp.float32(1)) == 0.0
    with pytest.raises(ValueError, match=r"sophia: eps must be >= 1.18e-38, .* got 1e-40"):
        port.sophia(0.1, eps=1e-40).init(jnp.ones(2, jnp.float32))
    port.sophia(0.1, eps=1e-40).init(jnp.ones(2, jnp.float64))


def test_a_clip_of_infinity_turns_clipping_off(jnp, port):
    tx = port.sophia(1.0, b1=0.0, b2=0.0, gamma=1.0, clip=jnp.inf)
    updates, _ = tx.update(jnp.array([12.0]), tx.init(jnp.ones(1)), jnp.ones(1), curvature=jnp.array([4.0]))
    assert updates.tolist() == [-3.0]


def test_sophia_h_and_g_have_the_published_gammas(jnp, port):
    for make, gamma in ((port.sophia_h, 0.01), (port.sophia_g, 0.05)):
        tx = make(1.0, b1=0.0, b2=0.0)
        updates, _ = tx.update(jnp.array([0.002]), tx.init(jnp.ones(1)), jnp.ones(1), curvature=jnp.ones(1))
        np.testing.assert_allclose(updates, [-0.002 / gamma], rtol=1e-6)
