"""What every source of samples gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Sample(NamedTuple):
    """One image and what is asked of it.

    Attributes:
        name: file name, unique in its set.
        inputs: the searched model's inputs, by name.
        prompts: inputs of the decoder behind it, by name; stacked over prompts.
        truth: bool [masks, height, width] at the image's own size, or None.
    """

    name: str
    inputs: Mapping[str, NDArray[Any]]
    prompts: Mapping[str, NDArray[Any]]
    truth: NDArray[np.bool_] | None = None


class Samples(Protocol):
    """A set of samples; each is read when it is asked for."""

    shareable: bool
    """Whether several threads may read samples at the same time."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over all files, by name and content."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def __iter__(self) -> Iterator[Sample]: ...


def digest_of(files: Sequence[Path], settings: str) -> str:
    """Digest of files, in order, and of how they are read."""
    total = hashlib.sha256(settings.encode())
    for file in files:
        total.update(file.name.encode())
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:16]
