"""Runs model.onnx, and decoder.onnx if there is one, on an image. Needs: pip install openvino numpy pillow

    python predict.py photo.jpg [--output photo_mask.png] [--model reference.onnx]
    python predict.py photo.jpg --prompt '{"point_coords": [[120, 80]], "point_labels": [1]}'
    python predict.py examples/00.npz [--output masks.npz]

An image is prepared as the manifest says; prompts are in its pixels, one `--prompt` for each mask. The result
is an image of the same size: a mask in white, a matte's opacities, or the numbers of classes (or of masks,
from 1; 0 is none) as colours. An archive holds one array for each input of the model, and for each of the
decoder's that the model does not give; its result is an archive with the logits, float32 [masks, h, w], as
`masks`.
"""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # this folder: a module in it is not part of the export

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import openvino as ov
    from PIL import Image, ImageOps
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
PNG_DEPTH = 24
"""Where a PNG file says how many bits a channel has: Pillow reads 8 of colours in 16."""
LETTERBOX_GREY = 114 / 255
CORNERS = (2, 3)
"""SAM's labels of a box's first and last corner."""
EXAMPLE = '{"point_coords": [[320, 240]], "point_labels": [1]}'
Arrays = dict[str, Any]
UNFIT = (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, StopIteration)
"""What comes of samples, prompts and manifests that are not as they should be."""


class Predictor:
    """The model and what is behind it, compiled once: `Predictor()(arrays)` gives mask logits."""

    def __init__(self, folder: Path = FOLDER, model: str = "model.onnx", device: str = "CPU") -> None:
        core = ov.Core()
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self._output, self._layout = self.manifest["recipe"]["output"], self.manifest["recipe"]["layout"]
        graph = core.read_model(folder / model)
        graph.reshape({name: ov.PartialShape(sizes) for name, sizes in self.manifest["input_shapes"]})
        self._models = [core.compile_model(graph, device, CONFIG)]
        if (folder / "decoder.onnx").is_file():
            self._models.append(core.compile_model(core.read_model(folder / "decoder.onnx"), device, CONFIG))
        first = self._models[0]
        computed = {name for port in (*first.inputs, *first.outputs) for name in port.names}
        self.prompts = [p for model in self._models[1:] for p in model.inputs if not p.names & computed]

    def __call__(self, arrays: Arrays) -> np.ndarray:
        """Mask logits, float32 [masks, h, w], of one sample's inputs and prompts."""
        values = dict(arrays)
        for compiled in self._models:
            # By whichever of its names is there: where a Cast is first, a port has two.
            names = [next(name for name in port.names if name in values) for port in compiled.inputs]
            given = [typed(values[name], port) for name, port in zip(names, compiled.inputs, strict=True)]
            results = compiled(given)
            for port in compiled.outputs:
                values |= dict.fromkeys(port.names, results[port])
        masks: np.ndarray = values[self._output]
        if self._layout == "nhwc":
            masks = np.moveaxis(masks, -1, -3)
        return masks.reshape(-1, *masks.shape[-2:]).astype(np.float32)


