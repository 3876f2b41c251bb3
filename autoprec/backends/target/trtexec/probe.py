"""The smallest model: the log of its build names the device."""

from __future__ import annotations

from onnx import TensorProto, helper


def smallest_model() -> bytes:
    """One Relu of one number, as every parser takes it."""
    shape = (
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]),
    )
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "probe", [shape[0]], [shape[1]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())
