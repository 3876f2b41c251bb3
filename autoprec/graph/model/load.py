"""Reading an ONNX model safely: whole, typed, with unique node names, and nothing from outside its folder."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes.common import (
    CheckerPass,
    InlinePass,
    LiftConstantsToInitializersPass,
    ShapeInferencePass,
    TopologicalSortPass,
)

from autoprec.errors import ModelError
from autoprec.files import ensure_regular
from autoprec.graph.model.files import read_model
from autoprec.graph.model.incoming import QUANTIZED_OPS, attach, lift
from autoprec.graph.model.opset import SMALL_BYTES, at_opset
from autoprec.graph.model.taming import tame

_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    DecodeError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)
"""What parsers and passes raise for files that are no models."""


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
        return _loaded(path, shapes or {})


def open_model(path: Path) -> ir.Model:
    """A model as it is in its file: for one that is run, but not searched. Raises as `load_model` does."""
    with _telling(path):
        return _opened(path)


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Whatever a file that is no model makes parsers raise, as `ModelError`."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    except _BROKEN as error:
        raise ModelError(f"{path}: is no valid ONNX model ({_short(error)}); export it again") from error


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


def input_shapes(model: ir.Model) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """(name, shape) of each input of a loaded model."""
    return tuple(
        (str(value.name), tuple(int(str(size)) for size in value.shape or ())) for value in real_inputs(model)
    )


def real_inputs(model: ir.Model) -> list[ir.Value]:
    """Inputs that have no initializer: what a caller feeds."""
    return [value for value in model.graph.inputs if value.name not in model.graph.initializers]


def _opened(path: Path) -> ir.Model:
    """The model in a file as it stands; all of it is there, and nothing is elsewhere."""
    try:
        ensure_regular(path)
        model: ir.Model = ir.from_proto(read_model(path))
    except FileNotFoundError as error:
        raise ModelError("no such model; give the path of an ONNX file") from error
    ir.external_data.set_base_dir(model.graph, path.parent)
    if not list(model.graph) and not model.graph.outputs:
        raise ModelError("holds no graph; export it again")
    _check_external_data(model, path.parent)
    return model


def _loaded(path: Path, shapes: Mapping[str, Sequence[int]]) -> ir.Model:
    """`load_model` without the words around what goes wrong."""
    model = _opened(path)
    _refuse_control_flow(model)
    _read_small_weights(model)
    InlinePass()(model)
    _pass_identities(model.graph)
    lifted = None
    if any(node.op_type in QUANTIZED_OPS for node in model.graph):
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        lifted = lift(model)
    model = at_opset(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _fix_inputs(model, shapes)
    tame(model.graph)
    _remove_unused(model.graph)
    _name_nodes(model.graph)
    if lifted is not None:
        attach(model, lifted)
    TopologicalSortPass()(model)
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    CheckerPass(full_check=True)(model)
    _refuse_untyped(model)
    return model


def _check_external_data(model: ir.Model, folder: Path) -> None:
    """Nothing is read from outside a model's folder, and all that is to be read is there."""
    for tensor in _external_tensors(model):
        file = _data_file(folder, str(tensor.location))
        end = (tensor.offset or 0) + max(tensor.length or 0, tensor.nbytes)
        if file.stat().st_size < end:
            raise ModelError(f"its external data {file.name!r} is cut short; copy or export it again")


def _data_file(folder: Path, location: str) -> Path:
    """A file of external data. Raises `ModelError` if it is not there, or not in the model's folder."""
    file = folder / location
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"its weights point outside its folder ({file}); save it with its data beside it")
    if not file.is_file():
        raise ModelError(f"its external data {file.name!r} is missing; put the file beside the model")
    return file


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Of initializers and of Constant nodes."""
    for graph in model.graphs():
        held = [value.const_value for value in graph.initializers.values()]
        attributes = (attribute for node in graph for attribute in node.attributes.values())
        held += [found.as_tensor() for found in attributes if found.type == ir.AttributeType.TENSOR]
        yield from (tensor for tensor in held if isinstance(tensor, ir.ExternalTensor))


def _read_small_weights(model: ir.Model) -> None:
    """Take small tensors out of external files: ONNX's checker sees them, and does not know the folder."""
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes <= SMALL_BYTES:
            value.const_value = ir.tensor(np.array(tensor.numpy()), dtype=tensor.dtype, name=tensor.name)


