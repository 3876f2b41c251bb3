"""Samples from a folder of images, with `prompts.json` and `masks/` beside them if there are any.

`prompts.json` maps an image's file name to its prompts, each an object of decoder inputs, in pixels of the
image: `{"000.jpg": [{"point_coords": [[x, y], [x, y]], "point_labels": [1, -1], "object": 3}]}`.
`masks/000.png` holds the label of every pixel; a prompt's truth is where the label is its `object`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoprec.errors import SamplesError
from autoprec.samples._base import Sample, digest_of
from autoprec.spec import SamplesSection

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_Prompts = dict[str, list[dict[str, Any]]]


class ImageSamples:
    """Images resized to the model's input, scaled to 0..1, normalised; float32 [1, channels, h, w]."""

    def __init__(
        self, folder: Path, section: SamplesSection, inputs: Mapping[str, Sequence[int]], limit: int | None
    ) -> None:
        self._section = section
        self._input, self._size = _image_input(section, inputs)
        images = folder / "images" if (folder / "images").is_dir() else folder
        self._images = sorted(path for path in images.iterdir() if path.suffix.lower() in _SUFFIXES)[:limit]
        if not self._images:
            raise SamplesError(f"{images}: holds no images (jpg, png, webp, bmp); put some there")
        self._masks = folder / "masks"
        self._prompts_file = folder / "prompts.json"
        self._prompts = self._read_prompts()

    @property
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
        resized = pixels.resize((width, height), Image.Resampling.BILINEAR)
        array = np.asarray(resized, np.float32).reshape(height, width, -1) / np.float32(255)
        mean, std = np.array(self._section.mean, np.float32), np.array(self._section.std, np.float32)
        array = ((array - mean) / std).astype(np.float32, copy=False)
        prompts = self._prompts.get(path.name, [])
        scale = np.array((width / pixels.width, height / pixels.height), np.float32)
        return Sample(
            name=path.name,
            inputs={self._input: np.ascontiguousarray(array.transpose(2, 0, 1)[None])},
            prompts=_stacked(path.name, prompts, scale),
            truth=self._truth(path, prompts),
        )

    def _mask_path(self, image: Path) -> Path:
        return self._masks / f"{image.stem}.png"

    def _truth(self, image: Path, prompts: Sequence[Mapping[str, Any]]) -> NDArray[np.bool_] | None:
        """bool [prompts, height, width], or None without labels for every prompt."""
        objects = [prompt.get("object") for prompt in prompts]
        if None in objects or not objects or not self._mask_path(image).exists():
            return None
        labels = np.asarray(_read(self._mask_path(image), "L"))
        return np.stack([labels == number for number in objects])

    def _read_prompts(self) -> _Prompts:
        if not self._prompts_file.exists():
            return {}
        try:
            found = msgspec.json.decode(self._prompts_file.read_bytes(), type=_Prompts)
        except (OSError, msgspec.MsgspecError) as error:
            raise SamplesError(
                f"{self._prompts_file}: is not a table of prompts by image: {error}"
            ) from error
        missing = [path.name for path in self._images if not found.get(path.name)]
        if missing:
            raise SamplesError(
                f"{self._prompts_file}: has no prompts for {missing[0]}; add some, or remove the image"
            )
        return found


def _image_input(section: SamplesSection, inputs: Mapping[str, Sequence[int]]) -> tuple[str, tuple[int, int]]:
    """Name of the image input, and (height, width)."""
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in inputs.items())
    name = section.input or next((name for name, shape in inputs.items() if len(shape) == 4), "")
    if name not in inputs:
        raise SamplesError(f"samples.input is {section.input!r}, but the model's inputs are: {listed}")
    shape = inputs[name]
    size = section.size or (tuple(shape[-2:]) if len(shape) == 4 else None)
    if size is None or len(shape) != 4 or tuple(shape) != (1, len(section.mean), *size):
        wanted = [1, len(section.mean), *(size or ("height", "width"))]
        raise SamplesError(
            f"the input {name!r} is {list(shape)}, but samples gives {wanted}: mend samples.size or mean"
        )
    return name, (int(size[0]), int(size[1]))


def _read(path: Path, mode: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise SamplesError(f"{path}: cannot be read as an image ({error}); mend or remove it") from error


def _stacked(
    name: str, prompts: Sequence[Mapping[str, Any]], scale: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Decoder inputs of all prompts, stacked; coordinates scaled to the model's input size."""
    keys = [key for key in (prompts[0] if prompts else {}) if key != "object"]
    try:
        arrays = {key: np.array([prompt[key] for prompt in prompts], np.float32) for key in keys}
    except (KeyError, TypeError, ValueError) as error:
        raise SamplesError(f"prompts.json: the prompts of {name} are not all alike ({error})") from error
    return {key: array * scale if key.endswith("coords") else array for key, array in arrays.items()}
