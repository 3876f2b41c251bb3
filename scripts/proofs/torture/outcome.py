"""The results of a campaign, and how a command is run and judged."""

from __future__ import annotations

import atexit
import faulthandler
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
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import psutil

import autoprec.study.night  # noqa: F401 - what a search imports when it starts
from autoprec.cli import main

EXPECTED = frozenset({0, 2, 3, 4, 130})
LATEST_SECONDS = 120.0
"""Longer than one input may take: a command trains, builds and measures, on a machine that may be busy."""
HANG_SECONDS = 20.0
"""A command that neither prints nor computes anything for this long hangs."""
_FATAL = "Fatal Python error"


class Ran(NamedTuple):
    """A command that has ended: exit code, output, and how it hung, if it did."""

    code: int
    words: str
    hung: str = ""

    @property
    def fault(self) -> str:
        """Why this is not an acceptable way to end; empty if it is."""
        if self.hung:
            return f"{self.hung}: {self.words.strip()[-300:]}"
        if "Traceback" in self.words:
            return f"a traceback: {self.words[self.words.index('Traceback') :].strip()[:2000]}"
        if _FATAL in self.words:
            return f"exit code {self.code}: {self.words[self.words.index(_FATAL) :].strip()[:3000]}"
        if self.code not in EXPECTED:
            return f"exit code {self.code}: {self.words.strip()[-300:]}"
        return ""


class Tally:
    """The number of blows by kind and result, and the failures."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    @classmethod
    def of(cls, data: dict[str, Any]) -> Tally:
        """The tally that `data` was called on."""
        tally = cls()
        tally.counts.update({(kind, result): times for kind, result, times in data["counts"]})
        tally.failures += data["failures"]
        return tally

    def data(self) -> dict[str, Any]:
        """The tally as data for JSON; see `of`."""
        counts = [(kind, result, times) for (kind, result), times in self.counts.items()]
        return {"counts": counts, "failures": self.failures}

    def add(self, other: Tally) -> None:
        """Add the counts and failures of another tally."""
        self.counts.update(other.counts)
        self.failures += other.failures

    def note(self, kind: str, result: str, failure: str = "") -> None:
        """Count a blow; a failure is printed at once.

        Args:
            kind: the blow.
            result: how it ended, if well.
            failure: what is wrong; empty if nothing is.
        """
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
    """The part of a campaign that one process does: share `number`, from 0, of `among` equal ones."""

    number: int = 0
    among: int = 1

    def of(self, total: int) -> int:
        """How many of `total` blows belong to this share."""
        return total // self.among + (self.number < total % self.among)


class Campaign(Tally):
    """Blows, until the time is up.

    Args:
        seed: of every choice; shares choose differently.
        seconds: how long the campaign may take.
        share: selects the blows of this process where they are listed in advance.
        after: called after each blow.
    """

    def __init__(
        self, seed: str, seconds: float, share: Share, after: Callable[[], None] | None = None
    ) -> None:
        super().__init__()
        self.seed, self.share, self._after = seed, share, after
        self.dice = random.Random(f"{seed} {share.number}")
        self._end = time.monotonic() + seconds

    def note(self, kind: str, result: str, failure: str = "") -> None:
        """Count a blow; see `Tally.note`."""
        super().note(kind, result, failure)
        if self._after is not None:
            self._after()

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end


class Started:
    """A command in a process of its own: a fork of this one, which has imported everything already.

    Args:
        words: the command line after `autoprec`.
        folder: its working directory.
        site: code to run first, as `sitecustomize` does in its workers.
        environment: variables in addition to those of this process.
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
        """The next line; empty at the end of the output, or if nothing comes for `seconds`."""
        line = b""
        while not line.endswith(b"\n") and select.select([self.output], [], [], seconds)[0]:
            byte = self.output.read(1)
            if not byte:
                break
            line += byte
        text = line.decode(errors="replace")
        self.words += text
        return text

    def leave(self, seconds: float) -> Ran:
        """Close the pipe that it writes to, as `head` does, and wait for the command to end."""
        self.output.close()
        late, ended, hung = time.monotonic() + seconds, (0, 0), ""
        while not ended[0]:
            time.sleep(0.1)
            if time.monotonic() > late and not hung:
                hung = f"hung for {seconds:.0f} s, unread"
                self._kill()
            ended = os.waitpid(self.pid, os.WNOHANG)
        return Ran(os.waitstatus_to_exitcode(ended[1]), self.words, hung)

    def end(self, seconds: float) -> Ran:
        """Wait for the command to end; one that hangs is killed, and `Ran.hung` says so."""
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
            # Silence alone is no hang: building an engine prints nothing for long, but computes.
            # Less than before is no silence either: what a worker had spent goes with its death.
            elif abs((spent := _processor_seconds(self.pid)) - computed) > 0.01:
                idle_since, computed = now, spent
            if now > min(late, idle_since + HANG_SECONDS):
                hung = f"hung for {now - late + seconds:.0f} s, idle for {now - idle_since:.0f} s"
                self._kill()
                break
        self.output.close()
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Ran(code, self.words + b"".join(parts).decode(errors="replace"), hung)

    def _kill(self) -> None:
        for process in _family(self.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; empty if it is gone."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _processor_seconds(pid: int) -> float:
    """Processor time of a process and all its descendants so far."""
    total = 0.0
    for process in _family(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _command(
    words: list[str], folder: Path, site: str, environment: Mapping[str, str], output: int
) -> NoReturn:
    """Run `autoprec WORDS` in this forked process, and end the process as the interpreter would.

    Args:
        words: the command line after `autoprec`.
        folder: the working directory.
        site: code to run first.
        environment: variables to add.
        output: file descriptor that receives stdout and stderr.
    """
    code = 1
    try:
        os.setsid()
        for held in list(weakref.finalize._registry):  # type: ignore[attr-defined]
            held.detach()  # else this process would delete the campaign's temporary folders when it ends
        os.chdir(folder)
        os.environ.update({"COLUMNS": "200", **environment})
        # Let tempfile read TMPDIR anew: the campaign has cached its own folder before the fork.
        tempfile.tempdir = None
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        # The campaign's own stream may know its descriptor as a file that can seek; a command's begins anew.
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        faulthandler.enable()  # says where, should native code end the process
        exec(site, {})  # noqa: S102 - our own
        main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    try:
        # os._exit below skips what the interpreter does at the end, so threads and exit handlers are run
        # here.
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # A forked process must not return into the campaign that forked it, also not by the error of a
        # flush into a pipe that nobody reads any longer: unwinding deletes the campaign's folders.
        os._exit(code)


def first_on_path(folder: Path) -> str:
    """A PYTHONPATH for processes a command starts: `folder`, then all of this process\'s `sys.path`."""
    return os.pathsep.join([str(folder), *(str(Path(entry).absolute()) for entry in sys.path if entry)])


def start(words: list[str], folder: Path, *, site: str = "", **environment: str) -> Started:
    """Start a command in a session of its own; arguments as for `Started`."""
    return Started(words, folder, site, environment)


def end(process: Started, seconds: float = LATEST_SECONDS) -> Ran:
    """Wait for a command to end; see `Started.end`."""
    return process.end(seconds)
