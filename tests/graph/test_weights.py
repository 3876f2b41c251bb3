"""Float types and grids of weights, value by value."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from autoprec.graph.grids.weights import activation_scale, converted, level_scales, on_grid, weight_scales

FP16, NORMAL = ir.DataType.FLOAT16, 2.0**-14
WEIGHTS = np.array([[1.0, -2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0], [-4.0, 1.0, 3.0, 2.0]], np.float32)


@pytest.mark.parametrize(
    ("value", "kept"),
    [(1e-15, NORMAL), (-1e-15, -NORMAL), (0.0, 0.0), (NORMAL, NORMAL), (1e6, 65504), (-1e6, -65504),
     (np.inf, np.inf)],
)  # fmt: skip
def test_a_scalar_neither_vanishes_nor_overflows_in_fp16(value: float, kept: float) -> None:
    assert converted(np.array([value], np.float32), FP16).item() == kept


def test_of_several_values_small_ones_may_vanish() -> None:
    assert converted(np.array([1e-15, 1.0], np.float32), FP16).tolist() == [0.0, 1.0]


def test_bfloat16_holds_what_fp16_does_not() -> None:
    assert converted(np.array([1e6], np.float32), ir.DataType.BFLOAT16).item() == ml_dtypes.bfloat16(1e6)


@pytest.mark.parametrize(
    ("axis", "block", "scales"),
    [(0, 0, [2, 1, 4]), (None, 0, 4), (0, 2, [[2, 0.5], [1, 1], [4, 3]]), (1, 3, [[4, 2, 3, 2]])],
)
def test_scales_are_the_largest_magnitude_over_the_grids(
    axis: int | None, block: int, scales: object
) -> None:
    expected = np.asarray(scales, np.float32) / np.float32(4)
    if block in (0, 2):
        expected = np.where(np.asarray(scales) == 1, 1, expected)  # nothing but zeros: any scale serves
    computed = weight_scales(WEIGHTS, axis, 4.0, ir.DataType.FLOAT, block)
    np.testing.assert_allclose(computed, expected)


def test_weights_lie_on_whole_steps_within_the_grid() -> None:
    scales = np.array([0.5, 1.0, 1.0], np.float32)
    levels = on_grid(WEIGHTS, scales, 0, 3.0, ir.DataType.INT8)
    assert levels.dtype == np.int8
    assert levels.tolist() == [[2, -3, 1, 0], [0, 0, 0, 0], [-3, 1, 3, 2]]


def test_blocks_have_scales_of_their_own() -> None:
    scales = np.array([[1.0, 0.25], [1.0, 1.0], [2.0, 1.0]], np.float32)
    levels = on_grid(WEIGHTS, scales, 0, 127.0, ir.DataType.INT8, block=2)
    assert levels.tolist() == [[1, -2, 2, 0], [0, 0, 0, 0], [-2, 0, 3, 2]]


def test_scales_on_two_levels_give_the_largest_block_the_largest_value() -> None:
    whole, fine = level_scales(WEIGHTS, 0, 6.0, ir.DataType.FLOAT8E4M3FN, 2)
    assert float(fine.astype(np.float32).max()) == 448.0
    np.testing.assert_allclose(whole * 448 * 6, 4.0, rtol=1e-6)
    assert fine.shape == (3, 2)


def test_an_activation_that_is_always_zero_has_a_scale() -> None:
    assert activation_scale(12.7, 127.0) == pytest.approx(0.1)
    assert activation_scale(0.0, 127.0) > 0
