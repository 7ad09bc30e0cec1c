"""Files are whole or absent, and a damaged one is named."""

import errno
import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nelbo.files import (
    DamagedFileError,
    exclusive,
    json_line,
    plain,
    read_json,
    read_tensors,
    sweep,
    write_bytes,
    write_json,
    write_tensors,
)

TENSORS = {
    "float": torch.randn(3, 4),
    "double": torch.randn(2, dtype=torch.float64),
    "half": torch.randn(5).bfloat16(),
    "whole": torch.tensor(7),
    "bool": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
    "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
    "view": torch.arange(12.0).reshape(3, 4).T,
    "parameter": torch.nn.Parameter(torch.randn(2)),
}


def test_tensors_survive(tmp_path):
    path = tmp_path / "deep" / "t.safetensors"
    write_tensors(path, TENSORS, {"epoch": 3})
    read, content = read_tensors(path)
    assert content == {"epoch": 3}
    assert read.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor.detach())


def test_equal_tensors_give_equal_files(tmp_path):
    for name in ("a", "b"):
        write_tensors(tmp_path / name, dict(TENSORS), {"x": [1, 2]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_programs_read_and_write_them(tmp_path):
    write_tensors(tmp_path / "ours", {"w": torch.ones(2)})
    assert torch.equal(load_file(tmp_path / "ours")["w"], torch.ones(2))
    for metadata in (None, {"format": "pt"}, {"nelbo": "[1]"}):
        save_file({"w": torch.ones(2)}, tmp_path / "theirs", metadata=metadata)
        tensors, content = read_tensors(tmp_path / "theirs")
        assert torch.equal(tensors["w"], torch.ones(2))
        assert content is None


def test_every_damage_to_a_tensor_file_is_found(tmp_path):
    """Cut at any length, or any one bit turned: an error, or (in the JSON's spaces) no change."""
    path = tmp_path / "t"
    expected = {"w": torch.arange(6.0)}
    write_tensors(path, expected, 1)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedFileError, match="t is not a whole safetensors file"):
            read_tensors(path)
    for place in range(len(whole) - 24, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedFileError, match="values have changed since they were written"):
            read_tensors(path)
    for place in range(8, len(whole) - 24):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            tensors, _ = read_tensors(path)
        except DamagedFileError:
            continue
        # a name or the metadata itself: what the tensors hold is as it was
        assert all(torch.equal(t, expected["w"]) for t in tensors.values())


def test_nothing_is_unpickled(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "pickle.pt")
    with pytest.raises(DamagedFileError, match="not a whole safetensors file"):
        read_tensors(tmp_path / "pickle.pt")


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(moment, tmp_path, monkeypatch):
    path = tmp_path / "f"
    write_bytes(path, b"old")

    def fails(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync" if moment == "fsync" else "pathlib.Path.replace", fails)
    with pytest.raises(OSError, match="no space left"):
        write_bytes(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_umask_says_who_may_read(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "f", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


def test_json_that_every_reader_accepts(tmp_path):
    content = {"a": math.inf, "b": [math.nan, -math.inf, 1.5], 3: ("x", np.float32(0.5)), "n": np.int64(4), "ü": None}
    expected = {"a": None, "b": [None, None, 1.5], "3": ["x", 0.5], "n": 4, "ü": None}
    write_json(tmp_path / "j", content)
    assert read_json(tmp_path / "j") == expected == plain(content) == json.loads(json_line(content))
    assert json_line(content).count("\n") == 1


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", b"[1,]"])
def test_json_that_is_none(content, tmp_path):
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"j is not JSON .* cut short or edited by hand"):
        read_json(tmp_path / "j")


def test_what_is_not_there(tmp_path):
    for read in (read_json, read_tensors):
        with pytest.raises(DamagedFileError, match="nothing does not exist"):
            read(tmp_path / "nothing")


def test_one_at_a_time(tmp_path):
    with exclusive(tmp_path):
        with pytest.raises(BlockingIOError, match="another process is training in"), exclusive(tmp_path):
            pass
        (tmp_path / "other").mkdir()
        with exclusive(tmp_path / "other"):
            pass
    with exclusive(tmp_path):
        pass


def test_sweeping_takes_half_written_files_alone(tmp_path):
    for name in (".state.safetensors.ab12.part", "notes.part", ".hidden", "run.json"):
        (tmp_path / name).write_text("")
    sweep(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", "notes.part", "run.json"]


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSYS, "Function not implemented: this storage cannot rename a file"), (errno.ENOSPC, "No space left on")],
)
def test_storage_that_cannot_rename_is_named_and_the_old_file_stays(tmp_path, monkeypatch, code, message):
    """As a bucket that is mounted, which refuses it; a full disk is another thing."""
    write_bytes(tmp_path / "file", b"old")

    def refuse(self, target):
        raise OSError(code, os.strerror(code), str(self))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match=message) as caught:
        write_bytes(tmp_path / "file", b"new")
    assert caught.value.filename == str(tmp_path / "file")
    assert ("NFS" in str(caught.value)) == (code == errno.ENOSYS)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
