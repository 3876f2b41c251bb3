"""The reference's own trial is stored and told as soon as it is measured, while FP32 is still to come."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import optuna
import pytest

from autoprec import Study
from autoprec.backends.openvino import OpenVinoBackend
from autoprec.errors import StudyError
from autoprec.legality.verdicts import Legality, Verdict
from autoprec.measurement import Bench, Probe
from autoprec.records import Basis, Reference, RunStart, TrialRecord
from autoprec.store import Store
from autoprec.study import session
from autoprec.study.events import Quiet
from autoprec.study.overview.plan import judged_blocks
from autoprec.study.preparation.probing import Prober
from tiny_study import write_study


class CutOffError(Exception):
    """Ends a search where it is raised."""


class Told(Quiet):
    """A watcher that remembers in which order it hears what."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, message: str) -> None:
        if message.startswith("the reference takes"):
            self.heard.append("early")
        if message.startswith("trying"):
            self.heard.append("asked")

    def starts(self, start: RunStart) -> None:
        self.heard.append("starts with" if start.reference else "starts without")

    def refers(self, reference: Reference) -> None:
        self.heard.append(f"{reference.precision} reference")

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        self.heard.append(record.label or record.origin)


def write_bf16_study(folder: Path, more: str = "", *, asked: bool = True) -> Study:
    """A study whose reference is another one than FP32."""
    definition = write_study(folder, more, asked=asked)
    search = '[search]\nreference = "bf16"\nprecisions = ["bf16", "fp32", "int8"]'
    definition.write_text(definition.read_text().replace("[search]", search))
    return Study.load(definition)


@pytest.mark.parametrize("jobs", [1, 3])
def test_it_is_stored_before_fp32_is_measured(tmp_path: Path, jobs: int) -> None:
    references: list[Reference | None] = []
    study, told = write_bf16_study(tmp_path), Told()
    study.search("2", told, jobs=jobs, callbacks=[lambda study, _: references.append(study.reference())])
    assert references == [None, study.reference()]
    assert told.heard == ["early", "starts without", "all-bf16", "bf16 reference", "all-fp32"]


def test_it_is_measured_before_the_engine_is_asked_what_the_calibration_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, told, probe = write_bf16_study(tmp_path, asked=False), Told(), Bench.probe

    def noted(bench: Bench, request: Probe) -> Verdict:
        told.heard.append(bench._worker._log.stem)
        return probe(bench, request)

    monkeypatch.setattr(session, "default_aides", lambda *_: 1)
    monkeypatch.setattr(Bench, "probe", noted)
    study.search("1", told)
    first = told.heard.index("all-bf16")
    assert told.heard.index("early") < first < told.heard.index("asked", first)
    # The worker that measured it scores FP32 meanwhile.
    asked = [heard for heard in told.heard[first:] if heard.startswith("worker")]
    assert asked[0] == "worker-aide-1"
    (trial,) = study.trials()
    assert trial.measurement is not None
    assert (trial.label, trial.measurement.quality.loss) == ("all-bf16", 0)


def cut_off_behind_it(study: Study) -> None:
    """Search until the engine is asked for more than the reference's own trial needs."""

    def end(*_: object) -> NoReturn:
        raise CutOffError

    with mock.patch.object(Prober, "basis", end), pytest.raises(CutOffError):
        study.search("3")


def test_what_is_cut_off_before_the_engine_is_asked_the_rest_goes_on_from_its_trial(tmp_path: Path) -> None:
    study = write_bf16_study(tmp_path)
    cut_off_behind_it(study)
    (first,) = study.trials()
    with Store.open(study.database) as store:
        basis = store.basis("tiny")
        assert basis is not None
        assert (basis.is_open, basis.reference) == (True, "bf16")
        assert store.reference("tiny") is None
    assert judged_blocks(study.spec) == ()

    study.search("3")
    assert study.trials()[0] == first
    assert [trial.label for trial in study.trials()] == ["all-bf16", "all-fp32", "all-int8"]
    reference = study.reference()
    assert reference is not None
    assert first.measurement is not None
    assert reference.latency_ms == first.measurement.latency.reference_median_ms
    with Store.open(study.database) as store:
        basis = store.basis("tiny")
        assert basis is not None
        assert not basis.is_open
        assert len(store.runs("tiny")) == 1


