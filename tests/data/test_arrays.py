import io
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from nelbo.data import InMemory, load

X = np.arange(48, dtype=np.float32).reshape(12, 4)


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", X)
    assert np.array_equal(load(tmp_path / "a.npy", validation=0).train.take(12).numpy(), X)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u8", ">f8", "?", "f2"])
@pytest.mark.parametrize("options", [{"validation": 0}, {"validation": 0.3, "limit": 80}, {"layout": "series"}])
def test_a_file_in_memory_is_the_array(tmp_path, dtype, order, options):
    x = (np.arange(100 * 6 * 2).reshape(100, 6, 2) % 7).astype(dtype, order=order)
    np.save(tmp_path / "x.npy", x)
    options = {"layout": "as_is", **options}
    array = load(x, **options)
    file = load(tmp_path / "x.npy", on_disk=False, memory="8KiB", **options)  # 8 KiB: it is read in many pieces
    for name in ("train", "validation"):
        expected, got = getattr(array, name), getattr(file, name)
        assert (expected is None) == (got is None)
        if got is not None:
            assert isinstance(got, InMemory)
            assert got.x.dtype == expected.x.dtype
            assert torch.equal(got.x, expected.x)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is reset as Linux does")
def test_a_file_takes_its_size_in_memory_once(tmp_path):
    size = 64 << 20
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (size >> 10, 1 << 10)).flush()

    def kibibytes(name):
        return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

    load(tmp_path / "x.npy", limit=100)  # what is imported and allocated once
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held
    before = kibibytes("VmRSS")
    data = load(tmp_path / "x.npy", on_disk=False)
    assert len(data.train) + len(data.validation) == size >> 10
    assert kibibytes("VmHWM") - before < 1.5 * (size >> 10)


@pytest.mark.parametrize(
    ("arrays", "options", "n_test", "labels"),
    [
        ({"x_train": X, "y_train": np.arange(12), "x_test": X[:5], "y_test": np.arange(5)}, {}, 5, True),
        ({"x_train": X, "x_test": X[:5]}, {}, 5, False),
        ({"x_train": X}, {}, None, False),
        ({"x": X, "y": np.arange(12)}, {}, None, True),
        ({"anything": X}, {}, None, False),
        ({"a": X, "b": X + 1}, {"key": "a"}, None, False),
    ],
)
def test_npz(tmp_path, arrays, options, n_test, labels):
    np.savez(tmp_path / "a.npz", **arrays)
    data = load(tmp_path / "a.npz", validation=0, **options)
    assert np.array_equal(data.train.take(12).numpy(), X)
    assert (data.test is None) == (n_test is None)
    assert n_test is None or len(data.test) == n_test
    assert (data.train.labels is not None) == labels
    if labels:
        assert torch.equal(data.train.labels, torch.arange(12))


def test_npz_of_unclear_arrays_lists_them(tmp_path):
    np.savez(tmp_path / "a.npz", images=X, other=X[:3])
    with pytest.raises(ValueError, match=r"images \(12, 4\), other \(3, 4\).*key='images'"):
        load(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="no array 'image'"):
        load(tmp_path / "a.npz", key="image")
    np.savez(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="holds no array"):
        load(tmp_path / "none.npz")


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("on_disk", [None, True])
def test_a_pickle_is_never_loaded(tmp_path, name, on_disk):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    x = np.empty(2, dtype=object)
    x[:] = [Trap(), Trap()]
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, x, allow_pickle=True)
    options = {"on_disk": on_disk} if name == "a.npy" else {}
    with pytest.raises(ValueError, match=r"pickle.*convert it once.*np\.stack"):
        load(tmp_path / name, **options)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("keep", [0, 5, 90, -20])
def test_a_file_cut_short(tmp_path, name, keep):
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, X)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:keep])
    with pytest.raises(ValueError, match=r"cut short|pickle"):
        load(tmp_path / name)


def test_labels_of_another_length_or_shape(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=np.arange(11))
    with pytest.raises(ValueError, match="12 examples"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=X, y=np.eye(12))
    with pytest.raises(ValueError, match="argmax"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=X, y=np.arange(12)[:, None])
    assert load(tmp_path / "a.npz", validation=0).train.labels.tolist() == list(range(12))


def test_labels_in_words_and_measured_ones(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=np.array(["cat", "ant", "bee"] * 4))
    data = load(tmp_path / "a.npz", validation=0)
    assert data.origin["label_names"] == ["ant", "bee", "cat"]
    assert data.train.labels.tolist() == [2, 0, 1] * 4
    np.savez(tmp_path / "a.npz", x=X, y=np.linspace(0, 1, 12))
    assert load(tmp_path / "a.npz").train.labels.dtype == torch.float32


def test_a_file_under_the_wrong_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=X)
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="rename it"):
        load(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", X)
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="rename it"):
        load(tmp_path / "b.npz")


def test_labels_in_words_mean_the_same_in_both_sets(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        x_train=X,
        y_train=np.array(["cat", "bee"] * 6),
        x_test=X[:3],
        y_test=np.array(["cat", "ant", "bee"]),
    )
    data = load(tmp_path / "a.npz", validation=0)
    names = data.origin["label_names"]
    assert [names[i] for i in data.train.labels[:2]] == ["cat", "bee"]
    assert [names[i] for i in data.test.labels] == ["cat", "ant", "bee"]


def promising(shape, dtype="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(100)


@pytest.mark.parametrize("shape", [(10**9, 500), (2**62, 500), (10**30, 3), (-1, 5)])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_header_that_promises_more_than_the_file_holds(tmp_path, name, shape):
    if name == "a.npy":
        (tmp_path / name).write_bytes(promising(shape))
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.npy", promising(shape))
    with pytest.raises(ValueError, match=rf"{name}.*its header promises .*shape \({shape[0]}, {shape[1]}\)"):
        load(tmp_path / name)


def test_an_archive_that_holds_more_than_fits_into_memory(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 1000)))
    monkeypatch.setattr("nelbo.data.sizes.available_memory", lambda: 1 << 20)
    with pytest.raises(MemoryError, match=r"a\.npz \[x\] promises .*\(1000, 1000\), which take 7\.6 MiB; 1\.0 MiB are"):
        load(tmp_path / "a.npz")


@pytest.mark.parametrize("text", ["-" * 5000 + "1", "(" * 300, "{'a': " * 900, "\0"])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_a_header_that_is_no_header(tmp_path, name, text):
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
    if name == "a.npy":
        (tmp_path / name).write_bytes(header)
    else:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.npy", header)
    with pytest.raises(ValueError, match=rf"{name}.*cannot be read as a numpy file"):
        load(tmp_path / name)


def test_an_archive_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(ValueError, match=r"a\.npz \[readme\.txt\] cannot be read as a numpy file"):
        load(tmp_path / "a.npz")
