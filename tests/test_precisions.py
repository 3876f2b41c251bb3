"""Contract of the precisions table: each entry is consistent, and rewrites a model that is valid."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.calibration import channel_axes, quantizable
from autoprec.errors import UserError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.grids.weights import on_grid
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.graph.statistics.moments import MomentSums
from autoprec.graph.statistics.ranges import RANGE_METHODS, Histograms
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.legality.judge import judge
from autoprec.precisions import PLAIN, PRECISIONS, Precision, listed
from autoprec.precisions.variants import CURES, RANGES
from autoprec.records import Assignment

_LONGEST = max(name.count("+") for name in PRECISIONS)
SHOWN = [name for name in PRECISIONS if name.count("+") in (0, 1, _LONGEST)]
"""Of hundreds of variants those with one part, and those with all."""
each = pytest.mark.parametrize("precision", [PRECISIONS[name] for name in SHOWN], ids=SHOWN)
E5M2 = ir.DataType.FLOAT8E5M2
GRIDS = {ir.DataType.INT8: 127, ir.DataType.INT4: 7}


@each
def test_a_precision_has_its_name_in_the_table_and_one_line_about_it(precision: Precision) -> None:
    assert PRECISIONS[precision.name] is precision
    assert precision.plain in PLAIN
    assert precision.summary
    assert "\n" not in precision.summary


@each
def test_its_largest_value_is_that_of_its_type(precision: Precision) -> None:
    kind = precision.quantized_type or precision.float_type
    assert kind is not None
    largest = GRIDS.get(kind) or float(ir.Tensor(np.zeros(1, kind.numpy()), dtype=kind).dtype.max)
    assert precision.largest == pytest.approx(largest)


@each
def test_quantised_and_float_precisions_do_not_mix(precision: Precision) -> None:
    quantised = precision.quantized_type is not None
    assert quantised == bool(precision.quantized_ops) == (precision.float_type is None)
    assert quantised == precision.is_quantized
    two_levels = precision.scale_type is not None
    assert precision.weights_only or bool(precision.block_size) == two_levels
    cures = (precision.passes, precision.learns_rounding, precision.corrects_bias)
    assert quantised or not any(cures)


@each
def test_what_it_quantises_is_what_pairs_are_placed_at(precision: Precision) -> None:
    assert precision.quantized_ops <= PLAIN["int8"].quantized_ops, "see graph/ops/placement.py"


@each
def test_its_range_method_is_known_and_a_percentile_goes_with_it_alone(precision: Precision) -> None:
    assert precision.range_method in {"", *RANGE_METHODS}
    assert (precision.range_method == "percentile") == (90 < precision.percentile < 100)


@each
def test_its_name_lists_its_parts_in_order(precision: Precision) -> None:
    parts = precision.name.split("+")[1:]
    order = [*RANGES, *CURES]
    assert parts == sorted(parts, key=order.index)
    assert sum(part in RANGES for part in parts) <= 1


@each
def test_its_kernels_have_a_name_as_engines_report_them(precision: Precision) -> None:
    assert re.fullmatch(r"(bf16|[fi](32|16|8|6|4|2))w?", precision.runs_as)


def test_a_precision_of_another_type_is_data_alone() -> None:
    fp8 = PLAIN["fp8"]
    changed = msgspec.structs.replace(fp8, name="e5m2", quantized_type=E5M2, largest=57344.0)
    assert (changed.runs_as, changed.plain, changed.is_quantized) == ("f8", "e5m2", True)
    test_its_largest_value_is_that_of_its_type(changed)
    weights, scales = np.array([[-3, 0.1], [7, 9e5]], np.float32), np.ones(2, np.float32)
    stored = on_grid(weights, scales, 0, changed.largest, E5M2)
    assert stored.astype(np.float32).tolist() == [[-3, 0.09375], [7, 57344]]


def test_no_two_precisions_are_the_same_but_for_their_names() -> None:
    bare = {msgspec.json.encode(msgspec.structs.replace(p, name="", summary="")) for p in PRECISIONS.values()}
    assert len(bare) == len(PRECISIONS)


def test_the_listing_names_every_precision_and_every_part() -> None:
    assert all(name in listed() for name in (*PLAIN, *RANGES, *CURES))


def small_model() -> onnx.ModelProto:
    """A residual convolution, a transposed one, attention, a product: every quantised op has its place."""
    random, shapes = np.random.default_rng(0), {"wc": (64, 64, 1, 1), "bc": (64,), "wt": (64, 64, 1, 1)}
    shapes |= {"wm": (64, 64), "bm": (64,)}
    weights = [
        numpy_helper.from_array(random.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["image", "wc", "bc"], ["c"], "conv"),
        helper.make_node("Add", ["c", "image"], ["r"], "residual"),
        helper.make_node("ConvTranspose", ["r", "wt"], ["t"], "up"),
        helper.make_node("Transpose", ["t"], ["n"], "turn", perm=[0, 2, 3, 1]),
        helper.make_node("Transpose", ["n"], ["k"], "keys", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["n", "k"], ["s"], "scores"),
        helper.make_node("Softmax", ["s"], ["p"], "probabilities"),
        helper.make_node("MatMul", ["p", "n"], ["v"], "mixed"),
        helper.make_node("MatMul", ["v", "wm"], ["m"], "product"),
        helper.make_node("Add", ["m", "bm"], ["masks"], "bias"),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in {"image": (1, 64, 4, 4), "masks": (1, 4, 4, 64)}.items()
    ]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture(scope="module")
def rewriter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rewriter, str, Path]:
    """A rewriter with calibrated ranges for one block, the block's name, and where to write."""
    folder = tmp_path_factory.mktemp("small")
    onnx.save(small_model(), folder / "model.onnx")
    model = load_model(folder / "model.onnx")
    [block] = judge(partition(model, minimum=1, maximum=1), model, tuple(PRECISIONS))
    assert block.allowed == tuple(PRECISIONS)
    histograms, sums, axes = Histograms(), MomentSums(model.graph), channel_axes(model)
    values = {v.name: v for node in model.graph for v in (*node.inputs, *node.outputs) if v is not None}
    random, seen = np.random.default_rng(1), {}
    for name in sorted(quantizable(model) | sums.inputs):
        shape = [int(str(size)) for size in values[name].shape or ()]
        seen[name] = (random.standard_normal(shape) * np.geomspace(1, 30, shape[-1])).astype(np.float32)
        histograms.observe(name, seen[name])
        if name in axes:
            histograms.observe_channels(name, seen[name], axes[name])
    sums.observe(seen)
    box = Toolbox(model, (block,), histograms, method="percentile", percentile=99.9, moments=sums.result())
    return Rewriter(model, (block,), box, base="fp16"), block.name, folder


