"""IoU of each class of a label map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MOST_CLASSES = 1 << 31
"""A larger number is no class: what a broken engine puts out."""


def score(
    reference: NDArray[np.float32],
    candidate: NDArray[np.float32],
    _levels: object,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """IoU of each class that either map has, and its pixels in either: float64 and int64 [classes], in the
    order of the classes.
    """
    return overlap(labels_of(reference), labels_of(candidate))[1:]


def labels_of(planes: NDArray[np.float32]) -> NDArray[np.int64]:
    """The nearest whole numbers, in a row."""
    return np.rint(np.clip(planes, -_MOST_CLASSES, _MOST_CLASSES)).astype(np.int64).ravel()


def overlap(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """The classes, their IoU, and the pixels that have them in either row of labels."""
    # A table of pairs would grow with the square of what a broken engine takes for classes.
    classes, inverse = np.unique(np.stack([first, second]), return_inverse=True)
    rows = inverse.reshape(2, -1)
    both, *alone = (np.bincount(row, minlength=len(classes)) for row in (rows[0][rows[0] == rows[1]], *rows))
    union = sum(alone) - both
    return classes, both / union, union
