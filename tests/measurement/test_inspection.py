"""Looking into a candidate again: what was drawn and written is what the engines gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autoprec.measurement import Bench, Inspect, WriteExamples
from autoprec.records import Inspection, SampleScore
from autoprec.samples import load_samples
from autoprec.spec import SamplesSection, load_spec
from autoprec.study.preparation import Prepared, prepare
from tiny_study import write_study


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(load_spec(write_study(tmp_path_factory.mktemp("inspection"))))


@pytest.fixture(scope="module")
def inspection(prepared: Prepared) -> Inspection:
    candidate = prepared.rewrite(prepared.uniform("int8"), prepared.folder / "candidate.onnx")
    worst = (SampleScore(sample="0.npz", mask=1, iou=0.5), SampleScore(sample="gone.npz", mask=0, iou=0.1))
    request = Inspect(
        setup=prepared.setup,
        candidate_path=candidate.model_path,
        worst=worst,
        typical=(SampleScore(sample="2.npz", mask=0, iou=0.9),),
        folder=str(prepared.folder / "pictures"),
    )
    with Bench(prepared.folder / "worker.log") as bench:
        return bench.inspect(request)


def pixels(path: str, mode: str = "RGB") -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode))


def test_kernels_are_timed_and_pictures_drawn_of_samples_that_are_there(inspection: Inspection) -> None:
    assert sum(kernel.time_ms for kernel in inspection.kernels) > 0
    assert [(p.sample, p.mask, p.kind) for p in inspection.pictures] == [
        ("0.npz", 1, "worst"),
        ("2.npz", 0, "typical"),
    ]
    for picture in inspection.pictures:
        for path in (picture.image, picture.reference, picture.candidate, picture.difference):
            assert pixels(path).shape == (32, 32, 3)


def test_the_difference_shows_what_only_one_of_the_masks_has(inspection: Inspection) -> None:
    picture = inspection.pictures[0]
    reference, candidate = (pixels(path, "L") > 127 for path in (picture.reference, picture.candidate))
    difference = pixels(picture.difference)
    assert reference.any()
    assert (reference != candidate).any()
    assert np.array_equal(difference[..., 0] == 230, reference & ~candidate)
    assert np.array_equal(difference[..., 2] == 233, candidate & ~reference)


def test_examples_are_samples_with_the_logits_of_both_engines(prepared: Prepared, tmp_path: Path) -> None:
    request = WriteExamples(
        setup=prepared.setup,
        candidate_path=prepared.reference_candidate.model_path,
        count=3,
        folder=str(tmp_path / "examples"),
    )
    with Bench(tmp_path / "worker.log") as bench:
        examples = bench.write_examples(request)
    assert (examples.quality.samples, examples.quality.loss) == (3, 0)
    assert examples.faithful is None
    section = SamplesSection(calibration="", evaluation=str(tmp_path / "examples"))
    assert [s.name for s in load_samples(section, "evaluation", prepared.shapes)] == [
        "00.npz",
        "01.npz",
        "02.npz",
    ]
    outputs = np.load(tmp_path / "examples" / "outputs" / "01.npz", allow_pickle=False)
    assert np.array_equal(outputs["reference"], outputs["candidate"])
    assert outputs["reference"].shape == (2, 32, 32)


def test_examples_are_written_once_more_where_a_worker_died_over_them(
    prepared: Prepared, tmp_path: Path
) -> None:
    (tmp_path / "examples" / "outputs").mkdir(parents=True)
    request = WriteExamples(
        setup=prepared.setup,
        candidate_path=prepared.reference_candidate.model_path,
        count=1,
        folder=str(tmp_path / "examples"),
    )
    with Bench(tmp_path / "worker.log") as bench:
        assert bench.write_examples(request).quality.samples == 1
