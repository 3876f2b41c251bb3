"""What an engine's layers ran in: the builder's `Layers:` message and EngineInspector's JSON as kernels.

The message needs no GPU; TensorRT-RTX 1.4 to 1.7 log it at VERBOSE when the profiling verbosity is DETAILED.
Both name the ONNX nodes of a layer in `Metadata`, and the types of its tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autoprec.records import KernelTime, Record

_LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w*), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], TacticName: (?P<tactic>.*?), "
    r"StreamId: \d+, Metadata: ?(?P<metadata>.*)"
)
# TensorRT-RTX adds what it made of a node: `[ONNX Layer: a]__gemm_from_conv1x1`; the inspector's JSON has a
# separator between nodes.
_NODE = re.compile(r"\[ONNX Layer: (.*?)\](?=\w*[\x1e\x1f]?(?:\[ONNX Layer: |\s*$))")
_SHORT = {
    "BFloat16": "bf16", "BF16": "bf16", "Half": "f16", "FP16": "f16", "Float": "f32", "FP32": "f32",
    "FP8": "f8", "FP4E2M1": "f4", "FP4": "f4", "Int4": "i4", "Int8": "i8", "Int32": "i32", "Int64": "i64",
    "UInt8": "u8", "Bool": "bool",
}  # fmt: skip
_TYPE = re.compile(rf"\b({'|'.join(_SHORT)})\b")
_FLOATS = frozenset({"f32", "f16", "bf16"})
_PRODUCT = re.compile(r"conv|correlation|gemm|matrix|mha|attention", re.IGNORECASE)
_FUSED_PRODUCT = re.compile(r"__myl_\w*?(Fc|Corr|Gemm|Conv|Deco|Dot)")
_FUSED = re.compile(r"__myl_([A-Za-z]+)_")
_HASH = re.compile(r"_0x[0-9a-f]+$")
_NO_TACTIC = "__myelin_CASK_STUB"  # TensorRT-RTX picks the kernel when it loads the engine


class Layer(Record, frozen=True, kw_only=True):
    """One layer of an engine, as the library describes it; types are short names such as `f16`."""

    name: str
    kind: str
    tactic: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def is_product(self) -> bool:
        """Whether it holds a convolution or a matrix product, and so decides what its nodes ran in."""
        return bool(
            _PRODUCT.search(self.kind) or _PRODUCT.search(self.tactic) or _FUSED_PRODUCT.match(self.name)
        )

    @property
    def kernel(self) -> str:
        """Kind and tactic, without what differs between layers that run the same: `kgen _gemm_mha_v2`."""
        tactic = self.tactic if self.tactic != _NO_TACTIC else ""
        if not tactic and (fused := _FUSED.match(self.name)):
            tactic = fused[1]
        return f"{self.kind} {_HASH.sub('', tactic).removeprefix('__myl_')}".strip()

    @property
    def precision(self) -> str:
        """What it computes in; empty if its tensors do not tell.

        A product computes in a narrow type only where both operands have it: INT8 activations beside weights
        that another layer has dequantised are dequantised first. INT8 weights beside float activations are
        `i8w`, read as they are and multiplied in floats; 4-bit integers are made for that alone.
        """
        if self.is_product:
            if self.constants[:1] == ("i4",):
                return "i4"
            if "i8" in self.constants and _FLOATS.issuperset(self.inputs):
                return "i8w"
            operands = self._operands()
            return next((t for t in operands if t in _FLOATS), next(iter(operands), ""))
        types = _FLOATS & {*self.inputs, *self.outputs}
        return next(iter(types)) if len(types) == 1 else ""

    def _operands(self) -> tuple[str, ...]:
        """Types of a product's two operands: weights, where there are any, are the first constant; biases,
        scales and a fused residual come after."""
        has_weights = len(self.inputs) < 2 or self.constants[:1] == self.inputs[:1]
        return self.inputs[:1] + self.constants[:1] if has_weights else self.inputs[:2]


def layers_from_message(message: str) -> tuple[Layer, ...]:
    """The layers of the builder's `Layers:` message; lines that are not layers are skipped."""
    matches = (_LINE.fullmatch(line) for line in message.splitlines())
    return tuple(
        Layer(
            name=match["name"],
            kind=match["kind"],
            tactic=match["tactic"],
            nodes=tuple(_NODE.findall(match["metadata"])),
            inputs=_types(re.findall(r"Datatype: (\w+)", match["inputs"])),
            constants=_types(re.findall(r"Datatype: (\w+)", match["constants"])),
            outputs=_types(re.findall(r"Datatype: (\w+)", match["outputs"])),
        )
        for match in matches
        if match
    )


def layers_from_json(text: str) -> tuple[Layer, ...]:
    """The layers of EngineInspector's JSON; empty unless the engine was built with DETAILED verbosity."""
    layers = [layer for layer in json.loads(text).get("Layers", ()) if isinstance(layer, dict)]
    return tuple(
        Layer(
            name=layer.get("Name", ""),
            kind=layer.get("LayerType", ""),
            tactic=str(layer.get("TacticName", "")),
            nodes=tuple(_NODE.findall(layer.get("Metadata", ""))),
            inputs=_types(map(_described, layer.get("Inputs", ()))),
            constants=_types(map(_described, layer.get("Constants", ()))),
            outputs=_types(map(_described, layer.get("Outputs", ()))),
        )
        for layer in layers
    )


def kernels_of(layers: Sequence[Layer], times_ms: Mapping[str, float]) -> tuple[KernelTime, ...]:
    """One kernel for each layer, with its time where `times_ms` (by layer name) has one.

    A node whose product and whose bias run in two layers counts for the product's alone.
    """
    in_products = {node for layer in layers if layer.is_product for node in layer.nodes}
    return tuple(
        KernelTime(
            nodes=tuple(node for node in layer.nodes if layer.is_product or node not in in_products),
            kernel=layer.kernel,
            precision=layer.precision,
            time_ms=times_ms.get(layer.name, 0.0),
        )
        for layer in layers
    )


def _described(tensor: Any) -> str:
    """The text that holds a tensor's type: TensorRT 10 writes it into the format, 11 has it apart."""
    return next(
        (str(tensor[key]) for key in ("Datatype", "DataType", "Format/Datatype") if key in tensor), ""
    )


def _types(texts: Iterable[str]) -> tuple[str, ...]:
    found = (_TYPE.search(text) for text in texts)
    return tuple(_SHORT[match[1]] for match in found if match)
