import os
import sys

import numpy as np
import pytest

from toy_problems import text as module
from toy_problems.text import Bytes, Text, load

PANGRAM = "the quick brown fox jumps over the lazy dog. " * 4  # 180 characters


def test_tokens_are_places_in_the_sorted_distinct_characters():
    text = Text("banana bread")
    assert text.vocabulary == " abdenr"
    assert text.vocab == 7
    np.testing.assert_array_equal(text.encode("bad nan"), [2, 1, 3, 0, 5, 1, 5])


def test_decoding_undoes_encoding():
    text = Text(PANGRAM + "äλ\n")
    for string in ("", "dog", "λä\nλ", PANGRAM):
        assert text.decode(text.encode(string)) == string


def test_a_word_of_a_larger_model_without_a_character_decodes_to_the_replacement_character():
    assert Text("abc").decode([0, 2, 3, 99]) == "ac\ufffd\ufffd"


def test_the_last_tenth_is_held_out():
    text = Text(PANGRAM)
    assert text.decode(text.train) == PANGRAM[:162]
    assert text.decode(text.validation) == PANGRAM[162:]


def test_training_windows_lie_anywhere_in_the_training_part_and_nowhere_else():
    text = Text("".join(map(chr, range(100, 130))))  # 27 + 3 distinct characters
    windows = text.windows(np.random.default_rng(0), 2000, 3)
    assert windows.shape == (2000, 3)
    np.testing.assert_array_equal(windows - windows[:, :1], np.tile([0, 1, 2], (2000, 1)))
    assert set(windows[:, 0]) == set(range(25))


def test_held_out_windows_predict_every_token_but_the_first_once():
    text = Text("".join(map(chr, range(100, 210))))  # 99 + 11
    windows = text.held_out(6)
    np.testing.assert_array_equal(windows, [np.arange(99, 105), np.arange(104, 110)])
    assert text.held_out(7).tolist() == [list(range(99, 106))]
    assert text.held_out(1).tolist() == [[token] for token in range(99, 110)]


