"""Work that goes on in another thread while this one does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]


def nothing() -> None:
    """What is done alongside where there is nothing to do."""


@contextmanager
def alongside(work: Callable[[], None], say: Say) -> Iterator[Say]:
    """Do `work` while the block runs, and wait for it at the end.

    Yields `say`, which raises what `work` raised: a block that reports its progress ends soon after it.
    A block that fails does not wait for `work`.
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

    thread = threading.Thread(target=run, name="alongside", daemon=True)
    thread.start()
    yield listen
    thread.join()
    if failures:
        raise failures[0]
