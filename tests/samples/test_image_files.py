"""Images come as people have them; what a conversion loses is said, or the file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autoprec.errors import SamplesError
from autoprec.samples import Sample, Samples, load_samples
from autoprec.spec import SamplesSection

RAMP = np.linspace(0, 60000, 16 * 32).reshape(16, 32).astype(np.uint16)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP // 2], axis=-1)


def load(folder: Path, channels: int = 3, *, nhwc: bool = False, **settings: Any) -> Samples:
    shape = (1, 16, 32, channels) if nhwc else (1, channels, 16, 32)
    section = SamplesSection(
        calibration="", evaluation=str(folder), mean=(0.0,) * channels, std=(1.0,) * channels, **settings
    )
    return load_samples(section, "evaluation", {"image": shape})


def array(samples: Samples) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = samples[0].inputs["image"][0]
    return pixels


def said(samples: Samples) -> str:
    return "; ".join(samples.notes)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_keeps_its_depth(tmp_path: Path, suffix: str, channels: int) -> None:
    Image.fromarray(RAMP).save(tmp_path / f"a{suffix}")
    samples = load(tmp_path, channels)
    np.testing.assert_allclose(array(samples), np.repeat(RAMP[None], channels, 0) / 65535, atol=1e-6)
    assert "samples.white" in said(samples)
    np.testing.assert_allclose(array(load(tmp_path, channels, white=60000))[0], RAMP / 60000, atol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colour_keeps_its_depth(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        path.write_bytes(pytest.importorskip("imagecodecs").png_encode(COLOUR))
    else:
        pytest.importorskip("tifffile").imwrite(path, COLOUR, photometric="rgb", compression="zlib")
    np.testing.assert_allclose(array(load(tmp_path)), COLOUR.transpose(2, 0, 1) / 65535, atol=1e-6)
    luma = COLOUR @ np.array((0.299, 0.587, 0.114)) / 65535
    grey = load(tmp_path, 1)
    np.testing.assert_allclose(array(grey)[0], luma, atol=1e-5)
    assert "grey" in said(grey)


@pytest.mark.parametrize("layout", ["pages", "last", "first"])
def test_bands_of_a_tiff_are_channels(tmp_path: Path, layout: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    bands = np.random.default_rng(0).integers(0, 255, (6, 16, 32), np.uint8)
    how: dict[str, Any] = {"photometric": "minisblack"}
    if layout == "last":
        tifffile.imwrite(tmp_path / "a.tif", bands.transpose(1, 2, 0), planarconfig="contig", **how)
    else:
        more = {"planarconfig": "separate"} if layout == "first" else {}
        tifffile.imwrite(tmp_path / "a.tif", bands, **how, **more)
    np.testing.assert_allclose(array(load(tmp_path, 6)), bands / 255, atol=1e-6)
    if layout != "pages":
        with pytest.raises(SamplesError, match="has 6 bands, but the model takes 3"):
            said(load(tmp_path))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".npz"])
def test_mutated_files_are_read_or_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path, random = tmp_path / f"a{suffix}", np.random.default_rng(0)
    if suffix == ".npz":
        np.savez(path, image=np.ones((1, 3, 16, 32), np.float32))
    else:
        Image.fromarray((COLOUR // 256).astype(np.uint8)).save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused: list[str] = []
    for _ in range(60):
        broken = whole.copy()
        places = random.integers(len(whole), size=random.integers(1, 8))
        broken[places] = random.integers(256, size=len(places))
        length = len(whole) if random.random() < 0.5 else int(random.integers(1, len(whole)))
        path.write_bytes(broken.tobytes()[:length])
        try:
            assert array(load(tmp_path)).shape == (3, 16, 32)
        except SamplesError as error:
            refused.append(str(error))
    assert refused
    assert all("\n" not in words and path.name in words for words in refused)


def test_floats_need_a_white(tmp_path: Path) -> None:
    Image.fromarray((RAMP / 60000).astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(SamplesError, match=r"samples\.white"):
        load(tmp_path, 1)[0]
    np.testing.assert_allclose(array(load(tmp_path, 1, white=1.0))[0], RAMP / 60000, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "channels", "note"),
    [
        ("L", 3, ""),
        ("1", 1, ""),
        ("P", 3, ""),
        ("RGBA", 3, "alpha"),
        ("LA", 1, "alpha"),
        ("CMYK", 3, "CMYK"),
        ("RGB", 1, "grey"),
        ("P", 1, "grey"),
        ("RGBA", 4, ""),
        ("CMYK", 4, ""),
        ("YCbCr", 3, ""),
    ],
)
def test_other_kinds_of_pixels_are_converted_and_said(
    tmp_path: Path, mode: str, channels: int, note: str
) -> None:
    colours = Image.fromarray((COLOUR // 256).astype(np.uint8))
    image = colours.convert(mode)
    image.save(tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png"))
    samples = load(tmp_path, channels)
    target = {1: "L", 3: "RGB", 4: mode}[channels]
    wanted = np.asarray(image.convert(target)).reshape(16, 32, channels).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(array(samples), wanted, atol=1e-6)
    assert bool(samples.notes) == bool(note)
    assert note in said(samples)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_stand_upright(tmp_path: Path, orientation: int) -> None:
    turned = COLOUR.swapaxes(0, 1) if orientation > 4 else COLOUR
    rows = {3: -1, 4: -1, 6: -1, 7: -1}.get(orientation, 1)
    columns = {2: -1, 3: -1, 7: -1, 8: -1}.get(orientation, 1)
    tag = (274, 3, 1, orientation, True)
    pytest.importorskip("tifffile").imwrite(
        tmp_path / "a.tif",
        np.ascontiguousarray(turned[::rows, ::columns]),
        photometric="rgb",
        extratags=[tag],
    )
    np.testing.assert_allclose(array(load(tmp_path)), COLOUR.transpose(2, 0, 1) / 65535, atol=1e-6)


def test_white_may_be_zero(tmp_path: Path) -> None:
    pytest.importorskip("tifffile").imwrite(tmp_path / "a.tif", RAMP, photometric="miniswhite")
    np.testing.assert_allclose(array(load(tmp_path, 1))[0], 1 - RAMP / 65535, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"), [("signed.tif", "white"), ("lab.tif", "CIE"), ("deep.ppm", "Pillow cuts")]
)
def test_pixels_that_would_be_misread_are_refused(tmp_path: Path, name: str, message: str) -> None:
    if name == "signed.tif":
        pytest.importorskip("tifffile").imwrite(tmp_path / name, (RAMP // 256).astype(np.int8))
    elif name == "lab.tif":
        Image.new("LAB", (32, 16)).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"P6 32 16 1023\n" + (COLOUR // 64).astype(">u2").tobytes())
    with pytest.raises(SamplesError, match=message):
        load(tmp_path)[0]


def test_bands_that_are_not_there_are_not_invented(tmp_path: Path) -> None:
    Image.fromarray((COLOUR // 256).astype(np.uint8)).save(tmp_path / "a.png")
    for channels in (2, 4):
        with pytest.raises(SamplesError, match=f"has 3 bands, but the model takes {channels}"):
            load(tmp_path, channels)[0]


def turned(folder: Path) -> Path:
    """An image that is stored on its side, white on top once it is upright; 16 wide, 32 high."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "images").mkdir(parents=True)
    Image.fromarray(stored).save(folder / "images" / "a.png", exif=exif)
    return folder


