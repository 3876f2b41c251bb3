"""The reference that is measured during the calibration is the one that would be measured after it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import onnx_ir as ir
import pytest

from autoprec import Study
from autoprec.backends.devices import devices
from autoprec.errors import TrialError
from autoprec.graph.statistics.ranges import Histograms
from autoprec.legality.overflow import overflowing
from autoprec.measurement import Bench, Job, Score
from autoprec.records import Block, Measurement, Quality, TrialRecord
from autoprec.study.events import Quiet
from autoprec.study.night import early as early_of_a_night
from autoprec.study.night.crew import Crew
from autoprec.study.night.early import EarlyReference
from autoprec.study.preparation import Prepared, calibrating, prepare
from autoprec.study.preparation.duties import Duties
from autoprec.study.preparation.stages import Loaded, load
from tiny_study import timed_for, write_model, write_samples, write_study


class Staged(Quiet):
    """A watcher that remembers the steps."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str, trial: int | None = None) -> None:
        self.stages.append(name)

    def wait(self, name: str) -> None:
        """Until a step was heard of."""
        while name not in self.stages:
            time.sleep(0.02)


@contextmanager
def begun(
    definition: Path, log: Path, watcher: Quiet | None = None, *, waits: bool = False
) -> Iterator[EarlyReference]:
    """What has begun to measure a study's reference."""
    spec = Study.load(definition).spec
    chosen = devices(spec.backend.name, spec.backend.options, None)
    with (
        Crew[TrialRecord, Measurement](chosen, 1, log) as crew,
        EarlyReference(crew.first, log / "early", watcher or Quiet()) as early,
    ):
        assert early.start(load(spec, lambda _: None, scores=True), waits=waits)
        yield early


def prepared_at(definition: Path) -> Prepared:
    spec = Study.load(definition).spec
    Path(spec.folder).mkdir(exist_ok=True)
    return prepare(spec)


def test_it_is_the_model_that_the_study_compares_with(tmp_path: Path) -> None:
    definition = write_study(tmp_path)
    prepared = prepared_at(definition)
    with begun(definition, tmp_path) as early:
        early.go()
        measured = {assignment.digest: outcome for assignment, outcome in early.results(prepared)}
    assert measured.keys() == {prepared.reference.digest, prepared.uniform("fp32").digest}
    assert measured[prepared.reference.digest].measurement.quality.loss == 0
    assert not (tmp_path / "early").exists()


def test_the_references_own_file_is_what_its_trial_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, ask = [], Bench.measure

    def noted(bench: Bench, job: Job, *told: Callable[[str], None]) -> Measurement:
        jobs.append(job)
        return ask(bench, job, *told)

    monkeypatch.setattr(Bench, "measure", noted)
    with begun(definition := write_study(tmp_path), tmp_path) as early:
        early.go()
        list(early.results(prepared_at(definition)))
    assert [job.candidate_path == job.setup.reference_path for job in jobs] == [True, False]


def test_fp32_waits_for_the_calibration(tmp_path: Path) -> None:
    definition, watcher = write_study(tmp_path), Staged()
    definition.write_text(definition.read_text().replace("[search]", '[search]\nreference = "bf16"'))
    prepared = prepared_at(definition)
    with begun(definition, tmp_path, watcher) as early:
        results = early.results(prepared)
        assignment, _ = next(results)
        assert assignment == prepared.reference
        assert watcher.stages.count("build") == 1
        early.go()
        assert [assignment for assignment, _ in results] == [prepared.uniform("fp32")]
    assert watcher.stages.count("build") == 2


def test_one_that_waits_is_timed_once_it_may_be(tmp_path: Path) -> None:
    definition, watcher = write_study(tmp_path), Staged()
    prepared = prepared_at(definition)
    with begun(definition, tmp_path, watcher, waits=True) as early:
        watcher.wait("time")
        time.sleep(0.3)
        assert watcher.stages[-1] == "time"
        early.go()
        (_, first), _ = early.results(prepared)
    assert first.measurement.seconds.wait > 0.2
    assert not (tmp_path / "early").exists()


def write_calibrated(folder: Path) -> Study:
    """A study with more samples for calibration than foretell its overflow."""
    definition = write_study(folder)
    write_samples(folder / "calibration", count=calibrating._FORESEEN + 1, seed=1)
    definition.write_text(definition.read_text().replace("[search]", '[search]\nreference = "fp16-safe"'))
    return Study.load(definition)


