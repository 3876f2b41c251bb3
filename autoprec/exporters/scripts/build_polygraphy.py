"""Builds a TensorRT engine of model.onnx. Needs: pip install polygraphy, and TensorRT or TensorRT-RTX

    python build_polygraphy.py [--output model.engine]
    POLYGRAPHY_USE_TENSORRT_RTX=1 python build_polygraphy.py [--compute-capability 8.9]

The same on the command line, for a model without dynamic inputs:

    polygraphy convert model.onnx --convert-to trt --strongly-typed --tf32 --output model.engine
"""

import os
import sys

if __name__ == "__main__":
    # No module in this folder is part of the export; an empty entry of PYTHONPATH is the current one.
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):  # Python 3.10 has no such flag
        del sys.path[0]
    is_empty = "" in os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if is_empty and (here := os.getcwd()) in sys.path:  # noqa: PTH109 - `pathlib` might be somebody's
        sys.path.remove(here)

import argparse
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any, NoReturn

try:
    from polygraphy import config as polygraphy_config
    from polygraphy.backend.tensorrt_rtx import CreateConfigRTX
    from polygraphy.backend.trt import CreateConfig, EngineBytesFromNetwork, NetworkFromOnnxPath, Profile
    from polygraphy.exception import PolygraphyException
except ImportError:
    print("build_polygraphy.py: Polygraphy is not installed: pip install polygraphy", file=sys.stderr)
    sys.exit(2)

FOLDER = Path(__file__).resolve().parent
BUILD_CACHE = FOLDER / "build.cache"
"""Kernel timings of builds here; the first one starts with the study's, in timing.cache."""
LEVEL = 3
"""The builder's optimisation level of a study that names none: TensorRT's own default."""
UNFIT = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""Errors caused by files of the export that are missing or changed."""


def build_config(capabilities: list[str], level: int | None) -> Any:
    """Options without precision flags, since precisions are in the model; inputs have the measured shapes."""
    manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
    profile = Profile()
    for name, sizes in manifest["input_shapes"]:
        # These sizes alone: an engine for a range of them may take other kernels than those that were timed.
        profile.add(name, min=sizes, opt=sizes, max=sizes)
    if not polygraphy_config.USE_TENSORRT_RTX:
        options = (manifest.get("recipe") or {}).get("options", {})
        chosen = int(options.get("optimization_level", LEVEL))
        # The newest first: what a build here leaves began with the study's timings.
        caches = [path for path in (BUILD_CACHE, FOLDER / "timing.cache") if path.exists()]
        return CreateConfig(
            profiles=[profile],
            tf32=bool(options.get("tf32", True)),
            builder_optimization_level=chosen if level is None else level,
            load_timing_cache=str(caches[0]) if caches else None,
        )
    targets = [tuple(int(part) for part in text.split(".")) for text in capabilities]
    return CreateConfigRTX(profiles=[profile], compute_capabilities=targets or None)


def check_library() -> None:
    """Exit unless TensorRT's metapackage can be imported."""
    # Polygraphy imports the metapackage: its bindings alone will not do.
    name = "tensorrt_rtx" if polygraphy_config.USE_TENSORRT_RTX else "tensorrt"
    package = name.replace("_", "-")
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None or spec.origin is None:  # nothing, or a folder of that name
        only = (
            "only its bindings are installed"
            if importlib.util.find_spec(f"{name}_bindings")
            else "is not there"
        )
        cannot(f"{name}: {only}: pip install {package}")
    try:
        importlib.import_module(name)
    except (ImportError, OSError) as error:
        cannot(f"{name} does not load ({error}): pip install --force-reinstall {package}")


def visible(text: str) -> str:
    """Text in one line without control characters, since names in an export may come from anybody."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split())
    )


def cannot(words: str) -> NoReturn:
    """Exit because nothing can be built."""
    print(visible(f"{Path(__file__).name}: {words}"), file=sys.stderr)
    raise SystemExit(2)


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
    parser.add_argument(
        "--optimization-level", type=int, metavar="5", help="of the builder; by default the study's"
    )
    arguments = parser.parse_args()
    check_library()
    cache = None if polygraphy_config.USE_TENSORRT_RTX else str(BUILD_CACHE)
    build = EngineBytesFromNetwork(
        NetworkFromOnnxPath(str(FOLDER / "model.onnx"), strongly_typed=True),
        config=build_config(arguments.compute_capability, arguments.optimization_level),
        save_timing_cache=cache,
    )
    try:
        engine = build()
    except (
        PolygraphyException,
        TypeError,
        RuntimeError,
    ) as error:  # TypeError: TensorRT returned no builder
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        cannot(f"nothing is built ({first[0]}): the reason stands above; `nvidia-smi` must list the GPU")
    arguments.output.write_bytes(bytes(engine))
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    try:
        main()
    except UNFIT as error:
        cannot(f"{type(error).__name__}: {str(error)[:300]}: is the export whole? verify.py says so")
