"""The reference's mask logits, kept for every candidate: in memory up to a limit, behind it on disk."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]

MEMORY_BYTES = 128 << 20
"""Logits beyond this go to a file, as float16: their signs are kept, and three digits of the rest."""


class ReferenceMasks:
    """A list of arrays that may be longer than memory. The file has no name: it goes with the process.

    Args:
        folder: where the file is, once one is needed.
        memory_bytes: what may stay in memory.
    """

    def __init__(self, folder: Path, memory_bytes: int = MEMORY_BYTES) -> None:
        self._folder = folder
        self._left = memory_bytes
        self._held: list[Logits] = []
        self._places: list[tuple[int, tuple[int, ...]]] = []

    def append(self, logits: Logits) -> None:
        """Keep one sample's logits. Raises OSError if the disk is full."""
        self._left -= logits.nbytes
        if self._left >= 0:
            self._held.append(logits)
            return
        if not self._places:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - lives as long as this
            weakref.finalize(self, self._file.close)
        place = self._file.seek(0, 2)
        self._file.write(logits.astype(np.float16).tobytes())
        self._places.append((place, logits.shape))

    def __len__(self) -> int:
        return len(self._held) + len(self._places)

    def __getitem__(self, index: int) -> Logits:
        if index < len(self._held):
            return self._held[index]
        place, shape = self._places[index - len(self._held)]
        self._file.seek(place)
        data = self._file.read(2 * int(np.prod(shape)))
        return np.frombuffer(data, np.float16).reshape(shape).astype(np.float32)

    def __iter__(self) -> Iterator[Logits]:
        return (self[index] for index in range(len(self)))
