"""A real model to measure on: PaddleOCR's text detector (PP-OCRv4, trained), on drawn pages.

    pip install --no-deps rapidocr-onnxruntime==1.4.4     # its wheel holds the ONNX model (Apache-2.0)
    python scripts/models/text_detector.py
    autoprec search --study build/text_detector/text_detector.toml

Writes images of words in many sizes, colours and angles, and the study definition. The model gives the
probability that a pixel is text; masks are cut at 0.3, as in its own post-processing.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import string
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

ROOT = Path(__file__).resolve().parents[2]
MODEL = "models/ch_PP-OCRv4_det_infer.onnx"
SIDE = 320
DEFINITION = """
[model]
path = "model.onnx"
shapes = { x = [1, 3, 320, 320] }

[pipeline]
output = "sigmoid_0.tmp_0"

[samples]
calibration = "calibration"
evaluation = "evaluation"

[quality]
threshold = 0.3

[search]
precisions = ["fp32", "bf16", "int8", "int8+smooth+float-add+adaround+bias"]
reference = "fp32"
"""


def page(seed: int) -> Image.Image:
    """Draw words on a coloured background with soft noise."""
    random = np.random.default_rng(seed)
    ground = random.uniform(0, 255, 3)
    noise = random.normal(0, random.uniform(2, 25), (SIDE // 8, SIDE // 8, 3))
    coarse = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))
    image = coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    for _ in range(random.integers(3, 9)):
        size = int(random.uniform(12, 44))
        word = "".join(random.choice(list(string.ascii_letters + string.digits), random.integers(3, 10)))
        layer = Image.new("L", (SIDE, SIDE))
        place = tuple(random.uniform(0, SIDE * 0.75, 2))
        ImageDraw.Draw(layer).text(place, word, 255, font=ImageFont.load_default(size))
        layer = layer.rotate(random.uniform(-20, 20), Image.Resampling.BICUBIC)
        colour = tuple(int(c) for c in (ground + random.choice([-1, 1]) * random.uniform(60, 160, 3)) % 256)
        image.paste(Image.new("RGB", (SIDE, SIDE), colour), mask=layer)
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.8)))


def main() -> None:
    """Copy the model, draw the pages, write the definition."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="default: the installed rapidocr-onnxruntime's")
    parser.add_argument("--folder", type=Path, default=ROOT / "build/text_detector")
    options = parser.parse_args()
    model = options.model
    if model is None:
        spec = importlib.util.find_spec("rapidocr_onnxruntime")
        if spec is None or spec.origin is None:
            raise SystemExit("pip install --no-deps rapidocr-onnxruntime==1.4.4, or give --model")
        model = Path(spec.origin).parent / MODEL
    for name, first, count in (("calibration", 0, 64), ("evaluation", 1000, 48)):
        folder = options.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            page(first + number).save(folder / f"{number:03}.jpg", quality=90)
    shutil.copyfile(model, options.folder / "model.onnx")
    (options.folder / "text_detector.toml").write_text(DEFINITION.lstrip(), encoding="utf-8")
    print(options.folder / "text_detector.toml")


if __name__ == "__main__":
    main()
