"""How `predict.py` writes masks as one image, by the metric that the study compared them with."""

from typing import Any

import numpy as np
from PIL import Image


def picture(logits: np.ndarray, recipe: "dict[str, Any]") -> Image.Image:
    """Mask logits [masks, height, width] as an image: opacities, a mask in white, or numbers as colours."""
    metric = recipe["metric"]
    if metric == "alpha_mae":
        return opacities(logits[0], is_matte=logits.min() >= -0.25 and logits.max() <= 1.25)
    if metric == "argmax_iou":
        return coloured(logits.argmax(axis=0))
    if metric == "label_iou":
        return coloured(np.rint(logits[0]))
    masks = logits > recipe["threshold"]
    if len(masks) == 1:
        return Image.fromarray(np.where(masks[0], 255, 0).astype(np.uint8))
    # Where masks lie over one another, the surest is in front.
    return coloured(np.where(masks.any(axis=0), 1 + np.where(masks, logits, -np.inf).argmax(axis=0), 0))


def opacities(values: np.ndarray, *, is_matte: bool) -> Image.Image:
    """A matte [h, w] in grey; logits become one by their sigmoid."""
    # Clipped, or the exponential of a large logit would overflow, of which NumPy warns.
    alpha = values if is_matte else 1 / (1 + np.exp(-np.clip(values, -60, 60)))
    return Image.fromarray(np.rint(255 * alpha.clip(0, 1)).astype(np.uint8))


def coloured(numbers: np.ndarray) -> Image.Image:
    """Numbers [h, w] as a palette image: each its own colour, 0 black."""
    # A palette has no more than 256 colours.
    image = Image.fromarray(numbers.clip(0, 255).astype(np.uint8), "P")
    colours = [(number, part) for number in range(256) for part in range(3)]
    # As PASCAL VOC: bits of the number, in turn, are the high bits of red, green and blue.
    image.putpalette([sum((n >> (3 * bit + p) & 1) << (7 - bit) for bit in range(3)) for n, p in colours])
    return image
