"""Changes protobuf messages in their wire format, into what no library would write."""

from __future__ import annotations

import random

VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)
Field = tuple[int, int, bytes]
"""A field's number, its wire type, and its content after the tag (and, for bytes, after the length)."""
_NUMBERS = (0, 1, 2, 7, 15, 16, 99, 2**14, 19_000, 2**29 - 1, 2**29, 2**32)


def message(data: bytes, dice: random.Random) -> bytes:
    """Change the fields of a message, or of one inside it, as bytes."""
    fields = parsed(data)
    if not fields:
        return data[: dice.randrange(len(data) + 1)]
    inner = [number for number, (_, kind, body) in enumerate(fields) if kind == BYTES and parsed(body)]
    if inner and dice.random() < 0.75:
        place = dice.choice(inner)
        number, kind, body = fields[place]
        fields[place] = (number, kind, message(body, dice))
        return written(fields)
    return _struck(fields, dice)


def parsed(data: bytes) -> list[Field]:
    """The fields of a message; empty if the bytes are no message."""
    fields, place = [], 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            _, end = _varint(data, place)
        elif kind == BYTES:
            size, place = _varint(data, place)
            end = place + size
        else:
            end = place + {FIXED64: 8, FIXED32: 4}.get(kind, len(data))
        if not number or end > len(data) or place > len(data):
            return []
        fields.append((number, kind, data[place:end]))
        place = end
    return fields


def written(fields: list[Field]) -> bytes:
    """Serialise fields to a message."""
    return b"".join(
        varint(number << 3 | kind) + (varint(len(body)) if kind == BYTES else b"") + body
        for number, kind, body in fields
    )


def varint(value: int, extra: int = 0) -> bytes:
    """A number as a varint, padded with `extra` redundant bytes."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    for _ in range(extra):
        parts[-1] |= 0x80
        parts.append(0)
    return bytes(parts)


def _struck(fields: list[Field], dice: random.Random) -> bytes:
    place = dice.randrange(len(fields))
    number, kind, body = fields[place]
    match dice.randrange(9):
        case 0:
            dice.shuffle(fields)
        case 1:
            fields += dice.choices(fields, k=dice.choice((1, 3, 1000)))
        case 2:
            fields[place] = (
                number,
                dice.choice((VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32, 6, 7)),
                body,
            )
        case 3:
            fields[place] = (dice.choice(_NUMBERS), kind, body)
        case 4:  # a length that is not its own
            head = written(fields[:place]) + varint(number << 3 | BYTES)
            size = dice.choice((0, 1, len(body) + 1, 2**31 - 1, 2**31, 2**63, 2**64 - 1))
            return head + varint(size, dice.choice((0, 0, 4))) + body + written(fields[place + 1 :])
        case 5:  # a tag, or a number, longer than it need be
            head = written(fields[:place])
            return head + varint(number << 3 | kind, dice.choice((1, 4, 9, 20))) + body
        case 6:
            deep = dice.choice((2, 90, 101, 5000))
            end = dice.choice((deep, deep - 1, 0))
            fields.insert(place, (number, GROUP, varint(number << 3 | GROUP) * deep))
            return written(fields) + varint(number << 3 | END_GROUP) * end
        case 7:  # nested in itself
            for _ in range(dice.choice((1, 50, 120, 400))):
                body = varint(number << 3 | BYTES) + varint(len(body)) + body
            fields[place] = (number, BYTES, body)
        case _:
            fields.insert(
                place, (number, VARINT, dice.choice((b"\xff" * 9 + b"\x01", b"\xff" * 11, b"\x80" * 5)))
            )
    return written(fields)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(data[place : place + 10]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, place + count + 1
    return 0, len(data) + 1
