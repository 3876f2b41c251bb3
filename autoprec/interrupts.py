"""Ctrl-C before a command begins, and once it has ended: the process ends by it, without a traceback."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ending_at_once() -> Iterator[None]:
    """In the block Ctrl-C ends the process, unless the program has its own use for it."""
    if not _is_usual():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def end_at_once() -> None:
    """From now on Ctrl-C ends the process: as the interpreter ends, it prints a traceback."""
    if _is_usual():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _is_usual() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt, and this thread may change that."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
