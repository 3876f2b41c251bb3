"""Running tests on a mutant: in a copy of the tree, on a core of its own, within a time limit."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from drawing import ROOT, Mutant

Fate = Literal["killed", "hung", "survived", "untried", "strange"]
"""`strange` mutants were drawn from another revision of their file."""
TEST_SECONDS = 60
"""A test that takes longer counts as hanging."""
FILE_SECONDS = 150
"""A test file that takes longer without a mutant is left out: it would seem to kill every mutant."""
FIRST_FILES, _NOTHING_RUN = 4, 5
MEMORY_BYTES = 16 << 30
TRACING = Path(__file__).parent / "tracing"


class Outcome(NamedTuple):
    """The fate of a mutant; `killer` is the test that failed."""

    mutant: Mutant
    fate: Fate
    killer: str = ""


class Baseline(NamedTuple):
    """How the tests of a file run without a mutant.

    `seconds` is None if they did not end; `failing` names tests that fail anyway; `lines` has the executed
    lines by path, and is empty before Python 3.12.
    """

    seconds: float | None
    failing: tuple[str, ...]
    lines: dict[str, tuple[int, ...]] = {}  # noqa: RUF012 - a default of a tuple, which nobody changes

    def ran(self, path: str, lines: Collection[int]) -> bool:
        """Whether the tests ran any of these lines of a file."""
        return not set(lines).isdisjoint(self.lines.get(path, ()))


class Bench:
    """A copy of the tree where mutants are tried one after another.

    Args:
        folder: for the copy.
        core: of the processor, on which everything runs.
    """

    def __init__(self, folder: Path, core: int) -> None:
        self._tree, self._temporary, self._core = folder / "tree", folder / "tmp", core
        self._temporary.mkdir(parents=True)
        ignored = shutil.ignore_patterns(".git", ".venv*", "build", "__pycache__", ".*_cache", "shared")
        shutil.copytree(ROOT, self._tree, ignore=ignored, symlinks=True)

    def baseline(self, test: str) -> Baseline:
        """Run a test file on the tree without a mutant."""
        report, lines = self._temporary / "report.xml", self._temporary / "lines"
        lines.mkdir(exist_ok=True)
        tracing = {"AUTOPREC_LINES_TO": str(lines), "AUTOPREC_LINES_OF": f"{self._tree}/autoprec/"}
        begun = time.monotonic()
        code, _ = self._run([f"--junit-xml={report}", test], FILE_SECONDS, tracing)
        if code is None:
            return Baseline(None, ())
        seconds, ran = time.monotonic() - begun, self._lines(lines)
        cases = ElementTree.parse(report).iter("testcase") if report.exists() else ()  # noqa: S314 - ours
        failing = [
            _node(test, case) for case in cases if {child.tag for child in case} & {"failure", "error"}
        ]
        report.unlink(missing_ok=True)
        return Baseline(seconds, tuple(failing), ran)

    def _lines(self, folder: Path) -> dict[str, tuple[int, ...]]:
        """The executed lines of all traced processes; removes their folder."""
        ran: dict[str, set[int]] = {}
        for path in folder.glob("*.lines"):
            for place in path.read_text(encoding="utf-8").splitlines():
                name, _, number = place.rpartition(":")
                ran.setdefault(str(Path(name).relative_to(self._tree)), set()).add(int(number))
        shutil.rmtree(folder)
        return {name: tuple(sorted(numbers)) for name, numbers in ran.items()}

    def try_mutant(
        self, mutant: Mutant, tests: Sequence[str], failing: Sequence[str], seconds: float
    ) -> Outcome:
        """Run tests on a mutant until one fails, or the time is up.

        Args:
            mutant: written into the copy, and removed again.
            tests: test files, in the order in which they run.
            failing: tests that fail without it, which are left out.
            seconds: time limit of all tests together.
        """
        path = self._tree / mutant.path
        path.write_text(mutant.code, encoding="utf-8")
        try:
            return self._tried(mutant, tests, failing, time.monotonic() + seconds)
        finally:
            shutil.copyfile(ROOT / mutant.path, path)

    def _tried(self, mutant: Mutant, tests: Sequence[str], failing: Sequence[str], late: float) -> Outcome:
        """Run the tests in batches that double in size."""
        # Most mutants die in the first few files; later batches save the start of a process for each file.
        count, place = FIRST_FILES, 0
        while place < len(tests) and (left := late - time.monotonic()) > 0:
            some = tests[place : place + count]
            skipped = [name for name in failing if name.partition("::")[0] in some]
            words = ["-x", *(word for name in skipped for word in ("--deselect", name)), *some]
            code, text = self._run(words, left)
            if "Timeout (" in text or (code is None and not place and "collected " not in text):
                return Outcome(mutant, "hung")
            if code is None:
                break
            if code not in (0, _NOTHING_RUN):
                lines = (line for line in text.splitlines() if line.startswith(("FAILED ", "ERROR ")))
                return Outcome(mutant, "killed", next(lines, "")[:160])
            place, count = place + count, 2 * count
        return Outcome(mutant, "survived")

    def _run(
        self, words: Sequence[str], seconds: float, more: Mapping[str, str] | None = None
    ) -> tuple[int | None, str]:
        """Exit code of pytest, None if its time was up, and its output; `more` joins its environment."""
        log = self._temporary / "log"
        command = [
            sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header",
            "-o", "console_output_style=progress", "-o", f"faulthandler_timeout={TEST_SECONDS}",
            "-o", "faulthandler_exit_on_timeout=true", "--tb=no", "-rfE", "-vv", *words,
        ]  # fmt: skip
        settings = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(self._tree), str(TRACING), os.environ.get("PYTHONPATH", "")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self._temporary),
            **(more or {}),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self._tree, env=settings, stdout=output, stderr=output, start_new_session=True
            )
            # A core each: tests that wait for one another's processors would seem to hang. A mutant may
            # also allocate without end.
            os.sched_setaffinity(process.pid, {self._core})
            resource.prlimit(process.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
            code: int | None = None
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                # With the worker processes that tests have started.
                os.killpg(process.pid, 9)
                process.wait()
        for left in self._temporary.glob("*"):
            if left.is_dir() and left.name != "lines":
                shutil.rmtree(left, ignore_errors=True)
        return code, log.read_text(errors="replace")


def _node(test: str, case: ElementTree.Element) -> str:
    """A test's name for `--deselect`: `tests/test_a.py::test_it[1]`."""
    module = test.removesuffix(".py").replace("/", ".")
    inner = case.get("classname", "").removeprefix(module).strip(".")
    return "::".join(filter(None, (test, inner.replace(".", "::"), case.get("name", ""))))
