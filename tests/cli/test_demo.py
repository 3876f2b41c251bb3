"""The demo that comes with the package: whole, that of the repository, and in nobody's way."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from autoprec.demo import write_demo
from autoprec.errors import SpecError
from autoprec.samples import load_samples
from autoprec.spec import load_spec

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of studies with the demo in it."""
    return write_demo(tmp_path_factory.mktemp("here") / "studies").parent


@pytest.mark.parametrize("name", ["demo_encoder.onnx", "demo_decoder.onnx"])
def test_the_demo_is_the_model_of_the_repository_with_weights_as_bf16_holds_them(
    folder: Path, name: str
) -> None:
    onnx.checker.check_model(folder / "models" / name, full_check=True)
    ours, theirs = (onnx.load(at / "models" / name).graph for at in (folder, STUDIES))
    assert [node.name for node in ours.node] == [node.name for node in theirs.node]
    for mine, other in zip(ours.initializer, theirs.initializer, strict=True):
        array = numpy_helper.to_array(other)
        rounded = array.astype(ml_dtypes.bfloat16).astype(array.dtype) if array.dtype == np.float32 else array
        np.testing.assert_array_equal(numpy_helper.to_array(mine), rounded)


def test_the_definition_reads_its_samples(folder: Path) -> None:
    spec = load_spec(folder / "demo.toml")
    for which in ("calibration", "evaluation"):
        samples = load_samples(spec.samples, which, {"image": (1, 3, 256, 256)})
        assert len(samples) == 12
        assert samples[0].asked  # each image has prompts


def test_a_demo_that_is_there_stays_as_it_is(folder: Path) -> None:
    definition = folder / "demo.toml"
    definition.write_text(definition.read_text() + "\n# mine\n")
    assert write_demo(folder) == definition
    assert definition.read_text().endswith("# mine\n")


def test_what_is_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    model = tmp_path / "models" / "demo_encoder.onnx"
    model.parent.mkdir()
    model.write_text("mine")
    with pytest.raises(SpecError, match=r"demo_encoder\.onnx already exists and is not the demo's"):
        write_demo(tmp_path)
    assert model.read_text() == "mine"
    assert not (tmp_path / "demo.toml").exists()
    assert not list(tmp_path.glob(".demo-*"))


def test_a_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(SpecError, match="cannot be written"):
        write_demo("/proc/studies")
