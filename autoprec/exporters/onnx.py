"""The strongly typed model, the reference that it was compared with, and their fixed decoder."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from autoprec.records import Export

MODEL = "model.onnx"
DECODER = "decoder.onnx"
REFERENCE = "reference.onnx"


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write `model.onnx`, and `reference.onnx` and `decoder.onnx` if they exist.

    A model with external weights has a `.data` file beside it.
    """
    written = copy(Path(export.model_path), folder / MODEL)
    for path, name in ((export.reference_path, REFERENCE), (export.decoder_path, DECODER)):
        if path:
            written += copy(Path(path), folder / name)
    return written


def copy(source: Path, target: Path) -> tuple[Path, ...]:
    """Copy a model byte for byte, or rewrite one with external weights to have a single file of them."""
    # Nearly always a copy will do, for which gigabytes of weights need not be read.
    graph = onnx.load(source, load_external_data=False).graph
    if not any(uses_external_data(tensor) for tensor in graph.initializer):
        shutil.copyfile(source, target)
        return (target,)
    # Under a name of the export's own: the files of two models may call their data the same.
    weights = target.with_suffix(".onnx.data")
    onnx.save_model(onnx.load(source), target, save_as_external_data=True, location=weights.name)
    return (target, weights)
