"""Work in another thread while this one does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]


def nothing() -> None:
    """Do nothing: the work for `alongside` where there is none."""


@contextmanager
def alongside(work: Callable[[], None], say: Say) -> Iterator[Say]:
    """Do `work` while the block runs, and wait for it at the end; raises what `work` raised.

    Yields a `say` that raises it as well, so that a block that reports its progress ends soon after a
    failure. A block that fails itself does not wait for `work`.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
            failures.append(error)

    def listen(message: str) -> None:
        if failures:
            raise failures[0]
        say(message)

    # A daemon: `work` may sit in an engine for minutes, and must not keep a failed program from ending.
    thread = threading.Thread(target=run, name="alongside", daemon=True)
    thread.start()
    yield listen
    thread.join()
    if failures:
        raise failures[0]
