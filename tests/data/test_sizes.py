import pytest

from nelbo.data.sizes import available_memory, parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GiB", 1 << 30), ("512 MB", 512 << 20), ("1.5k", 1536), (4096, 4096), ("2t", 2 << 40)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "0", "1 elephant", "1e9x"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


def test_sizes_are_shown_as_people_write_them():
    assert [show_size(n) for n in (5, 2048, 3 << 30, 5 << 40)] == ["5 bytes", "2.0 KiB", "3.0 GiB", "5.0 TiB"]


def test_there_is_some_memory():
    assert 1 << 20 < available_memory() < 1 << 50
