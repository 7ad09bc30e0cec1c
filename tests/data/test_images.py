import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from nelbo.data import load, rebuild

G = np.random.default_rng(0)


def write(folder, name, shape=(9, 7, 3), mode=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    x = G.integers(0, 256, shape, dtype=np.uint8)
    image = Image.fromarray(x)
    (image if mode is None else image.convert(mode)).save(path)
    return x


def test_colour_images_with_labels(tmp_path):
    x = np.stack([write(tmp_path, f"{'cat' if i % 3 else 'ant'}/{i:02}.png") for i in range(12)])
    data = load(tmp_path, validation=0)
    assert data.event_shape == (3, 9, 7)
    assert data.origin["label_names"] == ["ant", "cat"]
    order = [0, 3, 6, 9, 1, 2, 4, 5, 7, 8, 10, 11]  # by path
    assert np.array_equal(data.train.x.numpy(), x[order].transpose(0, 3, 1, 2))
    assert data.train.labels.tolist() == [0] * 4 + [1] * 8
    assert data.preparation.scale == 1 / 255
    rebuild(data.origin)
    (tmp_path / "ant/00.png").rename(tmp_path / "ant/zz.png")
    with pytest.raises(ValueError, match="has changed"):
        rebuild(data.origin)


def test_grey_images_without_labels_more_than_are_read_ahead(tmp_path):
    x = np.stack([write(tmp_path, f"{i:03}.png", (2, 3)) for i in range(300)])
    data = load(tmp_path, validation=0)
    assert data.event_shape == (1, 2, 3)  # the axes of images are known, however small
    assert np.array_equal(data.train.x.numpy()[:, 0], x)
    assert data.train.labels is None


def test_jpeg_and_one_bit_and_palette(tmp_path):
    write(tmp_path / "jpg", "a.JPG")
    write(tmp_path / "jpg", "b.jpeg")
    assert load(tmp_path / "jpg").event_shape == (3, 9, 7)
    write(tmp_path / "bit", "a.png", (9, 7), "1")
    write(tmp_path / "bit", "b.png", (9, 7), "1")
    data = load(tmp_path / "bit", validation=0)
    assert data.event_shape == (1, 9, 7)
    assert set(data.train.take(2).unique().tolist()) == {0, 1}
    write(tmp_path / "pal", "a.png", (9, 7, 3), "P")
    write(tmp_path / "pal", "b.png", (9, 7, 3))
    assert load(tmp_path / "pal").event_shape == (3, 9, 7)


@pytest.mark.parametrize(("shape", "what"), [((9, 8, 3), "8 wide and 9 high"), ((9, 7), "grey")])
def test_the_first_image_that_differs_is_named(tmp_path, shape, what):
    for name in ("a.png", "b.png", "d.png"):
        write(tmp_path, name)
    write(tmp_path, "c.png", shape)
    with pytest.raises(
        ValueError, match=rf"c\.png is .*{what}.*a\.png is 7 wide and 9 high, colour.*resize\(\(7, 9\)\)"
    ):
        load(tmp_path)


def test_alpha_is_dropped_only_where_it_says_nothing(tmp_path):
    write(tmp_path, "a.png", mode="RGBA")
    write(tmp_path, "b.png")
    assert load(tmp_path).event_shape == (3, 9, 7)
    Image.fromarray(np.full((9, 7, 4), 100, np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"c\.png is transparent"):
        load(tmp_path)


def test_images_that_cannot_be_read(tmp_path):
    write(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:80])
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        load(tmp_path)
    (tmp_path / "b.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        load(tmp_path)
    Image.fromarray(np.zeros((9, 7), np.uint16)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="8-bit grey or colour"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "got none$"),
        (["a.csv", "b.csv"], r"got '\.csv'; write its tables into one file"),
        (["run.json", "weights.safetensors"], r"it is a run: nelbo\.resume\('"),
    ],
)
def test_a_folder_without_images(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f"must hold images .*{message}"):
        load(tmp_path)


def promising(path, width, height):
    """A PNG whose header claims a size and which holds next to nothing."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))


def test_a_header_that_claims_more_pixels_than_there_can_be(tmp_path):
    promising(tmp_path / "a.png", 60_000, 60_000)
    with pytest.raises(ValueError, match=r"a\.png is too large by its header.*Cut it into smaller images"):
        load(tmp_path)


def test_the_first_header_is_asked_before_its_pixels_take_memory(tmp_path, monkeypatch):
    promising(tmp_path / "a.png", 12_000, 12_000)
    monkeypatch.setattr("nelbo.data.images.available_memory", lambda: 1 << 20)
    with pytest.raises(MemoryError, match=r"1 images of shape \(12000, 12000\) take 137\.3 MiB"):
        load(tmp_path)


def test_other_images_are_compared_by_their_headers(tmp_path):
    write(tmp_path, "a.png", (8, 8))
    promising(tmp_path / "b.png", 12_000, 12_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"b\.png is 12000 wide and 12000 high"):
        load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 100e6
    tracemalloc.stop()


def test_hidden_files_are_no_images(tmp_path):
    write(tmp_path, "a/1.png")
    write(tmp_path, "a/2.png")
    (tmp_path / "a/._1.png").write_bytes(b"\0\5\x16\7 what a Mac knows about 1.png")
    write(tmp_path, ".thumbnails/1.png", (2, 2))
    data = load(tmp_path, validation=0)
    assert len(data.train) == 2
    assert data.origin["label_names"] == ["a"]
