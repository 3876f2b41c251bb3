"""Converting a model to an older opset, for an old parser: ONNX's version converter, and its exceptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import onnx
from onnx import helper, numpy_helper

from autoprec.errors import TrialError

_SMALL_BYTES = 1024
_SHELTER = "autoprec.sheltered"
Write = Callable[[onnx.GraphProto, onnx.NodeProto], Sequence[onnx.NodeProto]]


def at_opset(model: onnx.ModelProto, newest: int) -> None:
    """Convert a model down to an opset, in place. Raises `TrialError("build", ...)` where it cannot."""
    entry = next((entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    if entry is None or entry.version <= newest:
        return
    _shelter(model.graph)
    model.opset_import.append(helper.make_opsetid(_SHELTER, 1))
    large = [t for t in model.graph.initializer if len(t.raw_data) > _SMALL_BYTES]
    inputs = list(model.graph.input)
    for tensor in large:  # the converter copies what it is given, several times
        model.graph.initializer.remove(tensor)
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        lowered = onnx.version_converter.convert_version(model, newest)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        reason = str(error).splitlines()[0].rpartition(":")[2].strip()[:200]
        raise TrialError(
            "build", f"opset {newest}, the last that the target's parser knows: {reason}"
        ) from error
    del lowered.graph.input[:]
    lowered.graph.input.extend(inputs)
    lowered.graph.initializer.extend(large)
    # The converter drops names, by which layers are told their precisions.
    names = {node.output[0]: node.name for node in model.graph.node}
    for node in lowered.graph.node:
        node.name = names.get(node.output[0], node.name)
        node.domain = "" if node.domain == _SHELTER else node.domain
    kept = [entry for entry in lowered.opset_import if entry.domain != _SHELTER]
    del lowered.opset_import[:]
    lowered.opset_import.extend(kept)
    # The IR version of opset 17: older parsers refuse a later one.
    lowered.ir_version = min(lowered.ir_version, 8)
    model.CopyFrom(lowered)


def _shelter(graph: onnx.GraphProto) -> None:
    """Write operators that the converter cannot convert as in opset 17, in a domain that it ignores."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        written = (
            _RULES[node.op_type](graph, node) if node.domain == "" and node.op_type in _RULES else [node]
        )
        for each in written if node.op_type in _RULES else ():
            each.domain = _SHELTER
        nodes += written
    del graph.node[:]
    graph.node.extend(nodes)


def _gelu(graph: onnx.GraphProto, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    """x Phi(x), by Erf or by the tanh that approximates it. Source: ONNX, Gelu 20."""
    x, y, name = node.input[0], node.output[0], node.name
    half, one = _constant(graph, name, "half", 0.5), _constant(graph, name, "one", 1.0)
    way = [f"{y}/{step}" for step in range(5)]
    if any(a.name == "approximate" and a.s == b"tanh" for a in node.attribute):
        cube, root = (
            _constant(graph, name, "cube", 0.044715),
            _constant(graph, name, "root", np.sqrt(2 / np.pi)),
        )
        three = _constant(graph, name, "three", 3.0)
        steps = [("Pow", [x, three], way[0]), ("Mul", [way[0], cube], way[1]), ("Add", [x, way[1]], way[2])]
        steps += [("Mul", [way[2], root], way[3]), ("Tanh", [way[3]], way[4])]
    else:
        root = _constant(graph, name, "root", np.sqrt(0.5))
        steps = [("Mul", [x, root], way[3]), ("Erf", [way[3]], way[4])]
    steps += [
        ("Add", [way[4], one], f"{y}/5"),
        ("Mul", [x, f"{y}/5"], f"{y}/6"),
        ("Mul", [f"{y}/6", half], y),
    ]
    return _chain(node, steps)


def _mish(_: onnx.GraphProto, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    x, y = node.input[0], node.output[0]
    steps = [("Softplus", [x], f"{y}/0"), ("Tanh", [f"{y}/0"], f"{y}/1"), ("Mul", [x, f"{y}/1"], y)]
    return _chain(node, steps)


def _split(graph: onnx.GraphProto, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    """Split without `num_outputs`: equal parts need none, and unequal ones get explicit sizes."""
    kept = [a for a in node.attribute if a.name != "num_outputs"]
    if len(node.input) > 1 or len(kept) == len(node.attribute):
        return [node]
    shapes = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
    axis = next((a.i for a in kept if a.name == "axis"), 0)
    sizes = [
        d[axis].dim_value
        if (v := shapes.get(name)) is not None and (d := v.type.tensor_type.shape.dim)
        else 0
        for name in node.output
    ]
    if not all(sizes):
        raise TrialError(
            "build", f"opset 17 cannot say into what {node.name!r} splits: its sizes are not known"
        )
    tensor = numpy_helper.from_array(np.array(sizes, np.int64), f"{node.name}/sizes")
    graph.initializer.append(tensor)
    del node.attribute[:]
    node.attribute.extend(kept)
    node.input.append(tensor.name)
    return [node]


def _grid_sample(_: onnx.GraphProto, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    """GridSample with the names that its modes had before opset 20."""
    for attribute in node.attribute:
        if attribute.name == "mode":
            attribute.s = {b"linear": b"bilinear", b"cubic": b"bicubic"}.get(attribute.s, attribute.s)
    return [node]


def _pad(_: onnx.GraphProto, node: onnx.NodeProto) -> Sequence[onnx.NodeProto]:
    """Pad without axes. Raises `TrialError` for one that names axes, or wraps."""
    wraps = any(a.name == "mode" and a.s == b"wrap" for a in node.attribute)
    if wraps or (len(node.input) > 3 and node.input[3]):
        raise TrialError("build", f"opset 17 cannot say how {node.name!r} pads")
    del node.input[3:]
    return [node]


def _constant(graph: onnx.GraphProto, node: str, name: str, value: float) -> str:
    tensor = numpy_helper.from_array(np.array(value, np.float32), f"{node}/{name}")
    graph.initializer.append(tensor)
    return str(tensor.name)


def _chain(node: onnx.NodeProto, steps: Sequence[tuple[str, list[str], str]]) -> Sequence[onnx.NodeProto]:
    """A chain of nodes; the last one keeps the name of the node that they replace."""
    last = len(steps) - 1
    return [
        helper.make_node(op, inputs, [output], name=node.name if place == last else f"{node.name}/{place}")
        for place, (op, inputs, output) in enumerate(steps)
    ]


_RULES: Mapping[str, Write] = MappingProxyType(
    {"Gelu": _gelu, "GridSample": _grid_sample, "Mish": _mish, "Pad": _pad, "Split": _split}
)