def test_on_processors_all_but_its_timing_goes_on_during_the_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, watcher, foresee, go = write_calibrated(tmp_path), Staged(), Duties._foresee, EarlyReference.go

    def foreseen(self: Duties, loaded: Loaded, overflow: Mapping[str, str], seconds_left: float) -> None:
        while not self._is_asked:
            time.sleep(0.02)
        if self._is_begun:
            watcher.wait("score")
        foresee(self, loaded, overflow, seconds_left)

    def gone(self: EarlyReference) -> None:
        watcher.stage("go")
        go(self)

    monkeypatch.setattr(Duties, "_foresee", foreseen)
    monkeypatch.setattr(EarlyReference, "go", gone)
    study.search("1", watcher)
    assert watcher.stages.index("score") < watcher.stages.index("go") < watcher.stages.index("profile")
    assert watcher.stages.count("profile") == 1
    assert len(study.trials()) == 1


def test_one_that_later_samples_change_is_measured_again_and_told_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, real = write_calibrated(tmp_path), overflowing
    write_model(tmp_path / "tiny.onnx", scale=1e6)

    def foretold(so_far: Histograms, blocks: Sequence[Block], model: ir.Model) -> dict[str, str]:
        return real(so_far, blocks, model) if so_far.samples > calibrating._FORESEEN else {}

    monkeypatch.setattr(calibrating, "overflowing", foretold)
    study.search("1")
    (trial,) = study.trials()
    assert {precision for _, precision in trial.assignment.choices} == {"fp32"}
    reference = study.reference()
    assert reference is not None
    assert trial.measurement is not None
    assert reference.latency_ms == trial.measurement.latency.reference_median_ms


def test_one_that_overflow_changes_is_measured_again(tmp_path: Path) -> None:
    definition = write_study(tmp_path)
    write_model(tmp_path / "tiny.onnx", scale=1e6)
    definition.write_text(definition.read_text().replace("[search]", '[search]\nreference = "fp16-safe"'))
    prepared = prepared_at(definition)
    assert prepared.reference != prepared.uniform("fp16")
    with begun(definition, tmp_path) as early:
        early.go()
        assert not list(early.results(prepared))


def test_a_search_that_ends_meanwhile_waits_for_no_measurement(tmp_path: Path) -> None:
    definition = timed_for(write_study(tmp_path), 600.0)
    with begun(definition, tmp_path):
        pass
    assert not (tmp_path / "early").exists()


def test_trials_measured_for_the_reference_say_when_that_was(tmp_path: Path) -> None:
    study = Study.load(timed_for(write_study(tmp_path), 0.5))
    study.search(budget="2")
    for trial in study.trials():
        assert trial.measurement is not None
        lasted = datetime.fromisoformat(trial.end) - datetime.fromisoformat(trial.start)
        spent = trial.measurement.seconds
        # Most of it: a busy machine may hear late that the build began.
        assert lasted.total_seconds() > (spent.build + spent.run + spent.timing) / 2


def write_without_fp32(folder: Path) -> Study:
    """A study in which FP32 is no trial, and the reference another one."""
    definition = write_study(folder)
    more = '[search]\nreference = "bf16"\nprecisions = ["bf16", "int8"]'
    definition.write_text(definition.read_text().replace("[search]", more))
    return Study.load(definition)


def float_loss(study: Study) -> float:
    reference = study.reference()
    assert reference is not None
    return reference.float_loss


def test_where_fp32_is_no_trial_its_loss_is_all_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, score = list[str](), Bench.score

    def noted(bench: Bench, request: Score) -> Quality:
        scored.append(threading.current_thread().name)
        return score(bench, request)

    monkeypatch.setattr(Bench, "score", noted)
    losses = []
    for jobs in (1, 2):
        (tmp_path / str(jobs)).mkdir()
        study = write_without_fp32(tmp_path / str(jobs))
        study.search("1", jobs=jobs)
        losses.append(float_loss(study))
    assert losses[0] == losses[1] > 0
    assert scored == ["alongside"], (
        "one worker scores it beside what the engine is asked, two measure it in full"
    )


def test_what_fails_beside_the_questions_is_scored_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> NoReturn:
        raise TrialError("killed", "by a test")

    monkeypatch.setattr(early_of_a_night, "loss_of", fails)
    study = write_without_fp32(tmp_path)
    study.search("1")
    assert float_loss(study) > 0
