"""Inputs that are off by a little: what a model makes of them shows how far it amplifies rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.backends import Arrays

ROUNDING = {ir.DataType.FLOAT16: 5e-4, ir.DataType.BFLOAT16: 4e-3}
"""How far off a value is, relative to itself, that is rounded to these: half a unit in the last place."""

LEVELS = 1e-4
"""How far off values are that flip a level or two of an 8-bit grid."""


def nudged(inputs: Arrays, spread: float) -> dict[str, NDArray[Any]]:
    """Floats off by about `spread` of themselves, the same ones each time; anything else as it is."""
    random = np.random.default_rng(0)
    return {name: _nudged(array, spread, random) for name, array in inputs.items()}


def _nudged(array: NDArray[Any], spread: float, random: np.random.Generator) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return array
    return (array * (1 + spread * random.standard_normal(array.shape))).astype(array.dtype)
