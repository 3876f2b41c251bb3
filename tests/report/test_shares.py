"""Who measured what, and how fast."""

from __future__ import annotations

import msgspec
from rich.console import Console

from autoprec.records import Doing, TrialRecord, Worker
from autoprec.report import shares, shares_line, trial_view, workers_table
from trial_records import BLOCKS, complete, running


def trial(number: int, worker: str, start: int, *, run: int = 1) -> TrialRecord:
    """A trial of ten minutes that began so many minutes after an hour."""
    return msgspec.structs.replace(
        complete(number, 5.0, 0.01),
        worker=worker,
        run=run,
        start=f"2026-01-{run:02}T00:{start:02}:00+00:00",
        end=f"2026-01-{run:02}T00:{start + 10:02}:00+00:00",
    )


def shown(view: object) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(view)
    return capture.get()


def test_the_pause_between_two_nights_slows_nobody_down() -> None:
    trials = [
        trial(0, "a gpu 0", 0),
        trial(1, "a gpu 0", 10),
        trial(2, "a gpu 0", 0, run=2),
        trial(3, "b", 0),
    ]
    assert [(s.worker, s.trials, s.trials_an_hour) for s in shares(trials)] == [
        ("a gpu 0", 3, 6.0),
        ("b", 1, None),  # one alone says nothing of a rate
    ]
    assert shares_line(shares(trials)) == "measured by a gpu 0 (3 trials, 6 an hour), b (1 trial)"


def test_trials_from_before_they_said_where_they_ran_say_nothing() -> None:
    assert shares_line(shares([complete(0, 5.0, 0.01), running(1)])) == ""


def test_a_trial_says_where_it_ran() -> None:
    assert "a gpu 0" in shown(trial_view(trial(0, "a gpu 0", 0), BLOCKS))


def test_each_device_says_what_it_is_at() -> None:
    worker = Worker(
        id="1", study="demo", host="a 12 34", process="5 6.0", devices=("gpu 0", "gpu 1"), version="0.1.0",
        start="", beat=0.0, doing=(Doing(device="gpu 1", trial=7, stage="build"),),
    )  # fmt: skip
    lines = shown(workers_table([worker], [trial(0, "a gpu 0", 0), trial(1, "a gpu 0", 10)])).splitlines()
    assert lines[2].split() == ["a", "gpu", "0", "2", "6", "preparing,", "or", "between", "trials"]
    assert lines[3].split() == ["a", "gpu", "1", "0", "-", "trial", "7:", "build"]
