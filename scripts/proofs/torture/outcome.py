"""What came of each blow, and how a command is run and judged."""

from __future__ import annotations

import atexit
import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import autoprec.study.night  # noqa: F401 - what a search imports when it starts
from autoprec.cli import main

EXPECTED = frozenset({0, 2, 3, 4, 130})
HANG_SECONDS = 120.0
"""A command trains, builds and measures, on a machine that may be busy: more than one input may take."""


class Ran(NamedTuple):
    """A command that is over."""

    code: int
    words: str

    @property
    def fault(self) -> str:
        """Why this is no way to end; empty if it is one."""
        if "Traceback" in self.words:
            return f"a traceback: {self.words.strip().splitlines()[-1]}"
        if self.code not in EXPECTED:
            return f"exit code {self.code}: {self.words.strip()[-300:]}"
        return ""


class Campaign:
    """Counts blows by kind, until the time is up.

    Args:
        dice: the seeded source of every choice.
        seconds: how long it may take.
    """

    def __init__(self, dice: random.Random, seconds: float) -> None:
        self.dice = dice
        self._end = time.monotonic() + seconds
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    def note(self, kind: str, result: str, failure: str = "") -> None:
        """Count a blow; a failure is told at once."""
        self.counts[kind, "FAILED" if failure else result] += 1
        if failure:
            self.failures.append(f"{kind}: {failure}")
            print(f"FAILED {kind}: {failure}", flush=True)

    def table(self) -> list[str]:
        """Markdown: how many blows of each kind ended how, and the failures."""
        rows = [f"| {kind} | {result} | {n} |" for (kind, result), n in sorted(self.counts.items())]
        total = f"{sum(self.counts.values())} in all, {len(self.failures)} failures."
        return ["| blow | result | times |", "|---|---|---|", *rows, "", total, *self.failures[:20]]


class Started:
    """A command in a process of its own: a fork of this one, which has imported everything already.

    Args:
        words: of the command line.
        folder: where it runs.
        site: code that is run first, as `sitecustomize` runs in its workers.
        environment: variables besides those of this process.
    """

    def __init__(self, words: list[str], folder: Path, site: str, environment: Mapping[str, str]) -> None:
        reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(reader)
            _command(words, folder, site, environment, writer)
        os.close(writer)
        self.output = os.fdopen(reader, "rb", buffering=0)
        self.words = ""

    def read_line(self, seconds: float) -> str:
        """The next line; empty at the end, or where nothing comes for so long."""
        line = b""
        while not line.endswith(b"\n") and select.select([self.output], [], [], seconds)[0]:
            byte = self.output.read(1)
            if not byte:
                break
            line += byte
        text = line.decode(errors="replace")
        self.words += text
        return text

    def end(self, seconds: float) -> Ran:
        """Wait for its end; one that hangs is killed, and told."""
        late = time.monotonic() + seconds
        parts = []
        while select.select([self.output], [], [], max(0.0, late - time.monotonic()))[0]:
            part = self.output.read(1 << 16)
            if not part:
                break
            parts.append(part)
        else:
            os.killpg(self.pid, signal.SIGKILL)
            self.words = f"hung for {seconds:g} s: "
        self.output.close()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ran(code, self.words + b"".join(parts).decode(errors="replace"))


def _command(
    words: list[str], folder: Path, site: str, environment: Mapping[str, str], output: int
) -> NoReturn:
    """What `autoprec WORDS` does, up to the end of its process."""
    code = 1
    try:
        os.setsid()
        for held in list(weakref.finalize._registry):  # type: ignore[attr-defined]
            held.detach()  # folders of the campaign's
        os.chdir(folder)
        os.environ.update({"COLUMNS": "200", **environment})
        tempfile.tempdir = None
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        exec(site, {})  # noqa: S102 - our own
        main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start(words: list[str], folder: Path, *, site: str = "", **environment: str) -> Started:
    """Start a command in a session of its own; see `Started`."""
    return Started(words, folder, site, environment)


def end(process: Started, seconds: float = HANG_SECONDS) -> Ran:
    """Wait for a command; one that hangs is killed, and told."""
    return process.end(seconds)
