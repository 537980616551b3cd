"""Each fused layer against a naive twin: loops and textbook formulas, differentiated by the complex step.

The complex step, f'(x) = Im f(x + ih) / h, subtracts nothing and so is exact to rounding (Squire and Trapp 1998). It
needs a twin that takes complex numbers, which the twins below do.
"""

import itertools

import numpy as np
import pytest

import sophia_ref as sr
from toy_problems import layers

B, T, D, H, V = 2, 5, 6, 2, 7


def naive_linear(x, w):
    return np.einsum("bti,ij->btj", x, w)


def naive_norm_linear(x, gain, w):
    mean = np.sum(x, -1, keepdims=True) / D
    variance = np.sum((x - mean) ** 2, -1, keepdims=True) / D
    return ((x - mean) / np.sqrt(variance + 1e-5) * gain) @ w


def naive_gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def naive_softmax(z):
    e = np.exp(z - z.real.max())
    return e / np.sum(e)


def naive_attention(qkv, heads):
    """One query of one head of one sequence at a time."""
    depth = D // heads
    sequences = []
    for sequence in qkv:  # (T, 3D)
        rows = []
        for i in range(T):
            row = []
            for h in range(heads):
                columns = slice(h * depth, (h + 1) * depth)
                q, k, v = sequence[i, :D][columns], sequence[: i + 1, D : 2 * D], sequence[: i + 1, 2 * D :]
                p = naive_softmax(k[:, columns] @ q / np.sqrt(depth))
                row.append(p @ v[:, columns])
            rows.append(np.concatenate(row))
        sequences.append(np.stack(rows))
    return np.stack(sequences)


def naive_embedding(tokens, words, positions):
    return np.stack([np.stack([words[token] + positions[t] for t, token in enumerate(row)]) for row in tokens])


def naive_cross_entropy(z, targets, uniforms):
    terms = [-np.log(naive_softmax(z[place])[target]) for place, target in np.ndenumerate(targets) if target >= 0]
    return sum(terms) / len(terms)


RNG = np.random.default_rng(3)
TARGETS = RNG.integers(V, size=(B, T))
TARGETS[0, 1] = TARGETS[1, 4] = -1
WORDS = RNG.normal(size=(V, D))
CASES = {
    # name: fused, naive, arguments
    "linear": (layers.linear, naive_linear, (RNG.normal(size=(B, T, D)), RNG.normal(size=(D, 3)))),
    "norm_linear": (
        layers.norm_linear,
        naive_norm_linear,
        (RNG.normal(size=(B, T, D)), RNG.normal(size=D), RNG.normal(size=(D, 3))),
    ),
    "norm_linear, tied": (
        layers.norm_linear,
        naive_norm_linear,
        (RNG.normal(size=(B, T, D)), RNG.normal(size=D), WORDS.T),
    ),
    "gelu": (layers.gelu, naive_gelu, (RNG.normal(size=(B, T, D)) * 2,)),
    "attention": (layers.attention, naive_attention, (RNG.normal(size=(B, T, 3 * D)), H)),
    "attention, out of exp's range": (layers.attention, naive_attention, (8 * RNG.normal(size=(B, T, 3 * D)), H)),
    "attention, one head": (layers.attention, naive_attention, (RNG.normal(size=(B, T, 3 * D)), 1)),
    "embedding": (
        layers.embedding,
        naive_embedding,
        (RNG.integers(V - 2, size=(B, T)), WORDS, RNG.normal(size=(T + 2, D))),
    ),
    "cross_entropy": (layers.cross_entropy, naive_cross_entropy, (3 * RNG.normal(size=(B, T, V)), TARGETS, None)),
}
each_layer = pytest.mark.parametrize(("fused", "naive", "arguments"), CASES.values(), ids=CASES)
ENDS = {
    "a linear end": lambda y: np.sum(y * np.cos(np.arange(np.size(y))).reshape(np.shape(y))),
    "a curved end": lambda y: np.sum(y**2 * np.cos(np.arange(np.size(y))).reshape(np.shape(y))),
}
each_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)


def float_arguments(arguments):
    return [i for i, argument in enumerate(arguments) if isinstance(argument, np.ndarray) and argument.dtype == float]


def of_argument(layer, arguments, i, end):
    """The scalar function of argument i alone."""
    return lambda x: end(layer(*arguments[:i], x, *arguments[i + 1 :]))


def complex_step_gradient(f, x):
    gradient = np.empty_like(x)
    for place in np.ndindex(x.shape):
        shifted = x.astype(complex)
        shifted[place] += 1e-30j
        gradient[place] = f(shifted).imag / 1e-30
    return gradient


def assert_close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def float32(arguments):
    return [a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == float else a for a in arguments]


@each_layer
def test_a_fused_layer_computes_what_its_twin_does(fused, naive, arguments):
    assert_close(fused(*arguments), naive(*arguments))


@each_end
@each_layer
def test_its_gradient_is_the_twins_by_the_complex_step(fused, naive, arguments, end):
    for i in float_arguments(arguments):
        expected = complex_step_gradient(of_argument(naive, arguments, i, end), arguments[i])
        assert_close(sr.grad(of_argument(fused, arguments, i, end))(arguments[i]), expected)


