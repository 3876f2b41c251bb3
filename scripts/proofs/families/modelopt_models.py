"""Models quantised by NVIDIA ModelOpt: integers of 8 and 4 bits and floats of 8, over FP32 and FP16.

    VENV/bin/python scripts/proofs/families/modelopt_models.py FOLDER PICTURES NAME ...

Writes `NAME.modelopt_MODE_FLOAT.onnx` of `NAME.onnx`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
from modelopt.onnx.quantization import quantize
from pictures import arrays, in_a_line


def main() -> None:
    """Quantise each named file in every mode and precision."""
    folder, pictures, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    for name in names:
        source = folder / f"{name}.onnx"
        given = onnx.load(source).graph.input[0]
        images = {given.name: arrays(pictures, given.type.tensor_type.shape.dim[-1].dim_value)}
        for mode in ("int8", "fp8", "int4"):
            for high in ("fp32", "fp16"):
                target = folder / f"{name}.modelopt_{mode}_{high}.onnx"
                try:
                    quantize(
                        str(source), quantize_mode=mode, calibration_data=images, high_precision_dtype=high,
                        calibration_eps=["cpu"], output_path=str(target), log_level="ERROR",
                    )  # fmt: skip
                except Exception as error:  # noqa: BLE001 - it has no root of its errors
                    (folder / f"{target.stem}.refused").write_text(in_a_line(error))


if __name__ == "__main__":
    main()
