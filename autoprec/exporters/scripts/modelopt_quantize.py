"""Quantises implicit.onnx with NVIDIA ModelOpt: the products that the search quantised, and no others. Needs:
pip install "nvidia-modelopt[onnx]"

    python modelopt_quantize.py [--calibration calibration.npz] [--output modelopt.onnx]

The archive holds one array for each input of implicit.onnx, samples stacked along the first axis; without it
the examples beside this script are taken, which are few: give more for anything but a trial run. ModelOpt has
its own ranges, and leaves out what it does not quantise: the masks are not those of model.onnx, measure them.
"""

from __future__ import annotations

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
import json
import re
from pathlib import Path
from typing import Any, NoReturn

try:
    import numpy as np
    import onnx
except ImportError as error:
    needed = "pip install 'nvidia-modelopt[onnx]'"
    print(f"modelopt_quantize.py: {error.name} is not installed: {needed}", file=sys.stderr)
    sys.exit(2)

try:
    from modelopt.onnx.quantization import quantize
except ImportError:
    quantize = None

FOLDER = Path(__file__).resolve().parent
UNFIT = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""Errors caused by files of the export that are missing or changed."""
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def calibration_data(path: Path | None, graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Arrays by input name: those of the archive, or the examples'."""
    archives = [path] if path else sorted((FOLDER / "examples").glob("*.npz"))
    if not archives:
        cannot("there are no examples; give --calibration calibration.npz")
    # An initializer may be listed as an input, too, which nobody feeds.
    weights = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in weights]
    loaded = [np.load(archive, allow_pickle=False) for archive in archives]
    return {name: np.concatenate([arrays[name] for arrays in loaded]) for name in names}


def patterns(names: list[str]) -> list[str]:
    """Names as regular expressions that match them alone: ModelOpt would match their beginnings."""
    return [rf"{re.escape(name)}\Z" for name in names]


def chosen(settings: dict[str, Any], graph: onnx.GraphProto) -> dict[str, list[str]]:
    """ModelOpt's arguments that name nodes. Exits if there are none to quantise."""
    there = {node.name for node in graph.node}
    turned = transposed(graph) if settings["quantize_mode"] == "int4" else set()
    wanted = [name for name in settings["nodes_to_quantize"] if name in there - turned]
    for name in settings["nodes_to_quantize"]:
        if name not in there:
            print(f"{name} stays float: implicit.onnx has no such node")
        elif name in turned:
            print(f"{name} stays float: ModelOpt gives INT4 weights that are read transposed a wrong axis")
    # With patterns that match nothing, ModelOpt quantises everything.
    if not wanted:
        cannot("no product of this trial is quantised: convert model.onnx as it is")
    if settings["quantize_mode"] != "int4":
        return {"nodes_to_quantize": patterns(wanted)}
    # For INT4, ModelOpt accepts no list of what to quantise.
    others = [node.name for node in graph.node if node.op_type in PRODUCTS and node.name not in wanted]
    return {"nodes_to_exclude": patterns(others)}


def transposed(graph: onnx.GraphProto) -> set[str]:
    """Names of the products with `transB`: ModelOpt 0.47 writes their INT4 scales by K, and the axis of N."""
    flags = {node.name: node.attribute for node in graph.node if node.op_type == "Gemm"}
    return {name for name, given in flags.items() if any(one.name == "transB" and one.i for one in given)}


def visible(text: str) -> str:
    """Text in one line without control characters, since names in an export may come from anybody."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split())
    )


def cannot(words: str) -> NoReturn:
    """Exit because nothing can be quantised."""
    print(visible(f"{Path(__file__).name}: {words}"), file=sys.stderr)
    raise SystemExit(2)


def main() -> None:
    """Quantise, and say what is only approached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--output", type=Path, default=FOLDER / "modelopt.onnx")
    arguments = parser.parse_args()
    settings = json.loads((FOLDER / "modelopt.json").read_text(encoding="utf-8"))
    mode = settings["quantize_mode"]
    for block, precision in settings["left_out"].items():
        told = f"{block} stays float: it is {precision}, and ModelOpt quantises to one type a call"
        print(visible(told))
    graph = onnx.load(FOLDER / "implicit.onnx", load_external_data=False).graph
    nodes = chosen(settings, graph)
    if mode == "int4" and settings["high_precision_dtype"] != "fp32":
        print(visible(f"floats stay FP32: ModelOpt's INT4 takes no {settings['high_precision_dtype']}"))
    if quantize is None:
        cannot("ModelOpt is not installed: pip install 'nvidia-modelopt[onnx]'")
    quantize(
        str(FOLDER / "implicit.onnx"),
        quantize_mode=mode,
        high_precision_dtype=settings["high_precision_dtype"],
        calibration_data=calibration_data(arguments.calibration, graph),
        calibration_method="entropy" if mode != "int4" else None,
        # By default it asks for CUDA and TensorRT as well, which need not be here.
        calibration_eps=["cpu"],
        output_path=str(arguments.output.resolve()),
        **nodes,
    )
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    try:
        main()
    except UNFIT as error:
        cannot(f"{type(error).__name__}: {str(error)[:300]}: is the export whole? verify.py says so")
