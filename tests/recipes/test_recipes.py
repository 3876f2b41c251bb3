"""Each recipe's definition runs a model of its structure to masks that its metric can see damage in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import families
from autoprec.backends import create_backend
from autoprec.errors import SpecError, UserError
from autoprec.graph.model.load import input_shapes, load_model
from autoprec.measurement.pipeline import Pipeline
from autoprec.quality import Survey, check_reference, create_metric
from autoprec.recipes import RECIPES, SIDES, Facts, facts_of, plan_of
from autoprec.recipes.writing import WrittenDefinition, write_definition
from autoprec.records import ModelOutput, Quality
from autoprec.samples import Frame, load_samples
from autoprec.spec import StudySpec, load_spec

POINT = {"point_coords": [[5, 6], [30, 20]], "point_labels": [1, 0]}
BOX = {"box": [2, 3, 30, 20]}


def begun(folder: Path, model: Path, prompts: Any = (), **more: Any) -> tuple[WrittenDefinition, StudySpec]:
    first, second = (families.images(folder / name, 2, seed, prompts) for seed, name in enumerate("ab"))
    written = write_definition(model, folder=folder / "studies", calibration=first, evaluation=second, **more)
    return written, load_spec(written.path)


def seen(spec: StudySpec) -> tuple[Quality, tuple[int, ...]]:
    """The score of masks upside down against themselves, and the masks' shape, once the survey passes."""
    backend = create_backend("openvino", {})
    shapes = dict(input_shapes(load_model(Path(spec.model.path))))
    survey, logits = Survey(spec.quality.threshold), {}
    with backend.build(Path(spec.model.path)) as engine:
        pipeline = Pipeline(backend, spec.pipeline)
        for sample in load_samples(spec.samples, "evaluation", shapes):
            logits[sample.name] = pipeline.logits(engine, sample)
            survey.add(logits[sample.name])
    check_reference(spec.quality, survey)
    metric = create_metric(spec.quality, survey)
    for name, masks in logits.items():
        metric.update(name, masks, masks[:, ::-1].copy(), None)
    return metric.result(), masks.shape


@pytest.mark.parametrize("recipe", ["sam", "mobilesam", "efficientvit-sam", ""])
@pytest.mark.parametrize("decoder", ["batched", "single"])
def test_a_sam_is_asked_its_prompts(tmp_path: Path, recipe: str, decoder: str) -> None:
    model = families.encoder(tmp_path / "encoder.onnx")
    behind = (families.batched_decoder if decoder == "batched" else families.single_decoder)(
        tmp_path / "d.onnx"
    )
    prompts = [POINT, BOX] if decoder == "single" else [POINT, POINT]
    written, spec = begun(tmp_path, model, prompts, recipe=recipe, decoder=behind)
    assert spec.samples.resize == "pad"
    assert (spec.pipeline.output, spec.quality.metric) == ("masks", "mask_iou")
    quality, shape = seen(spec)
    assert quality.loss > 0.01
    assert shape == ((2, 24, 40) if decoder == "single" else (2, 8, 8))
    assert [line for line in written.warnings if "prompt" in line] == []
    takes = [line for line in written.reasons if "prompts.json" in line]
    assert [line.split(" takes ")[1].split(";")[0] for line in takes] == ["point_coords and point_labels"]


def test_a_decoder_of_other_names_is_renamed_in_a_copy(tmp_path: Path) -> None:
    model = families.encoder(tmp_path / "encoder.onnx", output="1234")
    decoder = families.batched_decoder(tmp_path / "decoder.onnx")
    written, spec = begun(tmp_path, model, [POINT], recipe="sam", decoder=decoder)
    assert spec.pipeline.decoder != str(decoder)
    assert any("'image_embeddings' is '1234' in a copy" in reason for reason in written.reasons)
    assert seen(spec)[1] == (1, 8, 8)


@pytest.mark.parametrize("recipe", ["sam2-image", ""])
def test_sam_2_has_three_outputs(tmp_path: Path, recipe: str) -> None:
    model, decoder = families.sam2(tmp_path)
    _, spec = begun(tmp_path, model, [POINT, POINT, POINT], recipe=recipe, decoder=decoder)
    assert spec.samples.resize == "stretch"
    assert seen(spec)[1] == (3, 8, 8)


