"""`prompts.json`: what is asked of each image.

It maps an image's file name to its prompts, each an object of decoder inputs, in pixels of the image:
`{"000.jpg": [{"point_coords": [[x, y], [x, y]], "point_labels": [1, -1], "object": 3}]}`. Every key but
`object` becomes an array of that name, stacked over the image's prompts.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError

Prompts = list[dict[str, Any]]


def read_prompts(path: Path, asked: Sequence[str], known: Container[str]) -> dict[str, Prompts]:
    """Prompts by image; empty without the file.

    Raises `SamplesError` if it is malformed, an image in `asked` has none, or one is for an image that is
    not in `known`.
    """
    if not path.exists():
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, Prompts])
    except msgspec.MsgspecError as error:
        raise SamplesError(f"{path}: is not a table of prompts by image: {error}") from error
    strange = [name for name in found if name not in known]
    if strange:
        raise SamplesError(
            f"{path}: has prompts for {strange[0]}, which is not there; add the image or mend the name"
        )
    bare = [name for name in asked if not found.get(name)]
    if bare:
        raise SamplesError(f"{path}: has no prompts for {bare[0]}; add some, or remove the image")
    for name, prompts in found.items():
        objects = [prompt["object"] for prompt in prompts if "object" in prompt]
        if not all(isinstance(number, int) for number in objects):
            raise SamplesError(f"{path}: an 'object' of {name} is not a whole number")
    return found


def objects_of(prompts: Prompts) -> list[int] | None:
    """The label that each prompt means in the mask image; None if one does not say, or there is no prompt."""
    objects = [prompt["object"] for prompt in prompts if "object" in prompt]
    return objects if objects and len(objects) == len(prompts) else None


def stacked(
    path: Path, image: str, prompts: Prompts, scale: tuple[float, float]
) -> dict[str, NDArray[np.float32]]:
    """Decoder inputs of an image: float32 [prompts, ...], by name.

    Keys that end in `coords`, `box` or `boxes` hold x, y pairs, and come out in pixels of the model's input:
    `scale` is its (width, height) over the image's.
    """
    keys = [key for key in (prompts[0] if prompts else {}) if key != "object"]
    arrays: dict[str, NDArray[np.float32]] = {}
    for key in keys:
        where = f"{path}: {key!r} of {image}"
        try:
            with np.errstate(over="ignore"):  # refused below
                array = np.array([prompt[key] for prompt in prompts], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise SamplesError(
                f"{where} is not an array of numbers, of one shape in all its prompts"
            ) from error
        if not np.isfinite(array).all():
            raise SamplesError(f"{where} holds NaN or infinity; mend it")
        if key.endswith(("coords", "box", "boxes")):
            if array.ndim < 2 or array.shape[-1] % 2:
                raise SamplesError(f"{where} is not made of x, y pairs")
            array = (array.reshape(-1, 2) * np.array(scale, np.float32)).reshape(array.shape)
        arrays[key] = array
    return arrays
