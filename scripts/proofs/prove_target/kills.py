"""Kills on both sides of a line: of a search, its worker, ssh, the agent, its session; then ships the
result."""

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
from there import agents, are_gone, lines, section, sessions, shipped, started, version

from autoprec.demo import write_demo
from autoprec.errors import UserError
from autoprec.records import pareto, to_json
from autoprec.store import Store, examine
from loopback_ssh import Server, serving
from tiny_study import write_study

VICTIMS = ("search", "worker", "ssh", "agent", "session", "interrupt")
_LONGEST_SECONDS = 420.0


class Hit(NamedTuple):
    """The study that is searched and hit: the demo with few samples, or a tiny one, for `trials` trials."""

    name: str
    server: Server
    python: str
    trials: int

    @property
    def words(self) -> list[str]:
        """Arguments of a search, or of its resumption."""
        return ["search", "--study", f"studies/{self.name}.toml", "--budget", str(self.trials)]

    def begun(self, home: Path) -> Path:
        """Write a fresh definition into a folder, which is returned."""
        (home / "studies").mkdir(parents=True)
        path = (write_demo if self.name == "demo" else write_study)(home / "studies")
        path.write_text(path.read_text() + section(self.server, self.python, home / "agent"))
        return home


def kills(given: argparse.Namespace, folder: Path) -> tuple[list[str], list[str]]:
    """A row of the kills by victim, and the faults found."""
    dice, counts, faults, ends = random.Random(given.seed), Counter[str](), list[str](), Counter[str]()
    (folder / "ssh").mkdir()
    late = time.monotonic() + given.seconds
    with serving(folder / "ssh") as server:
        hit = Hit("tiny" if given.tiny else "demo", server, given.python, given.trials)
        home, evidence = hit.begun(folder / "0"), dict[int, str]()
        while sum(counts.values()) < given.count and time.monotonic() < late:
            search, last = Search(hit, home), ""
            while last not in ("search", "interrupt") and time.monotonic() < late:
                if not search.runs_for(dice.uniform(0.3, given.between)):
                    break
                last = dice.choice(VICTIMS)
                counts[last] += search.loses(last)
            code, text = search.ended()
            fault = _ended_wrongly(last, code, text) or _evidence(home, hit.name, evidence)
            if not are_gone(home / "agent"):
                fault = fault or "an agent is left"
            faults += [f"{last or 'none'}: {fault}"] if fault else []
            ends["to its end" if code == 0 else "resumed"] += 1
            if code == 0:  # the next ones hit another study
                home, evidence = hit.begun(folder / str(sum(ends.values()))), {}
        code, text = Search(hit, home).ended()
        if fault := _ended_wrongly("", code, text) or _evidence(home, hit.name, evidence):
            faults.append(f"after the last kill: {fault}")
        faults += shipped(hit.name, home)
    told = ", ".join(f"{count} of the {victim}" for victim, count in sorted(counts.items()))
    row = (
        f"| {hit.name} | {version(given.python)} | {given.seed} | {sum(counts.values())}: {told} | "
        f"{ends['resumed'] + 1} | {ends['to its end'] + 1} | {len(faults)} |"
    )
    return [row], faults


class Search:
    """A search, started or resumed."""

    def __init__(self, hit: Hit, home: Path) -> None:
        self._hit, self._home = hit, home
        self._process = started(hit.words, home)

    def runs_for(self, seconds: float) -> bool:
        """Whether the search is still running after some seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is None

    def loses(self, victim: str) -> bool:
        """Kill a part of the search; returns whether there was one."""
        number, place = self._process.pid, self._home / "agent"
        if victim in ("search", "interrupt"):
            os.kill(number, signal.SIGKILL if victim == "search" else signal.SIGINT)
            return True
        victims = {
            "ssh": lambda: lines(self._hit.server),
            "session": lambda: sessions(self._hit.server),
            "agent": lambda: agents(place),
            "worker": lambda: psutil.Process(number).children()[:1],
        }[victim]()
        for each in victims:
            with contextlib.suppress(psutil.Error):
                each.kill()
        return bool(victims)

    def ended(self) -> tuple[int, str]:
        """Exit code and output; a search that does not end in time counts as failed."""
        try:
            text, _ = self._process.communicate(timeout=_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return 1, f"hung for {_LONGEST_SECONDS:g} s: {self._process.communicate()[0][-300:]}"
        return self._process.returncode, text


def _ended_wrongly(victim: str, code: int, text: str) -> str:
    """Why a search ended wrongly; empty if it did not."""
    # Whatever dies on the target, the search must continue to its end.
    allowed = {"search": (0, -signal.SIGKILL), "interrupt": (0, 130, -signal.SIGINT)}.get(victim, (0,))
    if "Traceback" in text or code not in allowed:
        return f"exit code {code}: {text.strip()[-400:]}"
    return ""


def _evidence(home: Path, study: str, evidence: dict[int, str]) -> str:
    """What is wrong with the evidence, if anything; adds the finished trials to `evidence`."""
    path = home / "studies" / study / "study.db"
    try:
        with Store.open(path, read_only=True) as store:
            trials, front = store.trials(study), store.front(study)
    except UserError as error:
        return "" if not evidence and "no study" in str(error) else str(error)
    finished = {trial.number: to_json(trial) for trial in trials if trial.state != "running"}
    if changed := [number for number, text in evidence.items() if finished.get(number) != text]:
        return f"finished trials are lost or changed: {changed}"
    evidence |= finished
    if {trial.number for trial in front} != {trial.number for trial in pareto(trials)}:
        return "the front is not that of the trials"
    blamed = [t.failure.kind for t in trials if t.failure and t.failure.kind not in ("killed", "interrupted")]
    return f"trials are blamed for a kill: {blamed}" if blamed else "; ".join(examine(path).faults)
