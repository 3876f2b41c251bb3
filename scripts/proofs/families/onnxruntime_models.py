"""Models quantised by ONNX Runtime: its formats, types and options.

    VENV/bin/python scripts/proofs/families/onnxruntime_models.py FOLDER PICTURES NAME ...

Writes `NAME.WAY.onnx` of `NAME.onnx` for each way of `WAYS`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from pictures import arrays, in_a_line

S8, U8, S16, U16 = QuantType.QInt8, QuantType.QUInt8, QuantType.QInt16, QuantType.QUInt16
S4 = QuantType.QInt4
QDQ, QOPERATOR = QuantFormat.QDQ, QuantFormat.QOperator


def _types(layout: QuantFormat, activations: QuantType, weights: QuantType) -> dict[str, object]:
    return {"quant_format": layout, "activation_type": activations, "weight_type": weights}


WAYS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "qdq_s8s8": {**_types(QDQ, S8, S8)},
        "qdq_s8s8_channels": {**_types(QDQ, S8, S8), "per_channel": True},
        "qdq_u8s8_channels": {**_types(QDQ, U8, S8), "per_channel": True},
        "qdq_u8u8_reduced": {**_types(QDQ, U8, U8), "reduce_range": True},
        "qdq_symmetric": {
            **_types(QDQ, S8, S8), "per_channel": True,
            "extra_options": {"ActivationSymmetric": True, "WeightSymmetric": True},
        },
        "qdq_entropy": {
            **_types(QDQ, S8, S8),
            "calibrate_method": CalibrationMethod.Entropy,
        },
        "qdq_u16s8": {**_types(QDQ, U16, S8)},
        "qdq_s8s4": {**_types(QDQ, S8, S4)},
        "qoperator_u8s8": {**_types(QOPERATOR, U8, S8)},
        "qoperator_u8u8": {**_types(QOPERATOR, U8, U8)},
        "qoperator_s8s8_channels": {
            **_types(QOPERATOR, S8, S8), "per_channel": True,
        },
    }
)  # fmt: skip


class Reader(CalibrationDataReader):
    """Feeds calibration pictures one at a time, each as [1, 3, size, size]."""

    def __init__(self, name: str, images: NDArray[np.float32]) -> None:
        self._left = iter({name: image[None]} for image in images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Returns the next feed, or None after the last."""
        return next(self._left, None)


def main() -> None:
    """Quantise each named file in every way of `WAYS`."""
    folder, pictures, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    for name in names:
        prepared = folder / f"{name}.prepared"
        quant_pre_process(str(folder / f"{name}.onnx"), str(prepared), skip_symbolic_shape=True)
        given = onnx.load(prepared).graph.input[0]
        images = arrays(pictures, given.type.tensor_type.shape.dim[-1].dim_value)
        for way, settings in WAYS.items():
            target = folder / f"{name}.{way}.onnx"
            try:
                quantize_static(str(prepared), str(target), Reader(given.name, images), **settings)
            except Exception as error:  # noqa: BLE001 - it has no root of its errors
                (folder / f"{target.stem}.refused").write_text(in_a_line(error))
        prepared.unlink()


if __name__ == "__main__":
    main()
