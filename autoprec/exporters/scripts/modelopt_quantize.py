"""Quantises implicit.onnx with NVIDIA ModelOpt, in the blocks that the search chose. Needs: pip install
"nvidia-modelopt[onnx]"

    python modelopt_quantize.py [--calibration calibration.npz] [--output modelopt.onnx]

The archive holds one array for each input of implicit.onnx, samples stacked along the first axis; without it
the examples beside this script are taken, which are few: give more for anything but a trial run. ModelOpt has
its own rules for placing Q/DQ pairs and its own ranges: the masks are not those of model.onnx, measure them.
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # this folder: a module that lies in it is no part of the export

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from modelopt.onnx.quantization import quantize

FOLDER = Path(__file__).resolve().parent


def calibration_data(path: Path | None) -> dict[str, np.ndarray]:
    """Arrays by input name: those of the archive, or the examples'."""
    archives = [path] if path else sorted((FOLDER / "examples").glob("*.npz"))
    if not archives:
        raise SystemExit("modelopt_quantize.py: there are no examples; give --calibration calibration.npz")
    graph = onnx.load(FOLDER / "implicit.onnx", load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in weights]
    loaded = [np.load(archive, allow_pickle=False) for archive in archives]
    return {name: np.concatenate([arrays[name] for arrays in loaded]) for name in names}


def main() -> None:
    """Quantise, and say what is only approached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--output", type=Path, default=FOLDER / "modelopt.onnx")
    arguments = parser.parse_args()
    settings = json.loads((FOLDER / "modelopt.json").read_text(encoding="utf-8"))
    for block, precision in settings["left_out"].items():
        print(f"{block} stays float: it is {precision}, and ModelOpt quantises to one type a call")
    if not settings["nodes_to_quantize"]:
        raise SystemExit(
            "modelopt_quantize.py: no block of this trial is quantised: convert model.onnx as it is"
        )
    quantize(
        str(FOLDER / "implicit.onnx"),
        quantize_mode=settings["quantize_mode"],
        high_precision_dtype=settings["high_precision_dtype"],
        calibration_data=calibration_data(arguments.calibration),
        calibration_method="entropy" if settings["quantize_mode"] != "int4" else None,
        calibration_eps=["cpu"],
        nodes_to_quantize=settings["nodes_to_quantize"],
        output_path=str(arguments.output),
    )
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
