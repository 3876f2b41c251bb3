"""Samples from a folder of images, with `prompts.json` and `masks/` beside them if there are any.

Images are in `images/` or in the folder itself. `masks/000.png` holds the label of every pixel of
`000.jpg`; a prompt's truth is where the label is its `object`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError
from autoprec.files import ensure_regular
from autoprec.reading.beside import prompts_file
from autoprec.reading.errors import UnfitError, unreadable
from autoprec.reading.frame import Frame, frame_of
from autoprec.reading.normalising import Normalisation, is_shifted, normalised
from autoprec.reading.pixels import Header, Note, check_size, header, opened, pixels, upright_size
from autoprec.reading.placing import Placement
from autoprec.reading.prompts import arrays_of
from autoprec.samples._base import Sample, digest_of, refuse_odd, seen, told
from autoprec.samples._prompts import Prompts, is_outside, objects_of, read_prompts
from autoprec.spec import SamplesSection

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm", ".avif", ".jp2"}
)

_NEW_NOTES = frozenset({Note.TURNED, Note.DEEP})
"""Notes on files that 0.1 read differently, so that studies of such samples are not comparable."""


class ImageSamples:
    """Images fitted to the model's frame, scaled to 0..1 and normalised.

    Inputs are float32 [1, channels, h, w], or [1, h, w, channels] where the model takes them so.

    Args:
        folder: holds the images, directly or in `images/`.
        section: the definition's `[samples]`.
        inputs: shapes of the model's inputs, by name.
        limit: number of images to use; None for all.
    """

    shareable = True

    def __init__(
        self, folder: Path, section: SamplesSection, inputs: Mapping[str, Sequence[int]], limit: int | None
    ) -> None:
        self._section = section
        self._frame = _image_input(section, inputs)
        images = folder / "images" if (folder / "images").is_dir() else folder
        listed = seen(images)
        readable = [path for path in listed if path.suffix.lower() in SUFFIXES]
        if not readable:
            raise SamplesError(
                f"{images}: holds no images (jpg, png, webp, bmp, tif) and no .npz files; put some there"
            )
        refuse_odd(readable)
        self._images = readable[:limit]
        self._masks = folder / "masks"
        self._prompts_file = prompts_file(images)
        used = {*readable, self._prompts_file}
        self._left_out = Counter(path.suffix for path in listed if path.is_file() and path not in used)
        asked = [path.name for path in self._images]
        # Held against all images: a limit must not make the prompts of the others strange.
        self._prompts = read_prompts(self._prompts_file, asked, {path.name for path in readable})

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over images, prompts, masks and how they are read; a suffix `.r2` says that
        the first version of the reading rule read them differently."""
        return self._digest()

    def is_as(self, digest: str) -> bool:
        """See `Samples`. Raises OSError."""
        return self._digest() == digest

    def _digest(self) -> str:
        masks = [mask for mask in map(self._mask_path, self._images) if mask.exists()]
        prompts = [self._prompts_file] if self._prompts_file.exists() else []
        section, size = self._section, self._frame.size
        settings = msgspec.json.encode((size, section.mean, section.std)).decode()
        # Studies of 0.1 must keep their digest, so newer keys are left out where they change nothing.
        if section.resize != "stretch" or section.white is not None:
            settings += f"{section.resize}{section.white}"
        settings += "".join(sorted(note.name for note in self._notes if note in _NEW_NOTES))
        rule = max(self._rules, default=1)
        return digest_of([*self._images, *prompts, *masks], settings) + (f".r{rule}" if rule > 1 else "")

    @cached_property
    def notes(self) -> Sequence[str]:
        """What the user may not expect; reads every file's header."""
        told = [f"{count} of {len(self)} images: {note.value}" for note, count in sorted(self._notes.items())]
        left = ", ".join(f"{count} {suffix or 'without ending'}" for suffix, count in self._left_out.items())
        masks = Counter(path for path in map(self._mask_path, self._images) if path.exists())
        told += [
            f"{count} images share the true masks of {path.name}, which go by the stem: rename all but one"
            for path, count in masks.items()
            if count > 1
        ]
        return [*told, *([f"files that are not images are ignored: {left}"] if left else [])]

    @property
    def _rules(self) -> Iterator[int]:
        """The versions of the reading rule that first read these images and prompts as they are read now."""
        yield from (head.rule for head in self._headers)
        section = self._section
        settings = zip(section.mean, section.std, strict=True)
        if any(mean and is_shifted(mean, std, section.white or 255) for mean, std in settings):
            yield 2
        keys = [prompt.keys() for prompts in self._prompts.values() for prompt in prompts]
        if any("mask_input" in each and "has_mask_input" not in each for each in keys):
            yield 2  # version 1 fed 0 as has_mask_input
        if any(key.endswith("points") for each in keys for key in each):
            yield 2  # version 1 fed them in pixels of the image

    @cached_property
    def _headers(self) -> list[Header]:
        headers = []
        for path in self._images:
            with told(path):
                headers.append(header(path, self._frame.channels, self._section.white))
        return headers

    @cached_property
    def _notes(self) -> Counter[Note]:
        outside = (
            Note.OUTSIDE
            for path in self._images
            if path.name in self._prompts and is_outside(self._prompts[path.name], upright_size(path))
        )
        return Counter(note for head in self._headers for note in head.notes) + Counter(outside)

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        path, frame = self._images[index], self._frame
        with told(path):
            planes, white = pixels(path, frame.channels, self._section.white)
        section, size = self._section, planes[0].size
        placement = Placement.of(size, frame.size, section.resize)
        how = Normalisation(section.mean, section.std, section.resize)
        with np.errstate(all="ignore"):  # told below
            array = normalised(planes, white, placement, frame, how)
        if not np.isfinite(array).all():
            raise SamplesError(
                f"{path}: becomes infinite or NaN by samples.mean, samples.std and samples.white; fix those"
            )
        return self.outline(index)._replace(
            inputs={frame.name: array},
            truth=self._truth(path, self._prompts.get(path.name, []), size),
        )

    def outline(self, index: int) -> Sample:
        """See `Samples`."""
        path, frame = self._images[index], self._frame
        with told(path):
            size = upright_size(path)
        placement = Placement.of(size, frame.size, self._section.resize)
        place = partial(placement.points, size=size)
        try:
            asked = tuple(arrays_of(path.name, prompt, place) for prompt in self._prompts.get(path.name, ()))
        except UnfitError as error:
            raise SamplesError(f"{self._prompts_file}: {error}") from error
        # Pillow has the width first.
        return Sample(path.name, {}, {}, asked=asked, placement=placement, size=(size[1], size[0]))

    def _mask_path(self, image: Path) -> Path:
        return self._masks / f"{image.stem}.png"

    def _truth(self, image: Path, prompts: Prompts, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """bool [prompts, height, width]; None unless every prompt has a label."""
        objects, path = objects_of(prompts), self._mask_path(image)
        if objects is None or not path.exists():
            return None
        with told(path):
            values = _labels(path)
        height, width = values.shape
        # A mask that was drawn without regard to EXIF has the sides of the image swapped.
        if (height > width) != (size[1] > size[0]) and sorted(values.shape) == sorted(size):
            raise SamplesError(
                f"{path}: is {width} x {height}, but {image.name} is {size[0]} x {size[1]} upright, "
                "as its EXIF says: turn the mask"
            )
        masks: NDArray[np.bool_] = values == np.array(objects)[:, None, None]
        lost = [number for number, mask in zip(objects, masks, strict=True) if not mask.any()]
        if lost:
            raise SamplesError(
                f"{path}: has no pixel of object {lost[0]}, which {self._prompts_file.name} asks for"
            )
        return masks


def _labels(path: Path) -> NDArray[Any]:
    """The labels [h, w] of a mask image, as stored. Raises `UnfitError`."""
    try:
        ensure_regular(path)
        with opened(path) as image:
            check_size(image)
            # Not converted: the indices of a palette are the labels, its colours only paint them.
            array: NDArray[Any] = np.asarray(image)
    except Exception as error:  # broken files make Pillow raise anything
        raise unreadable(path, error) from error
    if array.ndim != 2:
        raise UnfitError(f"{path}: has {array.shape[-1]} channels; a mask image has one, of labels")
    return array


def _image_input(section: SamplesSection, inputs: Mapping[str, Sequence[int]]) -> Frame:
    """The input that images feed. Raises `SamplesError` if there is none, or if there are others."""
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
    name = section.input or next(iter(inputs), "")
    if name not in inputs:
        raise SamplesError(f"samples.input is {section.input!r}, but the model's inputs are: {listed}")
    if len(inputs) > 1:
        raise SamplesError(
            f"images feed one input, but the model's are: {listed}; store samples as .npz files"
        )
    if len(inputs[name]) != 4:
        raise SamplesError(
            f"the input {name!r} is {list(inputs[name])}, which no image feeds; store samples as .npz files"
        )
    channels = len(section.mean)
    frame = frame_of(inputs, name, channels)
    size = section.size or (frame.size if frame else (0, 0))
    if frame is None or frame.channels != channels or frame.size != size or inputs[name][0] != 1:
        wanted = [1, channels, *size] if frame is None or frame.layout == "nchw" else [1, *size, channels]
        raise SamplesError(
            f"the input {name!r} is {list(inputs[name])}, but samples give {wanted}: fix samples.size or mean"
        )
    return frame
