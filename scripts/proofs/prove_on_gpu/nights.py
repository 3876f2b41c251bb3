"""A search that is killed in the middle and resumed, and what its database holds in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.25
_STOP_SECONDS = 30.0
"""How long a search that is asked to stop may take to finish the trial in progress."""


class Nights:
    """Runs `autoprec search` on one definition.

    Args:
        definition: the study's TOML file.
        trials: the budget.
        log: receives what the searches print.
    """

    def __init__(self, definition: Path, trials: int, log: Path) -> None:
        self._definition, self._trials, self._log = definition, trials, log
        self._database = definition.parent / definition.stem / "study.db"

    def run(self, *, kill_after: int, seconds: float) -> dict[str, Any]:
        """Search, kill it in the trial after `kill_after`, resume until `seconds` are over; returns facts."""
        begin = time.monotonic()
        end = begin + seconds
        first = self._start()
        while len(self._finished()) < kill_after and first.poll() is None and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        if first.poll() is not None and len(self._finished()) < kill_after:
            raise RuntimeError(f"the search ended by itself ({first.returncode}): {self._last_words()}")
        killed = first.poll() is None
        first.send_signal(signal.SIGKILL)
        first.wait()
        before = self._finished()
        running = [row[0] for row in self._ask("select number from autoprec_trials where state = 'running'")]
        second = self._start()
        in_time = self._finish(second, end)
        after = self._finished()
        return {
            "budget": self._trials,
            "was_killed": killed,
            "finished_when_killed": len(before),
            "in_flight_when_killed": running,
            "lost": sorted(number for number in before if after.get(number) != before[number]),
            "finished": len(after),
            "reached_its_budget": in_time,
            "exit_code": second.returncode,
            "wall_seconds": round(time.monotonic() - begin, 1),
        }

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "autoprec", "search", "--study", str(self._definition)]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [*command, "--budget", str(self._trials)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"COLUMNS": "200"},
            )

    def _finish(self, process: subprocess.Popen[bytes], end: float) -> bool:
        """Wait for the search, and ask it to stop once time is up; returns whether it reached its budget."""
        while process.poll() is None and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        if process.poll() is not None:
            if process.returncode:
                raise RuntimeError(f"the search ended with {process.returncode}: {self._last_words()}")
            return True
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return False

    def _last_words(self) -> str:
        return " / ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])

    def _finished(self) -> dict[int, str]:
        """Records by number of all trials that were measured or failed."""
        query = "select number, record from autoprec_trials where state != 'running' and origin != 'reused'"
        return {
            number: record
            for number, record in self._ask(query)
            if '"kind":"interrupted"' not in record.replace(" ", "")
        }

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query; none while the database does not exist yet."""
        if not self._database.exists():
            return []
        try:
            with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []
