"""Samples from a folder of images, with `prompts.json` and `masks/` beside them if there are any.

Images are in `images/` or in the folder itself. `masks/000.png` holds the label of every pixel of
`000.jpg`; a prompt's truth is where the label is its `object`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoprec.errors import SamplesError
from autoprec.samples._base import Sample, digest_of
from autoprec.samples._prompts import Prompts, objects_of, read_prompts, stacked
from autoprec.spec import SamplesSection

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class ImageSamples:
    """Images resized to the model's input, scaled to 0..1, normalised; float32 [1, channels, h, w]."""

    shareable = True

    def __init__(
        self, folder: Path, section: SamplesSection, inputs: Mapping[str, Sequence[int]], limit: int | None
    ) -> None:
        self._section = section
        self._input, self._size = _image_input(section, inputs)
        images = folder / "images" if (folder / "images").is_dir() else folder
        found = sorted(path for path in images.iterdir() if path.suffix.lower() in _SUFFIXES)
        if not found:
            raise SamplesError(f"{images}: holds no images (jpg, png, webp, bmp); put some there")
        self._images = found[:limit]
        self._masks = folder / "masks"
        self._prompts_file = folder / "prompts.json"
        asked = [path.name for path in self._images]
        self._prompts = read_prompts(self._prompts_file, asked, {path.name for path in found})

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits over images, prompts and masks, and how they are read."""
        masks = [mask for mask in map(self._mask_path, self._images) if mask.exists()]
        prompts = [self._prompts_file] if self._prompts_file.exists() else []
        settings = msgspec.json.encode((self._size, self._section.mean, self._section.std)).decode()
        return digest_of([*self._images, *prompts, *masks], settings)

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        path = self._images[index]
        pixels = _read(path, "RGB" if len(self._section.mean) == 3 else "L")
        height, width = self._size
        resized = pixels
        if pixels.size != (width, height):
            resized = pixels.resize((width, height), Image.Resampling.BILINEAR)
        prompts = self._prompts.get(path.name, [])
        scale = (width / pixels.width, height / pixels.height)
        return Sample(
            name=path.name,
            inputs={self._input: _normalised(resized, self._section)},
            prompts=stacked(self._prompts_file, path.name, prompts, scale),
            truth=self._truth(path, prompts),
        )

    def _mask_path(self, image: Path) -> Path:
        return self._masks / f"{image.stem}.png"

    def _truth(self, image: Path, prompts: Prompts) -> NDArray[np.bool_] | None:
        """bool [prompts, height, width], or None without labels for every prompt."""
        objects, path = objects_of(prompts), self._mask_path(image)
        if objects is None or not path.exists():
            return None
        labels: NDArray[Any] = np.asarray(_read(path))
        if labels.ndim != 2:
            raise SamplesError(f"{path}: has {labels.shape[-1]} channels; a mask image has one, of labels")
        masks: NDArray[np.bool_] = labels == np.array(objects)[:, None, None]
        lost = [number for number, mask in zip(objects, masks, strict=True) if not mask.any()]
        if lost:
            raise SamplesError(
                f"{path}: has no pixel of object {lost[0]}, which {self._prompts_file.name} asks for"
            )
        return masks


def _image_input(section: SamplesSection, inputs: Mapping[str, Sequence[int]]) -> tuple[str, tuple[int, int]]:
    """Name of the image input, and (height, width)."""
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
    name = section.input or next(iter(inputs), "")
    if name not in inputs:
        raise SamplesError(f"samples.input is {section.input!r}, but the model's inputs are: {listed}")
    if len(inputs) > 1:
        raise SamplesError(
            f"images feed one input, but the model's are: {listed}; store samples as .npz files"
        )
    shape = tuple(inputs[name])
    height, width = section.size or (shape[-2:] if len(shape) == 4 else (0, 0))
    wanted = (1, len(section.mean), height, width)
    if shape != wanted:
        raise SamplesError(
            f"the input {name!r} is {list(shape)}, but samples give {list(wanted)}: mend samples.size or mean"
        )
    return name, (height, width)


def _normalised(image: Image.Image, section: SamplesSection) -> NDArray[np.float32]:
    """float32 [1, channels, h, w]: pixels over 255, less the mean, over the deviation.

    Plane by plane in place: a plane stays in the cache, and new arrays between the steps would each be memory
    that the system hands out anew, which takes longer than the arithmetic.
    """
    planes = image.split()
    result = np.empty((1, len(planes), image.height, image.width), np.float32)
    mean, std = np.array(section.mean, np.float32), np.array(section.std, np.float32)
    for number, plane in enumerate(planes):
        target = result[0, number]
        np.divide(np.asarray(plane), np.float32(255), out=target)
        target -= mean[number]
        target /= std[number]
    return result


def _read(path: Path, mode: str | None = None) -> Image.Image:
    """A whole image, converted to `mode`. One over Pillow's pixel limit is refused, not only warned of."""
    try:
        with Image.open(path) as image:
            # Turning Pillow's warning into an error would change filters that all threads share.
            if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError(
                    f"{image.width} x {image.height} pixels could be a decompression bomb"
                )
            image.load()
            return image if mode in (None, image.mode) else image.convert(mode)
    except _UNREADABLE as error:
        raise SamplesError(f"{path}: cannot be read as an image ({error}); mend or remove it") from error
