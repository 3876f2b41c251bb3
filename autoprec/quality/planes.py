"""From an output's array to planes of masks, and which shapes hold none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal["nchw", "nhwc"]
_FEWEST_PIXELS = 16
_MOST_SKEW = 2.0
"""How far a plane's height over width may be from the image's: masks keep the image's form, rows of boxes do
not."""


def planes_of(array: NDArray[Any], layout: Layout) -> NDArray[np.float32]:
    """Mask values float32 [masks, h, w] of an output [..., h, w], or [..., h, w, masks] for "nhwc"."""
    if layout == "nhwc":
        array = np.moveaxis(array, -1, -3)
    return array.reshape(-1, *array.shape[-2:]).astype(np.float32, copy=False)


def shape_refusal(
    output: str,
    shape: Sequence[int],
    layout: Layout,
    frame: tuple[int, int] | None,
    others: Sequence[str] = (),
) -> str:
    """Why an output of that shape holds no masks, and the key to change; "" if it may.

    Args:
        output: its name.
        shape: its sizes.
        layout: as the definition says.
        frame: (height, width) of the image that the masks belong to; None where there is no image, or masks
            have another size.
        others: other outputs' names and shapes, for the message.
    """
    told = f"the output {output!r} is {list(shape)}"
    own = ": set pipeline.output, or quality.metric to a function of your own"
    instead = f"; set pipeline.output to another one ({', '.join(others)})" if others else own
    if len(shape) < (3 if layout == "nhwc" else 2):
        return f"{told}, which holds no masks [..., height, width]{instead}"
    height, width = shape[-3:-1] if layout == "nhwc" else shape[-2:]
    if height * width < _FEWEST_PIXELS:
        if layout == "nchw" and _fits(shape, frame):
            return _other_layout(told)
        return f"{told}: planes of {height} x {width} are not masks{instead}"
    if frame is None or _skew(height / width, frame) <= _MOST_SKEW:
        return ""
    if layout == "nchw" and _fits(shape, frame):
        return _other_layout(told)
    return f"{told}: planes of {height} x {width} are not masks of images of {frame[0]} x {frame[1]}{instead}"


def _fits(shape: Sequence[int], frame: tuple[int, int] | None) -> bool:
    """Whether [..., h, w, masks] has the image's form."""
    return (
        frame is not None
        and len(shape) >= 3
        and shape[-3] * shape[-2] >= _FEWEST_PIXELS
        and _skew(shape[-3] / shape[-2], frame) <= _MOST_SKEW
    )


def _other_layout(told: str) -> str:
    return f'{told}, with the masks last: set pipeline.layout = "nhwc"'


def _skew(form: float, frame: tuple[int, int]) -> float:
    """The ratio of two aspect ratios, at least 1."""
    # Of forms, not of sizes: decoders give masks at a quarter of the image's size.
    ratio = form * frame[1] / frame[0]
    return max(ratio, 1 / ratio)
