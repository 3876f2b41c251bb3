"""`verify.py` and `predict.py` run as a stranger would run them: what changed is found."""

from __future__ import annotations

import ast
import itertools
import json
import math
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from autoprec.backends import Backend, Engine
from autoprec.backends.ratios import BUILD_SPREAD, typical_ratio
from autoprec.backends.timing import pair
from autoprec.exporters import write_export
from autoprec.exporters._script import SCRIPTS
from autoprec.quality import METRICS, scoring_file
from autoprec.records import Clocks, Interval, TrialRecord
from autoprec.spec import TimingSection
from autoprec.study.shipping import verification
from tiny_export import RECIPE, export_of
from trial_records import complete

SAME, CANNOT, DIFFERENT = 0, 2, 4


def trial(ratio: float) -> TrialRecord:
    """A trial that was measured at so much of the reference's latency."""
    record = complete(17, 10 * ratio, 0.0)
    assert record.measurement is not None
    interval = Interval(low=ratio * 0.9, high=ratio * 1.1)
    latency = msgspec.structs.replace(record.measurement.latency, ratio_interval=interval)
    return msgspec.structs.replace(
        record, measurement=msgspec.structs.replace(record.measurement, latency=latency)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export of a model that is its own reference."""
    write_export(export_of(tmp_path / "study", trial=trial(10.0)), tmp_path / "out")
    return tmp_path / "out"


def change(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    unsealed = {"format": 2, "checksum": ""}
    path.write_text(json.dumps(json.loads(path.read_text()) | unsealed | changes))


def run(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / script), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, timeout=60)


def test_an_export_that_is_as_recorded_passes(folder: Path) -> None:
    ran = run(folder, "verify.py", "--json", "--seconds", "0.2")
    assert ran.returncode == SAME, ran.stdout + ran.stderr
    assert [check["name"] for check in json.loads(ran.stdout)] == ["files", "latency", "mask loss"]


@pytest.mark.parametrize("name", ["model.onnx", "examples/00.npz", "verify.py", "metric.py"])
def test_a_changed_file_is_named(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    ran = run(folder, "verify.py")
    assert ran.returncode == DIFFERENT
    assert f"FAIL files: changed or missing: {name}" in ran.stdout


def test_an_export_that_is_slower_than_recorded_fails(folder: Path) -> None:
    trial = json.loads((folder / "manifest.json").read_text())["trial"]
    trial["measurement"]["latency"]["ratio_interval"] = {"low": 0.01, "high": 0.02, "level": 0.95}
    change(folder, trial=trial)
    ran = run(folder, "verify.py", "--seconds", "0.2")
    assert ran.returncode == DIFFERENT
    assert "FAIL latency" in ran.stdout
    assert "ok   mask loss" in ran.stdout


def test_masks_that_are_worse_than_recorded_fail(folder: Path) -> None:
    examples = json.loads((folder / "manifest.json").read_text())["examples"]
    change(
        folder,
        examples=examples | {"loss": -0.5, "loss_interval": {"low": -0.6, "high": -0.4, "level": 0.95}},
    )
    ran = run(folder, "verify.py", "--seconds", "0.2")
    assert ran.returncode == DIFFERENT
    assert "FAIL mask loss: 0.0000 on 1 example, recorded -0.5000" in ran.stdout


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"backend": "tensorrt"}, "use `autoprec verify`"),
    ],
)
def test_what_the_script_cannot_measure_it_says(folder: Path, changed: dict[str, str], says: str) -> None:
    recipe = json.loads((folder / "manifest.json").read_text())["recipe"]
    change(folder, recipe=recipe | changed)
    ran = run(folder, "verify.py")
    assert ran.returncode == CANNOT
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("metric", METRICS)
def test_the_script_scores_as_each_metric_does(metric: str, tmp_path: Path) -> None:
    folder = exported(tmp_path, metric)
    first, second = np.random.default_rng(3).normal(0, 3, (2, 4, 16, 16)).astype(np.float32)
    if metric == "label_iou":
        first, second = (np.rint(np.abs(logits[:1])) for logits in (first, second))
    script = runpy.run_path(str(folder / "verify.py"))
    manifest = json.loads((folder / "manifest.json").read_text())
    for small in (0.0, 0.5):
        ours = METRICS[metric](0.0, None, small)
        ours.update("000", first, second, None)
        manifest["recipe"]["small_mask"] = small
        told = script["loss"](manifest, "masks", "loss", [first], [second])["loss"]
        assert told == pytest.approx(ours.result().loss, rel=1e-5)


def exported(tmp_path: Path, metric: str) -> Path:
    export = export_of(tmp_path / metric)
    recipe = msgspec.structs.replace(RECIPE, metric=metric)
    path = str(scoring_file(metric) or "")
    write_export(msgspec.structs.replace(export, recipe=recipe, metric_path=path), tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("metric", METRICS)
def test_what_scores_in_an_export_needs_numpy_alone(metric: str) -> None:
    path = scoring_file(metric)
    assert path is not None
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= {"__future__", "numpy", "typing"}


def test_a_script_that_the_manifest_does_not_list_is_not_run(tmp_path: Path) -> None:
    folder = exported(tmp_path, "mine:score")
    (folder / "metric.py").write_text("raise SystemExit(99)")
    ran = run(folder, "verify.py")
    assert (ran.returncode, "its metric is 'mine:score', code of its own" in ran.stderr) == (CANNOT, True)


def test_a_recipe_cannot_ask_for_timing_without_an_end(folder: Path) -> None:
    recipe = json.loads((folder / "manifest.json").read_text())["recipe"]
    change(folder, recipe=recipe | {"seconds": math.nan, "interval": 0.0})
    ran = run(folder, "verify.py")
    assert (ran.returncode, "'NaN'" in ran.stderr) == (CANNOT, True)


def test_a_prediction_is_what_was_stored(folder: Path, tmp_path: Path) -> None:
    ran = run(folder, "predict.py", "examples/00.npz", "--output", str(tmp_path / "masks.npz"))
    assert ran.returncode == 0, ran.stderr
    assert "masks [3, 8, 8], values from " in ran.stdout  # logits, mattes or numbers of classes
    assert "largest difference from the stored output: 0\n" in ran.stdout
    with np.load(tmp_path / "masks.npz") as archive:
        assert archive["masks"].shape == (3, 8, 8)


@pytest.mark.parametrize("rounds", [2, 5, 6, 40, 77])
def test_the_script_computes_the_statistic_of_autoprec(rounds: int) -> None:
    timing = runpy.run_path(str(SCRIPTS / "paired_timing.py"))
    ratios = np.exp(0.1 * np.random.default_rng(rounds).normal(size=rounds))
    ratio, interval = typical_ratio(np.sort(ratios).tolist(), BUILD_SPREAD["processor"])
    told = timing["typical_ratio"](ratios.tolist(), timing["BUILD_SPREAD"])
    assert told == pytest.approx((ratio, interval.low, interval.high), rel=1e-12)


class _Clocked:
    """An engine that says who is executed, and in which order."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def prepare(self, inputs: object) -> None: ...

    def execute(self) -> None:
        self.log.append(self.name)

    def synchronize(self) -> None: ...


def test_the_script_takes_rounds_in_the_order_of_autoprec(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = list[str](), list[str]()
    ticks = itertools.count(0, 10_000_000)  # 10 ms a reading: nothing is repeated
    monkeypatch.setattr("time.process_time_ns", lambda: next(ticks))
    recipe = {"warmup": 2, "interval": 1e-9, "minimum_rounds": 6}
    timing = runpy.run_path(str(SCRIPTS / "paired_timing.py"))
    timing["paired"](_Clocked("m", ours), _Clocked("r", ours), recipe, 1, 0.0)
    backend = cast(Backend, SimpleNamespace(stopwatch="processor", clocks=Clocks))
    reference, candidate = (cast(Engine, _Clocked(name, theirs)) for name in "rm")
    pair(
        reference, candidate, backend, TimingSection(interval=1e-9, seconds=1e-9, minimum_rounds=6, warmup=2)
    )
    assert (ours, len(ours)) == (theirs, len(theirs))


def test_the_script_takes_no_more_rounds_than_autoprec_whatever_a_recipe_demands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = itertools.count(0, 10_000_000)  # 10 ms a reading: nothing is repeated
    monkeypatch.setattr("time.process_time_ns", lambda: next(ticks))
    timing = runpy.run_path(str(SCRIPTS / "paired_timing.py"))
    recipe, log = {"warmup": 20_000, "interval": 1e-9, "minimum_rounds": 20_000}, list[str]()
    timing["paired"](_Clocked("m", log), _Clocked("r", log), recipe, 1, 0.0)
    assert timing["MOST_ROUNDS"] == verification._MOST_ROUNDS == 1000
    assert len(log) == 2 * (1000 + 3 + 2 * 1000)  # to warm up, to find the grain, and twice in each round
