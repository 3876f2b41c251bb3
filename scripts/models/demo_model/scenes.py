"""Random scenes with known objects, drawn as batched tensors on any device.

A scene is a textured background and painted objects (blobs, polygons, stars) that hide one another, under
uneven light, a little blurred, with sensor noise. Labels are exact: the object seen at each pixel.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from demo_model.encoder import IMAGE_SIZE

OBJECTS = 7
HARMONICS = 4
TEXTURE_GRID = 32
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Dice:
    """Random tensors of one seeded generator on one device."""

    def __init__(self, seed: int, device: str) -> None:
        self.generator = torch.Generator(device).manual_seed(seed)
        self.device = device

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw from [low, high)."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def whole(self, *shape: int, low: int = 0, high: int) -> Tensor:
        """Draw whole numbers from low to high - 1, as floats."""
        return self.uniform(*shape, low=low, high=high).floor()

    def normal(self, *shape: int) -> Tensor:
        """Draw from the standard normal distribution."""
        return torch.randn(shape, generator=self.generator, device=self.device)


@dataclasses.dataclass(frozen=True, slots=True)
class Objects:
    """Parameters of the objects of B scenes; index 0 of `colour` to `noise` is the background."""

    centre: Tensor  # [B, N, 2] pixels
    radius: Tensor  # [B, N] pixels
    aspect: Tensor  # [B, N]
    turn: Tensor  # [B, N] radians
    shape: Tensor  # [B, N] 0 blob, 1 polygon, 2 star
    sides: Tensor  # [B, N]
    waves: Tensor  # [B, N, HARMONICS]
    phases: Tensor  # [B, N, HARMONICS]
    colour: Tensor  # [B, N + 1, 3]
    contrast: Tensor  # [B, N + 1, 3]
    kind: Tensor  # [B, N + 1] which texture
    wave: Tensor  # [B, N + 1, 3] angle, frequency, phase of the texture
    noise: Tensor  # [B, N + 1, TEXTURE_GRID, TEXTURE_GRID]


def draw_objects(count: int, dice: Dice) -> Objects:
    """Draw the parameters of `count` scenes."""
    b, n = count, OBJECTS
    return Objects(
        centre=dice.uniform(b, n, 2, low=0.08, high=0.92) * IMAGE_SIZE,
        radius=torch.exp(dice.uniform(b, n, low=math.log(15.0), high=math.log(68.0))),
        aspect=dice.uniform(b, n, low=0.5, high=1.0),
        turn=dice.uniform(b, n, high=2 * math.pi),
        shape=dice.whole(b, n, high=3),
        sides=dice.whole(b, n, low=3, high=8),
        waves=dice.uniform(b, n, HARMONICS, low=-0.16, high=0.16),
        phases=dice.uniform(b, n, HARMONICS, high=2 * math.pi),
        colour=dice.uniform(b, n + 1, 3, low=0.05, high=0.95),
        contrast=dice.normal(b, n + 1, 3) * dice.uniform(b, n + 1, 1, low=0.02, high=0.16),
        kind=dice.whole(b, n + 1, high=6),
        wave=torch.stack(
            [
                dice.uniform(b, n + 1, high=math.pi),
                torch.exp(dice.uniform(b, n + 1, low=math.log(0.05), high=math.log(0.8))),
                dice.uniform(b, n + 1, high=2 * math.pi),
            ],
            dim=-1,
        ),
        noise=dice.normal(b, n + 1, TEXTURE_GRID, TEXTURE_GRID),
    )


def _column(x: Tensor) -> Tensor:
    return x[:, None, None]


def _texture(objects: Objects, index: int, noise: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Colour [B, 3, H, W] of one texture: noise, gradient, stripes, checks, rings or dots on a colour."""
    angle, frequency, phase = (_column(objects.wave[:, index, i]) for i in range(3))
    u = (x * torch.cos(angle) + y * torch.sin(angle)) * frequency + phase
    v = (y * torch.cos(angle) - x * torch.sin(angle)) * frequency
    distance = torch.sqrt((x - 128.0) ** 2 + (y - 128.0) ** 2 + 1.0)
    kind = _column(objects.kind[:, index])
    pattern = torch.where(kind == 0, noise, torch.sin(0.04 * u / frequency))
    pattern = torch.where(kind == 2, torch.sin(u), pattern)
    pattern = torch.where(kind == 3, torch.sign(torch.sin(u) * torch.sin(v)), pattern)
    pattern = torch.where(kind == 4, torch.sin(distance * frequency + phase), pattern)
    pattern = torch.where(kind == 5, 2.0 * (torch.sin(u) * torch.sin(v) > 0.5).float() - 0.5, pattern)
    colour, contrast = objects.colour[:, index, :, None, None], objects.contrast[:, index, :, None, None]
    return colour + contrast * pattern[:, None]