@each
def test_it_rewrites_a_model_that_is_valid_and_holds_what_it_promises(
    precision: Precision, rewriter: tuple[Rewriter, str, Path]
) -> None:
    writer, block, folder = rewriter
    candidate = writer.write(Assignment(choices=((block, precision.name),)), folder / "candidate.onnx")
    model = onnx.load(candidate.model_path)
    onnx.checker.check_model(model, full_check=True)
    behind = {node.output[0]: node for node in model.graph.node if node.op_type not in ("Cast", "Reshape")}
    passed = {
        node.output[0]: node.input[0] for node in model.graph.node if node.op_type in ("Cast", "Reshape")
    }

    def origin(value: str) -> str:
        while value in passed:
            value = passed[value]
        return value

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    own = precision.float_type or ir.DataType.FLOAT16
    for node in model.graph.node:
        if node.name not in {"conv", "up", "product"}:
            continue
        maker = behind.get(origin(node.input[1]))
        stored = weights[maker.input[0] if maker else node.input[1]]
        quantised = node.op_type in precision.quantized_ops
        assert stored.data_type == (precision.quantized_type if quantised else own)
        activation = behind.get(origin(node.input[0]))
        pair = activation is not None and activation.op_type == "DequantizeLinear"
        assert pair == (quantised and not precision.weights_only)


def test_a_name_from_a_newer_autoprec_is_an_error_in_one_line() -> None:
    assert PRECISIONS.get("int3") is None
    with pytest.raises(UserError, match="knows no precision 'int3'"):
        PRECISIONS["int3"]
