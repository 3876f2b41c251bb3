"""Who may use a device now: any number of running engines, or one that is timed, across all processes.

The kernel lets go of what a process held when it dies, however it dies. Leases are of one machine, as devices
are, so they lie in its temporary folder, for every user and every study alike.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprec.backends.timing import Deadline, elapsed
from autoprec.errors import StudyError
from autoprec.files import SHARED_TMPDIR

_SHARED_SECONDS = 0.3
"""How long others may have to wait for exclusive use: about the time of one timing."""


class DeviceLease:
    """The lease of one device. Not reentrant.

    Args:
        device: distinguishes it from the machine's other devices; "" is a device that nobody else can use.
        folder: where the leases of this machine are.
    """

    def __init__(self, device: str, folder: Path | None = None) -> None:
        self._device = device
        shared = Path(os.environ.get(SHARED_TMPDIR) or tempfile.gettempdir())
        self._folder = folder or shared / "autoprec-devices"
        self.waited = 0.0
        """Seconds, of all that was ever waited for it here."""

    @contextmanager
    def running(self) -> Iterator[Callable[[], None]]:
        """Shared use: others may run as well, but nothing is timed.

        Yields what a long pass calls between two inferences: now and then it lets those in who wait to be
        alone.
        """
        with self._held(fcntl.LOCK_SH) as taken:
            since = Deadline(_SHARED_SECONDS)

            def pause() -> None:
                nonlocal since
                if taken and since.is_over:
                    fcntl.flock(taken[1], fcntl.LOCK_UN)
                    self._take(*taken, fcntl.LOCK_SH)
                    since = Deadline(_SHARED_SECONDS)

            yield pause

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Exclusive use of the device."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _held(self, how: int) -> Iterator[tuple[int, int] | None]:
        """The open files of the turn and of the device; None for a device that nobody else can use."""
        if not self._device:
            yield None
            return
        turn, device = self._open("turn"), self._open("lease")
        try:
            self._take(turn, device, how)
            yield turn, device
        finally:
            os.close(turn)
            os.close(device)

    def _take(self, turn: int, device: int, how: int) -> None:
        """Take the lock. Whoever waits for exclusive use holds the turn, so later sharers queue behind."""
        with elapsed() as waiting:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(device, how)
            fcntl.flock(turn, fcntl.LOCK_UN)
        self.waited += waiting.seconds

    def _open(self, kind: str) -> int:
        path = self._folder / f"{self._device}.{kind}"
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(exist_ok=True)
                # As the temporary folder itself: any user may lease, and nobody remove another's files.
                self._folder.chmod(0o1777)
            # Not inherited: a lock is held while any process has the file open, and a child may outlive this
            # one.
            # Never through a link: in a folder for all, somebody else may have put one there.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StudyError(
                f"{path}: the device cannot be leased ({error.strerror}); make its folder writable"
            ) from error
        return file


def calibration(folder: str) -> DeviceLease:
    """Held as `running` by a search that calibrates on its processors, and as `alone` by what is to be timed
    there; "" is a lease that nobody else holds."""
    return DeviceLease("calibration" if folder else "", Path(folder))


@contextmanager
def undisturbed(device: DeviceLease, behind: str) -> Iterator[None]:
    """A device alone, once no search holds `calibration(behind)` any more."""
    with (calibrated := calibration(behind)).alone():
        device.waited += calibrated.waited
        with device.alone():
            yield
