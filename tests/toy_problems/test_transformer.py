import base64
import json
import math
from pathlib import Path

import numpy as np
import pytest

import sophia_ref as sr
from toy_problems.text import Text
from toy_problems.transformer import PRESETS, LanguageTask, TinyGPT

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "tiny_gpt_torch.json").read_text())
TINY = TinyGPT(vocab=7, context=4, width=6, heads=2, layers=2)
TEXT = Text("the quick brown fox jumps over the lazy dog. " * 20)


def recorded(name, dtype="<f8"):
    return np.frombuffer(base64.b64decode(RECORDED[name]), dtype).astype(float)


def recorded_problem():
    model = TinyGPT(**RECORDED["model"])
    batch = np.array(RECORDED["tokens"]), np.array(RECORDED["targets"])
    return model, recorded("theta", "<f4"), batch


def tiny_problem(seed=0, batch=3):
    rng = np.random.default_rng(seed)
    theta = 0.5 * rng.normal(size=TINY.size)
    tokens, targets = rng.integers(TINY.vocab, size=(2, batch, TINY.context))
    return theta, (tokens, targets)


def assert_close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


# -- size and start ----------------------------------------------------------------------------------------------------


def test_parameter_counts_are_those_of_gpt_2_without_biases():
    assert TinyGPT(96, 64, 64, 4, 2).size == 108_864
    assert TinyGPT(50304, 1024, 768, 12, 12).size == 124_373_760


