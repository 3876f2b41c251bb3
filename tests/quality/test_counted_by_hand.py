"""Figures of metrics and surveys that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autoprec.quality import METRICS, Survey
from autoprec.quality._base import constant, resized
from autoprec.quality._summary import rows_of, summary
from autoprec.quality.alpha_mae import AlphaError
from autoprec.quality.label_iou import LabelIou
from autoprec.quality.mask_iou import MaskIou
from autoprec.quality.planes import shape_refusal
from autoprec.quality.scoring import alpha_mae as scoring_alpha
from autoprec.quality.scoring.argmax_iou import score as scoring_argmax
from autoprec.quality.structure import structure_refusal
from autoprec.records import ModelOutput
from autoprec.spec import QualitySection


def plane(*rows: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """One plane of digits."""
    return np.array([[[float(digit) for digit in row] for row in rows]], np.float32)


def test_a_small_mask_counts_by_its_share_of_the_whole_plane() -> None:
    reference, candidate = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    reference[0, :2, :8] = candidate[0, :2, :8] = 1  # 16 of the 32 pixels that count in full
    reference[1], candidate[1, :4] = 1, 1
    metric = MaskIou(0.5, Survey.of(reference, 0.5), small=0.5)
    metric.update("a", reference, candidate, None)
    quality = metric.result()
    assert quality.miou == pytest.approx((0.5 * 1 + 1 * 0.5) / 1.5)
    assert quality.small_masks == 1


@pytest.mark.parametrize("name", ["argmax_iou", "label_iou"])
def test_a_small_class_counts_by_its_share_of_the_whole_plane(name: str) -> None:
    labels, other = np.zeros((8, 8), np.int64), np.zeros((8, 8), np.int64)
    labels[0], other[0, :4] = 1, 1  # 8 pixels in either
    planes = [(np.arange(2)[:, None, None] == grid).astype(np.float32) for grid in (labels, other)]
    maps = [grid[None].astype(np.float32) for grid in (labels, other)]
    metric = METRICS[name](0.0, small=0.5)
    first, second = planes if name == "argmax_iou" else maps
    metric.update("a", first, second, None)
    assert metric.result().loss == pytest.approx((1 * (1 - 56 / 60) + 0.25 * 0.5) / 1.25)


def test_classes_of_a_map_are_held_to_the_planes_that_the_truth_has() -> None:
    reference = plane("0122", "0122")
    truth = np.array([[[1, 0, 0, 0]], [[0, 1, 1, 1]]], bool)  # half as high, and no plane for class 2
    metric = LabelIou(0.0, Survey.of(reference, 0.0))
    metric.update("a", reference, reference, truth)
    quality = metric.result()
    assert quality.truth_score == pytest.approx((1 * 2 + (1 / 3) * 2) / 4)
    assert [score.mask for score in quality.worst] == [0, 1, 2]


def test_a_true_plane_of_another_size_takes_the_nearest_labels() -> None:
    reference, truth = plane("01", "10"), np.zeros((2, 4, 6), bool)
    truth[0, :2, :3] = truth[0, 2:, 3:] = True
    truth[1] = ~truth[0]
    metric = LabelIou(0.0, Survey.of(reference, 0.0))
    metric.update("a", reference, reference, truth)
    assert metric.result().truth_score == 1


def test_the_raw_error_of_a_map_is_the_share_of_pixels_that_differ() -> None:
    metric = LabelIou(0.0)
    metric.update("a", plane("0011"), plane("0111"), None)
    # Each class differs in one pixel of four, and half of the reference's pixels are of each.
    assert metric.result().logit_error == pytest.approx(np.sqrt(0.25 / 0.25))


def test_classes_are_shown_up_to_the_largest_that_is_known() -> None:
    metric = LabelIou(0.0, Survey.of(plane("0003"), 0.0))
    assert metric.opacity(plane("0100")).shape == (4, 1, 4)
    assert metric.opacity(plane("0500")).shape == (6, 1, 4)


@pytest.mark.parametrize(
    ("values", "labels", "two", "unit"),
    [
        ("0 1 2", True, False, False),
        ("0 1 1", False, True, True),
        ("0 1 1024", True, False, False),
        ("0 1 1025", False, False, False),
        ("0 1 1.5", False, False, False),
        ("-1 0 1", False, False, False),
        ("0 0.5 1", False, False, True),
        ("0 255 255", False, True, False),
        ("0 0.25 1.5", False, False, False),
    ],
)
def test_a_survey_tells_labels_from_masks_and_probabilities(
    values: str, labels: bool, two: bool, unit: bool
) -> None:
    survey = Survey.of(np.array([[[float(word) for word in values.split()]] * 2], np.float32), 0.0)
    assert (survey.is_labels, survey.is_two_valued, survey.is_unit) == (labels, two, unit)
    later = Survey.of(plane("000", "000"), 0.0)
    later.add(np.array([[[0.0] * 3, [float(word) for word in values.split()]]], np.float32))
    assert (later.is_labels, later.is_two_valued) == (labels, two), "its first row shows nothing"


def test_a_survey_of_several_samples_remembers_all_of_them() -> None:
    survey = Survey(1.0)
    for sample in (
        plane("00", "00"),
        np.concatenate([plane("22", "22"), plane("01", "02")]),
        plane("11", "12"),
    ):
        survey.add(sample)
    assert (survey.samples, survey.masks, survey.empty, survey.full) == (3, 4, 1, 1)
    assert (survey.fewest_planes, survey.ends, survey.winners) == (1, (0.0, 2.0), {0})
    survey.add(np.zeros((0, 2, 2), np.float32))
    assert (survey.samples, survey.masks, survey.ends) == (4, 4, (0.0, 2.0))
    winners = Survey.of(np.concatenate([plane("0011"), plane("1100")]), 0.0)
    assert (winners.winners, winners.fewest_planes) == ({0, 1}, 2)
    assert Survey.of(np.array([[[np.nan, 3.0]]], np.float32), 0.0).ends == (3.0, 3.0)


def test_a_plane_is_full_beyond_999_pixels_of_a_thousand() -> None:
    almost = np.ones((1, 10, 100), np.float32)
    almost[0, 0, 0] = 0
    assert Survey.of(almost, 0.5).full == 0
    assert Survey.of(np.ones((1, 10, 100), np.float32), 0.5).full == 1


@pytest.mark.parametrize(
    ("metric", "values", "says"),
    [
        ("mask_iou", "0 5", ""),
        ("mask_iou", "5 5", "the same value in all 1 samples"),
        ("label_iou", "5 5", "the same class in all 1 samples"),
        ("argmax_iou", "0 5", "the same class in all 1 samples"),
        ("alpha_mae", "0.5 0.55", "all opacities lie within 0.05"),
        ("alpha_mae", "0.5 0.65", ""),
        ("alpha_mae", "-3 3", ""),
        ("alpha_mae", "50 60", "all opacities lie within"),
    ],
)
def test_a_reference_that_never_changes_shows_no_damage(metric: str, values: str, says: str) -> None:
    survey = Survey.of(np.array([[[float(word) for word in values.split()]]], np.float32), 0.0)
    told = constant(metric, survey)
    assert says in told if says else told == ""


def test_true_masks_of_any_shape_are_met_by_resized_logits() -> None:
    logits = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
    assert resized(logits, (2, 4)) is logits
    wide = resized(logits, (6, 8))
    assert wide.shape == (1, 6, 8)
    assert (wide[0, 0, 0], wide[0, -1, -1]) == (0, 7)
    assert np.all(np.diff(wide[0], axis=1) >= 0)


def test_mattes_are_clipped_and_logits_go_through_the_sigmoid() -> None:
    values = np.array([[[-0.2, 0.5, 1.2]]], np.float32)
    assert scoring_alpha.opacity(values, (-0.2, 1.2)).ravel().tolist() == [0, 0.5, 1]
    assert scoring_alpha.opacity(values, (-0.2, 1.3)).ravel().tolist() == pytest.approx(
        [0.4502, 0.6225, 0.7685], abs=1e-4
    )
    metric = METRICS["alpha_mae"](0.0, Survey.of(plane("01"), 0.0))
    truth = np.array([[[False, True]]])
    metric.update("a", plane("01"), np.array([[[0.25, 1.0]]], np.float32), truth)
    quality = metric.result()
    assert (quality.loss, quality.truth_score, quality.miou) == pytest.approx((0.125, 0.875, None))


def test_an_interval_is_that_of_whole_samples_drawn_again() -> None:
    none = (np.full(1, np.nan), np.full(1, np.nan))
    rows = [row for n in range(400) for row in rows_of(f"{n:03}", np.array([float(n % 2)]), none)]
    quality = summary(rows, scored_as="x")
    width = 1.96 * np.sqrt(0.25 / 400)
    assert quality.loss_interval.low == pytest.approx(0.5 - width, abs=0.003)
    assert quality.loss_interval.high == pytest.approx(0.5 + width, abs=0.003)
    whole = [
        row
        for n in range(20)
        for row in rows_of(f"{n:03}", np.full(20, float(n % 2)), (np.full(20, 1.0), np.full(20, 4.0)))
    ]
    clustered = summary(whole, scored_as="x")
    assert clustered.loss_interval.high - 0.5 > 3 * width, "masks of one image go together"
    assert (clustered.masks, clustered.samples, clustered.logit_error) == (400, 20, 0.5)


def test_masks_that_are_all_set_aside_lose_nothing() -> None:
    none = (np.full(1, np.nan), np.full(1, np.nan))
    quality = summary(rows_of("a", np.array([0.0]), none, weight=np.zeros(1)), scored_as="x", is_iou=False)
    assert (quality.loss, quality.worst_loss, quality.miou, quality.logit_error) == (0.0, 0.0, None, None)
    assert (quality.worst[0].iou, quality.worst[0].score, quality.loss_interval.high) == (None, 0.0, 0.0)


def test_a_mask_that_is_set_aside_is_no_loss_among_masks_that_are_alike() -> None:
    none = (np.full(40, np.nan), np.full(40, np.nan))
    rows = rows_of("a", np.ones(40), none, weight=np.array([0.0, 0.0, *np.ones(38)]))
    assert summary(rows, scored_as="x").worst_loss == 0


def test_a_flat_reference_has_its_error_as_it_is() -> None:
    rows = rows_of("a", np.array([0.5]), (np.array([9.0]), np.array([0.0])))
    assert summary(rows, scored_as="x").logit_error == 3.0


@pytest.mark.parametrize(
    ("shape", "frame", "is_last"),
    [([32, 32, 1], (32, 32), True), ([1, 32, 32, 3], (32, 32), True), ([2, 4, 1], (2, 4), False)],
)
def test_masks_that_come_last_are_told_from_what_is_none(
    shape: list[int], frame: tuple[int, int], is_last: bool
) -> None:
    assert ('pipeline.layout = "nhwc"' in shape_refusal("o", shape, "nchw", frame)) is is_last
    assert shape_refusal("o", [1, 3, 32, 32], "nchw", frame if frame[0] > 2 else None) == ""


@pytest.mark.parametrize(
    ("ending", "shape", "threshold", "way"),
    [
        ("Sigmoid", (1, 1, 8, 8), 0.0, "quality.threshold = 0.5"),
        ("Sigmoid", (1, 1, 8, 8), 0.5, ""),
        ("Softmax", (1, 5, 8, 8), 0.0, 'quality.metric = "argmax_iou"'),
        ("Softmax", (1, 1, 8, 8), 0.0, "quality.threshold = 0.5"),
        ("", (1, 1, 8, 8), 0.0, ""),
    ],
)
def test_the_last_operator_says_where_a_threshold_sees_nothing(
    ending: str, shape: tuple[int, ...], threshold: float, way: str
) -> None:
    output = ModelOutput(name="masks", shape=shape, ending=ending)
    told = structure_refusal(QualitySection(threshold=threshold), output, cuts=True)
    assert way in told if way else told == ""


def test_the_fewest_samples_that_carry_half_of_the_loss_are_the_worst_ones() -> None:
    none = (np.full(1, np.nan), np.full(1, np.nan))
    losses = (0.3, 0.1, 0.1, 0.3, 0.1, 0.1)
    rows = [row for n, loss in enumerate(losses) for row in rows_of(f"{n}", np.array([1 - loss]), none)]
    assert summary(rows, scored_as="x").carriers == 2


@pytest.mark.parametrize(
    ("ending", "metric", "is_refused"),
    [
        ("ArgMax", "argmax_iou", True),
        ("ArgMin", "alpha_mae", True),
        ("ArgMax", "label_iou", False),
        ("Conv", "argmax_iou", False),
        ("", "alpha_mae", False),
    ],
)
def test_a_map_of_classes_is_refused_where_planes_are_scored(
    ending: str, metric: str, is_refused: bool
) -> None:
    output = ModelOutput(name="masks", shape=(1, 1, 8, 8), ending=ending)
    told = structure_refusal(QualitySection(metric=metric), output, cuts=False)
    assert ("label_iou" in told) == is_refused == bool(told)


def test_logits_of_which_few_are_negative_are_no_pixels() -> None:
    logits = np.linspace(-0.5, 300, 64, dtype=np.float32).reshape(1, 8, 8)
    assert AlphaError.refusal(Survey.of(logits, 0.0)) == ""
    assert "values" in AlphaError.refusal(Survey.of(np.abs(logits), 0.0))


def test_a_class_of_one_pixel_counts() -> None:
    planes = np.eye(2, dtype=np.float32)[np.array([[0, 0], [0, 1]])].transpose(2, 0, 1)
    scores, weights = scoring_argmax(planes, planes, None)
    assert scores.tolist() == [1.0, 1.0]
    assert weights.tolist() == [3, 1]
