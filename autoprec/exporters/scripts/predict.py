"""Runs model.onnx, and decoder.onnx if there is one, on an image. Needs: pip install openvino numpy pillow

    python predict.py photo.jpg [--output photo_mask.png] [--model reference.onnx]
    python predict.py photo.jpg --prompt '{"point_coords": [[120, 80]], "point_labels": [1]}'
    python predict.py examples/00.npz [--output masks.npz]

An image is prepared as the manifest says, and read by the search's own code, in `reading/`. Prompts are in
its pixels, one `--prompt` for each mask, or in `prompts.json` beside the image; of several masks of a prompt
the one of the best `iou_predictions` is kept. The result is an image of the same size: a mask in white, a
matte's opacities, or the numbers of classes (or of masks, from 1; 0 is none) as colours.

An archive holds one array for each input of the model, and for each of the decoder's that the model does not
give; its result is an archive with the model's output, float32 [masks, h, w], as `masks`.
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
import importlib.util
import json
import runpy
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    import numpy as np
    import openvino as ov
    from PIL import Image
except ImportError as error:
    if __name__ != "__main__":
        raise
    words = f"predict.py: {error.name} is not installed: pip install openvino numpy pillow"
    print(words, file=sys.stderr)
    raise SystemExit(2) from None

FOLDER = Path(__file__).resolve().parent
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""Any other precision hint overrides the model's own types."""
CANNOT = 2
EXAMPLE = '{"point_coords": [[320, 240]], "point_labels": [1]}'
Arrays = dict[str, Any]
UNFIT = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, StopIteration,
    TypeError, ValueError,
)  # fmt: skip
"""Errors caused by malformed samples, prompts and manifests."""


class Predictor:
    """The model and what is behind it, compiled once: `Predictor()(arrays)` gives mask logits.

    Args:
        folder: the export.
        model: name of the file to run.
        device: OpenVINO's name of the device to run on.
    """

    def __init__(self, folder: Path = FOLDER, model: str = "model.onnx", device: str = "CPU") -> None:
        core = ov.Core()
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.reading = reading_of(folder)
        self._output, self._layout = self.manifest["recipe"]["output"], self.manifest["recipe"]["layout"]
        graph = core.read_model(folder / model)
        graph.reshape({name: ov.PartialShape(sizes) for name, sizes in self.manifest["input_shapes"]})
        graphs = [graph]
        if (folder / "decoder.onnx").is_file():
            graphs.append(core.read_model(folder / "decoder.onnx"))
        self._models = [core.compile_model(graph, device, CONFIG) for graph in graphs]
        self._inputs = [{port.node.friendly_name: port for port in graph.inputs} for graph in graphs]

    @cached_property
    def prompts(self) -> dict[str, Any]:
        """Dtype and shape of the decoder's inputs that the model neither takes nor gives, by name."""
        first = self._models[0]
        computed = {name for port in (*first.inputs, *first.outputs) for name in port.names}
        return {
            name: self.reading.prompts.DecoderInput(type_of(port), sizes_of(port))
            for inputs in self._inputs[1:]
            for name, port in inputs.items()
            if name not in computed
        }

    @property
    def names(self) -> set[str]:
        """Names of all arrays that feed the model or the decoder."""
        return {*self._inputs[0], *self.prompts}

    def __call__(self, arrays: Mapping[str, Any], where: str = "the sample") -> np.ndarray:
        """Mask logits, float32 [masks, h, w], of one sample's inputs and prompts; `where` they are from
        begins messages."""
        values, rule = dict(arrays), self.reading.arrays
        for compiled, inputs in zip(self._models, self._inputs, strict=True):
            given = {}
            for (name, port), other in zip(inputs.items(), compiled.inputs, strict=True):
                # By whichever of its names is there: a port behind a first Cast has two.
                value = next(values[each] for each in (name, *other.names) if each in values)
                if compiled is self._models[0]:
                    rule.refuse_cut(where, name, value, type_of(port))
                given[other] = rule.typed(value, type_of(port))
            results = compiled(given)
            for port in compiled.outputs:
                values |= dict.fromkeys(port.names, results[port])
        self.scores = values.get("iou_predictions")
        masks: np.ndarray = values[self._output]
        if self._layout == "nhwc":
            masks = np.moveaxis(masks, -1, -3)
        return masks.reshape(-1, *masks.shape[-2:]).astype(np.float32)


