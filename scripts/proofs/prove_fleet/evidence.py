"""The invariants of a shared study, whichever processes were killed."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field

from autoprec.errors import UserError
from autoprec.records import pareto, to_json
from autoprec.store import Store

STUDY = "tiny"
PRECISIONS = 3
"""That a block of its model has on a CPU."""


@dataclass
class Report:
    """What the campaign did, and the faults it found."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    finished: dict[int, str] = field(default_factory=dict)
    """Finished trials, as they were first seen."""

    def say(self, line: str) -> None:
        """Add a line to the report and print it."""
        self.lines.append(line)
        print(line, flush=True)

    def look(self, address: str) -> int:
        """Check the study as it stands; returns the number of complete trials, -1 if it cannot be read."""
        try:
            with Store.open(address, read_only=True) as store:
                trials, front, again = store.trials(STUDY), store.front(STUDY), store.trials(STUDY)
        except UserError as error:
            # Until the first search has created its tables, a database that cannot be read as a study is
            # expected.
            if self.finished:
                self.faults.append(str(error))
            return -1
        now = {trial.number: to_json(trial) for trial in trials if trial.state != "running"}
        changed = [number for number, text in self.finished.items() if now.get(number) != text]
        if changed:
            self.faults.append(f"finished trials are lost or changed: {changed}")
        self.finished |= now
        # Hosts write while this reads. Only if the trials are the same before and after reading the front do
        # both belong to one moment and may be compared.
        is_still = trials == again
        if is_still and {trial.number for trial in front} != {trial.number for trial in pareto(trials)}:
            self.faults.append("the front is not that of the trials")
        return sum(trial.state == "complete" for trial in trials)

    def judge(self, address: str, given: argparse.Namespace) -> None:
        """Check a study after its searches have ended.

        Args:
            address: of the database.
            given: the number of trials the searches were asked for, and the blocks of the model.
        """
        done = self.look(address)
        with Store.open(address) as store:
            trials, workers = store.trials(STUDY), store.workers(STUDY)
            storage = store.optuna()
            told = storage.get_all_trials(storage.get_study_id_from_name(STUDY), deepcopy=False)
        values = {
            trial.number: [trial.latency_ms, trial.loss] for trial in trials if trial.state == "complete"
        }
        measured = Counter(trial.assignment.digest for trial in trials if trial.number in values)
        cut = [
            t.assignment.digest for t in trials if t.failure is not None and t.failure.kind == "interrupted"
        ]
        interrupted = len(cut)
        # A search does not try an assignment a third time after two interruptions, as the assignment
        # itself may be what brings the machine down.
        given_up = sum(count > 1 and digest not in measured for digest, count in Counter(cut).items())
        self.say(
            f"{done} trials are complete, {interrupted} were interrupted, {len(trials)} in all; "
            f"{given_up} assignments were interrupted twice and left out"
        )
        wrong = {
            "lost": min(given.trials, PRECISIONS**given.blocks - given_up) - done,
            "measured twice": sum(count - 1 for count in measured.values()),
            "numbers missing": len(set(range(len(trials))) - {trial.number for trial in trials}),
            "still running": sum(trial.state == "running" for trial in trials),
            "failed": sum(trial.state == "failed" for trial in trials) - interrupted,
            "not in Optuna's tables": sum(
                values.get(t.number) != t.values for t in told if t.number in values
            ),
            "workers left": len(workers),
        }
        self.faults += [f"{name}: {count}" for name, count in wrong.items() if count]
