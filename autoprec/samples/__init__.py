"""Images, prompts and ground truth of a study, read one at a time: calibration and evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from autoprec.entry import is_entry
from autoprec.errors import SamplesError, exhausted
from autoprec.reading.frame import Frame, frame_of
from autoprec.samples._ahead import ahead, behind
from autoprec.samples._arrays import ArraySamples, read_archive
from autoprec.samples._base import Sample, Samples, ensure_same, seen
from autoprec.samples._checks import FEWEST, check_whole, warnings_of
from autoprec.samples._entry import EntrySamples
from autoprec.samples._images import SUFFIXES, ImageSamples
from autoprec.spec import SamplesSection

Shapes = Mapping[str, Sequence[int]]


def load_samples(
    section: SamplesSection, which: Literal["calibration", "evaluation"], inputs: Shapes
) -> Samples:
    """The samples of one set, for a model with these inputs (name to shape).

    A path to an `.npz` file or a folder of them gives arrays named like the inputs; any other folder gives
    images; `module:function` gives what that function returns. Raises `SamplesError` that names the file and
    the way out.
    """
    named = section.calibration if which == "calibration" else section.evaluation
    path = Path(named)
    limit = section.calibration_limit if which == "calibration" else section.evaluation_limit
    if is_entry(named):
        return EntrySamples(f"samples.{which}", named, inputs, limit)
    try:
        listed = seen(path) if path.is_dir() else [path]
        archives = [each for each in listed if each.suffix.lower() == ".npz"] if path.is_dir() else listed
        if not path.exists():
            raise SamplesError(
                f"samples.{which}: {path} does not exist; name a folder of images or an .npz file"
            )
        if archives and archives[0].suffix.lower() != ".npz":
            raise SamplesError(
                f"samples.{which}: {path} is neither a folder nor an .npz file; name one of them"
            )
        if not archives:
            return ImageSamples(path, section, inputs, limit)
        ignored = sum(each.suffix.lower() in SUFFIXES for each in listed)
        return ArraySamples(archives[:limit], inputs, ignored)
    except OSError as error:
        said = exhausted(error) or f"cannot be read: {error}"
        raise SamplesError(f"samples.{which}: {path}: {said}") from error


__all__ = [
    "FEWEST",
    "Frame",
    "Sample",
    "Samples",
    "ahead",
    "behind",
    "check_whole",
    "ensure_same",
    "frame_of",
    "load_samples",
    "read_archive",
    "warnings_of",
]