def test_its_precision_stays_whatever_the_engine_answers_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.load(write_study(tmp_path))
    with monkeypatch.context() as untried:
        untried.setattr(Legality, "same_floats", lambda *_: {})
        cut_off_behind_it(study)
    study.search("3")
    reference = study.reference()
    assert reference is not None
    # This engine runs FP16 as FP32, and would be compared with that.
    assert (reference.precision, study.trials()[0].label) == ("fp16", "all-fp16")


def test_another_definition_is_refused_while_only_the_reference_is_measured(tmp_path: Path) -> None:
    study = write_bf16_study(tmp_path)
    cut_off_behind_it(study)
    before = study.trials()
    path = tmp_path / "tiny.toml"
    path.write_text(path.read_text().replace('reference = "bf16"', 'reference = "fp32"'))
    with pytest.raises(StudyError, match="was measured with something else: the definition"):
        Study.load(path).search("3")
    assert study.trials() == before


def test_what_the_engine_refuses_later_is_no_choice_in_optunas_tables_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_bf16_study(tmp_path)
    lost = {("a", "int8"): "is computed wrongly"}
    monkeypatch.setattr(Prober, "_miscomputed", lambda *_: lost)
    study.search("2")
    assert "int8" not in study.stored_blocks()[0].allowed
    told = optuna.load_study(study_name="tiny", storage=study.address).trials
    assert told[0].distributions == told[1].distributions
    assert [trial.params for trial in told] == [trial.assignment.as_dict() for trial in study.trials()]


def before_the_rest_is_asked(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    ask = Prober.basis

    def asked(*given: Any) -> Basis:
        happens()
        return ask(*given)

    monkeypatch.setattr(Prober, "basis", asked)


def test_what_is_asked_behind_it_takes_none_of_the_runs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_rest_is_asked(monkeypatch, lambda: time.sleep(1.1))
    study = write_bf16_study(tmp_path)
    study.search("1s")
    assert len(study.trials()) > 1


def test_ctrl_c_while_the_rest_is_asked_ends_the_search_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_bf16_study(tmp_path)
    with monkeypatch.context() as patch:
        before_the_rest_is_asked(patch, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            study.search("2")
    assert [trial.label for trial in study.trials()] == ["all-bf16"]
    study.search("2")
    assert [trial.label for trial in study.trials()] == ["all-bf16", "all-fp32"]


def test_winding_up_while_the_rest_is_asked_tries_nothing_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_bf16_study(tmp_path)
    before_the_rest_is_asked(monkeypatch, study.wind_up)
    study.search("2")
    assert [trial.label for trial in study.trials()] == ["all-bf16"]


def test_a_callback_behind_it_ends_the_search(tmp_path: Path) -> None:
    study = write_bf16_study(tmp_path)
    study.search("5", callbacks=[lambda study, _: study.stop()])
    assert [trial.label for trial in study.trials()] == ["all-bf16"]


def test_one_that_was_measured_during_the_calibration_is_told_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoBackend, "has_own_device", True)
    study, told = write_bf16_study(tmp_path), Told()
    study.search("4", told, jobs=4)
    assert told.heard[:4] == ["early", "starts without", "all-bf16", "bf16 reference"]
    assert [trial.label for trial in study.trials()][:3] == ["all-bf16", "all-fp32", "all-int8"]
    assert [trial.state for trial in study.trials()] == ["complete"] * 4


def test_what_is_cut_off_behind_it_goes_on_from_its_measurement(tmp_path: Path) -> None:
    study = write_bf16_study(tmp_path)

    def end(study: Study, trial: TrialRecord) -> None:
        raise CutOffError

    with pytest.raises(CutOffError):
        study.search("3", callbacks=[end])
    (first,) = study.trials()
    assert study.reference() is None

    study.search("3")
    reference = study.reference()
    assert reference is not None
    assert first.measurement is not None
    assert reference.latency_ms == first.measurement.latency.reference_median_ms
    assert study.trials()[0] == first
    assert [trial.label for trial in study.trials()] == ["all-bf16", "all-fp32", "all-int8"]


def test_a_reference_that_is_unfit_ends_the_search_behind_its_trial(tmp_path: Path) -> None:
    study = write_bf16_study(tmp_path, "\n[quality]\nreference_limit = 1e-9\n")
    for _ in range(2):
        with pytest.raises(StudyError, match=r"reference_limit .* in a copy of the definition name another"):
            study.search("3")
        assert [trial.label for trial in study.trials()] == ["all-bf16"]
