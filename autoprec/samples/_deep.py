"""Image files that Pillow would cut to 8 bits, or does not open: 16-bit colour, and TIFF of many bands.

Read by imagecodecs and tifffile, which are imported when the first such file comes.
"""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_VALUES = 1 << 29
"""More, in all bands together, would fill the memory."""


def is_tiff(path: Path) -> bool:
    """Whether a file begins as a TIFF does."""
    with path.open("rb") as file:
        return file.read(4) in _TIFF


def shape_of(path: Path) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """(bands, height, width) and type of a TIFF file, without its pixels.

    Raises `SamplesError` for a file that cannot be read as one image.
    """
    try:
        with _module("tifffile", path).TiffFile(path) as file:
            series = file.series[0]
            return _banded(path, tuple(map(int, series.shape)), series.axes), np.dtype(series.dtype)
    except SamplesError:
        raise
    except Exception as error:  # broken files make tifffile and imagecodecs raise anything
        raise SamplesError(f"{path}: cannot be read as an image ({error}); fix or remove it") from error


def read(path: Path) -> NDArray[Any]:
    """All bands [bands, height, width] of a PNG or TIFF file, in the file's own type.

    Raises `SamplesError` for a file that cannot be read.
    """
    try:
        if not is_tiff(path):
            array = np.asarray(_module("imagecodecs", path).png_decode(path.read_bytes()))
            return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
        with _module("tifffile", path).TiffFile(path) as file:
            series = file.series[0]
            _banded(path, tuple(map(int, series.shape)), series.axes)
            found = np.asarray(series.asarray())
            if found.ndim == 2:
                return found[None]
            return np.moveaxis(found, -1, 0) if series.axes.endswith("S") else found
    except SamplesError:
        raise
    except Exception as error:  # broken files make tifffile and imagecodecs raise anything
        raise SamplesError(f"{path}: cannot be read as an image ({error}); fix or remove it") from error


def _banded(path: Path, shape: tuple[int, ...], axes: str) -> tuple[int, int, int]:
    """Sizes with the bands first; pages of one size count as bands."""
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise SamplesError(f"{path}: holds an array {list(shape)}, not one image; store it as .npz")
    if math.prod(shape) > _MOST_VALUES:
        raise SamplesError(f"{path}: claims {list(shape)} values, which could be a decompression bomb")
    bands, height, width = (1, *shape) if len(shape) == 2 else shape
    return (width, bands, height) if len(shape) == 3 and axes.endswith("S") else (bands, height, width)


def _module(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SamplesError(
            f"{path}: has more bits or bands than Pillow keeps: pip install {name}, or store it as .npz"
        ) from error
