"""Names of files and tensors come back from a definition as they were, and write no keys."""

from __future__ import annotations

import tomllib
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import families
from autoprec.errors import SpecError
from autoprec.recipes import definition_text, facts_of, plan_of
from autoprec.recipes.writing import write_definition
from autoprec.spec import load_spec
from tiny_study import write_model

NASTY = 'aux\n[quality]\nmetric = "os:abort"\n'


def renamed(folder: Path, name: str) -> Path:
    """A model whose input and output have that name, more or less."""
    model = onnx.load(families.segmenter(folder / "plain.onnx", ""))
    graph = model.graph
    for value in (graph.input[0], graph.output[1]):
        old, new = value.name, f"{value.name}{name}"
        value.name = new
        for node in graph.node:
            node.input[:] = [new if each == old else each for each in node.input]
            node.output[:] = [new if each == old else each for each in node.output]
    path = folder / "odd.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("name", ["😀", NASTY, 'a"b', "\x1b[31m", "\u202e", "\x7f", "#", "\\", "''' \"\"\""])
def test_names_survive_and_write_no_keys(tmp_path: Path, name: str) -> None:
    path = renamed(tmp_path, name)
    shapes = {f"image{name}": (1, 3, 32, 32)}
    written = write_definition(path, folder=tmp_path / "studies", shapes=shapes)
    spec = load_spec(written.path)
    assert spec.pipeline.output == f"out{name}"
    assert spec.samples.input == f"image{name}"
    assert spec.model.shapes == shapes
    assert spec.quality.metric == "mask_iou"
    assert spec.timing.warmup == 5


@pytest.mark.parametrize("name", ["😀.onnx", "a\nb.onnx", "#[x].onnx", "it's.onnx"])
def test_files_of_any_name_are_found_again(tmp_path: Path, name: str) -> None:
    model = families.segmenter(tmp_path / name, "")
    spec = load_spec(write_definition(model, folder=tmp_path / "studies").path)
    assert Path(spec.model.path).resolve() == model
    assert spec.name == model.stem


def test_a_name_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    model = families.segmenter(tmp_path / "a\udcff.onnx", "")
    with pytest.raises(SpecError, match="rename the file"):
        write_definition(model, folder=tmp_path / "studies")
    assert not (tmp_path / "studies").exists()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
def test_any_name_comes_back(tmp_path: Path, name: str) -> None:
    plain = families.segmenter(tmp_path / "plain.onnx", "")
    facts, plan = plan_of(facts_of(plain, None, {}))
    assert facts.frame is not None
    facts = facts._replace(shapes={name: (1, 2)}, frame=facts.frame._replace(name=name))
    text = definition_text(facts, plan, tmp_path, recipe="", sets={})
    table = tomllib.loads(text)
    assert table["samples"]["input"] == name
    assert table["model"]["shapes"] == {name: [1, 2]}
    assert set(table) == {"model", "pipeline", "samples", "quality", "search", "backend"}


def test_a_definition_is_not_left_where_init_fails_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(path: Path) -> None:
        raise MemoryError(path)

    monkeypatch.setattr("autoprec.recipes.writing.load_spec", starved)
    with pytest.raises(MemoryError):
        write_definition(write_model(tmp_path / "tiny.onnx"), folder=tmp_path / "studies")
    assert list((tmp_path / "studies").iterdir()) == []
