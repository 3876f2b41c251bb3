"""Arrays as they are fed: finite numbers, in the type of the input that takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UnfitError

_NUMBERS = "fiub"


def numbers(where: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array if it holds finite numbers, else `UnfitError`; floats come as float32."""
    if array.dtype.kind not in _NUMBERS:
        raise UnfitError(f"{where}: {name!r} holds {array.dtype}, not numbers; store it without pickling")
    if array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # refused below
        single = array.astype(np.float32, copy=False)
    if not np.isfinite(single).all():
        raise UnfitError(
            f"{where}: {name!r} holds NaN or infinity, or more than float32 does; fix or remove it"
        )
    return single


def refuse_cut(where: str, name: str, array: NDArray[Any], kind: np.dtype[Any]) -> None:
    """Raise `UnfitError` for values that an input of whole numbers would cut.

    Args:
        where: the sample is from; begins the message.
        name: the input's.
        array: what it is fed.
        kind: its type.
    """
    if kind.kind not in "iu" or not array.size:
        return
    low, high, limits = array.min(), array.max(), np.iinfo(kind)
    if low < limits.min or high > limits.max or not np.array_equal(array, np.rint(array)):
        raise UnfitError(
            f"{where}: {name!r} is {low:g} to {high:g}, which the model's {kind} would cut: feed "
            "whole numbers of that type (for images: mean = 0 and std = 1/255, as 0.00392156862745098)"
        )


def typed(array: NDArray[Any], kind: np.dtype[Any]) -> NDArray[Any]:
    """The array in the type of an input; whole numbers are the nearest, not those below."""
    return (np.rint(array) if kind.kind in "iu" else array).astype(kind, copy=False)
