"""What a file says of its tensors is checked before anything is made of it, wherever they are in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autoprec.errors import ModelError
from autoprec.graph.model.load import load_model, model_digest
from tiny_study import write_model


def written(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    """The tiny model, changed."""
    model = onnx.load(write_model(path / "model.onnx"))
    change(model)
    (path / "model.onnx").write_bytes(model.SerializeToString())
    return path / "model.onnx"


def moved_out(model: onnx.ModelProto, folder: Path, **entries: str) -> TensorProto:
    """Its first weight, in `w.bin`."""
    weight = model.graph.initializer[0]
    (folder / "w.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        weight.external_data.add(key=key, value=value)
    return weight


@pytest.mark.parametrize("dims", [[1, 3, 1 << 31, 32], [1 << 62, 1 << 62], [-16, 3, 3, 3], [], [1] * 600])
def test_a_weight_whose_shape_lies_is_refused(dims: list[int], tmp_path: Path) -> None:
    def lie(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    with pytest.raises(ModelError, match=r"model\.onnx: .*'a\.weight' holds more or fewer values"):
        load_model(written(tmp_path, lie))


@pytest.mark.parametrize("more", [b"", b"xxxx"])
def test_a_weight_with_bytes_too_many_or_none_is_refused(more: bytes, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        weight = model.graph.initializer[0]
        weight.raw_data = weight.raw_data + more if more else b""

    with pytest.raises(ModelError, match="holds more or fewer values"):
        load_model(written(tmp_path, change))


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT4, TensorProto.BOOL])
def test_tensors_without_raw_data_are_counted_as_they_are_stored(kind: int, tmp_path: Path) -> None:
    tensor = helper.make_tensor("more", kind, [3, 5], [1] * 15)
    load_model(written(tmp_path, lambda model: model.graph.initializer.append(tensor)))


@pytest.mark.parametrize("entry", ["-8", "abc", "9" * 5000, "1e3"])
@pytest.mark.parametrize("key", ["offset", "length"])
def test_a_place_in_a_file_that_is_no_number_is_told(key: str, entry: str, tmp_path: Path) -> None:
    path = written(tmp_path, lambda model: moved_out(model, tmp_path, **{key: entry}))
    with pytest.raises(ModelError, match="has no number for its place"):
        load_model(path)


def in_a_branch(model: onnx.ModelProto, folder: Path) -> None:
    """Its first weight comes from the branch of an If, and lies in `w.bin`."""
    weight = TensorProto()
    weight.CopyFrom(moved_out(model, folder))
    weight.name, shape = "w", list(weight.dims)
    del model.graph.initializer[0]
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)
    branch = helper.make_graph([helper.make_node("Identity", ["w"], ["result"])], "b", [], [result], [weight])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "taken"))
    choice = helper.make_node("If", ["taken"], ["a.weight"], then_branch=branch, else_branch=branch)
    model.graph.node.insert(0, choice)


def in_a_constant(model: onnx.ModelProto, folder: Path) -> None:
    """Its first weight is a Constant, and lies in `w.bin`."""
    node = helper.make_node("Constant", [], ["a.weight"], value=moved_out(model, folder))
    del model.graph.initializer[0]
    model.graph.node.insert(0, node)


@pytest.mark.parametrize("put", [in_a_branch, in_a_constant])
def test_data_beside_a_model_is_of_it_wherever_it_is_named(
    put: Callable[[onnx.ModelProto, Path], None], tmp_path: Path
) -> None:
    path = written(tmp_path, lambda model: put(model, tmp_path))
    assert load_model(path).graph.outputs
    before = model_digest(path)
    (tmp_path / "w.bin").write_bytes(b"\1" * (tmp_path / "w.bin").stat().st_size)
    assert model_digest(path) != before


def test_data_of_a_function_lies_in_the_folder_of_the_model_too(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        weight = moved_out(model, tmp_path)
        weight.external_data[0].value = "/etc/hostname"
        constant = helper.make_node("Constant", [], ["w"], value=weight)
        opsets = [helper.make_opsetid("", 19)]
        model.functions.append(helper.make_function("mine", "F", [], ["w"], [constant], opsets))
        del model.graph.initializer[0]
        model.opset_import.append(helper.make_opsetid("mine", 1))
        model.graph.node.insert(0, helper.make_node("F", [], ["a.weight"], domain="mine"))

    with pytest.raises(ModelError, match="outside its folder"):
        load_model(written(tmp_path, change))
