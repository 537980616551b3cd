"""A file is whole or absent."""

import os
import stat
from pathlib import Path

import pytest

from sophia_ref.files import replacing


def test_the_file_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "deep" / "er" / "x.bin"
    with replacing(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    with replacing(path) as file:
        file.write(b"two")
        assert path.read_bytes() == b"one"
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["x.bin"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half of the n")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*x\.bin'"), replacing(tmp_path / "x.bin"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_file_is_as_readable_as_any_other(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with replacing(tmp_path / "x"):
        pass
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="what a descriptor stands for is read from /proc")
def test_file_and_folder_are_synced_in_the_order_that_survives_a_power_cut(tmp_path, monkeypatch):
    calls, sync, rename = [], os.fsync, os.replace

    def spy(descriptor):
        calls.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("rename"), rename(old, new)))
    with replacing(tmp_path / "x.bin") as file:
        file.write(b"one")
    assert len(calls) == 3
    assert calls[0].name.startswith(".x.bin.")
    assert calls[1:] == ["rename", tmp_path]
