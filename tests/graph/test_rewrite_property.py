"""For any graph and any assignment: valid, same inputs and outputs, and FP32 changes no bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import IMAGE, models

from autoprec.graph.legality import judge
from autoprec.graph.load import load_model
from autoprec.graph.partition import partition
from autoprec.graph.rewrite import Rewriter
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block

often = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


def loaded(proto: onnx.ModelProto, folder: Path) -> tuple[ir.Model, tuple[Block, ...]]:
    onnx.save(proto, folder / "model.onnx")
    model = load_model(folder / "model.onnx")
    return model, judge(partition(model, minimum=1, maximum=6), model, tuple(PRECISIONS))


def borders(model: onnx.ModelProto) -> list[str]:
    weights = {tensor.name for tensor in model.graph.initializer}
    values = [*(v for v in model.graph.input if v.name not in weights), *model.graph.output]
    return [f"{v.name} {v.type.tensor_type.SerializeToString()!r}" for v in values]


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32)
    return list(session.run(None, {"image": image}))


@often
@given(models(), st.data())
def test_any_assignment_is_valid_and_keeps_inputs_and_outputs(
    proto: onnx.ModelProto, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model, blocks = loaded(proto, Path(folder))
        ranges = {
            str(value.name): 4.0 for node in model.graph for value in (*node.inputs, *node.outputs) if value
        }
        base = data.draw(st.sampled_from(("fp32", "fp16", "bf16")))
        choices = tuple((block.name, data.draw(st.sampled_from(block.allowed))) for block in blocks)
        found = Rewriter(model, blocks, ranges, base=base).write(
            Assignment(choices=choices), Path(folder) / "candidate.onnx"
        )
        candidate = onnx.load(found.model_path)
    onnx.checker.check_model(candidate, full_check=True)
    assert borders(candidate) == borders(onnx.shape_inference.infer_shapes(proto))
    casts = [(node.input[0], node.attribute[0].i) for node in candidate.graph.node if node.op_type == "Cast"]
    assert len(set(casts)) == len(casts)
    assert not {node.output[0] for node in candidate.graph.node if node.op_type == "Cast"} & {
        c[0] for c in casts
    }


@often
@given(models())
def test_all_fp32_computes_the_same_bits(proto: onnx.ModelProto) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model, blocks = loaded(proto, Path(folder))
        uniform = Assignment(choices=tuple((block.name, "fp32") for block in blocks))
        found = Rewriter(model, blocks, {}, base="fp32").write(uniform, Path(folder) / "candidate.onnx")
        candidate = onnx.load(found.model_path)
    for before, after in zip(outputs(proto), outputs(candidate), strict=True):
        np.testing.assert_array_equal(before, after)
