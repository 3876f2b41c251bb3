"""A stand-in for trtexec of a version: takes its options, prints its words and writes its files.

python standin_trtexec.py VERSION OPTIONS...: VERSION as in its banner, 8601, 100300 or 110100.

Builds with TensorRT-RTX, which refuses what is typed wrongly; computes with OpenVINO. Before 10, types in
the model do not bind: layers round to what `--layerPrecisions` says. Its times are made up from the types.
"""

from __future__ import annotations

import json
import random
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from standin_help import helped  # type: ignore[import-not-found,unused-ignore]


def main() -> int:
    version, *words = sys.argv[1:]
    build_number = " [b42]" if int(version) > 100800 else ""
    tag = f"TensorRT.trtexec [TensorRT v{version}]{build_number} # trtexec {' '.join(words)}"
    print(f"&&&& RUNNING {tag}", flush=True)
    flags = {
        line.split()[0].partition("=")[0].rstrip(",")
        for line in helped(int(version)).splitlines()
        if line.strip()
    }
    options = dict((word + "=").split("=", 1) for word in words)
    options = {
        name: value.rstrip("=") if name != "--loadInputs" else value[:-1] for name, value in options.items()
    }
    if "--help" in options:
        print("=== Model Options ===" + helped(int(version)))
        return 0
    if unknown := sorted(set(options) - flags):
        say("E", f"Unknown option: {unknown[0]} {options[unknown[0]]}")
        return failed(tag)
    say("I", "=== Device Information ===")
    say("I", f"Selected Device: {'Orin' if int(version) < 110000 else 'NVIDIA GeForce RTX 3090'}")
    say("I", f"Compute Capability: {'8.7' if int(version) < 110000 else '8.6'}")
    say("I", "Note: The application clock rates do not reflect the actual clock rates.")
    try:
        build(int(version), options) if "--onnx" in options else infer(int(version), options)
    except RefusedError as error:
        say("E", str(error))
        say("E", "Engine set up failed")
        return failed(tag)
    print(f"&&&& PASSED {tag}")
    return 0


class RefusedError(Exception):
    """What the builder does not take."""


def say(level: str, words: str) -> None:
    print(f"[{time.strftime('%m/%d/%Y-%H:%M:%S')}] [{level}] {words}", flush=True)


def failed(tag: str) -> int:
    print(f"&&&& FAILED {tag}")
    return 1


def build(version: int, options: dict[str, str]) -> None:
    import onnx

    model = onnx.load(options["--onnx"])
    cache = Path(options["--timingCacheFile"])
    cache.write_bytes((cache.read_bytes() if cache.exists() else b"") + b"timing")
    if (cache.absolute().parents[1] / "slow").exists():
        time.sleep(600)
    if version < 100000:
        layers = weak_layers(version, model, options)
    else:
        if version < 110000 and "--stronglyTyped" not in options:
            raise RefusedError("[TRT] this stand-in builds only strongly typed networks")
        built(options["--onnx"])
        layers = strong_layers(version, model)
    with zipfile.ZipFile(options["--saveEngine"], "w") as plan:
        plan.writestr("model", model.SerializeToString())
        plan.writestr("layers", json.dumps(layers))
    say("I", "Engine built in 1.5 sec.")
    say("I", "Skipped inference phase since --skipInference is added.")


def built(path: str) -> None:
    """Have TensorRT-RTX build it, if it is here."""
    try:
        import tensorrt_rtx as trt
    except ImportError:
        return

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, level: Any, text: str) -> None:
            if level in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(text)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    if not parser.parse_from_file(path) or builder.build_serialized_network(network, config) is None:
        raise RefusedError(f"Error[4]: [TRT] {log.errors[0] if log.errors else 'no reason'}")


def weak_layers(version: int, model: Any, options: dict[str, str]) -> list[Any]:
    """What a builder of TensorRT 8 makes of a model, which then computes in what each layer was told."""
    import onnx
    from onnx import TensorProto, helper

    refuse_later_things(model)
    told, types_given = (spec(options, name) for name in ("--layerPrecisions", "--layerOutputTypes"))
    if told and options.get("--precisionConstraints") != "obey":
        raise RefusedError("layer precisions without --precisionConstraints=obey")
    pairs = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    outputs = {value.name for value in model.graph.output}
    layers, nodes = [], []
    for node in model.graph.node:
        is_int8 = node.op_type in ("Conv", "MatMul", "Gemm") and set(node.input[:2]) <= pairs
        word = "int8" if is_int8 else told.get(node.name, "fp32")
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            layers.append(layer(version, node, word, types_given.get(node.name, "fp32")))
        nodes.append(node)
        if word == "fp16" and node.output[0] not in outputs:
            name = node.output[0]
            node.output[0] = f"{name}/made"
            nodes.append(helper.make_node("Cast", [f"{name}/made"], [f"{name}/half"], to=TensorProto.FLOAT16))
            nodes.append(helper.make_node("Cast", [f"{name}/half"], [name], to=TensorProto.FLOAT))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return layers


