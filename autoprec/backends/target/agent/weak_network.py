"""Precisions layer by layer, for TensorRT before 10: the network's own calls, for the builder to obey."""

from __future__ import annotations

import re
from typing import Any, List, Sequence

_WORDS = {"fp32": "FLOAT", "fp16": "HALF"}
_NUMBERED = re.compile(r"_\d+$")
"""What its parser adds to the name of a node that becomes several layers."""


def is_weak(trt: Any) -> bool:
    """Whether this version ignores the types in a model."""
    has_strong = "STRONGLY_TYPED" in trt.NetworkDefinitionCreationFlag.__members__
    return not has_strong and "OBEY_PRECISION_CONSTRAINTS" in trt.BuilderFlag.__members__


def obey(trt: Any, network: Any, config: Any, layers: Sequence[List[str]]) -> None:
    """Hold a network to its layers' precisions, or have the build fail.

    Args:
        trt: the library.
        network, config: what will be built.
        layers: (name, precision, type of what it makes) of each layer that is told one.
    """
    told = {name: (precision, output_type) for name, precision, output_type in layers}
    # Flags allow a type; without OBEY the builder would still choose layer by layer.
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.INT8)
    if told:
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    types = {word: getattr(trt.DataType, name) for word, name in _WORDS.items()}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        words = told.get(layer.name) or told.get(_NUMBERED.sub("", layer.name))
        if words is None or not _makes_floats(layer, list(types.values())):
            continue
        layer.precision = types[words[0]]
        for place in range(layer.num_outputs):
            layer.set_output_type(place, types[words[1]])


def _makes_floats(layer: Any, floats: List[Any]) -> bool:
    """Whether a layer computes floats: indices and shapes have no precision to set."""
    outputs = [layer.get_output(place) for place in range(layer.num_outputs)]
    return bool(outputs) and all(tensor.dtype in floats and not tensor.is_shape_tensor for tensor in outputs)
