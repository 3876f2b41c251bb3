"""Runs model.onnx, and decoder.onnx if there is one, on a sample. Needs: pip install openvino numpy

    python predict.py [examples/00.npz] [--output masks.npz] [--model reference.onnx]

The archive holds one array for each input of the model, and for each input of the decoder that is no output
of the model. Writes the mask logits, float32 [masks, h, w], under the name `masks`.
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # this folder: a module that lies in it is no part of the export

import argparse
import json
from pathlib import Path

import numpy as np
import openvino as ov

FOLDER = Path(__file__).resolve().parent
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""Any other precision hint overrides the model's own types."""


class Predictor:
    """The model and what is behind it, compiled once: `Predictor()(arrays)` gives mask logits."""

    def __init__(self, folder: Path = FOLDER, model: str = "model.onnx", device: str = "CPU") -> None:
        core = ov.Core()
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self._output, self._layout = manifest["recipe"]["output"], manifest["recipe"]["layout"]
        graph = core.read_model(folder / model)
        graph.reshape({name: ov.PartialShape(sizes) for name, sizes in manifest["input_shapes"]})
        self._models = [core.compile_model(graph, device, CONFIG)]
        if (folder / "decoder.onnx").is_file():
            self._models.append(core.compile_model(core.read_model(folder / "decoder.onnx"), device, CONFIG))

    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """Mask logits, float32 [masks, h, w], of one sample's inputs and prompts."""
        values = dict(arrays)
        for compiled in self._models:
            # By whichever of its names is there: where a Cast is first, a port has two.
            names = [next(name for name in port.names if name in values) for port in compiled.inputs]
            results = compiled([values[name] for name in names])
            for port in compiled.outputs:
                values |= dict.fromkeys(port.names, results[port])
        masks: np.ndarray = values[self._output]
        if self._layout == "nhwc":
            masks = np.moveaxis(masks, -1, -3)
        return masks.reshape(-1, *masks.shape[-2:]).astype(np.float32)


def main() -> None:
    """Predict one archive's masks, and compare them with those that were stored beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    first = min((FOLDER / "examples").glob("*.npz"), default=FOLDER / "examples" / "00.npz")
    parser.add_argument("sample", type=Path, nargs="?", default=first)
    parser.add_argument("--output", type=Path, default=Path("masks.npz"))
    parser.add_argument("--model", default="model.onnx")
    arguments = parser.parse_args()
    with np.load(arguments.sample, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    masks = Predictor(model=arguments.model)(arrays)
    np.savez_compressed(arguments.output, masks=masks)
    print(f"wrote {arguments.output}: masks {list(masks.shape)}, {100 * (masks > 0).mean():.1f} % above 0")
    stored = arguments.sample.parent / "outputs" / arguments.sample.name
    if stored.is_file():
        with np.load(stored, allow_pickle=False) as archive:
            expected = archive["reference" if arguments.model == "reference.onnx" else "candidate"]
        print(f"largest difference from the stored logits: {np.abs(masks - expected).max():.4g}")


if __name__ == "__main__":
    main()
