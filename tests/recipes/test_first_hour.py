"""A newcomer on a model of each family types what the guides say, up to the mask of an image."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import families
from command_line import autoprec

Model = Callable[[Path], tuple[Path, Path | None]]
POINT = '{"point_coords": [[5, 6], [30, 20]], "point_labels": [1, 0]}'
FAMILIES: dict[str, Model] = {
    "efficientvit-sam": lambda at: (families.encoder(at / "e.onnx"), families.batched_decoder(at / "d.onnx")),
    "sam": lambda at: (families.encoder(at / "e.onnx"), families.single_decoder(at / "d.onnx")),
    "mobilesam": lambda at: (families.encoder(at / "e.onnx"), families.single_decoder(at / "d.onnx")),
    "sam2-image": families.sam2,
    "yolo-seg": lambda at: (families.yolo(at / "m.onnx"), None),
    "unet": lambda at: (families.segmenter(at / "m.onnx", ""), None),
}


@pytest.mark.campaign
@pytest.mark.parametrize("recipe", FAMILIES)
def test_a_family_goes_from_init_to_the_mask_of_an_image(recipe: str, tmp_path: Path) -> None:
    model, decoder = FAMILIES[recipe](tmp_path)
    prompts = [{"point_coords": [[5, 6], [30, 20]], "point_labels": [1, 0]}] if decoder else []
    for seed, name in enumerate(("a", "b")):
        families.images(tmp_path / "images" / name, 8, seed, prompts)
    behind = ("--decoder", str(decoder)) if decoder else ()
    sets = ("--calibration", "images/a", "--evaluation", "images/b")
    for words in (
        ("init", str(model), *behind, "--recipe", recipe, *sets),
        ("blocks",),
        ("search", "--budget", "3"),
        ("front",),
        ("report", "--no-pictures"),
        ("export", "shipped", "--pick", "fastest", "--max-loss", "1"),
        ("verify", "shipped"),
    ):
        ran = autoprec(*words, folder=tmp_path)
        assert ran.returncode == 0, (words, ran.stdout, ran.stderr)
    photo = next((tmp_path / "images" / "b" / "images").iterdir())
    command = [sys.executable, "-I", "shipped/predict.py", str(photo), "--output", "mask.png"]
    # As typed, and as `prompts.json` beside the image has it.
    for asked in (["--prompt", POINT], []) if decoder else ([],):
        subprocess.run([*command, *asked], cwd=tmp_path, check=True, timeout=120)
        with Image.open(tmp_path / "mask.png") as mask:
            assert mask.size == (40, 24)
    readme = (tmp_path / "shipped" / "README.md").read_text()
    assert ("predict.py photo.jpg --prompt" in readme) == (decoder is not None)
