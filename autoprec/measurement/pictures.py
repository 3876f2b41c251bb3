"""Pictures of masks: the image, the reference's mask, the candidate's, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoprec.files import naming
from autoprec.records import Picture, SampleScore
from autoprec.samples import Sample, frame_of
from autoprec.spec import SamplesSection

LONGEST_SIDE = 256
"""Pixels: enough to judge a mask by, small enough for dozens in one file."""
MISSED, EXTRA = (230, 159, 0), (86, 180, 233)
"""Colours of what only the reference has, and of what only the candidate has (Okabe and Ito)."""
_BOTH = 70
"""Grey of what both have, under the colours."""

Opacity = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def draw(
    folder: Path,
    score: SampleScore,
    *,
    kind: str,
    sample: Sample,
    section: SamplesSection,
    reference: Opacity,
    candidate: Opacity,
) -> Picture:
    """Write four files for one mask into `folder`; `reference` and `candidate` are opacities [h, w], 0..1.

    The longest side is 256 pixels. A model that takes no image gives an empty path for it.

    Args:
        folder: takes the files.
        score: of the mask.
        kind: what it is an example of, as `worst`.
        sample: where the mask is from.
        section: how its image came to be the model's input.
        reference: float32 opacity [h, w] in 0..1.
        candidate: the same of the candidate.
    """
    pixels = image_of(sample.inputs, section)
    place = sample.placement
    if pixels is not None and place is not None and reference.shape == sample.size:
        # Masks of the image's own size have no frame around them.
        pixels = pixels[place.top : place.top + place.height, place.left : place.left + place.width]
    size = _shown_size(reference.shape if pixels is None else pixels.shape[:2])
    before, after = _resized(reference, size), _resized(candidate, size)
    stem = f"{score.mask}-{Path(score.sample).name}"
    layers = {
        "image": None if pixels is None else Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR),
        "reference": Image.fromarray(_bytes(before)),
        "candidate": Image.fromarray(_bytes(after)),
        "difference": Image.fromarray(_difference(before, after)),
    }
    paths = {}
    for name, layer in layers.items():
        paths[name] = "" if layer is None else str(folder / f"{stem}-{name}.webp")
        if layer is not None:
            # Masks without loss: artefacts at an edge would look like damage.
            with naming(Path(paths[name])):
                layer.save(paths[name], quality=80, lossless=name != "image")
    return Picture(
        sample=score.sample,
        mask=score.mask,
        iou=score.iou,
        score=score.score,
        kind="worst" if kind == "worst" else "typical",
        **paths,
    )


def image_of(inputs: Mapping[str, NDArray[Any]], section: SamplesSection) -> Pixels | None:
    """The first input that is an image, as uint8 [h, w, 3]; None if there is none.

    Pixels are brought back to 0..1 by the definition's mean and deviation; arrays that were not made with
    those are stretched between their ends.
    """
    frame = frame_of({name: array.shape for name, array in inputs.items()}, section.input, len(section.mean))
    if frame is None:
        return None
    array = inputs[frame.name][0]
    planes = array if frame.layout == "nchw" else array.transpose(2, 0, 1)
    pixels = planes.astype(np.float32)
    if len(section.mean) == len(planes):
        mean, std = (np.array(figures, np.float32)[:, None, None] for figures in (section.mean, section.std))
        pixels = pixels * std + mean
    pixels = pixels[: 3 if len(pixels) >= 3 else 1]  # of more bands, the first three
    if pixels.min() < -0.1 or pixels.max() > 1.1:
        pixels = (pixels - pixels.min()) / max(float(np.ptp(pixels)), 1e-9)
    grey_or_colour = np.repeat(pixels, 3 // len(pixels), axis=0).transpose(1, 2, 0)
    return _bytes(grey_or_colour)


def _shown_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) for [h, w], the longest side at most `LONGEST_SIDE`."""
    scale = min(1.0, LONGEST_SIDE / max(shape))
    return max(1, round(shape[1] * scale)), max(1, round(shape[0] * scale))


def _resized(opacity: Opacity, size: tuple[int, int]) -> Opacity:
    """Averages of pixels where it shrinks, hard edges where it grows."""
    shrinks = size[0] < opacity.shape[1]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(opacity).resize(size, how))


def _bytes(opacity: NDArray[np.floating[Any]]) -> Pixels:
    pixels: Pixels = np.round(np.clip(opacity, 0, 1) * 255).astype(np.uint8)
    return pixels


def _difference(reference: Opacity, candidate: Opacity) -> Pixels:
    """Grey where both agree on mask, coloured where one has more, black elsewhere."""
    both = np.minimum(reference, candidate)[..., None] * _BOTH
    missed = np.clip(reference - candidate, 0, 1)[..., None] * np.array(MISSED)
    extra = np.clip(candidate - reference, 0, 1)[..., None] * np.array(EXTRA)
    return _bytes((both + missed + extra) / 255)
