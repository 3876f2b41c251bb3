"""The interval of a loss is drawn anew from whole samples, the same way every time."""

from __future__ import annotations

import numpy as np
import pytest

from autoprec.quality import shape_refusal
from autoprec.quality._summary import Row, rows_of, summary

NONE = (np.full(2, np.nan), np.full(2, np.nan))


def rows(*samples: tuple[float, float]) -> list[Row]:
    """Samples of two masks, of these scores."""
    return [row for n, scores in enumerate(samples) for row in rows_of(f"{n}", np.array(scores), NONE)]


def test_samples_are_drawn_whole_and_with_the_same_seed() -> None:
    scores = [(1.0, 0.8), (0.9, 0.9), (0.5, 0.1), (0.7, 0.6), (0.95, 1.0)]
    means = np.array([1 - np.mean(pair) for pair in scores])
    drawn = means[np.random.default_rng(0).integers(5, size=(2000, 5))].mean(axis=1)
    interval = summary(rows(*scores), scored_as="x").loss_interval
    assert (interval.low, interval.high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))))
    assert interval.level == 0.95


def test_a_single_sample_has_no_spread_and_one_without_weight_no_loss() -> None:
    interval = summary(rows((0.5, 0.7)), scored_as="x").loss_interval
    assert interval.low == interval.high == pytest.approx(0.4)
    weightless = [*rows_of("a", np.array([0.0, 0.0]), NONE, weight=np.zeros(2))]
    quality = summary(weightless, scored_as="x")
    assert (quality.loss, quality.loss_interval.high, quality.miou) == (0.0, 0.0, None)


def test_height_and_width_are_told_in_this_order() -> None:
    told = shape_refusal("boxes", (1, 116, 8400), "nchw", (480, 640))
    assert "planes of 116 x 8400 are not masks of images of 480 x 640" in told
    assert not shape_refusal("masks", (1, 60, 160), "nchw", (480, 640)), "twice as wide is still a mask"
    assert shape_refusal("masks", (1, 60, 161), "nchw", (480, 640))
    assert not shape_refusal("masks", (1, 60, 160, 3), "nhwc", (480, 640))
    assert "planes of 60 x 161 are" in shape_refusal("masks", (1, 60, 161, 3), "nhwc", (480, 640))
    assert shape_refusal("masks", (1, 3, 5), "nchw", None), "fifteen pixels"
    assert not shape_refusal("masks", (1, 4, 4), "nchw", None)
