"""The optax port under jax.sharding: four devices of a CPU, the same functions under jit, against one device.

Nothing of the port knows of devices. jit takes the layout of parameters, state and batch from the arrays, and JAX's
random numbers do not depend on it, so that labels and probes that are drawn are the same.
"""

import functools

import numpy as np
import pytest

EVERY, STEPS = 3, 7
ROWS, TOKENS, INPUTS, HIDDEN, CLASSES = 24, 2, 8, 12, 4
RNG = np.random.default_rng(3)
X = RNG.normal(size=(STEPS, ROWS, TOKENS, INPUTS))
Y = RNG.integers(CLASSES, size=(STEPS, ROWS, TOKENS))
MASK = RNG.random((ROWS, TOKENS)) < np.linspace(0, 1, ROWS)[:, None]  # few on the first device, nearly all on the last
START = {
    "in": RNG.normal(size=(INPUTS, HIDDEN)),
    "bias": RNG.normal(size=HIDDEN),
    "out": RNG.normal(size=(HIDDEN, CLASSES)),
}
# by axes "data" and "model" of a mesh: its shape, parameters, batch
LAYOUTS = {
    "replicated": ((4, 1), {}, ()),
    "data": ((4, 1), {}, ("data",)),
    "data and parameters": ((4, 1), {"in": ("data",), "bias": ("data",), "out": ("data",)}, ("data",)),
    "tensors": ((2, 2), {"in": (None, "model"), "bias": ("model",), "out": ("model",)}, ("data",)),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS)
methods = pytest.mark.parametrize("method", ["gnb", "gnb-micro", "hutchinson"])


@pytest.fixture(autouse=True)
def _four(jax):
    if jax.device_count() < 4:
        pytest.skip("JAX was asked for a device before these tests could make four; run them on their own")


def logits(jax, params, x):
    """x (N, T, D) -> (N, T, C)"""
    return jax.numpy.tanh(x @ params["in"] + params["bias"]) @ params["out"]


def loss(jax, params, x, y, mask):
    p = jax.nn.log_softmax(logits(jax, params, x))
    return -(jax.numpy.take_along_axis(p, y[..., None], -1)[..., 0] * mask).sum() / mask.sum()


def estimator(jax, port, method, x, y, mask):
    if method == "hutchinson":
        return port.hutchinson(lambda params: loss(jax, params, x, y, mask))
    return port.gnb(functools.partial(logits, jax), x, mask, micro_batches=3 if method == "gnb-micro" else 1)


@functools.cache  # so that what was compiled for a layout is used again
def stepper(jax, port, method):
    optimizer = port.sophia(0.01, b1=0.9, b2=0.8, gamma=0.5, weight_decay=0.1, every=EVERY)

    @jax.jit
    def step(params, state, x, y, mask):
        grads = jax.grad(functools.partial(loss, jax))(params, x, y, mask)
        curvature = estimator(jax, port, method, x, y, mask)
        updates, state = optimizer.update(grads, state, params, curvature=curvature)
        return jax.tree.map(jax.numpy.add, params, updates), state

    return optimizer, step


def placed(jax, layout):
    """(parameters, batch): functions that put a tree of parameters, an array of a batch, where the layout has them."""
    if layout is None:
        return [functools.partial(jax.device_put, device=jax.devices()[0])] * 2
    shape, specs, batch = LAYOUTS[layout]
    mesh = jax.sharding.Mesh(np.array(jax.devices()[: np.prod(shape)]).reshape(shape), ("data", "model"))

    def sharding(spec):
        return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))

    def parameters(tree):
        return {name: jax.device_put(x, sharding(specs.get(name, ()))) for name, x in tree.items()}

    return parameters, lambda x: jax.device_put(x, sharding(batch))


def train(jax, port, method, layout, first=0, last=STEPS, params=START, state=None):
    """(params, m, h) after each step; the last params and state, in their layout."""
    parameters, batch = placed(jax, layout)
    optimizer, step = stepper(jax, port, method)
    params = parameters(params)
    if state is None:
        state = optimizer.init(params)
    rest = parameters({"count": state.count, "key": state.key})
    state = state._replace(m=parameters(state.m), h=parameters(state.h), **rest)
    found = []
    for t in range(first, last):
        params, state = step(params, state, batch(X[t]), batch(Y[t]), batch(MASK))
        found.append(jax.device_get((params, state.m, state.h)))
    return found, params, state


@functools.cache
def one_device(jax, port, method):
    return train(jax, port, method, None)[0]


def same(jax, found, expected):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-13), found, expected)


@layouts
@methods
def test_every_step_is_that_of_one_device(jax, port, method, layout):
    found, params, state = train(jax, port, method, layout)
    same(jax, found, one_device(jax, port, method))
    parameters, _ = placed(jax, layout)
    fresh = stepper(jax, port, method)[0].init(parameters(START))
    for tree in (params, state.m, state.h, fresh.m, fresh.h):  # the state lies where its parameters lie
        for name, x in parameters(START).items():
            assert tree[name].sharding.is_equivalent_to(x.sharding, x.ndim), name


@layouts
def test_it_is_the_mean_over_the_whole_mask_that_is_squared(jax, port, layout):
    """Given labels: B g_hat^2, g_hat written out in NumPy for the last matrix. A mean of squares would be seen."""
    parameters, batch = placed(jax, layout)
    x, y, mask = batch(X[0]), batch(Y[0]), batch(MASK)
    gnb = jax.jit(lambda params, x, y, mask, key: port.gnb(functools.partial(logits, jax), x, mask, y)(params, key))
    found = gnb(parameters(START), x, y, mask, jax.random.PRNGKey(0))["out"]
    hidden = np.tanh(X[0] @ START["in"] + START["bias"])  # (N, T, H)
    z = hidden @ START["out"]
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)  # (N, T, C)
    slopes = (p - np.eye(CLASSES)[Y[0]]) * MASK[..., None]
    sums = np.einsum("dnth,dntc->dhc", *(x.reshape(4, -1, *x.shape[1:]) for x in (hidden, slopes)))  # by device
    B, counts = MASK.sum(), MASK.reshape(4, -1).sum(1)[:, None, None]
    np.testing.assert_allclose(found, (right := B * (sums.sum(0) / B) ** 2), rtol=1e-10)
    assert abs((counts * (sums / counts) ** 2).mean(0) - right).max() > 0.1 * right.max()


def test_labels_are_drawn_on_each_device_for_itself(jax, port):
    """The same example on each device: labels in common would make the mean of estimates four times the diagonal."""
    _, batch = placed(jax, "data")
    x, params, count = batch(np.ones((4, 1))), np.zeros((1, 3)), 2000
    gnb = jax.jit(lambda key: port.gnb(lambda w, x: x @ w, x)(params, key))
    found = np.array([gnb(key)[0] for key in jax.random.split(jax.random.PRNGKey(0), count)])
    exact = 1 / 3 * (1 - 1 / 3)  # p (1 - p)
    error = found.std(0) / count**0.5
    assert (abs(found.mean(0) - exact) < 4 * error).all()
    assert (4 * error < exact).all()  # so that four times as much would be seen


@pytest.mark.parametrize("method", ["gnb", "hutchinson"])
def test_a_state_that_four_devices_saved_goes_on_elsewhere(jax, port, method):
    middle = EVERY + 2
    expected = one_device(jax, port, method)
    _, params, state = train(jax, port, method, "data and parameters", 0, middle)
    saved = jax.device_get((params, state))
    for layout in (None, "replicated", "tensors"):
        found, *_ = train(jax, port, method, layout, middle, STEPS, *saved)
        same(jax, found, expected[middle:])
