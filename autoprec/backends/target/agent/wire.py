"""The messages between autoprec and its agent: a JSON header, then arrays as they lie in memory.

A frame is eight bytes of lengths, the header, and the blobs that the header announces. Both sides check every
size before they read: what comes over the line is data, and may be hostile.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

PROTOCOL = 1
LARGEST_HEADER = 64 << 20
LARGEST_BLOB = 4 << 30
MOST_BLOBS = 4096
_LENGTHS = struct.Struct(">II")
_PACK_ABOVE = 1 << 12
"""Smaller blobs are not worth compressing."""


class WireError(Exception):
    """The other side is gone, or does not speak this protocol."""


class ClosedError(WireError):
    """The line is closed."""


def send(stream: BinaryIO, header: dict[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Write one frame. Raises OSError where the line is cut."""
    packed = [_packed(blob) for blob in blobs]
    sizes = [[len(raw), len(data), kind] for raw, (data, kind) in zip(blobs, packed)]
    text = json.dumps(dict(header, blobs=sizes), allow_nan=True).encode()
    stream.write(_LENGTHS.pack(PROTOCOL, len(text)) + text)
    for data, _ in packed:
        stream.write(data)
    stream.flush()


def receive(
    stream: BinaryIO, most: int = MOST_BLOBS * LARGEST_BLOB, words: int = LARGEST_HEADER
) -> tuple[dict[str, Any], list[bytes]]:
    """Read one frame, with a header of `words` bytes at most, and no more than `most` behind it.

    Raises `WireError` at the end of the line or for what is not a frame.
    """
    version, length = _LENGTHS.unpack(_exactly(stream, _LENGTHS.size))
    if version != PROTOCOL or length > words:
        raise WireError("the other side does not speak this protocol")
    try:
        header = json.loads(_exactly(stream, length))
        sizes = header.pop("blobs")
        # Added up before a byte of it is read.
        is_too_much = len(sizes) > MOST_BLOBS or sum(raw for raw, *_ in sizes) > most
        blobs = [] if is_too_much else [_unpacked(stream, *size) for size in sizes]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, zlib.error) as error:
        raise WireError(f"what was received is not a message: {error}") from error
    if is_too_much:
        raise WireError("the other side sends more than it was asked for")
    return header, blobs


def _packed(blob: bytes) -> tuple[bytes, str]:
    if len(blob) < _PACK_ABOVE:
        return blob, ""
    data = zlib.compress(blob, 1)
    return (data, "z") if len(data) < 0.9 * len(blob) else (blob, "")


def _unpacked(stream: BinaryIO, raw: int, size: int, kind: str) -> bytes:
    """One blob, never unpacked beyond its announced size. Raises ValueError for another size."""
    if not (0 <= raw <= LARGEST_BLOB and 0 <= size <= raw and kind in ("", "z")):
        raise ValueError("impossible sizes")
    data = _exactly(stream, size)
    if kind == "z":
        # One byte more than announced is enough to see that it is too much: a bomb is never unpacked.
        data = zlib.decompressobj().decompress(data, raw + 1)
    if len(data) != raw:
        raise ValueError("a blob's length is not the announced one")
    return data


def _exactly(stream: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    left = size
    while left:
        # In parts: memory grows with what has come, not with what was announced.
        part = stream.read(min(left, 1 << 20))
        if not part:
            raise ClosedError("the line is closed")
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def describe(arrays: Iterable[tuple[str, Any]]) -> list[list[Any]]:
    """Names, types and shapes of arrays, for a header."""
    return [[name, array.dtype.str, list(array.shape)] for name, array in arrays]
