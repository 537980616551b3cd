import numpy as np
import pytest

from toy_problems.text import Text, load

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
    with pytest.raises(FileNotFoundError, match=r"path: '.*no such\.txt'; expected the name of a text file"):
        load(tmp_path / "no such.txt")
    with pytest.raises(FileNotFoundError, match="expected the name of a text file"):
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
