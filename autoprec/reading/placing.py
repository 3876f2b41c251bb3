"""Where an image goes in the model's frame, and the points and true masks with it."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Resize = Literal["stretch", "pad", "letterbox"]
"""`stretch` fills the frame; `pad` keeps the form and leaves the right or the bottom empty, as SAM does;
`letterbox` puts the image in the middle, as YOLO does."""


class Placement(NamedTuple):
    """Left and top of the image in the frame, and its sizes there, in pixels; `frame` is (height, width)."""

    left: int
    top: int
    width: int
    height: int
    frame: tuple[int, int]

    @classmethod
    def of(cls, size: tuple[int, int], frame: tuple[int, int], how: Resize) -> Placement:
        """The placement of an image of (width, height)."""
        if how == "stretch":
            return cls(0, 0, frame[1], frame[0], frame)
        scale = min(frame[1] / size[0], frame[0] / size[1])
        width = min(frame[1], max(1, round(size[0] * scale)))
        height = min(frame[0], max(1, round(size[1] * scale)))
        if how == "pad":
            return cls(0, 0, width, height, frame)
        return cls((frame[1] - width) // 2, (frame[0] - height) // 2, width, height, frame)

    @property
    def is_full(self) -> bool:
        """Whether the image fills the frame."""
        return (self.height, self.width) == self.frame

    def points(self, pairs: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """x, y pairs [..., 2 n] in pixels of an image of (width, height), in pixels of the frame."""
        scale = np.array((self.width / size[0], self.height / size[1]), np.float32)
        moved = pairs.reshape(-1, 2) * scale + np.array((self.left, self.top), np.float32)
        return moved.reshape(pairs.shape).astype(np.float32)

    def masks(self, truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Masks [..., h, w] of the image, with the frame around them."""
        if self.is_full:
            return truth
        height, width = truth.shape[-2:]
        tall = round(height * self.frame[0] / self.height)
        wide = round(width * self.frame[1] / self.width)
        top, left = round(height * self.top / self.height), round(width * self.left / self.width)
        framed = np.zeros((*truth.shape[:-2], max(tall, top + height), max(wide, left + width)), np.bool_)
        framed[..., top : top + height, left : left + width] = truth
        return framed
