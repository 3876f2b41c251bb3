"""`predict.py` takes an image as a stranger has it, and gives masks of its size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autoprec.exporters import write_export
from autoprec.reading.prompts import best
from autoprec.records import Preprocessing
from tiny_export import RECIPE, export_of

HALVES = np.where(np.arange(16)[None, :] < 8, 255, 0).astype(np.uint8).repeat(16, 0)


def exported(folder: Path, resize: str = "stretch", **recipe: Any) -> Path:
    """A Relu that gives an image's own planes as masks, with pixels from -1 to 1."""
    how = Preprocessing(input="", size=None, resize=resize, mean=(0.5,) * 3, std=(0.5,) * 3)
    changed = msgspec.structs.replace(RECIPE, preprocessing=how, **recipe)
    write_export(msgspec.structs.replace(export_of(folder / "study"), recipe=changed), folder / "out")
    return folder / "out"


def predict(folder: Path, *words: str, flags: str = "-I") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, flags, str(folder / "predict.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def masks_of(folder: Path, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The written image of what is predicted for one."""
    photo, output = folder / "photo.png", folder / "mask.png"
    Image.fromarray(pixels).save(photo)
    ran = predict(folder, str(photo), "--output", str(output))
    assert ran.returncode == 0, ran.stderr
    return np.asarray(Image.open(output))


@pytest.mark.parametrize("resize", ["stretch", "pad", "letterbox"])
def test_masks_lie_where_they_are_in_the_image(resize: str, tmp_path: Path) -> None:
    wide = HALVES.repeat(2, axis=1)  # 32 x 16: its left half is above the threshold
    masks = masks_of(exported(tmp_path, resize, threshold=0.5), wide)
    np.testing.assert_array_equal(masks[:, :12], 1)
    np.testing.assert_array_equal(masks[:, 20:], 0)


def test_a_matte_is_written_as_opacities(tmp_path: Path) -> None:
    masks = masks_of(exported(tmp_path, metric="alpha_mae"), HALVES)
    assert masks.shape == (16, 16)
    assert (masks[0, 0], masks[0, -1]) == (255, 0)


def test_classes_are_written_as_their_numbers(tmp_path: Path) -> None:
    planes = np.stack([HALVES, 255 - HALVES, 0 * HALVES], axis=-1)
    masks = masks_of(exported(tmp_path, metric="argmax_iou"), planes)
    assert (masks[0, 0], masks[0, -1]) == (0, 1)


def test_of_several_masks_of_a_prompt_the_best_is_kept() -> None:
    masks = np.arange(6.0).reshape(6, 1, 1)
    assert best(masks, np.array([[0.1, 0.9, 0.2], [0.7, 0.1, 0.3]])).ravel().tolist() == [1, 3]
    assert len(best(masks, None)) == 6


@pytest.mark.parametrize("script", ["predict.py", "verify.py"])
def test_an_export_runs_on_python_3_10(script: str, tmp_path: Path) -> None:
    folder = exported(tmp_path)
    Image.fromarray(HALVES).convert("RGB").save(tmp_path / "photo.png")
    words = [str(folder / script), *([str(tmp_path / "photo.png")] if script == "predict.py" else [])]
    code = f"""if True:
        import enum, hashlib, runpy, sys, types
        import numpy, openvino, PIL.Image
        del enum.StrEnum, hashlib.file_digest
        sys.flags = types.SimpleNamespace(isolated=1, optimize=0, dont_write_bytecode=1, verbose=0)
        sys.argv = {words!r}
        runpy.run_path(sys.argv[0], run_name="__main__")"""
    ran = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "Error" not in ran.stderr
    assert ran.stdout


def test_what_is_not_installed_is_one_line(tmp_path: Path) -> None:
    ran = predict(exported(tmp_path), "photo.png", flags="-IS")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "predict.py: numpy is not installed: pip install openvino numpy pillow\n"


@pytest.mark.parametrize("name", ["none.png", "text.png"])
def test_what_is_no_image_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("words")
    ran = predict(exported(tmp_path), str(tmp_path / name))
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)


def test_what_an_engine_says_of_a_manifest_steers_no_terminal(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["input_shapes"]:
        entry[1][0] = "\x1b[2J"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    Image.fromarray(HALVES).save(folder / "photo.png")
    ran = predict(folder, str(folder / "photo.png"))
    assert (ran.returncode, "\x1b" in ran.stderr, "x1b[2J" in ran.stderr) == (2, False, True), ran.stderr


@pytest.mark.parametrize("place", [0, 90, -30])
def test_what_is_no_archive_is_one_line(place: int, tmp_path: Path) -> None:
    folder = exported(tmp_path)
    content = bytearray((folder / "examples" / "00.npz").read_bytes())
    content[place] ^= 0x55
    (tmp_path / "broken.npz").write_bytes(content)
    ran = predict(folder, str(tmp_path / "broken.npz"))
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("backend", "command"), [("openvino", "python verify.py"), ("tensorrt", "autoprec verify")]
)
def test_the_readme_starts_with_what_can_verify_it(backend: str, command: str, tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, backend=backend)
    write_export(msgspec.structs.replace(export_of(tmp_path / "study"), recipe=recipe), tmp_path / "out")
    assert f"Start with `{command}`" in (tmp_path / "out" / "README.md").read_text()


def test_the_readme_says_what_to_type(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    assert "`python predict.py photo.jpg` writes `photo_mask.png`." in (folder / "README.md").read_text()
