"""Depths, bands and orientations that Pillow cuts, garbles or leaves out reach the model, or are refused."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autoprec.errors import SamplesError
from autoprec.samples import Samples, load_samples
from autoprec.spec import SamplesSection

RAMP = np.linspace(0, 60000, 16 * 32).reshape(16, 32).astype(np.uint16)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP // 2], axis=-1)


def load(folder: Path, channels: int = 3, **settings: Any) -> Samples:
    section = SamplesSection(
        calibration="", evaluation=str(folder), mean=(0.0,) * channels, std=(1.0,) * channels, **settings
    )
    return load_samples(section, "evaluation", {"image": (1, channels, 16, 32)})


def array(samples: Samples) -> NDArray[np.float32]:
    pixels: NDArray[np.float32] = samples[0].inputs["image"][0]
    return pixels


def said(samples: Samples) -> str:
    return "; ".join(samples.notes)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("colours", ["rgb", "minisblack"])
def test_all_bands_of_a_tiff_reach_the_model(tmp_path: Path, kind: type, layout: str, colours: str) -> None:
    bands: NDArray[Any] = np.random.default_rng(0).integers(0, 255, (4, 16, 32)).astype(kind)
    pytest.importorskip("tifffile").imwrite(
        tmp_path / "a.tif",
        bands if layout == "separate" else bands.transpose(1, 2, 0),
        photometric=colours,
        planarconfig=layout,
        extrasamples=["unspecified"] * (1 if colours == "rgb" else 3),
    )
    np.testing.assert_allclose(array(load(tmp_path, 4, white=255)), bands / 255, atol=1e-6)
    if colours == "rgb":
        np.testing.assert_allclose(array(load(tmp_path, white=255)), bands[:3] / 255, atol=1e-6)
        assert "left out" in said(load(tmp_path, white=255))
    else:
        with pytest.raises(SamplesError, match="has 4 bands, but the model takes 3"):
            load(tmp_path, white=255)[0]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_grey_tiff_on_its_side_is_not_garbled(tmp_path: Path, kind: type) -> None:
    grey: NDArray[Any] = RAMP.astype(kind)
    pytest.importorskip("tifffile").imwrite(
        tmp_path / "a.tif", np.ascontiguousarray(np.rot90(grey)), extratags=[(274, 3, 1, 6, True)]
    )
    assert load(tmp_path, 1, white=1000)[0].size == (16, 32)
    np.testing.assert_allclose(array(load(tmp_path, 1, white=1000))[0], grey / 1000, rtol=1e-6)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_is_the_largest_value_of_the_bits_that_a_tiff_packs(
    tmp_path: Path, bits: int, channels: int
) -> None:
    white = np.full((16, 32, channels), 2**bits - 1, np.uint16)
    pytest.importorskip("tifffile").imwrite(tmp_path / "a.tif", white.squeeze(), bitspersample=bits)
    np.testing.assert_array_equal(array(load(tmp_path, channels)), 1)


def test_a_digest_says_by_which_rule_files_are_read_that_an_earlier_one_read_otherwise(
    tmp_path: Path,
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    assert "." not in load(tmp_path).digest
    tifffile.imwrite(tmp_path / "a.tif", RAMP // 16, bitspersample=12)
    assert load(tmp_path).digest.endswith(".r2")


def test_bytes_less_a_mean_are_whole_numbers(tmp_path: Path) -> None:
    grey = np.arange(16 * 32, dtype=np.uint16).reshape(16, 32).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    section = SamplesSection(calibration="", evaluation=str(tmp_path), mean=(128 / 255,), std=(1 / 255,))
    signed = array(load_samples(section, "evaluation", {"image": (1, 1, 16, 32)}))
    np.testing.assert_array_equal(signed[0], grey.astype(np.float32) - 128)


def test_a_deep_png_stands_upright(tmp_path: Path) -> None:
    encoded = pytest.importorskip("imagecodecs").png_encode(np.ascontiguousarray(np.rot90(COLOUR)))
    exif = Image.Exif()
    exif[0x0112] = 6
    content = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
    (tmp_path / "a.png").write_bytes(encoded[:33] + chunk + encoded[33:])
    np.testing.assert_allclose(array(load(tmp_path)), COLOUR.transpose(2, 0, 1) / 65535, atol=1e-6)


def test_jpeg_2000_and_avif_keep_their_depth_or_say_so(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(RAMP >> 4, level=0, bitspersample=12))
    np.testing.assert_allclose(array(load(tmp_path, 1))[0], (RAMP >> 4) / 4095, atol=3e-4)
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(COLOUR, level=0))
    with pytest.raises(SamplesError, match="white wrapped to black"):
        load(tmp_path)[0]
    (tmp_path / "a.jp2").unlink()
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(COLOUR >> 6, bitspersample=10, level=100))
    np.testing.assert_allclose(array(load(tmp_path)), COLOUR.transpose(2, 0, 1) / 65535, atol=5e-3)
    assert "cut to 8" in said(load(tmp_path))


def test_pixels_without_a_value_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.where(RAMP > 9, RAMP, np.nan).astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(SamplesError, match=r"a\.tif: holds NaN"):
        load(tmp_path, 1, white=60000)[0]


def test_directories_that_go_round_are_refused(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for _ in range(120):  # tifffile itself looks for circles among the first 100
            file.write(RAMP.astype(np.uint32), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        early, late = (file.pages[number].offset for number in (105, 119))
    content = bytearray((tmp_path / "a.tif").read_bytes())
    count = int.from_bytes(content[late : late + 2], "little")
    place = late + 2 + 12 * count
    content[place : place + 4] = early.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(SamplesError, match="its directories go round in a circle"):
        load(tmp_path, 1, white=1.0)[0]


def test_the_largest_of_32_bits_is_not_negative(tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint32) << 16
    pytest.importorskip("tifffile").imwrite(tmp_path / "a.tif", deep)
    np.testing.assert_allclose(array(load(tmp_path, 1, white=2**32 - 1))[0], RAMP / 65536, atol=1e-6)


@pytest.mark.skipif(shutil.which("gs") is None, reason="Ghostscript is not installed")
def test_postscript_that_is_called_an_image_is_not_run(tmp_path: Path) -> None:
    program = f"({tmp_path}/ran) (w) file closefile showpage"
    text = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 16\n%%EndComments\n{program}\n%%EOF\n"
    (tmp_path / "a.png").write_text(text)
    with pytest.raises(SamplesError, match="cannot be read as an image"):
        load(tmp_path)[0]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("orientation", "size"), [(6, (32, 16)), (9, (16, 32)), (0, (16, 32))])
def test_prompts_are_placed_in_an_image_as_it_is_turned(
    orientation: int, size: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (32, 16)).save(tmp_path / "a.jpg", exif=exif)
    assert load(tmp_path).outline(0).size == load(tmp_path)[0].size == size


@pytest.mark.parametrize("kind", [1, 2, 7])
def test_an_orientation_that_is_no_number_turns_nothing(kind: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 16)).save(tmp_path / "a.jpg", exif=exif)
    stored = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(stored.replace(b"\x01\x12\0\x03", bytes([1, 18, 0, kind])))
    assert load(tmp_path).outline(0).size == load(tmp_path)[0].size == (16, 32)
