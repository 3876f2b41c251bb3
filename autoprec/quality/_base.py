"""What a metric promises, and what all metrics share: the check of their arguments, and resizing."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoprec.errors import SamplesError, SpecError, TrialError
from autoprec.quality.survey import Survey
from autoprec.records import Quality
from autoprec.spec import SMALL_MASK

Logits = NDArray[np.float32]
Masks = NDArray[np.bool_]


class Metric(Protocol):
    """Takes samples one by one, in any order; made for one candidate.

    Made from the definition's threshold, a survey of the whole reference, and the share of the
    plane below which a mask counts less; without a survey, each sample's
    reference is taken for all there is.
    """

    def update(self, sample: str, reference: Logits, candidate: Logits, truth: Masks | None) -> None:
        """Score one sample: logits float32 [masks, h, w]; truth bool [masks, H, W] or None.

        Args:
            sample: its name.
            reference: logits float32 [masks, h, w].
            candidate: the same of the candidate.
            truth: bool [masks, H, W], at any size; None where there is none.

        Raises `TrialError("nan", ...)` for NaN or infinite logits, `SamplesError` for a truth that has
        another number of masks, `SpecError` for values that the metric cannot judge.
        """

    def result(self) -> Quality:
        """The score of all samples so far. Raises `SamplesError` if there was no mask."""

    def opacity(self, logits: Logits) -> NDArray[np.float32]:
        """What people see of logits [masks, h, w]: float32 0..1 of the same shape."""

    @staticmethod
    def refusal(survey: Survey) -> str:
        """Why the metric would see no damage in such masks, and the key to change; "" if it would.

        Holds for a single sample as for a whole set.
        """


class Maker(Protocol):
    """Makes a metric from the definition's threshold, a survey of the reference, and `small_mask`."""

    def __call__(
        self, threshold: float, survey: Survey | None = None, small: float = SMALL_MASK
    ) -> Metric: ...


@runtime_checkable
class JudgesCut(Protocol):
    """A metric that also scores masks already cut, without their logits."""

    @property
    def cuts_above(self) -> float:
        """Values above this are mask."""

    def update_cut(self, sample: str, reference: Logits, masks: Masks) -> None:
        """Score one sample's masks: the reference's logits float32 and the candidate's masks bool, both
        [masks, h, w]. Raises as `Metric.update` does."""


def refuse(words: str) -> None:
    """Raise `SpecError` if there is a refusal."""
    if words:
        raise SpecError(words)


_LEAST_SPAN = 0.1
"""Opacities of a whole set that lie closer together than this show no picture."""


def empty_or_full(survey: Survey) -> str:
    """A refusal if the reference has no mask with an edge; "" otherwise. For a whole set of samples."""
    if survey.full + survey.empty < survey.masks:
        return ""
    kind = (
        "empty"
        if survey.empty == survey.masks
        else "full"
        if survey.full == survey.masks
        else "empty or full"
    )
    which = f"all {survey.masks} masks" if survey.masks > 1 else "the only mask"
    return (
        f"{which} of the reference are {kind} at quality.threshold {survey.threshold:g} (values "
        f"{survey.range}), so no damage would be seen: set quality.threshold, pipeline.output, or the "
        "samples' preprocessing"
    ).replace("the only mask of the reference are", "the only mask of the reference is")


def constant(metric: str, survey: Survey) -> str:
    """A refusal if the reference never, or hardly, changes from pixel to pixel; "" otherwise. For a whole set
    of samples."""
    if metric == "alpha_mae" and survey.low < survey.high and survey.span < _LEAST_SPAN:
        return (
            f"alpha_mae would see no damage: of the values {survey.range}, all opacities lie within "
            f"{survey.span:.2g}: set pipeline.output, or quality.metric to a function of your own"
        )
    is_one_class = metric == "argmax_iou" and len(survey.winners) < 2
    if not is_one_class and survey.low < survey.high:
        return ""
    same = "the same class" if metric in ("argmax_iou", "label_iou") else "the same value"
    return (
        f"every pixel of the reference has {same} in all {survey.samples} samples, so no damage would be "
        "seen: set pipeline.output, the samples' preprocessing, or name other samples"
    )


def check(
    sample: str, reference: Logits, candidate: Logits, truth: Masks | None, *, several: bool = False
) -> None:
    """Check the arguments of every metric's `update`, and raise as it says.

    Args:
        sample: its name, for messages.
        reference: logits float32 [masks, h, w].
        candidate: the same of the candidate.
        truth: bool [masks, H, W], or None.
        several: whether there may be as many masks of each true one: see `Sample.truth_for`.
    """
    for owner, logits in (("the reference's ", reference), ("", candidate)):
        finite = np.isfinite(logits)
        if not finite.all():
            raise TrialError(
                "nan", f"{1 - finite.mean():.1%} of {owner}mask logits of {sample} are NaN or infinite"
            )
    if truth is None:
        return
    # SAM's decoder gives several masks for a prompt, of which the best counts: as many for each true one.
    fits = len(truth) and len(candidate) % len(truth) == 0 if several else len(candidate) == len(truth)
    if not fits:
        raise SamplesError(
            f"{sample} has {len(truth)} true masks, but the model gives {len(candidate)}: "
            "fix its prompts, or remove the true masks"
        )


def resized(logits: Logits, size: tuple[int, ...]) -> Logits:
    """Logits resized bilinearly to (height, width), pixel centres at one half."""
    if logits.shape[-2:] == size:
        return logits
    # One plane at a time: Pillow has no image of several float channels. Where it shrinks one, its filter
    # widens, unlike that of torch's interpolate, which would skip pixels.
    planes = (
        Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling.BILINEAR) for plane in logits
    )
    return np.stack([np.asarray(plane) for plane in planes])
