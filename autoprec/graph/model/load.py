"""Reading an ONNX model safely: whole, typed, with unique node names, and nothing from outside its folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from autoprec.errors import ModelError, exhausted, machine_fault
from autoprec.files import ensure_regular
from autoprec.graph.model.files import read_model
from autoprec.graph.model.inputs import input_shapes, real_inputs
from autoprec.graph.model.nodes import check_nodes, shorten_domains
from autoprec.graph.model.steps import STEPS, Loading, first_line
from autoprec.graph.model.tensors import check_tensors, external_files
from autoprec.rehearsal import fatal_signal

__all__ = ["input_shapes", "load_model", "model_digest", "notes", "real_inputs"]

_BROKEN = (
    OSError, ValueError, TypeError, LookupError, RuntimeError, OverflowError, DecodeError,
    onnx.checker.ValidationError, onnx.shape_inference.InferenceError, onnx.version_converter.ConvertError,
)  # fmt: skip
"""What parsers and passes raise for files that are no models."""
_FATAL = {
    "SIGXCPU": "takes too long to load, for a file of its size; export it with fixed shapes, without loops",
    "SIGKILL": "takes more memory to load than there is; close other programs, or use a smaller model",
}
"""What to say of a signal that ends a process which loads a model; any other is a crash."""
_SURVIVED: set[tuple[object, ...]] = set()
"""Files that have been loaded in this process, as they were then."""
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
        _rehearse(path, shapes or {})
        return _loaded(path, shapes or {})


def load_written(path: Path) -> ir.Model:
    """A model of autoprec's own, which cannot end the process: as by `load_model`, at half the cost."""
    with _telling(path):
        return _loaded(path, {})


def _rehearse(path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raises `ModelError` for a model that ends the process which loads it, or would never be loaded."""
    if not path.is_file():
        return  # told by who reads it
    at = path.stat()
    # The file as it is now: another may take its place while a notebook runs.
    key = (str(path), at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, str(sorted(shapes.items())))
    if key in _SURVIVED:
        return
    if told := fatal_signal(partial(_loaded_or_told, path, shapes), _seconds(at.st_size)):
        crashes = f"is not a valid ONNX model: ONNX's own tools crash on it ({told}); export it again"
        raise ModelError(_FATAL.get(told, crashes))
    _SURVIVED.add(key)


def _loaded_or_told(path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    with _telling(path):
        _loaded(path, shapes)


def _loaded(path: Path, shapes: Mapping[str, Sequence[int]]) -> ir.Model:
    loading = Loading(_opened(path), shapes)
    for step in STEPS:
        step.change(loading)
    loading.model.meta[_NOTES] = tuple(filter(None, loading.told))
    return loading.model


def _seconds(size: int) -> int:
    """Of processor time, more than a file of so many bytes takes: a node of some 150 loads in 0.3 ms.

    What a file of many megabytes has are weights, which load in no time.
    """
    return 15 + min(size // 8000, 105)


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
    except Exception as error:
        # What our passes take for granted of a valid model: with a valid one, this is a fault of ours.
        if not machine_fault(error) and (said := _refused(path)):
            raise ModelError(f"{path}: is not a valid ONNX model ({said}); export it again") from error
        raise


def _refused(path: Path) -> str:
    """Why ONNX's checker refuses a file; empty if it does not."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except _BROKEN as error:
        return first_line(error)
    return ""


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
    shorten_domains(proto)
    check_nodes(proto)
    model: ir.Model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    if not model.graph.outputs:
        raise ModelError("holds no graph, or one without outputs; export it again")
    return model
