"""Samples from `.npz` archives: one array for each model input, named like it. Pickles are refused."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from autoprec.errors import SamplesError
from autoprec.samples._base import Sample, check_finite, digest_of


class ArraySamples:
    """One archive, one sample. Arrays that are not model inputs go to the decoder; `truth` is masks."""

    def __init__(self, archives: Sequence[Path], inputs: Mapping[str, Sequence[int]]) -> None:
        self._archives = list(archives)
        self._inputs = inputs

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over all archives."""
        return digest_of(self._archives, "npz")

    def __len__(self) -> int:
        return len(self._archives)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        path = self._archives[index]
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise SamplesError(f"{path}: cannot be read as an .npz of plain arrays: {error}") from error
        check_finite(str(path), arrays)
        truth = arrays.pop("truth", None)
        inputs = {}
        for name, shape in self._inputs.items():
            if name not in arrays:
                raise SamplesError(
                    f"{path}: has no array {name!r}; the model's inputs are: {', '.join(self._inputs)}"
                )
            inputs[name] = arrays.pop(name)
            if inputs[name].shape != tuple(shape):
                raise SamplesError(
                    f"{path}: {name!r} is {inputs[name].shape}, but the model takes {tuple(shape)}"
                )
        return Sample(path.name, inputs, arrays, None if truth is None else truth.astype(bool))
