"""From planes of pixels to the array that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .frame import Frame
from .placing import Placement, Resize

_LETTERBOX_GREY = 114 / 255
_WHOLE = 1e-6
"""A deviation as near as this to one over white feeds pixels as they are in the file, less a mean that is as
near to a whole number of them as `_SHIFT`."""
_SHIFT = 1e-3


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel, of values in 0..1, and how an image fills the frame."""

    mean: Sequence[float]
    std: Sequence[float]
    resize: Resize


def is_shifted(mean: float, std: float, white: float) -> bool:
    """Whether pixels are fed as they are in the file, but for a whole number: whole numbers stay whole for
    models that take bytes."""
    return abs(std * white - 1) < _WHOLE and abs(mean * white - round(mean * white)) < _SHIFT


def normalised(
    planes: Sequence[Image.Image], white: float, placement: Placement, frame: Frame, how: Normalisation
) -> NDArray[np.float32]:
    """Pixels divided by white, minus the mean, divided by the deviation, in the model's layout: float32
    [1, channels, h, w], or [1, h, w, channels].

    Plane by plane in place: a plane stays in the cache, and new arrays between the steps would each be
    memory that the system hands out again, which takes longer than the arithmetic.

    Args:
        planes: one for each channel, upright.
        white: the value of theirs that becomes 1.
        placement: of the image in the frame.
        frame: the model's input.
        how: the study's mean, deviation and way to fill the frame.
    """
    result = np.empty((1, frame.channels, *frame.size), np.float32)
    mean, std = np.array(how.mean, np.float32), np.array(how.std, np.float32)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    for number, plane in enumerate(planes):
        is_whole = is_shifted(float(mean[number]), float(std[number]), white)
        if not placement.is_full:
            empty = _LETTERBOX_GREY if how.resize == "letterbox" else mean[number]
            value = (empty - mean[number]) / std[number]
            result[0, number] = np.rint(value) if is_whole else value
        target = result[0, number, rows, columns]
        size = (placement.width, placement.height)
        fitted = plane if plane.size == size else plane.resize(size, Image.Resampling.BILINEAR)
        if is_whole:
            np.subtract(np.asarray(fitted), np.rint(mean[number] * white), out=target)
            continue
        np.divide(np.asarray(fitted), np.float32(white), out=target)
        target -= mean[number]
        target /= std[number]
    return result if frame.layout == "nchw" else np.ascontiguousarray(result.transpose(0, 2, 3, 1))
