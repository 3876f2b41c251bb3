"""`prompts.json`: the prompts of each image.

It maps an image's file name to its prompts, each an object of decoder inputs, in pixels of the image:
`{"000.jpg": [{"point_coords": [[x, y], [x, y]], "point_labels": [1, -1], "object": 3}]}`. Every key but
`object` becomes an array of that name.
"""

from __future__ import annotations

import codecs
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from autoprec.errors import SamplesError, exhausted
from autoprec.files import read_small
from autoprec.reading.prompts import PAIRS

Prompts = list[dict[str, Any]]


def read_prompts(path: Path, asked: Sequence[str], images: Container[str]) -> dict[str, Prompts]:
    """Prompts by image name; empty without the file.

    Raises `SamplesError` if the file is malformed, lacks prompts for an image in `asked`, or has some for an
    image that is not in `images`.
    """
    if not path.exists():
        return {}
    try:
        data = read_small(path)
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise SamplesError(f"{path}: is in UTF-16; save it in UTF-8")
        # Windows' editors begin UTF-8 with a mark.
        by_image = msgspec.json.decode(data.removeprefix(codecs.BOM_UTF8), type=dict[str, Prompts])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise SamplesError(f"{path}: is not a table of prompts by image, in UTF-8: {error}") from error
    except OSError as error:
        said = exhausted(error) or f"cannot be read ({error.strerror}); fix or remove it"
        raise SamplesError(f"{path}: {said}") from error
    strange = [name for name in by_image if name not in images]
    if strange:
        raise SamplesError(
            f"{path}: has prompts for {strange[0]!r}, which is not there; add the image or fix the name"
        )
    bare = [name for name in asked if not by_image.get(name)]
    if bare:
        raise SamplesError(f"{path}: has no prompts for {bare[0]}; add some, or remove the image")
    for name, prompts in by_image.items():
        objects = [prompt["object"] for prompt in prompts if "object" in prompt]
        if not all(isinstance(number, int) for number in objects):
            raise SamplesError(f"{path}: an 'object' of {name} is not a whole number")
    return by_image


def objects_of(prompts: Prompts) -> list[int] | None:
    """Each prompt's label in the mask image; None if a prompt has none, or if there is no prompt."""
    objects = [prompt["object"] for prompt in prompts if "object" in prompt]
    return objects if objects and len(objects) == len(prompts) else None


def is_outside(prompts: Prompts, size: tuple[int, int]) -> bool:
    """Whether the pairs (x, y) of prompts cannot be meant in pixels of an image of (width, height)."""
    told = [value for prompt in prompts for key, value in prompt.items() if key.endswith(PAIRS)]
    try:
        pairs = [np.array(value, np.float64).reshape(-1, 2) for value in told]
    except (TypeError, ValueError, OverflowError):
        return False  # refused, with its name, when the prompt is read
    if not pairs:
        return False
    values = np.concatenate(pairs)
    # None beyond the first pixel: they are shares of the image. Far outside: they are for another size.
    is_share = values.max(initial=0) <= 1 < min(size) - 1
    # A pixel beyond is no mistake: a box may end at the width itself.
    return bool(is_share or (values < -1).any() or (values > np.array(size) + 1).any())
