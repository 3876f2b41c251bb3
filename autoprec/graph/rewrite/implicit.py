"""An assignment for builders that take precisions by flags: a float model, ranges, a word for each layer.

TensorRT 8 and 9 (and 10, weakly typed) compute where they like unless flags say otherwise, layer by layer;
ranges come from a calibration cache. What such a builder cannot be told is listed, not left out silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from autoprec.graph.grids.given import given
from autoprec.graph.grids.pairs import Pair
from autoprec.graph.ops.costs import COSTLY_OPS
from autoprec.precisions import PRECISIONS, Precision
from autoprec.records import Assignment, Implicit

_WORDS = {"fp32": "fp32", "fp16": "fp16", "bf16": "fp32"}
_LEVELS = 127.0
_ALWAYS = (
    "Latency and masks were measured on the typed model. This build's kernels are others: measure it again.",
    "The builder quantises weights, per output channel by their largest magnitude; learned rounding is kept.",
    "One tensor has one range: where blocks read it with different ranges, the widest counts.",
    "Residual additions run in floats or integers as the builder likes.",
    "TensorRT 8.6 knows opsets up to 17, and tries later ones: an op that changed since may be refused.",
)


def implicit(
    source: ir.Model,
    typed: ir.Model,
    home: Mapping[str, str],
    assignment: Assignment,
    largest: Mapping[str, float],
    model_path: str,
) -> Implicit:
    """The part of an assignment that flags and a calibration cache can express.

    Args:
        source: the float model, with the edits of variants in it; what will be built.
        typed: the candidate of the same assignment: its Q nodes hold the ranges.
        home: block of each node of `source`.
        assignment: one precision for each block.
        largest: largest magnitude of each value of the model as it came, by name.
        model_path: where `source` is.
    """
    choices = assignment.as_dict()
    scales = _signed(typed)
    quantised = {str(node.name) for node in typed.graph if _reads_pairs(node)}
    layers: list[tuple[str, str]] = []
    for node in source.graph:
        name = str(node.name)
        precision = PRECISIONS[choices[home[name]]]
        # Shapes, indices and masks have no float precision to ask for.
        if any(value.dtype != ir.DataType.FLOAT for value in node.outputs):
            continue
        # An Add between pairs runs as the builder likes: see `_ALWAYS`.
        is_int8 = name in quantised and node.op_type in COSTLY_OPS and precision.plain == "int8"
        layers.append((name, "int8" if is_int8 else _WORDS.get(precision.name, "fp16")))
        if is_int8:
            for value in node.outputs:
                # A layer without a range for what it makes falls back to floats.
                limit = largest.get(str(value.name), 0.0)
                if limit > 0:
                    scales.setdefault(str(value.name), limit / _LEVELS)
    used = [PRECISIONS[name] for name in dict.fromkeys(choices.values())]
    return Implicit(
        model_path=model_path,
        scales=tuple(scales.items()),
        layers=tuple(layers),
        limits=tuple(_limits(used, source)),
    )


def scales_of(typed: ir.Model) -> dict[str, float]:
    """Scale of each quantised activation, by the name that it has in the float model."""
    scales: dict[str, float] = {}
    for node in typed.graph:
        if node.op_type != "QuantizeLinear":
            continue
        name, scale = _origin(node), node.inputs[1]
        assert scale is not None
        assert scale.const_value is not None
        step = float(scale.const_value.numpy().astype("float32").max())
        # One tensor has one entry in the cache: the widest of its ranges clips nothing of the others.
        scales[name] = max(step, scales.get(name, 0.0))
    return scales


def _signed(typed: ir.Model) -> dict[str, float]:
    """`scales_of`, converted to signed grids: a calibration cache has no others."""
    scales = scales_of(typed)
    for node in typed.graph:
        zero = node.inputs[2] if node.op_type == "QuantizeLinear" and len(node.inputs) > 2 else None
        if zero is not None and zero.dtype == ir.DataType.UINT8 and zero.const_value is not None:
            name = _origin(node)
            # The largest magnitude above zero point in UINT8, in steps of a signed grid.
            scales[name] = scales[name] * (255 - float(zero.const_value.numpy().min())) / _LEVELS
    return scales


def _origin(node: ir.Node) -> str:
    """The name in the float model of what a QuantizeLinear reads."""
    value = node.inputs[0]
    while value is not None and (maker := value.producer()) is not None and maker.op_type == "Cast":
        value = maker.inputs[0]
    assert value is not None
    return str(value.name).removeprefix("autoprec/made/")


def _reads_pairs(node: ir.Node) -> bool:
    makers = (value.producer() for value in node.inputs[:2] if value is not None)
    return any(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)


def _limits(used: Sequence[Precision], source: ir.Model) -> list[str]:
    """What flags cannot say, one line each."""
    notes = list(_ALWAYS)
    names = {precision.plain for precision in used}
    if "bf16" in names:
        notes.append("BF16 needs TensorRT 9 and compute capability 8.0: those blocks are set to FP32 here.")
    if others := sorted({p.plain for p in used if p.is_quantized} - {"int8"}):
        notes.append(f"Flags cannot ask for {' and '.join(others)}: those blocks are set to FP16 here.")
    pairs = [pair for node in source.graph for pair in given(node).values() if isinstance(pair, Pair)]
    if any(pair.zero is not None and pair.zero.any() for pair in pairs):
        notes.append("The model came with zero points, which a calibration cache cannot hold: they are lost.")
    return notes
