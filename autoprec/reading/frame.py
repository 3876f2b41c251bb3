"""Which of a model's inputs is an image, and how its axes are ordered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

_MOST_CHANNELS = 16
"""More is no image, unless the definition names that many means."""


class Frame(NamedTuple):
    """An image input: its name, layout and sizes."""

    name: str
    layout: Literal["nchw", "nhwc"]
    channels: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


def frame_of(inputs: Mapping[str, Sequence[int]], name: str = "", channels: int = 3) -> Frame | None:
    """The image input of that name, or the first one that may be an image; None if there is none.

    Args:
        inputs: name to shape.
        name: the definition's `samples.input`; "" leaves it open.
        channels: how many the definition has means for; decides between the two layouts.
    """
    named = {name: inputs[name]} if name in inputs else inputs
    for each, shape in named.items():
        if len(shape) != 4:
            continue
        _, second, third, last = shape
        if second == channels:
            return Frame(each, "nchw", second, third, last)
        if last == channels:
            return Frame(each, "nhwc", last, second, third)
        # Channels in front are the usual order, where the definition's means fit neither axis.
        if second <= _MOST_CHANNELS:
            return Frame(each, "nchw", second, third, last)
        if last <= _MOST_CHANNELS:
            return Frame(each, "nhwc", last, second, third)
    return None