@pytest.mark.parametrize("rows_last", [False, True])
def test_the_objects_of_a_yolo_become_a_map_of_classes(tmp_path: Path, rows_last: bool) -> None:
    model = families.yolo(tmp_path / "yolo.onnx", rows_last=rows_last)
    written, spec = begun(tmp_path, model, recipe="yolo-seg")
    assert (spec.quality.metric, spec.samples.resize) == ("label_iou", "letterbox")
    quality, shape = seen(spec)
    assert shape == (1, 16, 16)
    assert quality.loss > 0.01
    assert "2 classes" in written.reasons[0]


def test_without_a_recipe_a_yolos_boxes_are_not_taken_for_masks(tmp_path: Path) -> None:
    written, spec = begun(tmp_path, families.yolo(tmp_path / "yolo.onnx"))
    assert (spec.pipeline.output, spec.quality.metric) == ("output1", "mask_iou")
    assert "others: output0 [1, 10, 64]" in written.reasons[0]
    assert any("--recipe yolo-seg" in reason for reason in written.reasons)
    assert seen(spec)[0].loss > 0.01


@pytest.mark.parametrize(
    ("recipe", "ending", "classes", "wanted"),
    [
        ("", "Sigmoid", 1, {"metric": "mask_iou", "threshold": 0.5}),
        ("", "Sigmoid", 3, {"metric": "mask_iou", "threshold": 0.5}),
        ("", "", 1, {"metric": "mask_iou", "threshold": 0.0}),
        ("", "", 5, {"metric": "argmax_iou"}),
        ("", "Softmax", 5, {"metric": "argmax_iou"}),
        ("", "ArgMax", 5, {"metric": "label_iou"}),
        ("semantic", "", 5, {"metric": "argmax_iou"}),
        ("semantic", "ArgMax", 5, {"metric": "label_iou"}),
        ("matting", "Sigmoid", 1, {"metric": "alpha_mae"}),
        ("matting", "", 1, {"metric": "alpha_mae"}),
        ("unet", "Sigmoid", 1, {"metric": "mask_iou", "threshold": 0.5}),
        ("unet", "", 4, {"metric": "argmax_iou"}),
    ],
)
@pytest.mark.parametrize("nhwc", [False, True])
def test_a_segmenter_is_scored_by_what_it_ends_in(
    tmp_path: Path, recipe: str, ending: str, classes: int, wanted: Mapping[str, Any], nhwc: bool
) -> None:
    if nhwc and ending == "ArgMax":
        pytest.skip("a map of classes has no channels")
    model = families.segmenter(tmp_path / "net.onnx", ending, classes, nhwc=nhwc)
    _, spec = begun(tmp_path, model, recipe=recipe)
    assert {key: getattr(spec.quality, key) for key in wanted} == wanted
    assert spec.pipeline.output == ("labels" if ending == "ArgMax" else "out")
    assert spec.pipeline.layout == ("nhwc" if nhwc else "nchw")
    quality, shape = seen(spec)
    assert quality.loss > 0.01
    assert shape[1:] == (32, 32)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_sees_damage_in_some_model_and_refuses_others_in_one_line(
    tmp_path: Path, recipe: str
) -> None:
    losses, refusals = [], []
    for number, (model, decoder) in enumerate(families.one_of_each(tmp_path)):
        prompts = [POINT] * 3 if decoder else ()
        try:
            _, spec = begun(tmp_path / str(number), model, prompts, recipe=recipe, decoder=decoder)
            losses.append(seen(spec)[0].loss)
        except UserError as error:
            refusals.append(str(error))
    assert "\n" not in "".join(refusals)
    assert max(losses) > 0.01


@pytest.mark.parametrize(
    ("recipe", "says"),
    [("sam", "--decoder decoder.onnx"), ("yolo-seg", "rows of boxes"), ("sammy", "did you mean 'sam'")],
)
def test_a_recipe_for_another_structure_is_refused(tmp_path: Path, recipe: str, says: str) -> None:
    model = families.segmenter(tmp_path / "net.onnx", "")
    with pytest.raises(SpecError, match=says):
        begun(tmp_path, model, recipe=recipe)
    assert not list((tmp_path / "studies").glob("*"))


