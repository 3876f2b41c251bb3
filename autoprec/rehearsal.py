"""Work that may end the process that does it: done first in a copy of this process, which may.

For native code that believes what it reads, and ends in a segmentation fault or never. A copy is a fork,
which takes milliseconds, where a process of its own would load every library anew.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress

from autoprec.loading import STARTING, end_of

_OF_OTHERS = frozenset({signal.SIGALRM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
"""Signals that say nothing of the work. SIGALRM: a copy has one thread of this process', and waits for ever
for what another one held."""
_MOST_WAITED = 60, 8
"""Seconds until that alarm, and times those of the processor: on a busy machine work gets a share of it."""


_here = {"needless": False}


def needless() -> None:
    """This process is a worker, whose end is told by whoever started it: nothing is rehearsed here."""
    _here["needless"] = True


def fatal_signal(work: Callable[[], object], seconds: int) -> str:
    """The name of the signal that ends a process which does the work; empty if none does, or none is known.

    What the work returns or raises is lost: repeat it here.

    Args:
        work: anything that leaves no trace outside of the process.
        seconds: of processor time; beyond, the signal is SIGXCPU.
    """
    if _here["needless"]:
        return ""
    with warnings.catch_warnings():
        # From Python 3.12 on it warns of threads: what they hold is waited for until the alarm.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            with STARTING:  # held by another thread, it would be held in the copy for ever
                copy = os.fork()
        except OSError:  # no memory, or no process, is left for a copy
            return ""
    if not copy:
        _rehearse(work, seconds)
    try:
        status = end_of(copy)
    except BaseException:
        with suppress(OSError):
            os.kill(copy, signal.SIGKILL)
            os.waitpid(copy, 0)
        raise
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) in _OF_OTHERS:
        return ""
    return signal.Signals(os.WTERMSIG(status)).name


def _rehearse(work: Callable[[], object], seconds: int) -> None:
    """In the copy: do the work, and end without any of what ends this process."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # what is said is said in this process
            os.dup2(nowhere, stream)
        faulthandler.disable()  # it may have a stream of its own
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        least, times = _MOST_WAITED
        signal.alarm(least + times * seconds)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        limit = seconds if most == resource.RLIM_INFINITY else min(seconds, most)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
        work()
    except BaseException:  # noqa: BLE001, S110 - it is raised where the work is repeated
        pass
    finally:
        os._exit(0)
