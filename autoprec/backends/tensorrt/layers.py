"""What an engine's layers ran in: the builder's `Layers:` message and EngineInspector's JSON as kernels.

The message needs no GPU; TensorRT-RTX 1.4 to 1.7 log it at VERBOSE when the profiling verbosity is DETAILED.
Both name the ONNX nodes of a layer in `Metadata`, and the types of its tensors. What a layer ran in is left
open rather than guessed: a wrong word would call a good candidate one that did not run as asked.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autoprec.backends.tensorrt.library import REFUSALS, Library
from autoprec.backends.tensorrt.log import LAYERS_HEADING
from autoprec.records import KernelTime, Record

_LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w*), Inputs: \[(?P<inputs>.*?)\], "
    r"Constants: \[(?P<constants>.*?)\], Outputs: \[(?P<outputs>.*?)\], TacticName: (?P<tactic>.*?), "
    r"StreamId: \d+, (?:EventId: \d+, )?Metadata: ?(?P<metadata>.*)"
)
_NODE = "[ONNX Layer: "
_SEPARATOR = re.compile("[\x1e\x1f]")
_SHORT = {
    "bfloat16": "bf16", "bf16": "bf16", "half": "f16", "fp16": "f16", "float16": "f16",
    "float": "f32", "fp32": "f32", "float32": "f32", "tf32": "f32",
    "fp8": "f8", "fp8e4m3": "f8", "fp8_e4m3": "f8", "float8": "f8", "fp4": "f4", "fp4e2m1": "f4",
    "fp4_e2m1": "f4", "int4": "i4", "int8": "i8", "int32": "i32", "int64": "i64", "uint8": "u8",
    "bool": "bool",
}  # fmt: skip
"""By the words of all versions, in lower case: phrases and types spell them in many ways."""
_TYPE = re.compile(rf"\b({'|'.join(_SHORT)})\b", re.IGNORECASE)
_FLOATS = frozenset({"f32", "f16", "bf16"})
_INDICES = frozenset({"i32", "i64", "bool"})
_PRODUCT = re.compile(r"conv|correlation|gemm|matrix|mha|attention|fullyconnected", re.IGNORECASE)
_MOVES = re.compile(r"reformat|noop|shuffle|copy|constant", re.IGNORECASE)
"""Kinds of layers that bring values into another type or order: they compute nothing."""
_OPAQUE = re.compile(r"ForeignNode\[|^Myelin$")
"""Several nodes behind one name and the types at their border."""
_RETYPES = re.compile(
    r"autoprec/(d?q|cast|output)/|quantize_?linear|(?:^|[/_.])(cast|to_copy)(?=[/_.\d]|$)", re.IGNORECASE
)
"""Nodes that give values another type, by what exporters call them."""
_POINTWISE = re.compile(r"PWN\((?:PWN\()*|\)+(?=, |$)")
_XMMA = r"(bf16|f16|tf32|f32|i8|i32|e4m3|e5m2)"
_TACTIC = re.compile(rf"_{_XMMA}{_XMMA}_{_XMMA}{_XMMA}_{_XMMA}(?:_|$)")
"""Types in the name of a kernel of CASK: of the first operand and the result, of the second and the sums."""
_OPERANDS = {"i8": "i8", "e4m3": "f8", "f16": "f16", "bf16": "bf16", "f32": "f32", "tf32": "f32"}
_WEIGHTS = re.compile(r"(\w+)?Weights")
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
    weights: str = ""
    lists_constants: bool = True

    @property
    def is_opaque(self) -> bool:
        """Whether it is a region of which only the border is known."""
        return bool(_OPAQUE.search(self.kind) or _OPAQUE.search(self.name))

    @property
    def is_product(self) -> bool:
        """Whether it holds a convolution or a matrix product, and so decides what its nodes ran in."""
        if _MOVES.search(self.kind) or self.is_opaque:
            return False
        return bool(
            self.weights
            or _PRODUCT.search(self.kind)
            or _PRODUCT.search(self.tactic)
            or _FUSED_PRODUCT.match(self.name)
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
        """What it computes in; empty if its tensors do not show it.

        A product computes in a narrow type only where both operands have it: INT8 activations beside weights
        that another layer has dequantised are dequantised first. INT8 weights beside float activations are
        `i8w`, read as they are and multiplied in floats; 4-bit integers are made for that alone.

        Full TensorRT reports the type of a convolution's weights, and that is what it computes in: its inputs
        may be a fused residual in another type, or floats that it quantises as it reads them. Of a matrix
        product it lists all inputs in a row, residuals and scales with them: where they differ, the kernel's
        name shows it, or nothing does. A region is judged by its border only if no type changes in it.
        """
        if _MOVES.search(self.kind):
            return ""
        if self.weights:
            return self._by_weights()
        if self.is_product:
            return self._by_operands()
        types = {*self.inputs, *self.outputs} - _INDICES
        if self.is_opaque and (any(map(_RETYPES.search, self.nodes)) or types - _FLOATS):
            return ""
        types &= _FLOATS
        return next(iter(types)) if len(types) == 1 else ""

    def _by_weights(self) -> str:
        """What a product with known weights computes in."""
        is_float = bool(self.inputs) and _FLOATS.issuperset(self.inputs[:1])
        is_matrix_product = re.search(r"matrix|(?<!conv)gemm(?!conv)", self.kind, re.IGNORECASE)
        # Of a convolution the inputs say nothing: they may be a residual, or floats that it quantises as it
        # reads.
        if self.weights == "i8" and is_float and is_matrix_product:
            return "i8w"
        return self.weights

    def _by_operands(self) -> str:
        """What a product computes in whose weights are not told by themselves."""
        if "i4" in (*self.constants[:1], *self.inputs[:2]):
            return "i4"
        if "i8" in self.constants and _FLOATS.issuperset(self.inputs):
            return "i8w"
        if told := _TACTIC.search(self.tactic):
            both = {_OPERANDS.get(told[1], ""), _OPERANDS.get(told[3], "")}
            return both.pop() if len(both) == 1 else ""
        types = [name for name in self.inputs if name not in _INDICES]
        if types and types[0] in self.constants:
            return types[0]  # weights; biases, scales and a fused residual stand beside them
        if not self.lists_constants and len(set(types[:2])) > 1:
            return ""
        operands = types[:2] if len(types) > 1 else [*types, *self.constants[:1]]
        return next((name for name in operands if name in _FLOATS), next(iter(operands), ""))


def layers_from_message(message: str) -> tuple[Layer, ...]:
    """The layers of the builder's `Layers:` message.

    None if it has a line of another form: some of an engine's layers are a wrong account of it, and the
    inspector has them all.
    """
    # Not `splitlines`: names may hold separators.
    told = message.removeprefix(f"{LAYERS_HEADING}\n").split("\n")
    lines = list(itertools.takewhile(str.strip, told))
    matches = [match for match in map(_LINE.fullmatch, lines) if match]
    if len(matches) != len(lines):
        return ()
    return tuple(
        Layer(
            name=match["name"],
            kind=match["kind"],
            tactic=match["tactic"],
            nodes=_named(match["metadata"]),
            inputs=_types(re.findall(r"Datatype: (\w+)", match["inputs"])),
            constants=_types(re.findall(r"Datatype: (\w+)", match["constants"])),
            outputs=_types(re.findall(r"Datatype: (\w+)", match["outputs"])),
        )
        for match in matches
    )


def inspected_layers(library: Library, engine: Any, context: Any) -> tuple[Layer, ...]:
    """The layers that the inspector of a loaded engine reports; none where it reports nothing."""
    try:
        inspector = engine.create_engine_inspector()
        inspector.execution_context = context
        text = inspector.get_engine_information(library.trt.LayerInformationFormat.JSON)
    except (*REFUSALS, AttributeError):  # an attribute of the None that is given for no inspector
        return ()
    return layers_from_json(text or "")


def layers_from_json(text: str) -> tuple[Layer, ...]:
    """The layers of EngineInspector's JSON, of TensorRT 8 to 11.

    Empty unless the engine was built with DETAILED verbosity, and if the text is no such JSON.
    """
    try:
        told = json.loads(text, strict=False)  # some versions separate nodes by raw control characters
    except (ValueError, RecursionError):
        return ()
    layers = told.get("Layers", ()) if isinstance(told, dict) else ()
    return tuple(_inspected(layer) for layer in layers if isinstance(layer, dict))


def _inspected(told: Mapping[str, Any]) -> Layer:
    name, kind = str(told.get("Name", "")), str(told.get("LayerType", ""))
    return Layer(
        name=name,
        kind=kind,
        tactic=str(told.get("TacticName", "")),
        nodes=_nodes(name, kind, str(told.get("Metadata") or "")),
        inputs=_types(map(_described, told.get("Inputs") or ())),
        constants=_types(map(_described, told.get("Constants") or ())),
        outputs=_types(map(_described, told.get("Outputs") or ())),
        weights=_weights(told),
        lists_constants="Constants" in told,
    )


def _nodes(name: str, kind: str, metadata: str) -> tuple[str, ...]:
    """ONNX nodes of a layer: TensorRT before 10 names them in the layer's name alone."""
    if (named := _named(metadata)) or not name or _MOVES.search(kind) or _OPAQUE.search(name):
        return named
    nodes: list[str] = []
    for part in re.split(r" \+ | \|\| ", name):  # one node behind the other, and side by side
        nodes += _POINTWISE.sub("", part).split(", ") if part.startswith("PWN(") else [part]
    return tuple(nodes)


def _named(metadata: str) -> tuple[str, ...]:
    """The nodes in `[ONNX Layer: a | PROPERTIES]`, one behind the other, with or without separators.

    The parser adds the functions that a node is in; TensorRT-RTX what it made of it, as
    `[ONNX Layer: a]__gemm_from_conv1x1`.
    """
    told = (_SEPARATOR.split(part, maxsplit=1)[0].rpartition("]")[0] for part in metadata.split(_NODE)[1:])
    return tuple(name.partition(" | ")[0] for name in told)


def _weights(told: Mapping[str, Any]) -> str:
    """The type under `Weights`, or `ConvWeights` of a convolution with a pooling in it; empty if untold."""
    described = (value for key, value in told.items() if _WEIGHTS.fullmatch(key))
    return next(iter(_types(map(_described, described))), "")


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
    if not isinstance(tensor, dict):
        return ""
    return next(
        (str(tensor[key]) for key in ("Datatype", "DataType", "Type", "Format/Datatype") if key in tensor), ""
    )


def _types(texts: Iterable[str]) -> tuple[str, ...]:
    matches = (_TYPE.search(text) for text in texts)
    return tuple(_SHORT[match[1].lower()] for match in matches if match)
