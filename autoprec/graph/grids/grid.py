"""The integers that an activation is written on: which type, which zero point, how many steps.

What a grid may be belongs to the engine, not to the precision: TensorRT takes signed symmetric alone, CPUs
multiply unsigned activations by signed weights (oneDNN's u8s8), and one of them computes a signed one wrongly
behind a Concat. `legality` finds out which an engine takes; the writer gets it by value name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import onnx_ir as ir

from autoprec.precisions import Precision


class Grid(NamedTuple):
    """Integers behind a Q/DQ pair with one scale.

    Attributes:
        kind: the quantised type.
        zero: the zero point.
        steps: between 0 and the largest magnitude that is represented.
    """

    kind: ir.DataType
    zero: int
    steps: float


SIGNED, UNSIGNED, OFFSET = "signed", "unsigned", "offset"
GRIDS: Mapping[str, Grid] = MappingProxyType(
    {
        SIGNED: Grid(ir.DataType.INT8, 0, 127.0),
        # Of values that are never negative: twice the resolution.
        UNSIGNED: Grid(ir.DataType.UINT8, 0, 255.0),
        # The numbers of the signed grid, to the last one, in another type.
        OFFSET: Grid(ir.DataType.UINT8, 128, 127.0),
    }
)
"""What 8-bit integers of activations may be."""


def grid_of(precision: Precision, name: str = SIGNED) -> Grid:
    """The grid of an activation in a precision; `name` chooses among those of 8-bit integers."""
    assert precision.quantized_type is not None
    # Only of INT8 do engines disagree on sign and zero point; small floats have one grid everywhere.
    if precision.quantized_type != ir.DataType.INT8:
        return Grid(precision.quantized_type, 0, precision.largest)
    return GRIDS[name]
