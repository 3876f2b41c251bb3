"""One image file as planes of pixels: its depth is kept, and what is lost is reported or refused."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from . import deep
from .errors import UnfitError, unreadable

_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_AS_BANDS = frozenset({"L", "RGB", "CMYK", *_WITH_ALPHA})
"""Modes whose bands are the channels of a model that takes as many."""
_STRANGE = {
    "LAB": "in CIE L*a*b*, which has no form in RGB without a profile",
    "PPM": "a PPM of more than 8 bits, which Pillow cuts",
    "JPEG2000": "a JPEG 2000 of more than 8 bits, which Pillow cuts, with white wrapped to black",
}
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")
"""Whatever a file's name says, Pillow tries all formats that it knows, and has Ghostscript run PostScript."""
_LYING = (5, 6, 7, 8)
"""EXIF's orientations of an image that lies on its side."""
_LUMA = np.array((0.299, 0.587, 0.114), np.float32)
"""ITU-R BT.601, as Pillow's conversion to grey."""
_BYTE = 255
_PNG_DEPTH = 24
"""Where a PNG file says how many bits a channel has."""


class Note(str, Enum):  # noqa: UP042 - Python 3.10, which exports run on, has no StrEnum
    """What happens to pixels that their owner may not expect."""

    TURNED = "rotated as EXIF says: prompts and true masks refer to the upright image"
    GREY = "colour converted to grey (ITU-R BT.601), since the model takes one channel"
    ALPHA = "the alpha channel is dropped: the model sees what is under transparent pixels"
    INKS = "CMYK converted to RGB without a colour profile"
    DEEP = "more than 8 bits: the largest value that fits is white, or set samples.white"
    FRAMES = "only the first of several frames is read"
    OUTSIDE = (
        "prompts lie outside of the image, or all in its first pixel: they are in pixels of the upright image"
    )
    EXTRA = "bands beyond red, green and blue are left out, since the model does not take as many"
    CUT = "more than 8 bits are cut to 8, as Pillow reads AVIF: save as PNG or TIFF to keep them"


class Header(NamedTuple):
    """What a file says of itself. `mode` is Pillow's, "" where Pillow does not keep all of it; `bits` are of
    a channel, 32 for floats. `notes` are for a model of that many channels. `rule` is the version of the
    reading rule since which such a file is read as it is now."""

    mode: str
    bands: int
    bits: int
    is_turned: bool
    notes: frozenset[Note]
    rule: int = 1


class Planes(NamedTuple):
    """Planes of one size, upright: 8-bit images for files of 8 bits, else of floats; and what is white."""

    planes: list[Image.Image]
    white: float


def header(path: Path, channels: int, white: float | None) -> Header:
    """Look at a file without reading its pixels.

    Args:
        path: the image.
        channels: how many the model takes.
        white: the definition's `samples.white`.

    Raises `UnfitError` for what cannot be read, or does not fit that many channels.
    """
    try:
        with opened(path) as image:
            return _examined(path, image, channels, white)
    except UnfitError:
        raise
    except Exception as error:  # broken files make Pillow raise anything
        if not _is_foreign(path, error):
            raise unreadable(path, error) from error
    return _foreign(path, channels, white)


def pixels(path: Path, channels: int, white: float | None) -> Planes:
    """The pixels of a file, for a model of that many channels; `white` is the definition's `samples.white`.

    Raises `UnfitError` as `header` does.
    """
    try:
        with opened(path) as image:
            head = _examined(path, image, channels, white)
            turn = _orientation(image) if head.is_turned else 1
            if head.mode:
                return Planes(_planes(path, image, head, channels), white or _white(head.bits))
    except UnfitError:
        raise
    except Exception as error:  # as above
        if not _is_foreign(path, error):
            raise unreadable(path, error) from error
        head, turn = _foreign(path, channels, white), 1
    planes = _fitted(_finite(path, deep.upright(deep.read(path), turn)), channels)
    if planes.ndim != 3 or len(planes) != channels or not planes.size:
        raise UnfitError(f"{path}: does not hold the bands that it declares; fix or remove it")
    return Planes([Image.fromarray(plane) for plane in planes], white or _white(head.bits))


