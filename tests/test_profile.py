"""The profile of a step: flops and bytes by hand, time on a clock that the test turns itself."""

from functools import wraps
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest

import sophia_ref as sr
from sophia_ref import profile as module
from sophia_ref.profile import (
    BATCH,
    CURVATURE,
    GATHER,
    TAPE,
    UPDATE,
    CountingArray,
    Part,
    Profile,
    WatchedLayers,
    machine,
    measure,
)
from toy_problems import layers, transformer
from toy_problems.text import Text
from toy_problems.transformer import LanguageTask, TinyGPT

TEXT = Text("the quick brown fox jumps over the lazy dog, " * 40)
SHAPES = [  # batch, context, width, heads, blocks
    (3, 5, 8, 2, 1),
    (2, 7, 12, 3, 2),
]


@pytest.fixture
def brief(monkeypatch):
    """As few repetitions as can be, on a machine of 1 Gflop/s and 1 GB/s."""
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "machine", lambda: (1e9, 1e9))


@pytest.fixture
def clock(brief, monkeypatch):
    """Seconds that pass only where the test says so; it starts at zero."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(module, "SECONDS", 1.0)

    def slow(fun, seconds):
        @wraps(fun)
        def later(*args, **kwargs):
            clock.now += seconds
            return fun(*args, **kwargs)

        return later

    clock.slow = slow
    return clock


def task_of(batch, context, width, heads, blocks):
    return LanguageTask(TinyGPT(TEXT.vocab, context, width, heads, blocks), TEXT, batch)


def by_name(result):
    return {(part.name, part.direction): part for part in result.parts}


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_are_those_of_the_closed_formula(shape, brief):
    """A product of (n, k) and (k, m) is 2 n k m flops: 2 a token and weight; in Q K^T, and in P V, 2 T a token and
    feature. Backward twice as many: each product has two derivatives."""
    batch, time, width, _, blocks = shape
    tokens = batch * time
    weights = blocks * 12 * width**2 + TEXT.vocab * width  # those in products; gains and positions are in none
    forward = 2 * tokens * weights + 2 * 2 * tokens * time * width * blocks

    parts = measure(task_of(*shape), sr.Adam(0.1)).parts
    flops = {way: sum(part.flops for part in parts if part.direction == way) for way in ("forward", "backward", "")}
    assert flops == {"forward": forward, "backward": 2 * forward, "": 0}


def test_bytes_are_each_input_and_output_once(brief):
    shape = batch, time, width, _, blocks = SHAPES[1]
    parts = by_name(measure(task_of(*shape), sr.Sophia(0.1, every=10, estimator=sr.gnb)))
    x = y = 4 * batch * time * width  # float32
    w = 4 * width * width
    assert parts["linear attention.out", "forward"].bytes == blocks * (x + w + y)
    assert parts["linear attention.out", "backward"].bytes == blocks * (x + w + y + x + w)  # y_bar; x_bar and w_bar
    tokens = 8 * batch * time
    tables = 4 * width * (TEXT.vocab + time)
    assert parts["embedding", "forward"].bytes == tokens + y  # rows of tables, not tables
    assert parts["embedding", "backward"].bytes == tokens + y + tables
    theta = 4 * task_of(*shape).model.size
    assert parts[GATHER, ""].bytes == 2 * theta
    assert parts[UPDATE, ""].bytes == (4 + 2) * theta  # theta, g, m, h in, theta and m out; h is not new in every step


def test_layers_are_named_by_function_and_weights_and_summed_over_blocks(brief):
    layer = ["embedding", "norm_linear attention.in", "attention", "linear attention.out"]
    layer += ["norm_linear mlp.in", "gelu", "linear mlp.out", "norm_linear words", "cross_entropy"]
    parts = by_name(measure(task_of(*SHAPES[1]), sr.Adam(0.1)))
    rest = [(name, "") for name in (GATHER, TAPE, UPDATE, BATCH)]  # Adam asks for no curvature
    assert list(parts) == [(name, way) for name in layer for way in ("forward", "backward")] + rest


def test_every_second_is_put_down_where_it_passes_and_once(clock, monkeypatch):
    """Two blocks; curvature in one step of ten. Layers inside an estimate belong to curvature."""
    gelu = clock.slow(layers.gelu_forward, 3.0), clock.slow(layers.gelu_backward, 7.0)
    for name, fun in zip(("gelu_forward", "gelu_backward"), gelu, strict=True):
        monkeypatch.setattr(layers, name, fun)
    monkeypatch.setattr(transformer, "gelu", sr.primitive(*gelu))
    monkeypatch.setattr(sr.Layout, "_cotangent", clock.slow(sr.Layout._cotangent, 11.0))
    monkeypatch.setattr(sr.Oracle, "_value_and_grad", clock.slow(sr.Oracle._value_and_grad, 13.0))
    monkeypatch.setattr(sr.Sophia, "begin", clock.slow(sr.Sophia.begin, 17.0))
    task = task_of(*SHAPES[1])
    task.batch = clock.slow(task.batch, 19.0)
    opt = sr.Sophia(0.1, every=10, estimator=clock.slow(sr.gnb, 100.0))

    result = measure(task, opt)
    gradient = 2 * (3 + 7) + 11  # gnb's has no _value_and_grad
    assert {(part.name, part.direction): part.seconds for part in result.parts} == pytest.approx(
        {
            ("gelu", "forward"): 2 * 3,
            ("gelu", "backward"): 2 * 7,
            (GATHER, ""): 11,
            (TAPE, ""): 13,
            (CURVATURE, ""): (100 + gradient) / 10,
            (UPDATE, ""): 17,
            (BATCH, ""): 19,
        }
    )
    assert result.seconds == pytest.approx(gradient + 13 + (100 + gradient) / 10 + 17 + 19)
    assert result.unattributed == pytest.approx(0)


def test_the_disturbed_steps_are_left_out(clock):
    delays, task = count(), task_of(*SHAPES[0])
    draw = task.batch
    task.batch = lambda rng: clock.slow(draw, 1.0 if next(delays) % 5 < 3 else 50.0)(rng)
    result = measure(task, sr.Adam(0.1))
    assert result.seconds == 1
    assert by_name(result)[BATCH, ""].seconds == 1


def test_a_watched_step_computes_what_a_step_does_and_leaves_no_trace():
    task = task_of(*SHAPES[1])
    theta, batch = task.init(np.random.default_rng(0)), task.batch(np.random.default_rng(1))
    g = sr.grad(task.loss)(theta, batch)
    before, split, seen = dict(vars(transformer)), task.model.layout._split, []

    def call(key, fun, *args):
        seen.append(key)
        return fun(*args)

    watched = WatchedLayers(task.model.layout, call)
    for _ in range(2):
        with watched:
            np.testing.assert_array_equal(sr.grad(task.loss)(theta, batch), g)
    n = 1 + 2 * 6 + 2  # layers
    one = [(i, "forward") for i in range(n)] + [(i, "backward") for i in reversed(range(n))] + [GATHER]
    assert seen == 2 * one
    with pytest.raises(ValueError, match="theta"), watched:
        task.loss(theta[1:], batch)
    assert vars(transformer) == before
    assert task.model.layout._split is split


def test_a_counting_array_counts_products_of_matrices_and_computes_what_others_do():
    a, b = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    array, before = a.view(CountingArray), CountingArray.flops
    product = array @ b
    np.testing.assert_array_equal(product, a @ b)
    assert type(product) is CountingArray
    assert CountingArray.flops - before == 3 * 2 * 4**3
    out = np.matmul(b, 2 * array + 1, out=np.empty_like(array))
    np.testing.assert_array_equal(out, b @ (2 * a + 1))
    assert CountingArray.flops - before == 2 * 3 * 2 * 4**3
    scaled = array.copy()
    scaled *= 2  # in place it stays one that counts
    assert type(scaled) is CountingArray
    array[:, :1] @ b, np.vecdot(array, b), array * b, array.sum()  # none is a product of two matrices
    np.add.at(array, 0, 1.0)
    np.testing.assert_array_equal(array[0], a[0])
    assert CountingArray.flops - before == 2 * 3 * 2 * 4**3


def test_the_machine_reaches_rates_that_machines_have():
    flop_rate, byte_rate = machine()
    assert 1e8 < flop_rate < 1e15
    assert 1e8 < byte_rate < 1e13


def test_the_floor_is_what_takes_longer_of_computing_and_moving():
    rates = {"flop_rate": 1e9, "byte_rate": 1e9}
    of = Profile([], 1.0, **rates).floor
    assert of(Part("", "", 1.0, flops=2_000_000, bytes=500_000)) == 0.002
    assert of(Part("", "", 1.0, flops=1_000_000, bytes=4_000_000)) == 0.004
    assert of(Part("", "", 1.0)) == 0
