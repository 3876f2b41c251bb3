"""Whoever reads the output may have seen enough: a command ends quietly then, as SIGPIPE would end it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_study import write_searched

COMMANDS = (
    ("--help",), ("blocks",), ("front",), ("front", "--json"), ("trials", "--json"), ("show", "0"),
    ("explain", "0", "--no-run"), ("search", "--budget", "1", "--json-lines"),
    ("search", "--budget", "1", "-q"), ("nonsense",), ("show", "99"),
)  # fmt: skip
"""The last two tell a mistake, on standard error."""
RUN = """
import os, sys, traceback
from autoprec.cli import main
for command in {commands}:
    read, write = os.pipe()
    os.close(read)
    for stream in (1, 2):
        os.dup2(write, stream)
    os.close(write)
    sys.stdout, sys.stderr = (open(stream, "w", closefd=False, buffering=1) for stream in (1, 2))
    study = [] if command[0] in ("nonsense", "--help") else ["--study", "tiny.toml"]
    code = "no end"
    try:
        main([*command, *study])
    except SystemExit as end:
        code = end.code
    except BaseException:
        code = traceback.format_exc()
    os.write(int(sys.argv[1]), f"{{command}}: {{code}}\\n".encode())
"""
FULL = """
import json, os, sys, tempfile
from autoprec.cli import _parts, main
_parts.Study
for streams, command in {cases}:
    errors = tempfile.TemporaryFile("w+")
    if not (copy := os.fork()):  # it ends as any command does
        full, null = (os.open(path, os.O_WRONLY) for path in ("/dev/full", os.devnull))
        os.dup2(full if 1 in streams else null, 1)
        os.dup2(full if 2 in streams else errors.fileno(), 2)
        sys.argv[1:] = command.split()
        main()
    code = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
    errors.seek(0)
    print(json.dumps([code, *errors]), flush=True)
"""
"""Each command in a copy of a process that has loaded what they need."""


@pytest.fixture
def studied(tmp_path: Path) -> Path:
    """A study that was searched."""
    return write_searched(tmp_path).parent


def test_every_command_whose_reader_is_gone_ends_quietly(studied: Path) -> None:
    read, write = os.pipe()
    command = [sys.executable, "-c", RUN.format(commands=COMMANDS), str(write)]
    with subprocess.Popen(command, cwd=studied, pass_fds=(write,)):
        os.close(write)
        with os.fdopen(read, encoding="utf-8") as codes:
            told = codes.read().splitlines()
    assert told == [f"{command}: 141" for command in COMMANDS]


def test_a_question_that_nobody_can_answer_is_declined(studied: Path) -> None:
    words = f"{sys.executable} -m autoprec delete tiny.toml <&-"
    ran = subprocess.run(["sh", "-c", words], cwd=studied, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr.splitlines()[-1]) == (130, "autoprec: nothing was changed")


def test_no_file_takes_the_number_of_a_closed_stream() -> None:
    opening = (
        "import os; from autoprec import cli; cli._run.__globals__['app'] = lambda *_, **__: print(os.dup(0))"
    )
    words = f'{sys.executable} -c "{opening}; cli.main([])" <&- 2>&-'
    ran = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert int(ran.stdout) > 2


def test_a_closed_standard_output_is_no_fault(studied: Path) -> None:
    words = f"{sys.executable} -m autoprec trials --study tiny.toml >&-"
    ran = subprocess.run(["sh", "-c", words], cwd=studied, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_output_that_a_full_disk_does_not_take_is_a_mistake_of_the_users(studied: Path) -> None:
    commands = ("--help", "trials --study tiny.toml", "show 99", "nonsense")
    cases = [(streams, command) for streams in ((1,), (2,), (1, 2)) for command in commands]
    told = subprocess.run(
        [sys.executable, "-c", FULL.format(cases=cases)],
        cwd=studied,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.splitlines()
    for (streams, command), (code, *errors) in zip(cases, map(json.loads, told), strict=True):
        is_told = command in ("show 99", "nonsense") or 1 in streams
        assert code == (2 if is_told else 0), (streams, command)
        assert len(errors) == (streams == (1,)), (streams, command)
