"""IoU of each class between two label maps."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from autoprec.quality._base import ratio
from autoprec.quality._summary import weights

Labels = NDArray[np.integer[Any]]


class ClassScores(NamedTuple):
    """For each class: its IoU, its pixels in either map, and how much it counts."""

    iou: NDArray[np.float64]
    union: NDArray[np.int64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, first: Labels, second: Labels, classes: int, small: float) -> Self:
        """Of two maps [h, w] of the classes 0 to `classes` - 1; below the share `small` a class counts
        less.

        Args:
            first: integers [h, w].
            second: integers [h, w].
            classes: how many there are.
            small: share of the pixels from which on a class counts in full; 0 for any.
        """
        pairs = first.astype(np.int64) * classes + second
        table = np.bincount(pairs.ravel(), minlength=classes**2).reshape(classes, classes)
        union: NDArray[np.int64] = table.sum(axis=0) + table.sum(axis=1) - table.diagonal()
        return cls(ratio(table.diagonal(), union), union, weights(union, first.shape, small))
