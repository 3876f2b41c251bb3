"""Who else uses the GPU: the search's own workers are no neighbours, however NVML numbers them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoprec.backends.tensorrt import neighbours
from autoprec.files import SHARED_TMPDIR

HOLD = "import sys, time; held = open(sys.argv[1]); print(flush=True); time.sleep(60)"
HOSTS_NUMBERS = [4194001, 4194002, 4194003]
"""Of processes that are not here: the kernel's own limit is below them in no container."""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The number of a process of ours that holds open what a CUDA context does."""
    device = tmp_path / "nvidia-uvm"
    device.touch()
    monkeypatch.setattr(neighbours, "_OF_CONTEXTS", (str(device),))
    monkeypatch.delenv(SHARED_TMPDIR, raising=False)
    command = [sys.executable, "-c", HOLD, str(device)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_workers_of_the_search_are_no_neighbours_of_it(worker: int) -> None:
    assert neighbours.others([worker, os.getpid(), HOSTS_NUMBERS[0]], holds_context=True) == 1


@pytest.mark.parametrize(("holds_context", "count"), [(True, 1), (False, 2)])
def test_in_a_container_as_many_as_are_ours_are_no_neighbours(
    worker: int, count: int, *, holds_context: bool
) -> None:
    assert worker
    assert neighbours.others(HOSTS_NUMBERS, holds_context=holds_context) == count


def test_workers_of_other_gpus_take_nothing_off(worker: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert worker
    monkeypatch.setenv(neighbours.VISIBLE, "a GPU of its own")
    assert neighbours.others(HOSTS_NUMBERS, holds_context=True) == 2


def test_a_worker_knows_its_search_by_the_process_that_started_it(
    worker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SHARED_TMPDIR, "/tmp")
    assert neighbours.others([worker, os.getpid(), os.getppid()], holds_context=True) == 0
