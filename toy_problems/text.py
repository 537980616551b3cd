"""English text for language models, one token a character.

The default is the Python language reference that every CPython carries for its `help()` (pydoc_data.topics): about half
a million characters, without a download. It grows from one Python to the next, so losses are comparable within one
Python version only.
"""

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.int64]

HELD_OUT = 0.1  # share of the text kept for validation


class Text:
    """A text as tokens. Its vocabulary is its sorted distinct characters, and token i is character i of it.

    The last tenth is held out for validation, in one piece: windows drawn from all over the text would overlap with
    training windows, and the model would be asked what it has read.

    Attributes: vocabulary (str), vocab (its length), train and validation (token arrays, read-only).
    Raises TypeError if `text` is not a string, ValueError if it is empty.

    >>> text = Text("to be or not to be")
    >>> text.vocabulary
    ' benort'
    >>> text.decode(text.encode("not to"))
    'not to'
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"Text: text must be a string, got {type(text).__name__}; text.load(path) reads a file")
        if not text:
            raise ValueError("Text: text must not be empty")
        self.vocabulary = "".join(sorted(set(text)))
        self.vocab = len(self.vocabulary)
        self._token = {character: token for token, character in enumerate(self.vocabulary)}
        tokens = self.encode(text)
        tokens.flags.writeable = False
        end = len(tokens) - int(HELD_OUT * len(tokens))
        self.train, self.validation = tokens[:end], tokens[end:]

    def encode(self, string: str) -> Array:
        """string -> tokens (len(string),). Raises ValueError naming the first character that the vocabulary lacks."""
        unknown = [character for character in string if character not in self._token]
        if unknown:
            raise ValueError(f"Text.encode: every character must be in the vocabulary of the text, got {unknown[0]!r}")
        return np.array([self._token[character] for character in string], np.int64)

    def decode(self, tokens: ArrayLike) -> str:
        """tokens (n,) -> string. A model may have more words than the text has characters: those become U+FFFD.

        Raises TypeError for tokens that are not integers, ValueError for a negative one.
        """
        tokens = np.asarray(tokens)
        if tokens.size and not np.issubdtype(tokens.dtype, np.integer):
            raise TypeError(f"Text.decode: tokens must be integers, got {tokens.dtype}")
        if np.any(tokens < 0):
            raise ValueError(f"Text.decode: tokens must not be negative, got {tokens.min()}")
        return "".join(
            self.vocabulary[token] if token < self.vocab else "\N{REPLACEMENT CHARACTER}" for token in tokens
        )

    def windows(self, rng: np.random.Generator, count: int, length: int) -> Array:
        """`count` windows at random places of the training part, (count, length)."""
        self._check_length(length)
        starts = rng.integers(len(self.train) - length + 1, size=count)
        return sliding_window_view(self.train, length)[starts]

    def held_out(self, length: int) -> Array:
        """The validation part cut into windows, (number, length). Each starts with the last token of the one before, so
        that every token but the first is predicted once; what does not fill a window is left out."""
        self._check_length(length)
        return sliding_window_view(self.validation, length)[:: max(length - 1, 1)]

    def _check_length(self, length: int) -> None:
        shortest = min(len(self.train), len(self.validation))
        if not 1 <= length <= shortest:
            raise ValueError(
                f"Text: windows must be 1 to {shortest} characters long, as is the shorter of its parts; got {length}"
            )


def load(path: str | Path | None = None, encoding: str = "utf-8") -> Text:
    """The text of a file, or the Python language reference if no path is given.

    Raises FileNotFoundError if there is no such file, ValueError if it is empty or not text in `encoding`, or if Python
    knows no such encoding.
    """
    if path is None:
        from pydoc_data.topics import topics  # half a megabyte: loaded when asked for

        return Text("\n".join(topics[name] for name in sorted(topics)))
    if not Path(path).is_file():
        raise FileNotFoundError(f"text.load: path must name a text file, got {str(path)!r}")
    try:
        string = Path(path).read_text(encoding)
    except LookupError as error:
        raise ValueError(f"text.load: encoding must be one that Python knows, got {encoding!r}") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"text.load: {path} must be text in {encoding}, got byte {error.object[error.start]:#04x} at {error.start}"
        ) from error
    if not string:
        raise ValueError(f"text.load: {path} must not be empty")
    return Text(string)
