"""A search is real: it measures, stores, survives being killed, and refuses what does not fit."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import onnx
import onnxruntime
import optuna
import pytest

from autoprec import Study
from autoprec.records import BlockAudit, TrialRecord
from autoprec.store import Store, exclusive, pareto
from autoprec.study.night.tally import seconds_of
from tiny_study import write_searched, write_study
from trial_records import BLOCKS, IDENTITY, complete, running


def load(path: Path) -> Study:
    return Study.load(path)


def test_a_search_measures_the_anchors_first_and_stores_the_front(tmp_path: Path) -> None:
    study = load(write_study(tmp_path))
    front = study.search("6")
    trials = study.trials()
    assert [trial.label for trial in trials[:3]] == ["all-fp32", "all-bf16", "all-int8"]
    measured = [trial for trial in trials if trial.origin != "reused"]
    assert [trial.state for trial in measured] == ["complete"] * 6
    assert front == pareto(trials) == study.front()
    assert all(trial.measurement and trial.measurement.quality.samples == 4 for trial in trials)


def test_a_second_night_goes_on_and_measures_no_assignment_twice(tmp_path: Path) -> None:
    study = load(write_searched(tmp_path))
    study.search("4")
    measured = [trial.assignment.digest for trial in study.trials() if trial.origin != "reused"]
    assert len(measured) == len(set(measured)) == 9


def test_every_trial_is_in_optuna_as_it_is_in_the_store(tmp_path: Path) -> None:
    study = load(write_searched(tmp_path))
    with sqlite3.connect(study.database) as connection:
        states = connection.execute("select number, state from trials order by number").fetchall()
    assert states == [(trial.number, trial.state.upper()) for trial in study.trials()]


def test_what_others_queued_in_optuna_takes_no_trial_of_ours(tmp_path: Path) -> None:
    study = load(write_study(tmp_path))
    study.search("1")
    optuna.load_study(study_name="tiny", storage=f"sqlite:///{study.database}").enqueue_trial(
        dict.fromkeys("abc", "int8")
    )
    study.search("2")
    copies = {
        t.number: t
        for t in optuna.load_study(study_name="tiny", storage=f"sqlite:///{study.database}").trials
    }
    assert [t.label for t in study.trials()] == ["all-fp32", "all-bf16", "all-int8"]
    assert all(copies[t.number].params == t.assignment.as_dict() for t in study.trials())


def test_a_trial_runs_as_long_as_its_search_does(tmp_path: Path) -> None:
    study = load(write_study(tmp_path))
    first = study.search("1")[0]
    with Store.open(study.database) as store:
        store.begin(msgspec.structs.replace(first, number=99, state="running", measurement=None, end=""))
    with exclusive(study.database.parent):
        assert study.trial(99).state == "running"
    trial = study.trial(99)
    assert trial.failure is not None
    assert (trial.state, trial.failure.kind) == ("failed", "interrupted")


def test_a_run_whose_time_is_over_measures_nothing_more(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("finalists = 0", "finalists = 3"))
    study = load(path)
    study.search("4")
    study.search("0.001s")
    assert len(study.trials()) <= 5


def test_only_the_time_that_trials_took_is_spent() -> None:
    def trial(start: str, end: str) -> TrialRecord:
        day = "2026-01-01T"
        return msgspec.structs.replace(complete(0, 1.0, 0.0), start=day + start, end=day + end)

    parallel = trial("00:00:00", "00:01:00"), trial("00:00:30", "00:01:30")
    assert seconds_of(parallel) == 90
    assert seconds_of((*parallel, trial("08:00:00", "08:00:10"), running(3))) == 100


def test_what_an_engine_never_runs_as_itself_is_no_mismatch(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text('name = "demo"\n' + path.read_text())
    study = load(path)
    study.folder.mkdir()
    with Store.open(study.database) as store:
        store.bind("demo", IDENTITY, BLOCKS)
        store.finish(audited(0, 9.0, 0.0, stem=("fp16", "f32", False), neck=("fp16", "f32", False)))
        store.finish(audited(1, 5.0, 0.1, stem=("int8", "f32", False), neck=("bf16", "bf16", True)))
        store.finish(audited(2, 4.0, 0.2, stem=("bf16", "f32", False), neck=("int8", "i8", True)))
    assert study.mismatches() == (
        "trial 1, block stem: asked int8, ran f32",
        "trial 2, block stem: asked bf16, ran f32",
    )


def audited(number: int, latency_ms: float, loss: float, **blocks: tuple[str, str, bool]) -> TrialRecord:
    """A trial whose blocks were asked for something, ran in something, and whether that is the same."""
    record = complete(number, latency_ms, loss, choices=" ".join(asked for asked, _, _ in blocks.values()))
    audit = tuple(
        BlockAudit(block=block, asked=asked, ran=ran, matches=is_same, time_ms=0.0)
        for block, (asked, ran, is_same) in blocks.items()
    )
    assert record.measurement is not None
    return msgspec.structs.replace(
        record, measurement=msgspec.structs.replace(record.measurement, audit=audit)
    )


def test_an_export_is_the_model_that_was_measured(tmp_path: Path) -> None:
    study = load(write_searched(tmp_path))
    files = study.export(tmp_path / "out", trial=2)
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    assert [value.name for value in session.get_inputs()] == ["image"]
    assert {path.name for path in files} >= {"model.onnx", "assignment.json", "manifest.json", "trtexec.sh"}
    ops = {node.op_type for node in onnx.load(tmp_path / "out" / "model.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= ops


def test_what_takes_more_memory_than_allowed_is_kept_but_on_no_front(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    path.write_text(path.read_text().replace("[search]", "[search]\nmax_memory_mb = 1"))
    study = load(path)
    study.search("4")
    over = {t.number: t.excess_mb for t in study.trials()}
    assert max(over.values()) > 0
    for trial in optuna.load_study(study_name=study.spec.name, storage=f"sqlite:///{study.database}").trials:
        assert trial.constraints == {"max_memory_mb": pytest.approx(over[trial.number])}
    assert {t.number for t in study.front()} == {t.number for t in pareto(study.trials())}
    assert all(t.excess_mb <= 0 for t in study.front())