def _refuse_control_flow(model: ir.Model) -> None:
    for node in model.graph:
        if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
            raise ModelError(
                f"node {node.name or node.outputs[0].name!r} is control flow ({node.op_type}), which "
                "has no fixed precision; export the model with fixed shapes, or run onnxsim on it"
            )


def _refuse_untyped(model: ir.Model) -> None:
    """Where a type is not known, no Cast can be placed; where nothing is FP32, nothing can be lowered."""
    made = [(node, value) for node in model.graph for value in node.outputs if value.name]
    for node, value in made:
        if value.type is None:
            raise ModelError(
                f"nobody knows the type of {value.name!r}, which {node.op_type} of domain "
                f"{node.domain!r} makes; export the model with operators of ONNX, or with value_info"
            )
    types = {value.dtype for _, value in made if value.dtype is not None}
    if made and ir.DataType.FLOAT not in types:
        names = ", ".join(sorted(data_type.name for data_type in types))
        raise ModelError(f"computes in {names}, nothing in FP32; export it in FP32 to search from")


def _fix_inputs(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give every input a static shape; initializers that are listed as inputs too are none."""
    inputs = {str(value.name): value for value in real_inputs(model)}
    model.graph.inputs[:] = list(inputs.values())
    for name, shape in shapes.items():
        if name not in inputs:
            near = difflib.get_close_matches(name, inputs, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"its inputs are: {', '.join(inputs)}"
            raise ModelError(f"has no input {name!r}; {hint}")
        declared = inputs[name].shape
        if declared is not None and len(declared) != len(shape):
            raise ModelError(f"input {name!r} has {len(declared)} dimensions, but {list(shape)} was given")
        for given, size in zip(shape, declared or shape, strict=True):
            if isinstance(size, int) and size != given:
                listed = ", ".join(map(str, declared or ()))
                raise ModelError(f"input {name!r} is [{listed}], but {list(shape)} was given")
        inputs[name].shape = ir.Shape(shape)
    for name, value in inputs.items():
        sizes = None if value.shape is None else list(value.shape)
        dynamic = [str(size) for size in sizes or () if not isinstance(size, int)]
        if sizes is None or dynamic:
            what = "no shape" if sizes is None else f"dynamic sizes ({', '.join(dynamic)})"
            raise ModelError(
                f"input {name!r} has {what}; fix them, as in: [model.shapes] {name} = {_example(sizes)}, "
                f"or init --shape {name}={','.join(map(str, _example(sizes)))}"
            )


def _example(sizes: Sequence[int | ir.SymbolicDim] | None) -> list[int]:
    """A shape to show: what the file fixes, a batch of one, a usual picture."""
    usual = [1, 3, 512, 512] if sizes is None or len(sizes) == 4 else [1] * len(sizes)
    return [
        size if isinstance(size, int) else other for size, other in zip(sizes or usual, usual, strict=True)
    ]


def _pass_identities(graph: ir.Graph) -> None:
    """Read what an Identity reads: exporters put one between a shared weight and each op that has it."""
    for node in graph:
        source = node.inputs[0] if node.op_type == "Identity" and node.domain == "" else None
        if source is not None:
            for use in tuple(node.outputs[0].uses()):
                use.node.replace_input_with(use.idx, source)


def _remove_unused(graph: ir.Graph) -> None:
    """Remove nodes that no output depends on."""
    outputs = set(graph.outputs)
    for node in reversed(graph):
        if not any(value in outputs or value.uses() for value in node.outputs):
            graph.remove(node, safe=True)


def _name_nodes(graph: ir.Graph) -> None:
    """Unique node names: the file's own where they are, else op type and output."""
    seen: set[str] = set()
    for node in graph:
        name = node.name or f"{node.op_type}/{node.outputs[0].name}"
        number = 1
        while name in seen:
            number += 1
            name = f"{node.name or node.op_type}/{node.outputs[0].name}" + (
                f"/{number}" if number > 2 else ""
            )
        node.name = name
        seen.add(name)


def _short(error: Exception) -> str:
    """The first line of a message, or of the message of what caused it."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
