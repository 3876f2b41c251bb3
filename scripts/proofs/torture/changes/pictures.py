"""Changes JPEG by its segments, and writes TIFF of unusual forms."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from changes import mutators

_SIZES = (0, 1, 8, 30, 20_000, 65_500, 65_535)
_NO_LENGTH = (*range(0xD0, 0xDA), 0x01)


def jpeg(data: bytes, dice: random.Random) -> bytes:
    """Change segments of a JPEG. Their lengths are made to fit, so that readers get past them."""
    segments, scan = _segments(data)
    for _ in range(dice.choice((1, 1, 2))):
        place = dice.randrange(len(segments))
        mark, body = segments[place]
        match dice.randrange(7):
            case 0:
                _change_frame(segments, dice)
            case 1:
                del segments[place]
                segments = segments or [(0xFE, b"")]
            case 2:
                segments.insert(dice.randrange(len(segments)), (mark, body))
            case 3:
                segments[place] = (mark, mutators.bytes_of(body, dice))
            case 4:
                segments[place] = (
                    dice.choice((0xC0, 0xC2, 0xC3, 0xC9, 0xC4, 0xDB, 0xDA, 0xDC, 0xDD, 0xE2)),
                    body,
                )
            case 5:
                segments.insert(0, _extra(dice))
            case _:  # a decoder takes its time for each of many scans
                scan *= dice.choice((0, 2, 50, 3000))
    return _joined(segments) + scan


def tiff_of_another_form(data: bytes, dice: random.Random) -> bytes:
    """A TIFF with cyclic directories, 64-bit offsets, the other byte order, or tiles."""
    del data
    order = dice.choice("<>")
    count = dice.choice((1, 1, 2, 500))
    wide, high = dice.choice((40, 40, 60_000)), dice.choice((30, 30, 60_000))
    pixels = dice.randbytes(dice.choice((0, 3600, 100_000)))
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 42)
    entries = [
        (256, 4, 1, wide), (257, 4, 1, high), (258, 3, 1, dice.choice((1, 8, 16, 32, 64))),
        (259, 3, 1, dice.choice((1, 2, 3, 4, 5, 6, 7, 8, 32773, 34712, 34925, 50000, 50001))),
        (262, 3, 1, dice.randrange(9)), (273, 4, 1, 8), (277, 3, 1, dice.choice((0, 1, 3, 4, 5, 999))),
        (278, 4, 1, dice.choice((0, 1, high, 0xFFFFFFFF))),
        (279, 4, 1, dice.choice((len(pixels), 0, 0xFFFFFFFF))),
        (284, 3, 1, dice.choice((1, 2))), (339, 3, 1, dice.choice((1, 2, 3, 6))),
    ]  # fmt: skip
    if dice.random() < 0.3:
        entries += [
            (322, 4, 1, dice.choice((0, 16, 1 << 30))),
            (323, 4, 1, 16),
            (324, 4, 1, 8),
            (325, 4, 1, 9),
        ]
    place = 8 + len(pixels)
    directories = b""
    for number in range(count):
        following = place + len(directories) + 2 + 12 * len(entries) + 4
        turn = dice.choice((0, 8, place, following)) if number == count - 1 else following
        directories += struct.pack(f"{order}H", len(entries))
        for tag, kind, times, value in entries:
            packed = (
                struct.pack(f"{order}H", value & 0xFFFF) + b"\0\0"
                if kind == 3
                else struct.pack(f"{order}I", value)
            )
            directories += struct.pack(f"{order}HHI", tag, kind, times) + packed
        directories += struct.pack(f"{order}I", turn)
    if dice.random() < 0.15:
        return head[:2] + struct.pack(f"{order}HHHQ", 43, 8, 0, 1 << dice.choice((4, 40, 63))) + pixels
    return head + struct.pack(f"{order}I", place) + pixels + directories


def either(*changes: Callable[[bytes, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    """One of several changes."""
    return lambda data, dice: dice.choice(changes)(data, dice)


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    segments, place = [], 2
    while data[place + 1] not in (*_NO_LENGTH, 0xDA):
        (length,) = struct.unpack_from(">H", data, place + 2)
        segments.append((data[place + 1], data[place + 4 : place + 2 + length]))
        place += 2 + length
    return segments, data[place:]


def _joined(segments: list[tuple[int, bytes]]) -> bytes:
    parts = [
        bytes((0xFF, mark)) + struct.pack(">H", len(body) + 2 & 0xFFFF) + body for mark, body in segments
    ]
    return b"\xff\xd8" + b"".join(parts)


def _change_frame(segments: list[tuple[int, bytes]], dice: random.Random) -> None:
    """Change depth, height, width, components or their sampling in the frame header."""
    place = next((place for place, (mark, _) in enumerate(segments) if 0xC0 <= mark <= 0xC3), None)
    if place is None:
        return
    mark, body = segments[place]
    frame = bytearray(body)
    if dice.random() < 0.5:
        struct.pack_into(">H", frame, dice.choice((1, 3)), dice.choice(_SIZES))
    else:
        frame[dice.choice((0, 5, *range(6, len(frame))))] = dice.choice((0, 1, 2, 4, 8, 12, 16, 0x44, 0xFF))
    segments[place] = (mark, bytes(frame))


def _extra(dice: random.Random) -> tuple[int, bytes]:
    """A metadata segment: cyclic or oversized EXIF, a partial colour profile, other makers' segments."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08"
    entry = struct.pack(">HHII", dice.choice((0x0112, 0x8769, 0x8825, 0xA005, 0x0201)), 4, 1, 8)
    return dice.choice(
        (
            (0xE1, exif + b"\0\1" + entry + struct.pack(">I", 8)),
            (0xE1, exif + b"\xff\xff" + entry * 5),
            (0xE1, exif + b"\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, dice.randrange(12), 0) + b"\0" * 4),
            (0xE1, exif + b"\0\1" + struct.pack(">HHII", 0x010E, 2, 0xFFFFFFFF, 8) + b"\0" * 4),
            (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + b"<x>" * 9000),
            (
                0xE2,
                b"ICC_PROFILE\0" + bytes((dice.randrange(256), dice.randrange(256))) + dice.randbytes(200),
            ),
            (
                0xE2,
                b"MPF\0MM\0*\0\0\0\x08\0\1"
                + struct.pack(">HHII", 0xB001, 4, 1, dice.choice((0, 2, 1 << 31))),
            ),
            (0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((dice.randrange(4),))),
            (0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0" + struct.pack(">I", dice.choice((4, 16, 1 << 31)))),
            (0xFE, b"\x1b]0;owned\x07" * 99),
        )
    )
