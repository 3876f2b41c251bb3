"""From scores of single masks to one `Quality`: weights, means, intervals, and which samples carry the
loss."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError
from autoprec.records import Interval, Quality, SampleScore

Scores = NDArray[np.floating[Any]]

_RESAMPLES, _AT_ONCE = 2000, 100
_WORST_SHARE = 0.05
_SHOWN = 10
_TYPICAL = 3


class Row(NamedTuple):
    """One mask's scores, 1 is best; NaN where nothing is known.

    `logit_error` is a mean squared error, `logit_scale` the reference's variance. `weight`, 0 to 1, is how
    much the mask counts: see `weights`.
    """

    sample: str
    mask: int
    score: float
    boundary: float
    truth: float
    logit_error: float
    logit_scale: float
    weight: float


def rows_of(
    sample: str,
    scores: Scores,
    deviations: tuple[Scores, Scores],
    *,
    boundaries: Scores | None = None,
    truths: Scores | None = None,
    weight: Scores | None = None,
) -> Iterable[Row]:
    """Rows of one sample; all arrays have one element for each mask, None stands for not known.

    `deviations` are those of `deviations`; without `weight` every mask counts in full.

    Args:
        sample: its name.
        scores: 1 for masks that are alike.
        deviations: as `deviations` gives them.
        boundaries: scores of boundaries.
        truths: scores against the truth.
        weight: what each mask counts, 1 in full.
    """
    count = len(scores)
    unknown = np.full(count, np.nan)
    columns = (
        scores,
        unknown if boundaries is None else boundaries,
        unknown if truths is None else truths,
        *deviations,
        np.ones(count) if weight is None else weight,
    )
    for mask, figures in enumerate(zip(*columns, strict=True)):
        yield Row(sample, mask, *map(float, figures))


def deviations(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> tuple[Scores, Scores]:
    """Mean squared error of each plane, and the variance of the reference's."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors, scales = _deviations(reference, candidate)
    # Single floats serve, and are faster, but for logits of 1e19 and more.
    huge = ~np.isfinite(errors + scales)
    if huge.any():
        wide = (reference[huge].astype(np.float64), candidate[huge].astype(np.float64))
        errors, scales = errors.astype(np.float64), scales.astype(np.float64)
        errors[huge], scales[huge] = _deviations(*wide)
    return errors, scales


def _deviations(reference: NDArray[Any], candidate: NDArray[Any]) -> tuple[Scores, Scores]:
    # Not -1: of no masks at all, NumPy cannot tell how many pixels each has.
    form = len(reference), math.prod(reference.shape[1:])
    difference = (candidate - reference).reshape(form)
    errors = np.einsum("mp,mp->m", difference, difference) / form[1]
    return errors, reference.reshape(form).var(axis=1)


def weights(union: NDArray[np.int64], plane: Sequence[int], share: float) -> NDArray[np.float64]:
    """How much each mask counts, 0 to 1, from the pixels that it has in the reference or in the candidate.

    IoU over a handful of pixels is noise: below `share` of the plane [h, w], and below 16 pixels, a mask
    counts in proportion to its pixels; one that is empty in both is set aside. A share of 0 lets every mask
    count in full.
    """
    if share <= 0:
        return np.ones(len(union))
    return np.minimum(1.0, union / max(16.0, share * math.prod(plane)))


