"""A decoder is fed all prompts at once where it takes them so, else one by one."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser

from autoprec.backends.openvino import OpenVinoBackend, OpenVinoEngine
from autoprec.errors import ModelError
from autoprec.measurement.pipeline import Pipeline, beside_of
from autoprec.measurement.prompting import DecoderInput, asked_of
from autoprec.samples import Sample
from autoprec.spec import PipelineSection

POINTS = {"point_coords": [[1, 2], [3, 4]], "point_labels": [1, 0]}
SAM = {
    "image_embeddings": (1, 8, 4, 4),
    "point_coords": (1, None, 2),
    "point_labels": (1, None),
    "mask_input": (1, 1, 16, 16),
    "has_mask_input": (1,),
    "orig_im_size": (2,),
}
SAM2 = {
    "image_embed": (1, 8, 4, 4),
    "point_coords": (None, None, 2),
    "point_labels": (None, None),
    "mask_input": (None, 1, 16, 16),
    "has_mask_input": (None,),
}


def decoder(shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, DecoderInput]:
    return {name: DecoderInput(np.dtype(np.float32), shape) for name, shape in shapes.items()}


def sample(*prompts: dict[str, Any], size: tuple[int, int] = (40, 24)) -> Sample:
    asked = tuple({name: np.array(value, np.float32) for name, value in each.items()} for each in prompts)
    return Sample("a.png", {}, {}, asked=asked, size=size)


def shapes(run: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in run.items()}


def test_a_decoder_of_batch_1_is_asked_prompt_by_prompt() -> None:
    runs = asked_of(decoder(SAM), {"image_embeddings"}, sample(POINTS, POINTS))
    assert [shapes(run) for run in runs] == 2 * [
        {
            "point_coords": (1, 2, 2),
            "point_labels": (1, 2),
            "mask_input": (1, 1, 16, 16),
            "has_mask_input": (1,),
            "orig_im_size": (2,),
        }
    ]
    np.testing.assert_array_equal(runs[0]["orig_im_size"], (40, 24))
    assert not runs[0]["has_mask_input"].any()


def test_a_decoder_of_any_batch_is_asked_once() -> None:
    (run,) = asked_of(decoder(SAM2), {"image_embed"}, sample(POINTS, POINTS, POINTS))
    assert shapes(run) == {
        "point_coords": (3, 2, 2),
        "point_labels": (3, 2),
        "mask_input": (3, 1, 16, 16),
        "has_mask_input": (3,),
    }


def test_prompts_of_different_lengths_are_asked_one_by_one() -> None:
    more = {"point_coords": [[1, 2]], "point_labels": [1]}
    runs = asked_of(decoder(SAM2), {"image_embed"}, sample(POINTS, more))
    assert [run["point_coords"].shape for run in runs] == [(1, 2, 2), (1, 1, 2)]


@pytest.mark.parametrize("more", [{}, {"point_coords": [[9, 9]], "point_labels": [1]}])
def test_a_box_becomes_its_corners_where_the_decoder_takes_points(more: dict[str, Any]) -> None:
    (run,) = asked_of(decoder(SAM), {"image_embeddings"}, sample({"box": [1, 2, 3, 4]} | more))
    labels, coords = run["point_labels"][0], run["point_coords"][0]
    np.testing.assert_array_equal(labels[-2:], (2, 3))
    np.testing.assert_array_equal(coords[-2:], [[1, 2], [3, 4]])
    assert len(labels) == 2 + len(more.get("point_labels", []))


def test_a_box_stays_one_where_the_decoder_takes_it() -> None:
    (run,) = asked_of(
        decoder({"boxes": (None, 4)}), set(), sample({"boxes": [1, 2, 3, 4]}, {"boxes": [0] * 4})
    )
    assert run["boxes"].shape == (2, 4)


def test_points_are_filled_up_to_the_number_that_a_decoder_takes() -> None:
    fixed = {"point_coords": (1, 5, 2), "point_labels": (1, 5)}
    (run,) = asked_of(decoder(fixed), set(), sample(POINTS))
    np.testing.assert_array_equal(run["point_labels"][0], (1, 0, -1, -1, -1))
    assert run["point_coords"].shape == (1, 5, 2)


def test_an_earlier_mask_is_taken_as_given() -> None:
    given = POINTS | {"mask_input": np.ones((1, 16, 16)), "has_mask_input": [1]}
    (run,) = asked_of(decoder(SAM), {"image_embeddings"}, sample(given))
    assert run["mask_input"].shape == (1, 1, 16, 16)
    assert run["mask_input"].all()
    assert run["has_mask_input"].tolist() == [1]


def test_a_mask_of_the_users_is_not_ignored() -> None:
    given = POINTS | {"mask_input": np.ones((1, 16, 16))}
    runs = asked_of(decoder(SAM), {"image_embeddings"}, sample(given, POINTS))
    assert [run["has_mask_input"].tolist() for run in runs] == [[1], [0]]


def test_coordinates_of_whole_numbers_are_the_nearest() -> None:
    inputs = {"point_coords": DecoderInput(np.dtype(np.int64), (1, None, 2))}
    (run,) = asked_of(inputs, set(), sample({"point_coords": [[1.7, 2.2]]}))
    assert run["point_coords"].tolist() == [[[2, 2]]]


def test_types_are_the_decoders() -> None:
    inputs = {"point_labels": DecoderInput(np.dtype(np.int64), (1, None))}
    assert asked_of(inputs, set(), sample(POINTS))[0]["point_labels"].dtype == np.int64


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (
            {"point_coords": [[1, 2]]},
            "'point_labels' is neither an output of the model nor a prompt of a.png",
        ),
        (
            POINTS | {"mask_input": np.ones((1, 8, 8))},
            r"'mask_input' of a.png is \[1, 8, 8\], but the decoder takes",
        ),
        (POINTS | {"point_labels": [1]}, "a prompt of a.png has 2 points, but 1 point_labels"),
        ({"box": [1, 2, 3, 4, 5, 6]}, "a prompt of a.png has 3 points, but 2 point_labels"),
    ],
)
def test_what_does_not_fit_is_named(prompt: dict[str, Any], says: str) -> None:
    with pytest.raises(ModelError, match=says):
        asked_of(decoder(SAM), {"image_embeddings"}, sample(prompt))


NEGATES = """<ir_version: 10, opset_import: ["" : 21]>
g (float[1,2,8,8] embeddings) => (float[1,2,8,8] masks) { masks = Neg (embeddings) }"""


def negating(tmp_path: Path, *, is_beside: bool = False) -> Pipeline:
    """A pipeline whose decoder gives the negated embeddings."""
    path = tmp_path / "decoder.onnx"
    onnx.save(parser.parse_model(NEGATES), path)
    section = PipelineSection(decoder=str(path), output="masks")
    return Pipeline(OpenVinoBackend({}), section, is_beside=is_beside)


def test_what_the_decoder_takes_is_counted(tmp_path: Path) -> None:
    pipeline = negating(tmp_path)
    embeddings = np.ones((1, 2, 8, 8), np.float32)
    np.testing.assert_array_equal(pipeline.masks({"embeddings": embeddings}, sample()), -embeddings[0])
    assert pipeline.decoding > 0


def test_a_decoder_beside_the_engine_runs_once_the_engine_may_go_on(tmp_path: Path) -> None:
    embeds = tmp_path / "encoder.onnx"
    onnx.save(
        parser.parse_model(NEGATES.replace("embeddings", "image").replace("masks", "embeddings")), embeds
    )
    image = Sample("a.png", {"image": np.ones((1, 2, 8, 8), np.float32)}, {})
    pipeline = negating(tmp_path, is_beside=True)
    with OpenVinoBackend({}).build(embeds) as engine:
        later = [pipeline.begin(engine, one) for one in (image, image)]
        assert pipeline.decoding == 0
        with ThreadPoolExecutor(1) as pool:
            decoded = list(pool.map(lambda call: call(), later))
    np.testing.assert_array_equal(decoded, np.ones((2, 2, 8, 8), np.float32))


def test_a_decoder_runs_beside_an_engine_on_one_thread_alone() -> None:
    assert beside_of(OpenVinoBackend({}), 4) is not None
    assert beside_of(OpenVinoBackend({"threads": 2}), 4) is None


class Untimed(OpenVinoBackend):
    """An engine that builds decoders in a way of their own."""

    has_own_device = True
    builds_on_device = False

    def build_untimed(self, model_path: Path) -> OpenVinoEngine:
        return super().build(model_path)

    def build(self, model_path: Path, *, profiled: bool = False) -> OpenVinoEngine:
        raise AssertionError(model_path, profiled)


def test_a_decoder_is_built_as_what_is_never_timed(tmp_path: Path) -> None:
    onnx.save(parser.parse_model(NEGATES), tmp_path / "decoder.onnx")
    section = PipelineSection(decoder=str(tmp_path / "decoder.onnx"), output="masks")
    embeddings = np.ones((1, 2, 8, 8), np.float32)
    masks = Pipeline(Untimed({}), section).masks({"embeddings": embeddings}, sample())
    np.testing.assert_array_equal(masks, -embeddings[0])
