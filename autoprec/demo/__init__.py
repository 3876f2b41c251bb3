"""The demo that comes with the package: a small EfficientViT-SAM, its images, and a definition.

`scripts/models/pack_demo.py` makes the contents of `files/`. Weights are stored there in BF16, which halves
their size in the wheel, and written in FP32.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import ml_dtypes  # noqa: F401 - BF16 for NumPy
import numpy as np
import onnx
from onnx import numpy_helper

from autoprec.errors import SpecError, cannot
from autoprec.files import scratch

FILES = Path(__file__).parent / "files"
DEFINITION = "demo.toml"


def write_demo(folder: Path | str = "studies") -> Path:
    """Write the demo's model, images and definition into a folder of studies; returns the definition's path.

    An existing demo stays as it is. Raises `SpecError` if it cannot be written, or if another file has its
    name.
    """
    target = Path(folder)
    definition = target / DEFINITION
    if definition.exists():
        return definition
    try:
        target.mkdir(parents=True, exist_ok=True)
        with scratch(".demo-", target) as work:
            for path in sorted(FILES.rglob("*")):
                _write(path, work / path.relative_to(FILES))
            for path in sorted(work.rglob("*")):
                if path.is_file() and path.name != DEFINITION:
                    _place(path, target / path.relative_to(work))
            _place(work / DEFINITION, definition)  # last: it says that all is there
    except OSError as error:
        place = error.filename or target
        raise SpecError(cannot(place, error, "go to a folder that may be written to")) from error
    return definition


def _write(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
    elif source.suffix == ".onnx":
        target.write_bytes(_unpacked(source))
    else:
        shutil.copyfile(source, target)


def _unpacked(source: Path) -> bytes:
    """The model of a file as bytes, with its weights in FP32."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.BFLOAT16:
            array = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    # Deterministic, since studies are bound to the digest of the file.
    return bytes(model.SerializeToString(deterministic=True))


def _place(source: Path, target: Path) -> None:
    """Move a file to its place. Raises `SpecError` if another file is there."""
    if target.is_file() and target.read_bytes() == source.read_bytes():
        return
    if target.exists():
        raise SpecError(f"{target} already exists and is not the demo's; go to an empty folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