def summary(rows: Iterable[Row], *, scored_as: str, is_iou: bool = True) -> Quality:
    """Weighted means over masks; the same whatever the order in which samples came.

    Args:
        rows: of all masks.
        scored_as: what was compared, in a few words.
        is_iou: whether scores are intersections over unions: only then do fields of that name hold something.

    Raises `SamplesError` if there is no mask.
    """
    # By how much each takes from the mean, so that small masks do not crowd the worst; ties by name, for the
    # same list whatever order samples came in.
    ordered = sorted(rows, key=lambda row: (row.weight * (row.score - 1), row.sample, row.mask))
    if not ordered:
        raise SamplesError("there is no mask to score: give the evaluation images prompts")
    worst = ordered[: math.ceil(len(ordered) * _WORST_SHARE)]
    middle = max(0, (len(ordered) - _TYPICAL) // 2)
    score, truth = _mean(ordered, "score"), _mean(ordered, "truth")
    losses = _losses(ordered)
    return Quality(
        loss=_loss(score),
        loss_interval=_bootstrap(losses),
        miou=score if is_iou else None,
        boundary_iou=_mean(ordered, "boundary"),
        worst_loss=_loss(_mean(worst, "score")),
        logit_error=_logit_error(ordered),
        truth_miou=truth if is_iou else None,
        truth_score=truth,
        samples=len(losses),
        masks=len(ordered),
        small_masks=sum(row.weight < 1 for row in ordered),
        carriers=_carriers(losses[:, 0]),
        worst=_shown(ordered[:_SHOWN], is_iou=is_iou),
        typical=_shown(ordered[middle : middle + _TYPICAL], is_iou=is_iou),
        scored_as=scored_as,
    )


def _loss(score: float | None) -> float:
    """Masks of which none counts lose nothing."""
    return 1 - (1.0 if score is None else score)


def _logit_error(rows: Sequence[Row]) -> float | None:
    """Root of the mean squared error over the mean variance; of the masks whose logits are known."""
    errors = [(row.logit_error, row.logit_scale) for row in rows if not math.isnan(row.logit_error)]
    if not errors:
        return None
    error, scale = map(float, np.mean(errors, axis=0))
    # A reference without any variance has no scale to measure by.
    return math.sqrt(error / scale) if scale > 0 else math.sqrt(error)


def _mean(rows: Sequence[Row], name: str) -> float | None:
    """Weighted mean of what is known; None if nothing is, or no mask counts."""
    values = np.array([getattr(row, name) for row in rows])
    weight = np.array([row.weight for row in rows]) * ~np.isnan(values)
    total = weight.sum()
    # A weight of 0 alone would not do: 0 times NaN is NaN.
    return float((weight * np.nan_to_num(values)).sum() / total) if total > 0 else None


def _shown(rows: Iterable[Row], *, is_iou: bool) -> tuple[SampleScore, ...]:
    return tuple(
        SampleScore(sample=row.sample, mask=row.mask, score=row.score, iou=row.score if is_iou else None)
        for row in rows
    )


def _losses(rows: Iterable[Row]) -> NDArray[np.float64]:
    """(summed loss, summed weight) of each sample: float64 [samples, 2], by name."""
    # Sums, not means, so that a sample of many masks weighs what its masks do in the loss.
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        sums[row.sample][0] += row.weight * (1 - row.score)
        sums[row.sample][1] += row.weight
    return np.array([sums[name] for name in sorted(sums)])


def _carriers(losses: NDArray[np.float64]) -> int:
    """How many samples carry half of the loss: the fewest that together do; 0 without a loss."""
    total = losses.sum()
    if total <= 0:
        return 0
    return int(np.searchsorted(np.cumsum(np.sort(losses)[::-1]), total / 2) + 1)


def _bootstrap(losses: NDArray[np.float64]) -> Interval:
    """95 % percentile interval of the mean loss, seeded (Efron and Tibshirani, 1993, chapter 13).

    Whole samples are drawn, since the masks of one image go together.
    """
    count = len(losses)
    # The same draws each time: an interval that is computed again must not differ.
    random, means = np.random.default_rng(0), []
    for _ in range(_RESAMPLES // _AT_ONCE):  # all at once would take half a gigabyte for 10,000 samples
        drawn = losses[random.integers(count, size=(_AT_ONCE, count))].sum(axis=1)
        # A draw of nothing but masks that do not count has no weight to divide by, and no loss.
        means.append(drawn[:, 0] / np.where(drawn[:, 1] > 0, drawn[:, 1], 1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return Interval(low=float(low), high=float(high))
