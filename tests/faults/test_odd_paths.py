"""Paths of any letters: what a shell, a URL, a pattern or SQL would take for its own is only a name."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image
from worker_here import WorkerHere

from command_line import autoprec
from tiny_study import write_model

pytestmark = pytest.mark.slow

NAMES = ("-a ?mode=memory%41#b&=;", "é😀\n[g]*{x}$HOME`id`'\"\\", "a:b")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_paths_of_any_letters(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoprec.measurement.bench.WorkerProcess", WorkerHere)
    home = tmp_path / name
    home.mkdir()
    write_inputs(home, name)

    def run(*words: str) -> str:
        ran = autoprec(*words, folder=home)
        assert ran.returncode == 0, f"{words}: {ran.stderr}"
        return ran.stdout

    run(
        "init", f"./{name}.onnx", "--decoder", f"./{name}-decoder.onnx",
        "--calibration", f"./{name} calibration", "--evaluation", f"./{name} evaluation",
    )  # fmt: skip
    [definition] = (home / "studies").glob("*.toml")
    quick = "\n[timing]\nseconds = 0.02\nminimum_rounds = 5\nwarmup = 1\n"
    definition.write_text(definition.read_text().replace("[search]", "[search]\nfinalists = 0") + quick)
    study = ("--study", f"studies/{definition.name}")
    run("search", *study, "--budget", "1")
    trials = json.loads(run("trials", *study, "--json"))
    assert run("front", *study)
    run("report", *study)
    run("trials", *study, "-o", f"./{name}.csv")
    run("export", *study, "--trial", "0", "--examples", "1", f"./{name} export")
    run("verify", f"./{name} export")
    assert sorted(path.name for path in home.iterdir()) == sorted(
        [
            f"{name}.onnx",
            f"{name}-decoder.onnx",
            f"{name} calibration",
            f"{name} evaluation",
            "studies",
            f"{name}.csv",
            f"{name} export",
        ]
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    [database] = home.glob("studies/*/study.db")
    with closing(sqlite3.connect(database)) as connection:  # Optuna's tables are in the same file
        assert connection.execute("SELECT count(*) FROM trials").fetchone()[0] >= len(trials)


def write_inputs(home: Path, name: str) -> None:
    """A model, a decoder after it, images with prompts."""
    write_model(home / f"{name}.onnx")
    write_decoder(home / f"{name}-decoder.onnx")
    point = {"point_coords": [[1, 2], [3, 4]], "point_labels": [1, -1]}
    for number, which in enumerate(("calibration", "evaluation")):
        folder = home / f"{name} {which}"
        folder.mkdir()
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / "prompts.json").write_text(json.dumps({f"{name}.png": [point]}))


def write_decoder(path: Path) -> None:
    """Adds the sum of the prompts' labels to the model's output."""
    kind = onnx.TensorProto.FLOAT
    inputs = {"masks": [1, 2, 32, 32], "point_coords": [1, 2, 2], "point_labels": [1, 2]}
    nodes = [
        helper.make_node("ReduceSum", ["point_coords"], ["coords"], keepdims=0),
        helper.make_node("ReduceSum", ["point_labels"], ["label"], keepdims=0),
        helper.make_node("Div", ["label", "coords"], ["shift"]),
        helper.make_node("Add", ["masks", "shift"], ["low_res_masks"]),
    ]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info(key, kind, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info("low_res_masks", kind, [1, 2, 32, 32])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10), path)
