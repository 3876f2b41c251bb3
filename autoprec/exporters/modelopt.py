"""A script for NVIDIA ModelOpt: the same products quantised from the float model, with ModelOpt's own ranges.

`model.onnx` needs no ModelOpt; this is for tool chains that start with it. ModelOpt 0.47 quantises to one
type per call and converts everything else to one float type, so a mix of several is only approximated: by the
most frequent quantised type, and the widest float type that the typed model computes in.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, TensorProto

from autoprec.exporters._script import SCRIPTS
from autoprec.exporters.implicit import MODEL as SOURCE
from autoprec.exporters.onnx import copy
from autoprec.precisions import PRECISIONS
from autoprec.records import Export

SCRIPT = "modelopt_quantize.py"
NODES = "modelopt.json"
MODES = {"int8": TensorProto.INT8, "fp8": TensorProto.FLOAT8E4M3FN, "int4": TensorProto.INT4}
FLOATS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "fp32": TensorProto.FLOAT}
"""From the narrowest range to the widest."""
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_MOVES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that may stand between a DequantizeLinear and the product that reads it."""


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write the script, the float model, and the names of its nodes; nothing without a float model."""
    if export.implicit is None:
        return ()
    choices = export.trial.assignment.as_dict()
    plain = {block.name: PRECISIONS[choices[block.name]].plain for block in export.blocks}
    counts = Counter(plain.values())
    mode = max(MODES, key=lambda name: counts[name])
    typed = onnx.load(export.model_path, load_external_data=False).graph
    settings = {
        "quantize_mode": mode,
        "high_precision_dtype": _widest(typed, plain.values()),
        "nodes_to_quantize": sorted(quantised(typed, MODES[mode], weights_alone=mode == "int4")),
        "left_out": {
            name: precision
            for name, precision in plain.items()
            if PRECISIONS[precision].is_quantized and precision != mode
        },
    }
    # Beside the script, which is the same in every export.
    nodes = folder / NODES
    nodes.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    script = Path(shutil.copyfile(SCRIPTS / SCRIPT, folder / SCRIPT))
    # `implicit` comes first in the table, and writes the same file where it is asked for, too.
    there = (folder / SOURCE).exists()
    return (script, nodes, *(() if there else copy(Path(export.implicit.model_path), folder / SOURCE)))


def quantised(graph: GraphProto, kind: int, *, weights_alone: bool = False) -> Iterator[str]:
    """Names of the products whose operands, or weights alone, are dequantised from `kind`."""
    makers = {name: node for node in graph.node for name in node.output}
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        # Not everything in a quantised block: quantising its pooling, gates and additions as well ruins
        # masks.
        if node.op_type in PRODUCTS:
            read = [_behind(name, makers, kinds) for name in node.input[:2]]
            if read[1:] == [kind] and (weights_alone or read[0] == kind):
                yield node.name


def _behind(name: str, makers: Mapping[str, NodeProto], kinds: Mapping[str, int]) -> int | None:
    """The ONNX data type that a value is dequantised from; None if it is not dequantised."""
    maker = makers.get(name)
    while maker is not None and maker.op_type in _MOVES:
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    if maker.input[0] in kinds:
        return kinds[maker.input[0]]
    if len(maker.input) > 2:
        return kinds.get(maker.input[2])  # a zero point has the type of its tensor
    return None


def _widest(graph: GraphProto, precisions: Iterable[str]) -> str:
    """The widest float type among those of blocks and of the outputs of quantised products."""
    # What a pair gives has the type of its scale: the float type around the integers.
    scales = {node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"}
    kinds = {tensor.data_type for tensor in graph.initializer if tensor.name in scales}
    names = {*precisions, *(name for name, kind in FLOATS.items() if kind in kinds)}
    # All of them become one type there: a narrower one would not hold what blocks in the widest compute.
    return max((name for name in FLOATS if name in names), key=list(FLOATS).index, default="fp16")
