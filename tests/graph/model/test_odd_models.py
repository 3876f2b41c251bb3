"""What exporters and people really leave in ONNX files does no harm, or is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.errors import ModelError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import load_model, notes
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.judge import judge
from autoprec.precisions import PLAIN
from autoprec.records import Assignment

HEAD = '<ir_version: 10, opset_import: ["": 20, "mine": 1]>'
PRODUCT = " g (float[4,4] x) => (float[4,4] z) <float[4,4] w> { [product] z = MatMul(x, w) }"


def saved(folder: Path, text: str, **weights: np.ndarray) -> Path:
    """A model from ONNX text; `w` is its weight unless others are given."""
    model = onnx.parser.parse_model(HEAD + text)
    del model.graph.initializer[:]
    random = np.random.default_rng(0)
    for name, array in (weights or {"w": random.standard_normal((4, 4)).astype(np.float32)}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def rewritten(path: Path, precision: str, base: str = "fp16") -> onnx.ModelProto:
    model = load_model(path)
    blocks = judge(partition(model, minimum=1, maximum=1), model, tuple(PLAIN))
    ranges = {str(v.name): 4.0 for node in model.graph for v in (*node.inputs, *node.outputs) if v}
    chosen = Assignment.uniform(blocks, precision, "fp32")
    return onnx.load(
        Rewriter(model, blocks, ranges, base=base).write(chosen, path.with_name("out.onnx")).model_path
    )


def computed(model: onnx.ModelProto, **feeds: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, feeds)[0]
    return output


def test_weights_that_are_listed_as_inputs_are_constants(tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("float[4,4] x)", "float[4,4] x, float[4,4] w)"))
    for precision in PLAIN:
        assert [value.name for value in rewritten(path, precision).graph.input] == ["x"]


def test_functions_of_the_model_are_written_out(tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("MatMul(x, w)", "mine.Twice(x, w)"))
    model = onnx.load(path)
    body = [helper.make_node("MatMul", ["a", "b"], ["t"]), helper.make_node("MatMul", ["t", "b"], ["c"])]
    model.functions.append(
        helper.make_function("mine", "Twice", ["a", "b"], ["c"], body, [helper.make_opsetid("", 20)])
    )
    onnx.save(model, path)
    assert {node.op_type for node in rewritten(path, "fp16").graph.node} == {"MatMul", "Cast"}


def test_an_operator_that_nobody_knows_is_named(tmp_path: Path) -> None:
    text = PRODUCT.replace("z = MatMul(x, w)", "y = mine.Strange(x) [product] z = MatMul(y, w)")
    with pytest.raises(ModelError, match="Strange of domain 'mine' makes 'y'"):
        load_model(saved(tmp_path, text))


def test_an_operator_of_others_with_a_name_of_onnxs_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("MatMul(x, w)", "mine.Einsum(x, w)"))
    with pytest.raises(ModelError, match="Einsum of domain 'mine' has the name of an operator of ONNX"):
        load_model(path)


def test_a_model_without_fp32_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("float[", "float16["), w=np.ones((4, 4), np.float16))
    with pytest.raises(ModelError, match="computes in FLOAT16"):
        load_model(path)


@pytest.mark.parametrize("opset", ["20", "22"])
def test_a_value_that_is_never_made_is_refused(opset: str, tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("MatMul(x, w)", "Add(x, nothing)"))
    path.write_bytes(path.read_bytes().replace(b"\x10\x14", bytes([0x10, int(opset)])))
    with pytest.raises(ModelError, match=r"model\.onnx.*nothing"):
        load_model(path)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cycle"):
        load_model(saved(tmp_path, PRODUCT.replace("z = MatMul(x, w)", "a = Add(x, z) z = Relu(a)")))


def test_an_identity_in_front_of_a_weight_hides_it_not(tmp_path: Path) -> None:
    text = PRODUCT.replace("z = MatMul(x, w)", "u = Identity(w) [product] z = MatMul(x, u)")
    stored = {tensor.data_type for tensor in rewritten(saved(tmp_path, text), "int8").graph.initializer}
    assert TensorProto.FLOAT not in stored


@pytest.mark.parametrize("precision", PLAIN)
def test_a_candidate_can_be_searched_again(precision: str, tmp_path: Path) -> None:
    first = rewritten(saved(tmp_path, PRODUCT), "fp16", base="fp16")
    onnx.save(first, tmp_path / "model.onnx")
    again = rewritten(tmp_path / "model.onnx", precision, base="fp32")
    onnx.checker.check_model(again, full_check=True)


def test_weights_named_like_converted_ones_keep_their_numbers(tmp_path: Path) -> None:
    text = """ g (float[4,4] x) => (float[4,4] z) <float[4,4] w, float[4,4] "w/float16">
        { y = MatMul(x, w)  z = Add(y, "w/float16") }"""
    names = ("w", "w/float16")
    weights = {name: np.full((4, 4), place, np.float32) for place, name in enumerate(names, 1)}
    path = saved(tmp_path, text, **weights)
    x = np.ones((4, 4), np.float32)
    np.testing.assert_array_equal(computed(rewritten(path, "fp16"), x=x), 6)


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("MatMul(x, w)", 1),
        ("MatMul(w, x)", 0),
        ("Gemm<transB = 1>(x, w)", 0),
        ("Gemm(w, x)", 0),
        ("Gemm<transA = 1>(w, x)", 1),
    ],
)
def test_scales_go_along_the_outputs_of_a_product(text: str, axis: int, tmp_path: Path) -> None:
    model = rewritten(saved(tmp_path, PRODUCT.replace("MatMul(x, w)", text)), "int8")
    [axes] = [[a.i for a in n.attribute] for n in model.graph.node if n.name.startswith("autoprec/dq/w")]
    assert axes == [axis]


@pytest.mark.parametrize("opset", [13, 20, 22])
def test_metadata_of_the_model_is_kept(opset: int, tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT)
    model = onnx.load(path)
    model.opset_import[0].version = opset
    model.metadata_props.add(key="names", value="cat, dog")
    onnx.save(model, path)
    assert "cat, dog" in {prop.value for prop in rewritten(path, "fp16").metadata_props}


def test_weights_in_a_file_beside_the_model_are_in_the_candidate(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    proto = onnx.load(saved(tmp_path, PRODUCT.replace("4,4", "64,64"), w=np.eye(64, dtype=np.float32)))
    onnx.save(proto, tmp_path / "in/model.onnx", save_as_external_data=True, location="w.data")
    model = load_model(tmp_path / "in/model.onnx")
    blocks = partition(model)
    chosen = Assignment.uniform(blocks, "fp32", "fp32")
    candidate = Rewriter(model, blocks, {}, base="fp32").write(chosen, tmp_path / "candidate.onnx")
    x = np.ones((64, 64), np.float32)
    np.testing.assert_array_equal(computed(onnx.load(candidate.model_path), x=x), x)


def test_the_domain_of_onnx_may_be_written_out(tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT)
    model = onnx.load(path)
    for entry in (model.opset_import[0], *model.graph.node):
        entry.domain = "ai.onnx"
    onnx.save(model, path)
    assert "ai.onnx" not in {entry.domain for entry in rewritten(path, "fp32").opset_import}


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("MatMul(x, w)", "mine.Twice(x, w)"))
    model = onnx.load(path)
    body = [helper.make_node("Twice", ["a", "b"], ["c"], domain="mine")]
    model.functions.append(
        helper.make_function("mine", "Twice", ["a", "b"], ["c"], body, [helper.make_opsetid("mine", 1)])
    )
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"circle.*mine::Twice"):
        load_model(path)


def test_control_flow_inside_a_function_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("MatMul(x, w)", "mine.Either(x, w)"))
    model = onnx.load(path)
    sides = [
        helper.make_graph(
            [helper.make_node(op, ["a", "b"], [op])], op, [], [helper.make_empty_tensor_value_info(op)]
        )
        for op in ("Add", "MatMul")
    ]
    body = [
        helper.make_node("ReduceMax", ["a"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["large"], to=TensorProto.BOOL),
        helper.make_node("If", ["large"], ["c"], then_branch=sides[0], else_branch=sides[1]),
    ]
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("mine", "Either", ["a", "b"], ["c"], body, opsets))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"control flow \(If\)"):
        load_model(path)


@pytest.mark.parametrize("shape", [[4, 5], [2, 2, 2], ["rows", "columns"]])
def test_stale_notes_on_inner_values_and_outputs_do_no_harm(shape: list[int | str], tmp_path: Path) -> None:
    path = saved(tmp_path, PRODUCT.replace("z = MatMul(x, w)", "y = Relu(x) [product] z = MatMul(y, w)"))
    model = onnx.load(path)
    model.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, shape))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, shape))
    onnx.save(model, path)
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    w = numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_allclose(computed(rewritten(path, "fp32"), x=x), np.maximum(x, 0) @ w, rtol=1e-5)


def test_a_norm_that_inference_knows_nothing_of_has_a_type(tmp_path: Path) -> None:
    text = """ g (float[1,4,4] x) => (float[1,4,4] z) <float[4] w>
        { y = GroupNormalization <num_groups = 2> (x, w, w)  z = Relu(y) }"""
    path = saved(tmp_path, text, w=np.ones(4, np.float32))
    model = onnx.load(path)
    model.opset_import[0].version = 22
    onnx.save(model, path)
    assert [value.shape for node in load_model(path).graph for value in node.outputs] == [[1, 4, 4]] * 2


def test_inputs_that_do_not_fit_each_other_are_named(tmp_path: Path) -> None:
    text = " g (float[1,2,4] x) => (float[1,2,4] z) <float[4,4] w> "
    text += "{ y = Concat <axis = 1>(x, w)  p = MatMul(y, w)  z = Relu(p) }"
    path = saved(tmp_path, text)
    assert any(
        "1 of 1 convolutions and products" in note and "(Concat)" in note for note in notes(load_model(path))
    )
    assert not notes(load_model(saved(tmp_path, PRODUCT)))


@pytest.mark.parametrize("opset", [7, 9, 11])
def test_a_mask_that_nobody_reads_does_no_harm(opset: int, tmp_path: Path) -> None:
    text = " g (float[4,4] x) => (float[4,4] z) { y, mask = Dropout(x)  z = Relu(y) }"
    path = saved(tmp_path, text)
    model = onnx.load(path)
    model.opset_import[0].version = opset
    kind = TensorProto.FLOAT if opset < 10 else TensorProto.BOOL
    model.graph.value_info.append(helper.make_tensor_value_info("mask", kind, [4, 4]))
    onnx.save(model, path)
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    np.testing.assert_array_equal(computed(rewritten(path, "fp32"), x=x), np.maximum(x, 0))


def test_a_norm_in_training_is_refused_by_name(tmp_path: Path) -> None:
    text = " g (float[1,4,4] x) => (float[1,4,4] z) <float[4] w>"
    text += "{ y, m, v, sm, sv = BatchNormalization(x, w, w, w, w)  z = Relu(y) }"
    path = saved(tmp_path, text, w=np.ones(4, np.float32))
    model = onnx.load(path)
    model.opset_import[0].version = 9
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"node 'y' \(BatchNormalization\) has 5 outputs, as in training"):
        load_model(path)


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_a_value_that_pads_nothing_does_no_harm(mode: str, tmp_path: Path) -> None:
    text = (
        f' g (float[4,4] x) => (float[6,4] z) {{ y = Pad<mode = "{mode}", pads = [1,0,1,0], value = 0.0>(x) '
    )
    path = saved(tmp_path, text + " z = Relu(y) }")
    model = onnx.load(path)
    model.opset_import[0].version = 9
    onnx.save(model, path)
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    rows = [1, 0, 1, 2, 3, 2] if mode == "reflect" else [0, 0, 1, 2, 3, 3]
    wanted = np.maximum(x[rows], 0)
    np.testing.assert_array_equal(computed(rewritten(path, "fp32"), x=x), wanted)


@pytest.mark.parametrize(
    "body",
    [
        "z = RandomNormalLike (x) y = Add (x, z)",
        "r = Constant <value = float {0.5}> () t = Constant <value = bool {1}> () y = Dropout (x, r, t)",
    ],
)
def test_what_draws_at_random_is_named(body: str, tmp_path: Path) -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => (float[1,3] y) {{ {body} }}'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"\((RandomNormalLike|Dropout)\) draws at random"):
        load_model(tmp_path / "m.onnx")


def test_a_random_node_that_nothing_reads_does_no_harm(tmp_path: Path) -> None:
    body = "z = RandomNormalLike (x) y = Relu (x)"
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,3] x) => (float[1,3] y) {{ {body} }}'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    assert [node.op_type for node in load_model(tmp_path / "m.onnx").graph] == ["Relu"]
