"""Hosts as network namespaces and folders, and blows on them."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
from evidence import Report

from postgresql_server import PostgresqlServer, postgresql_server
from tiny_study import write_study

NETWORK, BRIDGE = "10.213.77", "autoprec0"
CUT_SECONDS = (3, 25)


class Host:
    """A folder and a network of its own, with at most one search.

    Args:
        number: from 1; part of the host's name and of its IP address.
        folder: created here; holds the study, its caches and its log.
        address: of the shared database.
        given: the budget of the search in trials, and the blocks of its model.
        is_apart: whether the host gets its own network namespace, which takes root.
    """

    def __init__(
        self, number: int, folder: Path, address: str, given: argparse.Namespace, *, is_apart: bool
    ) -> None:
        self.name, self._folder = f"host{number}", folder
        self._link = f"ap{number}"
        self._is_apart = is_apart
        folder.mkdir()
        path = write_study(folder, count=given.blocks)
        self._words = ["search", "--study", str(path), "--storage", address, "--budget", str(given.trials)]
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        if is_apart:
            ip("netns", "add", self.name)
            # A veth pair: one end inside the namespace as eth0, the other on the bridge, where `cut` takes
            # it down.
            ip("link", "add", self._link, "type", "veth", "peer", "eth0", "netns", self.name)
            ip("link", "set", self._link, "master", BRIDGE, "up")
            ip("-n", self.name, "link", "set", "lo", "up")
            # `.1` is the bridge, where the database listens.
            ip("-n", self.name, "addr", "add", f"{NETWORK}.{number + 1}/24", "dev", "eth0")
            ip("-n", self.name, "link", "set", "eth0", "up")

    @property
    def code(self) -> int | None:
        """The exit code of the search; None while it runs."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the search, or resume it after a kill."""
        inside = ["ip", "netns", "exec", self.name] if self._is_apart else []
        # Real hosts share no files: caches, device leases (in TMPDIR) and temporary files must not leak.
        own = {"TMPDIR": str(self._folder / "tmp"), "XDG_CACHE_HOME": str(self._folder / "cache")}
        # As Slurm tells a requeued job, which must not begin a second run where its first one has ended.
        own |= {"SLURM_JOB_ID": "1", "SLURM_RESTART_COUNT": str(self._starts)}
        self._starts += 1
        Path(own["TMPDIR"]).mkdir(exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*inside, sys.executable, "-m", "autoprec", *self._words],
                stdout=log, stderr=log, start_new_session=True, env={**os.environ, **own},
            )  # fmt: skip

    def kill(self) -> None:
        """Send SIGKILL to the search and all its descendants, as when a host loses power."""
        assert self._process is not None
        with suppress(psutil.NoSuchProcess):
            # Collect the descendants before the first signal: orphans get another parent and can no longer
            # be found.
            everyone = psutil.Process(self._process.pid)
            for process in [everyone, *everyone.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        self._process.wait()

    def cut(self, seconds: float) -> None:
        """Take the host's link down for a number of seconds."""
        ip("link", "set", self._link, "down")
        time.sleep(seconds)
        ip("link", "set", self._link, "up")

    def said(self) -> str:
        """Returns the last line of the host's log."""
        lines = (self._folder / "log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def remove(self) -> None:
        """Kill the search and delete the network namespace."""
        if self._process is not None:
            self.kill()
        if self._is_apart:
            ip("netns", "del", self.name)


def on_hosts(given: argparse.Namespace, folder: Path) -> Report:
    """Search on all hosts while blows fall; check the shared study throughout and at the end."""
    report = Report()
    folder.chmod(0o755)
    is_apart = not given.shared_network
    with ExitStack() as stack:
        if is_apart:
            ip("link", "add", BRIDGE, "type", "bridge")
            stack.callback(ip, "link", "del", BRIDGE)
            ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
        server = stack.enter_context(
            postgresql_server(durable=True, listen=f"{NETWORK}.1" if is_apart else "")
        )
        address = server.new_database()
        hosts = []
        for number in range(1, given.hosts + 1):
            hosts.append(Host(number, folder / f"host{number}", address, given, is_apart=is_apart))
            stack.callback(hosts[-1].remove)
        begin = time.monotonic()
        for host in hosts:
            host.start()
        done, struck, restarts = 0, 0, 0
        while any(host.code is None for host in hosts):
            time.sleep(given.dice.uniform(0.5, 2))
            done = max(done, report.look(address))
            # Blows are spread over the trials, not over time: a fast machine would otherwise finish before
            # the last ones.
            is_due = done >= (struck + 0.5) * given.trials / (given.blows + 1)
            if not is_due or struck == given.blows or time.monotonic() - begin > given.seconds:
                continue
            struck += 1
            # A link can only be cut where hosts have links of their own.
            way = given.dice.choice(["kill", "kill", "cut", "database"] if is_apart else ["kill", "database"])
            host = given.dice.choice([host for host in hosts if host.code is None])
            report.say(f"{done} trials: {way}" + ("" if way == "database" else f" {host.name}"))
            if way == "kill":
                host.kill()
                host.start()
            elif way == "cut":
                host.cut(given.dice.uniform(*CUT_SECONDS))
            else:
                restarts += 1
                _restart(server, "immediate" if restarts % 2 else "fast")
        seconds = time.monotonic() - begin
        report.say(f"{struck} blows in {seconds:.0f} s; {given.hosts} hosts on {os.cpu_count()} cores")
        report.faults += [f"{h.name} ended with {h.code}: {h.said()}" for h in hosts if h.code]
        report.judge(address, given)
    return report


def _restart(server: PostgresqlServer, how: str) -> None:
    server.stop(how=how)
    time.sleep(2)
    server.start()


def ip(*words: str) -> None:
    """Run the `ip` command.

    Raises:
        RuntimeError: `ip` failed, for instance because the caller is not root.
    """
    done = subprocess.run(["/usr/bin/env", "ip", *words], capture_output=True, check=False, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
