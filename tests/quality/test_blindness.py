"""A metric that would see no damage in what it is fed says so, and which key to change."""

from __future__ import annotations

import numpy as np
import pytest

from autoprec.errors import SpecError
from autoprec.quality import METRICS, Survey, check_reference, create_metric, shape_refusal
from autoprec.quality._base import Logits
from autoprec.spec import QualitySection

random = np.random.default_rng(0)
LABELS: Logits = random.integers(0, 5, (1, 32, 32)).astype(np.float32)
PROBABILITIES: Logits = random.uniform(0.01, 0.99, (1, 32, 32)).astype(np.float32)
LOGITS: Logits = random.normal(size=(3, 32, 32)).astype(np.float32)


def surveyed(*samples: Logits, threshold: float = 0.0) -> Survey:
    survey = Survey(threshold)
    for planes in samples:
        survey.add(planes)
    return survey


@pytest.mark.parametrize(
    ("metric", "reference", "key"),
    [
        ("mask_iou", LABELS, 'quality.metric = "label_iou"'),
        ("mask_iou", PROBABILITIES, "quality.threshold = 0.5"),
        ("mask_iou", np.rint(PROBABILITIES * 255), "quality.threshold within them"),
        ("mask_iou", PROBABILITIES * 255, "full at quality.threshold 0"),
        ("mask_iou", np.abs(LOGITS) + 1, "full at quality.threshold 0"),
        ("mask_iou", -np.abs(LOGITS) - 1, "empty at quality.threshold 0"),
        ("mask_iou", np.stack([LOGITS[0] ** 2 + 9, -(LOGITS[1] ** 2)]) - 1, "empty or full"),
        ("argmax_iou", LABELS, 'quality.metric = "label_iou"'),
        ("argmax_iou", LOGITS[:1], 'quality.metric = "mask_iou"'),
        ("argmax_iou", LOGITS + np.array([99, 0, 0])[:, None, None], "the same class"),
        ("argmax_iou", LOGITS > 0, 'quality.metric = "mask_iou" and quality.threshold = 0.5'),
        ("label_iou", LOGITS, 'quality.metric = "argmax_iou"'),
        ("label_iou", LOGITS[:1], 'quality.metric = "mask_iou"'),
        ("label_iou", np.full((1, 8, 8), 3, np.float32), "the same class"),
        ("alpha_mae", PROBABILITIES * 255, "mattes in 0..1 or their logits"),
        ("alpha_mae", np.full((1, 8, 8), 1, np.float32), "the same value"),
        ("alpha_mae", LABELS, 'quality.metric = "label_iou"'),
        ("alpha_mae", LOGITS + 50, "all opacities lie within"),
        ("alpha_mae", LOGITS - 50, "all opacities lie within"),
        ("alpha_mae", PROBABILITIES / 1000, "all opacities lie within"),
    ],
)
def test_what_hides_damage_is_refused_with_the_key_to_change(
    metric: str, reference: Logits, key: str
) -> None:
    with pytest.raises(SpecError, match=key) as caught:
        check_reference(QualitySection(metric=metric), surveyed(reference.astype(np.float32)))
    assert "\n" not in str(caught.value)


def test_one_plane_for_each_class_is_judged_though_it_is_cut() -> None:
    planes = (LOGITS.argmax(axis=0) == np.arange(3)[:, None, None]).astype(np.float32)
    check_reference(QualitySection(metric="argmax_iou"), surveyed(planes))


def test_a_threshold_below_the_first_class_sees_no_class_become_another() -> None:
    with pytest.raises(SpecError, match="label_iou"):
        check_reference(QualitySection(threshold=0.5), surveyed(LABELS, threshold=0.5))


