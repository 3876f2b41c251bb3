"""What a Q/DQ pair clips stays clipped where the pair is taken off, unless something else clips it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from autoprec.graph.grids.pairs import Pair
from autoprec.graph.model.incoming.clipping import _KNOWN, clipped
from autoprec.graph.model.taming import tame
from autoprec.graph.model.unrounded import float_types, write_unrounded

UNSIGNED, SIGNED, FP8 = ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN


def graph_of(body: str, opset: int = 22) -> ir.Graph:
    text = f'<ir_version: 10, opset_import: ["": {opset}]> net (float[2,4] x) => (float[2,4] y) {{ {body} }}'
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    return model.graph


def pair(scale: float, kind: ir.DataType, zero: int = 0) -> Pair:
    return Pair("p", np.asarray(scale, np.float32), kind, np.asarray(zero, kind.numpy()))


@pytest.mark.parametrize(
    ("body", "scale", "kind", "zero", "wanted"),
    [
        ("v = Neg(x)", 0.1, UNSIGNED, 0, "Clip"),
        ("v = Relu(x)", 0.1, UNSIGNED, 0, "Clip"),  # its upper end is open
        ("v = Sigmoid(x)", 0.1, UNSIGNED, 0, ""),
        ("v = Sigmoid(x)", 1 / 255, UNSIGNED, 0, ""),
        ("v = Sigmoid(x)", 0.5 / 255, UNSIGNED, 0, "Clip"),
        ("v = Sigmoid(x)", 1.002 / 255.5, UNSIGNED, 0, ""),  # within half a step of the grid
        ("v = Sigmoid(x)", 0.99 / 255.5, UNSIGNED, 0, "Clip"),
        ("v = Tanh(x)", 0.1, UNSIGNED, 0, "Relu"),
        ("v = Tanh(x)", 0.1, UNSIGNED, 128, ""),
        ("v = Tanh(x)", 0.1, UNSIGNED, 5, "Clip"),
        ("v = Tanh(x)", 0.1, SIGNED, 0, ""),
        ("v = Tanh(x)", 0.001, SIGNED, 0, "Clip"),
        ("s = Sigmoid(x)  t = Tanh(x)  v = Concat<axis = 0>(s, t)", 0.1, UNSIGNED, 0, "Relu"),
        ("s = Sigmoid(x)  t = Softmax(x)  v = Concat<axis = 0>(s, t)", 0.1, UNSIGNED, 0, ""),
        ("s = Sigmoid(x)  v = Transpose(s)", 0.1, UNSIGNED, 0, ""),
        ("s = Sigmoid(x)  v = Neg(s)", 0.1, UNSIGNED, 0, "Clip"),
    ],
)
def test_bounds_are_put_back_where_what_makes_the_value_does_not_keep_them(
    body: str, scale: float, kind: ir.DataType, zero: int, wanted: str
) -> None:
    graph = graph_of(f"{body}  y = Identity(v)")
    value = next(v for node in graph for v in node.outputs if v.name == "v")
    before = len(graph)
    result = clipped(graph, value, pair(scale, kind, zero))
    maker = result.producer()
    assert maker is not None
    assert (maker.op_type if result is not value else "") == wanted
    assert len(graph) == before + bool(wanted)
    graph.outputs[:] = [value, result]
    x = np.array([[-60, -1, -0.01, 0], [0.01, 1, 30, 60]], np.float32)
    before_it, behind_it = ReferenceEvaluator(ir.to_proto(ir.Model(graph, ir_version=10))).run(None, {"x": x})
    low, high = (kind.min - zero) * scale, (kind.max - zero) * scale
    np.testing.assert_allclose(behind_it, np.clip(before_it, low, high), rtol=1e-6, atol=scale / 2)
    if wanted == "Clip":
        assert clipped(graph, value, pair(scale, kind, zero)) is result, "the same bounds are put in once"
        other = clipped(graph, value, pair(scale / 2, kind, zero))
        assert other is not result
        assert other.name != result.name


def test_of_an_input_of_the_model_nothing_is_known() -> None:
    graph = graph_of("y = Identity(x)")
    graph.outputs.append(clipped(graph, graph.inputs[0], pair(0.1, SIGNED)))
    x = np.linspace(-20, 20, 8, dtype=np.float32).reshape(2, 4)
    (_, behind_it) = ReferenceEvaluator(ir.to_proto(ir.Model(graph, ir_version=10))).run(None, {"x": x})
    np.testing.assert_allclose(behind_it, np.clip(x, -12.8, 12.7), rtol=1e-6)


def test_an_old_clip_has_its_bounds_as_attributes() -> None:
    graph = graph_of("v = Neg(x)  y = Identity(v)", opset=10)
    value = next(v for node in graph for v in node.outputs if v.name == "v")
    maker = clipped(graph, value, pair(0.5, SIGNED)).producer()
    assert maker is not None
    assert [maker.attributes.get_float(name, 0.0) for name in ("min", "max")] == [-64.0, 63.5]


def test_bounds_of_channels_are_a_max_and_a_min() -> None:
    graph = graph_of("v = Neg(x)  y = Identity(v)")
    value = next(v for node in graph for v in node.outputs if v.name == "v")
    scales = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    result = clipped(graph, value, Pair("p", scales, UNSIGNED, np.zeros(4, np.uint8), axis=1))
    low, high = result.producer().inputs[0].producer(), result.producer()  # type: ignore[union-attr]
    assert (low.op_type, high.op_type) == ("Max", "Min")  # type: ignore[union-attr]
    limits = high.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    np.testing.assert_allclose(limits, [255 * scales])


@pytest.mark.parametrize(
    ("kind", "zero", "low", "high"),
    [
        ("UINT8", 0, 0, 255),
        ("UINT8", 100, -100, 155),
        ("INT8", 0, -128, 127),
        ("INT8", 3, -131, 124),
        ("UINT16", 0, 0, 65535),
        ("FLOAT8E4M3FN", 0, -448, 448),
        ("FLOAT8E5M2", 0, -57344, 57344),
    ],
)
def test_an_unrounded_pair_clips_where_its_levels_end(
    kind: str, zero: int, low: float, high: float, tmp_path: Path
) -> None:
    stored = getattr(onnx.TensorProto, kind)
    zeros = helper.make_tensor("z", stored, [], [zero])
    scale = numpy_helper.from_array(np.float32(0.25), "s")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dq"),
    ]
    ends = [helper.make_tensor_value_info(name, 1, [5]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [scale, zeros])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(proto, tmp_path / "m.onnx")
    assert write_unrounded(tmp_path / "m.onnx", tmp_path / "u.onnx")
    x = np.array([-1e6, low / 4 + 0.1, 0.1, high / 4 - 0.1, 1e6], np.float32)
    (result,) = ReferenceEvaluator(onnx.load(tmp_path / "u.onnx")).run(None, {"x": x})
    np.testing.assert_allclose(result, np.clip(x, low / 4, high / 4))


def test_an_unrounded_pair_without_a_zero_point_begins_at_0(tmp_path: Path) -> None:
    body = "q = QuantizeLinear(x, s)  y = DequantizeLinear(q, s)"
    head = '<ir_version: 10, opset_import: ["": 21]> net (float[4] x) => (float[4] y) <float s = {0.5}>'
    onnx.save(onnx.parser.parse_model(f"{head} {{ {body} }}"), tmp_path / "m.onnx")
    assert write_unrounded(tmp_path / "m.onnx", tmp_path / "u.onnx")
    x = np.array([-0.4, 0.1, 127.4, 200], np.float32)
    (result,) = ReferenceEvaluator(onnx.load(tmp_path / "u.onnx")).run(None, {"x": x})
    np.testing.assert_allclose(result, np.clip(x, 0, 127.5))


def test_channels_are_clipped_each_at_its_own_ends_and_weights_stay(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 21]> net (float[3,2] x) => (float[3,2] y)
    <float[2] s = {1.0, 0.5}, int8[2] z = {0, 0}, int8[2,2] w = {1, 2, 3, 4}, float t = {0.5}, int8 n = {0}> {
      q = QuantizeLinear<axis = 1>(x, s, z)  d = DequantizeLinear<axis = 1>(q, s, z)
      v = DequantizeLinear(w, t, n)  y = MatMul(d, v)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    assert write_unrounded(tmp_path / "m.onnx", tmp_path / "u.onnx")
    x = np.array([[0.3, 0.3], [500, 500], [-500, -500]], np.float32)
    (result,) = ReferenceEvaluator(onnx.load(tmp_path / "u.onnx")).run(None, {"x": x})
    within = np.clip(x, [-128, -64], [127, 63.5])
    np.testing.assert_allclose(result, within @ (np.array([[1, 2], [3, 4]]) / 2), rtol=1e-6)


def test_a_model_without_pairs_is_not_written_again(tmp_path: Path) -> None:
    onnx.save(ir.to_proto(ir.Model(graph_of("y = Relu(x)"), ir_version=10)), tmp_path / "m.onnx")
    assert not write_unrounded(tmp_path / "m.onnx", tmp_path / "u.onnx")
    assert not (tmp_path / "u.onnx").exists()
    assert float_types(tmp_path / "m.onnx") == {ir.DataType.FLOAT}


def test_a_cast_is_a_type_that_a_model_computes_in(tmp_path: Path) -> None:
    body = "h = Cast<to = 10>(x)  i = Cast<to = 7>(x)  j = Cast<to = 1>(i)  y = Add(j, x)"
    onnx.save(ir.to_proto(ir.Model(graph_of(body), ir_version=10)), tmp_path / "m.onnx")
    assert float_types(tmp_path / "m.onnx") == {ir.DataType.FLOAT, ir.DataType.FLOAT16}


def normed(largest: float, *, extra: str = "", bias: str = ", c") -> tuple[onnx.ModelProto, dict[str, Any]]:
    text = f"""<ir_version: 10, opset_import: ["": 20]> net (float[1,2,4,4] x) => (float[1,3,4,4] y{extra}) {{
      v = Conv(x, w{bias})  y = BatchNormalization<epsilon = 0.01>(v, g, b, m, s)
      {"o = Conv(x, w)" if extra else ""}
    }}"""
    random, proto = np.random.default_rng(0), onnx.parser.parse_model(text)
    arrays = {
        "w": random.standard_normal((3, 2, 1, 1)) * np.sqrt(largest),
        "c": random.standard_normal(3),
        "g": random.standard_normal(3),
        "b": random.standard_normal(3),
        "m": random.standard_normal(3),
        "s": np.array([largest, 1.0, largest / 4]),
    }
    for name, array in arrays.items():
        if name != "c" or bias:
            proto.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return proto, {"x": random.standard_normal((1, 2, 4, 4)).astype(np.float32)}


@pytest.mark.parametrize(
    ("largest", "extra", "bias"),
    [(1e8, "", ", c"), (1e8, "", ""), (1e8, ", float[1,3,4,4] o", ", c"), (32768.0, "", ", c")],
)
def test_a_norm_s_constants_come_within_fp16_and_its_results_stay(
    largest: float, extra: str, bias: str
) -> None:
    proto, feeds = normed(largest, extra=extra, bias=bias)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    before = {name: value.const_value for name, value in model.graph.initializers.items()}
    tame(model.graph)
    changed = set(model.graph.initializers) - set(before)
    assert bool(changed) == (largest > 32768)
    if changed:
        norm = next(node for node in model.graph if node.op_type == "BatchNormalization")
        for place in (3, 4):
            assert np.abs(norm.inputs[place].const_value.numpy()).max() <= 4.1
        gone = set(before) - set(model.graph.initializers)
        assert gone == {"m", "s"} | ({"w"} if not extra else set()) | ({"c"} if bias else set())
    for was, now in zip(
        ReferenceEvaluator(proto).run(None, feeds),
        ReferenceEvaluator(ir.to_proto(model)).run(None, feeds),
        strict=True,
    ):
        np.testing.assert_allclose(now, was, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reader", ["o = Relu(v)", "o = Identity(v)"])
def test_a_convolution_that_others_read_too_stays(reader: str) -> None:
    proto, _ = normed(1e8, extra=", float[1,3,4,4] o")
    proto.graph.node.pop()
    proto.graph.node.append(helper.make_node(reader.split()[2][:-3], ["v"], ["o"]))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    before = set(model.graph.initializers)
    tame(model.graph)
    assert set(model.graph.initializers) == before


@pytest.mark.parametrize("op", sorted(_KNOWN))
def test_what_is_known_of_an_operator_s_results_is_where_they_lie(op: str) -> None:
    axes = "<axes = [1]>" if op == "ReduceL2" else ""
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 17]> g (float[9,9] x) => (float[n,m] y) {{ y = {op}{axes}(x) }}'
    )
    ends = np.array([-40, -9, -3, -1e-3, 0, 1e-3, 3, 9, 40], np.float32)
    x = np.abs(ends) if op == "Sqrt" else ends
    (results,) = ReferenceEvaluator(proto).run(None, {"x": x[:, None] + np.diag(x)})
    low, high = _KNOWN[op]
    assert results.min() == pytest.approx(low, abs=1e-3)
    assert results.max() == pytest.approx(high, rel=1e-3) if np.isfinite(high) else results.max() > 8


def test_a_norm_behind_computed_weights_stays() -> None:
    proto, _ = normed(1e8)
    proto.graph.node.insert(0, helper.make_node("Neg", ["w"], ["n"]))
    convolution = next(node for node in proto.graph.node if node.op_type == "Conv")
    convolution.input[1] = "n"
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    before = set(model.graph.initializers)
    tame(model.graph)
    assert set(model.graph.initializers) == before
