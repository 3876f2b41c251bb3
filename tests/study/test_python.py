"""A study from Python and from notebooks: in a thread, with callbacks, mixes, tables and charts."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import cast

import msgspec
import pytest

import autoprec
from autoprec import Front, Study, TrialRecord
from autoprec.errors import BackendError, StudyError, UserError
from autoprec.report import as_json, study_html
from autoprec.study.events import Quiet
from autoprec.study.runs import Course, stopping
from tiny_study import write_study
from trial_records import REFERENCE, complete

MIX = {"b": "int8"}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[TrialRecord]]:
    """A study that another thread searched: a mix of the user's, then stopped by a callback."""
    study, told = Study.load(str(write_study(tmp_path_factory.mktemp("study")))), list[TrialRecord]()
    study.enqueue(MIX)

    def look(study: Study, trial: TrialRecord) -> None:
        told.append(study.trial(trial.number))  # it is stored by then
        if trial.origin == "queued":
            study.stop()

    thread = threading.Thread(target=lambda: study.search(50, callbacks=[look]))
    thread.start()
    thread.join(120)
    return study, told


def test_a_search_in_a_thread_tells_callbacks_of_each_trial(
    searched: tuple[Study, list[TrialRecord]],
) -> None:
    study, told = searched
    assert tuple(told) == study.trials()
    assert "Study('tiny', " in repr(study)


def test_a_mix_of_ones_own_is_measured_after_the_anchors(searched: tuple[Study, list[TrialRecord]]) -> None:
    _, told = searched
    assert [trial.origin for trial in told][-2:] == ["anchor", "queued"]
    assert told[-1].state == "complete"
    choices = told[-1].assignment.as_dict()
    assert choices == told[0].assignment.as_dict() | MIX  # the first anchor is the reference


def test_a_mix_that_no_night_could_measure_is_refused(searched: tuple[Study, list[TrialRecord]]) -> None:
    study, _ = searched
    with pytest.raises(StudyError, match="no block 'bb'; did you mean 'b'"):
        study.enqueue({"bb": "int8"})
    with pytest.raises(StudyError, match=r"'b' cannot be 'int9' \(there is no such precision\)"):
        study.enqueue({"b": "int9"})


def test_the_best_is_the_fastest_within_a_loss(searched: tuple[Study, list[TrialRecord]]) -> None:
    study, _ = searched
    assert study.best(max_loss=1.0) == study.front()[0]
    with pytest.raises(StudyError, match="within a loss of -1"):
        study.best(max_loss=-1.0)


def test_the_trials_are_a_table(searched: tuple[Study, list[TrialRecord]]) -> None:
    pytest.importorskip("pandas")
    study, told = searched
    table = study.trials_dataframe()
    assert list(table["number"]) == [trial.number for trial in told]
    assert list(table["block.b"])[-1] == "int8"
    assert table["on_front"].sum() == len(study.front())
    assert str(table["start"].dtype).startswith("datetime64")


def test_without_pandas_it_says_what_to_install(
    searched: tuple[Study, list[TrialRecord]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BackendError, match=r"pip install .*tables"):
        searched[0].trials_dataframe()


@pytest.mark.parametrize("ending", ["html", pytest.param("png", marks=pytest.mark.slow)])
def test_the_front_is_a_chart_that_can_be_kept(
    searched: tuple[Study, list[TrialRecord]], ending: str, tmp_path: Path
) -> None:
    chart = searched[0].plot_front()
    assert {"application/vnd.vegalite.v6+json", "image/svg+xml"} <= set(chart._repr_mimebundle_())
    written = chart.save(str(tmp_path / f"front.{ending}"))
    assert written.stat().st_size > 1000
    assert "https://cdn" not in written.read_text(errors="replace")
    with pytest.raises(UserError, match=r"end it in \.html"):
        chart.save(tmp_path / "front.gif")


def test_an_export_takes_its_folder_as_text(
    searched: tuple[Study, list[TrialRecord]], tmp_path: Path
) -> None:
    study, told = searched
    files = study.export(str(tmp_path / "out"), trial=told[0].number, examples=0, targets=["json"])
    assert tmp_path / "out" / "manifest.json" in files


def nasty() -> TrialRecord:
    return msgspec.structs.replace(complete(3, 5.0, 0.01), label="<script>alert(1)</script>")


@pytest.mark.parametrize("shown", [Front([nasty()])._repr_html_(), study_html("<script>", (), [nasty()])])
def test_what_a_notebook_shows_is_escaped(shown: str) -> None:
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


def test_a_front_is_short_and_still_a_tuple_of_trials() -> None:
    front = Front([complete(3, 5.0, 0.01), complete(4, 6.0, 0.0)], REFERENCE)
    assert len(repr(front)) < 200
    assert (front[0].number, len(front), front.reference) == (3, 2, REFERENCE)
    assert as_json(front) == as_json(tuple(front))


def test_a_study_that_has_measured_nothing_is_shown(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    assert repr(study) == "Study('tiny', nothing measured yet)"
    assert "has measured nothing yet" in study._repr_html_()


def test_the_package_says_its_version() -> None:
    assert autoprec.__version__[0].isdigit()


def test_a_notebook_keeps_its_signal_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    before = signal.getsignal(signal.SIGINT)
    with stopping(cast(Course, None), Quiet()):
        assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_the_middle_of_a_print_stops_a_search() -> None:
    code = """
import io, signal, sys
from types import SimpleNamespace
from autoprec.study.runs import stopping

class Interrupting(io.RawIOBase):
    written = []
    def writable(self):
        return True
    def write(self, data):
        self.written.append(bytes(data))
        if len(self.written) == 1:
            signal.raise_signal(signal.SIGINT)
        return len(data)

stream = io.TextIOWrapper(io.BufferedWriter(Interrupting()))
say = lambda: print("stopping", file=stream, flush=True)
with stopping(SimpleNamespace(stop=lambda: None), SimpleNamespace(stops=say)):
    print("a line", file=stream, flush=True)
sys.exit(Interrupting.written != [b"a line\\n", b"stopping\\n"])
"""
    # In a process of its own: a signal that nobody catches would end that of the tests.
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