def test_presets_grow_from_ten_thousand_parameters_to_gpt_2_small():
    sizes = [model.size for model in PRESETS.values()]
    assert sizes == sorted(set(sizes))
    assert 8_000 < sizes[0] < 12_000
    assert PRESETS["gpt2-small"] == TinyGPT(50304, 1024, 768, 12, 12)
    for name, model in PRESETS.items():
        if name != "gpt2-small":
            stated = float(name[:-1]) * {"k": 1e3, "m": 1e6}[name[-1]]
            assert model.size == pytest.approx(stated, rel=0.15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_start_is_gpt_2s(dtype):
    model = TinyGPT(50, 40, 64, 4, 3)
    theta = model.init(np.random.default_rng(0), dtype)
    assert theta.shape == (model.size,)
    assert theta.dtype == dtype
    weights = model.layout.unpack(theta)
    for name, weight in weights.items():
        if name.endswith("gain"):
            assert (weight == 1).all()
        else:
            std = 0.02 / math.sqrt(6) if name.endswith("out") else 0.02
            assert np.abs(weight.mean()) < 5 * std / math.sqrt(weight.size)
            assert weight.std() == pytest.approx(std, rel=5 / math.sqrt(2 * weight.size))


def test_the_start_is_repeatable_and_float32_by_default():
    first, again, other = (TINY.init(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.dtype == np.float32


def test_an_untrained_model_predicts_about_uniformly():
    model = PRESETS["10k"]
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(model.vocab, size=(2, 8, model.context))
    assert model.loss(model.init(rng), (tokens, targets)) == pytest.approx(math.log(model.vocab), rel=0.01)


# -- values and derivatives --------------------------------------------------------------------------------------------


def test_loss_logits_gradient_and_hvp_are_pytorchs():
    model, theta, batch = recorded_problem()

    def loss(theta):
        return model.loss(theta, batch)

    value, gradient = sr.value_and_grad(loss)(theta)
    assert_close(model.logits(theta, batch[0]).ravel(), recorded("logits"))
    assert float(value) == pytest.approx(float.fromhex(RECORDED["loss"]), rel=1e-12)
    assert_close(gradient, recorded("grad"))
    assert_close(sr.hvp(loss, theta, recorded("v", "<f4")), recorded("hvp"))


def test_gradient_and_hvp_are_finite_differences():
    theta, batch = tiny_problem()

    def loss(theta):
        return TINY.loss(theta, batch)

    rng = np.random.default_rng(1)
    h = 1e-5
    for v in rng.normal(size=(5, TINY.size)):
        slope = (loss(theta + h * v) - loss(theta - h * v)) / (2 * h)
        assert sr.grad(loss)(theta) @ v == pytest.approx(slope, abs=1e-7)
        bend = (sr.grad(loss)(theta + h * v) - sr.grad(loss)(theta - h * v)) / (2 * h)
        np.testing.assert_allclose(sr.hvp(loss, theta, v), bend, atol=1e-6 * np.abs(bend).max())


def test_float32_stays_float32_and_agrees_with_float64():
    theta, batch = tiny_problem()
    single, v = theta.astype(np.float32), np.random.default_rng(2).normal(size=TINY.size).astype(np.float32)

    def loss(theta):
        return TINY.loss(theta, batch)

    for function in (
        loss,
        sr.grad(loss),
        lambda theta: sr.hvp(loss, theta, v.astype(theta.dtype)),
        lambda theta: TINY.sampled_loss(theta, batch, np.random.default_rng(0))[0],
        lambda theta: TINY.logits(theta, batch[0]),
    ):
        result, exact = function(single), function(single.astype(float))
        assert result.dtype == np.float32
        assert exact.dtype == np.float64
        assert_close(result, exact, 1e-4)


def test_a_later_token_does_not_change_an_earlier_prediction():
    theta, (tokens, _) = tiny_problem()
    logits = TINY.logits(theta, tokens)
    for time in range(TINY.context):
        changed = tokens.copy()
        changed[:, time] = (changed[:, time] + 1) % TINY.vocab
        same = TINY.logits(theta, changed) == logits
        assert same[:, :time].all()
        assert not same[:, time:].all(-1).any()


def test_sequences_do_not_touch_each_other():
    theta, (tokens, _) = tiny_problem()
    together = TINY.logits(theta, tokens)
    for row, alone in zip(together, tokens, strict=True):
        assert_close(TINY.logits(theta, alone[None])[0], row)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.uint64])
def test_tokens_may_be_of_any_integer_type(dtype):
    model = TinyGPT(100, 4, 6, 2, 1)
    theta = model.init(np.random.default_rng(0), float)
    tokens, targets = np.random.default_rng(1).integers(90, 100, size=(2, 3, 4))  # 100 * 6 is more than 8 bits hold

    def gradient(tokens, targets):
        return sr.grad(lambda theta: model.loss(theta, (tokens, targets)))(theta)

    np.testing.assert_array_equal(gradient(tokens.astype(dtype), targets.astype(dtype)), gradient(tokens, targets))
    prompt = tokens[0].astype(dtype)
    sample = model.sample(theta, prompt, 3, np.random.default_rng(0))
    np.testing.assert_array_equal(sample, model.sample(theta, tokens[0], 3, np.random.default_rng(0)))


def test_the_loss_is_the_mean_over_unmasked_targets():
    theta, (tokens, targets) = tiny_problem()
    targets[0, 1:] = targets[2, 0] = -1
    terms = -np.log(softmax(TINY.logits(theta, tokens)))
    kept = [terms[place][target] for place, target in np.ndenumerate(targets) if target >= 0]
    assert len(kept) == 8
    assert TINY.loss(theta, (tokens, targets)) == pytest.approx(np.mean(kept), rel=1e-12)


# -- labels of the model's own -----------------------------------------------------------------------------------------


def drawn_labels(theta, tokens, rng):
    """The labels that sampled_loss draws, by its definition: the first whose cumulative probability reaches 1 - U."""
    uniforms = 1 - rng.random(tokens.shape)
    labels = np.empty_like(tokens)
    for place, p in np.ndenumerate(uniforms):
        cumulative = np.cumsum(softmax(TINY.logits(theta, tokens))[place])
        labels[place] = next(k for k, share in enumerate(cumulative) if share >= p)
    return labels


def test_sampled_labels_follow_the_models_own_distribution_and_are_constants():
    theta, (tokens, targets) = tiny_problem()
    targets[1, 2] = -1
    labels = drawn_labels(theta, tokens, np.random.default_rng(8))
    assert len(set(labels.ravel())) > 3
    labels[1, 2] = -1

    def sampled(theta):
        return TINY.sampled_loss(theta, (tokens, targets), np.random.default_rng(8))[0]

    def given(theta):
        return TINY.loss(theta, (tokens, labels))

    assert sampled(theta) == pytest.approx(given(theta), rel=1e-14)
    assert_close(sr.grad(sampled)(theta), sr.grad(given)(theta), 1e-14)
    v = np.random.default_rng(1).normal(size=TINY.size)
    assert_close(sr.hvp(sampled, theta, v), sr.hvp(given, theta, v), 1e-14)


def test_b_counts_the_unmasked_predictions():
    theta, (tokens, targets) = tiny_problem()
    assert TINY.sampled_loss(theta, (tokens, targets), np.random.default_rng(0))[1] == tokens.size
    targets[0] = -1
    assert TINY.sampled_loss(theta, (tokens, targets), np.random.default_rng(0))[1] == tokens.size - TINY.context


def test_masking_one_position_leaves_the_labels_of_the_others():
    theta, (tokens, targets) = tiny_problem(batch=2)
    n = tokens.size
    full = n * TINY.sampled_loss(theta, (tokens, targets), np.random.default_rng(0))[0]
    for place in np.ndindex(targets.shape):
        masked = targets.copy()
        masked[place] = -1
        rest = (n - 1) * TINY.sampled_loss(theta, (tokens, masked), np.random.default_rng(0))[0]
        label = drawn_labels(theta, tokens, np.random.default_rng(0))[place]
        assert full - rest == pytest.approx(-np.log(softmax(TINY.logits(theta, tokens))[place][label]), rel=1e-10)


def test_the_gradient_of_sampled_labels_vanishes_in_the_mean():
    """Exactly: weighted by their probabilities, over all labels of one position."""
    theta, _ = tiny_problem()
    tokens = np.array([[3]])
    p = softmax(TINY.logits(theta, tokens))[0, 0]

    def gradient(label):
        return sr.grad(lambda theta: TINY.loss(theta, (tokens, np.array([[label]]))))(theta)

    gradients = np.array([gradient(label) for label in range(TINY.vocab)])
    assert np.abs(p @ gradients).max() < 1e-14 < np.abs(gradients).max()


# -- sampling text -----------------------------------------------------------------------------------------------------


def test_a_sample_continues_the_prompt_and_is_repeatable():
    theta, _ = tiny_problem()
    prompt = np.array([1, 2, 3])
    first, again = (TINY.sample(theta, prompt, 12, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (12,)
    assert set(first) <= set(range(TINY.vocab))
    assert TINY.sample(theta, prompt, 0, np.random.default_rng(4)).shape == (0,)


def test_a_sample_sees_the_last_context_tokens_all_of_them():
    theta, _ = tiny_problem()
    prompts = np.random.default_rng(0).integers(TINY.vocab, size=(30, 6))
    seen = [TINY.sample(theta, prompt, 1, np.random.default_rng(0), temperature=1e-9)[0] for prompt in prompts]
    np.testing.assert_array_equal(seen, TINY.logits(theta, prompts[:, -4:])[:, -1].argmax(-1))
    assert (seen != TINY.logits(theta, prompts[:, -3:])[:, -1].argmax(-1)).any()


def test_a_cold_sample_takes_the_likeliest_token_and_a_hot_one_any():
    theta, _ = tiny_problem()
    prompt = np.array([2])
    cold = TINY.sample(theta, prompt, 1, np.random.default_rng(0), temperature=1e-6)
    assert cold[0] == TINY.logits(theta, prompt[None])[0, -1].argmax()
    rng = np.random.default_rng(0)
    hot = [TINY.sample(theta, prompt, 1, rng, temperature=1e6)[0] for _ in range(3500)]
    np.testing.assert_allclose(np.bincount(hot, minlength=TINY.vocab), 500, atol=5 * math.sqrt(500))


def test_samples_have_the_models_probabilities():
    theta, _ = tiny_problem()
    prompt = np.array([2, 0])
    rng = np.random.default_rng(0)
    drawn = [TINY.sample(theta, prompt, 1, rng)[0] for _ in range(4000)]
    p = softmax(TINY.logits(theta, prompt[None]))[0, -1]
    deviation = (np.bincount(drawn, minlength=TINY.vocab) - 4000 * p) / np.sqrt(4000 * p * (1 - p))
    assert np.abs(deviation).max() < 4


# -- refusals ----------------------------------------------------------------------------------------------------------

THETA, (TOKENS, TARGETS) = tiny_problem()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 4, 6, 2, 2), "vocab: 0; expected an integer >= 1"),
        ((7, 4.0, 6, 2, 2), r"context: 4\.0; expected an integer >= 1"),
        ((7, 4, -6, 2, 2), "width: -6; expected an integer >= 1"),
        ((7, 4, 6, True, 2), "heads: True; expected an integer >= 1"),
        ((7, 4, 6, 2, 0), "layers: 0; expected an integer >= 1"),
        ((7, 4, 6, 4, 2), "width: 6; expected a multiple of heads = 4"),
    ],
)
def test_impossible_sizes_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        TinyGPT(*sizes)


