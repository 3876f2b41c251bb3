"""Kill the search, its worker, or both, at random moments and at named points of the code."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
from outcome import LATEST_SECONDS, Campaign, Ran, Started, end, first_on_path, start

from autoprec.cli._app import EXIT_READER_GONE
from autoprec.errors import UserError
from autoprec.records import pareto, to_json
from autoprec.store import Store, examine
from autoprec.study.night.priors import sensitivities
from tiny_study import write_study

POINTS = (
    "autoprec.study.night.mirror:Mirror.open",
    "autoprec.study.night.mirror:Mirror.close",
    "autoprec.study.night.mirror:Mirror.repair",
    "autoprec.study.night.ledger:Ledger.settle",
    "autoprec.store._store:Store.bind",
    "autoprec.store._store:Store.begin",
    "autoprec.store._store:Store.finish",
    "autoprec.store._store:Store.put_reference",
    "autoprec.store._store:Store.put_fact",
    "autoprec.store._store:Store.begin_run",
    "autoprec.store._store:Store.end_run",
    "autoprec.store._front:update_front",
    "autoprec.store._front:add_to_front",
    "autoprec.kept:keep",
    "autoprec.graph.model.files:write_model",
    "autoprec.measurement.bench:Bench.measure",
    "autoprec.measurement.masks:ReferenceMasks.append",
    "autoprec.measurement.bench:Bench.probe",
    "autoprec.measurement.bench:Bench.compare",
    "autoprec.measurement.bench:Bench.score",
    "autoprec.measurement.bench:Bench.race",
    "autoprec.study.preparation.probing:Prober.basis",
    "autoprec.study.preparation.probing:Prober.refused",
    "autoprec.study.night.priors:SensitivityAnalysis.measure",
    "autoprec.study.night.queue:Queue.finalist",
)
"""Of a search: storing, building, measuring, and its phases."""
LATER = (
    (("report",), "autoprec.measurement.bench:Bench.inspect"),
    (("report",), "autoprec.kept:keep"),
    (("report",), "autoprec.report.files:write_file"),
    (("export", "--trial", "0", "--examples", "1", "out"), "autoprec.measurement.bench:Bench.write_examples"),
    *(
        (("refine", "2", "--minutes", "0.02"), f"autoprec.{point}")
        for point in ("refinement.distillation:distil", "graph.variants.refined:save_refined")
        if importlib.util.find_spec("torch")
    ),
)
"""Points of commands that follow a search."""
SITE = """
import importlib, os, signal, sys
module, _, name = os.environ["TORTURE_POINT"].partition(":")
count, when = int(os.environ["TORTURE_COUNT"]), os.environ["TORTURE_WHEN"]
try:
    holder = importlib.import_module(module)
    *outer, last = name.split(".")
    for part in outer: holder = getattr(holder, part)
    inner = getattr(holder, last)
    def counted(*args, **kwargs):
        global count
        count -= 1
        if not count and when == "before": os.kill(os.getpid(), signal.SIGKILL)
        result = inner(*args, **kwargs)
        if not count and when == "after": os.kill(os.getpid(), signal.SIGKILL)
        return result
    for other in (holder, *list(sys.modules.values())):
        if getattr(other, last, None) is inner: setattr(other, last, counted)
except (ImportError, AttributeError):
    pass
