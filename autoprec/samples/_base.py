"""What every source of samples gives."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError, exhausted
from autoprec.files import ensure_regular
from autoprec.reading.errors import UnfitError
from autoprec.reading.placing import Placement


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Raises `SamplesError` for what the reading rule refuses of a file: its fault, unless a limit of the
    machine's is."""
    try:
        yield
    except UnfitError as error:
        limit = exhausted(error.__cause__) if error.__cause__ else ""
        raise SamplesError(f"{path}: {limit}" if limit else str(error)) from error


class Sample(NamedTuple):
    """One image and its prompts.

    Attributes:
        name: file name, unique in its set.
        inputs: the searched model's inputs, by name.
        prompts: inputs of the decoder behind it, by name, as the decoder takes them.
        truth: bool [masks, height, width] at the image's own size, or None.
        asked: the inputs of each prompt, by name, where the decoder's form of them is still open.
        placement: where the image is in the model's frame; None for samples that are arrays.
        size: (height, width) of the image; None for samples that are arrays.
    """

    name: str
    inputs: Mapping[str, NDArray[Any]]
    prompts: Mapping[str, NDArray[Any]]
    truth: NDArray[np.bool_] | None = None
    asked: tuple[Mapping[str, NDArray[np.float32]], ...] = ()
    placement: Placement | None = None
    size: tuple[int, int] | None = None

    def truth_for(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """True masks in the form of masks [masks, h, w]: with the frame around them, unless those are of the
        image's own size.

        A promptable model may give several masks for each prompt, and so for each true one. Raises
        `SamplesError` where another model gives more masks than there are true ones.
        """
        prompted = self.asked or self.prompts
        if self.truth is not None and not prompted and len(self.truth) < shape[0]:
            raise SamplesError(
                f"{self.name} has {len(self.truth)} true masks, but the model gives {shape[0]}: fix or "
                "remove the true masks"
            )
        if self.truth is None or self.placement is None or tuple(shape[-2:]) == self.size:
            return self.truth
        return self.placement.masks(self.truth)


def blank(shape: Sequence[int], kind: np.dtype[Any]) -> NDArray[Any]:
    """Zeros of a shape and type that take no memory."""
    return np.broadcast_to(np.zeros((), kind), shape)


class Samples(Protocol):
    """A set of samples; each is read when it is requested."""

    @property
    def notes(self) -> Sequence[str]:
        """What their owner may not expect, a line each."""

    shareable: bool
    """Whether several threads may read samples at the same time."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over all files, by name and content."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def outline(self, index: int) -> Sample:
        """A sample without inputs and truth, of which headers and prompts alone are read; the prompts of an
        archive have their shape and type, not their values."""

    def __iter__(self) -> Iterator[Sample]: ...


def seen(folder: Path) -> list[Path]:
    """What is in a folder, in order, without hidden files, as macOS leaves beside others."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def refuse_odd(files: Iterable[Path]) -> None:
    """Raise `SamplesError` for a file that would never end, as a pipe, or whose name no record can hold."""
    for file in files:
        if not file.is_file():
            raise SamplesError(f"{file}: is not a readable file; remove it")
        try:
            file.name.encode()
        except UnicodeEncodeError as error:
            raise SamplesError(f"{file}: its name is not UTF-8; rename it") from error


def digest_of(files: Sequence[Path], settings: str) -> str:
    """Digest of files, in order, and of how they are read."""
    total = hashlib.sha256(settings.encode())
    for file in files:
        total.update(file.name.encode())
        total.update(content_digest(file))
    return total.hexdigest()[:16]


def content_digest(file: Path) -> bytes:
    """SHA-256 of a file; read once while it stays as it is, however often it is requested."""
    ensure_regular(file)
    status = file.stat()
    return _read_digest(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1 << 17)
def _read_digest(file: Path, changed_ns: int, size: int) -> bytes:  # noqa: ARG001 - the key of the cache
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
