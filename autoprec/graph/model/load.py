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
from autoprec.graph.model.tensors import check_tensors, external_files, nodes_of
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
            step.change(loading)
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
    except PermissionError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
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
        for file in (path, *external_files(read_model(path, weights=False), path.parent)):
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
    check_tensors(proto, path.parent)
    _shorten_domains(proto)
    model: ir.Model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    if not model.graph.outputs:
        raise ModelError("holds no graph, or one without outputs; export it again")
    return model


def _shorten_domains(proto: onnx.ModelProto) -> None:
    """Write the domain `ai.onnx` as everyone does: empty. A file without operators of ONNX names no opset."""
    of_functions = (entry for function in proto.functions for entry in function.opset_import)
    for entry in (*proto.opset_import, *proto.functions, *of_functions, *nodes_of(proto)):
        if entry.domain == _ALIAS:
            entry.domain = ""
    imported = {entry.domain for entry in proto.opset_import}
    for domain in {"", *(node.domain for node in nodes_of(proto))} - imported:
        proto.opset_import.append(onnx.helper.make_opsetid(domain, 1 if domain else OPSET))
