"""Random models for properties: branches, shared weights, inner values as outputs, integer values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

CHANNELS, SIZE = 8, 6
IMAGE, ROWS = (1, CHANNELS, SIZE, SIZE), (1, SIZE * SIZE, CHANNELS)
Draw = Callable[[st.SearchStrategy[int]], int]


class Graph:
    """Grows node by node; every value is an image [1, 8, 6, 6] or rows [1, 36, 8]."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._random = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.values: list[tuple[str, tuple[int, ...]]] = [("image", IMAGE)]

    def choose(self, count: int) -> int:
        return self._draw(st.integers(0, count - 1))

    def pick(self, shape: tuple[int, ...]) -> str:
        """Some value of a shape, made from another by a Reshape if there is none."""
        found = [name for name, other in self.values if other == shape]
        if not found:
            source = self.values[self.choose(len(self.values))][0]
            return self.add("Reshape", [source, self.constant(np.array(shape, np.int64))], shape)
        return found[self.choose(len(found))]

    def weight(self, *shape: int) -> str:
        """A weight of a shape, shared with an earlier one now and then."""
        shared = [n for n, t in self.weights.items() if tuple(t.dims) == shape and t.data_type == 1]
        if shared and not self.choose(3):
            return shared[0]
        return self.constant((self._random.standard_normal(shape) * 0.4).astype(np.float32))

    def constant(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = numpy_helper.from_array(array, name)
        return name

    def add(
        self, op: str, inputs: list[str], shape: tuple[int, ...], outputs: int = 1, **attributes: object
    ) -> str:
        number = len(self.nodes)
        names = [f"v{number}"] + [f"v{number}_{extra}" for extra in range(1, outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, f"/m{number // 4}/{op}_{number}", **attributes))
        self.values += [(name, shape) for name in names]
        return names[0]

    def grow(self) -> None:  # noqa: C901 - one case for each op
        """One more op, sometimes with the nodes that it needs."""
        image, rows = self.pick(IMAGE), self.pick(ROWS)
        match self.choose(15):
            case 0:
                bias = [self.weight(CHANNELS)] * self.choose(2)
                weight = self.weight(CHANNELS, CHANNELS, 3, 3)
                self.add("Conv", [image, weight, *bias], IMAGE, pads=[1] * 4)
            case 1:
                self.add("Conv", [image, self.weight(CHANNELS, 1, 1, 1)], IMAGE, group=CHANNELS)
            case 2:
                self.add("Add", [image, self.pick(IMAGE)], IMAGE)
            case 3:
                self.add("Mul", [rows, self.weight(CHANNELS)], ROWS)
            case 4:
                self.add(("Relu", "HardSwish", "Sigmoid", "Gelu")[self.choose(4)], [image], IMAGE)
            case 5:
                self.add("MatMul", [rows, self.weight(CHANNELS, CHANNELS)], ROWS)
            case 6:
                turned = self.add("Transpose", [rows], (1, CHANNELS, SIZE * SIZE), perm=[0, 2, 1])
                product = self.add("MatMul", [turned, self.pick(ROWS)], (1, CHANNELS, CHANNELS))
                chance = self.add("Softmax", [product], (1, CHANNELS, CHANNELS), axis=-1)
                self.add("MatMul", [rows, chance], ROWS)
            case 7:
                norm = [rows, self.weight(CHANNELS), self.weight(CHANNELS)]
                self.add("LayerNormalization", norm, ROWS, axis=-1)
            case 8:
                both = self.add("Concat", [image, self.pick(IMAGE)], (1, 2 * CHANNELS, SIZE, SIZE), axis=1)
                self.add("Split", [both], IMAGE, outputs=2, axis=1, num_outputs=2)
            case 9:
                scales = self.constant(np.array([1, 1, 2, 2], np.float32))
                large = self.add(
                    "Resize", [image, "", scales], (1, CHANNELS, 2 * SIZE, 2 * SIZE), mode="linear"
                )
                self.add("MaxPool", [large], IMAGE, kernel_shape=[2, 2], strides=[2, 2])
            case 10:
                pooled = self.add("GlobalAveragePool", [image], (1, CHANNELS, 1, 1))
                self.add("Mul", [image, pooled], IMAGE)
            case 11:
                flat = self.add("Reshape", [rows, self.constant(np.array((36, 8), np.int64))], (36, 8))
                gemm = [flat, self.weight(CHANNELS, CHANNELS), self.weight(CHANNELS)]
                self.add("Gemm", gemm, (36, 8), transB=self.choose(2))
            case 12:
                best = self.add("ArgMax", [rows], (0,), axis=1, keepdims=0)
                self.add("Gather", [rows, best], (0,), axis=1)
            case 13:
                self.add("Div", [image, self.constant(np.array([3.0], np.float32))], IMAGE)
            case _:
                kernel = self.weight(CHANNELS, CHANNELS, 2, 2)
                large = self.add("ConvTranspose", [image, kernel], (1, CHANNELS, 12, 12), strides=[2, 2])
                self.add("AveragePool", [large], IMAGE, kernel_shape=[2, 2], strides=[2, 2])

    def model(self) -> onnx.ModelProto:
        """The model: last value, now and then an inner value and a weight as outputs too."""
        names = [node.output[0] for node in self.nodes]
        kept = {names[-1], *(name for name in names if not self.choose(4))}
        outputs = [helper.make_empty_tensor_value_info(name) for name in names if name in kept]
        if self.weights and not self.choose(5):
            tensor = next(iter(self.weights.values()))
            outputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE)],
            outputs,
            list(self.weights.values()),
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        return onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)


@st.composite
def models(draw: Draw, most: int = 14) -> onnx.ModelProto:
    """A model of 2 to `most` random ops."""
    graph = Graph(draw)
    for _ in range(draw(st.integers(2, most))):
        graph.grow()
    return graph.model()