def test_the_token_arrays_cannot_be_written_to():
    text = Text(PANGRAM)
    with pytest.raises(ValueError, match="read-only"):
        text.train[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        text.validation[0] = 1


def test_the_default_is_the_language_reference_of_this_python():
    text = load()
    assert len(text.train) > 300_000
    assert 90 < text.vocab < 128
    string = text.decode(text.train)
    assert 'The "assert" statement' in string
    assert string.startswith(text.decode(load().train[:1000]))


def test_a_file_is_read_as_utf_8_or_as_told(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("äλ and more", encoding="utf-8")
    assert load(path).vocabulary == "".join(sorted(set("äλ and more")))
    assert load(str(path)).vocab == load(path).vocab
    path.write_bytes("grün".encode("latin-1"))
    assert load(path, encoding="latin-1").vocabulary == "gnrü"


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: '.*no such\.txt'; expected the name of a file"):
        load(tmp_path / "no such.txt")
    with pytest.raises(FileNotFoundError, match="expected the name of a file"):
        load(tmp_path)


def test_undecodable_bytes_are_refused_with_their_place(tmp_path):
    path = tmp_path / "binary"
    path.write_bytes(b"abc\xff")
    with pytest.raises(ValueError, match="binary' has byte 0xff at 3; expected text in utf-8"):
        load(path)


def test_an_unknown_encoding_is_refused_by_name(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abc")
    with pytest.raises(ValueError, match="encoding: 'utf-9'; expected one that Python knows"):
        load(path, encoding="utf-9")


def test_empty_texts_are_refused(tmp_path):
    path = tmp_path / "empty.txt"
    path.write_text("")
    with pytest.raises(ValueError, match=r"empty\.txt' is empty; expected text"):
        load(path)
    with pytest.raises(ValueError, match="text: empty; expected at least one character"):
        Text("")
    with pytest.raises(TypeError, match="text: bytes; expected a string"):
        Text(b"abc")


def test_unknown_characters_and_tokens_are_refused_by_name():
    text = Text("abc")
    with pytest.raises(ValueError, match="string: 'x'; expected characters of the vocabulary 'abc'"):
        text.encode("abxy")
    with pytest.raises(ValueError, match="tokens: -1; expected none below 0"):
        text.decode([0, -1])
    with pytest.raises(TypeError, match="tokens: float64; expected integers"):
        text.decode([0.5])


@pytest.mark.parametrize("length", [0, 19])
def test_windows_longer_than_a_part_of_the_text_are_refused(length):
    text = Text(PANGRAM)
    for windows in (text.held_out, lambda length: text.windows(np.random.default_rng(0), 3, length)):
        with pytest.raises(ValueError, match=f"length: {length}; expected 1 to 18 characters"):
            windows(length)


def test_of_a_long_text_some_windows_are_held_out_evenly_spread(monkeypatch):
    text = Text("".join(map(chr, range(1000, 3000))))  # 1800 + 200: 39 windows of 6, each 5 on
    monkeypatch.setattr(module, "MOST_HELD_OUT", 39 * 5)
    every = text.held_out(6)
    assert every[:, 0].tolist() == [1800 + 5 * i for i in range(39)]
    monkeypatch.setattr(module, "MOST_HELD_OUT", 39 * 5 - 1)
    assert len(text.held_out(6)) == 38
    monkeypatch.setattr(module, "MOST_HELD_OUT", 4 * 5)
    some = text.held_out(6)
    assert some[:, 0].tolist() == [1800, 1845, 1895, 1945]  # windows 0, 9, 19, 29 of the 39
    np.testing.assert_array_equal(some - some[:, :1], np.tile(np.arange(6), (4, 1)))
    monkeypatch.setattr(module, "MOST_HELD_OUT", 1)
    assert text.held_out(6).tolist() == [list(range(1800, 1806))]


@pytest.fixture
def binary(tmp_path):
    """A file of all bytes in disorder, and what is in it."""
    content = np.random.default_rng(0).bytes(3003)
    path = tmp_path / "binary"
    path.write_bytes(content)
    return path, content


def test_the_tokens_of_a_file_are_its_bytes_the_last_tenth_held_out(binary):
    path, content = binary
    text = Bytes(path)
    assert (text.vocab, text.size) == (256, 3003)
    assert bytes(text.train) == content[:2703]
    assert bytes(text.validation) == content[2703:]
    with pytest.raises(ValueError, match="read-only"):
        text.train[0] = 1


def test_windows_of_a_file_are_pieces_of_its_training_part_anywhere(binary):
    path, content = binary
    windows = Bytes(str(path)).windows(np.random.default_rng(1), 30_000, 8)
    assert windows.dtype == np.int64
    starts = {content.index(bytes(window.astype(np.uint8))) for window in windows}  # 8 random bytes: found once
    assert starts == set(range(2703 - 8 + 1))


def test_held_out_windows_of_a_file_predict_every_byte_but_the_first_once(binary):
    path, content = binary
    held_out = Bytes(path).held_out(31)
    assert held_out.dtype == np.int64
    assert [bytes(window.astype(np.uint8)) for window in held_out] == [
        content[start : start + 31] for start in range(2703, 3003 - 30, 30)
    ]


def test_characters_and_bytes_of_an_english_text_have_the_same_windows(tmp_path):
    path = tmp_path / "pangram.txt"
    path.write_text(PANGRAM)
    as_bytes, as_text = Bytes(path), Text(PANGRAM)
    for windows in (
        lambda text: text.windows(np.random.default_rng(3), 20, 9),
        lambda text: text.held_out(5),
    ):
        assert [as_bytes.decode(w) for w in windows(as_bytes)] == [as_text.decode(w) for w in windows(as_text)]


def test_bytes_are_encoded_and_decoded_as_utf_8(binary):
    text = Bytes(binary[0])
    assert text.encode("aλ").tolist() == [97, 0xCE, 0xBB]
    assert text.encode("").shape == (0,)
    assert text.decode(text.encode("λόγος, a\n")) == "λόγος, a\n"
    assert text.decode([97, 0xBB, 98, 256, 99, 50303]) == "a\ufffdb\ufffdc\ufffd"
    with pytest.raises(ValueError, match="tokens: -1; expected none below 0"):
        text.decode([0, -1])
    with pytest.raises(TypeError, match="tokens: float64; expected integers"):
        text.decode([0.5])


def test_files_without_bytes_are_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: '.*nothing'; expected the name of a file"):
        Bytes(tmp_path / "nothing")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=r"path: '.*empty' is empty; expected text"):
        Bytes(tmp_path / "empty")


def test_windows_longer_than_a_part_of_a_file_are_refused(binary):
    text = Bytes(binary[0])
    for windows in (text.held_out, lambda length: text.windows(np.random.default_rng(0), 3, length)):
        assert windows(300).shape[1] == 300
        for length in (0, 301):
            with pytest.raises(ValueError, match=f"length: {length}; expected 1 to 300 bytes"):
                windows(length)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let a mapped file shrink")
def test_a_file_may_grow_but_not_shrink(binary):
    path, content = binary
    text = Bytes(path)
    before = text.held_out(31)
    path.write_bytes(content + b"more")
    np.testing.assert_array_equal(text.held_out(31), before)
    os.truncate(path, 3002)
    with pytest.raises(OSError, match=r"binary' has become shorter; expected 3003 bytes"):
        text.windows(np.random.default_rng(0), 1, 2)


def test_a_system_without_advice_about_memory_maps_files_too(binary, monkeypatch):
    monkeypatch.delattr(module.mmap, "MADV_RANDOM", raising=False)
    path, content = binary
    assert bytes(Bytes(path).train) == content[:2703]
