"""Work in another thread while this one does something else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from autoprec.closing import Closing

Say = Callable[[str], None]
_PAUSE_SECONDS = 0.2


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
        while self._thread.is_alive():
            self._thread.join(_PAUSE_SECONDS)  # a plain join would keep Ctrl-C waiting
        self.check()

    def end(self, stop: Callable[[], None]) -> None:
        """Have `stop` end what the work waits for, until the work ends; what that raises is not told."""
        while self._thread.is_alive():
            stop()
            self._thread.join(_PAUSE_SECONDS)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
            self._failures.append(error)


class Asides(Closing):
    """Works that go on in threads until they are waited for; use in a `with` block, which leaves none behind.

    `stop` ends what they wait for.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop, self._begun = stop, list[Aside]()

    def begin(self, work: Callable[[], None]) -> None:
        """Have `work` go on from now on."""
        self._begun.append(Aside(work))

    def wait(self) -> None:
        """Wait for all of them; raises what the first one raised."""
        for aside in self._begun:
            aside.wait()

    def close(self) -> None:
        """End those that still go on."""
        for aside in self._begun:
            aside.end(self._stop)


@contextmanager
def alongside(work: Callable[[], None], say: Say, stop: Callable[[], None] | None = None) -> Iterator[Say]:
    """Do `work` while the block runs, and wait for it at the end; raises what `work` raised.

    Yields a `say` that raises it as well, so that a block that reports its progress ends soon after a
    failure. A block that fails itself has `stop` end `work`, and does not wait for it where there is none.
    """
    aside = Aside(work)

    def listen(message: str) -> None:
        aside.check()
        say(message)

    try:
        yield listen
    except BaseException:
        if stop is not None:
            aside.end(stop)
        raise
    aside.wait()