class Photo:
    """An image in the model's frame, and the way back for its masks.

    Args:
        path: of the image.
        manifest: of the export.
        reading: its folder of that name.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], reading: ModuleType) -> None:
        how, shapes = manifest["recipe"]["preprocessing"], dict(manifest["input_shapes"])
        if how is None or len(shapes) != 1:
            raise ValueError("the model was searched on arrays, not on images: give an .npz archive")
        self.name, self.input = path.name, how["input"] or next(iter(shapes))
        count = len(how["mean"])
        frame = reading.frame.frame_of(shapes, self.input, count)
        if frame is None or frame.channels != count:
            raise ValueError(f"the model takes {shapes[self.input]}, which is no image: give an .npz archive")
        self.notes = sorted(reading.pixels.header(path, count, how["white"]).notes)
        planes, white = reading.pixels.pixels(path, count, how["white"])
        self.frame, self.size = frame.size, planes[0].size
        self.placement = reading.placing.Placement.of(self.size, frame.size, how["resize"])
        settings = reading.normalising.Normalisation(how["mean"], how["std"], how["resize"])
        self.array = reading.normalising.normalised(planes, white, self.placement, frame, settings)
        self._rule = reading.prompts

    def asked(self, prompts: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any]) -> Sequence[Any]:
        """What each run of the decoder is fed of prompts in pixels of the image; `wanted` as `Predictor` has
        it. Raises ValueError naming a key that is missing, or that the decoder does not take."""
        complete, place = [], partial(self.placement.points, size=self.size)
        for prompt in prompts:
            if unfed := self._rule.unfed(prompt, wanted):
                taken = ", ".join(map(repr, wanted)) or "none"
                raise ValueError(f"the decoder takes no {unfed[0]!r}; its prompts are: {taken}")
            arrays = self._rule.arrays_of(self.name, prompt, place)
            complete.append(self._rule.completed(wanted, arrays, self.name, self.size[::-1]))
        for name in wanted:
            if not all(name in prompt for prompt in complete):
                raise ValueError(
                    f"the decoder needs {name!r}, which no prompt has; give it, in pixels of the image: "
                    f"--prompt '{EXAMPLE}'"
                )
        runs: Sequence[Any] = self._rule.runs_of(wanted, complete, self.name)
        return runs

    def unplaced(self, logits: np.ndarray, way: int = Image.Resampling.BILINEAR) -> np.ndarray:
        """Logits [masks, h, w] of the frame at the size of the image, [masks, height, width]."""
        if logits.shape[-2:] == self.size[::-1]:
            return logits  # a decoder that was told the image's size has done it
        left, top, width, height, _ = self.placement
        down, across = (size / whole for size, whole in zip(logits.shape[-2:], self.frame, strict=True))
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        resized = [Image.fromarray(plane).resize(self.size, way, box=box) for plane in logits]
        return np.stack([np.asarray(plane) for plane in resized])


def reading_of(folder: Path) -> ModuleType:
    """The export's folder `reading`, loaded by its path: it is the code that the search reads samples by."""
    place = folder / "reading" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "reading", place, submodule_search_locations=[str(place.parent)]
    )
    if not place.is_file() or spec is None or spec.loader is None:
        raise ValueError("reading/ is not beside predict.py: export again")
    package, writes = importlib.util.module_from_spec(spec), sys.dont_write_bytecode
    # Its modules import one another from the package of this name.
    sys.modules["reading"], sys.dont_write_bytecode = package, True  # an export holds what its manifest lists
    try:
        spec.loader.exec_module(package)
    finally:
        sys.dont_write_bytecode = writes
    return package


def beside(name: str) -> "dict[str, Any]":
    """What another script of this export defines."""
    if not (FOLDER / name).is_file():
        raise ValueError(f"{name} is not beside predict.py: export again")
    return runpy.run_path(str(FOLDER / name))


def type_of(port: Any) -> "np.dtype[Any]":
    """NumPy dtype of an input."""
    kind: np.dtype[Any] = np.dtype(port.element_type.to_dtype())
    return kind


