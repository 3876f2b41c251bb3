"""A model is read whole and safely, or refused in words that name it."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from autoprec.errors import ModelError
from autoprec.graph.model.load import input_shapes, load_model, model_digest
from random_ops import models

HEAD = '<ir_version: 10, opset_import: ["": 20]>'
RELU = HEAD + " g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }"
FREE = HEAD + " g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"
BRANCH = (
    HEAD
    + """ g (bool c, float[2] x) => (float[2] y) {
    y = If (c) <then_branch = t () => (float[2] a) { a = Relu(x) },
                else_branch = e () => (float[2] b) { b = Abs(x) }> }"""
)


def saved(folder: Path, text: str) -> Path:
    onnx.save(onnx.parser.parse_model(text), folder / "model.onnx")
    return folder / "model.onnx"


def with_data(folder: Path, location: str, size: int = 4) -> Path:
    """A model of one Add whose weight claims to lie in `location`."""
    weight = numpy_helper.from_array(np.ones(size, np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def test_a_weight_of_more_values_than_floats_count_is_refused(tmp_path: Path) -> None:
    proto = onnx.load(with_data(tmp_path, "w.bin"), load_external_data=False)
    weight = proto.graph.initializer[0]
    weight.ClearField("external_data")
    weight.ClearField("data_location")
    weight.dims[:] = [2**62] * 20
    (tmp_path / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="is not a valid ONNX model"):
        load_model(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a\x12\xff\xff"])
def test_what_is_no_model_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx"):
        load_model(tmp_path / "bad.onnx")


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        load_model(tmp_path / "none.onnx")


@pytest.mark.parametrize("location", ["../w.bin", "{absolute}", "link.bin", "link/w.bin"])
def test_weights_outside_the_folder_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    path = with_data(tmp_path / "in", location.format(absolute=tmp_path / "w.bin"))
    (tmp_path / "in/link.bin").symlink_to(tmp_path / "w.bin")
    (tmp_path / "in/link").symlink_to(tmp_path)
    with pytest.raises(ModelError):
        load_model(path)


@pytest.mark.parametrize("size", [4, 4096])
def test_weights_beside_the_model_are_read(size: int, tmp_path: Path) -> None:
    path = with_data(tmp_path, "w.bin", size)
    np.arange(size, dtype=np.float32).tofile(tmp_path / "w.bin")
    weight = load_model(path).graph.initializers["w"].const_value
    assert weight is not None
    assert weight.numpy()[-1] == size - 1


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"w\.bin"):
        load_model(with_data(tmp_path, "w.bin"))


@pytest.mark.parametrize("size", [4, 4096])
def test_a_file_of_weights_that_is_cut_short_is_named(size: int, tmp_path: Path) -> None:
    path = with_data(tmp_path, "w.bin", size)
    np.ones(size - 1, np.float32).tofile(tmp_path / "w.bin")
    with pytest.raises(ModelError, match=r"'w\.bin' is cut short"):
        load_model(path)


def test_constants_read_nothing_from_outside_the_folder_either(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    model = onnx.load(with_data(tmp_path / "in", "../w.bin"), load_external_data=False)
    node = helper.make_node("Constant", [], ["w"])
    node.attribute.append(helper.make_attribute("value", model.graph.initializer.pop()))
    model.graph.node.insert(0, node)
    (tmp_path / "in/model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside its folder"):
        load_model(tmp_path / "in/model.onnx")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(models(most=5), st.integers(0, 2**32), st.sampled_from(("change", "cut", "put")))
def test_damaged_files_are_refused_or_still_models(proto: onnx.ModelProto, seed: int, how: str) -> None:
    random, content = np.random.default_rng(seed), bytearray(proto.SerializeToString())
    place = int(random.integers(len(content)))
    noise = random.bytes(int(random.integers(1, 9)))
    content[place : place + (0 if how == "put" else len(noise))] = b"" if how == "cut" else noise
    with tempfile.TemporaryDirectory() as folder, suppress(ModelError):
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        assert list(load_model(path).graph)


def test_weights_in_a_file_beside_the_model_are_part_of_its_digest(tmp_path: Path) -> None:
    path = with_data(tmp_path, "w.bin")
    (tmp_path / "w.bin").write_bytes(np.ones(4, np.float32).tobytes())
    before = model_digest(path)
    load_model(path)
    (tmp_path / "w.bin").write_bytes(np.zeros(4, np.float32).tobytes())
    assert model_digest(path) != before


def test_a_model_has_the_digest_that_earlier_versions_stored(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx.ModelProto(ir_version=8).SerializeToString())
    assert model_digest(tmp_path / "model.onnx") == "a62ed1827abb3c89"


def test_dynamic_sizes_have_to_be_fixed(tmp_path: Path) -> None:
    path = saved(tmp_path, FREE)
    with pytest.raises(ModelError, match=r"'x' has dynamic sizes \(N\).*shapes"):
        load_model(path)
    assert input_shapes(load_model(path, {"x": (3, 4)})) == (("x", (3, 4)),)


@pytest.mark.parametrize("unknown", [0, -1])
def test_sizes_that_are_none_are_dynamic(unknown: int, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(FREE)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = unknown
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=rf"'x' has dynamic sizes \({unknown}\)"):
        load_model(tmp_path / "model.onnx")
    assert input_shapes(load_model(tmp_path / "model.onnx", {"x": (3, 4)})) == (("x", (3, 4)),)


@pytest.mark.parametrize(("name", "shape"), [("xx", (3, 4)), ("x", (3, 5)), ("x", (3, 4, 1))])
def test_sizes_that_do_not_fit_the_input_are_refused(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="'x"):
        load_model(saved(tmp_path, FREE), {name: shape})


def test_control_flow_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"control flow \(If\)"):
        load_model(saved(tmp_path, BRANCH))


def test_every_node_has_a_name_of_its_own_and_dead_ones_are_gone(tmp_path: Path) -> None:
    text = (
        HEAD
        + """ g (float[1,4] x) => (float[1,4] y)
    { [same] a = Relu(x)  [same] b = Relu(a)  [dead] c = Abs(x)  y = Abs(b) }"""
    )
    names = [node.name for node in load_model(saved(tmp_path, text)).graph]
    assert len(names) == len(set(names)) == 3
    assert "dead" not in names


def test_an_old_opset_is_brought_up_to_one_with_bf16(tmp_path: Path) -> None:
    model = load_model(saved(tmp_path, RELU.replace("20", "17")))
    assert model.graph.opset_imports[""] >= 22


def test_a_norm_whose_variance_fp16_cannot_hold_is_scaled_down(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        "w": 1e4 * random.standard_normal((6, 4, 3, 3)),
        "b": 1e4 * random.standard_normal(6),
        "gain": random.standard_normal(6),
        "shift": random.standard_normal(6),
        "mean": 1e3 * random.standard_normal(6),
        "variance": random.uniform(1e8, 9e8, 6),
    }
    text = """<ir_version: 10, opset_import: ["" : 22]> g (float[1,4,8,8] x) => (float[1,6,6,6] y) {
        c = Conv (x, w, b)
        y = BatchNormalization (c, gain, shift, mean, variance)
    }"""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(
        numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()
    )
    onnx.save(proto, tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    held = [value.const_value.numpy() for value in model.graph.initializers.values() if value.const_value]
    assert max(np.abs(array).max() for array in held) < 65504
    feed = {"x": random.standard_normal((1, 4, 8, 8)).astype(np.float32)}
    before, after = (ReferenceEvaluator(one).run(None, feed)[0] for one in (proto, ir.to_proto(model)))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5)


def test_what_is_copied_is_read_where_it_comes_from(tmp_path: Path) -> None:
    text = RELU.replace("{ y", "{ c = Identity(x)  d = Identity(c)  y").replace("Relu(x)", "Relu(d)")
    [node] = load_model(saved(tmp_path, text)).graph
    assert (node.op_type, node.inputs[0].name) == ("Relu", "x")  # type: ignore[union-attr]


def test_a_function_may_spell_the_domain_of_onnx_out(tmp_path: Path) -> None:
    spelled = '<ir_version: 10, opset_import: ["": 20, "ours": 1]>'
    text = RELU.replace(HEAD, spelled).replace("Relu(x)", "ours.twice(x)")
    text += '<domain: "ours", opset_import: ["ai.onnx": 20, "more": 1]> twice (a) => (b) { b = Add(a, a) }'
    [node] = load_model(saved(tmp_path, text)).graph
    assert (node.domain, node.op_type) == ("", "Add")
