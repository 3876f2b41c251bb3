"""Warnings about a study's samples, before anything is measured with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoprec.entry import is_entry
from autoprec.errors import SamplesError
from autoprec.reading.arrays import refuse_cut
from autoprec.reading.errors import UnfitError
from autoprec.samples._ahead import ahead
from autoprec.samples._base import Samples, content_digest, seen
from autoprec.samples._images import SUFFIXES
from autoprec.spec import SamplesSection

FEWEST = 8
"""With fewer evaluation samples the interval of a loss says little."""


def warnings_of(section: SamplesSection, calibration: Samples, evaluation: Samples) -> list[str]:
    """One line for each thing that may spoil the result: few samples, overlapping sets, conversions.

    Raises `SamplesError` for images that the model cannot take.
    """
    told = []
    count = len(evaluation)
    if count == 1:
        told.append("samples.evaluation has one sample: losses get no interval; give 8 or more")
    elif count < FEWEST:
        told.append(f"samples.evaluation has {count} samples: intervals mean little below {FEWEST}")
    if same := _same(section):
        told.append(
            f"{len(same)} of {count} evaluation samples are in the calibration set too ({same[0].name}): "
            "their loss is lower than on unseen images; use disjoint sets"
        )
    for which, samples in (("calibration", calibration), ("evaluation", evaluation)):
        told += [f"samples.{which}: {note}" for note in samples.notes]
    return told


def check_whole(samples: Samples, kinds: Mapping[str, np.dtype[Any]]) -> None:
    """Raise `SamplesError` for values that an integer input would truncate.

    Reads all samples if there is such an input, otherwise only the first one, which shows whether it can be
    read.

    Args:
        samples: a set.
        kinds: dtypes of the model's inputs, by name.
    """
    has_whole = any(kind.kind in "iu" for kind in kinds.values())
    for sample in ahead(samples) if has_whole else [samples[0]]:
        try:
            for name, array in sample.inputs.items():
                refuse_cut(sample.name, name, array, kinds[name])
        except UnfitError as error:
            raise SamplesError(str(error)) from error


def _same(section: SamplesSection) -> list[Path]:
    """Evaluation files whose content is also in the calibration set."""
    if is_entry(section.calibration) or is_entry(section.evaluation):
        return []
    # Only files of equal size can be equal: hashing the others would read both sets whole.
    sizes: dict[int, list[Path]] = defaultdict(list)
    for path in _files(section.calibration, section.calibration_limit):
        sizes[path.stat().st_size].append(path)
    return [
        path
        for path in _files(section.evaluation, section.evaluation_limit)
        if any(content_digest(path) == content_digest(other) for other in sizes.get(path.stat().st_size, ()))
    ]


def _files(named: str, limit: int | None) -> Sequence[Path]:
    """The archives or images of a set, in order."""

    def listing() -> Iterator[Path]:
        path = Path(named)
        if path.is_file():
            yield path
        elif path.is_dir():
            archives = [each for each in seen(path) if each.suffix.lower() == ".npz"]
            images = path / "images" if (path / "images").is_dir() else path
            listed = [each for each in seen(images) if each.suffix.lower() in SUFFIXES]
            yield from archives or listed

    return list(listing())[:limit]
