"""Which ONNX nodes an OpenVINO kernel holds.

OpenVINO names the origins of a runtime node, but not all of them and not always by node name: it renames
the producer of a graph output after the output, appends `/WithoutBiases` and the like, and forgets a
MatMul whose bias it fused, folded weights and Q/DQ. What it forgets runs in the kernel of its consumer.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper

from autoprec.records import KernelTime

_SHORT_NAMES = {"f32": "f32", "bf16": "bf16", "f16": "f16", "i8": "i8", "u8": "i8"}
_PASSIVE = frozenset({"Const", "Input", "Output"})
_ATTENTION = "ScaledDotProductAttention"
_OWN_STEPS = ("/WithoutBiases", "/DequantizationMultiply")


class Node(NamedTuple):
    """A node of the ONNX graph."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    op_type: str = ""


class Graph(NamedTuple):
    """What an engine keeps of its ONNX file: names, no weights."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: int


class RuntimeNode(NamedTuple):
    """A node of OpenVINO's runtime model; `kernel` begins with `unknown` where nothing is executed."""

    kind: str
    kernel: str
    origins: tuple[str, ...]
    time_ms: float


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file; external data are not opened. Raises ValueError if it is none, OSError."""
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except FileNotFoundError as error:
        raise ValueError("there is no such file") from error
    except DecodeError as error:
        raise ValueError(f"not a readable ONNX file: {error}") from error
    weights = {tensor.name for tensor in graph.initializer}
    return Graph(
        nodes=tuple(Node(n.name, tuple(n.input), tuple(n.output), n.op_type) for n in graph.node),
        inputs=tuple(value.name for value in graph.input if value.name not in weights),
        outputs=tuple(value.name for value in graph.output),
        weight_bytes=sum(_tensor_bytes(tensor) for tensor in graph.initializer),
    )


def kernels_of(graph: Graph, runtime: Sequence[RuntimeNode]) -> tuple[KernelTime, ...]:
    """The executed runtime nodes as kernels; a layout change that OpenVINO put in holds no ONNX node."""
    names = {node.name: place for place, node in enumerate(graph.nodes) if node.name}
    producers = {value: node.name for node in graph.nodes for value in node.outputs if node.name}
    executed = [node for node in runtime if not _is_idle(node)]
    held = [set(_resolved(node.origins, names, producers)) for node in executed]
    for name, place in _attention(graph, executed):
        held[place].add(name)
    home = {name: place for place, carried in enumerate(held) for name in carried}
    # A view of memory runs nothing; but a folded constant is work of the kernel that takes it.
    idle = {name for node in runtime if _is_idle(node) and node.kind not in _PASSIVE for name in node.origins}
    for name, place in _forgotten(graph, home, idle):
        held[place].add(name)
    return tuple(
        KernelTime(
            nodes=tuple(sorted(carried, key=names.__getitem__)),
            kernel=node.kernel,
            # OpenVINO tells a kernel by its name alone: jit_avx512_I8, brgconv_avx512_bf16.
            precision=_SHORT_NAMES.get(node.kernel.rpartition("_")[2].lower(), ""),
            time_ms=node.time_ms,
        )
        for node, carried in zip(executed, held, strict=True)
    )


def _is_idle(node: RuntimeNode) -> bool:
    return node.kind in _PASSIVE or node.kernel.startswith("unknown")


def _resolved(origins: Iterable[str], names: Container[str], producers: dict[str, str]) -> Iterable[str]:
    """ONNX node names behind OpenVINO's; what OpenVINO made up by itself is left out."""
    for origin in origins:
        plain = origin
        for step in _OWN_STEPS:
            plain = plain.removesuffix(step)
        if plain in names:
            yield plain
        elif plain in producers:
            yield producers[plain]


def _attention(graph: Graph, executed: Sequence[RuntimeNode]) -> Iterable[tuple[str, int]]:
    """(node, kernel) of Attention: OpenVINO names its kernel after itself, and lists the node as a view."""
    kernels = [
        place
        for place, node in enumerate(executed)
        if any(origin.startswith(_ATTENTION) for origin in node.origins)
    ]
    nodes = [node.name for node in graph.nodes if node.op_type == "Attention" and node.name]
    # Matched in order; with other counts (some were fused or folded) any match would be a guess.
    return zip(nodes, kernels, strict=True) if len(nodes) == len(kernels) else ()


def _forgotten(graph: Graph, home: dict[str, int], idle: set[str]) -> Iterable[tuple[str, int]]:
    """(node, kernel) of nodes in no kernel yet: they run where their first placed consumer runs."""
    consumers: dict[str, list[str]] = {}
    for node in reversed(graph.nodes):
        if node.name and node.name not in home and node.name not in idle:
            takers = [taker for value in node.outputs for taker in consumers.get(value, ()) if taker in home]
            if takers:
                # Consumers were noted from the end of the graph, so the last of them runs first.
                home[node.name] = home[takers[-1]]
                yield node.name, home[node.name]
        for value in node.inputs:
            consumers.setdefault(value, []).append(node.name)


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Size of a weight, wherever it is stored; 4-bit types are packed in pairs."""
    kind: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    bits = 4 if kind.name in ("int4", "uint4", "float4_e2m1fn") else kind.itemsize * 8
    elements: int = math.prod(tensor.dims)
    return (elements * bits + 7) // 8
