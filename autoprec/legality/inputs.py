"""What pieces are fed: numbers drawn for each input, the same ones every time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

_KEPT = 0.75
_DEVIATIONS = 4.0
"""Standard deviations of what is drawn that a span reaches from 0."""
Span = tuple[str, float, float]
"""Name of an input, and the lowest and the largest value that it has in its model."""


def feeds_of(
    path: Path, spans: Iterable[Span] = (), *, seed: int = 0, louder: float = 1.0
) -> dict[str, NDArray[Any]]:
    """Normal float32 of each input's shape, by name; integers are zeros, masks keep three of four.

    A mask keeps the first place along its last axis: attention to nothing has no value.

    Args:
        path: the model.
        spans: what inputs reach; those without one are standard normal. What is fed far less than the model
            has is rounded to 0 by its Q/DQ, and then every engine looks right.
        seed: of what is drawn.
        louder: multiplies the float32 inputs.
    """
    reach = {name: (low, high) for name, low, high in spans}
    graph, random = onnx.load(path, load_external_data=False).graph, np.random.default_rng(seed)
    held = {tensor.name for tensor in graph.initializer}
    feeds: dict[str, NDArray[Any]] = {}
    for value in graph.input:
        # Before IR version 4 files list their constants among the inputs.
        if value.name in held:
            continue
        tensor = value.type.tensor_type
        kind: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [size.dim_value for size in tensor.shape.dim]
        if kind == np.float32:
            low, high = reach.get(value.name, (-_DEVIATIONS, _DEVIATIONS))
            drawn = random.standard_normal(shape, np.float32) * np.float32(louder * high / _DEVIATIONS)
            # A grid without a sign would clip half of what is fed to 0, on both sides of the comparison.
            feeds[value.name] = np.abs(drawn) if low >= 0 else drawn
        elif kind == np.bool_:
            feeds[value.name] = random.random(shape) < _KEPT
            feeds[value.name][..., :1] = True
        else:
            # Most often an index: 0 is one into anything.
            feeds[value.name] = np.zeros(shape, kind)
    return feeds
