"""`predict.py` reads images and prompts as the search did."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autoprec.errors import SamplesError
from autoprec.exporters import predict as exporter
from autoprec.measurement.prompting import DecoderInput, asked_of
from autoprec.samples import Sample, load_samples
from autoprec.spec import SamplesSection
from tiny_export import export_of

pytest.importorskip("openvino")
DECODER = {
    "point_coords": (np.float32, (1, 3, 2)),
    "point_labels": (np.int64, (1, 3)),
    "mask_input": (np.float32, (1, 1, 4, 4)),
    "has_mask_input": (np.float32, (1,)),
}
MASK = [[[1.0] * 4] * 4]


@pytest.fixture(scope="module")
def predict(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the shipped script defines, beside what it is shipped with."""
    folder = tmp_path_factory.mktemp("shipped")
    exporter.write(export_of(tmp_path_factory.mktemp("study")), folder)
    return runpy.run_path(str(folder / "predict.py")) | {"folder": folder}


def photo_of(predict: dict[str, Any], image: Path, shape: tuple[int, ...], how: dict[str, Any]) -> Any:
    manifest = {
        "recipe": {"preprocessing": {"input": "", "white": None, **how}},
        "input_shapes": {"x": shape},
    }
    return predict["Photo"](image, manifest, predict["reading_of"](predict["folder"]))


def searched(folder: Path, shape: tuple[int, ...], how: dict[str, Any]) -> Sample:
    section = SamplesSection(calibration="", evaluation=str(folder), **how)
    samples = load_samples(section, "evaluation", {"x": shape})
    assert isinstance(samples.notes, list)
    return samples[0]


def tiff(path: Path, array: NDArray[Any], **words: Any) -> None:
    pytest.importorskip("tifffile").imwrite(path, array, **words)


def coded(path: Path, array: NDArray[Any], **words: Any) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    encode = {
        ".jp2": imagecodecs.jpeg2k_encode,
        ".png": imagecodecs.png_encode,
        ".avif": imagecodecs.avif_encode,
    }
    path.write_bytes(encode[path.suffix](array, **words))


