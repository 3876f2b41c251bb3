"""Cuts the part that computes masks out of a package's model: what is quantised and searched."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.utils import Extractor

ENLARGED_AT = 1024
"""Side of the input for which IS-Net was exported."""


def unchanged(data: bytes, side: int) -> bytes:  # noqa: ARG001  every cut is called alike
    """The file as it is."""
    return data


def enlarged_for(data: bytes, side: int) -> bytes:
    """IS-Net without the outputs of its training, for another size of the input.

    The exporter wrote the sizes that maps are enlarged to as constants.
    """
    model = onnx.load_from_string(data)
    part = Extractor(model).extract_model([model.graph.input[0].name], [model.graph.output[0].name])
    del part.graph.value_info[:]  # their shapes are those of the exported size
    for value in (*part.graph.input, *part.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_value = side
    sizes = {name for node in part.graph.node if node.op_type == "Concat" for name in node.input}
    for node in part.graph.node:
        if node.op_type == "Constant" and node.output[0] in sizes:
            values = numpy_helper.to_array(node.attribute[0].t)
            if values.shape == (2,):
                scaled = numpy_helper.from_array(values * side // ENLARGED_AT)
                node.attribute[0].t.CopyFrom(scaled)
    return bytes(part.SerializeToString())


def lines_of_mlsd(data: bytes, side: int) -> bytes:
    """M-LSD from normalised RGB to the logits of its line segmentation, channel 1 of 16.

    The file begins with the normalisation of [1, h, w, 4] in 0..255, alpha 1 everywhere, and ends by picking
    the centres of lines.
    """
    model, pixels, maps = onnx.load_from_string(data), "Conv2D__10:0", "Conv__384:0"
    ends = ((pixels, [1, 4, side, side]), (maps, [1, 16, side // 2, side // 2]))
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
    model.graph.value_info.extend(tensors)
    part = Extractor(model).extract_model([pixels], [maps])
    graph = part.graph
    alpha = np.full((1, 1, side, side), 1 / 127.5 - 1, dtype=np.float32)
    constants = {"alpha": alpha, "first": np.array([1]), "last": np.array([2]), "axis": np.array([1])}
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    graph.node.insert(0, helper.make_node("Concat", ["image", "alpha"], [pixels], axis=1))
    graph.node.append(helper.make_node("Slice", [maps, "first", "last", "axis"], ["lines"]))
    for values, name, shape in (
        (graph.input, "image", [1, 3, side, side]),
        (graph.output, "lines", [1, 1, side // 2, side // 2]),
    ):
        del values[:]
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.checker.check_model(part, full_check=True)
    return bytes(part.SerializeToString())
