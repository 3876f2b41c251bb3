"""Which ONNX nodes a kernel of OpenVINO holds, by the names that OpenVINO leaves of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from autoprec.backends.openvino_nodes import Graph, Node, RuntimeNode, kernels_of, read_graph


def chain(*nodes: tuple[str, str, str], op_types: dict[str, str] | None = None) -> Graph:
    """(name, what it reads, what it makes), each a word or several."""
    listed = (
        Node(name, tuple(reads.split()), tuple(makes.split()), (op_types or {}).get(name, ""))
        for name, reads, makes in nodes
    )
    return Graph(tuple(listed), ("x",), ("y",), 0)


def ran(kernel: str, *origins: str, kind: str = "Convolution", time_ms: float = 1.0) -> RuntimeNode:
    return RuntimeNode(kind, kernel, origins, time_ms)


def held(graph: Graph, *runtime: RuntimeNode) -> list[tuple[str, ...]]:
    return [kernel.nodes for kernel in kernels_of(graph, runtime)]


THREE = chain(("conv", "x", "a"), ("relu", "a", "b"), ("last", "b", "y"))


def test_nodes_are_told_by_their_name_or_by_what_they_make() -> None:
    kernels = kernels_of(THREE, (ran("jit_avx512_I8", "relu", "conv", time_ms=2.5), ran("ref_f32", "y")))
    assert [kernel.nodes for kernel in kernels] == [("conv", "relu"), ("last",)]
    assert [(kernel.precision, kernel.time_ms) for kernel in kernels] == [("i8", 2.5), ("f32", 1.0)]
    assert kernels[0].kernel == "jit_avx512_I8"


@pytest.mark.parametrize(
    ("kernel", "precision"),
    [("jit_bf16", "bf16"), ("brgemm_avx512_f16", "f16"), ("ref_u8", "i8"), ("jit_i64", ""), ("unnamed", "")],
)
def test_a_kernel_s_precision_is_the_last_part_of_its_name(kernel: str, precision: str) -> None:
    assert [k.precision for k in kernels_of(THREE, (ran(kernel, "conv"),))] == [precision]


def test_names_that_openvino_lengthened_are_cut_and_those_it_made_up_are_left_out() -> None:
    lengthened = ran("jit_f32", "last/DequantizationMultiply/WithoutBiases", "its own")
    assert held(THREE, lengthened, ran("ref_f32", "conv/WithoutBiases", "relu")) == [
        ("last",),
        ("conv", "relu"),
    ]


def test_what_is_forgotten_runs_where_its_consumer_does() -> None:
    assert held(THREE, ran("jit_f32", "last")) == [("conv", "relu", "last")]
    forked = chain(("a", "x", "v"), ("b", "v", "p"), ("c", "v", "q"), ("d", "p q", "y"))
    assert held(forked, ran("one_f32", "b"), ran("two_f32", "c", "d")) == [("a", "b"), ("c", "d")]
    assert held(THREE, ran("jit_f32", "conv")) == [("conv",)], "nothing behind it is placed"


def test_a_view_of_memory_runs_nowhere_and_a_folded_constant_where_it_is_taken() -> None:
    view = ran("unknown_f32", "relu", kind="Reshape", time_ms=0.0)
    assert held(THREE, ran("jit_f32", "last"), view) == [("last",)], "what makes it is in no kernel either"
    folded = ran("unknown_f32", "conv", kind="Const", time_ms=0.0)
    assert held(THREE, ran("jit_f32", "relu", "last"), folded) == [("conv", "relu", "last")]


def test_inputs_and_outputs_are_no_kernels() -> None:
    passive = [ran("jit_f32", "conv", kind=kind) for kind in ("Input", "Output", "Const")]
    assert held(THREE, *passive) == []


def test_attention_is_in_the_kernel_that_openvino_names_after_it() -> None:
    graph = chain(("pre", "x", "q"), ("att", "q", "o"), ("post", "o", "y"), op_types={"att": "Attention"})
    kernel = ran("ref_f32", "ScaledDotProductAttention_42")
    assert held(graph, ran("a_f32", "pre"), kernel, ran("b_f32", "post")) == [("pre",), ("att",), ("post",)]
    twice = held(graph, ran("a_f32", "pre"), kernel, kernel, ran("b_f32", "post"))
    assert twice == [("pre",), (), (), ("att", "post")], "which of the two it is nobody knows"


def test_nodes_without_a_name_are_in_no_kernel() -> None:
    graph = chain(("", "x", "a"), ("conv", "a", "y"))
    assert held(graph, ran("jit_f32", "conv", "a")) == [("conv",)]


@pytest.mark.parametrize(
    ("kind", "shape", "size"),
    [
        (TensorProto.FLOAT, [3, 5], 60),
        (TensorProto.FLOAT16, [3, 5], 30),
        (TensorProto.INT8, [3, 5], 15),
        (TensorProto.INT4, [3, 5], 8),
        (TensorProto.UINT4, [2, 5], 5),
        (TensorProto.INT64, [], 8),
    ],
)
def test_weights_are_counted_in_bytes_wherever_they_lie(
    kind: int, shape: list[int], size: int, tmp_path: Path
) -> None:
    tensor = helper.make_tensor("w", kind, shape, np.zeros(shape, np.float32).ravel().tolist())
    values = [helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    declared = helper.make_tensor_value_info("w", kind, shape)
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    graph = helper.make_graph([node], "g", [values[0], declared], values[1:], [tensor])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    told = read_graph(tmp_path / "m.onnx")
    assert (told.inputs, told.outputs, told.weight_bytes) == (("x",), ("y",), size)
    assert told.nodes == (Node("relu", ("x",), ("y",), "Relu"),)


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_graph(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match="not a readable ONNX file"):
        read_graph(tmp_path / "m.onnx")
