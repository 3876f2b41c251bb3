"""What a metric promises, and what all of them share: the NaN gate, intervals, the summary."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import TrialError
from autoprec.records import Interval, Quality, SampleScore

Logits = NDArray[np.float32]
Masks = NDArray[np.bool_]

_RESAMPLES = 1000
_WORST_SHARE = 0.05
_SHOWN = 10


class Metric(Protocol):
    """Takes samples one by one, in any order; made for one candidate with the definition's threshold."""

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample: logits float32 [masks, h, w]; truth bool [masks, H, W] or None.

        Raises `TrialError("nan", ...)` for NaN or infinity in the candidate's logits.
        """

    def result(self) -> Quality:
        """The score of all samples so far."""


class Row(NamedTuple):
    """One mask's scores; `logit_error` is its mean squared error, `logit_scale` the reference's variance."""

    sample: str
    mask: int
    score: float
    boundary: float
    truth: float
    logit_error: float
    logit_scale: float


def refuse_nan(sample: str, candidate: Logits) -> None:
    """The NaN gate of every trial."""
    if not np.isfinite(candidate).all():
        share = 1 - float(np.isfinite(candidate).mean())
        raise TrialError("nan", f"{share:.1%} of the mask logits of {sample} are NaN or infinite")


def logit_errors(reference: Logits, candidate: Logits) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean squared error and variance of the reference, for each mask: float32 [masks]."""
    difference = (candidate - reference).reshape(len(reference), -1)
    error: NDArray[np.float32] = np.einsum("mp,mp->m", difference, difference) / difference.shape[1]
    return error, reference.reshape(len(reference), -1).var(axis=1)


def summary(rows: list[Row]) -> Quality:
    """Means over masks; the interval is a bootstrap over samples (Efron and Tibshirani, 1993), seeded."""
    scores = np.array([row.score for row in rows])
    ordered = sorted(rows, key=lambda row: (row.score, row.sample, row.mask))
    worst = ordered[: max(1, round(len(rows) * _WORST_SHARE))]
    names = sorted({row.sample for row in rows})
    truths = np.array([row.truth for row in rows])
    scale = float(np.mean([row.logit_scale for row in rows]))
    error = float(np.mean([row.logit_error for row in rows]))
    return Quality(
        loss=1 - float(scores.mean()),
        loss_interval=_bootstrap([[1 - row.score for row in rows if row.sample == name] for name in names]),
        miou=float(scores.mean()),
        boundary_iou=float(np.mean([row.boundary for row in rows])),
        worst_loss=1 - float(np.mean([row.score for row in worst])),
        logit_error=float(np.sqrt(error / scale)) if scale > 0 else float(np.sqrt(error)),
        truth_miou=float(np.nanmean(truths)) if np.isfinite(truths).any() else None,
        samples=len(names),
        masks=len(rows),
        worst=tuple(SampleScore(sample=r.sample, mask=r.mask, iou=r.score) for r in ordered[:_SHOWN]),
    )


def _bootstrap(losses: list[list[float]]) -> Interval:
    """95 % interval of the mean loss: whole samples are drawn, since masks of one image go together."""
    sums = np.array([sum(group) for group in losses])
    counts = np.array([len(group) for group in losses])
    drawn = np.random.default_rng(0).integers(len(sums), size=(_RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(low=float(low), high=float(high))


def iou(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of bool [masks, h, w], float64 [masks]; 1 where both are empty."""
    axes = tuple(range(1, first.ndim))
    union = np.count_nonzero(first | second, axis=axes)
    both = np.count_nonzero(first & second, axis=axes)
    return np.where(union == 0, 1.0, both / np.maximum(union, 1))
