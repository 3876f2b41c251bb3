"""Kills on both sides of a line: a search, its worker, ssh, the agent, its session; the rest ships."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil
from there import agents, are_gone, lines, section, sessions, shipped, started

from autoprec.demo import write_demo
from autoprec.errors import UserError
from autoprec.records import pareto, to_json
from autoprec.store import Store, examine
from loopback_ssh import Server, serving
from tiny_study import write_study

VICTIMS = ("search", "worker", "ssh", "agent", "session", "interrupt")
_LONGEST_SECONDS = 240.0


class Hit(NamedTuple):
    """What is searched, resumed and hit: the demo with few samples, or a tiny study of `trials` trials."""

    name: str
    server: Server
    python: str
    trials: int

    @property
    def words(self) -> list[str]:
        """A search, or its resumption."""
        return ["search", "--study", f"studies/{self.name}.toml", "--budget", str(self.trials)]

    def begun(self, home: Path) -> Path:
        """A folder with a fresh definition."""
        (home / "studies").mkdir(parents=True)
        path = (write_demo if self.name == "demo" else write_study)(home / "studies")
        path.write_text(path.read_text() + section(self.server, self.python, home / "agent"))
        return home


def kills(given: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """How many of each kind, and what is amiss."""
    dice, counts, faults = random.Random(given.seed), Counter[tuple[str, str]](), list[str]()
    (folder / "ssh").mkdir()
    late = time.monotonic() + given.seconds
    with serving(folder / "ssh") as server:
        hit = Hit("tiny" if given.tiny else "demo", server, given.python, given.trials)
        home, evidence, longest, number = hit.begun(folder / "0"), dict[int, str](), 12.0, 0
        while sum(counts.values()) < given.count and time.monotonic() < late:
            victim, begun = dice.choice(VICTIMS), time.monotonic()
            code, text = _blow(victim, home, hit, dice.uniform(0.3, longest))
            fault = _ended_wrongly(victim, code, text) or _evidence(home, hit.name, evidence)
            if not are_gone(home / "agent"):
                fault = fault or "an agent is left"
            counts[victim, "FAILED" if fault else "ended" if code == 0 else "nothing lost"] += 1
            faults += [f"{victim}: {fault}"] if fault else []
            if code == 0:  # it came to its end: the next ones hit another study
                longest, number = max(4.0, time.monotonic() - begun), number + 1
                home, evidence = hit.begun(folder / str(number)), {}
        code, text = _ended(started(hit.words, home))
        if fault := _ended_wrongly("none", code, text) or _evidence(home, hit.name, evidence):
            faults.append(f"after the last kill: {fault}")
        faults += shipped(hit.name, home)
    rows = [f"| {victim} | {what} | {count} |" for (victim, what), count in sorted(counts.items())]
    total = (
        f"{sum(counts.values())} kills of {hit.name}, {number} times to its end, seed {given.seed}; then "
        f"resumed, exported, verified and cleaned: {len(faults)} failures."
    )
    return ["| killed | result | times |", "|---|---|---|", *rows, "", total], faults


def _blow(victim: str, home: Path, hit: Hit, seconds: float) -> tuple[int, str]:
    """Search, or resume, and kill once."""
    process = started(hit.words, home)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if victim in ("search", "interrupt"):
            os.kill(process.pid, signal.SIGKILL if victim == "search" else signal.SIGINT)
        processes_of = {"ssh": lines, "session": sessions}.get(victim)
        victims = processes_of(hit.server) if processes_of else []
        victims += agents(home / "agent") if victim == "agent" else []
        victims += psutil.Process(process.pid).children()[:1] if victim == "worker" else []
        for each in victims:
            each.kill()
    return _ended(process)


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        text, _ = process.communicate(timeout=_LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return 1, f"hung for {_LONGEST_SECONDS:g} s: {process.communicate()[0][-300:]}"
    return process.returncode, text


def _ended_wrongly(victim: str, code: int, text: str) -> str:
    """Why that is no way to end; empty if it is one. Whatever dies over there, a search goes on."""
    allowed = {"search": (0, -signal.SIGKILL), "interrupt": (0, 130, -signal.SIGINT)}.get(victim, (0,))
    if "Traceback" in text or code not in allowed:
        return f"exit code {code}: {text.strip()[-400:]}"
    return ""


def _evidence(home: Path, study: str, stored: dict[int, str]) -> str:
    """What is wrong with the evidence; what it holds is remembered in `stored`."""
    path = home / "studies" / study / "study.db"
    try:
        with Store.open(path, read_only=True) as store:
            trials, front = store.trials(study), store.front(study)
    except UserError as error:
        return "" if not stored and "no study" in str(error) else str(error)
    finished = {trial.number: to_json(trial) for trial in trials if trial.state != "running"}
    if changed := [number for number, text in stored.items() if finished.get(number) != text]:
        return f"finished trials are lost or changed: {changed}"
    stored |= finished
    if {trial.number for trial in front} != {trial.number for trial in pareto(trials)}:
        return "the front is not that of the trials"
    blamed = [t.failure.kind for t in trials if t.failure and t.failure.kind not in ("killed", "interrupted")]
    return f"trials are blamed for a kill: {blamed}" if blamed else "; ".join(examine(path).faults)
