"""A batch in shards on threads: the loss, the gradient and the products of the batch as a whole."""

import threading
import warnings

import numpy as np
import pytest

import sophia_ref as sr
from toy_problems.shards import in_shards, together
from toy_problems.text import Text
from toy_problems.transformer import MASKED, LanguageTask, TinyGPT

TINY = TinyGPT(vocab=7, context=4, width=6, heads=2, layers=2)


def problem(batch=5):
    """theta (P,), a direction, and a batch of which some positions, and the whole second sequence, are masked."""
    rng = np.random.default_rng(0)
    theta = TINY.init(rng, np.float64)
    tokens, targets = rng.integers(7, size=(2, batch, 4))
    targets[0, 2:] = targets[1] = MASKED
    return theta, rng.standard_normal(len(theta)), (tokens, targets)


@pytest.mark.parametrize("threads", [2, 3, 5, 8])
def test_every_derivative_is_that_of_the_whole_batch(threads):
    theta, v, batch = problem()

    def whole(theta):
        return TINY.loss(theta, batch)

    def shards(theta):
        return TINY.loss(theta, batch, threads)

    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(shards(theta), whole(theta), **close)
    for derivative in (sr.value_and_grad, sr.grad):
        for ours, theirs in zip(derivative(shards)(theta), derivative(whole)(theta), strict=True):
            np.testing.assert_allclose(ours, theirs, **close)
    np.testing.assert_allclose(sr.jvp(shards, theta, v)[1], sr.jvp(whole, theta, v)[1], **close)
    np.testing.assert_allclose(sr.hvp(shards, theta, v), sr.hvp(whole, theta, v), **close)
    third = [sr.jvp(lambda theta, f=f: sr.hvp(f, theta, v), theta, v)[1] for f in (shards, whole)]
    np.testing.assert_allclose(*third, **close)


def test_sampled_labels_do_not_depend_on_the_number_of_threads():
    theta, _, batch = problem()

    def gradient(threads):
        def loss(theta):
            return TINY.sampled_loss(theta, batch, np.random.default_rng(3), threads)[0]

        return sr.grad(loss)(theta)

    np.testing.assert_allclose(gradient(3), gradient(1), rtol=1e-12, atol=1e-14)
    assert TINY.sampled_loss(theta, batch, np.random.default_rng(3), 3)[1] == 14


def test_a_run_on_threads_is_repeatable_to_the_bit_and_float32():
    text = Text("the quick brown fox jumps over the lazy dog. " * 20)
    model = TinyGPT(text.vocab, 8, 8, 2, 1)
    opt = sr.SophiaG(lr=0.01, every=2)
    runs = [sr.run(LanguageTask(model, text, 5, threads=n), opt, 6, seed=1) for n in (1, 2, 2)]
    np.testing.assert_array_equal(runs[1].theta, runs[2].theta)
    assert runs[1].theta.dtype == np.float32
    np.testing.assert_allclose(runs[0].theta, runs[1].theta, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(runs[0].cost, runs[1].cost)


def test_shards_work_at_the_same_time():
    barrier = threading.Barrier(3, timeout=10)  # three threads must stand before it at once

    def loss(theta, factor):
        barrier.wait()
        return factor * (theta**2).sum()

    theta = np.array([1.0, 2.0])
    assert in_shards(loss, theta, [(1.0,), (2.0,), (4.0,)], [1.0, 0.5, 0.25]) == 15
    np.testing.assert_array_equal(
        sr.grad(lambda theta: in_shards(loss, theta, [(1.0,), (2.0,), (4.0,)], [1.0, 0.5, 0.25]))(theta), 6 * theta
    )


def test_a_browser_which_has_one_thread_computes_the_same_bits(monkeypatch):
    theta, _, batch = problem()
    on_threads = sr.grad(lambda theta: TINY.loss(theta, batch, 4))(theta)
    monkeypatch.setattr("sys.platform", "emscripten")
    monkeypatch.setattr("toy_problems.shards._pool", None)
    np.testing.assert_array_equal(sr.grad(lambda theta: TINY.loss(theta, batch, 4))(theta), on_threads)


def test_error_settings_and_errors_pass_to_and_from_the_threads():
    def call(x):
        if x > 3:
            raise KeyError(x)
        return np.float64(1) / x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(divide="ignore"):
            assert together(call, [1.0, 0.0]) == [1, np.inf]
        with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
            together(call, [1.0, 0.0])
    with pytest.raises(KeyError, match="4"):
        together(call, [1.0, 4.0])


@pytest.mark.parametrize("threads", [0, 1.5, True])
def test_a_wrong_number_of_threads_is_refused(threads):
    theta, _, batch = problem()
    message = f"threads: {threads}; expected an integer >= 1"
    with pytest.raises(ValueError, match=message):
        TINY.loss(theta, batch, threads)
    with pytest.raises(ValueError, match=message):
        LanguageTask(TinyGPT(40, 8, 8, 2, 1), Text("the quick brown fox. " * 20), 2, threads=threads)
