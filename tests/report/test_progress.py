"""Progress: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from autoprec.records import Reference, RunStart, pareto
from autoprec.report import LiveProgress
from trial_records import complete, failed, running

REFERENCE = Reference(
    precision="fp16", model_digest="r", latency_ms=10, latency_noise=0.02, loss_noise=0.001, float_loss=0.001
)


def drive(console: Console) -> str:
    """A short run: one good trial, one known one, one failure, and one in hand; what was printed."""
    with LiveProgress(console, "demo") as progress:
        progress.say("the reference is [sound]")
        progress.starts(RunStart(trials=50, seconds=None, reference=REFERENCE))
        good = complete(0, 5.0, 0.01)
        for trial in (good, complete(1, 5.0, 0.01, origin="reused", reused_from=0), failed(2)):
            progress.begins(running(trial.number))
            progress.stage("build")
            progress.ends(trial, pareto([good]))
        progress.begins(running(3))
        progress.stage("time")
        console.print(progress._view())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_each_trial_is_one_line() -> None:
    lines = drive(Console(file=io.StringIO(), width=40, force_terminal=False)).splitlines()
    assert lines[:4] == [
        "the reference is [sound]",
        "trial 0: fp16×1 int8×1: 5.000 ms, 2.00x, loss 0.0100, on the front",
        "trial 1: fp16×1 int8×1: 5.000 ms, 2.00x, loss 0.0100, reused from trial 0",
        "trial 2: fp16×1 int8×1: failed (build): no kernel for Conv",
    ]


def test_the_view_tells_budget_stage_failures_and_best_points() -> None:
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=True, color_system=None)
    text = drive(console)
    for words in ("2 of 50 trials", "left", "failed: build 1", "trial 3", "time", "mask loss", "2.00x"):
        assert words in text
    assert "trial 0: " not in text


def test_a_budget_of_time_counts_down() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    progress = LiveProgress(console, "demo")
    progress.starts(RunStart(trials=None, seconds=3 * 3600.0, reference=None))
    console.print(progress._view())
    assert isinstance(console.file, io.StringIO)
    assert "0 trials in 0 s, 3 h 00 min left" in console.file.getvalue()


def test_what_is_prepared_behind_the_first_trial_takes_none_of_that_time() -> None:
    now = [0.0]
    console = Console(file=io.StringIO(), width=100, force_terminal=False, get_time=lambda: now[0])
    progress = LiveProgress(console, "demo")
    progress.starts(RunStart(trials=None, seconds=600.0, reference=None))
    now[0] = 60.0
    progress.refers(REFERENCE)
    console.print(progress._view())
    assert isinstance(console.file, io.StringIO)
    assert "in 60 s, 10 min left" in console.file.getvalue()


def test_a_resumed_run_counts_from_its_beginning() -> None:
    console = Console(file=io.StringIO(), width=80, height=40, force_terminal=True)
    progress = LiveProgress(console, "demo")
    progress.starts(RunStart(trials=7, seconds=None, reference=None, done=9))
    with console.capture() as shown:
        console.print(progress._view())
    assert "9 of 16 trials in 0 s" in shown.get()


def test_a_later_night_begins_with_the_front_of_the_earlier_ones() -> None:
    console = Console(file=io.StringIO(), width=80, height=40, force_terminal=True)
    with LiveProgress(console, "demo") as progress:
        progress.starts(RunStart(trials=5, seconds=None, reference=None, earlier=(complete(7, 5.0, 0.01),)))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "no trial is complete yet" not in text
    assert "2.00x" in text


def test_that_it_is_stopping_stays_in_view() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with LiveProgress(console, "demo") as progress:
        progress.stops()
        with console.capture() as shown:
            console.print(progress._view())
    assert "press Ctrl-C again to stop at once" in shown.get()
    assert isinstance(console.file, io.StringIO)
    assert "stopped after 0 trials in 0 s; the same command resumes" in console.file.getvalue()
