"""Encoders of SAM with random weights, and the definition of a search of one on the demo's drawn images."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "studies" / "data" / "demo"
EXPORTERS = {
    "efficientvit_sam_l0": ("export_efficientvit_sam.py", "l0"),
    "sam_vit_b": ("export_sam_vit.py", "b"),
    "sam_vit_s": ("export_sam_vit.py", "s"),
}
PRODUCTS = ("fp32", "fp16", "bf16", "int8+gemm", "fp8+gemm")
"""TensorRT-RTX 1.6 refuses INT8 convolutions, and its FP8 ones are 60 times as slow as FP16 (H200)."""
PRECISIONS = {
    ("tensorrt", "efficientvit_sam_l0"): PRODUCTS,
    ("tensorrt", "sam_vit_b"): ("fp32", "fp16", "bf16", "int8", "fp8"),
    ("tensorrt", "sam_vit_s"): ("fp32", "fp16", "bf16", "int8", "int8+adaround+bias", "fp8"),
    ("tensorrt", "demo"): PRODUCTS,
    ("openvino", "efficientvit_sam_l0"): ("fp32", "bf16", "int8"),
    ("openvino", "sam_vit_b"): ("fp32", "bf16", "int8"),
    ("openvino", "sam_vit_s"): ("fp32", "bf16", "int8", "int8+adaround+bias"),
    ("openvino", "demo"): ("fp32", "bf16", "int8"),
}
DEPARTURE = {"departure": "tell"}
"""Key of `[model]`: random weights amplify rounding, so that engines seem to depart from the model."""
SHAPES = "point_coords=1x2x2:4x2x2:8x2x2; point_labels=1x2:4x2:8x2"
"""Shapes of the decoder's prompts, which TensorRT must know at build time."""
Sections = Mapping[str, Mapping[str, Any]]


def export_command(model: str, folder: Path, size: int, more: Sequence[str] = ()) -> list[str]:
    """The command that writes `encoder.onnx` and `decoder.onnx`.

    Args:
        model: a key of `EXPORTERS`.
        folder: where both files go.
        size: side of the image in pixels.
        more: further words of the command line.
    """
    script, name = EXPORTERS[model]
    return [sys.executable, str(HERE / script), name, "--out", str(folder), "--size", str(size), *more]


def definition(model: str, backend: str, models: str, more: Sections) -> str:
    """The definition of a search, as TOML.

    Args:
        model: a model of `PRECISIONS`.
        backend: a backend of `PRECISIONS`.
        models: prefix of the paths of `encoder.onnx` and `decoder.onnx`.
        more: further keys by section, which override those here.
    """
    sections: dict[str, dict[str, Any]] = {
        "model": {"path": f"{models}encoder.onnx"},
        "pipeline": {"decoder": f"{models}decoder.onnx"},
        "samples": {
            "calibration": str(DATA / "calibration"),
            "evaluation": str(DATA / "evaluation"),
            "calibration_limit": 16,
            "evaluation_limit": 12,
            "input": "image",
        },
        "quality": {"reference_limit": 0.9},  # the masks of random weights mean nothing
        "search": {"precisions": PRECISIONS[backend, model], "reference": "fp16-safe", "finalists": 0},
        "backend": {"name": backend},
    }
    for name, keys in more.items():
        sections[name] = {**sections.get(name, {}), **keys}
    options = {"shapes": SHAPES} if backend == "tensorrt" else {}
    sections["backend"]["options"] = {**options, **sections["backend"].get("options", {})}
    return str(tomlkit.dumps(sections))
