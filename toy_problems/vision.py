"""Real images small enough for a CPU: the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn carries.

`DigitClassifier` tells them apart. `DigitCaptions` is a language of two modalities: a sequence is an image, a token a
pixel, and then a caption, a token a character, so that one TinyGPT learns both and what they have to do with each
other.

The data are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin, Kaynak 1998, UCI). They need the
extra `digits`, which is scikit-learn.
"""

from functools import cache
from typing import Any

import numpy as np

from sophia_ref.autodiff import Layout
from toy_problems.checks import count
from toy_problems.regression import CATEGORICAL, Array, Regression

SIDE, LEVELS, DIGITS = 8, 17, 10  # pixels a side, grey levels a pixel, classes
TRAINED = 1_200  # images to train on; the other 597 are held out
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FORMS = ("a {}", "digit {}", "the {}", "{} here")
ALPHABET = " " + "".join(sorted(set("".join([*WORDS, *FORMS]) + "{}") - set(" {}")))
CAPTION = max(len(form.format(word)) for form in FORMS for word in WORDS)


@cache
def digits() -> tuple[Array, Array]:
    """Images (1797, 8, 8), integers in 0..16, and which digits they show, (1797,), in one shuffled order.

    Raises ModuleNotFoundError, saying what to install, where scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        message = "scikit-learn is needed, which carries the digits: pip install 'sophia-ref[digits]'"
        raise ModuleNotFoundError(message, name="sklearn") from None
    data: Any = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))  # neighbours were written by one hand
    return data.images[order].astype(np.int64), data.target[order].astype(np.int64)


class DigitClassifier(Regression):
    """A perceptron of two hidden layers of `hidden` units, x -> tanh -> tanh -> 10 classes, on randomly shifted digits.

    Training images are shifted by up to one pixel in each direction, so that they last for many passes. theta (..., P)
    in float32. Attributes besides Regression's: held_out, a Batch of the 597 images that training does not show.
    Raises ValueError for sizes below 1, ModuleNotFoundError as `digits` does.
    """

    name = "digits"
    likelihood = CATEGORICAL

    def __init__(self, hidden: int = 128, batch_size: int = 64) -> None:
        pixels = SIDE * SIDE
        shapes = {"w1": (pixels, count("hidden", hidden)), "b1": (hidden,), "w2": (hidden, hidden), "b2": (hidden,)}
        layout = Layout({**shapes, "w3": (hidden, DIGITS), "b3": (DIGITS,)})
        images, labels = digits()
        framed = np.pad(images, ((0, 0), (1, 1), (1, 1)))  # (1797, 10, 10)
        shifted = np.lib.stride_tricks.sliding_window_view(framed, (SIDE, SIDE), axis=(1, 2))  # (1797, 3, 3, 8, 8)
        X = shifted[:TRAINED].reshape(-1, pixels).astype(np.float32) / (LEVELS - 1)
        y = np.repeat(labels[:TRAINED], 9)
        super().__init__(layout, X, y, np.zeros(layout.size), batch_size)
        seen = images[TRAINED:].reshape(-1, pixels).astype(np.float32) / (LEVELS - 1)
        self.held_out = seen, labels[TRAINED:]

    def init(self, rng: np.random.Generator) -> Array:
        """Weights N(0, 1 / inputs), biases 0, in float32, (P,)."""
        tensors = {name: np.zeros(shape, np.float32) for name, shape in self.layout.shapes.items()}
        for name, shape in self.layout.shapes.items():
            if name.startswith("w"):
                tensors[name] = rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[0]))
        theta: Array = self.layout.pack(tensors)
        return theta

    def predictions(self, theta: Array, X: Array) -> Any:
        """Logits: theta (..., P), X (..., n, 64) -> (..., n, 10)."""
        w = self.layout.unpack(theta)
        x = X.astype(theta.dtype, copy=False)
        for i in (1, 2):
            x = np.tanh(x @ w[f"w{i}"] + w[f"b{i}"][..., None, :])  # (..., n, hidden)
        return x @ w["w3"] + w["b3"][..., None, :]


class DigitCaptions:
    """A Source for LanguageTask whose windows are an image, row by row, and its caption, "a three" or "digit three".

    Tokens 0..16 are grey levels, then come the characters of the captions. A window is 64 pixels and CAPTION
    characters, the caption filled up with spaces, and has that one length. Which of the forms a caption has is drawn by
    chance, so that a model which knows the digit still has to spread its bets. Raises ModuleNotFoundError as `digits`
    does.
    """

    unit = "token"
    vocab = LEVELS + len(ALPHABET)
    length = SIDE * SIDE + CAPTION

    def __init__(self) -> None:
        images, self._labels = digits()
        self._pixels = images.reshape(len(images), -1)
        letters = [[form.format(word).ljust(CAPTION) for form in FORMS] for word in WORDS]
        self._captions = np.array([[[LEVELS + ALPHABET.index(c) for c in text] for text in row] for row in letters])

    def windows(self, rng: np.random.Generator, count: int, length: int) -> Array:
        """`count` random images of the training part with captions, (count, length)."""
        return self._of(rng.integers(TRAINED, size=count), rng, length)

    def held_out(self, length: int) -> Array:
        """The 597 images that training does not show, each with one caption, (597, length)."""
        return self._of(np.arange(TRAINED, len(self._labels)), np.random.default_rng(0), length)

    def _of(self, chosen: Array, rng: np.random.Generator, length: int) -> Array:
        if length != self.length:
            raise ValueError(f"length: {length}; expected {self.length}, an image and a caption")
        captions = self._captions[self._labels[chosen], rng.integers(len(FORMS), size=len(chosen))]
        return np.concatenate([self._pixels[chosen], captions], axis=1)
