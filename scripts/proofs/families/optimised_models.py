"""Models saved behind ONNX Runtime's optimizer, which fuses operators into those of its own domain.

    VENV/bin/python scripts/proofs/families/optimised_models.py FOLDER PICTURES NAME ...

Writes `NAME.extended.onnx` of `NAME.onnx`; layouts of one processor come with the level above, and stay out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnxruntime
from pictures import in_a_line


def main() -> None:
    """Save each named file as the optimizer leaves it."""
    folder, names = Path(sys.argv[1]), sys.argv[3:]
    for name in names:
        target = folder / f"{name}.extended.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 4
        try:
            # Creating the session is what writes `optimized_model_filepath`.
            onnxruntime.InferenceSession(
                str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - it has no root of its errors
            (folder / f"{target.stem}.refused").write_text(in_a_line(error))


if __name__ == "__main__":
    main()