def opened(path: Path) -> ImageFile.ImageFile:
    """A file's header, as Pillow reads it. Raises whatever Pillow does."""
    # Pillow lists a format once it has loaded it, which it does for few before it is asked.
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]  # an older Pillow has no AVIF
    return Image.open(path, formats=formats)


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image whose header was taken, from its header alone."""
    try:
        with opened(path) as image:
            width, height = image.size
            lies = image.format != "TIFF" and _orientation(image) in _LYING
            return (height, width) if lies else (width, height)
    except UnidentifiedImageError:
        shape = deep.shape_of(path)
        return shape.width, shape.height


def _examined(path: Path, image: Image.Image, channels: int, white: float | None) -> Header:
    """The header of a file that Pillow opens."""
    check_size(image)
    mode, bits, bands = image.mode, _bits(path, image), deep.bands_of(image)
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a phone's gain map is no frame
    is_extra, is_cut = bands > len(image.getbands()), image.format == "AVIF" and bits > 8
    if image.format == "TIFF" and frames == channels > 1 == bands:
        mode, bands, frames = "", frames, 1  # bands as pages
    elif mode == "LAB" or (image.format in _STRANGE and bands > 1 and bits > 8):
        strange = _STRANGE[mode if mode == "LAB" else str(image.format)]
        raise UnfitError(f"{path}: is {strange}; save it as PNG or TIFF, in RGB or grey")
    elif is_cut:
        bits = 8
    elif (bits > 8 and bands > 1) or is_extra or deep.needs_tifffile(image):
        mode, bits = "", max(bits, deep.SIGNED_BITS if deep.is_signed(image) else 0)
    has_alpha = image.mode in _WITH_ALPHA or "transparency" in image.info
    is_turned = image.format != "TIFF" and _orientation(image) not in (0, 1)
    notes = {
        Note.TURNED: is_turned,
        Note.FRAMES: frames > 1,
        Note.CUT: is_cut,
        Note.EXTRA: is_extra and image.mode == "RGB" and bands != channels,
        Note.ALPHA: has_alpha and bands != channels,
        Note.INKS: mode == "CMYK" and channels != 4,
        Note.GREY: channels == 1 and (bands - has_alpha > 1 or mode == "P"),
    }
    is_anew = is_extra or deep.is_anew(image) or (bits > 8 and (is_turned or image.format == "JPEG2000"))
    held = _held(notes, bits, white)
    return _checked(path, Header(mode, bands, bits, is_turned, held, 1 + is_anew), channels, white)


def _orientation(image: Image.Image) -> int:
    """As EXIF says, which may hold anything."""
    told = image.getexif().get(ExifTags.Base.Orientation, 1)
    return told if isinstance(told, int) else 1


def _is_foreign(path: Path, error: Exception) -> bool:
    """Whether a file that Pillow does not open is a TIFF, as those of many bands are."""
    return isinstance(error, UnidentifiedImageError) and path.is_file() and deep.is_tiff(path)


def _foreign(path: Path, channels: int, white: float | None) -> Header:
    """The header of a TIFF file that Pillow does not open."""
    shape = deep.shape_of(path)
    notes = {
        Note.GREY: channels == 1 and shape.bands > 1,
        Note.EXTRA: shape.is_rgb and shape.bands > max(3, channels),
    }
    is_anew = notes[Note.EXTRA] or deep.is_packed(shape.bits)
    held = _held(notes, shape.bits, white)
    return _checked(path, Header("", shape.bands, shape.bits, False, held, 1 + is_anew), channels, white)


def _held(notes: dict[Note, bool], bits: int, white: float | None) -> frozenset[Note]:
    deep = {Note.DEEP} if bits > 8 and white is None else set()
    return frozenset(deep | {note for note, holds in notes.items() if holds})


def _checked(path: Path, head: Header, channels: int, white: float | None) -> Header:
    """The header, if its file fits the model."""
    if head.bits > 16 and white is None:
        raise UnfitError(
            f"{path}: holds {head.bits}-bit values, whose white is unknown: set samples.white (1.0 "
            "for values in 0..1)"
        )
    named = head.mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", *_WITH_ALPHA)
    left_out = not head.notes.isdisjoint((Note.ALPHA, Note.EXTRA))
    converts = channels in (1, 3) and (named or head.bands in (1, 3) or left_out)
    if head.bands != channels and not converts:
        raise UnfitError(
            f"{path}: has {head.bands} bands, but the model takes {channels}: name images with as many, or "
            "store samples as .npz"
        )
    return head


def _bits(path: Path, image: Image.Image) -> int:
    """Bits of a channel in the file; Pillow's mode says 8 for 16-bit colour."""
    if image.format == "PNG":
        with path.open("rb") as file:
            return max(8, file.read(_PNG_DEPTH + 1)[_PNG_DEPTH])
    if image.format == "JPEG2000":
        return 16 if deep.coded_bits(path) > 8 else 8  # Pillow scales grey to all 16
    if image.format == "AVIF":
        return deep.coded_bits(path)
    if image.format == "PPM":
        return 16 if image.mode == "I" or _largest(image) > _BYTE else 8
    if image.mode in ("I", "F"):
        return 32
    told = deep.coded_depth(image)
    return max(8, told or (16 if image.mode.startswith("I;16") else 8))


