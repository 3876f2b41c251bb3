"""A model file is read and written in pieces, and means the same to every other reader."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from autoprec.backends import run
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.graph.model.files import _fields, data_path, read_model, remove_model, write_model

DEMO = Path(__file__).parents[3] / "studies/models/demo_encoder.onnx"


def with_weights(**arrays: np.ndarray) -> onnx.ModelProto:
    """A model that does nothing, but has weights and every kind of field around them."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    weights = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:], weights, "a graph"
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    model.metadata_props.add(key="names", value="cat, dog")
    return model


def test_reading_gives_what_onnx_reads() -> None:
    assert read_model(DEMO) == onnx.load(DEMO)


def test_writing_gives_what_onnx_reads_back(tmp_path: Path) -> None:
    arrays: dict[str, np.ndarray] = {
        "large": np.arange(1000, dtype=np.float32).reshape(10, 100),
        "small": np.arange(4, dtype=np.float32),
        "halves": np.ones((600, 2), np.float16),
        "bf16": np.ones(700, ml_dtypes.bfloat16),
        "int4": np.arange(4001, dtype=np.int8).clip(-7, 7).astype(ml_dtypes.int4),
        "words": np.array(["a" * 2000, "b"], dtype=object),
        "none": np.zeros((0, 3), np.float32),
    }
    write_model(ir.from_proto(with_weights(**arrays)), tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert weights.keys() == arrays.keys()
    for name, array in arrays.items():
        assert weights[name].dtype == array.dtype
        assert weights[name].tolist() == array.tolist()
    assert model.metadata_props[0].value == "cat, dog"


def test_weights_beyond_the_limit_go_into_a_file_beside_the_model(tmp_path: Path) -> None:
    array = np.arange(1000, dtype=np.float32)
    path = tmp_path / "model.onnx"
    write_model(ir.from_proto(with_weights(a=array)), path, largest=3999)
    assert data_path(path).stat().st_size >= 4000
    assert path.stat().st_size < 1000
    model = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    np.testing.assert_array_equal(model["a"], array)
    remove_model(path)
    assert not list(tmp_path.iterdir())


def test_writing_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    model = ir.from_proto(with_weights(a=np.ones(999, np.float32), b=np.ones(9, np.float32)))
    write_model(model, tmp_path / "first.onnx")
    write_model(model, tmp_path / "second.onnx")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_a_weight_is_written_under_the_name_that_nodes_read(tmp_path: Path) -> None:
    model = ir.from_proto(with_weights(large=np.ones(999, np.float32)))
    model.graph.initializers["large"].const_value = ir.tensor(np.zeros(999, np.float32), name="other")
    write_model(model, tmp_path / "model.onnx")
    assert [tensor.name for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer] == ["large"]


def test_without_weights_only_references_and_small_ones_are_read(tmp_path: Path) -> None:
    model = with_weights(large=np.ones(99999, np.float32), small=np.ones(3, np.float32))
    onnx.save(model, tmp_path / "model.onnx")
    proto = read_model(tmp_path / "model.onnx", weights=False)
    assert [tensor.name for tensor in proto.graph.initializer] == ["small"]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_short_is_refused(share: float, tmp_path: Path) -> None:
    content = DEMO.read_bytes()
    (tmp_path / "model.onnx").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DecodeError):
        read_model(tmp_path / "model.onnx")


def test_openvino_reads_a_file_with_several_domains(tmp_path: Path) -> None:
    model = with_weights(large=np.ones(999, np.float32))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    write_model(ir.from_proto(model), tmp_path / "model.onnx")
    with OpenVinoBackend({}).build(tmp_path / "model.onnx") as engine:
        assert run(engine, {"x": -np.ones(4, np.float32)})["y"].tolist() == [0, 0, 0, 0]
    assert len(onnx.load(tmp_path / "model.onnx").opset_import) == 2


def test_fields_of_every_wire_type_are_passed_by() -> None:
    """A varint, eight bytes, a length with its bytes, and four bytes, as protobuf encodes them."""
    file = BytesIO(
        bytes([1 << 3 | 0, 0x96, 0x01, 2 << 3 | 1, *range(8), 3 << 3 | 2, 2, 7, 7, 4 << 3 | 5, 1, 2, 3, 4])
    )
    places = []
    for key, start, end in _fields(file, len(file.getvalue())):
        places.append((key >> 3, start, end))
        file.seek(end)
    assert places == [(1, 0, 3), (2, 3, 12), (3, 12, 16), (4, 16, 21)]
