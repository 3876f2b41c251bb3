"""What both proofs share: running commands, finding processes, and checking that none are left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from loopback_ssh import Server

ROOT = Path(__file__).resolve().parents[3]
LINE = Path(__file__).with_name("line.py")


def section(server: Server, python: str, folder: Path) -> str:
    """The section `[target]` of a definition."""
    return (
        f'\n[target]\naddress = "{server.address}"\npython = "{python}"\nfolder = "{folder}"\n'
        f'ssh_config = "{server.config}"\n'
    )


def started(words: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a command of autoprec in a folder, with its output in a pipe."""
    return subprocess.Popen(
        [sys.executable, "-m", "autoprec", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ran(words: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and output of a command."""
    process = started(words, folder)
    text, _ = process.communicate()
    return process.returncode, text


def version(python: str) -> str:
    """The version of a target's Python and of its engine."""
    probe = "import platform, openvino; print(platform.python_version(), openvino.__version__.split('-')[0])"
    with os.popen(f'{python} -c "{probe}"') as told:  # noqa: S605 - a fixed command
        version, _, engine = told.read().strip().partition(" ")
    return f"{version}, OpenVINO {engine}"


def shipped(study: str, home: Path) -> list[str]:
    """Export the fastest point of a study, verify it on its target, clean the target; returns what failed."""
    exports, faults = home / "studies" / study / "exports", []
    for words, allowed in (
        (["export", "--study", study, "--pick", "fastest", "--max-loss", "0.9", "--examples", "4"], (0,)),
        (["verify", "--study", study], (0, 4)),  # 4: another latency, on a busy machine
        (["doctor", "--study", study], (0,)),
        (["target", "clean", "--study", study], (0,)),
    ):
        verified = (
            [str(next(exports.iterdir(), exports))] if words[0] == "verify" and exports.exists() else []
        )
        code, text = ran([words[0], *verified, *words[1:]], home)
        if code not in allowed:
            faults.append(f"{' '.join(words[:2])} ended with {code}: {text.strip()[-600:]}")
    return faults


def processes(is_wanted: Callable[[list[str]], bool]) -> list[psutil.Process]:
    """The processes whose command line is wanted."""
    alive = []
    for process in psutil.process_iter():
        try:
            if is_wanted(process.cmdline()):
                alive.append(process)
        except psutil.Error:
            continue
    return alive


def agents(folder: Path) -> list[psutil.Process]:
    """The agents whose files are in a folder."""
    return processes(lambda words: len(words) > 2 and words[1].startswith(f"{folder}/agent-"))


def lines(server: Server) -> list[psutil.Process]:
    """The ssh clients of a server."""
    return processes(lambda words: words[:1] == ["ssh"] and str(server.port) in words)


def sessions(server: Server) -> list[psutil.Process]:
    """The sessions of a server: its end of each line."""
    try:
        return psutil.Process(server.process.pid).children(recursive=True)
    except psutil.Error:
        return []


def are_gone(folder: Path, seconds: float = 20.0) -> bool:
    """Whether no agent is left within that time."""
    late = time.monotonic() + seconds
    while agents(folder):
        if time.monotonic() > late:
            return False
        time.sleep(0.2)
    return True
