"""What a training leaves in its folder."""

import hashlib
import os
import sys

import numpy as np
import pytest
from PIL import Image

import sophia_ref as sr
from sophia_ref.commands import folder
from sophia_ref.commands.folder import (
    Row,
    fingerprint,
    line,
    load_settings,
    new_folder,
    save_log,
    save_picture,
    save_settings,
)
from toy_problems.text import load


def test_a_new_folder_is_empty_and_has_the_next_number(tmp_path):
    parent = tmp_path / "a" / "b"
    assert [new_folder(parent, "run").name for _ in range(3)] == ["run", "run-2", "run-3"]
    (parent / "run-4").touch()
    assert list(new_folder(parent, "run").iterdir()) == []
    assert (parent / "run-5").is_dir()


def test_the_fingerprint_of_a_file_is_its_size_and_sha_256(tmp_path):
    content = np.random.default_rng(0).bytes(3 * 2**20 + 5)
    (tmp_path / "text").write_bytes(content)
    assert fingerprint(str(tmp_path / "text")) == f"3145733 bytes, SHA-256 {hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(("most", "stride"), [(5 * 2**20 + 3, 1), (5 * 2**20, 2), (2**20, 6)])
def test_of_a_large_file_it_is_that_of_one_mebibyte_in_so_many(tmp_path, monkeypatch, most, stride):
    monkeypatch.setattr(folder, "MOST_READ", most)
    content = np.random.default_rng(0).bytes(5 * 2**20 + 3)
    (tmp_path / "text").write_bytes(content)
    part = b"".join(content[i : i + 2**20] for i in range(0, len(content), stride * 2**20))
    assert len(part) <= most
    words = f" of one MiB in {stride}" if stride > 1 else ""
    assert fingerprint(str(tmp_path / "text")) == f"5242883 bytes, SHA-256{words} {hashlib.sha256(part).hexdigest()}"


def test_the_fingerprint_of_the_language_reference_is_that_of_its_text():
    text = load()
    content = (text.decode(text.train) + text.decode(text.validation)).encode()
    assert fingerprint(None) == f"{len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}"


def test_settings_come_back_as_they_are_typed(tmp_path):
    save_settings(tmp_path, {"batch_size": 2, "lr": 1e-3, "gamma": None, "text": "/a b/-c"}, "5 bytes")
    assert load_settings(tmp_path) == (["--batch-size=2", "--lr=0.001", "--text=/a b/-c"], "5 bytes")


def test_a_log_is_exact_and_empty_where_nothing_was_measured(tmp_path):
    rows = [Row(1, 0.1, np.nan, 1 / 3, 1.5, 0.25), Row(2, np.nan, 2.0, 0.0, 2.5, np.nan)]
    path = save_log([line(row) for row in rows], tmp_path)
    assert path.read_bytes() == (
        b"step,loss,validation_loss,lr,cost,unclipped\n1,0.1,,0.3333333333333333,1.5,0.25\n2,,2.0,0.0,2.5,\n"
    )
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(("opt", "unclipped", "width"), [(sr.Adam(1.0), np.nan, 825), (sr.SophiaG(1.0), 0.5, 1650)])
def test_the_picture_has_a_panel_for_the_unclipped_share_where_there_is_one(tmp_path, opt, unclipped, width):
    rows = [Row(t, 1 / t, 1 / t if t % 2 else np.nan, 0.1, t, unclipped) for t in range(1, 100)]
    path = save_picture(rows, opt, "byte", tmp_path)
    with Image.open(path) as picture:
        assert abs(picture.size[0] - width) <= 1
    assert path.name == "curve.png"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not number its errors so")
def test_a_parent_that_is_a_file_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        new_folder(tmp_path / "file", "run")
