"""Changes archives into what other packers and attackers write: forms of ZIP that NumPy never writes,
archives of other kinds, and bombs that grow when read."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zipfile
import zlib

import numpy as np

_BOMB_BYTES = 700_000_000


def form(data: bytes, dice: random.Random) -> bytes:
    """The archive in another form, sound or not."""
    match dice.randrange(9):
        case 0:
            return dice.choice((gzip.compress, bz2.compress, lzma.compress, zlib.compress))(data)
        case 1:
            return _tar(data, dice)
        case 2:
            return _nested(data, dice)
        case 3:
            return _bomb(dice)
        case 4:
            return _overlapping(data, dice)
        case 5:
            return _wide(data, dice)
        case 6:
            return _streamed(data, dice)
        case 7:
            start, end = (
                dice.randbytes(dice.choice((0, 1, 70_000))),
                dice.randbytes(dice.choice((0, 5, 70_000))),
            )
            return start + data + end
        case _:
            return _flagged(data, dice)


def _tar(data: bytes, dice: random.Random) -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode=dice.choice(("w", "w:gz", "w:xz"))) as archive:
        for name in ("image.npy", "../image.npy", "/etc/image.npy"):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return memory.getvalue()


def _nested(data: bytes, dice: random.Random) -> bytes:
    for _ in range(dice.choice((1, 2, 20))):
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(dice.choice(("image.npy", "image.npz")), data)
        data = memory.getvalue()
    return data


def _bomb(dice: random.Random) -> bytes:
    """A few bytes that are many when read; the NumPy header fits their number, or the model's input."""
    memory = io.BytesIO()
    shape = dice.choice(((_BOMB_BYTES // 4,), (1, 3, 32, 32)))
    how = dice.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(memory, "w", how, compresslevel=1) as archive:
        for name in dice.choice(
            (("image.npy",), ("image.npy", "truth.npy"), ("image.npy", "a.npy", "b.npy"))
        ):
            with archive.open(name, "w", force_zip64=True) as file:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for _ in range(dice.choice((1, 20))):
                    file.write(bytes(1 << 20))
    return _announced(memory.getvalue(), dice) if dice.random() < 0.6 else memory.getvalue()


def _announced(data: bytes, dice: random.Random) -> bytes:
    """Make the directory announce other sizes of members than they have."""
    changed = bytearray(data)
    for place in _marks(data, b"PK\1\2"):
        # Offset 24 of a directory entry: the uncompressed size. All bits set refers to a ZIP64 field.
        struct.pack_into("<I", changed, place + 24, dice.choice((0, 200, 12_416, 0xFFFFFFFE, 0xFFFFFFFF)))
    return bytes(changed)


def _overlapping(data: bytes, dice: random.Random) -> bytes:
    """Many members that share the same bytes: a bomb that needs no compression."""
    ends = _marks(data, b"PK\5\6")
    size, start = struct.unpack_from("<II", data, ends[-1] + 12)
    entry, count = data[start : start + size], dice.choice((2, 1000, 20_000))
    tail = bytearray(data[ends[-1] :])
    struct.pack_into("<HHII", tail, 8, count & 0xFFFF, count & 0xFFFF, len(entry) * count, start)
    return data[:start] + entry * count + bytes(tail)


def _wide(data: bytes, dice: random.Random) -> bytes:
    """Add the 64-bit records of ZIP64, right or wrong."""
    ends = _marks(data, b"PK\5\6")
    count = struct.unpack_from("<H", data, ends[-1] + 10)[0]
    size, start = struct.unpack_from("<II", data, ends[-1] + 12)
    odd = dice.choice((0, 0, 1, 1 << 40, (1 << 64) - 1))
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count + odd * 0, count, size, start ^ odd
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(data[: ends[-1]]) ^ dice.choice((0, 0, odd)), 1)
    tail = bytearray(data[ends[-1] :])
    # All bits set in the old record send the reader to the one of ZIP64.
    struct.pack_into("<HHII", tail, 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    return data[: ends[-1]] + record + locator + bytes(tail)


def _streamed(data: bytes, dice: random.Random) -> bytes:
    """Write sizes after the members, as a packer does whose output cannot seek; some sizes are false."""
    memory = io.BytesIO()

    class OneWay(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, part: object, /) -> int:
            return memory.write(part)  # type: ignore[arg-type]

    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(OneWay(), "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return _announced(memory.getvalue(), dice) if dice.random() < 0.5 else memory.getvalue()


def _flagged(data: bytes, dice: random.Random) -> bytes:
    """Encrypted members, rare compression methods, names or offsets in the directory that do not match."""
    changed = bytearray(data)
    place = dice.choice(_marks(data, b"PK\1\2"))
    match dice.randrange(4):
        case 0:
            struct.pack_into("<H", changed, place + 8, dice.choice((1, 0x41, 0x2000, 0x800, 0xFFFF)))
        case 1:
            struct.pack_into("<H", changed, place + 10, dice.choice((1, 6, 9, 12, 14, 93, 95, 98, 99)))
        case 2:
            length = struct.unpack_from("<H", data, place + 28)[0]
            changed[place + 46 : place + 46 + length] = dice.randbytes(length)
        case _:
            struct.pack_into("<I", changed, place + 42, dice.choice((0, 1, len(data), 0xFFFFFFFF)))
    return bytes(changed)


def _marks(data: bytes, mark: bytes) -> list[int]:
    places, place = [], data.find(mark)
    while place >= 0:
        places.append(place)
        place = data.find(mark, place + 1)
    return places
