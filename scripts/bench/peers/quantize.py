# ruff: noqa: PLC0415 - each environment has one of the peers
"""Quantise a model with one of the peers; runs in an environment that has it, and knows nothing of autoprec.

    python quantize.py PEER MODEL.onnx DATA.npz OUT

`DATA.npz` holds `calibration` and `validation` [samples, 3, h, w] in float32, the reference's `masks`
[samples, masks, h, w] of `validation` as bool, the `threshold` of logits and the accepted `drop`. `OUT` is a
path without suffix: `.xml` and `.bin` are written by NNCF, `.onnx` by the others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Data = dict[str, Any]
ITERATIONS = 20
"""How many layers NNCF's accuracy control may return to float: it has a limit, as searches have their
budget."""


def input_of(path: Path) -> str:
    """The name of the model's one input."""
    import onnx

    return str(onnx.load(path, load_external_data=False).graph.input[0].name)


def nncf_by(preset: str, transformer: bool = False) -> Callable[[Path, Data, Path], None]:
    """Post-training quantisation in one shot."""

    def quantise(path: Path, data: Data, out: Path) -> None:
        import nncf
        import openvino

        model = nncf.quantize(
            openvino.Core().read_model(path),
            nncf.Dataset(list(data["calibration"]), lambda image: image[None]),
            preset=nncf.QuantizationPreset(preset),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            subset_size=len(data["calibration"]),
        )
        openvino.save_model(model, out.with_suffix(".xml"), compress_to_fp16=False)

    return quantise


def nncf_control(path: Path, data: Data, out: Path) -> None:
    """Accuracy control: layers return to float, the worst first, until the loss is accepted."""
    import nncf
    import openvino

    def score(model: Any, items: Any) -> tuple[float, None]:
        ious = []
        for image, mask in items:
            predicted = model(image[None])[0].reshape(mask.shape) > data["threshold"]
            ious.append((predicted & mask).sum() / max(1, (predicted | mask).sum()))
        return float(np.mean(ious)), None

    pairs = list(zip(data["validation"], data["masks"], strict=True))
    model = nncf.quantize_with_accuracy_control(
        openvino.Core().read_model(path),
        nncf.Dataset(list(data["calibration"]), lambda image: image[None]),
        nncf.Dataset(pairs, lambda pair: pair[0][None]),
        validation_fn=score,
        max_drop=float(data["drop"]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(data["calibration"]),
        advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(
            max_num_iterations=ITERATIONS
        ),
    )
    openvino.save_model(model, out.with_suffix(".xml"), compress_to_fp16=False)


def onnxruntime_with(signed: bool) -> Callable[[Path, Data, Path], None]:
    """ONNX Runtime's static quantisation to Q/DQ, weights by channel."""

    def quantise(path: Path, data: Data, out: Path) -> None:
        import onnx
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no types
            def __init__(self) -> None:
                self.images: Iterator[Any] = iter(data["calibration"])

            def get_next(self) -> dict[str, Any] | None:
                image = next(self.images, None)
                return None if image is None else {input_of(path): image[None]}

        prepared = out.with_suffix(".prepared.onnx")
        # Opset 13 introduced scales per channel, and OpenVINO builds none in older models.
        onnx.save(onnx.version_converter.convert_version(onnx.load(path), 17), prepared)
        # By path: of a model in memory it writes large weights to a file that it then cannot find.
        quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
        kind = quantization.QuantType
        quantization.quantize_static(
            str(prepared),
            str(out.with_suffix(".onnx")),
            Reader(),
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],  # OpenVINO refuses PP-OCRv4 with all kinds
            per_channel=True,
            activation_type=kind.QInt8 if signed else kind.QUInt8,
            weight_type=kind.QInt8,
            extra_options={"ActivationSymmetric": signed},
        )
        prepared.unlink()

    return quantise


def modelopt(path: Path, data: Data, out: Path) -> None:
    """NVIDIA's ModelOpt: INT8 with its own choice of what is quantised."""
    from modelopt.onnx.quantization import quantize

    quantize(
        str(path),
        quantize_mode="int8",
        calibration_data={input_of(path): data["calibration"]},
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(out.with_suffix(".onnx")),
    )


PEERS: dict[str, Callable[[Path, Data, Path], None]] = {
    "nncf-performance": nncf_by("performance"),
    "nncf-mixed": nncf_by("mixed"),
    "nncf-transformer": nncf_by("mixed", transformer=True),
    "nncf-control": nncf_control,
    "onnxruntime-s8": onnxruntime_with(signed=True),
    "onnxruntime-u8": onnxruntime_with(signed=False),
    "modelopt": modelopt,
}


if __name__ == "__main__":
    peer, model_path, data_path, out_path = sys.argv[1:]
    with np.load(data_path) as archive:
        PEERS[peer](Path(model_path), dict(archive), Path(out_path))
