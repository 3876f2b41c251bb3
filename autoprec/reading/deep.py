"""Image files that Pillow would cut to 8 bits, or does not open: 16-bit colour, and TIFF of many bands.

Read by imagecodecs and tifffile, which are imported when the first such file comes.
"""

from __future__ import annotations

import importlib
import logging
import math
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import UnfitError, unreadable

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it prints every tag that is odd
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_VALUES = 1 << 29
"""More, in all bands together, would fill the memory."""

_DEPTH, _PHOTOMETRIC, _ORIENTATION, _BANDS, _SAMPLE_FORMAT = 258, 262, 274, 277, 339
"""Tags of TIFF."""
_J2K_SIZE = b"\xff\x4f\xff\x51"
"""Start of a JPEG 2000 code stream and of its sizes; the first band's depth lies 42 bytes on."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_SIGNED = 2
SIGNED_BITS = 32
"""The depth reported for signed values, which, like floats, do not say what is white."""
_TURNS = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False), 5: (True, False, False),
    6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip
"""By orientation, what brings an image upright: axes swapped, rows from the last, columns from the last."""


def is_signed(image: Image.Image) -> bool:
    """Whether Pillow has opened a TIFF of signed values."""
    return _SIGNED in _tag(image, _SAMPLE_FORMAT)


def needs_tifffile(image: Image.Image) -> bool:
    """Whether Pillow has opened a TIFF that it reads differently than it should: 8-bit values with a sign,
    32-bit ones without, or deep ones of which zero is white."""
    deep_white = _WHITE_IS_ZERO in _tag(image, _PHOTOMETRIC) and image.mode.startswith("I")
    wraps = image.format == "TIFF" and image.mode == "I" and not is_signed(image)
    return deep_white or wraps or (is_signed(image) and image.mode == "L")


def is_anew(image: Image.Image) -> bool:
    """Whether Pillow has opened a TIFF that the first version of the reading rule read differently: one that
    is rotated, has values that Pillow wraps, or packed bits."""
    return image.format == "TIFF" and (
        not {1, 0}.issuperset(_tag(image, _ORIENTATION))
        or needs_tifffile(image)
        or is_packed(coded_depth(image))
    )


def is_packed(bits: int) -> bool:
    """Whether values of so many bits are not whole bytes."""
    return bits > 8 and bits % 8 != 0


def bands_of(image: Image.Image) -> int:
    """Bands of a file that Pillow has opened; of a TIFF it leaves some out."""
    return max(len(image.getbands()), *_tag(image, _BANDS), 1)


def coded_bits(path: Path) -> int:
    """Bits of a channel in a JPEG 2000 or AVIF file, 8 at least; Pillow's mode does not tell."""
    head = path.read_bytes()
    size, av1 = head.find(_J2K_SIZE), head.find(b"av1C")
    if size >= 0:
        return max(8, *(1 + (byte & 127) for byte in head[size + 42 : size + 43]))
    # The third byte of AV1CodecConfigurationRecord: bit 6 is high_bitdepth, bit 5 twelve_bit.
    flags = head[av1 + 6 : av1 + 7] if av1 >= 0 else b""
    return next((12 if byte & 32 else 10 for byte in flags if byte & 64), 8)


