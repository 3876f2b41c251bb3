"""An engine timed by hand on the CPU, with nothing but OpenVINO and the wall clock."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import openvino as ov


class Loop:
    """OpenVINO alone, by the wall clock."""

    def __init__(self, _backend: object, path: Path, inputs: dict[str, np.ndarray]) -> None:
        config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
        self._request = ov.Core().compile_model(str(path), "CPU", config).create_infer_request()
        self._inputs = inputs

    def milliseconds(self, repeats: int) -> float:
        """Mean milliseconds of `repeats` inferences."""
        begin = time.perf_counter()
        for _ in range(repeats):
            self._request.infer(self._inputs)
        return 1e3 * (time.perf_counter() - begin) / repeats
