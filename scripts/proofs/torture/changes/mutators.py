"""Changes inputs by their structure: bytes of a file, values of a document, fields of a message."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import onnx

NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 1e308, -1e308, 1e-320, 0.0, float("nan"),
    float("inf"), "", "nan", "../x", "/dev/zero", "a\x00b", "\x1b[2J", "\u202e", "😀", "x" * 5000,
    "os:system", [], {}, [[[[]]]],
)  # fmt: skip


def bytes_of(data: bytes, dice: random.Random) -> bytes:
    """Flip, cut, insert or repeat a few bytes."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 8))):
        place = dice.randrange(len(changed) + 1)
        match dice.randrange(5):
            case 0 if changed:
                changed[min(place, len(changed) - 1)] ^= 1 << dice.randrange(8)
            case 1:
                del changed[place : place + dice.choice((1, 4, 100, len(changed)))]
            case 2:
                changed[place:place] = dice.randbytes(dice.choice((1, 4, 64)))
            case 3:
                changed[place : place + 8] = dice.choice((b"\0", b"\xff", b"\x7f")) * 8
            case _:
                changed[place:place] = changed[place : place + dice.choice((1, 16, 512))]
    return bytes(changed)


def document(value: Any, dice: random.Random) -> Any:
    """Change a few values of a JSON-like document: replace, drop, double, rename, nest."""
    changed = copy.deepcopy(value)
    for _ in range(dice.choice((1, 1, 2, 4))):
        holder, key = _place(changed, dice)
        if holder is None:
            return dice.choice(NASTY)
        match dice.randrange(6):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[dice.choice(("\x1b[2J", "../x", "", "😀", key + " "))] = holder.pop(key)
            case 2:
                holder[key] = _nested(holder[key], dice.choice((2, 50, 3000)))
            case 3 if isinstance(holder, list):
                holder.extend(holder * dice.choice((1, 100)))
            case _:
                holder[key] = dice.choice(NASTY)
    return changed


def as_json(value: Any) -> bytes:
    """JSON with NaN as Python writes it. One nested too deeply for Python becomes a run of brackets."""
    try:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 100_000


def model(data: bytes, dice: random.Random) -> bytes:
    """Change a few fields of an ONNX model."""
    proto = onnx.ModelProto.FromString(data)
    for _ in range(dice.choice((1, 1, 2, 3))):
        _field(proto, dice)
    return bytes(proto.SerializeToString())


def _place(value: Any, dice: random.Random) -> tuple[Any, Any]:
    """A holder within the document and one of its keys; (None, None) if it holds nothing."""
    holder, key = None, None
    while isinstance(value, dict | list) and value:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        holder, key = value, dice.choice(keys)
        value = holder[key]
        if dice.random() < 0.3:
            break
    return holder, key


def _nested(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def _field(message: Any, dice: random.Random) -> None:
    """Change one field of a message, or of one inside it."""
    fields = message.ListFields()
    if not fields:
        return
    descriptor, value = dice.choice(fields)
    repeated = hasattr(value, "append") or hasattr(value, "add")
    if repeated and len(value) and dice.random() < 0.3:
        if dice.random() < 0.5:
            del value[dice.randrange(len(value))]
        else:
            value.extend([value[dice.randrange(len(value))]])
        return
    if descriptor.message_type is not None:
        _field(value[dice.randrange(len(value))] if repeated else value, dice)
        return
    new: Any = {
        "int": (0, -1, 1, 2, 7, 16, 2**31 - 1, -(2**31), 2**62),
        "float": (0.0, -1.0, 1e38, float("nan"), float("inf")),
        "str": ("", "a", "image", "masks", "\x1b[2J", "../x", "/dev/zero", "com.evil", "If", "Loop", "Conv"),
        "bytes": (b"", b"\0", b"\xff" * 64, b"../../etc/passwd", b"/dev/zero", b"\xff\xfe"),
    }.get(type(value[0] if repeated else value).__name__, (0,))
    if repeated:
        value[dice.randrange(len(value))] = dice.choice(new)
    else:
        with_limits = [one for one in new if not isinstance(one, int) or -(2**31) <= one < 2**31]
        try:
            setattr(message, descriptor.name, dice.choice(with_limits))
        except ValueError:  # a type that ONNX does not have
            setattr(message, descriptor.name, 1)
