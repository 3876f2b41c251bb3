"""Killed or stopped, a search loses nothing and is resumed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoprec import Study
from autoprec.errors import StudyError
from autoprec.records import TrialRecord
from autoprec.store import Store, pareto
from tiny_study import timed_for, write_study


def load(path: Path) -> Study:
    return Study.load(path)


def search_process(path: Path, budget: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "autoprec", "search", "--study", str(path), "--budget", str(budget)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def _stored(database: Path) -> tuple[TrialRecord, ...]:
    try:
        with Store.open(database, read_only=True) as store:
            return store.trials("tiny")
    except StudyError:
        return ()


@pytest.mark.parametrize("count", [pytest.param(0, marks=pytest.mark.slow), 3])
def test_a_killed_search_loses_nothing_and_reaches_its_total(tmp_path: Path, count: int) -> None:
    path = write_study(tmp_path)
    process = search_process(path, 8)
    while len(_stored(load(path).database)) < count:
        time.sleep(0.05)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    study = load(path)
    before = [t for t in _stored(study.database) if t.state == "complete"]
    study.search("8")
    after = study.trials()
    assert set(before) <= set(after)
    done = [t for t in after if t.state == "complete" and t.origin != "reused"]
    assert len(done) == 8
    assert study.front() == pareto(after)
    with sqlite3.connect(study.database) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def test_a_run_that_was_killed_after_its_last_trial_measures_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load(write_study(tmp_path))
    with monkeypatch.context() as killed:
        killed.setattr(Store, "end_run", lambda *_: None)
        study.search("2")
    study.search("2")
    assert len(study.trials()) == 2


@pytest.mark.campaign
def test_a_search_killed_at_twenty_random_moments_loses_nothing(tmp_path: Path) -> None:
    path, moments = write_study(tmp_path), random.Random(0)
    # Of four precisions that every processor tells apart there are 64 assignments of three blocks.
    four = '[search]\nprecisions = ["fp32", "bf16", "int8", "int8+minmax"]'
    path.write_text(path.read_text().replace("[search]", four))
    timed_for(path, 0.3)  # else it ends before it is killed twenty times
    study, before = load(path), set[TrialRecord]()
    for _ in range(20):
        process = search_process(path, 60)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.5, 6.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        after = {trial for trial in _stored(study.database) if trial.state == "complete"}
        assert before <= after
        before = after
    study.search("60")
    trials = study.trials()
    assert before <= set(trials)
    assert sum(t.state == "complete" and t.origin != "reused" for t in trials) == 60
    assert study.front() == pareto(trials)
    with sqlite3.connect(study.database) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


def test_ctrl_c_ends_the_search_after_the_trial_in_hand_and_it_resumes(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    process = search_process(path, 8)
    study = load(path)
    while len(_stored(study.database)) < 2:  # the study is prepared
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors.decode()
    before = study.trials()
    assert all(trial.state == "complete" for trial in before)
    study.search("8")
    assert len(study.trials()) == 8, "the same budget resumes the run"
    study.search("8")
    assert len(study.trials()) == 16, "which is over now"


@pytest.mark.slow
def test_a_second_ctrl_c_tells_what_is_kept_and_how_to_resume(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    command = [sys.executable, "-m", "autoprec", "search", "--study", str(path), "--budget", "500"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while len(_stored(load(path).database)) < 2:  # the study is prepared
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    if process.returncode == 0:  # the trial in hand was over before
        assert "stopping after the trials in progress" in output
    else:
        assert process.returncode == 130
        last = errors.splitlines()[-1]
        assert "measured trials are kept" in last
        assert f"`autoprec search --study {path} --budget 500` resumes" in last
    assert "Traceback" not in errors