"""
BUDGET = 6
WAYS = ("search", "worker", "both", "point", "point", "interrupt", "phase", "phase", "reader")
"""`reader` stops reading its JSON lines."""
DEATHS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGUSR1)
"""What ends a worker from outside; the last two look like a crash of its own."""
PHASES = (
    "loading",
    "engine",
    "calibrating",
    "trying",
    "reference",
    "trial 1",
    "sensitivity",
    "(1 of",
    "again",
)
"""Words a search prints when it reaches a phase."""
INTERRUPTED_SECONDS = 60.0
"""An interrupt ends a search within one unit of work; this allows for a busy machine."""


def kill(campaign: Campaign, folder: Path, count: int) -> None:
    """Kill searches of a tiny study again and again, and check the stored evidence after each blow.

    Args:
        campaign: takes the results.
        folder: empty; holds the studies.
        count: the number of blows.
    """
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    evidence: dict[int, str] = {}
    home, longest, round_number, is_searched = folder / "0", 8.0, 0, False
    _begin(home)
    for _ in range(count):
        if campaign.is_over:
            return
        way = "later" if is_searched else campaign.dice.choice(WAYS)
        begun = time.monotonic()
        ran = _blow(campaign, way, home, site, longest)
        fault = (
            _evidence(home, evidence)
            or ran.hung
            or ("" if ran.code in (-9, -2, EXIT_READER_GONE) else ran.fault)
        )
        campaign.note(f"kill: {way}", "nothing lost", fault)
        # After a search that finished, a command that follows it is hit, and then a new study. The duration
        # of the search bounds the random moments.
        if ran.code == 0 and not is_searched:
            longest, is_searched = max(2.0, time.monotonic() - begun), True
        elif is_searched:
            round_number, is_searched = round_number + 1, False
            shutil.rmtree(home)
            home, evidence = folder / str(round_number), {}
            _begin(home)
    for _ in range(2):  # the second one's budget is a new one: it searches, whatever the kills left to do
        ran = end(start(["search", "--study", "tiny.toml", "--budget", str(BUDGET)], home, TMPDIR=_tmp(home)))
        campaign.note(
            "after the last kill", "resumed", _evidence(home, evidence) or ran.fault or _leftovers(home)
        )


def _begin(home: Path) -> None:
    """Write a tiny study with the default strategy and finalists, so that a search has all its phases."""
    home.mkdir()
    path = write_study(home)
    text = path.read_text().replace("finalists = 0", "finalists = 2").replace('strategy = "random"', "")
    path.write_text(text)


def _tmp(home: Path) -> str:
    """A private folder for temporary files, so that anything left in it was left by the search."""
    (home / "tmp").mkdir(exist_ok=True)
    return str(home / "tmp")


def _leftovers(home: Path) -> str:
    """Files that a search should have removed by its end, as a message; empty if there are none."""
    paths = [path for path in (home / "tmp").iterdir() if path.name != "autoprec-devices"]  # locks of devices
    paths += [*(home / "tiny" / "scratch").glob("*"), *(home / "tiny").glob("**/.*")]
    paths += (home / "tiny").glob("autoprec-*")
    return f"left behind: {sorted(path.name for path in paths)}" if paths else ""


def _blow(campaign: Campaign, way: str, home: Path, site: Path, longest: float) -> Ran:
    """Start or resume a search, and strike once.

    Args:
        campaign: its dice choose moment and point.
        way: one of `WAYS`, or `later`: at a point of a command that follows a search.
        home: the study's folder.
        site: the folder of the `sitecustomize` that kills at a point.
        longest: latest random moment, in seconds from the start.
    """
    words = ["search", "--study", "tiny.toml", "--budget", str(BUDGET)]
    if way in ("point", "later"):
        point = campaign.dice.choice(POINTS)
        if way == "later":
            later, point = campaign.dice.choice(LATER)
            words = [*later, "--study", "tiny.toml"]
        variables = {
            "PYTHONPATH": first_on_path(site),
            "TORTURE_POINT": point,
            "TORTURE_COUNT": "1" if way == "later" else str(campaign.dice.choice((1, 1, 2, 3, 4, 5, 6))),
            "TORTURE_WHEN": campaign.dice.choice(("before", "after")),
        }
        return end(start(words, home, site=SITE, TMPDIR=_tmp(home), **variables))
    lines = ["--json-lines"] if way == "reader" else []
    process = start([*words, *lines], home, TMPDIR=_tmp(home))
    if way == "reader":
        _read_up_to(campaign.dice.choice(PHASES), process)
        return process.leave(INTERRUPTED_SECONDS)
    if way == "phase":
        way = campaign.dice.choice(("search", "worker", "interrupt", "interrupt"))
        _read_up_to(campaign.dice.choice(PHASES), process)
        time.sleep(campaign.dice.uniform(0, 0.5))
    else:
        time.sleep(campaign.dice.uniform(0.2, longest))
    worker = next((child for child in _children(process.pid)), None)
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if way in ("worker", "both") and worker is not None:
            worker.send_signal(campaign.dice.choice(DEATHS))
        if way in ("search", "both"):
            os.kill(process.pid, signal.SIGKILL)
        if way == "interrupt":
            os.kill(process.pid, signal.SIGINT)
    return end(process, INTERRUPTED_SECONDS if way == "interrupt" else LATEST_SECONDS)


def _read_up_to(words: str, process: Started) -> None:
    """Read the output of a search until it contains `words`, or ends."""
    while (line := process.read_line(LATEST_SECONDS)) and words not in line:
        pass


def _children(process: int) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children()
    except psutil.NoSuchProcess:
        return []


def _evidence(home: Path, stored: dict[int, str]) -> str:
    """Compare the stored evidence with what was seen earlier.

    Args:
        home: the study's folder.
        stored: finished trials by number as JSON; those found now are added.

    Returns:
        What is wrong, empty if nothing is.
    """
    path = home / "tiny" / "study.db"
    try:
        with Store.open(path, read_only=True) as store:
            trials = store.trials("tiny")
            front, alone = store.front("tiny"), sensitivities(store, "tiny")
    except UserError as error:
        return "" if not stored and ("no study" in str(error)) else str(error)
    finished = {t.number: to_json(t) for t in trials if t.state != "running"}
    if changed := [number for number, text in stored.items() if finished.get(number) != text]:
        return f"finished trials are lost or changed: {changed}"
    stored |= finished
    if {t.number for t in front} != {t.number for t in pareto(trials)}:
        return "the front is not that of the trials"
    if crashed := [t.number for t in trials if t.failure is not None and t.failure.kind == "crash"]:
        return f"a death from outside counts as a crash: {crashed}"
    if any(1.0 in losses.values() for losses in alone.values()):  # no precision loses all masks of this model
        return "a death from outside counts as a loss"
    return "; ".join(examine(path).faults)
