"""Mixes two sound databases of one study, and changes the write-ahead log beside one."""

from __future__ import annotations

import random
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from changes import mutators

_FRAME_HEAD = 24
"""Bytes before the page in each frame of a log; the header of the log has 32."""
_TABLES = ("studies", "trials", "runs", "facts", "front", "choices", "totals")


def crossed(others: Sequence[Path]) -> Callable[[bytes, random.Random], bytes]:
    """A change that puts bytes, pages or rows of another database into one."""

    def change(data: bytes, dice: random.Random) -> bytes:
        other = dice.choice(others)
        match dice.randrange(5):
            case 0:
                second, (start, end) = other.read_bytes(), sorted(dice.sample(range(len(data)), 2))
                return data[:start] + second[start:end] + data[end:]
            case 1 | 2:
                return _pages(data, other.read_bytes(), dice)
            case _:
                return _rows(data, other, dice)

    return change


def log(data: bytes, dice: random.Random) -> bytes:
    """Cut a log, drop, swap or repeat its frames, or change its header."""
    size = _FRAME_HEAD + struct.unpack_from(">I", data, 8)[0]
    frames = [data[start : start + size] for start in range(32, len(data), size)]
    first, second = dice.randrange(len(frames)), dice.randrange(len(frames))
    match dice.randrange(7):
        case 0:
            return data[: dice.randrange(len(data))]
        case 1:
            del frames[first:]
        case 2:
            frames[first], frames[second] = frames[second], frames[first]
        case 3:
            frames.insert(first, frames[second])
        case 4:
            head = bytearray(data[:32])
            struct.pack_into(">I", head, 4 * dice.randrange(8), dice.choice((0, 1, 512, 65536, 0xFFFFFFFF)))
            return bytes(head) + data[32:]
        case 5:
            del frames[first]
        case _:
            return mutators.bytes_of(data, dice)
    return data[:32] + b"".join(frames)


def _pages(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """Replace a page by one of the other database, from the same place or another.

    The first page stays: it holds the number of pages.
    """
    (size,) = struct.unpack_from(">H", data, 16)
    count = min(len(data), len(other)) // size
    changed = bytearray(data)
    place = dice.randrange(1, count)
    source = place if dice.random() < 0.7 else dice.randrange(1, count)
    changed[place * size : (place + 1) * size] = other[source * size : (source + 1) * size]
    return bytes(changed)


def _rows(data: bytes, other: Path, dice: random.Random) -> bytes:
    """Replace rows of a table by those of the other database, whose checksums are valid by themselves."""
    with tempfile.TemporaryDirectory(prefix="autoprec-torture-rows-") as folder:
        path = Path(folder) / "study.db"
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as connection:
            # The bytes of this one file are returned, so nothing may stay in a log beside it.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("ATTACH ? AS other", (str(other),))
            table = f"autoprec_{dice.choice(_TABLES)}"
            rows = connection.execute(f"SELECT * FROM other.{table}").fetchall()  # noqa: S608
            chosen = rows if dice.random() < 0.3 else dice.choices(rows, k=1) if rows else []
            with suppress(sqlite3.Error):
                if dice.random() < 0.3:
                    connection.execute(f"DELETE FROM main.{table} WHERE rowid = ?", (dice.choice((1, 2)),))  # noqa: S608
                for row in chosen:
                    marks = ", ".join("?" * len(row))
                    connection.execute(f"REPLACE INTO main.{table} VALUES ({marks})", row)  # noqa: S608
            connection.commit()
        return path.read_bytes()
