"""The wall clock may be set back or forth, and a machine started anew: neither budgets nor waiting depend on
it."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from autoprec import Study
from autoprec.records import TrialRecord
from autoprec.store import Store, _workers
from autoprec.study.events import Quiet
from autoprec.study.night import candidates, ledger
from autoprec.study.night.tally import seconds_of
from tiny_study import timed_for, write_study
from trial_records import complete


def lasting(number: int, start: str, seconds: float = 50) -> TrialRecord:
    end = (datetime.fromisoformat(start) + timedelta(seconds=seconds)).isoformat()
    return msgspec.structs.replace(complete(number, 1.0, 0.0), start=start, end=end)


@pytest.mark.parametrize("again", ["2026-01-01T00:00:00", "2026-01-01T00:02:30", "1995-01-01T00:00:00"])
def test_a_clock_that_was_set_back_gives_no_time_away(again: str) -> None:
    before = [lasting(n, f"2026-01-01T00:{n:02}:00") for n in range(5)]
    assert seconds_of((lasting(5, again), *before)) == 6 * 50


def test_a_trial_takes_as_long_as_it_took_whatever_the_clock_is_set_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = itertools.cycle(("2026-01-01T00:00:00.000+00:00", "1995-01-01T00:00:00.000+00:00"))
    for module in (candidates, ledger):
        monkeypatch.setattr(module, "now", lambda: next(dates))
    study = Study.load(timed_for(write_study(tmp_path), 0.5))
    study.search("3")
    assert [0 < seconds_of([trial]) < 1000 for trial in study.trials()] == [True] * 3


class Told(Quiet):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_a_search_waits_for_no_predecessor_that_died_with_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, told = Study.load(write_study(tmp_path)), Told()
    study.folder.mkdir()
    with Store.open(study.database) as store, monkeypatch.context() as patch:
        patch.setattr(_workers, "host", lambda: "here, before it was started anew")
        earlier = store.join("tiny", ("cpu",), study.spec.name)
        earlier.enter()
        earlier.take("preparation")
    monkeypatch.setattr(_workers, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr("autoprec.__version__", study.spec.name)
    assert len(study.search("1", told)) == 1
    assert not [line for line in told.lines if "waiting" in line]
