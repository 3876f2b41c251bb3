"""Image files that Pillow would cut to 8 bits, or does not open: 16-bit colour, and TIFF of many bands.

Read by imagecodecs and tifffile, which are imported when the first such file comes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoprec.errors import SamplesError

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ERRORS = (OSError, ValueError, RuntimeError, IndexError, KeyError, TypeError, AttributeError)
"""What tifffile raises for files that are none of its."""


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
    except _ERRORS as error:
        raise SamplesError(f"{path}: cannot be read as an image ({error}); mend or remove it") from error


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
            found = np.asarray(series.asarray())
            if found.ndim == 2:
                return found[None]
            return np.moveaxis(found, -1, 0) if series.axes.endswith("S") else found
    except _ERRORS as error:
        raise SamplesError(f"{path}: cannot be read as an image ({error}); mend or remove it") from error


def _banded(path: Path, shape: tuple[int, ...], axes: str) -> tuple[int, int, int]:
    """Sizes with the bands first; pages of one size count as bands."""
    if len(shape) == 2:
        return 1, *shape
    if len(shape) != 3:
        raise SamplesError(f"{path}: holds an array {list(shape)}, not one image; store it as .npz")
    return (shape[2], *shape[:2]) if axes.endswith("S") else (shape[0], *shape[1:])


def _module(name: str, path: Path) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SamplesError(
            f"{path}: has more bits or bands than Pillow keeps: pip install {name}, or store it as .npz"
        ) from error
