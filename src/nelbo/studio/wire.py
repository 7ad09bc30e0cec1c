"""Binary frames between a page and Python: one JSON value and any number of buffers.

    [u32 json length][u32 buffers][u32 length of each][json][padding][buffer][padding]...

Little-endian; every buffer starts at a multiple of 8, so that a Float64Array can be laid over it without a copy.
``static/core/link.js`` is the other end.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from nelbo.files import parse_json, plain

_ALIGN = 8


class FrameError(ValueError):
    """Bytes that are not a frame."""


def pack(content: Mapping[str, Any], buffers: Sequence[bytes | memoryview] = ()) -> bytes:
    """One frame; numbers that are infinite or NaN become null."""
    text = json.dumps(plain(content), ensure_ascii=False, allow_nan=False).encode(errors="replace")  # half a surrogate
    head = struct.pack(f"<II{len(buffers)}I", len(text), len(buffers), *(len(b) for b in buffers))
    parts: list[bytes | memoryview] = [head, text]
    size = len(head) + len(text)
    for buffer in buffers:
        padding = -size % _ALIGN
        parts += [bytes(padding), buffer]
        size += padding + len(buffer)
    return b"".join(parts)


def unpack(frame: bytes) -> tuple[dict[str, Any], list[memoryview]]:
    """The JSON object and the buffers of a frame.

    Raises:
        FrameError: the bytes are cut short, or hold no JSON object.
    """
    try:
        size, count = struct.unpack_from("<II", frame)
        lengths = struct.unpack_from(f"<{count}I", frame, 8)
        start = 8 + 4 * count
        content = parse_json(frame[start : start + size])
    except (struct.error, ValueError) as error:
        raise FrameError(f"a message of {len(frame)} bytes is not a frame of the studio: {error}") from error
    if not isinstance(content, dict):
        raise FrameError(f"a frame holds a JSON object; got {type(content).__name__}")
    start += size
    view, buffers = memoryview(frame), list[memoryview]()
    for length in lengths:
        start += -start % _ALIGN
        if start + length > len(frame):
            raise FrameError(f"a frame of {len(frame)} bytes is cut short: its buffers need {start + length}")
        buffers.append(view[start : start + length])
        start += length
    return content, buffers
