"""Files kept from night to night that can be made again: sealed when written, checked when read.

A kept file is one line of JSON, its seal, and whatever its maker writes. What is damaged, or of another
model, engine or autoprec, is rebuilt and reported in one line; what cannot be read is the user's to fix.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from autoprec.errors import StudyError, exhausted
from autoprec.files import ensure_regular, replacing

T = TypeVar("T")
FORMAT = 1
_LONGEST_SEAL = 1 << 14
_BLANK = "0" * 64
_UNREADABLE = (
    ValueError, LookupError, TypeError, EOFError, MemoryError, RecursionError, OverflowError,
    NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What readers raise for what was written by another version of their writer."""


class _Seal(msgspec.Struct, frozen=True):
    """`kind` is what it holds, `of` everything that it was made from; `sha256` is of all behind the seal."""

    format: int
    kind: str
    of: str
    sha256: str


def keep(path: Path, kind: str, of: str, write: Callable[[IO[bytes]], object]) -> None:
    """Write a sealed file, whole or not at all.

    Args:
        path: the file; its folder is made.
        kind: what it holds, with the version of its form.
        of: all that it follows from: models, samples, engine.
        write: is given the file behind the seal.

    Raises OSError.
    """
    with replacing(path) as part, part.open("x+b") as file:
        # As long as the seal that takes its place, which is known only
        # when all is written: no second copy is held.
        blank = _Seal(FORMAT, kind, of, _BLANK)
        file.write(_line(blank))
        start = file.tell()
        write(file)
        file.seek(start)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        file.write(_line(msgspec.structs.replace(blank, sha256=digest)))


def load(
    path: Path, kind: str, of: str, read: Callable[[IO[bytes]], T], say: Callable[[str], None]
) -> T | None:
    """What `read` makes of a file that `keep` wrote; None if it is not there, damaged, or of something else.

    `say` receives a line about what has to be rebuilt. Raises `StudyError` for a file that cannot be read at
    all.

    Args:
        path: the file.
        kind: of content, as `keep` was told.
        of: what the content was made of, as `keep` was told.
        read: reads the content from an open file.
        say: receives what has to be made again.
    """
    try:
        ensure_regular(path)
        with path.open("rb") as file:
            reason = _refusal(file, kind, of)
            if not reason:
                return read(file)
    except FileNotFoundError:
        return None
    # Not rebuilt: with a disk that fails, or without permission, the new file would fare no better.
    except OSError as error:
        mend = f"cannot be read ({error.strerror}); make it readable, or remove it: it is rebuilt"
        raise StudyError(f"{path}: {exhausted(error) or mend}") from error
    except _UNREADABLE as error:
        reason = f"cannot be read ({type(error).__name__})"
    say(f"{path.name} {reason}: it is rebuilt")
    return None


def _refusal(file: BufferedReader, kind: str, of: str) -> str:
    """Why a file is not trusted; empty if it is, with the file positioned behind the seal."""
    line = file.readline(_LONGEST_SEAL)
    try:
        seal = msgspec.json.decode(line, type=_Seal)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "is damaged or was written by an older autoprec"
    if seal.format != FORMAT or seal.kind != kind:
        return "was written by another version of autoprec"
    # Told apart from damage: the file is whole, and right for what it was made of.
    if seal.of != of:
        return "belongs to another model, other samples or another engine"
    start = file.tell()
    if hashlib.file_digest(file, "sha256").hexdigest() != seal.sha256:
        return "is damaged"
    file.seek(start)
    return ""


def _line(seal: _Seal) -> bytes:
    return msgspec.json.encode(seal) + b"\n"
