"""The strongly typed model, and the fixed decoder behind it if there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from autoprec.records import Export

MODEL = "model.onnx"
DECODER = "decoder.onnx"


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `model.onnx` and `decoder.onnx`, each with a `.data` file where its weights are outside it."""
    written = _copy(Path(export.model_path), folder / MODEL)
    if export.decoder_path:
        written += _copy(Path(export.decoder_path), folder / DECODER)
    return written


def _copy(source: Path, target: Path) -> tuple[Path, ...]:
    """Copy a model byte for byte; one with weights in other files is written anew with a single one."""
    graph = onnx.load(source, load_external_data=False).graph
    if not any(uses_external_data(tensor) for tensor in graph.initializer):
        shutil.copyfile(source, target)
        return (target,)
    weights = target.with_suffix(".onnx.data")
    onnx.save_model(onnx.load(source), target, save_as_external_data=True, location=weights.name)
    return (target, weights)