@pytest.mark.parametrize(
    ("theta", "batch", "error", "message"),
    [
        (THETA[:-1], (TOKENS, TARGETS), ValueError, r"theta: shape \(\d+,\); expected \(\d+,\)$"),
        (
            np.stack([THETA, THETA]),
            (TOKENS, TARGETS),
            ValueError,
            r"theta: shape \(2, \d+\); .* takes no leading axes: call it once a row",
        ),
        (
            THETA.astype(np.float16),
            (TOKENS, TARGETS),
            TypeError,
            "theta: float16; expected an array of float32 or float64",
        ),
        (
            THETA.astype(int),
            (TOKENS, TARGETS),
            TypeError,
            "theta: int64; expected an array of float32 or float64",
        ),
        (list(THETA), (TOKENS, TARGETS), TypeError, "theta: list; expected an array of float32 or float64"),
        (THETA, TOKENS, TypeError, r"batch: ndarray; expected a pair, the tuple \(tokens, targets\)"),
        (THETA, (TOKENS,), TypeError, r"batch: tuple; expected a pair, the tuple \(tokens, targets\)"),
        (THETA, (TOKENS + 0.0, TARGETS), TypeError, "tokens: float64; expected an array of integers"),
        (THETA, (TOKENS.tolist(), TARGETS), TypeError, "tokens: list; expected an array of integers"),
        (THETA, (TOKENS, TARGETS + 0.0), TypeError, "targets: float64; expected an array of integers"),
        (THETA, (TOKENS, TARGETS[0]), ValueError, r"targets: shape \(4,\); expected \(batch, time\)"),
        (
            THETA,
            (TOKENS, TARGETS[:0]),
            ValueError,
            r"targets: shape \(0, 4\); expected \(batch, time\), neither of them 0",
        ),
        (THETA, (TOKENS, TARGETS[:, :2]), ValueError, r"tokens \(3, 4\), targets \(3, 2\); expected one shape"),
        (
            THETA,
            (np.tile(TOKENS, 2), np.tile(TARGETS, 2)),
            ValueError,
            r"tokens: shape \(3, 8\); expected at most context = 4",
        ),
        (THETA, (TOKENS - 7, TARGETS), ValueError, r"tokens: -\d; expected values in 0\.\.6"),
        (THETA, (TOKENS + 7, TARGETS), ValueError, r"tokens: \d+; expected values in 0\.\.6"),
        (THETA, (TOKENS, TARGETS + 7), ValueError, r"targets: \d+; expected values in -1\.\.6"),
        (THETA, (TOKENS, TARGETS - 9), ValueError, r"targets: -\d; expected values in -1\.\.6"),
        (
            THETA,
            (TOKENS, np.full_like(TARGETS, -1)),
            ValueError,
            "targets: all -1, which is masked; expected at least one to predict",
        ),
    ],
)
def test_a_wrong_theta_or_batch_is_refused_by_name_before_any_draw(theta, batch, error, message):
    with pytest.raises(error, match=message):
        TINY.loss(theta, batch)
    rng = np.random.default_rng(0)
    with pytest.raises(error, match=message):
        TINY.sampled_loss(theta, batch, rng)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    ("prompt", "n", "temperature", "error", "message"),
    [
        (np.zeros(0, int), 3, 1.0, ValueError, r"prompt: shape \(1, 0\); expected .* neither of them 0"),
        (np.zeros((1, 3), int), 3, 1.0, ValueError, r"prompt: shape \(1, 3\); expected \(length,\)"),
        (np.array([7]), 3, 1.0, ValueError, r"prompt: 7; expected values in 0\.\.6"),
        (np.array([1.5]), 3, 1.0, TypeError, "prompt: float64; expected an array of integers"),
        (np.array([1]), -1, 1.0, ValueError, "n: -1; expected an integer >= 0"),
        (np.array([1]), 2.0, 1.0, ValueError, r"n: 2\.0; expected an integer >= 0"),
        (np.array([1]), 3, 0.0, ValueError, r"temperature: 0\.0; expected a positive, finite number"),
        (np.array([1]), 3, math.nan, ValueError, "temperature: nan; expected a positive, finite number"),
    ],
)
def test_a_wrong_prompt_count_or_temperature_is_refused(prompt, n, temperature, error, message):
    with pytest.raises(error, match=message):
        TINY.sample(THETA, prompt, n, np.random.default_rng(0), temperature)


