"""A Ray cluster of several nodes on one machine, and blows on its nodes."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from evidence import Report

from postgresql_server import postgresql_server
from tiny_study import write_study

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}
SMALL = ["--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats", "--block"]


class Cluster:
    """A head without CPUs of its own, and nodes that come and go.

    Args:
        folder: where each node's log is written.
    """

    def __init__(self, folder: Path) -> None:
        here = importlib.import_module("ray.util").get_node_ip_address()  # Ray takes no other for itself
        with socket.socket() as free:
            free.bind((here, 0))
            port = free.getsockname()[1]
        self.address, self._folder = f"{here}:{port}", folder
        self._count = 0
        head = [
            "--head",
            "--port",
            str(port),
            "--node-ip-address",
            "127.0.0.1",
            "--include-dashboard",
            "false",
        ]
        self._head = self._start([*head, *SMALL])
        self.nodes: list[subprocess.Popen[bytes]] = []
        while True:
            with suppress(OSError), socket.create_connection((here, port), 1):
                break
            time.sleep(0.5)

    def join(self) -> None:
        """Start one more node, which joins the cluster."""
        self.nodes.append(self._start(["--address", self.address, *SMALL]))

    def lose(self, number: int) -> None:
        """Send SIGKILL to a node and to every process it started."""
        _kill(self.nodes.pop(number))

    def lose_head(self) -> None:
        """Send SIGKILL to the head, without which its nodes cannot live."""
        _kill(self._head)

    def close(self) -> None:
        """Kill every node, then the head."""
        for process in (*self.nodes, self._head):
            _kill(process)

    def _start(self, words: list[str]) -> subprocess.Popen[bytes]:
        self._count += 1
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words]
        with (self._folder / f"node-{self._count}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **QUIET}
            )


def on_ray(given: argparse.Namespace, folder: Path) -> Report:
    """Search on a cluster whose nodes, then head, are killed; resume the search on a second cluster."""
    report = Report()
    path = write_study(folder, count=given.blocks)
    with postgresql_server(durable=True) as server:
        address = server.new_database()
        begin = time.monotonic()
        cluster = Cluster(folder)
        try:
            cluster.join()
            cluster.join()
            search = _search(path, address, cluster, given.trials, folder)
            _strike(report, given, cluster, search, address)
        finally:
            cluster.close()
        code = _ended(search, 120)
        report.say(f"the head is lost: the search ended with {code}: {_said(folder)}")
        # A user whose cluster has gone must get one line and exit code 2, not Ray's stack trace.
        if code != 2 or "Traceback" in _said(folder):
            report.faults.append(f"a search whose cluster was lost ended with {code}")
        cluster = Cluster(folder)
        try:
            cluster.join()
            search = _search(path, address, cluster, given.trials, folder)
            code = _ended(search, given.seconds)
            report.say(f"resumed on another cluster: the search ended with {code}")
        finally:
            cluster.close()
        report.say(f"{time.monotonic() - begin:.0f} s in all, on {os.cpu_count()} cores")
        if code != 0:
            report.faults.append(f"the resumed search ended with {code}: {_said(folder)}")
        report.judge(address, given)
    return report


def _strike(
    report: Report, given: argparse.Namespace, cluster: Cluster, search: subprocess.Popen[bytes], address: str
) -> None:
    """Kill nodes, each replaced by a new one; the last blow hits the head."""
    done, begin = 0, time.monotonic()
    for blow in range(given.blows):
        # Blows are spread over the trials, not over time: a fast machine would otherwise finish before the
        # last ones.
        due = (blow + 0.5) * given.trials / (given.blows + 1)
        while done < due and search.poll() is None and time.monotonic() - begin < given.seconds:
            time.sleep(given.dice.uniform(0.5, 2))
            # `look` returns -1 while the database cannot be read.
            done = max(done, report.look(address))
        if search.poll() is not None:
            report.faults.append(f"the search ended with {search.returncode} while nodes were left")
            return
        if blow == given.blows - 1:
            report.say(f"{done} trials: the head is killed")
            cluster.lose_head()
        else:
            report.say(f"{done} trials: a node is killed, another joins")
            cluster.lose(given.dice.randrange(len(cluster.nodes)))
            cluster.join()


def _search(path: Path, address: str, cluster: Cluster, trials: int, folder: Path) -> subprocess.Popen[bytes]:
    words = ["search", "--study", str(path), "--storage", address, "--ray", cluster.address]
    words += ["--budget", str(trials), "--jobs", "1"]
    with (folder / "search.log").open("ab") as log:
        command = [sys.executable, "-m", "autoprec", *words]
        return subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **QUIET}
        )


def _said(folder: Path) -> str:
    lines = (folder / "search.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _ended(search: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code; None for one that hangs, which is killed."""
    try:
        return search.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(search)
        return None


def _kill(root: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a process and all its descendants."""
    with suppress(psutil.NoSuchProcess):
        # Collect the descendants before the first signal: once the root is dead, its children belong to
        # another parent and can no longer be found.
        everyone = psutil.Process(root.pid)
        for process in [everyone, *everyone.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
    root.wait()
