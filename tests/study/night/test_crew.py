"""The threads that wait for workers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from autoprec.backends import Device
from autoprec.measurement import Setup
from autoprec.spec import BackendSection
from autoprec.study.night.crew import Crew, Slot


def work(slot: Slot, item: int) -> None:
    with slot.bench._turn:
        pass


def test_a_worker_that_is_free_begins_while_others_are_made_ready(tmp_path: Path) -> None:
    setup, done = cast(Setup, SimpleNamespace(backend=BackendSection(name="openvino"))), list[int]()
    with Crew[int, None]([Device(name="cpu")], 2, tmp_path) as crew:
        second = crew.slots[1].bench
        with second._turn:  # it is busy
            crew.ready(lambda _: setup)
            crew.start(0, work)
            assert [finished.item for finished in crew.finished(all_of_them=True)] == [0]
            crew.start(1, work)  # on the second one
            crew.start(2, work)
            for _ in range(10):
                done += [finished.item for finished in crew.finished()]
                if done:
                    break
            second.close()
    assert done == [2]
