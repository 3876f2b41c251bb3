"""ONNX files, read and written weight by weight: memory holds a model once, not two or three times.

A file is a protobuf message, and protobuf wants a message whole. But a field of a message is a message of its
own with that field alone, and merging those one after the other gives the whole: only fields are held twice.
Source: "Encoding", Protocol Buffers documentation.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from autoprec.files import naming, not_following

# What onnx-ir warns of, we refuse in words of our own; its words hold names as they are, and would go to the
# terminal of whoever has set up no logging.
logging.getLogger("onnx_ir").addHandler(logging.NullHandler())

_BYTES = 2  # the wire type of strings, bytes and messages
_GRAPH = onnx.ModelProto.GRAPH_FIELD_NUMBER << 3 | _BYTES
_INITIALIZER = onnx.GraphProto.INITIALIZER_FIELD_NUMBER << 3 | _BYTES
_RAW_DATA = onnx.TensorProto.RAW_DATA_FIELD_NUMBER << 3 | _BYTES
_SMALL_BYTES = 1024
"""Weights up to this size are written with the graph."""
LARGEST_FILE = 1_000_000_000
"""Bytes of weights above which they go into a file beside the model: protobuf's end is at 2 GB."""
_AHEAD = min(8, len(os.sched_getaffinity(0)))
"""Weights that are computed at a time; all of them are in memory."""
_LONGEST_REFERENCE = 1 << 16
"""An initializer of more bytes than this holds its data: one that refers to a file is short."""


def read_model(path: Path, *, weights: bool = True) -> onnx.ModelProto:
    """The message in a file; external data stays where it is.

    Args:
        path: the file.
        weights: False leaves out the initializers that hold much data.

    Raises OSError, or `DecodeError` for what is no ONNX model.
    """
    model = onnx.ModelProto()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        for key, start, end in _fields(file, size):
            if key != _GRAPH:
                model.MergeFromString(_piece(file, start, end))
                continue
            for inner, first, last in _fields(file, end):
                if weights or inner != _INITIALIZER or last - first <= _LONGEST_REFERENCE:
                    model.graph.MergeFromString(_piece(file, first, last))
    return model


def data_path(path: Path) -> Path:
    """Where the weights of a large model are."""
    return path.with_name(f"{path.name}.data")


def remove_model(path: Path) -> None:
    """Remove a model and its weights, if they are there."""
    for file in (path, data_path(path)):
        file.unlink(missing_ok=True)


def write_model(model: ir.Model, path: Path, *, largest: int = LARGEST_FILE) -> None:
    """Write a model; a weight that is computed on demand is computed here, and let go.

    Weights are inside up to `largest` bytes, and in `data_path(path)` beyond. Raises OSError if the disk is
    full.
    """
    for file in (path, data_path(path)):
        if file.is_symlink() or file.is_fifo():
            file.unlink()  # the link, and not what somebody has made it lead to; a pipe would be waited for
    values = model.graph.initializers.values()
    if sum(value.const_value.nbytes for value in values if value.const_value is not None) <= largest:
        _write_whole(model, path)
    else:
        with naming(path):
            ir.save(model, path, external_data=data_path(path).name)


def _write_whole(model: ir.Model, path: Path) -> None:
    """One file with everything in it."""
    large = {
        name: value
        for name, value in model.graph.initializers.items()
        if (tensor := value.const_value) is not None
        and tensor.nbytes > _SMALL_BYTES
        # Strings have no raw data.
        and tensor.dtype != ir.DataType.STRING
    }
    for name in large:
        model.graph.initializers.pop(name)
    try:
        proto = ir.to_proto(model)
    finally:
        for value in large.values():
            model.graph.register_initializer(value)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    tensors = [value.const_value for value in large.values() if value.const_value is not None]
    heads = [_head(name, tensor) for name, tensor in zip(large, tensors, strict=True)]
    sizes = [len(head) + tensor.nbytes for head, tensor in zip(heads, tensors, strict=True)]
    total = len(graph) + sum(len(_field(_INITIALIZER, size)) + size for size in sizes)
    behind = onnx.ModelProto()
    behind.CopyFrom(proto)
    for field, _ in proto.ListFields():  # in order: OpenVINO takes no file with two imports before the graph
        (behind if field.number < onnx.ModelProto.GRAPH_FIELD_NUMBER else proto).ClearField(field.name)
    with naming(path), open(path, "wb", opener=not_following) as file, closing(_computed(tensors)) as arrays:
        file.write(proto.SerializeToString(deterministic=True))
        file.write(_field(_GRAPH, total) + graph)
        for data, head, size in zip(arrays, heads, sizes, strict=True):
            file.write(_field(_INITIALIZER, size) + head)
            file.write(data)
        file.write(behind.SerializeToString(deterministic=True))


def _computed(tensors: Sequence[ir.TensorProtocol]) -> Generator[bytes]:
    """The bytes of tensors, in order; the next ones are computed while the last one is written."""
    with ThreadPoolExecutor(_AHEAD, "weights") as pool:
        waiting: deque[Future[bytes]] = deque()
        for tensor in tensors:
            waiting.append(pool.submit(tensor.tobytes))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _head(name: str, tensor: ir.TensorProtocol) -> bytes:
    """A TensorProto up to its raw data; a tensor's own name may be another than its initializer's."""
    proto = onnx.TensorProto(name=name, data_type=tensor.dtype.value, dims=list(tensor.shape.numpy()))
    head: bytes = proto.SerializeToString(deterministic=True)
    return head + _field(_RAW_DATA, tensor.nbytes)


def _field(key: int, size: int) -> bytes:
    """Key and length of a field of bytes."""
    return _varint(key) + _varint(size)


def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*octets, number])


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, int, int]]:
    """(key, start, end) of each field up to a place in the file; the file stands behind the field's head."""
    start = file.tell()
    while start < end:
        key = _read_varint(file)
        match key & 7:
            case 0:
                _read_varint(file)
                last = file.tell()
            case 1:
                last = file.tell() + 8
            case 2:
                length = _read_varint(file)
                last = file.tell() + length
            case 5:
                last = file.tell() + 4
            case kind:
                raise DecodeError(f"byte {start} begins no field: wire type {kind}")
        if last > end:
            raise DecodeError(f"the file is cut short: the field at byte {start} lies partly beyond its end")
        yield key, start, last
        file.seek(last)
        start = last


def _piece(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _read_varint(file: BinaryIO) -> int:
    number = 0
    # Ten bytes of 7 bits hold any number of 64.
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise DecodeError("the file is cut short")
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return number
    raise DecodeError("a number is longer than 64 bits")
