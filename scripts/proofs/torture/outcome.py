"""What came of each blow, and how a command is run and judged."""

from __future__ import annotations

import atexit
import os
import random
import select
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import psutil

import autoprec.study.night  # noqa: F401 - what a search imports when it starts
from autoprec.cli import main

EXPECTED = frozenset({0, 2, 3, 4, 130})
LATEST_SECONDS = 120.0
"""A command trains, builds and measures, on a machine that may be busy: more than one input may take."""
HANG_SECONDS = 20.0
"""One that neither says nor computes anything for so long hangs."""


class Ran(NamedTuple):
    """A command that is over."""

    code: int
    words: str
    hung: str = ""

    @property
    def fault(self) -> str:
        """Why this is no way to end; empty if it is one."""
        if self.hung:
            return f"{self.hung}: {self.words.strip()[-300:]}"
        if "Traceback" in self.words:
            return f"a traceback: {self.words[self.words.index('Traceback') :].strip()[:2000]}"
        if self.code not in EXPECTED:
            return f"exit code {self.code}: {self.words.strip()[-300:]}"
        return ""


class Tally:
    """How many blows of each kind ended how, and what failed."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    @classmethod
    def of(cls, data: dict[str, Any]) -> Tally:
        """What `data` gave."""
        tally = cls()
        tally.counts.update({(kind, result): times for kind, result, times in data["counts"]})
        tally.failures += data["failures"]
        return tally

    def data(self) -> dict[str, Any]:
        """All of it, for JSON."""
        counts = [(kind, result, times) for (kind, result), times in self.counts.items()]
        return {"counts": counts, "failures": self.failures}

    def add(self, other: Tally) -> None:
        """Count another's blows, too."""
        self.counts.update(other.counts)
        self.failures += other.failures

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


class Share(NamedTuple):
    """Which part of a campaign a process does: `number` among so many equal ones."""

    number: int = 0
    among: int = 1

    def of(self, total: int) -> int:
        """How many of `total` blows are its own."""
        return total // self.among + (self.number < total % self.among)


class Campaign(Tally):
    """Blows, until the time is up.

    Args:
        seed: of every choice; the choices of one share are not those of another.
        seconds: how long it may take.
        share: which of the blows are dealt here, where they are listed in advance.
    """

    def __init__(self, seed: str, seconds: float, share: Share) -> None:
        super().__init__()
        self.seed, self.share = seed, share
        self.dice = random.Random(f"{seed} {share.number}")
        self._end = time.monotonic() + seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end


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
        idle_since, computed = time.monotonic(), 0.0
        parts, hung = [], ""
        while True:
            now = time.monotonic()
            if select.select([self.output], [], [], 1.0)[0]:
                part = self.output.read(1 << 16)
                if not part:
                    break
                parts.append(part)
                idle_since = now
            elif (spent := _processor_seconds(self.pid)) > computed + 0.01:
                idle_since, computed = now, spent
            if now > min(late, idle_since + HANG_SECONDS):
                hung = f"hung for {now - late + seconds:.0f} s, idle for {now - idle_since:.0f} s"
                for child in _family(self.pid):
                    with suppress(psutil.NoSuchProcess):
                        child.kill()
                break
        self.output.close()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ran(code, self.words + b"".join(parts).decode(errors="replace"), hung)


def _family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _processor_seconds(pid: int) -> float:
    """What a process and all that it started have computed until now."""
    total = 0.0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


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


def first_on_path(folder: Path) -> str:
    """Python's path for what a command starts: `folder`, then all that this process finds modules in."""
    return os.pathsep.join([str(folder), *(str(Path(entry).absolute()) for entry in sys.path if entry)])


def start(words: list[str], folder: Path, *, site: str = "", **environment: str) -> Started:
    """Start a command in a session of its own; see `Started`."""
    return Started(words, folder, site, environment)


def end(process: Started, seconds: float = LATEST_SECONDS) -> Ran:
    """Wait for a command; one that hangs is killed, and told."""
    return process.end(seconds)
