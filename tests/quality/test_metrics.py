"""Every metric keeps the promises of `Metric`; mask IoU has the figures that its sources define."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from autoprec.errors import SamplesError, SpecError, TrialError
from autoprec.quality import METRICS, Metric, create_metric
from autoprec.quality._base import Logits, Masks
from autoprec.quality.mask_iou import MaskIou, _boundary
from autoprec.spec import QualitySection

SIZE = 48


def discs(seed: int, count: int = 3) -> Logits:
    """Logits of discs, positive inside."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    drawn = np.random.default_rng(seed).uniform(12, 36, (count, 2, 1, 1))
    logits: Logits = (9 - np.hypot(rows - drawn[:, 0], columns - drawn[:, 1])).astype(np.float32)
    return logits


def noisy(logits: Logits, level: float) -> Logits:
    noise = np.random.default_rng(9).standard_normal(logits.shape).astype(np.float32)
    return logits + np.float32(level) * noise


def block(top: int, left: int, height: int, width: int) -> Logits:
    logits = np.full((1, SIZE, SIZE), -1, np.float32)
    logits[0, top : top + height, left : left + width] = 1
    return logits


def fed(name: str, logits: Logits) -> Logits:
    """What a metric takes: logits, or how many of the masks cover a pixel for one of label maps."""
    return (logits > 0).sum(axis=0, keepdims=True).astype(np.float32) if name == "label_iou" else logits


@pytest.fixture(params=METRICS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def metric(name: str) -> Metric:
    return METRICS[name](0.0)


def test_identical_masks_lose_nothing(name: str, metric: Metric) -> None:
    for seed in range(4):
        metric.update(f"{seed}", fed(name, discs(seed)), fed(name, discs(seed)), None)
    quality = metric.result()
    assert (quality.loss, quality.worst_loss, quality.logit_error) == (0, 0, 0)
    assert quality.score == 1
    assert quality.miou == (1 if name.endswith("_iou") else None), "what is no IoU is not called so"
    assert quality.boundary_iou == (1 if name == "mask_iou" else None)
    assert (quality.truth_score, quality.carriers) == (None, 0)
    assert (quality.loss_interval.low, quality.loss_interval.high) == (0, 0)
    assert quality.samples == 4


def test_more_noise_loses_more(name: str) -> None:
    losses = []
    for level in (0, 1, 4, 16):
        metric = METRICS[name](0.0)
        metric.update("a", fed(name, discs(0)), fed(name, noisy(discs(0), level)), None)
        losses.append(metric.result().loss)
    assert all(less < more for less, more in pairwise(losses))


def test_masks_of_nothing_are_alike_and_what_is_lost_whole_is_a_loss(name: str) -> None:
    nothing = np.full((3, SIZE, SIZE), -1, np.float32)
    for reference, loses in ((nothing, False), (discs(0), True)):
        metric = METRICS[name](0.0)
        metric.update("a", fed(name, reference), fed(name, nothing), None)
        assert (metric.result().loss > 0) == loses


def test_the_order_of_samples_does_not_matter(name: str) -> None:
    forward, backward = METRICS[name](0.0), METRICS[name](0.0)
    for metric, seeds in ((forward, range(7)), (backward, reversed(range(7)))):
        for seed in seeds:
            logits = discs(seed, 2 + seed % 3)
            metric.update(f"{seed}", fed(name, logits), fed(name, noisy(logits, seed)), None)
    assert forward.result() == backward.result()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_are_refused_by_name(metric: Metric, value: float) -> None:
    broken = discs(0)
    broken[1, 3, 5] = value
    with pytest.raises(TrialError, match=r"mask logits of 007\.jpg") as caught:
        metric.update("007.jpg", discs(0), broken, None)
    assert caught.value.kind == "nan"


@pytest.mark.parametrize("value", [3e38, -3e38, 1e30])
def test_huge_logits_in_one_sample_are_scored_as_any_others(name: str, metric: Metric, value: float) -> None:
    for number in range(4):
        logits = discs(number)
        broken = logits.copy()
        if number == 2:
            broken[0, :4] = value
        metric.update(f"{number}", fed(name, logits), fed(name, broken), None)
    result = metric.result()
    assert 0 <= result.loss < 1
    assert result.logit_error is not None
    assert np.isfinite(result.logit_error)


def test_a_reference_without_numbers_is_blamed_itself(metric: Metric) -> None:
    with pytest.raises(TrialError, match=r"100\.0% of the reference's mask logits"):
        metric.update("a", np.full((1, 4, 4), np.nan, np.float32), np.zeros((1, 4, 4), np.float32), None)


def test_ground_truth_is_scored_at_its_own_size(name: str, metric: Metric) -> None:
    left = np.where(np.arange(SIZE) < SIZE // 2, 100, -100) * np.ones((SIZE, 1))
    logits = np.stack([left, -left]).astype(np.float32)
    truth = (logits > 0).repeat(2, axis=1).repeat(2, axis=2)
    masks = logits.argmax(axis=0)[None].astype(np.float32) if name == "label_iou" else logits
    metric.update("a", masks, masks, truth)
    assert metric.result().truth_score == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "label_iou"])