def test_what_is_wrong_with_samples_is_said_at_once(tmp_path: Path) -> None:
    model = families.encoder(tmp_path / "encoder.onnx")
    decoder = families.single_decoder(tmp_path / "decoder.onnx")
    written, _ = begun(tmp_path, model, recipe="sam", decoder=decoder)
    assert "2 samples" in written.warnings[0]
    assert "point_coords" in written.warnings[-1]
    same = families.images(tmp_path / "same", 3)
    plain = families.segmenter(tmp_path / "net.onnx", "")
    told = write_definition(
        plain, folder=tmp_path / "s", calibration=same, evaluation=families.images(tmp_path / "other", 3)
    ).warnings
    assert any("3 samples" in line for line in told)
    assert any("3 of 3 evaluation samples are in the calibration set" in line for line in told)
    absent = write_definition(plain, folder=tmp_path / "t", calibration=tmp_path / "nowhere").warnings
    assert all("does not exist yet" in line for line in absent)
    assert len(absent) == 2
    assert not any("/../" in line for line in absent)


def test_an_embedding_is_not_taken_for_masks_silently(tmp_path: Path) -> None:
    written, _ = begun(tmp_path, families.encoder(tmp_path / "encoder.onnx"))
    assert "name that with --decoder" in written.reasons[0]


@pytest.mark.parametrize(("recipe", "side"), [("", 512), ("unet", 512), ("sam", 1024)])
@pytest.mark.parametrize("layout", ["first", "last"])
def test_free_sizes_are_guessed_and_said(tmp_path: Path, recipe: str, side: int, layout: str) -> None:
    model = families.segmenter(tmp_path / "net.onnx", "", nhwc=layout == "last")
    facts = facts_of(families.freed(model), None, {}, SIDES.get(recipe, 512))
    wanted = (1, side, side, 3) if layout == "last" else (1, 3, side, side)
    assert facts.inputs == facts.shapes == {"image": wanted}
    assert "guessed" in facts.guessed[0]
    given = {"image": (1, 64, 32, 3) if layout == "last" else (1, 3, 64, 32)}
    assert facts_of(model, None, given).inputs == given


def test_a_mask_for_each_query_is_no_prototype(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]>
    net (float[1,3,32,32] image) => (float[1,3,32] class_logits, float[1,3,32,32] masks_logits)
    <int64[1] last = {3}> {
      masks_logits = Relu(image)
      class_logits = ReduceMean<keepdims = 0>(image, last)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    written, spec = begun(tmp_path, tmp_path / "m.onnx")
    assert (spec.pipeline.output, spec.quality.metric) == ("masks_logits", "mask_iou")
    assert not [reason for reason in written.reasons if "prototypes" in reason]


def test_a_volume_is_masks_of_slices_that_no_image_feeds(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]>
    net (float[1,1,16,32,32] volume) => (float[1,1,16,32,32] seg) { seg = Relu(volume) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    written, spec = begun(tmp_path, tmp_path / "m.onnx")
    assert spec.quality.metric == "mask_iou"
    assert ["no image feeds; store samples as .npz files" in words for words in written.warnings] == [True]


def test_bytes_come_as_they_are(tmp_path: Path) -> None:
    model = families.of_bytes(tmp_path / "net.onnx")
    written, spec = begun(tmp_path, model)
    assert any("uint8" in reason for reason in written.reasons)
    sample = load_samples(spec.samples, "evaluation", {"image": (1, 3, 32, 32)})[0]
    pixels = sample.inputs["image"]
    np.testing.assert_array_equal(pixels, np.rint(pixels))
    assert pixels.max() > 128
    assert seen(spec)[0].loss > 0.01


def test_objects_that_were_chosen_already_are_refused() -> None:
    rows = ModelOutput(name="output0", shape=(1, 300, 38))
    prototypes = ModelOutput(name="output1", shape=(1, 32, 160, 160))
    frame = Frame("images", "nchw", 3, 640, 640)
    facts = Facts(Path("y.onnx"), {"images": (1, 3, 640, 640)}, {}, frame, (rows, prototypes))
    with pytest.raises(SpecError, match="without NMS"):
        plan_of(facts, "yolo-seg")