def _outline(objects: Objects, i: int, x: Tensor, y: Tensor) -> Tensor:
    """Signed distance-like value of object i: positive inside, in pixels near the outline."""
    turn = _column(objects.turn[:, i])
    dx, dy = x - _column(objects.centre[:, i, 0]), y - _column(objects.centre[:, i, 1])
    along = dx * torch.cos(turn) + dy * torch.sin(turn)
    across = (dy * torch.cos(turn) - dx * torch.sin(turn)) / _column(objects.aspect[:, i])
    distance, angle = torch.sqrt(along**2 + across**2 + 1e-6), torch.atan2(across, along)
    blob = torch.ones_like(angle)
    for k in range(HARMONICS):
        blob = blob + _column(objects.waves[:, i, k]) * torch.cos(
            (k + 2) * angle + _column(objects.phases[:, i, k])
        )
    sides, shape = _column(objects.sides[:, i]), _column(objects.shape[:, i])
    part = torch.remainder(angle, 2 * math.pi / sides) - math.pi / sides
    polygon = torch.cos(math.pi / sides) / torch.cos(part)
    star = 0.55 + 0.45 * torch.abs(part) * sides / math.pi
    reach = torch.where(shape == 0, blob, torch.where(shape == 1, polygon, star))
    return _column(objects.radius[:, i]) * reach - distance


def paint(objects: Objects, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Paint back to front: images [B, 3, H, W] and labels [B, H, W]. Elementwise, for one kernel."""
    steps = torch.arange(IMAGE_SIZE, device=noise.device, dtype=torch.float32)
    x, y = steps[None, None, :], steps[None, :, None]
    image = _texture(objects, 0, noise[:, 0], x, y)
    label = torch.zeros_like(noise[:, 0], dtype=torch.uint8)
    for i in range(OBJECTS):
        inside = _outline(objects, i, x, y)
        cover = torch.clamp(inside + 0.5, 0.0, 1.0)[:, None]
        image = image + cover * (_texture(objects, i + 1, noise[:, i + 1], x, y) - image)
        label = torch.where(inside > 0.0, i + 1, label).to(torch.uint8)
    return image, label


def draw_scenes(
    count: int, dice: Dice, painter: Callable[[Objects, Tensor], tuple[Tensor, Tensor]] = paint
) -> tuple[Tensor, Tensor]:
    """Draw images in [0, 1], already rounded to 8 bits, and labels."""
    objects = draw_objects(count, dice)
    noise = F.interpolate(objects.noise, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bilinear")
    image, label = painter(objects, noise)
    light = dice.uniform(count, 1, 3, 3, low=0.75, high=1.2)
    image = image * F.interpolate(light, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bicubic")
    blurred = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), 3, 1)
    image = image + dice.uniform(count, 1, 1, 1, low=-0.3, high=0.7).clamp(min=0.0) * (blurred - image)
    image = image + dice.uniform(count, 1, 1, 1, high=0.035) * dice.normal(count, 3, IMAGE_SIZE, IMAGE_SIZE)
    return (image.clamp(0.0, 1.0) * 255.0).round() / 255.0, label


def normalise(image: Tensor) -> Tensor:
    """From [0, 1] to the network's input."""
    mean, std = (torch.tensor(values, device=image.device).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    return (image - mean) / std