def test_images_stand_upright(tmp_path: Path) -> None:
    samples = load(turned(tmp_path))
    assert samples[0].size == (32, 16)
    assert array(samples)[0, :7].min() > 0.9
    assert array(samples)[0, 9:].max() < 0.1
    assert "upright" in said(samples)


def test_a_mask_of_an_image_on_its_side_is_refused(tmp_path: Path) -> None:
    folder = turned(tmp_path)
    (folder / "masks").mkdir()
    Image.fromarray(np.ones((16, 32), np.uint8)).save(folder / "masks" / "a.png")
    (folder / "prompts.json").write_text('{"a.png": [{"point_coords": [[1, 2]], "object": 1}]}')
    with pytest.raises(SamplesError, match="turn the mask"):
        load(folder)[0]


@pytest.mark.parametrize(("images", "prompts"), [("images", ""), ("images", "images"), ("", "")])
def test_prompts_lie_beside_the_images_or_their_folder(tmp_path: Path, images: str, prompts: str) -> None:
    (tmp_path / images).mkdir(exist_ok=True)
    Image.new("RGB", (20, 40)).save(tmp_path / images / "a.png")
    (tmp_path / prompts / "prompts.json").write_text('{"a.png": [{"point_coords": [[1, 2]]}]}')
    samples = load(tmp_path)
    assert len(samples[0].asked) == 1
    assert "ignored" not in said(samples)