def sizes_of(port: Any) -> "tuple[int | None, ...] | None":
    """Shape of an input, with None for free sizes; None if its rank is unknown."""
    shape = port.partial_shape
    sizes = shape if shape.rank.is_static else None
    return sizes and tuple(size.get_length() if size.is_static else None for size in sizes)


def predict_image(predictor: Predictor, arguments: argparse.Namespace) -> None:
    """Predict the masks of an image, and write them as one."""
    photo = Photo(arguments.sample, predictor.manifest, predictor.reading)
    for note in photo.notes:
        tell(f"{photo.name}: {note.value}")
    prompts = [json.loads(prompt) for prompt in arguments.prompt]
    if predictor.prompts and not prompts:
        prompts = predictor.reading.beside.prompts_beside(arguments.sample)
    stacks = []
    for run in photo.asked(prompts or [{}], predictor.prompts):
        masks = predictor({photo.input: photo.array, **run}, photo.name)
        stacks.append(predictor.reading.prompts.best(masks, predictor.scores))
    recipe = predictor.manifest["recipe"]
    # Nothing lies between two class numbers.
    way = Image.Resampling.NEAREST if recipe["metric"] == "label_iou" else Image.Resampling.BILINEAR
    masks = photo.unplaced(np.concatenate(stacks), way)
    output = arguments.output or Path(f"{arguments.sample.stem}_mask.png")
    beside("mask_picture.py")["picture"](masks, recipe).save(output)
    planes = "1 plane" if len(masks) == 1 else f"{len(masks)} planes"
    values = f"{masks.min():.4g} to {masks.max():.4g}"
    print(f"wrote {output}: {photo.size[0]} x {photo.size[1]}, from {planes} of values from {values}")


def predict_archive(predictor: Predictor, arguments: argparse.Namespace) -> None:
    """Predict one archive's masks, and compare them with those that were stored beside it."""
    rule, where = predictor.reading.arrays, str(arguments.sample)
    arrays = {name: rule.numbers(where, name, of) for name, of in arrays_in(arguments.sample).items()}
    if unfed := sorted(set(arrays) - predictor.names - {"truth"}):
        tell(f"{where}: no input takes {', '.join(map(repr, unfed))}")
    masks = predictor(arrays, where)
    output = arguments.output or Path("masks.npz")
    np.savez_compressed(output, masks=masks)
    print(f"wrote {output}: masks {list(masks.shape)}, values from {masks.min():.4g} to {masks.max():.4g}")
    stored = arguments.sample.parent / "outputs" / arguments.sample.name
    if stored.is_file():
        expected = arrays_in(stored)["reference" if arguments.model == "reference.onnx" else "candidate"]
        print(f"largest difference from the stored output: {np.abs(masks - expected).max():.4g}")


def arrays_in(path: Path) -> Arrays:
    """All arrays of an archive, by name. Raises ValueError where it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # broken archives make NumPy and zipfile raise anything
        words = f"cannot be read as an .npz of plain arrays ({error}); write it with numpy.savez"
        raise ValueError(f"{path}: {words}") from error


def tell(words: str) -> None:
    """Print to stderr what may quote the manifest."""
    print(visible(words), file=sys.stderr)


def visible(text: str) -> str:
    """Text in one line without control characters, since names in an export may come from anybody."""
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split())
    )


def main() -> int:
    """Predict one sample's masks; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    first = min((FOLDER / "examples").glob("*.npz"), default=FOLDER / "examples" / "00.npz")
    parser.add_argument("sample", type=Path, nargs="?", default=first)
    parser.add_argument("--prompt", action="append", default=[], help="an object of JSON, as in prompts.json")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--model", default="model.onnx")
    arguments = parser.parse_args()
    run = predict_archive if arguments.sample.suffix == ".npz" else predict_image
    try:
        run(Predictor(model=arguments.model), arguments)
    except (Image.DecompressionBombError, *UNFIT) as error:
        told = " ".join(str(error).split())[:300] or type(error).__name__
        where = "" if told.startswith(str(arguments.sample)) else f"{arguments.sample}: "
        tell(f"predict.py: {where}{told}")
        return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())
