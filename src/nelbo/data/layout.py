"""Which axis of an array is what: arrays become (n, features) or (n, channels, height, width)."""

from typing import Any, Literal, get_args

from numpy.typing import NDArray

Layout = Literal["auto", "vectors", "images", "channels_first", "channels_last", "as_is"]

_COLOURS = (1, 3)
_SMALLEST = 4  # pixels along the side of an image that is recognized unasked


def moves(shape: tuple[int, ...], layout: Layout) -> tuple[Layout, str | None]:
    """The layout meant by `layout` for arrays of `shape` (n, ...), and a note where axes are added or moved.

    Raises:
        ValueError: the layout is unknown, does not fit, or is ``"auto"`` and unclear.
    """
    if layout not in get_args(Layout):
        raise ValueError(f"layout is {layout!r}; expected one of {', '.join(map(repr, get_args(Layout)))}.")
    chosen = _recognize(shape) if layout == "auto" else layout
    expected = {"images": 3, "channels_first": 4, "channels_last": 4}.get(chosen)
    if len(shape) < 2 or (expected is not None and len(shape) != expected):
        wanted = {3: "(n, height, width)", 4: "four axes"}.get(expected or 0, "(n, ...)")
        raise ValueError(f"layout={chosen!r} expects an array of {wanted}; got shape {shape}.")
    note = {
        "images": f"images (n, {', '.join(map(str, shape[1:]))}) got a channel axis: (n, 1, height, width)",
        "channels_last": f"channels moved from the last axis to the first: {shape[1:]} to {(shape[-1], *shape[1:-1])}",
        "vectors": f"axes {shape[1:]} flattened into one" if len(shape) > 2 else None,
    }.get(chosen)
    return chosen, note


def arrange(x: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """x: (n, ...) with its axes as `layout` (never ``"auto"``) says, as a view where possible."""
    if layout == "images":
        return x[:, None]
    if layout == "channels_last":
        return x.transpose(0, 3, 1, 2)
    if layout == "vectors":
        return x.reshape(len(x), -1)
    return x


def _recognize(shape: tuple[int, ...]) -> Layout:
    if len(shape) == 1:
        raise ValueError(
            f"the data have shape {shape}: one axis may be examples or features. Write x.reshape(-1, 1) for "
            f"{shape[0]} examples of one feature, or x.reshape(1, -1) for one example of {shape[0]} "
            "features."
        )
    if len(shape) == 2:
        return "as_is"
    if len(shape) == 3 and min(shape[1:]) >= _SMALLEST:
        return "images"
    if len(shape) == 4:
        first, last = shape[1] in _COLOURS, shape[3] in _COLOURS
        if first != last:
            return "channels_first" if first else "channels_last"
    raise ValueError(
        f"the data have shape {shape}, and it is unclear which axis is what. Write one of: layout='vectors' "
        "(flatten each example), 'images' (n, height, width), 'channels_first' (n, channels, height, "
        "width), 'channels_last' (n, height, width, channels), 'as_is' (the network takes this shape)."
    )
