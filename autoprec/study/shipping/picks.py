"""Choosing the point of a front to export."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import numpy as np

from autoprec.errors import StudyError
from autoprec.records import Reference, TrialRecord

Pick = Literal["knee", "fastest"]
PICKS: tuple[Pick, ...] = ("knee", "fastest")


def choose(
    front: Sequence[TrialRecord], reference: Reference, *, pick: str = "knee", max_loss: float | None = None
) -> TrialRecord:
    """The knee of the front, or its fastest point; both within `max_loss`.

    The knee is the point farthest from the line between the front's ends, both axes scaled to 0..1 (Das,
    "On characterizing the knee of the Pareto curve", 1999). Nothing slower than the reference beyond its
    noise is chosen.

    Args:
        front: trials of the front.
        reference: what they are compared with.
        pick: `knee` or `fastest`.
        max_loss: the largest mask loss; None for any.

    Raises `StudyError` for an unknown pick, or when no point is fast and good enough.
    """
    if pick not in PICKS:
        raise StudyError(f"unknown pick {pick!r}; known: {', '.join(PICKS)}")
    if not front:
        raise StudyError(
            "the front is empty: every trial failed or took more memory than search.max_memory_mb"
        )
    slowest = reference.latency_ms * (1 + reference.latency_noise)
    fit = [point for point in front if point.latency_ms <= slowest]
    fit = [point for point in fit if max_loss is None or point.loss <= max_loss]
    if not fit:
        best = min((point.loss for point in front), default=float("nan"))
        within = "" if max_loss is None else f" within a loss of {max_loss:g} (its least is {best:.4f})"
        raise StudyError(
            f"the front has no point faster than the reference{within}; search further, or raise --max-loss"
        )
    # Two points have no knee between them.
    if pick == "fastest" or len(fit) < 3:
        return min(fit, key=lambda point: (point.latency_ms, point.loss))
    values = np.array([(point.latency_ms, point.loss) for point in fit])
    spread = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(spread > 0, spread, 1)
    # On axes scaled to 0..1 the line between the ends is x + y = 1, so the smallest sum is farthest below
    # it.
    return fit[int(np.argmin(scaled.sum(axis=1)))]


def picks(front: Sequence[TrialRecord], reference: Reference, accepted_loss: float) -> dict[str, TrialRecord]:
    """The points that `export` picks by name, if they exist: knee and fastest within the accepted loss."""
    chosen = {}
    for name, limit in (("knee", None), ("fastest", accepted_loss)):
        with suppress(StudyError):
            chosen[name] = choose(front, reference, pick=name, max_loss=limit)
    return chosen
