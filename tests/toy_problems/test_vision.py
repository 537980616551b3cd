"""Digits and their captions: what is trained on, what is held out, and derivatives of the classifier."""

import sys

import numpy as np
import pytest

import sophia_ref as sr
from toy_problems import vision
from toy_problems.transformer import LanguageTask, TinyGPT
from toy_problems.vision import ALPHABET, LEVELS, TRAINED, WORDS, DigitCaptions, DigitClassifier, digits

pytest.importorskip("sklearn", reason="the digits need scikit-learn")


def read(tokens):
    return "".join(ALPHABET[token - LEVELS] for token in tokens).strip()


def test_the_digits_are_all_there():
    images, labels = digits()
    assert (images.shape, images.min(), images.max()) == ((1797, 8, 8), 0, 16)
    assert np.bincount(labels).min() >= 174  # as the data set's own description has them
    assert len({image.tobytes() for image in images[:TRAINED]} & {image.tobytes() for image in images[TRAINED:]}) == 0


def test_training_images_are_those_of_the_training_part_shifted_by_at_most_a_pixel():
    task, (images, labels) = DigitClassifier(hidden=4), digits()
    assert len(task.X) == 9 * TRAINED
    shown = task.X.reshape(TRAINED, 3, 3, 8, 8) * 16
    assert np.array_equal(shown[:, 1, 1], images[:TRAINED])  # the middle one is not shifted
    assert np.array_equal(shown[:, 0, 1, 1:], images[:TRAINED, :-1])  # down by one
    assert np.array_equal(shown[:, 1, 2, :, :-1], images[:TRAINED, :, 1:])  # left by one
    assert np.array_equal(task.y[4::9], labels[:TRAINED])
    assert np.array_equal(task.held_out[0] * 16, images[TRAINED:].reshape(-1, 64))


def test_the_classifier_has_exact_derivatives_and_learns():
    task = DigitClassifier(hidden=3, batch_size=5)
    theta = task.init(np.random.default_rng(0))
    assert theta.dtype == np.float32
    batch = task.batch(np.random.default_rng(1), ())
    sr.check_grads(lambda theta: task.loss(theta, batch), theta.astype(np.float64))
    larger = DigitClassifier(hidden=32)
    run = sr.run(larger, sr.Adam(1e-2), 150, record=150)
    accuracy = (larger.predictions(run.theta, larger.held_out[0]).argmax(-1) == larger.held_out[1]).mean()
    assert accuracy > 0.8


def test_a_window_is_an_image_and_the_caption_of_its_digit():
    source, (images, labels) = DigitCaptions(), digits()
    windows = source.held_out(source.length)
    assert windows.shape == (597, source.length)
    assert np.array_equal(windows[:, :64], images[TRAINED:].reshape(-1, 64))
    captions = [read(window[64:]) for window in windows]
    assert all(WORDS[label] in caption for caption, label in zip(captions, labels[TRAINED:], strict=True))
    assert len(set(captions)) == 40  # ten digits, four forms
    assert np.array_equal(windows, source.held_out(source.length))
    trained = source.windows(np.random.default_rng(0), 50, source.length)
    known = {image.tobytes() for image in images[:TRAINED].reshape(-1, 64)}
    assert all(window[:64].tobytes() in known for window in trained)


def test_a_gpt_reads_both_modalities():
    source = DigitCaptions()
    task = LanguageTask(TinyGPT(source.vocab, source.length - 1, 4, 1, 1), source, 2)
    theta = task.init(np.random.default_rng(0))
    assert np.isclose(task.loss(theta, task.batch(np.random.default_rng(1))), np.log(source.vocab), rtol=0.1)


def test_bad_sizes_are_refused_by_name():
    with pytest.raises(ValueError, match="hidden: 0"):
        DigitClassifier(hidden=0)
    with pytest.raises(ValueError, match="batch_size: 0"):
        DigitClassifier(batch_size=0)
    with pytest.raises(ValueError, match="length: 10; expected 75"):
        DigitCaptions().held_out(10)


class NoSklearn:
    """A finder for a Python without scikit-learn."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    vision.digits.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NoSklearn(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'sophia-ref\[digits\]'"):
        digits()
    vision.digits.cache_clear()
