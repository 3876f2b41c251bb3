"""Scores of single masks and what is said of blind ones, on figures that can be counted by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from autoprec.errors import SpecError
from autoprec.quality import METRICS, Survey, check_reference
from autoprec.quality._base import Logits
from autoprec.quality.scoring import alpha_mae, argmax_iou, label_iou, mask_iou
from autoprec.spec import QualitySection

LEVELS = SimpleNamespace(threshold=0.0, low=-9.0, high=9.0)


def planes(*rows: str) -> Logits:
    """A plane for each string of digits, a pixel each."""
    return np.array([[[float(digit) for digit in row]] for row in rows], np.float32)


def test_a_mask_s_score_is_what_both_have_of_what_either_has() -> None:
    first, second = planes("1100", "0000", "0000") - 0.5, planes("0110", "0000", "1111") - 0.5
    scores, pixels = mask_iou.score(first, second, LEVELS)
    assert scores.tolist() == pytest.approx([1 / 3, 1, 0])
    assert pixels.tolist() == [3, 0, 4]
    at_the_edge = mask_iou.score(planes("01"), planes("01"), SimpleNamespace(threshold=1.0))[1]
    assert at_the_edge.tolist() == [0], "a pixel is mask above the threshold, not at it"


def test_a_class_that_neither_has_is_left_out() -> None:
    first = planes("1000", "0111", "0000", "0000")
    second = planes("1100", "0011", "0000", "0000")
    scores, pixels = argmax_iou.score(first, second, LEVELS)
    assert scores.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert pixels.tolist() == [2, 3]
    assert argmax_iou.overlap(first.argmax(axis=0), second.argmax(axis=0), 4)[0].tolist()[2:] == [1, 1]


def test_labels_are_compared_class_by_class_whatever_their_numbers() -> None:
    classes, scores, pixels = label_iou.overlap(np.array([7, 7, 200, 9]), np.array([7, 9, 200, 9]))
    assert classes.tolist() == [7, 9, 200]
    assert scores.tolist() == pytest.approx([1 / 2, 1 / 2, 1])
    assert pixels.tolist() == [2, 2, 1]
    assert label_iou.labels_of(planes("12") + 0.4).tolist() == [1, 2]


def test_every_pixel_of_a_broken_map_may_be_a_class_of_its_own() -> None:
    broken = np.arange(1 << 17, dtype=np.float32).reshape(1, 256, -1) * 1e6
    scores, pixels = label_iou.score(np.zeros_like(broken), broken, LEVELS)
    assert len(scores) == len(pixels) < 1 << 17
    assert scores.max() < 1e-3


def test_opacities_differ_by_their_mean_distance() -> None:
    matte = SimpleNamespace(threshold=0.0, low=-0.25, high=1.25)
    scores, pixels = alpha_mae.score(planes("1100"), planes("1001") * 2, matte)
    assert (scores.tolist(), pixels.tolist()) == ([0.5], [4])
    for low, high in ((-0.26, 1.0), (0.0, 1.26)):
        assert not alpha_mae.is_matte((low, high))
    sigmoid = alpha_mae.opacity(np.array([[[-200.0, 0.0, 200.0]]], np.float32), (-200, 200))
    assert sigmoid.ravel().tolist() == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize("survey", [None, Survey.of(planes("0003"), 0.0)])
def test_a_map_of_classes_is_shown_with_a_plane_for_each(survey: Survey | None) -> None:
    metric = METRICS["label_iou"](0.0, survey)
    shown = metric.opacity(planes("0020"))
    assert shown.shape == (4 if survey else 3, 1, 4)
    assert shown[2].tolist() == [[0, 0, 1, 0]]
    assert METRICS["label_iou"](0.0).opacity(planes("0000")).shape == (1, 1, 4)
    broken = np.array([[[0.0, 1e9]]], np.float32)
    assert METRICS["label_iou"](0.0).opacity(broken).shape == (1025, 1, 2), (
        "no plane for each number up to 1e9"
    )
    assert METRICS["argmax_iou"](0.0).opacity(planes("10", "01")).tolist() == [[[1, 0]], [[0, 1]]]


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([-np.ones((1, 8, 8))], "the only mask of the reference is empty at"),
        ([-np.ones((2, 8, 8))], "all 2 masks of the reference are empty at"),
        ([np.ones((1, 8, 8))] * 3, "all 3 masks of the reference are full at"),
        ([np.ones((1, 8, 8)), -np.ones((1, 8, 8))], "all 2 masks of the reference are empty or full at"),
    ],
)
def test_masks_without_an_edge_are_counted_in_words(samples: list[Any], says: str) -> None:
    survey = Survey(0.0)
    for sample in samples:
        survey.add(sample.astype(np.float32))
    with pytest.raises(SpecError, match=says):
        check_reference(QualitySection(), survey)


def test_a_survey_counts_what_it_was_shown() -> None:
    survey = Survey(0.5)
    survey.add(planes("0101", "1111", "0000"))
    survey.add(planes("0203"))
    assert (survey.samples, survey.masks, survey.full, survey.empty) == (2, 4, 1, 1)
    assert (survey.ends, survey.fewest_planes, survey.range) == ((0, 3), 1, "from 0 to 3")
    assert (survey.is_labels, survey.is_two_valued, survey.is_unit, survey.is_matte) == (
        True,
        False,
        False,
        False,
    )
    halves = Survey.of(planes("01") * np.float32(0.5), 0.0)
    assert (halves.is_labels, halves.is_two_valued, halves.is_unit, halves.is_matte) == (
        False,
        False,
        True,
        True,
    )
    assert halves.span == 0.5
    assert Survey.of(planes("09"), 0.0).span == pytest.approx(0.5, abs=1e-3), "opacities of logits"
