"""Changes container files by their parts: members of archives, chunks of PNG, tags of TIFF."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

from changes import mutators, texts

_SHAPES = (
    "()", "(0,)", "(1099511627776,)", "(-1,)", "(-1, -8)", "(1, 3, 32, 32)", "(3, 1, 32, 32)", "(1, 3, 1024)",
    "(4611686018427387904, 4)", "[1, 3]", "1", "None", "(1.5,)", "('a',)", "(True,)", "(1,)*9", "(" * 4000,
    "__import__('os').system('touch owned')", "(1" + "0" * 5000 + ",)", "(1, 3, 32, 32, 0)", "(1,) ",
)  # fmt: skip
_KINDS = (
    "'<f4'", "'>f4'", "'<f2'", "'<f8'", "'|O'", "'<U9'", "'|S4'", "'<M8[s]'", "'<m8[D]'", "'<c8'",
    "'|b1'", "'|u1'",
    "'|V8'", "'|V0'", "'<i8'", "[('a', '<f4')]", "[('a', '|O')]", "'f4,f4'", "('<f4', (2,))", "'x'",
    "None", "''",
    "[]", "{'names': ['a'], 'formats': ['<f4'], 'offsets': [-4]}", "'<f16'", "'<U2147483647'", "'<f4' * 9",
)  # fmt: skip
_NAMES = (
    "image.npy",
    "truth.npy",
    "../x.npy",
    "/etc/x.npy",
    "a\x1b[2J.npy",
    "x.txt",
    ".npy",
    "😀.npy",
    "image",
    "a/",
)


def archive(data: bytes, dice: random.Random) -> bytes:
    """Write an archive of arrays anew, with members or headers that no sound one has."""
    memory = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(memory, "w") as new:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
        for _ in range(dice.choice((1, 1, 2))):
            place = dice.randrange(len(members))
            name, content = members[place]
            match dice.randrange(6):
                case 0:
                    members[place] = (dice.choice(_NAMES), content)
                case 1:
                    members.append((dice.choice((name, *_NAMES)), content))
                case 2:
                    members[place] = (name, mutators.bytes_of(content, dice))
                case 3:
                    members[place] = (name, content[: dice.randrange(min(200, len(content)))])
                case _:
                    members[place] = (name, array(content, dice))
        for name, content in members:
            how = dice.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
            new.writestr(zipfile.ZipInfo(name), content, how)
    written = memory.getvalue()
    return _directory(written, dice) if dice.random() < 0.3 else written


def array(content: bytes, dice: random.Random) -> bytes:
    """An array in NumPy's format with other values or another header."""
    try:
        values = np.lib.format.read_array(io.BytesIO(content))
    except ValueError:
        return content
    if dice.random() < 0.2:
        spoilt = values.astype(dice.choice(("f4", "f8", "f2"))) if values.dtype.kind in "fiu" else values
        spoilt.flat[: dice.randint(0, spoilt.size)] = dice.choice((0, 1e30, -1e30)) if spoilt.size else 0
        values = (
            spoilt * dice.choice((1, float("nan"), float("inf"), 1e38))
            if spoilt.dtype.kind == "f"
            else spoilt
        )
    shape = dice.choice((repr(values.shape), *_SHAPES))
    kind = dice.choice((repr(values.dtype.str), *_KINDS))
    order = dice.choice(("False", "True", "1", "None"))
    text = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if dice.random() < 0.1:
        text = dice.choice(("", "{", "{}", "[" * 50_000, "\udc80", text * 2, text[:-9], "{" * 9999))
    header = text.encode("utf-8", "surrogatepass") + b" " * dice.choice((0, 15, 4000)) + b"\n"
    version = dice.choice(((1, 0), (1, 0), (2, 0), (3, 0), (9, 9), (0, 0)))
    length = dice.choice((len(header), len(header), len(header), 0, 60000, len(header) - 1))
    size = struct.pack("<H" if version == (1, 0) else "<I", min(length, 65535))
    return b"\x93NUMPY" + bytes(version) + size + header + values.tobytes()


def kept_file(data: bytes, dice: random.Random) -> bytes:
    """A kept file whose first line is changed as text."""
    seal, _, body = data.partition(b"\n")
    match dice.randrange(4):
        case 0:
            return texts.json_text(seal, dice) + b"\n" + body
        case 1:
            return seal + dice.choice((b"", b"\r\n", b"\n\n", b"\0\n")) + body
        case 2:
            return seal + b"\n" + mutators.bytes_of(body, dice)
        case _:
            return texts.json_text(seal, dice)


