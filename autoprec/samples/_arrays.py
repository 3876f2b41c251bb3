"""Samples from `.npz` archives: one array for each model input, named like it. Pickled arrays are refused."""

from __future__ import annotations

import io
import math
import threading
import zipfile
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError, exhausted
from autoprec.reading.arrays import numbers
from autoprec.samples._base import Sample, blank, digest_of, refuse_odd, told

_NUMBERS = "fiub"
_TRUTH = "truth"
_Header = tuple[tuple[int, ...], np.dtype[Any]]
_MOST_BYTES = 1 << 30
"""Largest total size of prompts and truth of one sample, in bytes."""
_PARSING = threading.Lock()
"""NumPy reads headers by Python's parser, whose count of its recursion threads share in 3.11: of two at once
one may raise SystemError."""
_LONGEST_HEADER = 1 << 14
"""More than NumPy accepts; NumPy itself would first read the 4 GiB that a header may claim as its length."""


class ArraySamples:
    """Samples of one archive each. Arrays that are not model inputs go to the decoder; `truth` holds masks.

    Every input has the model's shape, including a batch of one; floats become float32.
    """

    shareable = True

    def __init__(
        self, archives: Sequence[Path], inputs: Mapping[str, Sequence[int]], ignored: int = 0
    ) -> None:
        """`ignored`: how many images lie beside the archives."""
        self.notes = [f"{ignored} images beside the .npz files are ignored"] if ignored else []
        self._archives = list(archives)
        refuse_odd(self._archives)
        self._inputs = {name: tuple(shape) for name, shape in inputs.items()}

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over all archives."""
        return digest_of(self._archives, "npz")

    def is_as(self, digest: str) -> bool:
        """See `Samples`. Raises OSError."""
        return digest_of(self._archives, "npz") == digest

    def __len__(self) -> int:
        return len(self._archives)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        path = self._archives[index]
        return sample_of(str(path), path.name, read_archive(path, self._inputs), self._inputs)

    def outline(self, index: int) -> Sample:
        """See `Samples`; reads only the archive's headers."""
        path = self._archives[index]
        headers = read_headers(path, self._inputs)
        _check_there(str(path), headers, self._inputs)
        others = {key: headers[key] for key in headers if key not in self._inputs and key != _TRUTH}
        return Sample(path.name, {}, {key: blank(*header) for key, header in others.items()})


def sample_of(
    where: str, name: str, raw: Mapping[str, NDArray[Any]], inputs: Mapping[str, tuple[int, ...]]
) -> Sample:
    """A sample made of arrays.

    Args:
        where: where they come from, as the beginning of messages.
        name: name of the sample.
        raw: inputs, prompts and `truth`, by name.
        inputs: shapes of the model's inputs, by name.

    Raises `SamplesError` for a missing input, a wrong shape, values that are not numbers, and NaN.
    """
    with told(Path(where)):
        arrays = {key: numbers(where, key, array) for key, array in raw.items()}
    truth = arrays.pop(_TRUTH, None)
    _check_there(where, arrays, inputs)
    listed = _listed(inputs)
    for key, shape in inputs.items():
        if arrays[key].shape != shape:
            raise SamplesError(
                f"{where}: {key!r} is {list(arrays[key].shape)}; the model's inputs are: {listed}"
            )
    fed = {key: arrays.pop(key) for key in inputs}
    return Sample(name, fed, arrays, None if truth is None else _masks(where, truth))


def _check_there(where: str, names: Container[str], inputs: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `SamplesError` if an input has no array."""
    for key in inputs:
        if key not in names:
            raise SamplesError(f"{where}: has no array {key!r}; the model's inputs are: {_listed(inputs)}")


def _listed(inputs: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{key} {list(shape)}" for key, shape in inputs.items())


def _masks(where: str, truth: NDArray[Any]) -> NDArray[np.bool_]:
    """True masks as bool [masks, h, w]. Raises `SamplesError` for another rank, or more than two values."""
    if truth.ndim != 3:
        raise SamplesError(f"{where}: 'truth' is {list(truth.shape)}; true masks are [masks, height, width]")
    if np.any((truth != 0) & (truth != truth.max(initial=0))):
        raise SamplesError(
            f"{where}: 'truth' holds more than two values, as labels, opacities or logits do; store true "
            "masks of 0 and 1, a plane for each"
        )
    return truth.astype(bool)


def read_archive(path: Path, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """All arrays of an archive, by name.

    Raises `SamplesError` for values that are not numbers, an input of another shape, or more than 1 GiB of
    other arrays.
    """
    with _opened(path) as archive:
        # Before any array is read, because NumPy allocates whatever a header claims.
        names = _check_headers(path, archive, inputs)
        return {name: _array(archive, f"{name}.npy") for name in names}


def read_headers(path: Path, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, _Header]:
    """Shapes and dtypes of all arrays of an archive, by name. Raises like `read_archive`."""
    with _opened(path) as archive:
        return _check_headers(path, archive, inputs)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive; whatever is wrong with it becomes a `SamplesError`."""
    try:
        # Opened here, since NumPy leaves its own file open when an archive is broken.
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield archive
    except SamplesError:
        raise
    except Exception as error:  # broken archives make NumPy and zipfile raise anything
        said = f"cannot be read as an .npz of plain arrays ({error}); write it with numpy.savez"
        raise SamplesError(f"{path}: {exhausted(error) or said}") from error


def _check_headers(
    path: Path, archive: zipfile.ZipFile, inputs: Mapping[str, tuple[int, ...]]
) -> dict[str, _Header]:
    """Shapes and dtypes by name. Raises `SamplesError` for an input of another shape, or for a header that
    claims more than there is."""
    listed, headers = _listed(inputs), {}
    others = 0
    for member in archive.namelist():
        if not member.endswith(".npy"):
            continue
        name, size = member.removesuffix(".npy"), archive.getinfo(member).file_size
        if name in headers:
            raise SamplesError(
                f"{path}: has two arrays {name!r}, of which readers take either; write it again"
            )
        with archive.open(member) as stream:
            start = io.BytesIO(stream.read(_LONGEST_HEADER))
        shape, _, kind = _header(start)
        held = size - start.tell()
        if kind.kind not in _NUMBERS:
            raise SamplesError(f"{path}: {name!r} holds {kind}, not numbers; store it without pickling")
        if name in inputs and shape != inputs[name]:
            raise SamplesError(f"{path}: {name!r} is {list(shape)}; the model's inputs are: {listed}")
        claimed = math.prod(shape) * kind.itemsize
        if claimed > held:
            raise SamplesError(
                f"{path}: {name!r} claims {list(shape)}, {claimed} bytes, but holds {held}; write it again"
            )
        headers[name] = shape, kind
        others += 0 if name in inputs else claimed
    if others > _MOST_BYTES:
        raise SamplesError(
            f"{path}: arrays that are not inputs of the model hold {others >> 20} MiB, more than "
            f"{_MOST_BYTES >> 20}; leave out what is not needed (the model's inputs are: {listed})"
        )
    return headers


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is in Fortran's order, and dtype of the array at the stream's position."""
    version = np.lib.format.read_magic(stream)
    # 3.0 differs from 2.0 in how fields are named, and no array of numbers has any.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with _PARSING:
        return read(stream)


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as stream:
        shape, is_fortran, kind = _header(stream)
        # Not by NumPy's `read_array`, which parses the header in the same call: the lock would be held while
        # values are inflated.
        values = np.empty(math.prod(shape), kind)
        values.view(np.uint8)[:] = np.frombuffer(stream.read(values.nbytes), np.uint8)
    return values.reshape(shape, order="F" if is_fortran else "C")
