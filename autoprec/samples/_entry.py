"""Samples from user code: any iterable that a function `module:function` returns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from autoprec.entry import load_entry
from autoprec.errors import SamplesError
from autoprec.samples._arrays import sample_of
from autoprec.samples._base import Sample, blank

_MOST = 1_000_000
"""Samples that are counted: an iterable may have no end."""


class EntrySamples:
    """Samples from a user's function; each item maps names to arrays, like an `.npz` archive.

    The function is called again for each pass, and must give the same samples in the same order. A sequence
    is read in any order at no cost; for any other iterable, a step back starts over.

    Args:
        key: key of the definition, such as `samples.calibration`.
        entry: `module:function`.
        inputs: shapes of the model's inputs, by name.
        limit: number of samples to use; None for all.
    """

    notes: Sequence[str] = ()
    shareable = False  # users write neither functions nor iterators for several threads

    def __init__(self, key: str, entry: str, inputs: Mapping[str, Sequence[int]], limit: int | None) -> None:
        self._where, self._limit = f"{key}: {entry}", limit
        self._make = load_entry(key, entry)
        self._inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self._items: Iterator[Any] | None = None
        self._next = 0

    @property
    def digest(self) -> str:
        """16 hexadecimal digits over the names and the content of all arrays."""
        return self._first_pass[0]

    def is_as(self, digest: str) -> bool:  # noqa: ARG002 - see `Samples`
        """True: see `Samples`."""
        return True

    def outline(self, index: int) -> Sample:
        """See `Samples`."""
        return self._first_pass[1][index]

    @cached_property
    def _first_pass(self) -> tuple[str, list[Sample]]:
        """The digest, and the outline of each sample: one pass for both, because it may be slow."""
        total, outlines = hashlib.sha256(b"entry"), []
        for sample in self:
            # By name: a function may fill its dicts in any order.
            for name, array in sorted({**sample.inputs, **sample.prompts}.items()):
                total.update(f"{name}{array.dtype}{array.shape}".encode())
                total.update(np.ascontiguousarray(array).data)
            prompts = {name: blank(array.shape, array.dtype) for name, array in sample.prompts.items()}
            outlines.append(Sample(sample.name, {}, prompts))
        return total.hexdigest()[:16], outlines

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sample]:
        for index, item in enumerate(islice(self._all(), self._limit)):
            yield self._sample(index, item)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if hasattr(self._given, "__getitem__"):
            with self._telling():
                item = self._given[index]
            return self._sample(index, item)
        if self._items is None or index < self._next:
            self._items, self._next = self._all(), 0
        item = next(islice(self._items, index - self._next, None), None)
        self._next = index + 1
        return self._sample(index, item)

    @cached_property
    def _given(self) -> Any:
        """What the function returned the first time."""
        with self._telling():
            return self._make()

    @cached_property
    def _count(self) -> int:
        if hasattr(self._given, "__len__"):
            count = len(self._given)
            return count if self._limit is None else min(count, self._limit)
        count = 0
        for item in islice(self._all(), self._limit):
            self._refuse_odd(count, item)
            count += 1
            if count > _MOST:
                raise SamplesError(f"{self._where} gives more than {_MOST} samples; end it, or limit it")
        return count

    def _all(self) -> Iterator[Any]:
        """All items, from the first one."""
        with self._telling():
            yield from self._make()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Turn what the function raises into a `SamplesError` that names it."""
        try:
            yield
        except Exception as error:  # a function of the user's may raise anything
            raise SamplesError(f"{self._where} raised {type(error).__name__}: {error}") from error

    def _refuse_odd(self, index: int, item: Any) -> None:
        if not isinstance(item, Mapping):
            raise SamplesError(
                f"{self._where} gave {type(item).__name__} as sample {index}; give a dict of arrays by name"
            )

    def _sample(self, index: int, item: Any) -> Sample:
        self._refuse_odd(index, item)
        arrays = {str(name): np.asarray(array) for name, array in item.items()}
        return sample_of(f"{self._where}, sample {index}", f"{index:06d}", arrays, self._inputs)