def _largest(image: Image.Image) -> int:
    """What is white in a PPM that Pillow has opened; it scales what it reads to all of its own bits."""
    told = vars(image)["tile"][0].args
    return told[-1] if isinstance(told, tuple) and isinstance(told[-1], int) else _BYTE


def _white(bits: int) -> float:
    return float(2**bits - 1)


def _planes(path: Path, image: ImageFile.ImageFile, head: Header, channels: int) -> list[Image.Image]:
    """Planes of a file that Pillow keeps whole."""
    image.filename = ""  # Pillow maps a file that has a name, and then garbles a TIFF that lies on its side
    image.load()
    upright = ImageOps.exif_transpose(image) if head.is_turned else image
    if head.bits > 8:
        plane = Image.fromarray(_finite(path, np.asarray(upright).astype(np.float32)))
        return [plane] * channels
    if head.bands == channels and head.mode in _AS_BANDS:
        return list(upright.split())
    wanted = "RGB" if channels == 3 else "L"
    return list((upright if head.mode == wanted else upright.convert(wanted)).split())


def _finite(path: Path, array: NDArray[Any]) -> NDArray[Any]:
    """The array. Raises `UnfitError` if it holds what is no number, as where a raster has no data."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UnfitError(f"{path}: holds NaN or infinity; fill those pixels")
    return array


def _fitted(array: NDArray[Any], channels: int) -> NDArray[np.float32]:
    """Bands [bands, h, w] as that many channels, float32: one repeated, alpha left out, colour made grey."""
    planes: NDArray[np.float32] = array.astype(np.float32)
    if len(planes) == channels:
        return planes
    if channels == 1:
        return planes[:1] if len(planes) < 3 else np.tensordot(_LUMA, planes[:3], 1)[None].astype(np.float32)
    return planes[:channels] if len(planes) > channels else np.repeat(planes[:1], channels, axis=0)


def check_size(image: Image.Image) -> None:
    """Refuse what is over Pillow's limit: turning its warning into an error would change filters that all
    threads share."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise Image.DecompressionBombError(
            f"{image.width} x {image.height} pixels could be a decompression bomb"
        )
