"""For any graph and any assignment: valid, same inputs and outputs, and FP32 changes no bit."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoprec.calibration import channel_axes, quantizable
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.statistics.moments import MomentSums
from autoprec.graph.statistics.ranges import RANGE_METHODS, Histograms
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.legality.judge import judge
from autoprec.precisions import PLAIN, PRECISIONS
from autoprec.records import Assignment, Block
from random_graphs import IMAGE
from random_ops import models

often = pytest.mark.parametrize("examples", [12, pytest.param(50, marks=pytest.mark.slow)])


def hold(check: Callable[..., None], examples: int, *drawn: st.SearchStrategy[Any]) -> None:
    """Check so many draws, the same each time."""
    every = list(HealthCheck)
    drawing = settings(
        max_examples=examples, deadline=None, derandomize=True, suppress_health_check=every, database=None
    )
    drawing(given(*drawn)(check))()


OFTEN = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Relu", "Softmax")
MADE = {"Cast", "QuantizeLinear", "DequantizeLinear"}


@contextmanager
def loaded(proto: onnx.ModelProto) -> Iterator[tuple[ir.Model, tuple[Block, ...], Path]]:
    """The model, its blocks, and a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(proto, folder / "model.onnx")
        model = load_model(folder / "model.onnx")
        yield model, judge(partition(model, minimum=1, maximum=6), model, tuple(PRECISIONS)), folder


def toolbox(model: ir.Model, blocks: tuple[Block, ...], random: np.random.Generator) -> Toolbox:
    """What calibration could find: most activations vary, some channels or whole tensors are always zero."""
    histograms, axes, sums = Histograms(), channel_axes(model), MomentSums(model.graph)
    values = {v.name: v for node in model.graph for v in (*node.inputs, *node.outputs) if v is not None}
    seen = {}
    for name in sorted(quantizable(model) | sums.inputs):
        array = random.standard_normal([int(str(size)) for size in values[name].shape or ()])
        array = (array * random.choice([0, 1e-30, 1, 1, 1, 300])).astype(np.float32)
        array[..., ::3] *= random.choice([0, 1, 50])
        histograms.observe(name, array)
        if name in axes:
            histograms.observe_channels(name, array, axes[name])
        seen[name] = array
    sums.observe(seen)
    method = random.choice(list(RANGE_METHODS))
    return Toolbox(model, blocks, histograms, method=method, percentile=99.9, moments=sums.result())


def borders(model: onnx.ModelProto) -> list[tuple[str, int, list[int]]]:
    """(name, element type, sizes) of inputs and outputs; 0 for a size that is not known."""
    return [
        (v.name, v.type.tensor_type.elem_type, [d.dim_value for d in v.type.tensor_type.shape.dim])
        for v in (*model.graph.input, *model.graph.output)
    ]


def assert_same_borders(candidate: onnx.ModelProto, proto: onnx.ModelProto) -> None:
    """Where loading found out a size, the candidate may know it too."""
    for (name, kind, sizes), (computed, was, before) in zip(borders(candidate), borders(proto), strict=True):
        assert (name, kind, len(sizes)) == (computed, was, len(before))
        assert all(wanted in (0, size) for size, wanted in zip(sizes, before, strict=True))


def outputs(model: onnx.ModelProto) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal(IMAGE).astype(np.float32)
    return list(session.run(None, {"image": image}))


def assert_tidy(candidate: onnx.ModelProto) -> None:
    """Names are unique, a value is cast once to a type and never twice in a row, nothing is made in vain."""
    nodes = candidate.graph.node
    assert max(Counter(node.name for node in nodes).values()) == 1
    casts = [node for node in nodes if node.name.startswith("autoprec/cast")]
    assert max(Counter((n.input[0], n.attribute[0].i) for n in casts).values(), default=1) == 1
    assert not {n.output[0] for n in casts} & {n.input[0] for n in casts}
    read = {name for node in nodes for name in node.input} | {v.name for v in candidate.graph.output}
    assert {n.output[0] for n in nodes if n.name.startswith("autoprec/")} <= read
    assert {tensor.name for tensor in candidate.graph.initializer} <= read


def assert_symmetric(candidate: onnx.ModelProto) -> None:
    """Zero points are there and, but for those that came, zero; scales are positive, finite, and of the type
    that they multiply."""
    weights = {tensor.name: tensor for tensor in candidate.graph.initializer}
    for node in candidate.graph.node:
        if node.op_type in MADE - {"Cast"} and len(node.input) == 3:  # NVFP4 has no zero points
            scale, zero = (onnx.numpy_helper.to_array(weights[name]) for name in node.input[1:])
            assert scale.shape == zero.shape
            assert "/given" in node.name or not zero.astype(np.float32).any()
            assert (scale > 0).all()
            assert np.isfinite(scale.astype(np.float32)).all()


def any_assignment(proto: onnx.ModelProto, data: st.DataObject) -> None:
    with loaded(proto) as (model, blocks, folder):
        ranges = toolbox(model, blocks, np.random.default_rng(data.draw(st.integers(0, 99))))
        base = data.draw(st.sampled_from(("fp32", "fp16", "bf16")))
        names = st.one_of(st.sampled_from(tuple(PLAIN)), st.sampled_from(tuple(PRECISIONS)))
        wanted = {block.name: data.draw(names) for block in blocks}
        choices = tuple((b.name, wanted[b.name] if wanted[b.name] in b.allowed else "fp32") for b in blocks)
        widened = data.draw(st.sets(st.sampled_from(OFTEN)).map(lambda ops: [(op, base) for op in ops]))
        rewriter = Rewriter(model, blocks, ranges, base=base, widened=widened)
        written = rewriter.write(Assignment(choices=choices), folder / "candidate.onnx")
        candidate = onnx.load(written.model_path)
    onnx.checker.check_model(candidate, full_check=True)
    assert_same_borders(candidate, proto)
    assert_tidy(candidate)
    assert_symmetric(candidate)


def projections_apart(proto: onnx.ModelProto, precision: str, seed: int) -> None:
    with loaded(proto) as (model, blocks, folder):
        ranges = toolbox(model, blocks, np.random.default_rng(seed))
        chosen = tuple((b.name, precision if precision in b.allowed else "fp32") for b in blocks)
        rewriter = Rewriter(model, blocks, ranges, base="bf16", splits_projections=True)
        written = rewriter.write(Assignment(choices=chosen), folder / "candidate.onnx")
        candidate = onnx.load(written.model_path)
    onnx.checker.check_model(candidate, full_check=True)
    assert_same_borders(candidate, proto)
    assert_tidy(candidate)
    assert_symmetric(candidate)


def all_fp32(proto: onnx.ModelProto) -> None:
    with loaded(proto) as (model, blocks, folder):
        uniform = Assignment.uniform(blocks, "fp32", "fp32")
        written = Rewriter(model, blocks, {}, base="fp32").write(uniform, folder / "candidate.onnx")
        candidate = onnx.load(written.model_path)
    for before, after in zip(outputs(proto), outputs(candidate), strict=True):
        np.testing.assert_array_equal(before, after)


@often
def test_any_assignment_is_valid_and_keeps_inputs_and_outputs(examples: int) -> None:
    hold(any_assignment, examples, models() | models(quantized=True), st.data())


@often
def test_projections_apart_are_valid_beside_anything(examples: int) -> None:
    precisions = st.sampled_from(("int8", "fp8", "int8+smooth+bias"))
    hold(projections_apart, examples, models(most=4, projecting=True), precisions, st.integers(0, 99))


@often
def test_all_fp32_computes_the_same_bits(examples: int) -> None:
    hold(all_fp32, examples, models())
