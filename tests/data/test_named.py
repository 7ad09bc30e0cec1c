import gzip
import hashlib
import socket
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from nelbo.data import load, named, rebuild

NAMES = list(named.FILES)


def idx(x):
    return b"\0\0\x08" + bytes([x.ndim]) + struct.pack(f">{x.ndim}I", *x.shape) + x.tobytes()


def arrays(n=20, m=6):
    g = np.random.default_rng(0)
    x = g.integers(0, 256, (n + m, 28, 28), dtype=np.uint8)
    y = g.integers(0, 10, n + m, dtype=np.uint8)
    return x[:n], y[:n], x[n:], y[n:]


def write(folder, *, compress):
    folder.mkdir(parents=True, exist_ok=True)
    for name, x in zip(NAMES, arrays(), strict=True):
        data = gzip.compress(idx(x)) if compress else idx(x)
        (folder / (f"{name}.gz" if compress else name)).write_bytes(data)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NELBO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path):
    """A real server on the loopback, over a folder; ``/short/`` promises more bytes than it sends."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if not self.path.startswith("/short/"):
                return super().do_GET()
            body = (Path(self.directory) / self.path.removeprefix("/short/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            return None

    folder = tmp_path / "served"
    write(folder, compress=True)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/", folder
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def sums(folder):
    return {n: hashlib.sha256((folder / f"{n}.gz").read_bytes()).hexdigest() for n in NAMES}


@pytest.fixture
def no_network():
    """The address of a port where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/"


@pytest.mark.parametrize("compress", [True, False])
def test_a_folder_of_the_four_files(tmp_path, compress):
    write(tmp_path / "f", compress=compress)
    data = load(tmp_path / "f", validation=0)
    x, y, tx, ty = arrays()
    assert np.array_equal(data.train.x.numpy()[:, 0], x)
    assert np.array_equal(data.test.x.numpy()[:, 0], tx)
    assert np.array_equal(data.train.labels.numpy(), y)
    assert np.array_equal(data.test.labels.numpy(), ty)
    assert data.preparation.scale == 1 / 255


def test_compressed_or_not_is_the_same_data(tmp_path):
    write(tmp_path / "a", compress=True)
    write(tmp_path / "b", compress=False)
    assert load(tmp_path / "a").origin["sha256"] == load(tmp_path / "b").origin["sha256"]


def test_an_idx_file_of_real_digits_is_read_as_it_was_written(tmp_path):
    x = load("mnist5k", validation=0).train.x[:, 0].numpy()
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(idx(x))
    assert np.array_equal(named.read_idx(path), x)


def test_the_npz_of_keras(cache):
    """Whether given as a path or found in the cache."""
    x, y, tx, ty = arrays(200, 60)
    cache.mkdir()
    np.savez(cache / "mnist.npz", x_train=x, y_train=y, x_test=tx, y_test=ty)
    data = load(cache / "mnist.npz", binarize="dynamic")
    assert (len(data.train), len(data.validation), len(data.test)) == (180, 20, 60)
    assert data.event_shape == (1, 28, 28)
    assert torch.equal(load("mnist").train.x, data.train.x)
    assert any("mnist.npz in the cache" in note for note in load("mnist").origin["notes"])


@pytest.mark.parametrize("where", [".", "mnist"])
def test_files_in_the_cache_are_found(cache, where, monkeypatch, no_network):
    monkeypatch.setattr(named, "MIRRORS", (no_network,))
    write(cache / where, compress=True)
    assert len(load("mnist", validation=0).train) == 20


def test_download_into_the_cache_once(cache, server, monkeypatch, no_network):
    url, folder = server
    monkeypatch.setattr(named, "FILES", sums(folder))
    monkeypatch.setattr(named, "MIRRORS", (no_network, url))  # the second mirror stands in for the first
    data = load("mnist", validation=0)
    assert np.array_equal(data.train.x.numpy()[:, 0], arrays()[0])
    assert sorted(p.name for p in (cache / "mnist").iterdir()) == sorted(f"{n}.gz" for n in NAMES)
    monkeypatch.setattr(named, "MIRRORS", (no_network,))
    assert torch.equal(rebuild(data.origin).train.x, data.train.x)


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("", "0" * 64, "sha256 is"),
        ("short/", None, "broke off|IncompleteRead"),
        ("nowhere/", None, "404|Not Found"),
    ],
)
def test_a_download_that_goes_wrong_leaves_nothing(cache, server, monkeypatch, path, sha256, message):
    url, folder = server
    right = sums(folder)
    monkeypatch.setattr(named, "FILES", right if sha256 is None else dict.fromkeys(right, sha256))
    monkeypatch.setattr(named, "MIRRORS", (url + path,))
    with pytest.raises(OSError, match=message):
        load("mnist")
    assert list((cache / "mnist").iterdir()) == []


def test_no_network_says_how_to_pass_files(cache, monkeypatch, no_network):
    monkeypatch.setattr(named, "MIRRORS", (no_network,))
    with pytest.raises(OSError, match=r"(?s)refused.*mnist\.npz.*t10k-images-idx3-ubyte.*NELBO_CACHE.*mnist5k"):
        load("mnist")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with nothing"),
        (b"<html>", "web page"),
        (b"\0\0\x0d\x01" + struct.pack(">I", 1) + bytes(4), "unsigned bytes"),
        (b"\0\0\x08\x03" + bytes(4), "its header promises"),
        (idx(np.zeros((3, 4), np.uint8))[:-1], r"holds 11 values.*\(3, 4\), 12 of them"),
        (idx(np.zeros((3, 4), np.uint8)) + b"\0", "holds more than 12 values"),
    ],
)
def test_idx_files_that_are_none(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        named.read_idx(tmp_path / "a")


@pytest.mark.parametrize(
    "data", [b"not gzip", gzip.compress(idx(np.zeros((30, 30), np.uint8)))[:-9]], ids=["other", "short"]
)
def test_gz_files_that_are_none(tmp_path, data):
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(ValueError, match="cannot be decompressed"):
        named.read_idx(tmp_path / "a.gz")


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.setenv("NELBO_CACHE", str(tmp_path))
    assert named.cache_dir() == tmp_path
    monkeypatch.delenv("NELBO_CACHE")
    for platform in ("linux", "darwin", "win32"):
        monkeypatch.setattr("sys.platform", platform)
        assert "nelbo" in named.cache_dir().parts
