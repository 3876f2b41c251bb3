"""Work in another thread while this one does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]


def nothing() -> None:
    """Do nothing: the work for `alongside` where there is none."""


class Aside:
    """Work that goes on in a thread from now on."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._failures: list[BaseException] = []
        # A daemon: `work` may sit in an engine for minutes, and must not keep a failed program from ending.
        self._thread = threading.Thread(target=self._run, name="alongside", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what the work has raised by now."""
        if self._failures:
            raise self._failures[0]

    def wait(self) -> None:
        """Wait for the work; raises what it raised."""
        self._thread.join()
        self.check()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
            self._failures.append(error)


@contextmanager
def alongside(work: Callable[[], None], say: Say) -> Iterator[Say]:
    """Do `work` while the block runs, and wait for it at the end; raises what `work` raised.

    Yields a `say` that raises it as well, so that a block that reports its progress ends soon after a
    failure. A block that fails itself does not wait for `work`.
    """
    aside = Aside(work)

    def listen(message: str) -> None:
        aside.check()
        say(message)

    yield listen
    aside.wait()