@pytest.mark.parametrize(
    ("prompt", "is_told"),
    [
        ({"point_coords": [[20, 40]]}, False),
        ({"point_coords": [[39, 19]]}, True),
        ({"point_coords": [[0.5, 0.5]]}, True),
        ({"box": [-5, 0, 9, 9]}, True),
    ],
)
def test_prompts_outside_of_an_image_are_told(tmp_path: Path, prompt: dict[str, Any], is_told: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "prompts.json").write_text(json.dumps({"a.jpg": [prompt]}))
    assert ("1 of 1 images: prompts lie outside" in said(load(tmp_path))) is is_told


def test_channels_come_last_where_the_model_wants_it(tmp_path: Path) -> None:
    Image.fromarray((COLOUR // 256).astype(np.uint8)).save(tmp_path / "a.png")
    last = load(tmp_path, nhwc=True)[0].inputs["image"]
    assert last.shape == (1, 16, 32, 3)
    assert last.flags.c_contiguous
    np.testing.assert_array_equal(last[0].transpose(2, 0, 1), array(load(tmp_path)))


@pytest.mark.parametrize(
    ("resize", "left", "top", "empty"), [("pad", 0, 0, 0.0), ("letterbox", 12, 0, 114 / 255 - 0.5)]
)
def test_a_form_can_be_kept(
    tmp_path: Path, resize: Literal["pad", "letterbox"], left: int, top: int, empty: float
) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 40), "white").save(tmp_path / "images" / "a.png")
    (tmp_path / "prompts.json").write_text('{"a.png": [{"box": [0, 0, 20, 40], "object": 1}]}')
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((40, 20), np.uint8)).save(tmp_path / "masks" / "a.png")
    section = SamplesSection(
        calibration="", evaluation=str(tmp_path), mean=(0.5,) * 3, std=(1.0,) * 3, resize=resize
    )
    sample = load_samples(section, "evaluation", {"image": (1, 3, 16, 32)})[0]
    pixels = sample.inputs["image"][0]
    assert (pixels[:, top:, left : left + 8] == 0.5).all()
    assert pixels[:, :, -1] == pytest.approx(empty)
    np.testing.assert_allclose(sample.asked[0]["box"], [left, 0, left + 8, 16])
    framed = sample.truth_for((1, 16, 32))
    assert framed is not None
    assert framed.shape[1:] == (40, 80)
    assert framed.sum() == 800
    assert framed[0, :, round(left * 2.5) : round(left * 2.5) + 20].all()
    own = sample.truth_for((1, 40, 20))
    assert own is not None
    assert own.all()


def test_more_masks_than_true_ones_are_refused_where_nothing_was_asked() -> None:
    truth = np.ones((1, 8, 8), np.bool_)
    plain = Sample(name="a.png", inputs={}, prompts={}, truth=truth)
    with pytest.raises(SamplesError, match=r"a\.png has 1 true masks, but the model gives 3"):
        plain.truth_for((3, 8, 8))
    asked = plain._replace(prompts={"point_coords": np.ones((1, 1, 2), np.float32)})
    assert asked.truth_for((3, 8, 8)) is truth


def test_studies_of_plain_images_keep_their_digest(tmp_path: Path) -> None:
    Image.new("RGB", (32, 16), (1, 2, 3)).save(tmp_path / "a.bmp")
    assert load(tmp_path).digest == "c2837e5f79665f19", "as 0.1 had it"
    assert load(turned(tmp_path / "turned")).digest != load(turned(tmp_path / "again"), resize="pad").digest
