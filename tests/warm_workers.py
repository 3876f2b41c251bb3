"""Workers for tests, forked from a process that has imported what they import: a second of imports less.

A worker is a process as any other, with its session, pipes, environment, limits and death: only the start of
its interpreter is shared. What changes that start (another `PYTHONPATH`, another module) has one of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import IO, Any, BinaryIO

from threadpoolctl import threadpool_limits

MODULES = ("autoprec.measurement", "autoprec.writing")
"""What workers run as `__main__`."""
_LIMITS = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_STACK")
_PR_SET_CHILD_SUBREAPER = 36
_AT_START = ("PYTHON", "LD_", "MASKED_")
"""Variables that count when an interpreter or a library starts, but for the number of BLAS' threads, which a
worker sets."""
RUN_FIRST = "FORKED_WORKERS_RUN_FIRST"
"""Names a file that a worker runs before its module: one that breaks something."""


class Forked:
    """As much of `subprocess.Popen` as a worker's owner uses."""

    def __init__(self, pid: int, stdin: IO[bytes]) -> None:
        self.pid, self.stdin, self.returncode = pid, stdin, None
        self._waiting = threading.Lock()  # who ends it and who asks it may both wait

    returncode: int | None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self._reaped(os.WNOHANG)

    def wait(self) -> int:
        """Until it has ended."""
        code = self._reaped(0)
        assert code is not None
        return code

    def _reaped(self, options: int) -> int | None:
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, options)
                self.returncode = os.waitstatus_to_exitcode(status) if pid else None
            return self.returncode


class Warm:
    """The process that workers are forked from; they become children of this one. It starts with the first.

    Args:
        environment: that it starts in.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment, self._lock = environment, threading.Lock()
        self._channel: socket.socket | None = None

    def _begin(self) -> socket.socket:
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", __file__, str(other.fileno())]
        self._process = subprocess.Popen(
            command, pass_fds=(other.fileno(),), stdin=subprocess.DEVNULL, env=self._environment
        )
        other.close()
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        return self._channel

    def start(self, module: str, child_end: int, log: BinaryIO, environment: dict[str, str]) -> Forked | None:
        """A worker; None where one with such an environment has to start by itself."""
        if module not in MODULES or _at_start(environment) != _at_start(self._environment):
            return None
        read, write = os.pipe()
        request = {
            "module": module,
            "environment": environment,
            "folder": str(Path.cwd()),
            "cores": sorted(os.sched_getaffinity(0)),
            "limits": {name: resource.getrlimit(getattr(resource, name)) for name in _LIMITS},
        }
        with self._lock:
            channel = self._channel or self._begin()
            socket.send_fds(channel, [json.dumps(request).encode()], [read, log.fileno(), child_end])
            pid = int(channel.recv(64))
        os.close(read)
        return Forked(pid, os.fdopen(write, "wb"))

    def close(self) -> None:
        """No worker more."""
        if self._channel is not None:
            self._channel.close()
            self._process.wait()


def _at_start(environment: Any) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_AT_START)}


def serve(channel: socket.socket) -> None:
    """Fork a worker for each request, until whoever asks is gone."""
    for name in (*(f"{module}.__main__" for module in MODULES), "openvino"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # a collection in a child would copy every page that it looks through
    asker = os.getppid()
    while True:
        message, descriptors, *_ = socket.recv_fds(channel, 1 << 20, 3)
        if not message:
            return
        between = os.fork()
        if between == 0:  # it ends at once: the worker becomes a child of the process that asked
            if os.fork() == 0:
                _become(json.loads(message), descriptors, asker, channel)
            os._exit(0)
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: dict[str, Any], descriptors: list[int], asker: int, channel: socket.socket) -> None:
    """Say who it is, be a worker, and end."""
    code = 1
    try:
        while os.getppid() != asker:  # what is set to die with its parent would die with the one between
            time.sleep(0.0005)
        os.setsid()
        channel.send(str(os.getpid()).encode())  # not before: whoever asked may kill the session at once
        channel.close()
        stdin, log, answers = descriptors
        for source, target in ((stdin, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.close(stdin)
        os.close(log)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        os.sched_setaffinity(0, request["cores"])
        tempfile.tempdir = None
        sys.argv = [request["module"], str(answers)]
        for name, limits in request["limits"].items():
            resource.setrlimit(getattr(resource, name), tuple(limits))
        threadpool_limits(int(os.environ.get("OPENBLAS_NUM_THREADS", "0")) or None, "blas")
        if first := os.environ.get(RUN_FIRST):
            runpy.run_path(first)
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
