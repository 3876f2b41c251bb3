"""Prompts for drawn scenes: a point inside the visible part of an object, or the box around it."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

from demo_model.encoder import IMAGE_SIZE
from demo_model.scenes import OBJECTS, Dice

SMALLEST_AREA = 250  # visible pixels that an object needs to be prompted for


@dataclasses.dataclass(frozen=True, slots=True)
class Prompts:
    """Q prompts for each of B scenes, in pixels, and their masks."""

    coords: Tensor  # [B, Q, 2, 2]
    labels: Tensor  # [B, Q, 2]: 1 -1 a point, 1 0 a point and one outside, 2 3 a box
    objects: Tensor  # [B, Q] label index
    valid: Tensor  # [B, Q] whether enough of the object is seen
    masks: Tensor  # [B, Q, H, W] bool


def _pick(weight: Tensor) -> Tensor:
    """Position [B, Q, 2] of the largest weight, x first; weights are given for every second pixel."""
    index, width = weight.flatten(2).argmax(dim=2), weight.shape[3]
    return 2.0 * torch.stack([index % width, index // width], dim=-1).float()


def _boxes(masks: Tensor, dice: Dice) -> Tensor:
    """Corner points [B, Q, 2, 2] of the boxes, off by a few percent as a hand would be."""
    edges = []
    for axis in (2, 3):
        seen = masks.any(dim=axis).float()  # over rows: which columns are seen
        first = seen.argmax(dim=2)
        last = IMAGE_SIZE - 1 - seen.flip(2).argmax(dim=2)
        edges.append(torch.stack([first, last], dim=-1).float())
    corners = torch.stack(edges, dim=-1)  # [B, Q, first or last, x or y]
    size = corners[:, :, 1:] - corners[:, :, :1]
    jitter = dice.normal(*corners.shape) * 0.03 * size
    return (corners + jitter).clamp(0.0, IMAGE_SIZE - 1.0)


def draw_prompts(label: Tensor, dice: Dice, *, each: int = 4, outside: float = 0.0) -> Prompts:
    """Prompt for `each` visible objects of a scene, half of them by box.

    Args:
        label: [B, H, W] of object numbers, 0 for background.
        dice: draws the prompts.
        each: prompts per scene.
        outside: share of point prompts that come with a background point.
    """
    count = label.shape[0]
    indices = torch.arange(1, OBJECTS + 1, device=label.device)
    areas = (label[:, None].flatten(2) == indices[None, :, None]).sum(dim=2)
    large = areas >= SMALLEST_AREA
    chosen = (dice.uniform(count, OBJECTS) + large).topk(each, dim=1).indices
    objects = indices[chosen]
    masks = label[:, None] == objects[:, :, None, None]
    sparse = masks[:, :, ::2, ::2].float()
    inner = -F.max_pool2d(-sparse, 3, 1, 1)
    noise = dice.uniform(*sparse.shape, low=0.01)
    point = _pick(noise * (sparse + inner))  # inner pixels weigh double
    other = _pick(noise * (1.0 - sparse))
    chance = dice.uniform(count, each)
    with_other = chance < 0.5 * outside
    second = torch.where(with_other[..., None], other, torch.zeros_like(other))
    coords = torch.stack([point, second], dim=2)
    minus, plus = torch.full_like(objects, -1), torch.ones_like(objects)
    labels = torch.stack([plus, torch.where(with_other, torch.zeros_like(plus), minus)], dim=2)
    boxed = (chance >= 0.5)[:, :, None]
    labels = torch.where(boxed, torch.stack([2 * plus, 3 * plus], dim=2), labels)
    coords = torch.where(boxed[..., None], _boxes(masks, dice), coords)
    return Prompts(coords, labels, objects, large.gather(1, chosen), masks)
