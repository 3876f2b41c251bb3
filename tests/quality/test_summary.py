"""From scores of masks to one figure: weights, means, and which samples carry the loss."""

from __future__ import annotations

import numpy as np
import pytest

from autoprec.quality._summary import deviations, rows_of, summary, weights

NONE = (np.full(1, np.nan), np.full(1, np.nan))


def test_deviations_are_a_mean_squared_error_and_the_references_variance() -> None:
    reference = np.array([[[0, 2], [4, 6]], [[1, 1], [1, 1]]], np.float32)
    errors, scales = deviations(reference, reference + np.array([1, 3], np.float32)[:, None, None])
    assert errors.tolist() == [1, 9]
    assert scales.tolist() == [5, 0]


def test_logits_beyond_single_floats_have_a_finite_error() -> None:
    reference = np.full((1, 2, 2), 1e30, np.float32)
    errors, _ = deviations(reference, -reference)
    assert errors[0] == pytest.approx(4e60, rel=1e-6)


@pytest.mark.parametrize(
    ("pixels", "share", "weight"),
    [(0, 0.1, 0.0), (8, 0.1, 0.5), (16, 0.1, 1.0), (50, 1.0, 0.5), (100, 1.0, 1.0), (0, 0.0, 1.0)],
)
def test_a_mask_of_few_pixels_counts_in_proportion(pixels: int, share: float, weight: float) -> None:
    assert weights(np.array([pixels]), (10, 10), share).tolist() == [weight]


def test_the_loss_is_a_weighted_mean_over_masks() -> None:
    rows = [
        *rows_of("a", np.array([1.0, 0.5]), (np.array([1.0, 4.0]), np.array([2.0, 8.0]))),
        *rows_of("b", np.array([0.0]), NONE, weight=np.array([0.5])),
    ]
    quality = summary(rows, scored_as="x")
    assert quality.loss == pytest.approx(1 - 1.5 / 2.5)
    assert quality.logit_error == pytest.approx(np.sqrt(5 / 10))
    assert (quality.samples, quality.masks, quality.small_masks) == (2, 3, 1)
    assert [(score.sample, score.mask) for score in quality.worst] == [("a", 1), ("b", 0), ("a", 0)]


def test_half_of_the_loss_is_carried_by_the_fewest_samples() -> None:
    scores = {"a": 0.4, "b": 0.8, "c": 0.8, "d": 1.0}
    rows = [row for name, score in scores.items() for row in rows_of(name, np.array([score]), NONE)]
    assert summary(rows, scored_as="x").carriers == 1
    even = [row for name in scores for row in rows_of(name, np.array([0.5]), NONE)]
    assert summary(even, scored_as="x").carriers == 2
    perfect = [row for name in scores for row in rows_of(name, np.array([1.0]), NONE)]
    assert summary(perfect, scored_as="x").carriers == 0


def test_the_worst_are_a_twentieth_and_the_typical_in_the_middle() -> None:
    rows = [row for n in range(41) for row in rows_of(f"{n:02}", np.array([n / 40]), NONE)]
    quality = summary(rows, scored_as="x")
    assert quality.worst_loss == pytest.approx(1 - (0 + 1 + 2) / 3 / 40)
    assert [score.sample for score in quality.typical] == ["19", "20", "21"]
    assert len(quality.worst) == 10
