"""A model file as parts by content: its larger weights one by one, and what lies between them.

The parts in a row are the file, whatever engine reads it; a candidate sends those that none before it had.
They are no external data: OpenVINO 2024.4 reads weights beside an ONNX file as empty (2026-11-27).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError, EncodeError

from autoprec.errors import TrialError

_SMALL_BYTES = 1024
"""Weights up to this size travel with the graph."""


class Parts(NamedTuple):
    """`order` are the digests of a file's parts in a row; `blobs` are their bytes."""

    order: tuple[str, ...]
    blobs: dict[str, bytes]


def split_model(path: Path, newest_opset: int = 0) -> Parts:
    """Take a model apart.

    Args:
        path: the model.
        newest_opset: what the engine there knows, if it is old; a graph of a later opset is stamped with it.
            From 21 to 22 operators take more types, and none changes its meaning.

    Raises `TrialError("build", ...)` for what is no model, or one of 2 GB or more.
    """
    try:
        model = onnx.load(path)
        for entry in model.opset_import:
            if newest_opset and entry.domain in ("", "ai.onnx"):
                entry.version = min(entry.version, newest_opset)
        data = model.SerializeToString(deterministic=True)
    except (OSError, ValueError, DecodeError, EncodeError, onnx.checker.ValidationError) as error:
        raise TrialError("build", f"{path.name} cannot be sent to a target: {error}") from error
    parts, position = [], 0
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > _SMALL_BYTES:
            start = data.index(tensor.raw_data, position)
            parts += [data[position:start], tensor.raw_data]
            position = start + len(tensor.raw_data)
    parts.append(data[position:])
    order = tuple(hashlib.sha256(part).hexdigest() for part in parts)
    return Parts(order, dict(zip(order, parts, strict=True)))
