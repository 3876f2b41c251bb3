"""What is proposed while all workers are busy, so that none of them waits for the strategy."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoprec import Study
from autoprec.records import Proposal, TrialRecord
from autoprec.study.night import queue
from autoprec.study.night.queue import Queue
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


def test_late_the_strategy_takes_turns_with_the_anchors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_SHARE_BEFORE_SEARCH", 0.0)
    study, origins = Study.load(write_study(tmp_path)), list[str]()

    def follow(study: Study, trial: TrialRecord) -> None:
        origins.append(trial.origin)
        if len(origins) == 4:
            study.stop()

    study.search("10m", callbacks=[follow])
    assert origins == ["anchor", "anchor", "search", "anchor"]
