"""`predict.py` reads images and prompts as the search did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autoprec.exporters.scripts import predict
from autoprec.measurement.prompting import DecoderInput, asked_of
from autoprec.samples import load_samples
from autoprec.spec import SamplesSection

openvino = pytest.importorskip("openvino")
DECODER = {
    "point_coords": (np.float32, (1, 3, 2)),
    "point_labels": (np.int64, (1, 3)),
    "mask_input": (np.float32, (1, 1, 4, 4)),
    "has_mask_input": (np.float32, (1,)),
}
MASK = [[[1.0] * 4] * 4]


def ports(inputs: dict[str, tuple[Any, tuple[int, ...]]]) -> list[Any]:
    parameters = [openvino.opset13.parameter(shape, kind, name) for name, (kind, shape) in inputs.items()]
    model = openvino.Model([openvino.opset13.result(each) for each in parameters], parameters)
    for port, name in zip(model.inputs, inputs, strict=True):
        port.set_names({name})
    return list(model.inputs)


def both(
    folder: Path, resize: str = "stretch", channels: int = 3
) -> tuple[Any, predict.Photo, NDArray[np.float32]]:
    """The first sample of a folder, and what `predict.py` makes of it."""
    (image,) = (path for path in folder.iterdir() if path.suffix != ".json")
    how: Any = {"mean": (0.0,) * channels, "std": (1 / 255,) * channels, "resize": resize}
    section = SamplesSection(calibration="", evaluation=str(folder), **how)
    sample = load_samples(section, "evaluation", {"image": (1, channels, 16, 32)})[0]
    recipe = {"preprocessing": {"input": "image", "white": None, **how}}
    photo = predict.Photo(image, {"recipe": recipe, "input_shapes": {"image": (1, channels, 16, 32)}})
    return sample, photo, sample.inputs["image"]


@pytest.mark.parametrize("resize", ["stretch", "pad", "letterbox"])
def test_bytes_are_the_bytes_of_the_search(tmp_path: Path, resize: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    _, photo, array = both(tmp_path, resize)
    (port,) = ports({"image": (np.uint8, (1, 3, 16, 32))})
    np.testing.assert_array_equal(predict.typed(photo.array, port), array)


@pytest.mark.parametrize("mode", ["L", "YCbCr"])
def test_tiffs_are_read_as_in_the_search(tmp_path: Path, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 16, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.tif", tiffinfo={274: 6})
    _, photo, array = both(tmp_path, channels=1 if mode == "L" else 3)
    np.testing.assert_allclose(photo.array, array, atol=1e-4)


@pytest.mark.parametrize(
    "prompt",
    [
        '{"point_coords": [[3.3, 4.7]], "point_labels": [1]}',
        '{"box": [1, 2, 9, 11]}',
        '{"boxes": [1, 2, 9, 11], "point_coords": [[3, 4]], "point_labels": [0]}',
        f'{{"point_coords": [[3, 4]], "point_labels": [1], "mask_input": {MASK}}}',
    ],
)
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_prompts_are_fed_as_in_the_search(tmp_path: Path, prompt: str, resize: str) -> None:
    Image.new("RGB", (24, 20)).save(tmp_path / "a.png")
    (tmp_path / "prompts.json").write_text(f'{{"a.png": [{prompt}]}}')
    sample, photo, _ = both(tmp_path, resize)
    wanted = {name: DecoderInput(np.dtype(kind), shape) for name, (kind, shape) in DECODER.items()}
    (run,) = asked_of(wanted, (), sample)
    asked = predict.completed(json.loads(prompt), photo, ports(DECODER))
    for name, port in zip(DECODER, ports(DECODER), strict=True):
        np.testing.assert_allclose(predict.fed(port, asked), run[name], atol=1e-5, err_msg=name)


def test_points_without_labels_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (24, 20)).save(tmp_path / "a.png")
    _, photo, _ = both(tmp_path)
    with pytest.raises(ValueError, match="2 points, but 1 point_labels"):
        predict.completed({"point_coords": [[1, 2], [3, 4]], "point_labels": [1]}, photo, ports(DECODER))
