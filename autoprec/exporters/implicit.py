"""For TensorRT 8.6 to 10 with implicit quantisation: a float model, a calibration cache, and flags by layer.

The cache's format is that of TensorRT's own calibrators: a header, then `name: scale`, the scale being the
four bytes of a big-endian float32 in hexadecimal. It is undocumented, and stable from TensorRT 5 to 10.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

from autoprec.exporters._layers import by_layers
from autoprec.precisions.layer_flags import is_sayable, layer_flags
from autoprec.records import Export, Implicit

MODEL = "implicit.onnx"
CACHE = "implicit.cache"
SCRIPT = "implicit_trtexec.sh"
HEADER = "TRT-8601-EntropyCalibration2"

ABOUT = (
    "Builds an engine with implicit quantisation: TensorRT 8.6, 9, or 10. TensorRT 11 has none of these",
    "flags: take trtexec.sh there.",
    "",
    "Limits:",
)


def write(export: Export, folder: Path) -> tuple[Path, ...]:
    """Write the float model, the cache and the script; nothing if the export has no implicit form."""
    implicit = export.implicit
    if implicit is None:
        return ()
    files = [folder / MODEL, folder / CACHE, folder / SCRIPT]
    shutil.copyfile(implicit.model_path, files[0])
    outside = Path(f"{implicit.model_path}.data")
    if outside.exists():  # the model refers to it by this name
        files.insert(1, Path(shutil.copyfile(outside, folder / outside.name)))
    (folder / CACHE).write_text(cache(implicit), encoding="utf-8")
    (folder / SCRIPT).write_text(_script(export, implicit), encoding="utf-8")
    (folder / SCRIPT).chmod(0o755)
    return tuple(files)


def cache(implicit: Implicit) -> str:
    """The calibration cache of all scales, without names that contain a line break or `: `."""
    lines = [
        f"{name}: {struct.pack('>f', scale).hex()}"
        for name, scale in implicit.scales
        if "\n" not in name and ": " not in name
    ]
    return "\n".join((HEADER, *lines, ""))


def _script(export: Export, implicit: Implicit) -> str:
    told = [(name, word) for name, word in implicit.layers if is_sayable(name)]
    untold = len(implicit.layers) - len(told)
    limits = list(implicit.limits)
    if untold:
        limits.append(f"{untold} layers have names that flags cannot hold; the builder chooses for them.")
    # Escaped, as these lines become comments of a shell script.
    about = (*ABOUT, *(f"- {ascii(line)[1:-1]}" for line in limits))
    files = (f"--onnx={MODEL}", "--saveEngine=implicit.engine", f"--calib={CACHE}")
    flags = (*files, "--exportLayerInfo=implicit_layers.json")
    return by_layers(export, SCRIPT, about, layer_flags(told), flags)