def test_a_truth_of_another_count_is_refused(metric: Metric) -> None:
    with pytest.raises(SamplesError, match=r"a\.jpg has 2 true masks, but the model gives 3"):
        metric.update("a.jpg", discs(0), discs(0), discs(0, 2) > 0)


def test_of_several_masks_for_a_prompt_the_best_is_held_to_the_truth() -> None:
    right, part, wrong = discs(0, 2), discs(1, 2), -discs(0, 2)
    answers = np.stack([wrong, right, part], axis=1).reshape(-1, *right.shape[1:])  # three for each prompt
    metric = MaskIou(0.0)
    metric.update("a.jpg", answers, answers, right > 0)
    assert metric.result().truth_score == 1
    with pytest.raises(SamplesError, match="has 4 true masks, but the model gives 6"):
        metric.update("b.jpg", answers, answers, discs(0, 4) > 0)


def test_no_mask_at_all_is_refused(metric: Metric) -> None:
    with pytest.raises(SamplesError, match="no mask to score"):
        metric.result()


def test_the_interval_holds_the_loss_and_narrows_with_samples(name: str) -> None:
    widths = []
    for count in (8, 128):
        metric = METRICS[name](0.0)
        for seed in range(count):
            logits = discs(seed)
            metric.update(f"{seed}", fed(name, logits), fed(name, noisy(logits, 4 * (seed % 4))), None)
        quality = metric.result()
        assert quality.loss_interval.low <= quality.loss <= quality.loss_interval.high
        widths.append(quality.loss_interval.high - quality.loss_interval.low)
    assert widths[1] < widths[0] / 2


def test_mask_iou_is_intersection_over_union() -> None:
    metric = METRICS["mask_iou"](0.0)
    metric.update("half", block(8, 8, 20, 20), block(8, 8, 10, 20), None)
    metric.update("empty", block(0, 0, 0, 0), block(0, 0, 0, 0), None)
    metric.update("missed", block(8, 8, 20, 20), block(30, 30, 9, 9), None)
    quality = metric.result()
    assert quality.miou == pytest.approx((0.5 + 0) / 2), "what is empty in both is set aside"
    assert [(score.sample, score.iou) for score in quality.worst] == [
        ("missed", 0),
        ("half", 0.5),
        ("empty", 1),
    ]
    assert quality.worst_loss == 1
    assert (quality.masks, quality.small_masks) == (3, 1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 7, 50), (2, 90, 60)])
def test_a_boundary_is_what_erosion_by_a_square_takes_away(shape: tuple[int, int, int]) -> None:
    masks = np.random.default_rng(2).random(shape) < 0.999
    masks[0] = True  # only the frame is its edge; the planes beside it must not fill it up
    reach = max(1, round(0.02 * math.hypot(*shape[1:])))
    square = np.ones((1, 2 * reach + 1, 2 * reach + 1), bool)
    np.testing.assert_array_equal(_boundary(masks), masks & ~binary_erosion(masks, square))


