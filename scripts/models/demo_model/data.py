"""The committed images: calibration and evaluation scenes with their prompts, as ordinary files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from demo_model.prompts import Prompts, draw_prompts
from demo_model.scenes import Dice, draw_scenes

IMAGES = 64
SEEDS = {"calibration": 20_001, "evaluation": 30_001}  # far from the seeds of training


def _rows(prompts: Prompts, scale: int) -> list[dict[str, object]]:
    """Four prompts of one scene as JSON rows, in pixels of the enlarged image."""
    coords = prompts.coords[0] * scale + (scale - 1) / 2
    return [
        {
            "point_coords": [[round(float(v), 1) for v in point] for point in coords[q]],
            "point_labels": [int(v) for v in prompts.labels[0, q]],
            "object": int(prompts.objects[0, q]),
        }
        for q in range(prompts.coords.shape[1])
    ]


def _enlarged(image: Tensor, scale: int) -> Tensor:
    return image if scale == 1 else F.interpolate(image, scale_factor=scale, mode="bilinear").clamp(0, 1)


def _save_image(image: Tensor, path: Path) -> None:
    pixels = (image[0].permute(1, 2, 0).numpy() * 255.0).round().astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=90, subsampling=0)


def write_data(folder: Path, count: int = IMAGES, scale: int = 1) -> None:
    """Draw both sets, leaving out scenes with few objects.

    Args:
        folder: receives both sets.
        count: number of images in each.
        scale: factor by which images are enlarged.
    """
    for name, seed in SEEDS.items():
        root = folder / name
        (root / "images").mkdir(parents=True, exist_ok=True)
        if name == "evaluation":
            (root / "masks").mkdir(exist_ok=True)
        # On the CPU, where every machine draws the same.
        dice, listed = Dice(seed, "cpu"), dict[str, Any]()
        while len(listed) < count:
            image, label = draw_scenes(1, dice)
            prompts = draw_prompts(label, dice)
            if not bool(prompts.valid.all()):
                continue
            stem = f"{len(listed):03d}"
            _save_image(_enlarged(image, scale), root / "images" / f"{stem}.jpg")
            if name == "evaluation":
                Image.fromarray(label[0].numpy()).save(root / "masks" / f"{stem}.png", optimize=True)
            listed[f"{stem}.jpg"] = _rows(prompts, scale)
        rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in listed.items())
        (root / "prompts.json").write_text("{\n" + rows + "\n}\n")
