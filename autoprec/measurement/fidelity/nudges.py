"""Inputs and weights that are off by a little: how far a model amplifies rounding shows in its outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from autoprec.backends import Arrays
from autoprec.graph.model.files import write_model

ROUNDING = {ir.DataType.FLOAT16: 5e-4, ir.DataType.BFLOAT16: 4e-3}
"""How far off a value is, relative to itself, that is rounded to these: half a unit in the last place."""

LEVELS = 1e-4
"""How far off values are that flip a level or two of an 8-bit grid."""

LAST_PLACES = 1e-6
"""How far off sums in FP32 are that another order of the same numbers gives."""


_SHAPING = {"Resize", "Upsample", "Range", "OneHot", "Cast", "Floor", "Ceil", "Round"}
"""Ops that make sizes of floats: 40 pixels by a scale of 1.999999 are 79."""


def write_nudged(path: Path, target: Path) -> None:
    """Write a model whose weights, biases and scales in FP32 are off by their last places.

    Images in 8 bits lie on the very levels that a quantised model puts them on: nudging them flips nothing.
    Between layers a last place does. It moved a trained line detector in INT8, M-LSD, by 4.7 % of its
    spread in ONNX Runtime, as far as OpenVINO was from it (2026-11-27).
    """
    model, random = ir.load(path), np.random.default_rng(0)
    for value in model.graph.initializers.values():
        shapes = any(node.op_type in _SHAPING for node, _ in value.uses())
        if value.const_value is not None and value.dtype == ir.DataType.FLOAT and not shapes:
            array = _nudged(value.const_value.numpy(), LAST_PLACES, random)
            value.const_value = ir.tensor(array, name=value.name)
    write_model(model, target)


def nudged(inputs: Arrays, spread: float) -> dict[str, NDArray[Any]]:
    """Floats off by about `spread` of themselves, the same ones each time; anything else as it is."""
    random = np.random.default_rng(0)
    return {name: _nudged(array, spread, random) for name, array in inputs.items()}


def _nudged(array: NDArray[Any], spread: float, random: np.random.Generator) -> NDArray[Any]:
    if array.dtype.kind != "f":
        return array
    return (array * (1 + spread * random.standard_normal(array.shape))).astype(array.dtype)
