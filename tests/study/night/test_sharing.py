"""Several workers in one study: nothing is measured twice, nothing is lost, whoever dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import msgspec
import optuna
import pytest

from autoprec import Study
from autoprec.records import TrialRecord
from autoprec.store import Store, pareto
from autoprec.study.events import Quiet
from autoprec.study.runs import open_run
from autoprec.study.session import Parallel, session
from postgresql_server import PostgresqlServer
from tiny_study import write_study


def shared(path: Path, address: str) -> Study:
    """A study whose evidence is in a shared database."""
    return Study(msgspec.structs.replace(Study.load(path).spec, storage=address))


def joined(path: Path, address: str, budget: str) -> subprocess.Popen[bytes]:
    words = ["search", "--study", str(path), "--storage", address, "--budget", budget]
    return subprocess.Popen(
        [sys.executable, "-m", "autoprec", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def measured_once(trials: tuple[TrialRecord, ...]) -> bool:
    return max(Counter(t.assignment.digest for t in trials if t.state == "complete").values()) == 1


def test_candidates_that_are_built_beside_one_another_are_measured_once(tmp_path: Path) -> None:
    study = Study.load(write_study(tmp_path))
    front = study.search("7", jobs=3)
    trials = study.trials()
    assert [trial.state for trial in trials] == ["complete"] * 7
    assert measured_once(trials)
    assert front == pareto(trials)
    assert [trial.origin for trial in trials[:3]] == ["anchor"] * 3
    reference = study.reference()
    assert reference is not None
    for one in (trial.measurement for trial in trials if trial.measurement is not None):
        assert one.latency_ms == pytest.approx(one.latency.ratio * reference.latency_ms)
    spans = sorted((trial.start, trial.end) for trial in trials)
    assert any(later < end for (_, end), (later, _) in pairwise(spans))


@pytest.mark.slow
def test_two_hosts_without_a_shared_disk_search_one_study(tmp_path: Path, server: PostgresqlServer) -> None:
    address = server.new_database()
    (tmp_path / "one").mkdir()
    write_study(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    hosts = [joined(tmp_path / name / "tiny.toml", address, "6") for name in ("one", "two")]
    for process in hosts:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    study = shared(tmp_path / "one" / "tiny.toml", address)
    trials = study.trials()
    assert [trial.state for trial in trials] == ["complete"] * 6
    assert measured_once(trials)
    assert study.front() == pareto(trials)
    storage = optuna.storages.RDBStorage(address)
    told = optuna.load_study(study_name="tiny", storage=storage).trials
    storage.engine.dispose()
    assert [trial.values for trial in told] == [[trial.latency_ms, trial.loss] for trial in trials]
    with Store.open(address, read_only=True) as store:
        assert [(run.budget, run.trials, bool(run.end)) for run in store.runs("tiny")] == [("6", 6, True)]


def test_a_host_that_was_late_for_a_run_does_not_begin_another(
    tmp_path: Path, server: PostgresqlServer
) -> None:
    study = shared(write_study(tmp_path), server.new_database())
    study.search("2")
    with session(study.spec, Quiet(), Parallel(jobs=1), checks=False) as late:
        study.search("1")  # another host's
        assert open_run(late.bound, "1", Quiet()).end
        assert not open_run(late.bound, "2", Quiet()).end  # that one was over before


@pytest.mark.slow
def test_the_trial_of_a_killed_host_is_taken_over_once(tmp_path: Path, server: PostgresqlServer) -> None:
    address = server.new_database()
    path = write_study(tmp_path)
    study, first = shared(path, address), joined(path, address, "8")
    while not _stopped_within_a_trial(first, address):
        assert first.poll() is None
    before = _states(address)["complete"]
    second = joined(path, address, "8")
    while _states(address)["complete"] == before:
        time.sleep(0.05)
        assert second.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    _, errors = second.communicate(timeout=300)
    assert second.returncode == 0, errors.decode()
    trials = study.trials()
    assert sum(trial.state == "complete" for trial in trials) == 8
    assert measured_once(trials)
    cut_off = [t for t in trials if t.failure is not None and t.failure.kind == "interrupted"]
    assert len(cut_off) == 1
    again = [t for t in trials if t.assignment == cut_off[0].assignment and t.state == "complete"]
    assert len(again) == 1


def _stopped_within_a_trial(host: subprocess.Popen[bytes], address: str) -> bool:
    """Whether HOST stands still while it measures a trial; where it does not measure, it runs on.

    A blow at a running host may fall just behind the end of its trial.
    """
    time.sleep(0.05)
    os.kill(host.pid, signal.SIGSTOP)
    time.sleep(0.2)  # what it had sent to the database before is stored now
    if _states(address)["running"]:
        return True
    os.kill(host.pid, signal.SIGCONT)
    return False


def _states(address: str) -> Counter[str]:
    with Store.open(address) as store:
        trials = store.trials("tiny") if "tiny" in store.studies() else ()
        return Counter(trial.state for trial in trials)
