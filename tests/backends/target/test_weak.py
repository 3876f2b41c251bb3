"""Candidates for TensorRT before 10: floats and Q/DQ in the model, precisions beside it, opset 17."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends import run
from autoprec.backends.target.opset import at_opset
from autoprec.backends.target.weak import HeldLayer, weaken
from autoprec.errors import TrialError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.records import Assignment
from tiny_study import write_model

from .test_trtexec import FEEDS, trtexec


def candidate(folder: Path, *precisions: str) -> Path:
    """The tiny model with its three blocks in these precisions."""
    model = load_model(write_model(folder / "tiny.onnx"))
    blocks = partition(model, minimum=1)
    ranges = {str(v.name): 4.0 for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    chosen = Assignment(choices=tuple((b.name, p) for b, p in zip(blocks, precisions, strict=True)))
    written = Rewriter(model, blocks, ranges, base="fp16").write(
        chosen, folder / f"{'-'.join(precisions)}.onnx"
    )
    return Path(written.model_path)


def ran(folder: Path, path: Path) -> dict[str, str]:
    """What each convolution ran in, of a build by trtexec 8.6."""
    with trtexec(folder / "there", "8601").build(path) as engine:
        return {name: k.precision for k in engine.kernels() for name in k.nodes if name.endswith("Conv")}


def test_types_that_do_not_bind_become_words_that_do(tmp_path: Path) -> None:
    output = ran(tmp_path, candidate(tmp_path, "fp32", "fp16", "int8"))
    assert output == {"/a/conv/Conv": "f32", "/b/conv/Conv": "f16", "/c/conv/Conv": "i8"}


def test_what_runs_is_what_was_typed(tmp_path: Path) -> None:
    path = candidate(tmp_path, "fp16", "int8", "fp32")
    wanted = computed(onnx.load(path), FEEDS)[0]
    with trtexec(tmp_path / "there", "8601").build(path) as engine:
        output = run(engine, FEEDS)["masks"]
    step = np.abs(wanted).max() / 127
    assert np.abs(output - wanted).max() < step  # a value next to half a step may round the other way


def test_the_words_of_a_candidate(tmp_path: Path) -> None:
    model = onnx.load(candidate(tmp_path, "fp32", "int8", "fp16"))
    told = weaken(model)
    assert HeldLayer("/a/conv/Conv", "fp32", "fp32", "/a/conv/Conv") in told
    assert HeldLayer("/c/conv/Conv", "fp16", "fp32", "/c/conv/Conv") in told  # it makes the output
    assert "/b/conv/Conv" not in {layer.name for layer in told}  # its pairs hold it
    assert {t.data_type for t in model.graph.initializer} <= {TensorProto.FLOAT, TensorProto.INT8}
    assert {n.op_type for n in model.graph.node} == {"Conv", "Relu", "QuantizeLinear", "DequantizeLinear"}
    assert [e.version for e in model.opset_import if not e.domain] == [17]


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_what_such_a_version_lacks_is_off_the_table(tmp_path: Path, precision: str) -> None:
    with pytest.raises(TrialError, match="TensorRT before 10 does not have") as told:
        weaken(onnx.load(candidate(tmp_path, precision, "fp16", "fp16")))
    assert told.value.kind == "build"


def test_a_layer_gets_a_name_that_options_can_hold(tmp_path: Path) -> None:
    model = onnx.load(candidate(tmp_path, "fp16", "fp16", "fp16"))
    next(n for n in model.graph.node if n.name == "/a/conv/Conv").name = "a:b, c"
    onnx.save(model, tmp_path / "odd.onnx")
    with trtexec(tmp_path / "there", "8601").build(tmp_path / "odd.onnx") as engine:
        kernels = {name: k.precision for k in engine.kernels() for name in k.nodes}
    assert kernels["a:b, c"] == "f16"


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "Gelu": ("Gelu (x)", {}),
    "Gelu by tanh": ('Gelu <approximate = "tanh"> (x)', {}),
    "Mish": ("Mish (x)", {}),
    "equal parts": ("Split <axis = 2, num_outputs = 2> (x)", {}),
    "other parts": ("Split <axis = 1, num_outputs = 3> (x)", {}),
    "Pad": ("Pad (x, p)", {"p": np.array([0, 0, 1, 2, 0, 0, 1, 0], np.int64)}),
    "GridSample": ('GridSample <mode = "linear"> (x, g)', {"g": np.full((1, 3, 3, 2), 0.3, np.float32)}),
    "ReduceMax": ("ReduceMax (x, a)", {"a": np.array([2, 3], np.int64)}),
    "Reduce all": ("ReduceL2 <keepdims = 0> (x)", {}),
    "Resize": (
        'Resize <mode = "linear"> (x, "", s)'.replace('""', ""),
        {"s": np.array([1, 1, 2, 2], np.float32)},
    ),
}


def computed(model: onnx.ModelProto, feed: dict[str, Any]) -> list[Any]:
    """What ONNX Runtime makes of it."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: list[Any] = session.run(None, feed)
    return output


@pytest.mark.parametrize("case", CASES)
def test_an_older_opset_means_the_same(case: str) -> None:
    text, arrays = CASES[case]
    count = 3 if "num_outputs = 3" in text else 2 if "num_outputs" in text else 1
    names = [f"y{number}" for number in range(count)]
    source = f"""<ir_version: 10, opset_import: ["" : 22]>
        g (float[1, 5, 6, 6] x) => ({", ".join(f"float[] {n}".replace("[]", "") for n in names)}) {{
            {", ".join(names)} = {text}
        }}"""
    model = onnx.parser.parse_model(source)
    model.graph.node[0].name = "it"
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names)
    model = onnx.shape_inference.infer_shapes(model)
    feed = {"x": np.random.default_rng(0).standard_normal((1, 5, 6, 6)).astype(np.float32)}
    wanted = computed(model, feed)
    at_opset(model, 17)
    onnx.checker.check_model(model, full_check=True)
    for mine, theirs in zip(computed(model, feed), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert model.opset_import[0].version == 17
    assert "it" in {node.name for node in model.graph.node}


def test_what_the_older_opset_cannot_say_is_a_build_failure() -> None:
    model = onnx.parser.parse_model("""<ir_version: 11, opset_import: ["" : 23]>
        g (float[1, 4] x, float[4] s) => (float[1, 4] y) { y = RMSNormalization (x, s) }""")
    with pytest.raises(TrialError, match="opset 17") as told:
        at_opset(model, 17)
    assert told.value.kind == "build"