def test_boundary_iou_looks_at_the_rim_alone() -> None:
    metric = METRICS["mask_iou"](0.0)
    reach = round(0.02 * math.hypot(SIZE, SIZE))
    hollow = block(8, 8, 30, 30)
    hollow[0, 8 + reach : 38 - reach, 8 + reach : 38 - reach] = -1
    metric.update("hollow", block(8, 8, 30, 30), hollow, None)
    quality = metric.result()
    rim = 30**2 - (30 - 2 * reach) ** 2
    assert quality.boundary_iou == 1
    assert quality.miou == pytest.approx(rim / 900)


def test_the_threshold_decides_what_is_mask() -> None:
    metric = METRICS["mask_iou"](0.5)
    metric.update("a", block(8, 8, 4, 4), block(8, 8, 4, 4) * np.float32(0.4), None)
    assert metric.result().miou == 0


def test_masks_of_one_sample_count_one_by_one() -> None:
    metric = METRICS["mask_iou"](0.0)
    both: Logits = np.concatenate([block(8, 8, 4, 4), block(9, 9, 4, 4)])
    other: Logits = np.concatenate([block(8, 8, 4, 4), block(30, 30, 4, 4)])
    metric.update("a", both, other, None)
    metric.update("b", both[:1], both[:1], None)
    quality = metric.result()
    assert (quality.masks, quality.samples) == (3, 2)
    assert quality.miou == pytest.approx(2 / 3)


def test_argmax_iou_skips_classes_that_nobody_found() -> None:
    logits = np.zeros((4, 20, 40), np.float32)
    logits[0], logits[1, :, 20:] = 1, 2
    other = logits.copy()
    other[1, :, 30:] = 0
    metric = METRICS["argmax_iou"](0.0)
    metric.update("a", logits, other, None)
    quality = metric.result()
    assert quality.masks == 2
    assert quality.miou == pytest.approx((4 / 6 + 2 / 4) / 2)


def test_alpha_error_is_a_mean_difference_of_opacities() -> None:
    metric = METRICS["alpha_mae"](0.0)
    metric.update("a", np.zeros((1, 4, 4), np.float32), np.full((1, 4, 4), 50, np.float32), None)
    assert metric.result().loss == pytest.approx(0.5)


def test_truth_planes_are_compared_in_their_own_order() -> None:
    truth: Masks = np.concatenate([block(8, 8, 20, 20), block(8, 8, 10, 20)]) > 0
    logits: Logits = np.concatenate([block(8, 8, 20, 20), block(8, 8, 20, 20)])
    metric = METRICS["mask_iou"](0.0)
    metric.update("a", logits, logits, truth)
    assert metric.result().truth_miou == pytest.approx(0.75)


def own(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> NDArray[np.float64]:
    """A score such as a user writes; the first mask does not count."""
    alike: NDArray[np.float64] = ((reference > 0) == (candidate > 0)).mean(axis=(1, 2))
    alike[0] = np.nan
    return alike


def wrong(reference: NDArray[np.float32], _candidate: NDArray[np.float32]) -> NDArray[np.float32]:
    """Forgets to take the mean."""
    return reference


def test_a_score_of_the_users_own_is_a_metric() -> None:
    metric = create_metric(QualitySection(metric=f"{__name__}:own"))
    reference = np.ones((3, 4, 4), np.float32)
    candidate = reference.copy()
    candidate[1, :2] = -1  # half of the second
    metric.update("a", reference, candidate, None)
    quality = metric.result()
    assert quality.loss == pytest.approx(0.25)
    assert quality.masks == 2


def test_a_score_of_another_shape_is_refused() -> None:
    metric = create_metric(QualitySection(metric=f"{__name__}:wrong"))
    with pytest.raises(SpecError, match="one score for each of the 2 masks"):
        metric.update("a", np.ones((2, 4, 4), np.float32), np.ones((2, 4, 4), np.float32), None)


def test_a_value_at_the_threshold_is_no_mask() -> None:
    metric = METRICS["mask_iou"](0.5)
    plane = np.array([[[0.5, 0.6], [0.5, 0.4]]], np.float32)
    assert metric.opacity(plane).tolist() == [[[0, 1], [0, 0]]]
    metric.update("a", plane, np.array([[[0.4, 0.6], [0.4, 0.4]]], np.float32), None)
    assert metric.result().miou == 1
