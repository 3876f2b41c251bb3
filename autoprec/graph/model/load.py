"""Reading an ONNX model safely: whole, typed, with unique node names, and nothing from outside its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from autoprec.errors import ModelError, exhausted
from autoprec.files import ensure_regular
from autoprec.graph.model.files import read_model
from autoprec.graph.model.inputs import input_shapes, real_inputs
from autoprec.graph.model.steps import STEPS, Loading, first_line
from autoprec.graph.model.upgrades.opset import OPSET

__all__ = ["input_shapes", "load_model", "model_digest", "notes", "real_inputs"]

_BROKEN = (
    OSError, ValueError, TypeError, LookupError, RuntimeError, OverflowError, DecodeError,
    onnx.checker.ValidationError, onnx.shape_inference.InferenceError, onnx.version_converter.ConvertError,
)  # fmt: skip
"""What parsers and passes raise for files that are no models."""
_ALIAS = "ai.onnx"
_NOTES = "autoprec.notes"


def load_model(path: Path, shapes: Mapping[str, Sequence[int]] | None = None) -> ir.Model:
    """Load a model, fix its dynamic inputs, infer types and shapes.

    Weights in external files stay on disk, memory-mapped. Every node gets a unique name that is the same on
    every run; nodes that no output depends on are removed. Q/DQ pairs are lifted off: see `incoming`.

    Args:
        path: the ONNX file.
        shapes: sizes for inputs that have dynamic ones.

    Raises `ModelError` naming what is missing, corrupt, outside the model's folder, or without sizes.
    """
    with _telling(path):
        loading = Loading(_opened(path), shapes or {})
        for step in STEPS:
            step(loading)
        loading.model.meta[_NOTES] = tuple(filter(None, loading.told))
        return loading.model


def open_model(path: Path) -> ir.Model:
    """A model as it is in its file: for one that is run, but not searched. Raises as `load_model` does."""
    with _telling(path):
        return _opened(path)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn whatever parsers raise for a file that is no model into `ModelError`."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except _BROKEN as error:
        said = exhausted(error) or f"is not a valid ONNX model ({first_line(error)}); export it again"
        raise ModelError(f"{path}: {said}") from error


def notes(model: ir.Model) -> tuple[str, ...]:
    """What loading changed that the user should know of, one line each."""
    told: tuple[str, ...] = model.meta.get(_NOTES, ())
    return told


def model_digest(path: Path) -> str:
    """16 hexadecimal digits of SHA-256 over the file and its external data. Raises as `load_model` does."""
    total = hashlib.sha256()
    with _telling(path):
        ensure_regular(path)
        graph = read_model(path, weights=False).graph
    tensors = [*graph.initializer, *(attribute.t for node in graph.node for attribute in node.attribute)]
    names = {entry.value for tensor in tensors for entry in tensor.external_data if entry.key == "location"}
    with _telling(path):
        for file in (path, *(_data_file(path.parent, name) for name in sorted(names))):
            with file.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()[:16]


def _opened(path: Path) -> ir.Model:
    """The model in a file as it stands, with its external data checked. Raises `ModelError`."""
    try:
        ensure_regular(path)
        proto = read_model(path)
    except FileNotFoundError as error:
        raise ModelError("no such model; give the path of an ONNX file") from error
    _shorten_domains(proto)
    model: ir.Model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    if not model.graph.outputs:
        raise ModelError("holds no graph, or one without outputs; export it again")
    _check_external_data(model, path.parent)
    return model


def _shorten_domains(proto: onnx.ModelProto) -> None:
    """Write the domain `ai.onnx` as everyone does: empty. A file without operators of ONNX names no opset."""
    of_functions = (entry for function in proto.functions for entry in function.opset_import)
    for entry in (*proto.opset_import, *proto.functions, *of_functions, *_nodes(proto)):
        if entry.domain == _ALIAS:
            entry.domain = ""
    imported = {entry.domain for entry in proto.opset_import}
    for domain in {"", *(node.domain for node in _nodes(proto))} - imported:
        proto.opset_import.append(onnx.helper.make_opsetid(domain, 1 if domain else OPSET))


def _nodes(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a model, those of functions and branches too."""
    waiting = [*proto.graph.node, *(node for function in proto.functions for node in function.node)]
    while waiting:
        yield (node := waiting.pop())
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting += graph.node


def _check_external_data(model: ir.Model, folder: Path) -> None:
    """Check that external data is inside the model's folder, and complete. Raises `ModelError`."""
    for tensor in _external_tensors(model):
        file = _data_file(folder, str(tensor.location))
        if file.stat().st_size < (tensor.offset or 0) + max(tensor.length or 0, tensor.nbytes):
            raise ModelError(f"its external data {file.name!r} is cut short; copy or export it again")


def _data_file(folder: Path, location: str) -> Path:
    """A file of external data. Raises `ModelError` if it is not there, or not in the model's folder."""
    file = folder / location
    # Resolved, since a link inside the folder may lead out of it.
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"its weights point outside its folder ({file}); save it with its data beside it")
    if not file.is_file():
        raise ModelError(f"its external data {file.name!r} is missing; put the file beside the model")
    return file


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """The external tensors of initializers and of Constant nodes."""
    for graph in model.graphs():
        held = [value.const_value for value in graph.initializers.values()]
        attributes = (attribute for node in graph for attribute in node.attributes.values())
        held += [one.as_tensor() for one in attributes if one.type == ir.AttributeType.TENSOR]
        yield from (tensor for tensor in held if isinstance(tensor, ir.ExternalTensor))
