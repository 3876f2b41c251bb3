"""The reference's mask logits, kept for every candidate: in memory up to a limit, and on disk.

A file with a name serves later processes, too: a pass that was cut short goes on behind the last whole
record. A record is a line of JSON and the logits' bytes.
"""

from __future__ import annotations

import fcntl
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]

MEMORY_BYTES = 128 << 20
"""Logits beyond this are on disk alone, as float16: their signs are kept, and three digits of the rest."""


class _Record(msgspec.Struct, frozen=True):
    name: str
    shape: tuple[int, int, int]
    kind: Literal["float32", "float16"]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape)) * np.dtype(self.kind).itemsize


class ReferenceMasks:
    """A list of arrays that may be longer than memory.

    Args:
        folder: where a file without a name is, once one is needed; it goes with the process.
        path: the file that is gone on with; others beside it are removed. None, and one that another process
            has open, is none.
        memory_bytes: what may stay in memory.
    """

    def __init__(self, folder: Path, path: Path | None = None, memory_bytes: int = MEMORY_BYTES) -> None:
        self.names: list[str] = []
        """Of the samples, in order."""
        self._folder, self._left = folder, memory_bytes
        self._held: list[Logits] = []
        self._places: list[tuple[int, _Record]] = []
        self._file: IO[bytes] | None = None
        self._is_named = path is not None and self._open(path)

    def append(self, name: str, logits: Logits) -> None:
        """Keep one sample's logits [masks, h, w]. Raises OSError if the disk is full."""
        self._left -= logits.nbytes
        is_held = self._left >= 0
        if is_held:
            self._held.append(logits)
        if self._is_named or not is_held:
            self._write(name, logits, "float32" if is_held else "float16")
        self.names.append(name)

    def __len__(self) -> int:
        return len(self._held) + len(self._places)

    def __getitem__(self, index: int) -> Logits:
        if index < len(self._held):
            return self._held[index]
        place, record = self._places[index - len(self._held)]
        assert self._file is not None
        self._file.seek(place)
        return _array(self._file, record)

    def __iter__(self) -> Iterator[Logits]:
        return (self[index] for index in range(len(self)))

    def _write(self, name: str, logits: Logits, kind: Literal["float32", "float16"]) -> None:
        if self._file is None:
            self._use(tempfile.TemporaryFile(dir=self._folder))  # noqa: SIM115 - lives as long as this
        assert self._file is not None
        count, height, width = logits.shape
        record = _Record(name, (count, height, width), kind)
        place = self._file.seek(0, 2) + self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.write(logits.astype(kind, copy=False).tobytes())
        self._file.flush()  # what is killed now loses nothing
        if kind == "float16":
            self._places.append((place, record))

    def _use(self, file: IO[bytes]) -> None:
        self._file = file
        weakref.finalize(self, file.close)

    def _open(self, path: Path) -> bool:
        """Take up what the file has; False if another process does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        for other in set(path.parent.glob(f"*{path.suffix}")) - {path}:
            other.unlink(missing_ok=True)
        self._use(file)
        file.seek(0)
        whole, end = 0, path.stat().st_size
        while (record := _record(file.readline())) and (place := file.tell()) + record.size <= end:
            if record.kind == "float32":
                self._held.append(_array(file, record))
                self._left -= record.size
            else:
                self._places.append((place, record))
                self._left = -1  # whatever the limit is now: the held ones come first
            self.names.append(record.name)
            whole = file.seek(place + record.size)
        file.truncate(whole)
        return True


def _record(line: bytes) -> _Record | None:
    """None for what is no whole record."""
    try:
        return msgspec.json.decode(line, type=_Record)
    except msgspec.DecodeError:
        return None


def _array(file: IO[bytes], record: _Record) -> Logits:
    """The record's logits, which the file is at."""
    flat = np.frombuffer(file.read(record.size), record.kind)
    return flat.reshape(record.shape).astype(np.float32)
