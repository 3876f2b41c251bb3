"""What is proposed while all workers are busy, so that none of them waits for the strategy."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec import Study
from autoprec.records import Proposal, TrialRecord
from autoprec.study.events import Quiet
from autoprec.study.night import queue
from autoprec.study.night.queue import Queue
from autoprec.study.night.tally import Tally
from tiny_study import write_study


@pytest.mark.parametrize(("jobs", "is_ready"), [(2, True), pytest.param(1, False, marks=pytest.mark.slow)])
def test_with_several_workers_the_next_proposal_waits_for_the_first_that_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, *, is_ready: bool
) -> None:
    ready, real = list[bool](), Queue.next

    def following(self: Queue, room: int = 1) -> Proposal | None:
        ready.append(bool(self._ready))
        return real(self, room)

    monkeypatch.setattr(Queue, "next", following)
    Study.load(write_study(tmp_path)).search("9", jobs=jobs)
    assert any(ready) == is_ready


class Said(Quiet):
    """A watcher that remembers what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_no_anchor_is_begun_that_would_end_behind_its_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, origins = Study.load(write_study(tmp_path)), list[str]()
    monkeypatch.setattr(Tally, "usual_seconds", 1e6)

    def follow(study: Study, trial: TrialRecord) -> None:
        origins.append(trial.origin)
        if len(origins) == 2:
            study.stop()

    study.search("8h", callbacks=[follow])
    assert origins == ["anchor", "search"]


def test_late_the_strategy_takes_turns_with_the_anchors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_SHARE_BEFORE_SEARCH", 0.0)
    study, origins, said = Study.load(write_study(tmp_path)), list[str](), Said()

    def follow(study: Study, trial: TrialRecord) -> None:
        origins.append(trial.origin)
        if len(origins) == 4:
            study.stop()

    study.search("10m", said, callbacks=[follow])
    assert any("more than 0% of the time: the search proposes at once" in line for line in said.lines)
    assert origins == ["anchor", "search", "anchor", "search"]
