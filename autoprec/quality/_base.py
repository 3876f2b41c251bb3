"""What a metric promises, and what all of them share: the NaN gate, rows, intervals, the summary."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoprec.errors import SamplesError, TrialError
from autoprec.records import Interval, Quality, SampleScore

Logits = NDArray[np.float32]
Masks = NDArray[np.bool_]
Scores = NDArray[np.floating[Any]]

_RESAMPLES, _AT_ONCE = 2000, 100
_WORST_SHARE = 0.05
_SHOWN = 10
_TYPICAL = 3


class Metric(Protocol):
    """Takes samples one by one, in any order; made for one candidate with the definition's threshold."""

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample: logits float32 [masks, h, w]; truth bool [masks, H, W] or None.

        Raises `TrialError("nan", ...)` for NaN or infinite logits, `SamplesError` for a truth that has
        another number of masks.
        """

    def result(self) -> Quality:
        """The score of all samples so far. Raises `SamplesError` if there was no mask."""

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """What people see of logits [masks, h, w]: float32 0..1 of the same shape."""


class Row(NamedTuple):
    """One mask's scores, 1 is best; `logit_error` is a mean squared error, `logit_scale` the reference's
    variance. `truth` is NaN where nothing is known."""

    sample: str
    mask: int
    score: float
    boundary: float
    truth: float
    logit_error: float
    logit_scale: float


def check(sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
    """The gate of every metric; see `Metric.update`."""
    for owner, logits in (("the reference's ", reference), ("", candidate)):
        finite = np.isfinite(logits)
        if not finite.all():
            raise TrialError(
                "nan", f"{1 - finite.mean():.1%} of {owner}mask logits of {sample} are NaN or infinite"
            )
    if truth is not None and len(truth) != len(candidate):
        raise SamplesError(
            f"{sample} has {len(truth)} true masks, but the model gives {len(candidate)}: "
            "mend its prompts, or remove the true masks"
        )


def rows_of(
    sample: str,
    reference: Logits,
    candidate: Logits,
    scores: Scores,
    boundaries: Scores,
    truths: Scores | None,
) -> Iterable[Row]:
    """Rows of one sample; all arrays have one element or plane for each mask."""
    count = len(reference)
    difference = (candidate - reference).reshape(count, -1)
    errors = np.einsum("mp,mp->m", difference, difference) / difference.shape[1]
    scales = reference.reshape(count, -1).var(axis=1)
    known = np.full(count, np.nan) if truths is None else truths
    for mask, figures in enumerate(zip(scores, boundaries, known, errors, scales, strict=True)):
        yield Row(sample, mask, *map(float, figures))


def iou(first: Masks, second: Masks) -> NDArray[np.float64]:
    """Intersection over union of bool [masks, h, w], float64 [masks]; 1 where both are empty."""
    both = _counts(first & second)
    return ratio(both, _counts(first) + _counts(second) - both)


def ratio(both: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU from pixel counts; 1 for an empty union."""
    return np.where(union == 0, 1.0, both / np.maximum(union, 1))


def resized(logits: Logits, size: tuple[int, ...]) -> Logits:
    """Logits resized bilinearly to (height, width), pixel centres at one half."""
    if logits.shape[-2:] == size:
        return logits
    planes = (
        Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR) for plane in logits
    )
    return np.stack([np.asarray(plane) for plane in planes])


def summary(rows: Iterable[Row]) -> Quality:
    """Means over masks; the same whatever the order in which samples came."""
    ordered = sorted(rows, key=lambda row: (row.score, row.sample, row.mask))
    if not ordered:
        raise SamplesError("there is no mask to score: give the evaluation images prompts")
    worst = ordered[: math.ceil(len(ordered) * _WORST_SHARE)]
    middle = max(0, (len(ordered) - _TYPICAL) // 2)
    scores = np.array([row.score for row in ordered])
    truths = np.array([row.truth for row in ordered if not math.isnan(row.truth)])
    error = float(np.mean([row.logit_error for row in ordered]))
    scale = float(np.mean([row.logit_scale for row in ordered]))
    return Quality(
        loss=1 - float(scores.mean()),
        loss_interval=_bootstrap(ordered),
        miou=float(scores.mean()),
        boundary_iou=float(np.mean([row.boundary for row in ordered])),
        worst_loss=1 - float(np.mean([row.score for row in worst])),
        logit_error=math.sqrt(error / scale) if scale > 0 else math.sqrt(error),
        truth_miou=float(truths.mean()) if len(truths) else None,
        samples=len({row.sample for row in ordered}),
        masks=len(ordered),
        worst=_shown(ordered[:_SHOWN]),
        typical=_shown(ordered[middle : middle + _TYPICAL]),
    )


def _shown(rows: Iterable[Row]) -> tuple[SampleScore, ...]:
    return tuple(SampleScore(sample=row.sample, mask=row.mask, iou=row.score) for row in rows)


def _bootstrap(rows: list[Row]) -> Interval:
    """95 % percentile interval of the mean loss, seeded (Efron and Tibshirani, 1993, chapter 13).

    Whole samples are drawn, since the masks of one image go together.
    """
    samples = {name: place for place, name in enumerate(sorted({row.sample for row in rows}))}
    sums, counts = np.zeros(len(samples)), np.zeros(len(samples))
    for row in rows:
        sums[samples[row.sample]] += 1 - row.score
        counts[samples[row.sample]] += 1
    random, means = np.random.default_rng(0), []
    for _ in range(_RESAMPLES // _AT_ONCE):  # all at once would take half a gigabyte for 10,000 samples
        drawn = random.integers(len(samples), size=(_AT_ONCE, len(samples)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return Interval(low=float(low), high=float(high))


def _counts(masks: Masks) -> NDArray[np.int64]:
    """Pixels in each mask; `count_nonzero` with an axis takes ten times as long."""
    return np.array([np.count_nonzero(mask) for mask in masks], np.int64)
