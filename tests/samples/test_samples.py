"""Samples come as the model wants them; whatever is wrong with a file is said in one line that names it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoprec.errors import SamplesError
from autoprec.samples import Samples, load_samples
from autoprec.spec import SamplesSection

INPUTS = {"image": (1, 3, 16, 32)}
PROMPT = {"point_coords": [[10, 30], [0, 0]], "point_labels": [1, -1], "object": 3}


def picture(path: Path, size: tuple[int, int] = (20, 40), color: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (color, 0, 255)).save(path)


def load(folder: Path, inputs: dict[str, tuple[int, ...]] | None = None, **settings: Any) -> Samples:
    section = SamplesSection(calibration="unused", evaluation=str(folder), **settings)
    return load_samples(section, "evaluation", inputs or INPUTS)


def prompted(folder: Path, prompts: object) -> Path:
    """A folder with one image, 20 wide and 40 high, its labels and its prompts."""
    picture(folder / "images" / "000.png")
    labels = np.zeros((40, 20), np.uint8)
    labels[20:] = 3
    (folder / "masks").mkdir()
    Image.fromarray(labels).save(folder / "masks" / "000.png")
    written = prompts if isinstance(prompts, bytes) else json.dumps(prompts).encode()
    (folder / "prompts.json").write_bytes(written)
    return folder


def test_images_come_normalised_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "c.webp"):
        picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    samples = load(tmp_path, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert [sample.name for sample in samples] == ["a.png", "b.jpg", "c.webp"]
    array = samples[0].inputs["image"]
    assert array.shape == (1, 3, 16, 32)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array[0, :, 5, 5], (128 / 127.5 - 1, -1, 1), atol=1e-6)


def test_prompts_are_scaled_to_the_model(tmp_path: Path) -> None:
    sample = load(prompted(tmp_path, {"000.png": [PROMPT, PROMPT | {"point_coords": [[20, 40], [5, 5]]}]}))[0]
    # The image is 20 x 40 and the model takes 32 x 16.
    first, second = sample.asked
    np.testing.assert_allclose(first["point_coords"], [[16, 12], [0, 0]])
    np.testing.assert_allclose(second["point_coords"], [[32, 16], [8, 2]])
    np.testing.assert_array_equal(first["point_labels"], [1, -1])
    assert "object" not in first


def test_boxes_are_scaled_like_points(tmp_path: Path) -> None:
    sample = load(prompted(tmp_path, {"000.png": [{"boxes": [0, 10, 20, 40]}]}))[0]
    np.testing.assert_allclose(sample.asked[0]["boxes"], [0, 4, 32, 16])
    assert sample.truth is None


def test_points_of_transformers_are_scaled_and_their_number_is_not(tmp_path: Path) -> None:
    samples = load(
        prompted(tmp_path, {"000.png": [{"input_points": [[[0, 10], [20, 40]]], "num_points": 2}]})
    )
    np.testing.assert_allclose(samples[0].asked[0]["input_points"], [[[0, 4], [32, 16]]])
    assert samples[0].asked[0]["num_points"] == 2
    assert samples.digest.endswith(".r2")


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_truth_is_where_the_label_is_the_object(mode: str, tmp_path: Path) -> None:
    folder = prompted(tmp_path, {"000.png": [PROMPT, PROMPT]})
    labels = np.zeros((40, 20), np.uint16 if mode == "I;16" else np.uint8)
    labels[20:] = 3
    image = Image.fromarray(labels)
    if mode == "P":
        image = image.convert("P")
        image.putpalette([value for index in range(256) for value in (255 - index, 7, index)])
    image.save(folder / "masks" / "000.png")
    truth = load(folder)[0].truth
    assert truth is not None
    assert truth.shape == (2, 40, 20)
    np.testing.assert_array_equal(truth[1], labels == 3)


def test_a_limit_takes_the_first_ones(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(tmp_path / name)
    assert [sample.name for sample in load(tmp_path, evaluation_limit=2)] == ["a.png", "b.png"]


def test_symlinked_images_are_read(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert load(tmp_path / "set")[0].inputs["image"].shape == (1, 3, 16, 32)


def test_the_digest_follows_contents_names_and_settings(tmp_path: Path) -> None:
    folder = prompted(tmp_path / "one", {"000.png": [PROMPT]})
    digests = {load(folder).digest, load(folder, std=(1, 1, 1)).digest}
    assert load(folder).digest in digests
    (folder / "prompts.json").write_text(json.dumps({"000.png": [PROMPT, PROMPT]}))
    digests.add(load(folder).digest)
    picture(folder / "images" / "000.png", color=129)
    digests.add(load(folder).digest)
    (folder / "masks" / "000.png").unlink()
    digests.add(load(folder).digest)
    assert len(digests) == 5


@pytest.mark.parametrize("kind", ["broken", "loop", "folder", "fifo"])
def test_what_only_looks_like_an_image_is_refused(tmp_path: Path, kind: str) -> None:
    picture(tmp_path / "a.png")
    odd = tmp_path / "b.png"
    if kind == "folder":
        odd.mkdir()
    elif kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.symlink_to(odd if kind == "loop" else tmp_path / "gone")
    with pytest.raises(SamplesError, match=r"b\.png: is not a readable file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([1, 2], "is not a table of prompts by image"),
        (b'{"000.png": [{"\xff\x8d": 1}]}', "is not a table of prompts by image, in UTF-8"),
        (b'{"000.png": [{"a": ' + b"[" * 100_000, "is not a table of prompts by image"),
        (b'{"000.png": [{"point_labels": [1' + b"0" * 400 + b"]}]}", "'point_labels' of 000.png"),
        ({"000.png": [{"object": 3}], "9.png": []}, "has prompts for '9.png', which is not there"),
        ({}, "has no prompts for 000.png"),
        ({"000.png": [PROMPT | {"object": "3"}]}, "an 'object' of 000.png is not a whole number"),
        ({"000.png": [PROMPT | {"object": 9}]}, "has no pixel of object 9"),
        ({"000.png": [PROMPT, {"point_coords": [[1, 2], [3]]}]}, "'point_coords' of 000.png"),
        ({"000.png": [{"point_labels": "one"}]}, "'point_labels' of 000.png is not an array of numbers"),
        ({"000.png": [{"point_coords": [1, 2, 3]}]}, "is not made of x, y pairs"),
        ({"000.png": [{"point_labels": [1e99]}]}, "holds NaN or infinity"),
    ],
)
def test_wrong_prompts_are_refused(prompts: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=message) as caught:
        load(prompted(tmp_path, prompts))[0]
    assert "\n" not in str(caught.value)


def test_prompts_may_begin_with_a_mark_of_utf_8_and_are_not_in_utf_16(tmp_path: Path) -> None:
    path = prompted(tmp_path, {"000.png": [{"point_coords": [[1, 2]]}]}) / "prompts.json"
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    assert len(load(tmp_path)[0].asked) == 1
    path.write_text(text, encoding="utf-16")
    with pytest.raises(SamplesError, match=r"prompts.json: is in UTF-16; save it in UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize("settings", [{"white": 1e-320}, {"mean": (1e38,) * 3, "std": (1e-38,) * 3}])
def test_numbers_that_no_float_holds_are_told(settings: dict[str, Any], tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(SamplesError, match=r"a.png: becomes infinite or NaN by samples.mean"):
        _ = load(tmp_path, **settings)[0]


def test_images_of_one_name_that_share_a_mask_are_told(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        picture(tmp_path / name)
    (tmp_path / "masks").mkdir()
    assert load(tmp_path).notes == []
    picture(tmp_path / "masks" / "a.png")
    assert any(note.startswith("2 images share the true masks of a.png") for note in load(tmp_path).notes)


def test_an_absent_an_empty_and_a_strange_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="does not exist; name a folder"):
        load(tmp_path / "absent")
    with pytest.raises(SamplesError, match="holds no images"):
        load(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(SamplesError, match=r"neither a folder nor an \.npz file"):
        load(tmp_path / "a.txt")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_broken_images_are_refused_by_name(suffix: str, tmp_path: Path) -> None:
    picture(tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    for content in (b"", b"text", whole[:20], whole[: len(whole) // 2]):
        (tmp_path / f"a{suffix}").write_bytes(content)
        with pytest.raises(SamplesError, match=rf"a{suffix}: cannot be read as an image"):
            load(tmp_path)[0]


def test_an_image_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    for limit in (20 * 40 - 1, 20 * 40 // 2 - 1):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(SamplesError, match=r"a\.png: cannot be read as an image .*decompression bomb"):
            load(tmp_path)[0]


@pytest.mark.parametrize(
    ("inputs", "settings", "message"),
    [
        (INPUTS, {"input": "img"}, r"'img', but the model's inputs are: image \[1, 3, 16, 32\]"),
        (INPUTS, {"size": (8, 8)}, r"samples give \[1, 3, 8, 8\]"),
        (INPUTS, {"mean": (0.0,), "std": (1.0,)}, r"samples give \[1, 1, 16, 32\]"),
        ({"x": (1, 9)}, {}, "no image feeds; store samples as .npz files"),
        ({"image": (1, 3, 8, 8), "scale": (1,)}, {}, "images feed one input"),
    ],
)
def test_images_that_do_not_fit_the_model_are_refused(
    inputs: dict[str, tuple[int, ...]], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(SamplesError, match=message):
        load(tmp_path, inputs, **settings)