def _tag(image: Image.Image, number: int) -> tuple[int, ...]:
    value = getattr(image, "tag_v2", {}).get(number, ())
    return value if isinstance(value, tuple) else (value,)


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does."""
    with path.open("rb") as file:
        return file.read(4) in _TIFF


def coded_depth(image: Image.Image) -> int:
    """Bits of a channel that a TIFF which Pillow has opened names; 0 where it names none. 12-bit cameras pack
    them so, and what is white is 4095."""
    return max((0, *_tag(image, _DEPTH)))


class TiffShape(NamedTuple):
    """What a TIFF file holds; `bits` of a channel are as in `Header`."""

    bands: int
    height: int
    width: int
    bits: int
    is_rgb: bool


def shape_of(path: Path) -> TiffShape:
    """The shape of a TIFF file, without its pixels.

    Raises `UnfitError` for a file that cannot be read as one image.
    """
    try:
        with _opened(path) as file:
            series = file.series[0]
            sizes = _banded(path, tuple(map(int, series.shape)), series.axes)
            page = series.keyframe
            bits = int(page.bitspersample) if np.dtype(series.dtype).kind == "u" else SIGNED_BITS
            return TiffShape(*sizes, bits, page.photometric == _RGB)
    except UnfitError:
        raise
    except Exception as error:  # broken files make tifffile and imagecodecs raise anything
        raise unreadable(path, error) from error


def read(path: Path) -> NDArray[Any]:
    """All bands [bands, height, width] of a PNG or TIFF file, in the file's own type; a TIFF's upright.

    Raises `UnfitError` for a file that cannot be read.
    """
    try:
        if not is_tiff(path):
            array = np.asarray(_module("imagecodecs", path).png_decode(path.read_bytes()))
            return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
        with _opened(path) as file:
            series = file.series[0]
            _banded(path, tuple(map(int, series.shape)), series.axes)
            pixels = np.asarray(series.asarray())
            if pixels.ndim == 2:
                pixels = pixels[None]
            elif series.axes.endswith("S"):
                pixels = np.moveaxis(pixels, -1, 0)
            tag = series.keyframe.tags.get("Orientation")
            return upright(_plain(path, pixels, series.keyframe), 1 if tag is None else int(tag.value))
    except UnfitError:
        raise
    except Exception as error:  # broken files make tifffile and imagecodecs raise anything
        raise unreadable(path, error) from error


def _plain(path: Path, bands: NDArray[Any], page: Any) -> NDArray[Any]:
    """Bands whose largest value is white. Raises `UnfitError` for colours that are not RGB or grey."""
    if page.photometric == _WHITE_IS_ZERO and bands.dtype.kind == "u":
        white = (1 << int(page.bitspersample)) - 1
        return white - bands
    if page.photometric not in (_BLACK_IS_ZERO, _RGB):
        raise UnfitError(f"{path}: its colours are {page.photometric.name}; save it in RGB or grey")
    return bands


def upright(bands: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rows and columns as an orientation means them, numbered as in TIFF and EXIF."""
    swap, rows, columns = _TURNS.get(orientation, (False, False, False))
    if swap:
        bands = bands.swapaxes(1, 2)
    return np.ascontiguousarray(bands[:, :: -1 if rows else 1, :: -1 if columns else 1])


def _banded(path: Path, shape: tuple[int, ...], axes: str) -> tuple[int, int, int]:
    """Sizes with the bands first; pages of one size count as bands."""
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise UnfitError(f"{path}: holds an array {list(shape)}, not one image; store it as .npz")
    if math.prod(shape) > _MOST_VALUES:
        raise UnfitError(f"{path}: claims {list(shape)} values, which could be a decompression bomb")
    bands, height, width = (1, *shape) if len(shape) == 2 else shape
    return (width, bands, height) if len(shape) == 3 and axes.endswith("S") else (bands, height, width)


def _opened(path: Path) -> Any:
    """A TIFF file. Raises `UnfitError` where one directory leads back to another: tifffile follows them for
    minutes."""
    with path.open("rb") as file:
        head = file.read(16)
        order, is_big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
        number, count, entry_bytes = ("Q", "Q", 20) if is_big else ("I", "H", 12)
        link, length = struct.Struct(order + number), struct.Struct(order + count)
        seen: set[int] = set()
        with suppress(struct.error):  # it is cut short
            (place,) = link.unpack_from(head, link.size)
            while place:
                if place in seen:
                    raise UnfitError(f"{path}: its directories go round in a circle; write it again")
                seen.add(place)
                file.seek(place)
                file.seek(length.unpack(file.read(length.size))[0] * entry_bytes, os.SEEK_CUR)
                (place,) = link.unpack(file.read(link.size))
    return _module("tifffile", path).TiffFile(path)


def _module(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnfitError(
            f"{path}: has more bits or bands than Pillow keeps: pip install {name}, or store it as .npz"
        ) from error