def test_a_start_of_another_dtype_is_refused():
    with pytest.raises(TypeError, match=r"dtype: .*float16.*; expected float32 or float64"):
        TINY.init(np.random.default_rng(0), np.float16)


# -- the task ----------------------------------------------------------------------------------------------------------


def language_task(**options):
    model = TinyGPT(vocab=TEXT.vocab + 2, context=8, width=8, heads=2, layers=1)
    return LanguageTask(model, TEXT, **{"batch_size": 5, **options})


def test_a_batch_is_windows_of_the_training_text_and_the_token_after_each():
    task = language_task()
    tokens, targets = task.batch(np.random.default_rng(0), ())
    assert tokens.shape == targets.shape == (5, 8)
    np.testing.assert_array_equal(tokens[:, 1:], targets[:, :-1])
    for row, following in zip(tokens, targets, strict=True):
        assert TEXT.decode(row) + TEXT.decode(following[-1:]) in TEXT.decode(TEXT.train)


def test_batches_are_repeatable_and_differ():
    task = language_task()
    streams = [np.random.default_rng(0), np.random.default_rng(0)]
    first, again = (task.batch(rng) for rng in streams)
    np.testing.assert_array_equal(first, again)
    assert (task.batch(streams[0])[0] != first[0]).any()


def test_a_shorter_context_than_the_models_is_kept_to():
    assert language_task(context=3).batch(np.random.default_rng(0))[0].shape == (5, 3)


