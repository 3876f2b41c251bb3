"""Images to calibrate and to score on: crops of photos from wheels, and drawn pages of words."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from text_detector import page

PHOTO_WHEELS = ("scikit-image==0.26.0", "scikit-learn==1.9.1", "gradio==6.31.0")
PHOTOS = {
    "calibration": (
        "skimage/data/chelsea.png",
        "skimage/data/motorcycle_left.png",
        "skimage/data/rocket.jpg",
        "sklearn/datasets/images/china.jpg",
        "gradio/media_assets/images/cheetah1.jpg",
    ),
    "evaluation": (
        "skimage/data/astronaut.png",
        "skimage/data/coffee.png",
        "sklearn/datasets/images/flower.jpg",
        "gradio/media_assets/images/cheetah.jpg",
        "gradio/media_assets/images/groot.jpeg",
        "gradio/media_assets/images/tower.jpg",
    ),
}
CROPS = 8
"""Crops of each photo, of random size and place, every other one mirrored. No photo is in both sets."""
PAGES = {"calibration": (0, 40), "evaluation": (1000, 48)}
"""First seed and number of the drawn pages."""


def photos(wheels: list[Path], kind: str, side: int) -> Iterator[Image.Image]:
    """Crops [side, side] of the photos of one set."""
    random = np.random.default_rng(["calibration", "evaluation"].index(kind))
    for name in PHOTOS[kind]:
        image = _read(wheels, name).convert("RGB")
        for number in range(CROPS):
            part = random.uniform(0.6, 1.0) * min(image.size)
            left, top = (random.uniform(0, length - part) for length in image.size)
            crop = image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + part, top + part))
            yield crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if number % 2 else crop


def pages(kind: str) -> Iterator[Image.Image]:
    """Drawn pages [320, 320] of one set."""
    first, count = PAGES[kind]
    return (page(seed) for seed in range(first, first + count))


def _read(wheels: list[Path], name: str) -> Image.Image:
    """An image in one of the wheels."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            if name in archive.namelist():
                return Image.open(io.BytesIO(archive.read(name)))
    raise SystemExit(f"{name} is in none of {', '.join(wheel.name for wheel in wheels)}")
