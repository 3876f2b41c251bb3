"""The workers of one search: for each slot a measuring and a writing process, and a thread that waits.

Several slots of one device build in parallel; the device's lease keeps their timings apart (see
`measurement.lease`). Everything that decides or writes stays in the thread that owns the crew.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import psutil

from autoprec.backends import Backend
from autoprec.backends.devices import Device
from autoprec.closing import Closing
from autoprec.measurement import Bench
from autoprec.spec import BackendSection
from autoprec.writing import Material, Writers

Item = TypeVar("Item")
T = TypeVar("T")
Other = TypeVar("Other")
Made = TypeVar("Made")
_MOST_JOBS = 8
"""More builders wait for timings: measured with TensorRT-RTX, a build of seconds and a timing of a tenth."""
_JOB_BYTES = 4 << 30
"""Memory that a builder may take, engines of both kinds and samples included."""
_PAUSE_SECONDS = 1.0
"""How often, at least, the owner checks for Ctrl-C and for what others did."""


def default_jobs(backend: Backend, devices: int) -> int:
    """How many candidates to build in parallel for each device, by cores and memory.

    One where builds and timings share the device: they could not overlap, or costs are known.
    """
    if backend.builds_on_device or backend.stopwatch == "known":
        return 1
    cores = len(os.sched_getaffinity(0)) - devices  # each device's timing has a core to itself
    room = psutil.virtual_memory().available // _JOB_BYTES
    return int(max(1, min(_MOST_JOBS, cores // devices, room // devices)))


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker: its process, the device that it measures on, and a name for its files."""

    number: int
    device: Device
    bench: Bench
    threads: int
    """Its share of the cores."""
    writers: Writers | None
    """Processes that rewrite, where several slots do; one alone rewrites in this process."""

    @property
    def scratch(self) -> str:
        """The name of its candidate's model."""
        return f"candidate-{self.number}.onnx" if self.number else "candidate.onnx"


@dataclass(slots=True)
class Finished(Generic[Item, T]):
    """What a slot was given, and what came of it: `result` raises what was raised."""

    item: Item
    slot: Slot
    future: Future[T] = field(repr=False)

    def result(self) -> T:
        """What the work returned. Raises what it raised."""
        return self.future.result()


class Crew(Closing, Generic[Item, T]):
    """Slots that work in parallel; use in a `with` block.

    Args:
        devices: each gets `jobs` slots.
        jobs: candidates that are built in parallel for one device.
        folder: takes what the workers print.
        name: of the log files, `worker`.
        say: receives what the user should know.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        jobs: int,
        folder: Path,
        name: str = "worker",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        count, self.slots = jobs * len(devices), list[Slot]()
        share = max(1, len(os.sched_getaffinity(0)) // count)
        self._writers = Writers(count, share, folder / f"{name}-writing.log") if count > 1 else None
        # Neighbouring slots have different devices: a few trials in progress are spread over all of them.
        for number, device in enumerate([device for _ in range(jobs) for device in devices]):
            log = folder / (f"{name}-{number}.log" if number else f"{name}.log")
            bench = Bench(log, say, device.environment)
            self.slots.append(Slot(number, device, bench, share, self._writers))
        self._free = deque(self.slots)
        self._busy: dict[Future[T], tuple[Item, Slot]] = {}
        self._threads = ThreadPoolExecutor(len(self.slots))

    @property
    def first(self) -> Slot:
        """The slot for what is done once."""
        return self.slots[0]

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._free)

    @property
    def room(self) -> int:
        """How many slots are free."""
        return len(self._free)

    @property
    def next(self) -> Slot:
        """The slot that `start` takes."""
        return self._free[0]

    @property
    def is_idle(self) -> bool:
        """Whether all slots are free."""
        return not self._busy

    def warm(self, section: BackendSection) -> None:
        """Let every worker open the engine while the search prepares: that takes seconds for each."""
        for slot in self.slots:
            self._threads.submit(slot.bench.reach, section)

    def load(self, material: Material) -> None:
        """Let every writing process load what candidates are written from."""
        if self._writers is not None:
            self._writers.load(material)

    def start(self, item: Item, work: Callable[[Slot, Item], T]) -> None:
        """Give the next free slot something to do."""
        slot = self._free.popleft()
        self._busy[self._threads.submit(work, slot, item)] = item, slot

    def finished(self, *, all_of_them: bool = False) -> Iterator[Finished[Item, T]]:
        """What has been done since this was last asked; waits a moment for the first, or for every one."""
        while self._busy:
            done, _ = wait(self._busy, timeout=_PAUSE_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                item, slot = self._busy.pop(future)
                self._free.append(slot)
                yield Finished(item, slot, future)
            if not all_of_them:
                return

    def each(
        self, items: Iterable[Other], work: Callable[[Slot, Other], Made]
    ) -> Iterator[tuple[Other, Made]]:
        """Do the same with every item, on all slots, in any order, while nothing else is running.

        The next item is drawn when a slot is free. Raises what `work` raises.
        """
        source, free = iter(items), deque(self.slots)
        busy: dict[Future[Made], tuple[Other, Slot]] = {}
        while True:
            for item in islice(source, len(free)):
                slot = free.popleft()
                busy[self._threads.submit(work, slot, item)] = item, slot
            if not busy:
                return
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                item, slot = busy.pop(future)
                free.append(slot)
                yield item, future.result()

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for slot in self.slots:
            slot.bench.close()
        if self._writers is not None:
            self._writers.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for slot in self.slots:  # one may have been about to start
            slot.bench.close()
