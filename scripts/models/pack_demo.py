"""Packs the demo for the wheel, from studies/ into autoprec/demo/files; `autoprec demo` unpacks it.

    python scripts/models/pack_demo.py

Weights are rounded to BF16, which halves them and leaves the masks nearly as they are: the loss of BF16 is in
`studies/models/README.md`. Twelve images of each set are enough for a first front.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ml_dtypes
import onnx
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parent.parent.parent
STUDIES, TARGET = ROOT / "studies", ROOT / "autoprec" / "demo" / "files"
IMAGES = 12
MODELS = ("demo_encoder.onnx", "demo_decoder.onnx")


def pack_model(source: Path, target: Path) -> None:
    """Copy a model with its FP32 weights in BF16, which is not valid until they are FP32 again."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            rounded = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    target.write_bytes(model.SerializeToString(deterministic=True))


def pack_samples(source: Path, target: Path) -> None:
    """Copy the first images of a set, and their prompts."""
    (target / "images").mkdir(parents=True)
    names = sorted(path.name for path in (source / "images").iterdir())[:IMAGES]
    for name in names:
        shutil.copyfile(source / "images" / name, target / "images" / name)
    prompts = json.loads((source / "prompts.json").read_text(encoding="utf-8"))
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(prompts[name])}" for name in names)
    (target / "prompts.json").write_text("{\n" + rows + "\n}\n", encoding="utf-8")


def main() -> None:
    """Write everything but the definition, which is a file of the package itself."""
    for name in MODELS:
        (TARGET / "models").mkdir(parents=True, exist_ok=True)
        pack_model(STUDIES / "models" / name, TARGET / "models" / name)
    for name in ("calibration", "evaluation"):
        folder = TARGET / "data" / "demo" / name
        shutil.rmtree(folder, ignore_errors=True)
        pack_samples(STUDIES / "data" / "demo" / name, folder)
    size = sum(path.stat().st_size for path in TARGET.rglob("*") if path.is_file())
    print(f"{TARGET.relative_to(ROOT)}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
