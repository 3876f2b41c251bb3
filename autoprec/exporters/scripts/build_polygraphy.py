"""Builds a TensorRT engine of model.onnx. Needs: pip install polygraphy, and TensorRT or TensorRT-RTX

    python build_polygraphy.py [--output model.engine]
    POLYGRAPHY_USE_TENSORRT_RTX=1 python build_polygraphy.py [--compute-capability 8.9]

The same on the command line, for a model without dynamic inputs:

    polygraphy convert model.onnx --convert-to trt --strongly-typed --tf32 --output model.engine
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # this folder: a module that lies in it is no part of the export

import argparse
import json
from pathlib import Path
from typing import Any

from polygraphy import config as polygraphy_config
from polygraphy.backend.tensorrt_rtx import CreateConfigRTX
from polygraphy.backend.trt import CreateConfig, EngineBytesFromNetwork, NetworkFromOnnxPath, Profile

FOLDER = Path(__file__).resolve().parent


def build_config(capabilities: list[str]) -> Any:
    """No precision flag: every precision is in the model. Each input is fixed to the measured shape."""
    manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    profile = Profile()
    for name, sizes in manifest["input_shapes"]:
        profile.add(name, min=sizes, opt=sizes, max=sizes)
    if not polygraphy_config.USE_TENSORRT_RTX:
        return CreateConfig(profiles=[profile], tf32=True, load_timing_cache=str(FOLDER / "timing.cache"))
    targets = [tuple(int(part) for part in text.split(".")) for text in capabilities]
    return CreateConfigRTX(profiles=[profile], compute_capabilities=targets or None)


def main() -> None:
    """Build, and write the engine's bytes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=FOLDER / "model.engine")
    parser.add_argument(
        "--compute-capability",
        action="append",
        default=[],
        metavar="8.9",
        help="GPU to build for, with TensorRT-RTX; may be repeated",
    )
    arguments = parser.parse_args()
    cache = None if polygraphy_config.USE_TENSORRT_RTX else str(FOLDER / "timing.cache")
    engine = EngineBytesFromNetwork(
        NetworkFromOnnxPath(str(FOLDER / "model.onnx"), strongly_typed=True),
        config=build_config(arguments.compute_capability),
        save_timing_cache=cache,
    )()
    arguments.output.write_bytes(bytes(engine))
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
