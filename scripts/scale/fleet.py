"""Workers as processes: each runs the real scheduler on the real store, and times its calls."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from autoprec.backends.timing import Deadline
from autoprec.measurement import Bench
from autoprec.records import (
    Measurement,
    TrialRecord,
)
from autoprec.spec import Budget
from autoprec.store import Store
from autoprec.study.events import Quiet
from autoprec.study.night import Night, queue
from autoprec.study.night.crew import Crew
from autoprec.study.night.heart import Heart
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from autoprec.study.night.priors import SensitivityAnalysis
from autoprec.study.night.reference import Establishing
from autoprec.study.night.runner import TrialRunner
from autoprec.study.preparation import Prepared
from stand_ins import DEVICE, STUDY, SimulatedBench, SimulatedPreparation, blocks_of, spec_of


class Clock:
    """Seconds of the calls of some methods, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}

    def on(self, owner: Any, method: str, name: str) -> None:
        """Time a method of an object or a class from now on."""
        plain, spent = getattr(owner, method), self.spent.setdefault(name, [])

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                spent.append(time.perf_counter() - begin)

        setattr(owner, method, timed)


def work(address: str, given: argparse.Namespace, table: Path, told: Path) -> None:
    """Be one worker: take part until the run's budget is spent.

    Args:
        address: of the database.
        given: the command line.
        table: file of the simulated measurements.
        told: folder for the worker's log and its timings.
    """
    clock, spec, blocks = Clock(), spec_of(given), blocks_of(given.blocks)
    with Store.open(address) as store:
        membership = store.join(STUDY, (DEVICE.name,), "simulated")
        with Heart(membership) as heart, Crew[TrialRecord, Measurement]((DEVICE,), 1, told) as crew:
            slot = crew.first
            # The slot is frozen, and its bench would start a process for each of a hundred workers.
            object.__setattr__(slot, "bench", cast(Bench, SimulatedBench(table, given.seconds)))
            mirror = Mirror.of(store, STUDY, blocks, limited=False)
            ledger = Ledger(store, mirror, membership, STUDY, "simulated", None)
            clock.on(ledger, "begin", "begin")
            clock.on(ledger, "settle", "settle")
            clock.on(queue.Queue, "next", "propose")
            prepared = cast(Prepared, SimulatedPreparation(spec, blocks, told))
            runner = TrialRunner(prepared, store, ledger, crew, heart, Quiet())
            establishing = Establishing(prepared, store, runner, Quiet())
            analysis = SensitivityAnalysis(prepared, store, crew, membership, Quiet().say)
            night = Night(prepared, store, runner, establishing, analysis, Quiet())
            budget = Budget(trials=given.trials)
            run = store.runs(STUDY)[-1]
            night.run(lambda _: queue.Allowance(budget, spec.search.finalists, run, ledger, Deadline(None)))
    (told / f"{os.getpid()}.json").write_text(json.dumps(clock.spent))


class Fleet:
    """The workers as processes; all arguments go to `work`.

    Args:
        address: of the database.
        given: the command line.
        table: file of the simulated measurements.
        told: folder for the workers' logs and timings.
    """

    def __init__(self, address: str, given: argparse.Namespace, table: Path, told: Path) -> None:
        self._arguments = address, given, table, told
        # Forked, so that a hundred processes share the memory of what is imported.
        self._fork = multiprocessing.get_context("fork")
        self.living: list[BaseProcess] = []

    def start(self, count: int) -> None:
        """Fork `count` more workers."""
        for _ in range(count):
            process = self._fork.Process(target=work, args=self._arguments)
            process.start()
            self.living.append(process)

    def kill_one(self) -> None:
        """Kill a random worker with SIGKILL, and start another in its place."""
        victim = random.choice([process for process in self.living if process.is_alive()])
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        self.living.remove(victim)
        self.start(1)

    def codes(self) -> Counter[int | None]:
        """Wait for all workers, and count their exit codes."""
        for process in self.living:
            process.join()
        return Counter(process.exitcode for process in self.living)

    @property
    def is_working(self) -> bool:
        """Whether any worker is running."""
        return any(process.is_alive() for process in self.living)
