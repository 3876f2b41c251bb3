"""The interface of all sources of samples."""

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
    """Turn a refusal of the reading rule into a `SamplesError`, which names an exhausted limit of the
    machine if that is the cause."""
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
        prompts: inputs of the decoder behind it, by name, in the decoder's own form.
        truth: bool [masks, height, width] at the image's own size, or None.
        asked: the inputs of each prompt, by name, not yet in the decoder's form.
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
        """True masks fitted to masks of `shape` [masks, h, w]: in the frame, unless those have the image's
        size.

        Raises `SamplesError` if a model without prompts gives more masks than there are true ones.
        """
        # A promptable model may give several masks for each prompt, and so for each true mask.
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
    """Zeros of a shape and dtype that occupy no memory."""
    return np.broadcast_to(np.zeros((), kind), shape)


class Samples(Protocol):
    """A set of samples, each read when it is requested."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user may not expect, one line each."""

    shareable: bool
    """Whether several threads may read samples at the same time."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of SHA-256 over all files, by name and content."""

    def is_as(self, digest: str) -> bool:
        """Whether the files are still those of a digest; what a function gives is not asked for again."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def outline(self, index: int) -> Sample:
        """A sample without inputs and truth, from headers and prompts alone.

        Prompts from an archive have their shapes and dtypes, but zeros for values.
        """

    def __iter__(self) -> Iterator[Sample]: ...


def seen(folder: Path) -> list[Path]:
    """The contents of a folder, sorted, without hidden files, which macOS leaves beside others."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def refuse_odd(files: Iterable[Path]) -> None:
    """Raise `SamplesError` for what is no regular file, such as a pipe, or has a name that is not UTF-8."""
    for file in files:
        if not file.is_file():
            raise SamplesError(f"{file}: is not a readable file; remove it")
        try:
            file.name.encode()
        except UnicodeEncodeError as error:
            raise SamplesError(f"{file}: its name is not UTF-8; rename it") from error


def ensure_same(samples: Samples, digest: str, which: str) -> None:
    """Raise `SamplesError` for samples that have changed: what is made of both is evidence of neither.

    Args:
        samples: a set whose files are, or were, read.
        digest: what it was.
        which: "calibration" or "evaluation".
    """
    try:
        if samples.is_as(digest):
            return
        why = ""
    except OSError as error:
        why = f" ({error.strerror}: {error.filename})"
    raise SamplesError(
        f"samples.{which} has changed while it was in use{why}; restore it, and search again, or copy the "
        "definition to search the new samples"
    )


def digest_of(files: Sequence[Path], settings: str) -> str:
    """Digest of files, in order, by name and content, and of how they are read."""
    total = hashlib.sha256(settings.encode())
    for file in files:
        total.update(file.name.encode())
        total.update(content_digest(file))
    return total.hexdigest()[:16]


def content_digest(file: Path) -> bytes:
    """SHA-256 of a file, cached until its size or modification time changes."""
    # It may have become a pipe since it was listed, and reading one waits for ever.
    ensure_regular(file)
    status = file.stat()
    return _read_digest(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1 << 17)
def _read_digest(file: Path, changed_ns: int, size: int) -> bytes:  # noqa: ARG001 - the key of the cache
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
