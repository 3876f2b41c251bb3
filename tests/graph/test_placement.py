"""Where Q/DQ goes and what it looks like, by TensorRT's rules for explicit quantisation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from autoprec.errors import TrialError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.files import write_model
from autoprec.graph.model.load import load_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.judge import judge
from autoprec.records import Assignment

MODEL = """
<ir_version: 10, opset_import: ["": 20]>
net (float[1,4,8,8] image) => (float[1,4,8,8] masks) {
    [entry] a = Conv<pads = [1,1,1,1]>(image, w_entry, b_entry)
    [branch] b = Conv<pads = [1,1,1,1]>(a, w_branch, b_branch)
    [join] c = Add(a, b)
    [turn] d = Transpose<perm = [0,2,3,1]>(c)
    [norm] e = LayerNormalization<axis = -1>(d, scale, bias)
    [product] f = MatMul(e, w_product)
    [back] masks = Transpose<perm = [0,3,1,2]>(f)
}
"""
WEIGHTS = {
    "w_entry": (4, 4, 3, 3),
    "b_entry": (4,),
    "w_branch": (4, 4, 3, 3),
    "b_branch": (4,),
    "scale": (4,),
    "bias": (4,),
    "w_product": (4, 4),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    random, model = np.random.default_rng(0), onnx.parser.parse_model(MODEL)
    for name, shape in WEIGHTS.items():
        model.graph.initializer.append(
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        )
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def rewritten(
    path: Path,
    precision: str,
    base: str = "fp16",
    limit: float = 2.54,
    widened: Iterable[tuple[str, str]] = (),
) -> onnx.ModelProto:
    model = load_model(path)
    blocks = judge(partition(model, minimum=1, maximum=1), model, ("fp32", precision))
    ranges = {str(v.name): limit for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    rewriter = Rewriter(model, blocks, ranges, base=base, widened=widened)
    chosen = Assignment(choices=tuple((block.name, precision) for block in blocks))
    return onnx.load(rewriter.write(chosen, path.with_name("candidate.onnx")).model_path)


class Reading:
    """Who makes a value, and what an initializer holds."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = {node.name: node for node in model.graph.node}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.weights = {t.name: t for t in model.graph.initializer}

    def behind(self, node: str, place: int) -> list[str]:
        """Op types that lead to an input, nearest first, down to a weight or a costly op."""
        value, ops = self.nodes[node].input[place], list[str]()
        while value in self.makers and self.makers[value].op_type in {
            "QuantizeLinear",
            "DequantizeLinear",
            "Cast",
        }:
            ops.append(self.makers[value].op_type)
            value = self.makers[value].input[0]
        return ops


def test_both_inputs_of_a_weighted_op_are_quantised_and_its_bias_is_not(path: Path) -> None:
    reading = Reading(rewritten(path, "int8"))
    for node in ("entry", "branch", "product"):
        assert reading.behind(node, 0)[:2] == ["DequantizeLinear", "QuantizeLinear"]
        assert reading.behind(node, 1) == ["DequantizeLinear"]
    assert reading.behind("entry", 2) == []


def test_weights_are_stored_in_int8_with_a_scale_for_each_output_channel(path: Path) -> None:
    reading = Reading(rewritten(path, "int8"))
    for node, axis in (("entry", 0), ("product", 1)):
        dequantise = reading.makers[reading.nodes[node].input[1]]
        stored, scale = (reading.weights[dequantise.input[place]] for place in (0, 1))
        assert stored.data_type == TensorProto.INT8
        assert list(scale.dims) == [4]
        assert next(a.i for a in dequantise.attribute if a.name == "axis") == axis
        assert np.abs(numpy_helper.to_array(stored).astype(int)).max() == 127


def test_activations_have_one_scale_and_every_pair_an_explicit_zero_point_of_zero(path: Path) -> None:
    model = rewritten(path, "int8", base="fp32")
    reading = Reading(model)
    pairs = [n for n in model.graph.node if n.op_type in {"QuantizeLinear", "DequantizeLinear"}]
    assert pairs
    assert all(not numpy_helper.to_array(reading.weights[n.input[2]]).any() for n in pairs)
    scales = [reading.weights[n.input[1]] for n in pairs if n.op_type == "QuantizeLinear"]
    assert all(numpy_helper.to_array(s) == pytest.approx(2.54 / 127) and not s.dims for s in scales)


