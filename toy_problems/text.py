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
            raise TypeError(f"text: {type(text).__name__}; expected a string, such as load(path) reads from a file")
        if not text:
            raise ValueError("text: empty; expected at least one character")
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
            raise ValueError(f"string: {unknown[0]!r}; expected characters of the vocabulary {self.vocabulary!r}")
        return np.array([self._token[character] for character in string], np.int64)

    def decode(self, tokens: ArrayLike) -> str:
        """tokens (n,) -> string. A model may have more words than the text has characters: those become U+FFFD.

        Raises TypeError for tokens that are not integers, ValueError for a negative one.
        """
        tokens = np.asarray(tokens)
        if tokens.size and not np.issubdtype(tokens.dtype, np.integer):
            raise TypeError(f"tokens: {tokens.dtype}; expected integers")
        if np.any(tokens < 0):
            raise ValueError(f"tokens: {tokens.min()}; expected none below 0")
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
            raise ValueError(f"length: {length}; expected 1 to {shortest} characters, the shorter of the text's parts")


def load(path: str | Path | None = None, encoding: str = "utf-8") -> Text:
    """The text of a file, or the Python language reference if no path is given.

    Raises FileNotFoundError if there is no such file, ValueError if it is empty or not text in `encoding`, or if Python
    knows no such encoding.
    """
    if path is None:
        from pydoc_data.topics import topics  # half a megabyte: loaded when asked for

        return Text("\n".join(topics[name] for name in sorted(topics)))
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: {str(path)!r}; expected the name of a text file")
    try:
        string = Path(path).read_text(encoding)
    except LookupError as error:
        raise ValueError(f"encoding: {encoding!r}; expected one that Python knows") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"path: {str(path)!r} has byte {error.object[error.start]:#x} at {error.start}; expected text in {encoding}"
        ) from error
    if not string:
        raise ValueError(f"path: {str(path)!r} is empty; expected text")
    return Text(string)
