"""Images, prompts and ground truth of a study, read one at a time: calibration and evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from autoprec.errors import SamplesError
from autoprec.samples._arrays import ArraySamples
from autoprec.samples._base import Sample, Samples
from autoprec.samples._images import ImageSamples
from autoprec.spec import SamplesSection

Shapes = Mapping[str, Sequence[int]]


def load_samples(
    section: SamplesSection, which: Literal["calibration", "evaluation"], inputs: Shapes
) -> Samples:
    """The samples of one set, for a model with these inputs (name to shape).

    A path to an `.npz` file or a folder of them gives arrays named like the inputs; any other folder gives
    images. Raises `SamplesError` naming the file and the way out.
    """
    path = Path(section.calibration if which == "calibration" else section.evaluation)
    limit = section.calibration_limit if which == "calibration" else section.evaluation_limit
    if not path.exists():
        raise SamplesError(f"samples.{which}: {path} is not there; name a folder of images or an .npz file")
    archives = [path] if path.suffix == ".npz" else sorted(path.glob("*.npz"))
    if archives:
        return ArraySamples(archives[:limit], inputs)
    return ImageSamples(path, section, inputs, limit)


__all__ = ["Sample", "Samples", "load_samples"]
