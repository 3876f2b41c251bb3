"""The tensors of an ONNX file: whether all of their data is there, and none of it outside the folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx import TensorProto

from autoprec.errors import ModelError
from autoprec.files import resolved
from autoprec.graph.model.nodes import nodes_of

_COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
_VALUES = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def check_tensors(proto: onnx.ModelProto, folder: Path) -> None:
    """Raises `ModelError` for a tensor without all of its data, or with data outside of the folder."""
    for tensor in _tensors_of(proto):
        if tensor.data_location == TensorProto.EXTERNAL:
            _check_external(tensor, folder)
        # An attribute that holds no tensor gives an empty one, of no type.
        elif tensor.data_type and not _is_whole(tensor):
            raise ModelError(
                f"its tensor {tensor.name!r} holds more or fewer values than its shape says; export it again"
            )


def external_files(proto: onnx.ModelProto, folder: Path) -> list[Path]:
    """The files that tensors refer to, sorted by the names that they have in the model.

    Raises `ModelError` for one that is missing, or not in the folder.
    """
    names = {name for tensor in _tensors_of(proto) for name in _locations(tensor)}
    return [_data_file(folder, name) for name in sorted(names)]


def _tensors_of(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    """All tensors of a model: initializers and attributes, those of functions and branches too."""
    graphs, sparse = [proto.graph], list[onnx.SparseTensorProto]()
    for attribute in (attribute for node in nodes_of(proto) for attribute in node.attribute):
        graphs += (attribute.g, *attribute.graphs)
        sparse += (attribute.sparse_tensor, *attribute.sparse_tensors)
        yield from (attribute.t, *attribute.tensors)
    for graph in graphs:
        yield from graph.initializer
        sparse += graph.sparse_initializer
    for one in sparse:
        yield from (one.values, one.indices)


def _check_external(tensor: TensorProto, folder: Path) -> None:
    """Check that external data is inside the model's folder, and complete. Raises `ModelError`."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset, length = (int(entries.get(key) or 0) for key in ("offset", "length"))
    except ValueError:
        offset = length = -1
    if min(offset, length) < 0:
        raise ModelError(f"its external data of {tensor.name!r} has no number for its place; export it again")
    needed = _bytes_of(tensor)
    for location in _locations(tensor) or [""]:
        file = _data_file(folder, location)
        # Without a length the data reach as far as the shape says.
        if file.stat().st_size < offset + max(length, needed) or 0 < length < needed:
            raise ModelError(f"its external data {file.name!r} is cut short; copy or export it again")


def _is_whole(tensor: TensorProto) -> bool:
    """Whether a tensor that refers to no file holds what its shape says. Raises as `_bytes_of` does."""
    count: int = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        return len(tensor.string_data) == count
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data) == _bytes_of(tensor)
    held = sum(len(getattr(tensor, name)) for name in _VALUES)
    packed = math.ceil(count * min(8, ir.DataType(tensor.data_type).bitwidth) / 8)
    # Values of a few bits share a byte, and complex ones are two.
    return held == 2 * count if tensor.data_type in _COMPLEX else held in (count, packed)


def _bytes_of(tensor: TensorProto) -> int:
    """Bytes that a tensor's values take. Raises ValueError or TypeError for types that are not stored so."""
    bits: int = math.prod(tensor.dims) * ir.DataType(tensor.data_type).bitwidth
    return math.ceil(bits / 8)


def _locations(tensor: TensorProto) -> list[str]:
    return [entry.value for entry in tensor.external_data if entry.key == "location"]


def _data_file(folder: Path, location: str) -> Path:
    """A file of external data. Raises `ModelError` if it is not there, or not in the model's folder."""
    file = folder / location
    # Resolved, since a link inside the folder may lead out of it.
    if not resolved(file).is_relative_to(resolved(folder)):
        raise ModelError(f"its weights point outside its folder ({file}); save it with its data beside it")
    if not file.is_file():
        raise ModelError(f"its external data {file.name!r} is missing; put the file beside the model")
    return file
