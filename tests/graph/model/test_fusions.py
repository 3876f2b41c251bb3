"""What ONNX Runtime's optimizer fuses is loaded as operators of ONNX that mean the same, by numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends import run
from autoprec.backends.exact import Exact, deviation
from autoprec.errors import ModelError
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model

onnxruntime = pytest.importorskip("onnxruntime")
RANDOM = np.random.default_rng(0)
Arrays = Mapping[str, NDArray[np.float32]]


def floats(*shape: int) -> NDArray[np.float32]:
    return RANDOM.standard_normal(shape).astype(np.float32)


ROWS, IMAGE = (2, 5, 8), (1, 4, 6, 6)
SQUARE, VECTOR, KERNEL = floats(8, 8), floats(8), floats(4, 4, 3, 3)
CASES: list[tuple[str, str, tuple[int, ...], list[NDArray[np.float32] | str | None], dict[str, Any]]] = [
    ("Gelu", "com.microsoft", ROWS, [], {}),
    ("BiasGelu", "com.microsoft", ROWS, [VECTOR], {}),
    ("FastGelu", "com.microsoft", ROWS, [], {}),
    ("FastGelu", "com.microsoft", ROWS, [VECTOR], {}),
    ("QuickGelu", "com.microsoft", ROWS, [], {}),
    ("QuickGelu", "com.microsoft", ROWS, [], {"alpha": 1.5}),
    ("FusedConv", "com.microsoft", IMAGE, [KERNEL], {"activation": "Relu", "pads": [1] * 4}),
    ("FusedConv", "com.microsoft", IMAGE, [KERNEL, floats(4)], {"activation": "Tanh", "strides": [2, 2]}),
    ("FusedConv", "com.microsoft", IMAGE, [KERNEL], {"activation": "LeakyRelu", "activation_params": [0.3]}),
    ("FusedConv", "com.microsoft", IMAGE, [KERNEL], {"activation": "Clip", "activation_params": [-1.0, 2.0]}),
    ("FusedConv", "com.microsoft", IMAGE, [KERNEL],
     {"activation": "HardSigmoid", "activation_params": [0.3, 0.4]}),
    ("FusedConv", "com.microsoft", IMAGE, [KERNEL, floats(4), "x"], {"activation": "Relu", "pads": [1] * 4}),
    ("FusedGemm", "com.microsoft", (5, 8), [SQUARE, VECTOR], {"activation": "Relu", "transB": 1}),
    ("FusedGemm", "com.microsoft", (5, 8), [SQUARE],
     {"activation": "LeakyRelu", "activation_alpha": 0.2, "alpha": 2.0}),
    ("FusedMatMul", "com.microsoft", ROWS, [SQUARE], {"transB": 1, "alpha": 0.25}),
    ("FusedMatMul", "com.microsoft", ROWS, ["x"], {"transA": 1}),
    ("SkipLayerNormalization", "com.microsoft", ROWS, ["x", VECTOR], {}),
    ("SkipLayerNormalization", "com.microsoft", ROWS, ["x", VECTOR, VECTOR, VECTOR], {"epsilon": 0.1}),
    ("SkipSimplifiedLayerNormalization", "com.microsoft", ROWS, ["x", VECTOR, VECTOR], {"epsilon": 0.1}),
    ("SimplifiedLayerNormalization", "", ROWS, [VECTOR], {"axis": -1, "epsilon": 0.1}),
    ("LayerNormalization", "", ROWS, [VECTOR, VECTOR], {"axis": -1, "epsilon": 0.1}),
]  # fmt: skip
"""Operator, domain, shape of x, its other inputs (by name: a value of the graph), attributes."""


def write(path: Path, *nodes: onnx.NodeProto, shape: tuple[int, ...], opset: int, held: Arrays) -> Path:
    """Nodes between a Relu of x and an Identity of y, in a file without value_info."""
    value = helper.make_tensor_value_info
    ends = helper.make_node("Relu", ["image"], ["x"]), helper.make_node("Abs", ["y"], ["masks"])
    graph = helper.make_graph(
        [ends[0], *nodes, ends[1]],
        "g",
        [value("image", TensorProto.FLOAT, shape)],
        [value("masks", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), path)
    return path


def loaded_error(path: Path, shape: tuple[int, ...]) -> float:
    """How far what autoprec loads is from what ONNX Runtime makes of the file."""
    model = load_model(path)
    assert {node.domain for node in model.graph} == {""}
    assert all(
        value.dtype is not None and value.shape is not None for n in model.graph for value in n.outputs
    )
    write_model(model, path.with_name("loaded.onnx"))
    feeds = {"image": floats(*shape)}
    with (
        Exact(patient=False).build(path) as given,
        Exact(patient=False).build(path.with_name("loaded.onnx")) as ours,
    ):
        return deviation(run(ours, feeds), run(given, feeds)).error


@pytest.mark.parametrize("opset", [11, 17, 20])
@pytest.mark.parametrize(("kind", "domain", "shape", "others", "attributes"), CASES)
def test_a_fused_operator_is_loaded_as_what_it_means(
    tmp_path: Path,
    kind: str,
    domain: str,
    shape: tuple[int, ...],
    others: list[NDArray[np.float32] | str | None],
    attributes: dict[str, Any],
    opset: int,
) -> None:
    names = [one if isinstance(one, str) else f"w{place}" for place, one in enumerate(others)]
    held = {name: one for name, one in zip(names, others, strict=True) if isinstance(one, np.ndarray)}
    node = helper.make_node(kind, ["x", *names], ["y"], domain=domain, **attributes)
    assert loaded_error(write(tmp_path / "m.onnx", node, shape=shape, opset=opset, held=held), shape) < 1e-5


def test_a_sum_that_a_fused_normalisation_gives_is_read_on(tmp_path: Path) -> None:
    nodes = (
        helper.make_node(
            "SkipLayerNormalization", ["x", "x", "scale"], ["n", "", "", "sum"], domain="com.microsoft"
        ),
        helper.make_node("FusedMatMul", ["n", "n"], ["p"], domain="com.microsoft", transB=1),
        helper.make_node("MatMul", ["p", "sum"], ["y"]),
    )
    path = write(tmp_path / "m.onnx", *nodes, shape=ROWS, opset=12, held={"scale": VECTOR})
    assert loaded_error(path, ROWS) < 1e-5


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("FusedMatMul", ["x", "x"], ["y"], "n", domain="com.microsoft", transBatchA=1),
         r"node 'n' \(FusedMatMul\) turns batches, .* without ONNX Runtime's optimisations"),
        (helper.make_node("BiasSoftmax", ["x", "x"], ["y"], domain="com.microsoft"),
         r"BiasSoftmax of domain 'com.microsoft' makes 'y'.* without ONNX Runtime's optimisations"),
    ],
)  # fmt: skip
def test_what_has_no_form_in_onnx_is_refused_by_name(
    tmp_path: Path, node: onnx.NodeProto, words: str
) -> None:
    with pytest.raises(ModelError, match=words) as refusal:
        load_model(write(tmp_path / "m.onnx", node, shape=(3, 3, 3), opset=13, held={}))
    assert "\n" not in str(refusal.value)
