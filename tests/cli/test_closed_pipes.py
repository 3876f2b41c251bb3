"""Whoever reads the output may have seen enough: a command ends quietly then, as SIGPIPE would end it."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    "command", [("--help",), ("trials", "--study", "tiny.toml"), ("show", "99"), ("nonsense",)]
)
@pytest.mark.parametrize("streams", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1"])
def test_output_that_a_full_disk_does_not_take_is_a_mistake_of_the_users(
    command: tuple[str, ...], streams: str, studied: Path
) -> None:
    words = f"{sys.executable} -m autoprec {' '.join(command)} {streams}"
    ran = subprocess.run(["sh", "-c", words], cwd=studied, capture_output=True, text=True, check=False)
    is_told = command in (("show", "99"), ("nonsense",)) or streams != "2>/dev/full"
    assert ran.returncode == (2 if is_told else 0)
    assert len(ran.stderr.splitlines()) == (streams == ">/dev/full")
