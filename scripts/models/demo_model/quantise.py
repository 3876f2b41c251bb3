"""Plain Q/DQ quantisation and typed casts of an ONNX file, for measuring the demo model on its own.

Deliberately simple and independent of autoprec: symmetric INT8, one scale for each activation and for each
output channel of a weight, on the inputs of Conv and MatMul and on the skip operand of residual Adds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Images = Iterable[NDArray[np.float32]]


def quantised_tensors(model: onnx.ModelProto) -> list[str]:
    """Name the activations that get a Q/DQ pair."""
    weights = {tensor.name for tensor in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in ("Conv", "MatMul"):
            names.update(dict.fromkeys(n for n in node.input[:2] if n not in weights))
        elif node.op_type == "Add" and not weights & set(node.input):
            branch = [producers[n].op_type if n in producers else "" for n in node.input]
            if "Conv" in branch:  # the skip is the operand that the engine cannot fuse into the convolution
                names[node.input[1 - branch.index("Conv")]] = None
    return list(names)


def collect_ranges(path: Path, images: Images, percentile: float) -> dict[str, float]:
    """Largest per-image percentile of |x| of every tensor to be quantised; 100 gives min-max."""
    model = onnx.load(path)
    names = quantised_tensors(model)
    declared = {output.name for output in model.graph.output} | {value.name for value in model.graph.input}
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in declared)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    tail = max(1e-7, 1.0 - percentile / 100.0)
    sizes: dict[str, int] = {}
    for image in images:
        wanted = [name for name in names if name != feed]
        values_of = dict(zip(wanted, session.run(wanted, {feed: image}), strict=True)) | {feed: image}
        for name in names:
            values = np.abs(values_of[name]).ravel()
            sizes[name] = sizes.get(name, 0) + values.size
            keep = min(
                values.size, int(values.size * tail * 40) + 64
            )  # the tail is all that the percentile needs
            samples[name].append(np.partition(values, values.size - keep)[-keep:])
    ranges = {}
    for name, parts in samples.items():
        values = np.sort(np.concatenate(parts))
        ranges[name] = max(
            float(values[-1 - min(values.size - 1, int(sizes[name] * (tail if percentile < 100 else 0)))]),
            1e-6,
        )
    return ranges


def quantise(path: Path, ranges: dict[str, float], only: str = "") -> onnx.ModelProto:
    """Insert Q/DQ pairs; `only` limits them to the inputs of nodes whose name starts so."""
    model = onnx.load(path)
    graph = model.graph
    nodes: list[onnx.NodeProto] = []
    weights = {tensor.name: tensor for tensor in graph.initializer}
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), "zero_point"))
    done: set[str] = set()
    for node in graph.node:
        if node.name.startswith(only):
            for i, name in enumerate(node.input):
                if node.op_type not in ("Conv", "MatMul", "Add") or i > 1:
                    continue
                if name in ranges:
                    if name not in done:
                        scale = np.array(ranges[name] / 127.0, np.float32)
                        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
                        terms = [f"{name}_scale", "zero_point"]
                        nodes.append(
                            helper.make_node("QuantizeLinear", [name, *terms], [f"{name}_q"], f"{name}_Q")
                        )
                        nodes.append(
                            helper.make_node(
                                "DequantizeLinear", [f"{name}_q", *terms], [f"{name}_dq"], f"{name}_DQ"
                            )
                        )
                        done.add(name)
                    node.input[i] = f"{name}_dq"
                elif node.op_type == "Conv" and i == 1:
                    nodes.append(_quantise_weight(graph, weights[name]))
                    node.input[1] = f"{name}_dq"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _quantise_weight(graph: onnx.GraphProto, tensor: TensorProto) -> onnx.NodeProto:
    values, name = numpy_helper.to_array(tensor), tensor.name
    scale = np.maximum(np.abs(values).reshape(len(values), -1).max(axis=1), 1e-8).astype(np.float32) / 127
    whole = np.clip(np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))), -127, 127).astype(np.int8)
    graph.initializer.remove(tensor)
    graph.initializer.append(numpy_helper.from_array(whole, f"{name}_q"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(len(values), np.int8), f"{name}_zero"))
    return helper.make_node(
        "DequantizeLinear",
        [f"{name}_q", f"{name}_scale", f"{name}_zero"],
        [f"{name}_dq"],
        f"{name}_DQ",
        axis=0,
    )
