"""Workers, and the threads that wait for them."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from autoprec import Study
from autoprec.backends import Device
from autoprec.errors import StudyError
from autoprec.legality.verdicts import Verdict
from autoprec.measurement import Bench, Probe, Setup
from autoprec.records import TrialRecord
from autoprec.spec import BackendSection
from autoprec.study.night import crew
from autoprec.study.night.crew import Crew, Slot
from autoprec.study.preparation import asking
from autoprec.study.preparation.fidelity import Fidelity
from tiny_study import write_study


def work(slot: Slot, item: int) -> None:
    with slot.bench._turn:
        pass


def test_a_worker_that_is_free_begins_while_others_are_made_ready(tmp_path: Path) -> None:
    setup, done = cast(Setup, SimpleNamespace(backend=BackendSection(name="openvino"))), list[int]()
    with Crew[int, None]([Device(name="cpu")], 2, tmp_path) as workers:
        second = workers.slots[1].bench
        with second._turn:  # it is busy
            workers.ready(lambda _: setup)
            workers.start(0, work)
            assert [finished.item for finished in workers.finished(all_of_them=True)] == [0]
            workers.start(1, work)  # on the second one
            workers.start(2, work)
            for _ in range(10):
                done += [finished.item for finished in workers.finished()]
                if done:
                    break
            second.close()
    assert done == [2]


def test_many_questions_are_put_by_several_workers_which_are_gone_once_there_is_a_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, running, probe = set[Bench](), list[bool](), Bench.probe

    def noted(bench: Bench, request: Probe) -> Verdict:
        asked.add(bench)
        return probe(bench, request)

    def look(study: Study, trial: TrialRecord) -> None:
        running[:] = [bench._worker._process is not None for bench in asked]

    monkeypatch.setattr(Bench, "probe", noted)
    monkeypatch.setattr(asking, "_EACH", 1)
    monkeypatch.setattr(crew, "_MOST_ASKERS", 2)
    Study.load(write_study(tmp_path, asked=False)).search("2", callbacks=[look])
    assert sorted(running) == [False, True]


def test_a_comparison_that_fails_leaves_nobody_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Fidelity, loaded: object) -> None:
        raise StudyError("it departs")

    monkeypatch.setattr(Fidelity, "check_loaded", fail)
    with pytest.raises(StudyError, match="it departs"):
        Study.load(write_study(tmp_path, asked=False)).search("1")
    assert "alongside" not in {thread.name for thread in threading.enumerate()}
