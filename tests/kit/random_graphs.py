"""Random models for properties: branches, shared weights, inner values and weights as outputs, integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE = 8, 6
IMAGE, ROWS = (1, CHANNELS, SIZE, SIZE), (1, SIZE * SIZE, CHANNELS)
Draw = Callable[[st.SearchStrategy[int]], int]


class Graph:
    """Grows node by node; most values are an image [1, 8, 6, 6] or rows [1, 36, 8]."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._random = np.random.default_rng(draw(st.integers(0, 2**16)))
        self._constants = 0
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.values: list[tuple[str, tuple[int, ...]]] = [("image", IMAGE)]

    def choose(self, count: int) -> int:
        return self._draw(st.integers(0, count - 1))

    def one_of(self, *names: str) -> str:
        return names[self.choose(len(names))]

    def image(self) -> str:
        return self.pick(IMAGE)

    def rows(self) -> str:
        return self.pick(ROWS)

    def pick(self, shape: tuple[int, ...]) -> str:
        """Some value of a shape, made from an image by a Reshape if there is none."""
        fitting = [name for name, other in self.values if other == shape]
        if not fitting:
            return self.add("Reshape", [self.image(), self.constant(shape)], shape)
        return fitting[self.choose(len(fitting))]

    def weight(self, *shape: int) -> str:
        """A weight of a shape: shared with an earlier one now and then, or all zeros, or of great range."""
        shared = [n for n, t in self.weights.items() if tuple(t.dims) == shape and t.data_type == 1]
        if shared and not self.choose(3):
            return shared[self.choose(len(shared))]
        array = self._random.standard_normal(shape) * (0.4, 0.4, 0.4, 0.0, 1e-30)[self.choose(5)]
        return self.constant(array.astype(np.float32))

    def constant(self, numbers: Any) -> str:
        """An initializer, or now and then a Constant node or an Identity of an initializer."""
        array = np.asarray(numbers)
        self._constants += 1
        name = f"w{self._constants}"
        self.weights[name] = numpy_helper.from_array(array, name)
        match self.choose(8):
            case 0 if array.dtype == np.float32:
                return self._node("Identity", [name])[0]
            case 1:
                return self._node("Constant", [], value=self.weights.pop(name))[0]
        return name

    def add(
        self, op: str, inputs: list[str], shape: tuple[int, ...], outputs: int = 1, **attributes: Any
    ) -> str:
        """A node whose outputs have a shape; the first one's name."""
        names = self._node(op, inputs, outputs, **attributes)
        self.values += [(name, shape) for name in names]
        return names[0]

    def _node(self, op: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> list[str]:
        number = len(self.nodes)
        names = [f"v{number}"] + [f"v{number}_{extra}" for extra in range(1, outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, f"/m{number // 4}/{op}_{number}", **attributes))
        return names

    def _is_constant(self, node: onnx.NodeProto) -> bool:
        makers = {name: other for other in self.nodes for name in other.output}
        return all(n in self.weights or (n in makers and self._is_constant(makers[n])) for n in node.input)

    def model(self) -> onnx.ModelProto:
        """The model: last value, now and then inner values, weights and the input as outputs too."""
        nodes = self.nodes
        if any(node.op_type == "QuantizeLinear" for node in nodes):  # what is stored on a grid stays inside
            nodes = [n for n in nodes if n.op_type != "QuantizeLinear" and not self._is_constant(n)]
        makes = [name for node in nodes for name in node.output]
        kept = {self.nodes[-1].output[0], *(name for name in makes if not self.choose(5))}
        outputs = [helper.make_empty_tensor_value_info(name) for name in makes if name in kept]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE)
        if self.weights and not self.choose(5):
            tensor = next(iter(self.weights.values()))
            outputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        if not self.choose(8):
            outputs.append(image)
        weights = list(self.weights.values())
        graph = helper.make_graph(self.nodes, "random", [image], outputs, weights)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