@pytest.mark.parametrize(
    ("metric", "threshold", "reference"),
    [
        ("mask_iou", 0.0, LOGITS),
        ("mask_iou", 0.5, PROBABILITIES),
        ("mask_iou", 0.0, (PROBABILITIES > 0.5).astype(np.float32)),  # masks that are cut already
        ("mask_iou", 0.0, np.maximum(LOGITS, 0)),
        ("mask_iou", 127.5, np.rint(PROBABILITIES * 255)),
        ("argmax_iou", 0.0, LOGITS),
        ("label_iou", 0.0, LABELS),
        ("alpha_mae", 0.0, PROBABILITIES),
        ("alpha_mae", 0.0, LOGITS * 9),
    ],
)
def test_what_shows_damage_is_taken(metric: str, threshold: float, reference: Logits) -> None:
    section = QualitySection(metric=metric, threshold=threshold)
    empty = np.full_like(reference, reference.min())
    check_reference(section, surveyed(reference, empty, threshold=threshold))
    damaged = create_metric(section, surveyed(reference, threshold=threshold))
    damaged.update("a", reference, reference[:, ::-1].copy(), None)
    assert damaged.result().loss > 0.1


def test_a_single_sample_is_checked_where_the_whole_set_is_not_known() -> None:
    for name, planes in (("mask_iou", PROBABILITIES), ("argmax_iou", LABELS), ("label_iou", LOGITS)):
        with pytest.raises(SpecError):
            METRICS[name](0.0).update("a", planes, planes, None)


def test_mattes_are_compared_as_they_are_and_logits_by_their_sigmoid() -> None:
    matte = np.full((1, 32, 32), 0.9, np.float32)
    as_matte, as_logits = METRICS["alpha_mae"](0.0), METRICS["alpha_mae"](0.0, surveyed(LOGITS * 9))
    for metric in (as_matte, as_logits):
        metric.update("a", matte, matte - np.float32(0.4), None)
    assert as_matte.result().loss == pytest.approx(0.4)
    assert as_logits.result().loss == pytest.approx(1 / (1 + np.exp(-0.9)) - 1 / (1 + np.exp(-0.5)))
    assert "mattes" in as_matte.result().scored_as
    assert "logits" in as_logits.result().scored_as


def test_a_handful_of_pixels_counts_for_a_handful() -> None:
    large, dot = np.full((2, 1, 64, 64), -1, np.float32)
    large[:, :32] = 1
    dot[0, 0, :4] = 1
    metric = METRICS["mask_iou"](0.0)
    metric.update("large", large, large, None)
    metric.update("dot", dot, -np.ones_like(dot), None)
    quality = metric.result()
    assert quality.loss == pytest.approx(0.25 / 1.25), "four pixels of the sixteen that count in full"
    assert (quality.small_masks, quality.carriers, quality.samples) == (1, 1, 2)
    every = METRICS["mask_iou"](0.0, None, 0.0)
    every.update("large", large, large, None)
    every.update("dot", dot, -np.ones_like(dot), None)
    assert every.result().loss == 0.5


def test_a_mask_out_of_nothing_is_a_loss() -> None:
    nothing, much = np.full((1, 64, 64), -1, np.float32), np.ones((1, 64, 64), np.float32)
    metric = METRICS["mask_iou"](0.0)
    metric.update("a", nothing, much, None)
    assert metric.result().loss == 1


@pytest.mark.parametrize(
    ("shape", "frame", "says"),
    [
        ((1, 8, 16, 16), (32, 32), ""),
        ((1, 1, 64, 32), (128, 64), ""),
        ((16, 16), (32, 32), ""),
        ((1, 116, 8400), (640, 640), "not masks of images of 640 x 640; set pipeline.output .*output1"),
        ((1, 1, 100, 7), (300, 300), "pipeline.output"),
        ((1, 1000, 1, 1), (224, 224), "pipeline.output"),
        ((1000,), None, "holds no masks"),
        ((1, 512, 512, 21), (512, 512), 'pipeline.layout = "nhwc"'),
        ((1, 64, 64, 1), (64, 64), 'pipeline.layout = "nhwc"'),
        ((1, 8, 8, 1), (64, 64), 'pipeline.layout = "nhwc"'),
        ((1, 64, 128, 150), (256, 512), ""),  # either reading has the image's form
        ((1, 300, 6), None, ""),  # nothing to compare with
    ],
)
def test_shapes_that_hold_no_masks_are_refused(
    shape: tuple[int, ...], frame: tuple[int, int] | None, says: str
) -> None:
    refusal = shape_refusal("output0", shape, "nchw", frame, ["output1 [1, 32, 160, 160]"])
    assert bool(refusal) == bool(says)
    if says:
        with pytest.raises(SpecError, match=says):
            raise SpecError(refusal)