def png(data: bytes, dice: random.Random) -> bytes:
    """Change chunks of a PNG. Their checksums are made to fit, or every reader would stop there."""
    chunks, place = [], 8
    while place + 8 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append([data[place + 4 : place + 8], data[place + 8 : place + 8 + length]])
        place += length + 12
    for _ in range(dice.choice((1, 1, 2))):
        number = dice.randrange(len(chunks))
        match dice.randrange(7):
            case 0:
                chunks[0][1] = _png_header(chunks[0][1], dice)
            case 1:
                del chunks[number]
                chunks = chunks or [[b"IEND", b""]]
            case 2:
                chunks.insert(dice.randrange(len(chunks)), list(chunks[number]))
            case 3:
                chunks[number][1] = mutators.bytes_of(chunks[number][1], dice)
            case 4:
                chunks.insert(dice.choice((1, len(chunks) - 1)), _extra_chunk(dice))
            case 5:
                chunks[number][0] = dice.choice((b"IDAT", b"PLTE", b"tRNS", b"zzzz", b"\0\0\0\0", b"fdAT"))
            case _:
                pixels = zlib.compress(
                    dice.randbytes(dice.choice((0, 10, 5000))) + bytes(dice.choice((0, 50_000_000)))
                )
                chunks.insert(len(chunks) - 1, [b"IDAT", pixels])
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


def tiff(data: bytes, dice: random.Random) -> bytes:
    """Change entries of the first directory of a little-endian TIFF (tag, type, count, value), its number of
    entries, or the offset of the next directory."""
    changed = bytearray(data)
    (start,) = struct.unpack_from("<I", changed, 4)
    (count,) = struct.unpack_from("<H", changed, start)
    for _ in range(dice.choice((1, 1, 2, 3))):
        entry = start + 2 + 12 * dice.randrange(count)
        number = dice.choice(
            (0, 1, 2, 8, 16, 255, 32768, 1 << 30, (1 << 32) - 1, start, dice.randrange(len(data)))
        )
        match dice.randrange(6):
            case 0:
                tags = (
                    256,
                    257,
                    258,
                    259,
                    262,
                    273,
                    277,
                    278,
                    279,
                    284,
                    317,
                    320,
                    322,
                    324,
                    338,
                    339,
                    34665,
                    0,
                    65535,
                )
                struct.pack_into("<H", changed, entry, dice.choice(tags))
            case 1:
                struct.pack_into(
                    "<H", changed, entry + 2, dice.choice((0, 1, 2, 3, 4, 5, 11, 12, 13, 16, 99))
                )
            case 2:
                struct.pack_into("<I", changed, entry + 4, number)
            case 3:
                struct.pack_into("<I", changed, start + 2 + 12 * count, number)
            case 4:
                struct.pack_into("<H", changed, start, number & 0xFFFF)
            case _:
                struct.pack_into("<I", changed, entry + 8, number)
    return bytes(changed[: dice.choice((len(changed),) * 4 + (dice.randrange(len(changed)),))])


def spliced(first: bytes, second: bytes, dice: random.Random) -> bytes:
    """The head of one file and the tail of another."""
    return first[: dice.randrange(len(first) + 1)] + second[dice.randrange(len(second) + 1) :]


def _png_header(header: bytes, dice: random.Random) -> bytes:
    values: list[Any] = list(struct.unpack(">IIBBBBB", header.ljust(13, b"\0")[:13]))
    values[dice.randrange(7)] = dice.choice((0, 1, 2, 3, 4, 6, 16, 255))
    if dice.random() < 0.3:
        values[dice.randrange(2)] = dice.choice((0, 20_000, 1 << 30, (1 << 31) - 1, (1 << 32) - 1))
    return struct.pack(">IIBBBBB", *values)


def _extra_chunk(dice: random.Random) -> list[bytes]:
    bomb = zlib.compress(bytes(dice.choice((10, 100_000_000))))
    return list(
        dice.choice(
            (
                (b"zTXt", b"a\0\0" + bomb),
                (b"iCCP", b"a\0\0" + bomb),
                (b"iTXt", b"a\0\1\0\0\0" + bomb),
                (b"tEXt", b"\x1b[2J\0\xff"),
                (b"tRNS", dice.randbytes(dice.choice((0, 1, 2, 6, 300)))),
                (b"PLTE", dice.randbytes(dice.choice((0, 3, 4, 768, 999)))),
                (b"acTL", struct.pack(">II", dice.choice((0, 2, (1 << 31) - 1)), 0)),
                (b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">H",
                dice.randrange(12)) + b"\0" * 6),
                (b"eXIf", dice.randbytes(40)),
                (b"gAMA", dice.randbytes(3)),
                (b"IHDR", dice.randbytes(13)),
            )
        )
    )  # fmt: skip


def _directory(data: bytes, dice: random.Random) -> bytes:
    """Change a field of an archive's directory: sizes, offsets, flags, compression methods."""
    changed = bytearray(data)
    marks = [place for place in range(len(data) - 46) if data[place : place + 4] in (b"PK\1\2", b"PK\3\4")]
    ends = [place for place in range(len(data) - 21) if data[place : place + 4] == b"PK\5\6"]
    place = dice.choice(marks + ends)
    offset = dice.randrange(4, 30)
    struct.pack_into(
        "<H", changed, min(place + offset, len(changed) - 2), dice.choice((0, 1, 8, 99, 0x7FFF, 0xFFFF))
    )
    return bytes(changed)
