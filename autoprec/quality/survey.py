"""What the reference's masks are like, gathered before anything is scored by them.

A metric that is fed the wrong thing (probabilities cut at 0, a label map, rows of boxes) sees no damage and
reports a loss of zero. So each metric says, from a survey of the reference, why it would be blind.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from autoprec.quality.scoring.alpha_mae import is_matte

Planes = NDArray[np.float32]

MOST_LABELS = 1024
"""Whole numbers above this are no classes."""
_FULL = 0.999
"""A mask over more of its plane than this has no edge."""


class Survey:
    """Facts about planes of mask values [masks, h, w], over as many samples as were added.

    Args:
        threshold: value above which a pixel is mask.
    """

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self.samples = self.masks = self.full = self.empty = 0
        self.low, self.high = math.inf, -math.inf
        self.fewest_planes = 0
        self.has_ties = False
        """Whether planes of two values are both the largest somewhere, as masks that overlap."""
        self.winners: set[int] = set()
        """Planes that are the largest somewhere; no more than two are looked for."""
        self._values: set[float] | None = set()

    @classmethod
    def of(cls, planes: Planes, threshold: float) -> Survey:
        """A survey of one sample alone."""
        survey = cls(threshold)
        survey.add(planes)
        return survey

    def add(self, planes: Planes) -> None:
        """Add one sample's values [masks, h, w]; NaN is not counted."""
        count, pixels = len(planes), planes[0].size if len(planes) else 0
        self.samples += 1
        self.masks += count
        self.fewest_planes = min(count, self.fewest_planes or count)
        if not count or not pixels:
            return
        # NaN is refused by name where masks are scored; here it must not hide what the other values are.
        self.low = min(self.low, float(np.nanmin(planes)))
        self.high = max(self.high, float(np.nanmax(planes)))
        for plane in planes:
            inside = np.count_nonzero(plane > self.threshold)
            self.full += bool(inside > _FULL * pixels)
            self.empty += bool(inside == 0)
        if len(self.winners) < 2:
            self.winners |= set(np.unique(planes.argmax(axis=0))[:2].tolist())
        self._values = _whole(planes, self._values)
        # Logits tie by chance, if ever; only of masks that are cut does a tie say that they overlap.
        if count > 1 and self.is_two_valued and not self.has_ties:
            self.has_ties = bool(np.any(np.count_nonzero(planes == planes.max(axis=0), axis=0) > 1))

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.low, self.high

    @property
    def is_labels(self) -> bool:
        """Whether all values are whole numbers, as of a label map with three classes or more."""
        return self._values is not None and len(self._values) > 2 and self.low >= 0

    @property
    def is_two_valued(self) -> bool:
        """Whether every pixel has one of two whole values, as a mask that is cut already."""
        return self._values is not None and len(self._values) <= 2

    @property
    def is_unit(self) -> bool:
        """Whether all values are from 0 to 1, as probabilities."""
        return self.low >= 0 and self.high <= 1

    @property
    def is_matte(self) -> bool:
        """Whether the values are opacities rather than their logits."""
        return is_matte(self.ends)

    @property
    def span(self) -> float:
        """The span of opacities, which are mattes or the sigmoid of logits."""
        low, high = self.low, self.high
        if not self.is_matte:
            low, high = expit(low), expit(high)
        return float(high - low)

    @property
    def range(self) -> str:
        """The range of values, in words."""
        return f"from {self.low:.3g} to {self.high:.3g}"


def _whole(planes: Planes, values: set[float] | None) -> set[float] | None:
    """The different values so far while all of them are small whole numbers; None once one is not."""
    if values is None:
        return None
    first: NDArray[Any] = planes[:, :1]  # the first row of a plane of floats usually shows it
    for part in (first, planes):
        if not np.array_equal(part, np.rint(part)) or np.abs(part).max(initial=0) > MOST_LABELS:
            return None
    return values | set(np.unique(planes).tolist())