@each_end
@each_layer
def test_its_second_derivatives_also_mixed_ones_are_differences_of_the_twins_gradient(fused, naive, arguments, end):
    rng = np.random.default_rng(5)
    for i, j in itertools.product(float_arguments(arguments), repeat=2):

        def gradient_i(xj, derivative, layer, i=i, j=j):
            there = [*arguments[:j], xj, *arguments[j + 1 :]]
            xi = xj if i == j else arguments[i]
            return derivative(of_argument(layer, there, i, end), xi)

        v = rng.normal(size=arguments[j].shape)
        ours = sr.jvp(lambda x, g=gradient_i: g(x, lambda f, xi: sr.grad(f)(xi), fused), arguments[j], v)[1]
        h = 1e-5
        after, before = (gradient_i(arguments[j] + s * h * v, complex_step_gradient, naive) for s in (1, -1))
        difference = (after - before) / (2 * h)
        np.testing.assert_allclose(ours, difference, atol=1e-7 * max(1, np.abs(difference).max()))


@each_layer
def test_its_gradient_is_linear_in_what_comes_after_also_for_the_engine(fused, naive, arguments):
    """Only the cotangent carries a tangent here: the layer's own inputs are plain."""
    rng = np.random.default_rng(6)
    c, v = rng.normal(size=(2, *np.shape(naive(*arguments))))
    for i in float_arguments(arguments):

        def gradient(c, i=i):
            return sr.grad(lambda x: np.sum(c * fused(*arguments[:i], x, *arguments[i + 1 :])))(arguments[i])

        assert_close(sr.jvp(gradient, c, v)[1], gradient(v))


@each_layer
def test_float32_stays_float32_forward_and_backward(fused, naive, arguments):
    arguments = float32(arguments)
    y = fused(*arguments)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, naive(*arguments), rtol=1e-4, atol=1e-4)
    for i, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray) and argument.dtype == np.float32:
            value, pullback = sr.vjp(lambda x, i=i: fused(*arguments[:i], x, *arguments[i + 1 :]), argument)
            assert pullback(np.ones_like(value)).dtype == np.float32


@each_layer
def test_a_pullback_may_be_called_again_with_the_same_result(fused, naive, arguments):
    i = float_arguments(arguments)[0]
    value, pullback = sr.vjp(lambda x: fused(*arguments[:i], x, *arguments[i + 1 :]), arguments[i])
    y_bar = np.cos(np.arange(np.size(value))).reshape(np.shape(value))
    kept = y_bar.copy()
    first = pullback(y_bar)
    np.testing.assert_array_equal(pullback(y_bar), first)
    np.testing.assert_array_equal(y_bar, kept)


def test_gelu_is_right_far_from_zero():
    x = np.array([-1e4, -50.0, 0.0, 50.0, 1e4], np.float32)
    np.testing.assert_array_equal(layers.gelu(x), [0, 0, 0, 50, 1e4])
    np.testing.assert_array_equal(sr.grad(lambda x: layers.gelu(x).sum())(x), [0, 0, 0.5, 1, 1])


def test_attention_stays_finite_where_a_later_key_outscores_every_earlier_one():
    qkv = np.zeros((1, 2, 3), np.float32)
    qkv[0, :, 0], qkv[0, :, 1], qkv[0, :, 2] = 1, (-1e4, 1e4), (2, 3)  # queries, keys, values of one head of depth 1
    np.testing.assert_array_equal(layers.attention(qkv, 1), [[[2], [3]]])


def test_cross_entropy_of_impossible_targets_is_large_and_not_infinite():
    z = np.array([[[1e4, 0.0]]], np.float32)
    assert layers.cross_entropy(z, np.array([[1]]), None) == 1e4


def test_masked_positions_have_no_influence():
    z, targets, _ = CASES["cross_entropy"][2]
    gradient = sr.grad(lambda z: layers.cross_entropy(z, targets, None))(z)
    assert not gradient[targets == -1].any()
    assert gradient[targets != -1].all()


def test_drawn_labels_share_the_uniforms_in_proportion_to_the_weights():
    weights = np.random.default_rng(0).exponential(size=V)
    n = 10_000
    uniforms = (np.arange(n) + 0.5) / n
    labels = layers.inverse_cdf(np.tile(weights, (n, 1)), uniforms)
    np.testing.assert_allclose(np.bincount(labels, minlength=V), n * weights / weights.sum(), atol=1)


def test_a_label_of_no_weight_is_never_drawn_not_even_at_the_ends():
    weights = np.tile(np.array([0.0, 1.0, 0.0, 2.0, 0.0], np.float32), (4, 1))
    uniforms = np.array([np.nextafter(0, 1), 1 / 3 - 1e-6, 1 / 3 + 1e-6, 1.0])
    np.testing.assert_array_equal(layers.inverse_cdf(weights, uniforms), [1, 1, 3, 3])