BYTES = np.random.default_rng(0).integers(0, 256, (20, 24, 4), np.uint8)
DEEP = np.random.default_rng(1).integers(0, 4096, (20, 24, 4), np.uint16)
TURNED = Image.Exif()
TURNED[0x0112] = 6
ODD: dict[str, Callable[[Path], object]] = {
    "grey.png": lambda path: Image.fromarray(BYTES[..., 0]).save(path),
    "colour.png": lambda path: Image.fromarray(BYTES[..., :3]).save(path),
    "alpha.png": lambda path: Image.fromarray(BYTES).save(path),
    "grey_alpha.png": lambda path: Image.fromarray(BYTES).convert("LA").save(path),
    "palette.png": lambda path: Image.fromarray(BYTES[..., :3]).quantize(16).save(path),
    "see_through.png": lambda path: Image.fromarray(BYTES[..., :3]).quantize(16).save(path, transparency=3),
    "bits.png": lambda path: Image.fromarray(BYTES[..., 0]).convert("1").save(path),
    "inks.jpg": lambda path: Image.fromarray(BYTES).convert("RGB").convert("CMYK").save(path),
    "turned.jpg": lambda path: Image.fromarray(BYTES[..., :3]).save(path, exif=TURNED),
    "turned.webp": lambda path: Image.fromarray(BYTES[..., :3]).save(path, exif=TURNED),
    "deep_grey.png": lambda path: Image.fromarray(DEEP[..., 0] * 16).save(path),
    "deep_colour.png": lambda path: coded(path, DEEP[..., :3] * 16),
    "deep_grey.tif": lambda path: tiff(path, DEEP[..., 0]),
    "deep_bands.tif": lambda path: tiff(path, DEEP, photometric="minisblack", planarconfig="contig"),
    "deep_planes.tif": lambda path: tiff(path, DEEP.transpose(2, 0, 1), photometric="rgb"),
    "packed.tif": lambda path: tiff(path, DEEP[..., 0], bitspersample=12),
    "signed.tif": lambda path: tiff(path, DEEP[..., 0].astype(np.int16)),
    "floats.tif": lambda path: tiff(path, DEEP[..., 0].astype(np.float32)),
    "negative.tif": lambda path: tiff(path, DEEP[..., 0], photometric="miniswhite"),
    "pages.tif": lambda path: tiff(path, BYTES.transpose(2, 0, 1), photometric="minisblack"),
    "turned.tif": lambda path: Image.fromarray(BYTES[..., :3]).save(path, tiffinfo={274: 6}),
    "luma.tif": lambda path: Image.fromarray(BYTES[..., :3]).convert("YCbCr").save(path),
    "lab.tif": lambda path: Image.fromarray(BYTES[..., :3]).convert("LAB").save(path),
    "twelve.jp2": lambda path: coded(path, DEEP[..., :3], bitspersample=12, level=0),
    "twelve_grey.jp2": lambda path: coded(path, DEEP[..., 0], bitspersample=12, level=0),
    "ten.avif": lambda path: coded(path, DEEP[..., :3] // 4, bitspersample=10, level=100),
    "deep.pgm": lambda path: path.write_bytes(b"P5 24 20 4095\n" + DEEP[..., 0].astype(">u2").tobytes()),
    "deep.ppm": lambda path: path.write_bytes(b"P6 24 20 4095\n" + DEEP[..., :3].astype(">u2").tobytes()),
    "broken.png": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"),
}  # fmt: skip
"""Files as people have them, by name."""


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", ODD)
def test_an_image_is_read_bit_for_bit_as_in_the_search_or_refused_in_the_same_words(
    tmp_path: Path, predict: dict[str, Any], name: str, channels: int, layout: str
) -> None:
    ODD[name](tmp_path / name)
    shape = (1, channels, 16, 32) if layout == "nchw" else (1, 16, 32, channels)
    for resize, deviation in (("stretch", 0.25), ("pad", 0.25), ("letterbox", 1 / 255)):
        how = {
            "mean": (0.5 if resize == "pad" else 0.0,) * channels,
            "std": (deviation,) * channels,
            "resize": resize,
        }
        try:
            array = searched(tmp_path, shape, how).inputs["x"]
        except SamplesError as error:
            with pytest.raises(ValueError, match=re.escape(str(error))):
                photo_of(predict, tmp_path / name, shape, how)
            continue
        pixels = photo_of(predict, tmp_path / name, shape, how).array
        assert pixels.dtype == array.dtype
        np.testing.assert_array_equal(pixels, array)


@pytest.mark.parametrize(
    "prompts",
    [
        ['{"point_coords": [[3.3, 4.7]], "point_labels": [1]}'],
        ['{"box": [1, 2, 9, 11]}', '{"box": [3, 2, 9, 11]}'],
        ['{"boxes": [1, 2, 9, 11], "point_coords": [[3, 4]], "point_labels": [0]}'],
        [f'{{"point_coords": [[3, 4]], "point_labels": [1], "mask_input": {MASK}}}'],
    ],
)
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_prompts_are_fed_as_in_the_search(
    tmp_path: Path, predict: dict[str, Any], prompts: list[str], resize: str
) -> None:
    Image.new("RGB", (24, 20)).save(tmp_path / "a.png")
    (tmp_path / "prompts.json").write_text(f'{{"a.png": [{", ".join(prompts)}]}}')
    how = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "resize": resize}
    wanted = {name: DecoderInput(np.dtype(kind), shape) for name, (kind, shape) in DECODER.items()}
    expected = asked_of(wanted, (), searched(tmp_path, (1, 3, 16, 32), how))
    photo = photo_of(predict, tmp_path / "a.png", (1, 3, 16, 32), how)
    runs = photo.asked([json.loads(prompt) for prompt in prompts], wanted)
    for run, right in zip(runs, expected, strict=True):
        assert run.keys() == right.keys()
        for name, array in right.items():
            np.testing.assert_array_equal(run[name], array, err_msg=name, strict=True)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({"point_coords": [[1, 2], [3, 4]], "point_labels": [1]}, "2 points, but 1 point_labels"),
        ({"point_coords": [[1, 2]], "point_labels": [1], "point_label": [1]}, "takes no 'point_label'"),
        ({"point_coords": [[1, 2]]}, "needs 'point_labels'"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(
    tmp_path: Path, predict: dict[str, Any], prompt: dict[str, Any], said: str
) -> None:
    Image.new("RGB", (24, 20)).save(tmp_path / "a.png")
    photo = photo_of(
        predict, tmp_path / "a.png", (1, 3, 16, 32), {"mean": (0.0,) * 3, "std": (1.0,) * 3, "resize": "pad"}
    )
    wanted = {name: DecoderInput(np.dtype(kind), shape) for name, (kind, shape) in DECODER.items()}
    with pytest.raises(ValueError, match=said):
        photo.asked([prompt], wanted)


@pytest.mark.parametrize("folder", [".", "images"])
def test_prompts_lie_where_the_search_finds_them(
    folder: str, tmp_path: Path, predict: dict[str, Any]
) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    image = tmp_path / folder / "a.png"
    Image.new("RGB", (24, 20)).save(image)
    beside = predict["reading_of"](predict["folder"]).beside.prompts_beside
    assert beside(image) == []
    for place in (tmp_path, image.parent):  # beside the images comes before above them
        prompt = {"point_coords": [[len(place.parts), 4]], "point_labels": [1]}
        (place / "prompts.json").write_text(json.dumps({"a.png": [prompt]}))
        sample = searched(tmp_path, (1, 3, 20, 24), {"resize": "stretch"})
        assert beside(image) == [prompt]
        np.testing.assert_array_equal(sample.asked[0]["point_coords"], prompt["point_coords"])


@pytest.mark.parametrize("text", ["[]", "{", '{"a.png": {}}', '{"a.png": [3]}', "\xff"])
def test_prompts_that_cannot_be_read_are_said(text: str, tmp_path: Path, predict: dict[str, Any]) -> None:
    (tmp_path / "prompts.json").write_text(text, encoding="latin-1")
    beside = predict["reading_of"](predict["folder"]).beside
    with pytest.raises(ValueError, match=r"prompts\.json: .* of "):
        beside.prompts_beside(tmp_path / "a.png")