def test_the_skip_of_a_residual_add_is_quantised_and_the_branch_is_not(path: Path) -> None:
    reading = Reading(rewritten(path, "int8"))
    assert reading.behind("join", 0)[:2] == ["DequantizeLinear", "QuantizeLinear"]
    assert reading.behind("join", 1) == []


def test_a_value_that_several_ops_read_is_quantised_once(path: Path) -> None:
    model = rewritten(path, "int8")
    read = {node.input[0] for node in model.graph.node if node.name in {"branch", "join"}}
    assert len(read) == 1  # the skip and the branch read one pair
    sources = [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert len(sources) == len(set(sources))


def test_norms_stay_in_the_float_type_of_the_base(path: Path) -> None:
    reading = Reading(rewritten(path, "int8"))
    assert reading.behind("norm", 0) == []
    assert reading.weights[reading.nodes["norm"].input[1]].data_type == TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16)]
)
def test_a_float_precision_converts_weights_and_casts_at_the_ends_alone(
    path: Path, precision: str, kind: int
) -> None:
    model = rewritten(path, precision)
    assert [node.op_type for node in model.graph.node].count("Cast") == 2
    assert {tensor.data_type for tensor in model.graph.initializer} == {kind}


def test_what_does_not_take_a_type_or_is_widened_computes_in_fp32_between_casts(path: Path) -> None:
    proto = onnx.load(path)
    names = [node.name for node in proto.graph.node]
    proto.graph.node[names.index("turn")].input[0] = "s"
    shrink = onnx.helper.make_node("Shrink", ["c"], ["s"], "shrink")  # ONNX does not give it BF16
    proto.graph.node.insert(names.index("turn"), shrink)
    onnx.save(proto, path)
    for widened, norm in (((), TensorProto.BFLOAT16), ([("LayerNormalization", "bf16")], TensorProto.FLOAT)):
        reading = Reading(rewritten(path, "bf16", base="bf16", widened=widened))
        assert reading.behind("shrink", 0)[0] == "Cast"
        assert reading.weights[reading.nodes["norm"].input[1]].data_type == norm
        assert reading.weights[reading.nodes["entry"].input[1]].data_type == TensorProto.BFLOAT16


def test_without_a_range_an_op_is_left_whole_in_float(path: Path) -> None:
    model = rewritten(path, "int8", limit=0.0)
    assert "QuantizeLinear" not in {node.op_type for node in model.graph.node}


def test_fp8_is_stored_as_e4m3(path: Path) -> None:
    model = rewritten(path, "fp8")
    assert TensorProto.FLOAT8E4M3FN in {tensor.data_type for tensor in model.graph.initializer}


def test_the_rewriter_leaves_its_source_alone(path: Path) -> None:
    before = path.read_bytes()
    first = rewritten(path, "int8")
    rewritten(path, "bf16")
    assert path.read_bytes() == before
    assert rewritten(path, "int8").SerializeToString() == first.SerializeToString()


def test_a_broken_promise_is_a_failed_trial(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "autoprec.graph.rewrite.writer.Writer._output", lambda self, value: self._copies[value]
    )
    with pytest.raises(TrialError):
        rewritten(path, "fp16")


def test_weights_of_a_huge_candidate_go_into_a_file_beside_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rewritten(path, "int8")
    monkeypatch.setattr("autoprec.graph.rewrite.rewrite.write_model", partial(write_model, largest=0))
    split = rewritten(path, "int8")
    assert path.with_name("candidate.onnx.data").is_file()
    ends = [sorted(tensor.name for tensor in model.graph.initializer) for model in (whole, split)]
    assert ends[0] == ends[1]


def test_a_candidate_keeps_the_name_of_its_graph(path: Path) -> None:
    assert rewritten(path, "fp16").graph.name == "net"
