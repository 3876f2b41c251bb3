"""What a block ran in is what most of its deciding kernels did."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from autoprec.measurement.audit import audit, deciding_nodes
from autoprec.records import Assignment, Block, BlockAudit, KernelTime

BLOCKS = (Block(name="stem", nodes=("conv", "relu")), Block(name="head", nodes=("mm", "soft", "mm2")))
CHOICES = Assignment(choices=(("stem", "int8"), ("head", "fp16")))


def kernel(nodes: str, precision: str, time_ms: float = 1.0, name: str = "jit") -> KernelTime:
    return KernelTime(nodes=tuple(nodes.split()), kernel=name, precision=precision, time_ms=time_ms)


def audited(*kernels: KernelTime, heavy: str = "conv mm mm2") -> dict[str, BlockAudit]:
    return {one.block: one for one in audit(BLOCKS, CHOICES, kernels, heavy.split())}


def test_a_block_matches_where_most_of_its_deciding_kernels_do() -> None:
    audits = audited(kernel("conv relu", "i8"), kernel("mm", "f16"), kernel("mm2", "f32"))
    assert (audits["stem"].ran, audits["stem"].matches, audits["stem"].asked) == ("i8 x1", True, "int8")
    assert (audits["head"].ran, audits["head"].matches) == ("f16 x1, f32 x1", False), "half is not most"
    more = audited(kernel("mm", "f16"), kernel("mm2", "f16"), kernel("mm2", "f32"))
    assert (more["head"].ran, more["head"].matches) == ("f16 x2, f32 x1", True)


def test_kernels_of_other_nodes_decide_nothing() -> None:
    audits = audited(kernel("conv", "i8"), kernel("soft", "f32"), kernel("relu", "f32"))
    assert (audits["stem"].matches, audits["head"].matches) == (True, None)
    assert (audits["head"].ran, audits["head"].detail) == ("", "")


def test_a_kernel_that_hides_its_precision_decides_nothing_either() -> None:
    audits = audited(kernel("conv", ""), kernel("mm", "", time_ms=3.0))
    assert [(a.matches, a.time_ms) for a in audits.values()] == [(None, 1.0), (None, 3.0)]


def test_a_kernel_that_spans_blocks_gives_each_its_share_of_the_time() -> None:
    audits = audited(kernel("conv relu mm soft", "i8", time_ms=8.0), kernel("elsewhere", "f32", time_ms=5.0))
    assert [audits[name].time_ms for name in ("stem", "head")] == [4.0, 4.0]
    uneven = audited(kernel("conv mm soft nowhere", "i8", time_ms=3.0))
    assert [uneven[name].time_ms for name in ("stem", "head")] == [1.0, 2.0]


def test_the_three_most_frequent_kernels_are_told() -> None:
    names = ["a", "b", "b", "c", "c", "c", "d", "d", "d", "d"]
    audits = audited(*(kernel("mm", "f16", name=name) for name in names))
    assert audits["head"].detail == "d x4; c x3; b x2"


@pytest.mark.parametrize(
    ("precisions", "deciding"),
    [
        (("fp16", "fp16"), ["conv", "mm", "act"]),
        (("int8", "fp16"), ["conv", "mm"]),
        (("int4", "int8"), ["mm"]),
    ],
)
def test_deciding_are_the_costly_nodes_that_the_precision_types(
    precisions: tuple[str, str], deciding: list[str]
) -> None:
    text = """<ir_version: 11, opset_import: ["": 23]> net (float[1,4,8,8] x, float[2,8] z, float[8,8] q)
    => (float[1,4,8,8] y, float[2,8] o, float[2,8] s) {
      [conv] c = Conv<pads = [1,1,1,1]>(x, k)  [relu] y = Relu(c)
      [act] a = MatMul(z, q)  [soft] o = Softmax(a)  [mm] m = MatMul(z, w)  [add] s = Add(m, z)
    }"""
    proto = onnx.parser.parse_model(text)
    for name, shape in (("k", (4, 4, 3, 3)), ("w", (8, 8))):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    blocks = (Block(name="a", nodes=("conv", "relu")), Block(name="b", nodes=("act", "soft", "mm", "add")))
    chosen = Assignment(choices=(("a", precisions[0]), ("b", precisions[1])))
    assert set(deciding_nodes(model, blocks, chosen)) >= set(deciding) - {"act"}
    if precisions[0] == "int4":
        assert "conv" not in deciding_nodes(model, blocks, chosen), "INT4 types no convolution"


def test_a_norm_decides_where_nothing_costly_does() -> None:
    text = """<ir_version: 11, opset_import: ["": 23]> net (float[2,8] x) => (float[2,8] y) {
      [norm] n = RMSNormalization(x, g)  [one] o = RMSNormalization(n, g)  [mm] y = MatMul(o, w)
    }"""
    proto = onnx.parser.parse_model(text)
    for name, shape in (("g", (8,)), ("w", (8, 8))):
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    blocks = (Block(name="a", nodes=("norm",)), Block(name="b", nodes=("one", "mm")))
    chosen = Assignment(choices=(("a", "fp16"), ("b", "fp16")))
    assert deciding_nodes(model, blocks, chosen) == ("mm", "norm")
