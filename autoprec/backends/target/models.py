"""A model file split into parts named by content: each larger weight, and the bytes in between.

The parts in a row are the file, whatever engine reads it; a candidate sends those that none before it had.
They are no external data: OpenVINO 2024.4 reads weights beside an ONNX file as empty (2026-11-27).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import helper

from autoprec.backends.target.weak import HeldLayer, weaken
from autoprec.errors import TrialError

_SMALL_BYTES = 1024
"""Weights up to this size travel with the graph."""


class Parts(NamedTuple):
    """`order` are the digests of a file's parts in a row; `blobs` are their bytes; `types` are those of its
    inputs and outputs, as numpy names them; `shapes` are those of its outputs, with None for a size that
    depends on data; `layers` are for a builder that does not keep to types."""

    order: tuple[str, ...]
    blobs: dict[str, bytes]
    types: dict[str, str]
    shapes: dict[str, tuple[int | None, ...]] = {}  # noqa: RUF012 - a tuple's default
    layers: tuple[HeldLayer, ...] = ()


def split_model(path: Path, newest_opset: int = 0, *, is_weak: bool = False) -> Parts:
    """Take a model apart.

    Args:
        path: the model.
        newest_opset: what the engine there knows, if it is old; a graph of a later opset is stamped with it.
            From 21 to 22 operators take more types, and none changes its meaning.
        is_weak: the builder there does not keep to the model's types: see `weak`.

    Raises `TrialError("build", ...)` for what is no model, or one of 2 GB or more.
    """
    try:
        model = onnx.load(path)
        layers = weaken(model) if is_weak else ()
        for entry in model.opset_import:
            if newest_opset and entry.domain in ("", "ai.onnx"):
                entry.version = min(entry.version, newest_opset)
        data = model.SerializeToString(deterministic=True)
        ends = (*model.graph.input, *model.graph.output)
        types = {v.name: helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type).name for v in ends}
    except (OSError, ValueError, KeyError, DecodeError, EncodeError, onnx.checker.ValidationError) as error:
        raise TrialError("build", f"{path.name} cannot be sent to a target: {error}") from error
    parts, position = [], 0
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > _SMALL_BYTES:
            # Serialised in order, so each weight is searched from the end of
            # the last: equal weights are told apart.
            start = data.index(tensor.raw_data, position)
            parts += [data[position:start], tensor.raw_data]
            position = start + len(tensor.raw_data)
    parts.append(data[position:])
    order = tuple(hashlib.sha256(part).hexdigest() for part in parts)
    if is_weak:  # its parser reads 64-bit integers as 32 bits wide
        types = {name: "int32" if kind == "int64" else kind for name, kind in types.items()}
    shapes = {v.name: _shape(v) for v in model.graph.output if v.type.tensor_type.HasField("shape")}
    return Parts(order, dict(zip(order, parts, strict=True)), types, shapes, layers)


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") else None for size in sizes)