def refuse_later_things(model: Any) -> None:
    """As the parser of TensorRT 8 does: opsets, types, and constants of INT8."""
    from onnx import TensorProto

    if any(entry.version > 17 for entry in model.opset_import if not entry.domain):
        raise RefusedError("[TRT] ModelImporter.cpp: this parser knows opsets up to 17")
    served = {TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
    for tensor in model.graph.initializer:
        if tensor.data_type not in served:
            kind = TensorProto.DataType.Name(tensor.data_type)
            raise RefusedError(f"[TRT] Unsupported ONNX data type: {kind}")
    stored = {t.name for t in model.graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims)}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            raise RefusedError(f"[TRT] {node.input[0]}: invalid weights type of Int8")


def spec(options: dict[str, str], name: str) -> dict[str, str]:
    return dict(part.rsplit(":", 1) for part in options.get(name, "").split(",") if part)


def strong_layers(version: int, model: Any) -> list[Any]:
    from onnx import TensorProto

    words = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    pairs = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    layers = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        output_word = words.get(types.get(node.output[0], 0), "fp32")
        is_int8 = node.op_type in ("Conv", "MatMul", "Gemm") and set(node.input[:2]) <= pairs
        layers.append(layer(version, node, "int8" if is_int8 else output_word, output_word))
    return layers


PHRASES = {
    "fp32": ("Float", "Row major linear FP32"),
    "fp16": ("Half", "Row major linear FP16 format"),
    "bf16": ("BFloat16", "Row major linear BFloat16 format"),
    "int8": ("Int8", "Thirty-two wide channel vectorized row major Int8 format"),
}


def layer(version: int, node: Any, word: str, output_word: str) -> Any:
    def tensor(kind: str, name: str) -> Any:
        short, phrase = PHRASES[kind]
        told = {"Name": name, "Location": "Device", "Dimensions": [1, 1, 1, 1]}
        return told | (
            {"Format/Datatype": phrase} if version < 110000 else {"Datatype": short, "Format": "(Linear)"}
        )

    record = {
        "Name": node.name,
        "LayerType": "CaskConvolution" if node.op_type == "Conv" else "PointWiseV2",
        "Inputs": [tensor(word, node.input[0])],
        "Outputs": [tensor(output_word, node.output[0])],
        "TacticName": f"sm80_{word}_{node.op_type.lower()}",
    }
    if node.op_type == "Conv":
        record |= {"ParameterType": "Convolution", "Weights": {"Type": PHRASES[word][0], "Count": 1}}
    return record | ({"Metadata": f"[ONNX Layer: {node.name}]"} if version >= 100000 else {})


def infer(version: int, options: dict[str, str]) -> None:
    with zipfile.ZipFile(options["--loadEngine"]) as plan:
        layers, text = json.loads(plan.read("layers")), plan.read("model")
    say("I", "Using values loaded from files for inputs")
    where = "TensorRT-managed allocation in IExecutionContext creation"
    say("I", f"[TRT] [MemUsageChange] {where}: CPU +0, GPU +3, now: CPU 0, GPU 5 (MiB)")
    if "--exportLayerInfo" in options:
        end = "Bindings" if version < 110000 else "I/O Tensors"
        Path(options["--exportLayerInfo"]).write_text(json.dumps({"Layers": layers, end: []}))
    if "--exportProfile" in options:
        lines = [
            f', {{ "name" : "{each["Name"]}", "timeMs" : 1.5, "averageMs" : 0.15, "percentage" : 3 }}'
            for each in layers
        ]
        Path(options["--exportProfile"]).write_text("\n".join(["[", '  { "count" : 10 }', *lines, "]"]))
    if "--exportTimes" in options:
        costs = {"fp32": 1.0, "fp16": 0.6, "bf16": 0.6, "int8": 0.4}
        base = sum(
            cost for each in layers for kind, cost in costs.items() if f"_{kind}_" in each["TacticName"]
        )
        runs = [base * random.gauss(1, 0.01) for _ in range(int(options["--iterations"]))]
        lines = [
            f'{{ "startEnqMs" : 0.1, "endEnqMs" : 0.2, "computeMs" : {ms:.6g}, "latencyMs" : {ms:.6g} }}'
            for ms in runs
        ]
        Path(options["--exportTimes"]).write_text("[\n  " + "\n, ".join(lines) + "\n]\n")
    if "--exportOutput" in options:
        compute(text, options)


def compute(text: bytes, options: dict[str, str]) -> None:
    import numpy as np
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(text), "CPU", settings)
    request = compiled.create_infer_request()
    for part in filter(None, options.get("--loadInputs", "").split(",")):
        name, file = part.rsplit(":", 1)
        port = compiled.input(name.strip("'"))
        data = np.fromfile(file, port.get_element_type().to_dtype())
        request.set_tensor(name.strip("'"), openvino.Tensor(data.reshape(list(port.shape)).copy()))
    request.infer()
    sep, lines = "  ", ["["]
    for port in compiled.outputs:
        data = request.get_tensor(port).data
        lines.append(f'{sep}{{ "name" : "{port.get_any_name()}"')
        sep = ", "
        lines.append(f'  , "dimensions" : "{"x".join(map(str, data.shape))}"')
        lines += [f'  , "values" : [ {", ".join(f"{v:.6g}" for v in data.ravel())} ]', "  }"]
    Path(options["--exportOutput"]).write_text("\n".join([*lines, "]\n"]))


if __name__ == "__main__":
    sys.exit(main())
