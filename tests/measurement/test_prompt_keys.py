"""Every sample's prompts are looked at before a search, and what no input takes is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
from PIL import Image

from autoprec.backends import create_backend
from autoprec.errors import ModelError, SamplesError
from autoprec.measurement.pipeline import Pipeline, check_prompts
from autoprec.samples import Samples, load_samples
from autoprec.spec import PipelineSection, SamplesSection

POINT = {"point_coords": [[1, 2]], "point_labels": [1]}
DECODER = """
    <ir_version: 8, opset_import: ["" : 17]>
    agraph (float[1, 3, 8, 8] features, float[1, n, 2] point_coords, float[1, n] point_labels)
        => (float[1, 3, 8, 8] masks) { masks = Relu(features) }
"""


def load(folder: Path) -> Samples:
    section = SamplesSection(calibration="", evaluation=str(folder))
    return load_samples(section, "evaluation", {"image": (1, 3, 8, 8)})


def prompted(folder: Path, *prompts: dict[str, Any]) -> Samples:
    for number in range(len(prompts)):
        Image.new("RGB", (8, 8)).save(folder / f"{number}.png")
    (folder / "prompts.json").write_text(json.dumps({f"{n}.png": [p] for n, p in enumerate(prompts)}))
    return load(folder)


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    onnx.save(parser.parse_model(DECODER), tmp_path / "decoder.onnx")
    (tmp_path / "images").mkdir()
    return tmp_path / "decoder.onnx"


def test_a_prompt_that_only_the_last_sample_lacks_is_missed(decoder: Path) -> None:
    samples = prompted(decoder.parent / "images", POINT, POINT, {"point_coords": [[1, 2]]})
    with pytest.raises(ModelError, match=r"'point_labels' is neither an output .* of 2\.png"):
        check_prompts(decoder, ["features"], samples)


def test_a_prompt_that_is_no_number_is_found_in_the_last_sample(decoder: Path) -> None:
    samples = prompted(decoder.parent / "images", POINT, POINT | {"point_labels": ["one"]})
    with pytest.raises(SamplesError, match=r"prompts.json: 'point_labels' of 1.png is not an array"):
        check_prompts(decoder, ["features"], samples)


def test_keys_that_the_decoder_does_not_take_are_named(decoder: Path) -> None:
    more = {"object": 1, "box": [1, 2, 3, 4], "has_mask_input": 0}
    samples = prompted(decoder.parent / "images", POINT | more, POINT | {"mask_inputs": 0, "scores": 1})
    mask, scores = check_prompts(decoder, ["features"], samples)
    assert mask.startswith("1 of 2 samples hold 'mask_inputs', which no input takes, so it is left out")
    assert scores.endswith("'scores', which no input takes, so it is left out (prompts that are taken: "
                           "'point_coords', 'point_labels')")  # fmt: skip


def test_prompts_without_a_decoder_are_named(tmp_path: Path) -> None:
    told = check_prompts(None, ["masks"], prompted(tmp_path, POINT | {"object": 1}))
    assert [words.split("'")[1] for words in told] == ["point_coords", "point_labels"]


def test_true_masks_of_prompts_that_nothing_takes_are_left_out(decoder: Path) -> None:
    folder = decoder.parent / "images"
    (folder / "masks").mkdir()
    Image.new("L", (8, 8), 1).save(folder / "masks" / "0.png")
    sample, backend = prompted(folder, POINT | {"object": 1})[0], create_backend("openvino", {})
    assert Pipeline(backend, PipelineSection(output="masks")).truth(sample, (3, 8, 8)) is None
    prompting = Pipeline(backend, PipelineSection(decoder=str(decoder), output="masks"))
    truth = prompting.truth(sample, (1, 8, 8))
    assert truth is not None
    assert truth.all()


def test_arrays_of_an_archive_that_no_input_takes_are_named(tmp_path: Path) -> None:
    image = np.zeros((1, 3, 8, 8), np.float32)
    np.savez(tmp_path / "a.npz", image=image, truth=np.ones((1, 8, 8)))
    np.savez(tmp_path / "b.npz", image=image, depth=image, truth=np.ones((1, 8, 8)))
    (words,) = check_prompts(None, ["masks"], load(tmp_path))
    assert words.startswith("1 of 2 samples hold 'depth', which no input takes")


def test_a_later_archive_that_lacks_an_input_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", image=np.zeros((1, 3, 8, 8), np.float32))
    np.savez(tmp_path / "b.npz", picture=np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(SamplesError, match=r"b\.npz: has no array 'image'"):
        check_prompts(None, ["masks"], load(tmp_path))