def test_the_validation_loss_is_the_mean_over_every_held_out_prediction():
    task = language_task()
    theta = task.init(np.random.default_rng(0))
    windows = TEXT.held_out(9)
    assert sum(len(tokens) for tokens, _ in task.validation_batches) == len(windows)
    assert len(task.validation_batches[-1][0]) < 5  # or the weights would not matter
    whole = task.loss(theta, (windows[:, :-1], windows[:, 1:]))
    assert task.validation_loss(theta) == pytest.approx(whole, rel=1e-5)
    some = task.validation_batches[:1]
    assert task.validation_loss(theta, some) == pytest.approx(task.loss(theta, some[0]))


def test_a_task_is_a_problem_that_can_be_learned():
    task = language_task()
    theta = task.init(np.random.default_rng(0))
    before = task.validation_loss(theta)
    rng = np.random.default_rng(1)
    for _ in range(150):
        batch = task.batch(rng, theta.shape[:-1])
        theta = theta - np.float32(0.5) * sr.grad(lambda theta, batch=batch: task.loss(theta, batch))(theta)
    assert theta.dtype == np.float32
    assert task.validation_loss(theta) < before - 0.5
    assert task.sampled_loss(theta, batch, rng)[1] == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: 0; expected an integer >= 1"),
        ({"batch_size": 2.0}, r"batch_size: 2\.0; expected an integer >= 1"),
        ({"context": 9}, "context: 9; expected at most 8, the model's"),
        ({"context": 0}, "context: 0; expected an integer >= 1"),
    ],
)
def test_a_wrong_batch_size_or_context_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        language_task(**options)


def test_a_vocabulary_too_small_for_the_text_is_refused():
    with pytest.raises(ValueError, match=f"model: vocab 5; expected at least {TEXT.vocab}, the text's"):
        LanguageTask(TinyGPT(5, 8, 8, 2, 1), TEXT, 2)


def test_leading_axes_and_an_empty_validation_are_refused():
    task = language_task()
    with pytest.raises(ValueError, match=r"shape: \(3,\); expected \(\), since TinyGPT takes no leading axes"):
        task.batch(np.random.default_rng(0), (3,))
    with pytest.raises(ValueError, match=r"batches: \[\]; expected at least one"):
        task.validation_loss(task.init(np.random.default_rng(0)), [])


def test_a_prompt_may_be_a_list():
    model = TinyGPT(5, 8, 8, 2, 1)
    theta = model.init(np.random.default_rng(0))
    from_list = model.sample(theta, [1, 2], 4, np.random.default_rng(1))
    np.testing.assert_array_equal(from_list, model.sample(theta, np.array([1, 2]), 4, np.random.default_rng(1)))
