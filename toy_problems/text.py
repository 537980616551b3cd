"""Text for language models: one token a character (`Text`), or of any file one token a byte (`Bytes`).

The default is the Python language reference that every CPython carries for its `help()` (pydoc_data.topics): about half
a million characters, without a download. It grows from one Python to the next, so losses are comparable within one
Python version only.
"""

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.int64]

HELD_OUT = 0.1  # share of the text kept for validation
MOST_HELD_OUT = 2**17  # tokens that validation asks about: its loss then has a standard error below 0.01 nats
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class _Tokens:
    """What Text and Bytes share: a training and a validation part, and windows of both.

    The last tenth is held out for validation, in one piece: windows drawn from all over the text would overlap with
    training windows, and the model would be asked what it has read.
    """

    unit: str  # what a token is
    vocab: int

    def _tokens(self) -> NDArray[Any]:
        raise NotImplementedError

    @property
    def train(self) -> NDArray[Any]:
        return self._parts()[0]

    @property
    def validation(self) -> NDArray[Any]:
        return self._parts()[1]

    def windows(self, rng: np.random.Generator, count: int, length: int) -> Array:
        """`count` windows at random places of the training part, (count, length)."""
        train, _ = self._parts_for(length)
        starts = rng.integers(len(train) - length + 1, size=count)
        return sliding_window_view(train, length)[starts].astype(np.int64, copy=False)

    def held_out(self, length: int) -> Array:
        """The validation part cut into windows, (number, length). Each starts with the last token of the one before, so
        that every token but the first is predicted once; what does not fill a window is left out. Of a long text it is
        some of these windows, evenly spread, so that there are at most MOST_HELD_OUT predictions."""
        _, validation = self._parts_for(length)
        predictions = max(length - 1, 1)  # of a window
        windows = sliding_window_view(validation, length)[::predictions]
        most = max(1, MOST_HELD_OUT // predictions)
        if len(windows) > most:
            windows = windows[np.arange(most) * len(windows) // most]
        return windows.astype(np.int64, copy=False)

    def _parts(self) -> tuple[NDArray[Any], NDArray[Any]]:
        tokens = self._tokens()
        end = len(tokens) - int(HELD_OUT * len(tokens))
        return tokens[:end], tokens[end:]

    def _parts_for(self, length: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The parts, both long enough for windows of this length."""
        train, validation = self._parts()
        shortest = min(len(train), len(validation))
        if not 1 <= length <= shortest:
            expected = f"expected 1 to {shortest} {self.unit}s, the shorter of the text's parts"
            raise ValueError(f"length: {length}; {expected}")
        return train, validation


class Text(_Tokens):
    """A text as tokens. Its vocabulary is its sorted distinct characters, and token i is character i of it.

    Attributes: unit, vocabulary (str), vocab (its length), train and validation (token arrays, read-only).
    Raises TypeError if `text` is not a string, ValueError if it is empty.

    >>> text = Text("to be or not to be")
    >>> text.vocabulary
    ' benort'
    >>> text.decode(text.encode("not to"))
    'not to'
    """

    unit = "character"

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"text: {type(text).__name__}; expected a string, such as load(path) reads from a file")
        if not text:
            raise ValueError("text: empty; expected at least one character")
        self.vocabulary = "".join(sorted(set(text)))
        self.vocab = len(self.vocabulary)
        self._token = {character: token for token, character in enumerate(self.vocabulary)}
        self._text = self.encode(text)
        self._text.flags.writeable = False

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
        tokens = _checked(tokens)
        return "".join(self.vocabulary[token] if token < self.vocab else REPLACEMENT for token in tokens)

    def _tokens(self) -> Array:
        return self._text


class Bytes(_Tokens):
    """A file as tokens, one a byte, whatever is in it; it may be larger than memory. Strings are in UTF-8.

    The file is mapped into memory (numpy.memmap) anew whenever it is read. One map would hold on to every page that was
    ever looked at, in the end to the whole file.

    Attributes: unit, vocab (256), path, size, train and validation (uint8, read-only).
    Raises FileNotFoundError if there is no such file, ValueError if it is empty; later, wherever the file is read,
    OSError if it has become shorter.
    """

    unit = "byte"
    vocab = 256

    def __init__(self, path: str | Path) -> None:
        _check_file(path)
        self.path, self.size = Path(path), Path(path).stat().st_size
        if not self.size:
            raise ValueError(f"path: {str(path)!r} is empty; expected text")

    def encode(self, string: str) -> Array:
        """string -> tokens, the bytes of its UTF-8."""
        return np.frombuffer(string.encode(), np.uint8).astype(np.int64)

    def decode(self, tokens: ArrayLike) -> str:
        """tokens (n,) -> string, with U+FFFD for what is not UTF-8 and for tokens beyond 255. Raises as Text does."""
        words = np.minimum(_checked(tokens), 0xFF)  # a byte that never occurs in UTF-8
        return bytes(words.astype(np.uint8)).decode(errors="replace")

    def _tokens(self) -> NDArray[np.uint8]:
        try:
            tokens = np.memmap(self.path, np.uint8, mode="r", shape=(self.size,))
        except ValueError:
            raise OSError(f"{str(self.path)!r} has become shorter; expected {self.size} bytes, as at first") from None
        if hasattr(mmap, "MADV_RANDOM"):  # not on Windows
            memory: Any = tokens.base
            memory.madvise(mmap.MADV_RANDOM)  # or the system reads up to megabytes around every window
        return tokens


def _checked(tokens: ArrayLike) -> NDArray[Any]:
    tokens = np.asarray(tokens)
    if tokens.size and not np.issubdtype(tokens.dtype, np.integer):
        raise TypeError(f"tokens: {tokens.dtype}; expected integers")
    if np.any(tokens < 0):
        raise ValueError(f"tokens: {tokens.min()}; expected none below 0")
    return tokens


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"path: {str(path)!r}; expected the name of a file")


def language_reference() -> str:
    """That of this Python."""
    from pydoc_data.topics import topics  # half a megabyte: loaded when asked for

    return "\n".join(topics[name] for name in sorted(topics))


def load(path: str | Path | None = None, encoding: str = "utf-8") -> Text:
    """The text of a file, or the Python language reference if no path is given.

    Raises FileNotFoundError if there is no such file, ValueError if it is empty or not text in `encoding`, or if Python
    knows no such encoding.
    """
    if path is None:
        return Text(language_reference())
    _check_file(path)
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
