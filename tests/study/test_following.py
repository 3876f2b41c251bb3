"""A search is watched from another process, which only reads."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from autoprec import Study
from autoprec.errors import StudyError
from autoprec.records import RunStart, TrialRecord
from autoprec.store import searching
from autoprec.study.events import Quiet
from tiny_study import timed_for, write_study


class Notes(Quiet):
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.trials: int | None = None
        self.ended: list[int] = []

    def starts(self, start: RunStart) -> None:
        self.trials = start.trials
        self.ended += [trial.number for trial in start.earlier]

    def ends(self, record: TrialRecord, front: Sequence[TrialRecord]) -> None:
        self.ended.append(record.number)


@pytest.mark.slow
def test_a_running_search_is_followed_to_its_end(tmp_path: Path) -> None:
    path, notes = timed_for(write_study(tmp_path), 1.0), Notes()  # it is looked at each second
    study = Study.load(path)
    command = [sys.executable, "-c", f"from autoprec import Study; Study.load({str(path)!r}).search('4')"]
    with subprocess.Popen(command) as process:
        while searching(study.folder) is None:
            assert process.poll() is None
            time.sleep(0.05)
        front = study.follow(notes)
        assert process.wait(timeout=60) == 0
    assert notes.ended == [trial.number for trial in study.trials()]
    assert notes.trials is not None
    assert notes.trials <= 4
    assert front == study.front()


def test_a_study_that_nobody_searches_is_not_followed(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is not being searched; `autoprec search --study tiny`"):
        Study.load(write_study(tmp_path)).follow(Notes())


def test_a_killed_search_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "search.lock").write_text("999999999\n")
    assert searching(tmp_path) is None
