"""Samples from `.npz` archives: one array for each model input, named like it. Pickles are refused."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError
from autoprec.samples._base import Sample, digest_of


class ArraySamples:
    """One archive, one sample. Arrays that are not model inputs go to the decoder; `truth` is masks.

    Every input has the model's shape, with its batch of one; floats come as float32.
    """

    shareable = True

    def __init__(self, archives: Sequence[Path], inputs: Mapping[str, Sequence[int]]) -> None:
        self._archives = list(archives)
        self._inputs = {name: tuple(shape) for name, shape in inputs.items()}

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all archives."""
        return digest_of(self._archives, "npz")

    def __len__(self) -> int:
        return len(self._archives)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        path = self._archives[index]
        return sample_of(str(path), path.name, _read(path), self._inputs)


def sample_of(
    where: str, name: str, found: Mapping[str, NDArray[Any]], inputs: Mapping[str, tuple[int, ...]]
) -> Sample:
    """A sample of arrays by name; `where` they are from begins every message.

    Raises `SamplesError` for a missing input, another shape, what is no number, NaN.
    """
    arrays = {key: _numbers(where, key, array) for key, array in found.items()}
    truth = arrays.pop("truth", None)
    listed = ", ".join(f"{key} {list(shape)}" for key, shape in inputs.items())
    for key, shape in inputs.items():
        if key not in arrays:
            raise SamplesError(f"{where}: has no array {key!r}; the model's inputs are: {listed}")
        if arrays[key].shape != shape:
            raise SamplesError(
                f"{where}: {key!r} is {list(arrays[key].shape)}; the model's inputs are: {listed}"
            )
    fed = {key: arrays.pop(key) for key in inputs}
    return Sample(name, fed, arrays, None if truth is None else truth.astype(bool))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an archive."""
    if path.is_file() and not zipfile.is_zipfile(path):
        raise SamplesError(f"{path}: cannot be read as an .npz of plain arrays; write it with numpy.savez")
    try:
        # A file of our own: NumPy leaves its open when the archive is broken.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise SamplesError(f"{path}: cannot be read as an .npz of plain arrays: {error}") from error


def _numbers(where: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array if it holds finite numbers; floats come as float32."""
    if array.dtype.kind not in "fiub":
        raise SamplesError(f"{where}: {name!r} holds {array.dtype}, not numbers; store it without pickling")
    if array.dtype.kind != "f":
        return array
    if not np.isfinite(array).all():
        raise SamplesError(f"{where}: {name!r} holds NaN or infinity; mend or remove it")
    return array.astype(np.float32, copy=False)
