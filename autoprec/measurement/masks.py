"""The reference's mask logits, kept for every candidate: in memory up to a limit, and on disk.

A file with a name serves later processes, too: a pass that was cut short resumes behind the last whole
record. A record is a line of JSON and the logits' bytes; its checksum covers both, its place, and what the
file is named by. What is damaged, and all behind it, is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from autoprec.files import naming, not_following, own_folder

Logits = NDArray[np.float32]

MEMORY_BYTES = 128 << 20
"""Logits beyond this are on disk alone, as float16: their signs are kept, and three digits of the rest."""


FORMAT = 2
_LONGEST_LINE = 1 << 16
_Side = Annotated[int, msgspec.Meta(ge=1, le=1 << 24)]


class _Record(msgspec.Struct, frozen=True):
    """What precedes the bytes of one sample's logits; `checksum` is empty while it is computed."""

    name: str
    shape: tuple[_Side, _Side, _Side]
    kind: Literal["float32", "float16"]
    format: int = 1
    checksum: str = ""

    @property
    def size(self) -> int:
        return math.prod(self.shape) * np.dtype(self.kind).itemsize

    def sealed(self, of: str, place: int, data: bytes) -> _Record:
        """The record with its checksum; `place` is its number in the file `of`."""
        blank = msgspec.structs.replace(self, format=FORMAT, checksum="")
        digest = hashlib.sha256(msgspec.json.encode((blank, of, place)) + data).hexdigest()[:16]
        return msgspec.structs.replace(blank, checksum=digest)


class ReferenceMasks:
    """A list of arrays that may be longer than memory.

    Args:
        folder: where a file without a name is, once one is needed; it goes with the process.
        path: the file that is resumed; others beside it are removed. None, and one that another process
            has open, is none.
        memory_bytes: what may stay in memory.
        say: receives a line about what was damaged.

    Raises OSError for a file that cannot be read or written.
    """

    def __init__(
        self,
        folder: Path,
        path: Path | None = None,
        memory_bytes: int = MEMORY_BYTES,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.names: list[str] = []
        """Of the samples, in order."""
        self._folder, self._left = folder, memory_bytes
        self._held: list[Logits] = []
        self._places: list[tuple[int, _Record]] = []
        self._file: IO[bytes] | None = None
        self._of = path.stem if path is not None else ""
        self._is_named = path is not None and self._open(path, say)

    def append(self, name: str, logits: Logits) -> None:
        """Keep one sample's logits [masks, h, w]. Raises OSError if the disk is full."""
        self._left -= logits.nbytes
        is_held = self._left >= 0
        if is_held:
            self._held.append(logits)
        if self._is_named or not is_held:
            self._write(name, logits, "float32" if is_held else "float16")
        self.names.append(name)

    def forget(self) -> None:
        """Leave nothing in the file: what was kept is of other samples than its name says."""
        if self._is_named and self._file is not None:
            self._file.truncate(0)

    def share(self) -> None:
        """Let other processes read the file, too: it is complete, and nothing is appended any more."""
        if self._is_named and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_SH)

    def __len__(self) -> int:
        return len(self._held) + len(self._places)

    def __getitem__(self, index: int) -> Logits:
        if index < len(self._held):
            return self._held[index]
        place, record = self._places[index - len(self._held)]
        assert self._file is not None
        self._file.seek(place)
        return _array(self._file.read(record.size), record)

    def __iter__(self) -> Iterator[Logits]:
        return (self[index] for index in range(len(self)))

    def _write(self, name: str, logits: Logits, kind: Literal["float32", "float16"]) -> None:
        if self._file is None:
            self._use(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 - lives as long as this
        assert self._file is not None
        count, height, width = logits.shape
        data = logits.astype(kind, copy=False).tobytes()
        record = _Record(name, (count, height, width), kind).sealed(self._of, len(self.names), data)
        with naming(self._folder):
            place = self._file.seek(0, 2) + self._file.write(msgspec.json.encode(record) + b"\n")
            self._file.write(data)
            self._file.flush()  # what is killed now loses nothing
        if kind == "float16":
            self._places.append((place, record))

    def _use(self, file: IO[bytes]) -> None:
        self._file = file
        weakref.finalize(self, file.close)

    def _open(self, path: Path, say: Callable[[str], None]) -> bool:
        """Read the records that the file has; False if another process is writing it."""
        own_folder(path.parents[1], path.parent.name)
        if path.is_symlink():  # it would be written to
            say(f"the reference's masks are a link, {path}: it is removed, and they are rebuilt")
            path.unlink()
        file = open(path, "a+b", opener=not_following)  # noqa: SIM115 - lives as long as this
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # complete: see `share`
            except BlockingIOError:
                file.close()
                return False
        # They are named by another reference or other samples, which the study no longer has.
        for other in set(path.parent.glob(f"*{path.suffix}")) - {path}:
            other.unlink(missing_ok=True)
        self._use(file)
        file.seek(0)
        whole, end = 0, path.stat().st_size
        while whole < end:
            line = file.readline(_LONGEST_LINE)
            record, place = _record(line), file.tell()
            if not line.endswith(b"\n") or (record is not None and place + record.size > end):
                break  # cut short, as a kill leaves it
            data = b"" if record is None else file.read(record.size)
            if record is None or record != record.sealed(self._of, len(self), data):
                say(f"the reference's masks are damaged behind {len(self)} samples: they are rebuilt")
                break
            self._take_up(record, place, data)
            whole = place + record.size
        if whole < end:
            file.truncate(whole)
        return True

    def _take_up(self, record: _Record, place: int, data: bytes) -> None:
        """Add a sound record of the file."""
        if record.kind == "float32" and not self._places:
            self._held.append(_array(data, record))
            self._left -= record.size
        else:
            self._places.append((place, record))
            self._left = -1  # whatever the limit is now: the held ones come first
        self.names.append(record.name)


@contextmanager
def turn(kept: Path | None) -> Iterator[None]:
    """Wait until no other process makes the masks that are kept there."""
    if kept is None:
        yield
        return
    own_folder(kept.parents[1], kept.parent.name)
    with open(kept.with_suffix(".turn"), "a", opener=not_following) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _record(line: bytes) -> _Record | None:
    """The record in a line; None for an incomplete one."""
    try:
        return msgspec.json.decode(line, type=_Record)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _array(data: bytes, record: _Record) -> Logits:
    """Logits float32 [masks, h, w] from a record's bytes."""
    flat = np.frombuffer(data, record.kind)
    return flat.reshape(record.shape).astype(np.float32)
