"""What every environment needs: pictures of shapes, arrays of them, an error in one line."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, which `autoprec init` guesses."""
COUNT = 8
_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def draw(folder: Path, seed: int, size: int = 128) -> Path:
    """Write `COUNT` pictures, the same for each seed; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(COUNT):
        ramp = np.linspace(random.uniform(0, 255, 3), random.uniform(0, 255, 3), size)
        noise = random.normal(0, 8, (size, size, 3))
        picture = Image.fromarray(np.clip(ramp[None] + noise, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(picture)
        for shape in (pen.ellipse, pen.rectangle, pen.ellipse):
            corner, extent = random.uniform(0, 0.7 * size, 2), random.uniform(0.1 * size, 0.5 * size, 2)
            shape([*corner, *(corner + extent)], fill=tuple(random.integers(0, 255, 3).tolist()))
        _keep(picture, folder / f"{number}.png")
    return folder


def _keep(picture: Image.Image, path: Path) -> None:
    """Save a picture atomically: other processes of the proof may share the folder."""
    if path.is_file():
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".png", delete=False) as file:
        picture.save(file)
    Path(file.name).replace(path)


def arrays(folder: Path, size: int) -> NDArray[np.float32]:
    """The pictures of a folder as FP32 [count, 3, size, size], normalised by `MEAN` and `STD`."""
    images: list[NDArray[Any]] = []
    for path in sorted(folder.glob("*.png")):
        pixels = np.asarray(Image.open(path).convert("RGB").resize((size, size)), np.float32) / 255
        images.append(((pixels - MEAN) / STD).transpose(2, 0, 1))
    return np.stack(images).astype(np.float32)


def in_a_line(error: Exception) -> str:
    """A maker's error as one line of at most 120 characters, without terminal colours."""
    line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {_COLOUR.sub('', line)}"[:120]