class Photo:
    """An image in the model's frame, and the way back for its masks."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        how, shapes = manifest["recipe"]["preprocessing"], dict(manifest["input_shapes"])
        if how is None or len(shapes) != 1:
            raise ValueError("the model was searched on arrays, not on images: give an .npz archive")
        self.input = how["input"] or next(iter(shapes))
        shape, count = shapes[self.input], len(how["mean"])
        self._how, self._is_nhwc = how, len(shape) == 4 and shape[1] != count
        self.frame = tuple(shape[1:3] if self._is_nhwc else shape[2:4])
        planes, self._white = opened(path, count, how["white"])
        self.size = planes[0].size
        self._place(how["resize"])
        self.array = self._normalised(planes)

    def _place(self, resize: str) -> None:
        """Left, top, width and height of the image in the frame."""
        (high, wide), (width, height) = self.frame, self.size
        if resize == "stretch":
            self._box = (0, 0, wide, high)
            return
        scale = min(wide / width, high / height)
        across = min(wide, max(1, round(width * scale)))
        down = min(high, max(1, round(height * scale)))
        middle = resize == "letterbox"
        self._box = ((wide - across) // 2 * middle, (high - down) // 2 * middle, across, down)

    def _normalised(self, planes: Sequence["Image.Image"]) -> np.ndarray:
        """float32 in 0..1, minus the mean, divided by the standard deviation."""
        left, top, width, height = self._box
        pixels = np.zeros((1, len(planes), *self.frame), np.float32)
        for number, (plane, mean, std) in enumerate(
            zip(planes, self._how["mean"], self._how["std"], strict=True)
        ):
            if self._how["resize"] == "letterbox":
                pixels[0, number] = (LETTERBOX_GREY - mean) / std
            fitted = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR), np.float32)
            pixels[0, number, top : top + height, left : left + width] = (fitted / self._white - mean) / std
        return pixels.transpose(0, 2, 3, 1) if self._is_nhwc else pixels

    def placed(self, pairs: np.ndarray) -> np.ndarray:
        """x, y pairs [..., 2 n] of the image, in pixels of the frame."""
        left, top, width, height = self._box
        scale = np.array((width / self.size[0], height / self.size[1]), np.float32)
        moved = pairs.reshape(-1, 2) * scale + np.array((left, top), np.float32)
        return moved.reshape(pairs.shape).astype(np.float32)

    def unplaced(self, logits: np.ndarray, way: int = Image.Resampling.BILINEAR) -> np.ndarray:
        """Logits [masks, h, w] of the frame at the size of the image, [masks, height, width]."""
        if logits.shape[-2:] == self.size[::-1]:
            return logits  # a decoder that was told the image's size has done it
        left, top, width, height = self._box
        down, across = (size / whole for size, whole in zip(logits.shape[-2:], self.frame, strict=True))
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        resized = [Image.fromarray(plane).resize(self.size, way, box=box) for plane in logits]
        return np.stack([np.asarray(plane) for plane in resized])


def opened(path: Path, count: int, white: float | None) -> tuple[list["Image.Image"], float]:
    """The planes of an image, `count` of them, upright, and the value that is white."""
    with path.open("rb") as file:
        head = file.read(PNG_DEPTH + 1)
    with Image.open(path) as image:
        image.filename = ""  # Pillow maps a file that has a name, and garbles a TIFF that lies on its side
        image.load()
        if image.mode in ("I", "F", "I;16", "I;16B", "I;16L"):
            if white is None and not image.mode.startswith("I;16"):
                raise ValueError("its range of values is unknown: set samples.white and export again")
            values = np.asarray(image).astype(np.float32)
            return [Image.fromarray(values)] * count, white or 65535.0
        if image.format == "PNG" and head[PNG_DEPTH] > 8:
            raise ValueError("it has 16-bit colour, which Pillow reduces to 8 bits: give an .npz archive")
        upright = image if image.format == "TIFF" else ImageOps.exif_transpose(image)
        if len(upright.getbands()) != count or upright.mode in ("P", "1", "YCbCr"):
            if count not in (1, 3):
                raise ValueError(f"it has {len(upright.getbands())} channels, but the model takes {count}")
            upright = upright.convert("L" if count == 1 else "RGB")
        return list(upright.split()), white or 255.0


def fed(port: Any, prompt: Arrays) -> np.ndarray:
    """What one prompt gives an input of the decoder, with the dimensions that it has."""
    name = next((name for name in port.names if name in prompt), None)
    if name is None:
        raise ValueError(
            f"the decoder needs {port.any_name!r}, which no prompt has; give it, in pixels of the image: "
            f"--prompt '{EXAMPLE}'"
        )
    array, shape = np.asarray(prompt[name]), port.partial_shape
    if shape.rank.is_static:
        array = array.reshape((1,) * max(0, shape.rank.get_length() - array.ndim) + array.shape)
        place = 1 if name in ("point_coords", "point_labels") else -1
        if place > 0 and array.ndim > place and shape[place].is_static:
            more = shape[place].get_length() - array.shape[place]
            widths = [(0, max(0, more) * (axis == place)) for axis in range(array.ndim)]
            array = np.pad(array, widths, constant_values=-1 if name == "point_labels" else 0)
    return typed(array, port)


def typed(array: np.ndarray, port: Any) -> np.ndarray:
    """The array in the type of an input; whole numbers are the nearest, not those below."""
    kind = np.dtype(port.element_type.to_dtype())
    return (np.rint(array) if kind.kind in "iu" else array).astype(kind, copy=False)


def completed(prompt: Arrays, photo: Photo, ports: Sequence[Any]) -> Arrays:
    """A prompt in the model's frame, with what goes without saying."""
    prompts: Arrays = {
        "orig_im_size": np.array(photo.size[::-1]),
        "has_mask_input": np.full(1, "mask_input" in prompt),
    }
    for port in ports:
        if "mask_input" in port.names:
            sizes = [size.get_length() if size.is_static else 1 for size in port.partial_shape]
            prompts["mask_input"] = np.zeros(sizes)
    for name, value in prompt.items():
        array = np.asarray(value, np.float32)
        prompts[name] = photo.placed(array) if name.endswith(("coords", "box", "boxes")) else array
    wanted = {name for port in ports for name in port.names}
    box = next((prompts[name] for name in ("box", "boxes") if name in prompts and name not in wanted), None)
    if box is not None and {"point_coords", "point_labels"} <= wanted:
        points, labels = (
            prompts.get("point_coords", np.empty((0, 2))),
            prompts.get("point_labels", np.empty(0)),
        )
        prompts["point_coords"] = np.concatenate([points.reshape(-1, 2), box.reshape(-1, 2)])
        prompts["point_labels"] = np.concatenate([labels.reshape(-1), np.tile(CORNERS, box.size // 4)])
    points, labels = (np.size(prompts.get(name, ())) for name in ("point_coords", "point_labels"))
    if {"point_coords", "point_labels"} <= prompts.keys() and points != 2 * labels:
        raise ValueError(f"the prompt has {points // 2} points, but {labels} point_labels: give each its own")
    return prompts


def picture(logits: np.ndarray, recipe: dict[str, Any]) -> "Image.Image":
    """Mask logits [masks, height, width] as one image, by the metric that the study compared them with."""
    if recipe["metric"] == "alpha_mae":
        is_matte = logits.min() >= -0.25 and logits.max() <= 1.25
        alpha = logits[0] if is_matte else 1 / (1 + np.exp(-np.clip(logits[0], -60, 60)))
        return Image.fromarray(np.rint(255 * alpha.clip(0, 1)).astype(np.uint8))
    if recipe["metric"] == "argmax_iou":
        return coloured(logits.argmax(axis=0))
    if recipe["metric"] == "label_iou":
        return coloured(np.rint(logits[0]))
    masks = logits > recipe["threshold"]
    if len(masks) == 1:
        return Image.fromarray(np.where(masks[0], 255, 0).astype(np.uint8))
    return coloured(np.where(masks.any(axis=0), 1 + np.where(masks, logits, -np.inf).argmax(axis=0), 0))


def coloured(numbers: np.ndarray) -> "Image.Image":
    """Numbers [h, w] as a palette image: each its own colour, 0 black."""
    image = Image.fromarray(numbers.clip(0, 255).astype(np.uint8), "P")
    colours = [(number, part) for number in range(256) for part in range(3)]
    # As PASCAL VOC: bits of the number, in turn, are the high bits of red, green and blue.
    image.putpalette([sum((n >> (3 * bit + p) & 1) << (7 - bit) for bit in range(3)) for n, p in colours])
    return image


def predict_image(predictor: Predictor, arguments: argparse.Namespace) -> None:
    """Predict the masks of an image, and write them as one."""
    photo = Photo(arguments.sample, predictor.manifest)
    prompts = [json.loads(prompt) for prompt in arguments.prompt] or [{}]
    stacks = []
    for prompt in prompts:
        asked = completed(prompt, photo, predictor.prompts)
        inputs = {port.any_name: fed(port, asked) for port in predictor.prompts}
        stacks.append(predictor({photo.input: photo.array, **inputs}))
    recipe = predictor.manifest["recipe"]
    # Nothing lies between two class numbers.
    way = Image.Resampling.NEAREST if recipe["metric"] == "label_iou" else Image.Resampling.BILINEAR
    masks = photo.unplaced(np.concatenate(stacks), way)
    output = arguments.output or Path(f"{arguments.sample.stem}_mask.png")
    picture(masks, recipe).save(output)
    planes = "1 plane" if len(masks) == 1 else f"{len(masks)} planes"
    values = f"logits from {masks.min():.4g} to {masks.max():.4g}"
    print(f"wrote {output}: {photo.size[0]} x {photo.size[1]}, from {planes} of {values}")


def predict_archive(predictor: Predictor, arguments: argparse.Namespace) -> None:
    """Predict one archive's logits, and compare them with those that were stored beside it."""
    with np.load(arguments.sample, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    masks = predictor(arrays)
    output = arguments.output or Path("masks.npz")
    np.savez_compressed(output, masks=masks)
    print(f"wrote {output}: masks {list(masks.shape)}, {100 * (masks > 0).mean():.1f} % above 0")
    stored = arguments.sample.parent / "outputs" / arguments.sample.name
    if stored.is_file():
        with np.load(stored, allow_pickle=False) as archive:
            expected = archive["reference" if arguments.model == "reference.onnx" else "candidate"]
        print(f"largest difference from the stored logits: {np.abs(masks - expected).max():.4g}")


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
        print(f"predict.py: {arguments.sample}: {told}", file=sys.stderr)
        return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())
