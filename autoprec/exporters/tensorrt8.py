"""The point as built by a target whose TensorRT is older than 10: a model, and flags by layer."""

from __future__ import annotations

import shutil
from pathlib import Path

from autoprec.exporters._layers import by_layers
from autoprec.precisions.layer_flags import layer_flags
from autoprec.records import Export

MODEL = "tensorrt8.onnx"
SCRIPT = "tensorrt8_trtexec.sh"
ABOUT = (
    "Builds tensorrt8.engine as the study's target did, with its version of TensorRT, 8.5 or 8.6: types in a",
    "model do not bind that builder, so each layer's stands here. INT8 is in the model, as Q/DQ pairs.",
)
FIRST = """\
# The study's kernel timings, where it has any; what trtexec adds to them stays apart.
if [ -e timing.cache ] && [ ! -e build.cache ]; then cp timing.cache build.cache; fi
"""


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write the model and the script; nothing for an export of another engine."""
    told = export.told
    if told is None:
        return ()
    layers = layer_flags(
        [(name, word) for name, word, _ in told.layers], [(name, kind) for name, _, kind in told.layers]
    )
    script = folder / SCRIPT
    flags = [f"--onnx={MODEL}", "--saveEngine=tensorrt8.engine", "--timingCacheFile=build.cache"]
    flags += ["--exportLayerInfo=tensorrt8_layers.json", *_options(export)]
    script.write_text(by_layers(export, SCRIPT, ABOUT, layers, flags, FIRST), encoding="utf-8")
    script.chmod(0o755)
    return Path(shutil.copyfile(told.model_path, folder / MODEL)), script


def _options(export: Export) -> list[str]:
    """The definition's options as flags of trtexec."""
    options = export.recipe.options if export.recipe else {}
    flags = [] if options.get("tf32", True) else ["--noTF32"]
    if "optimization_level" in options:
        flags.append(f"--builderOptimizationLevel={options['optimization_level']}")
    if "workspace_mb" in options:
        flags.append(f"--memPoolSize=workspace:{options['workspace_mb']}")
    return flags
