"""The workers of one search: for each slot a measuring and a writing process, and a thread that waits for
them.

Several slots of one device build in parallel; the device's lease keeps their timings apart (see
`measurement.lease`). Decisions and stored records are left to the thread that owns the crew.
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

from autoprec.backends import Backend, Device, Distant, computes
from autoprec.closing import Closing
from autoprec.measurement import Bench, Setup
from autoprec.spec import BackendSection
from autoprec.writing import Material, Writers

Item = TypeVar("Item")
T = TypeVar("T")
Other = TypeVar("Other")
Made = TypeVar("Made")
_MOST_JOBS = 8
"""More would wait for their turn to be timed, as measured with TensorRT-RTX, whose builds take seconds and
timings tenths of a second."""
_JOB_BYTES = 4 << 30
"""Memory to allow for a builder, with the engines of candidate and reference, and samples."""
_MOST_ASKERS = 4
_ASKER_BYTES = 1 << 30
"""Memory to allow for a worker that has its engine open and builds one operator."""
_PAUSE_SECONDS = 1.0
"""The longest wait before the owner checks for Ctrl-C and for news from other processes."""


def default_jobs(backend: Backend, devices: int) -> int:
    """How many candidates to build in parallel for each device, by cores and memory."""
    # Where builds occupy the device they cannot overlap with timings; simulated engines take no time at
    # all.
    if backend.builds_on_device or not computes(backend):
        return 1
    cores = len(os.sched_getaffinity(0)) - devices  # each device's timing has a core to itself
    room = psutil.virtual_memory().available // _JOB_BYTES
    return int(max(1, min(_MOST_JOBS, cores // devices, room // devices)))


def default_aides(backend: Backend, slots: int) -> int:
    """How many workers to have beside the slots while nothing is timed yet, by cores and memory."""
    # Each would take its share of a GPU's memory, and builds that occupy the GPU wait for one another; a
    # target would start an agent for each.
    is_taken = backend.has_own_device and backend.builds_on_device
    if is_taken or not computes(backend) or isinstance(backend, Distant):
        return 0
    room = psutil.virtual_memory().available // _ASKER_BYTES
    return int(max(0, min(_MOST_ASKERS, len(os.sched_getaffinity(0)), room) - slots))


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker: its process, and the device that it measures on."""

    number: int
    device: Device
    bench: Bench
    threads: int
    """Its share of the cores."""
    writers: Writers | None
    """Processes that rewrite candidates; None if this is the only slot, for which this process rewrites."""

    @property
    def scratch(self) -> str:
        """File name of its candidate."""
        return f"candidate-{self.number}.onnx" if self.number else "candidate.onnx"


@dataclass(slots=True)
class Finished(Generic[Item, T]):
    """A slot's finished work: the item that it was given, and the outcome."""

    item: Item
    slot: Slot
    future: Future[T] = field(repr=False)

    def result(self) -> T:
        """What the work returned; raises what it raised."""
        return self.future.result()


class Crew(Closing, Generic[Item, T]):
    """Slots that work in parallel; use in a `with` block.

    Args:
        devices: each gets `jobs` slots.
        jobs: candidates built in parallel for each device.
        folder: receives the workers' logs.
        name: stem of the log files.
        say: receives what the user should know.
        aides: more workers of the first device, for what the engine is asked before the search; they are idle
            while the reference is timed.
    """

    def __init__(
        self,
        devices: Sequence[Device],
        jobs: int,
        folder: Path,
        name: str = "worker",
        say: Callable[[str], None] = lambda _: None,
        aides: int = 0,
    ) -> None:
        count, self.slots = jobs * len(devices), list[Slot]()
        share = max(1, len(os.sched_getaffinity(0)) // count)
        self._writers = Writers(count, share, folder / f"{name}-writing.log") if count > 1 else None
        # Neighbouring slots have different devices, so that a few trials are spread over all of them.
        for number, device in enumerate([device for _ in range(jobs) for device in devices]):
            log = folder / (f"{name}-{number}.log" if number else f"{name}.log")
            bench = Bench(log, say, device.environment)
            self.slots.append(Slot(number, device, bench, share, self._writers))
        logs = (folder / f"{name}-aide-{number}.log" for number in range(1, aides + 1))
        self.aides = [Bench(log, say, devices[0].environment) for log in logs]
        self._free = deque(self.slots)
        self._busy: dict[Future[T], tuple[Item, Slot]] = {}
        # One that waits for a worker to be ready must not keep another's trial from its thread.
        self._threads = ThreadPoolExecutor(2 * len(self.slots))

    @property
    def first(self) -> Slot:
        """The slot for work that is done once."""
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
        """Let every worker open its engine in the background, which takes seconds each."""
        for slot in self.slots:
            self._threads.submit(slot.bench.reach, section)

    def ready(self, setup: Callable[[Slot], Setup]) -> None:
        """Let all workers but the first build the reference and the decoder in the background."""
        for slot in self.slots[1:]:
            self._threads.submit(slot.bench.ready, setup(slot))

    def load(self, material: Material) -> None:
        """Let every writing process load the material of candidates, in the background."""
        if self._writers is not None:
            self._writers.load(material)

    def start(self, item: Item, work: Callable[[Slot, Item], T]) -> None:
        """Let the next free slot work on an item; there must be one."""
        slot = self._free.popleft()
        self._busy[self._threads.submit(work, slot, item)] = item, slot

    def finished(self, *, all_of_them: bool = False) -> Iterator[Finished[Item, T]]:
        """Work finished since the last call; waits a moment for the first, or until all of it is done."""
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
        """Do `work` on every item, on all slots, while nothing else is running; yields results as they come.

        An item is drawn only when a slot is free for it. Raises what `work` raises.
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
        """End all workers, whatever they are doing, and the threads that wait for them."""
        self.end_workers()
        if self._writers is not None:
            self._writers.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self.end_workers()  # a thread may have started its worker after the first pass

    def end_workers(self) -> None:
        """End all workers for good: whoever waits for one, or asks it later, gets an error."""
        for slot in self.slots:
            slot.bench.close()
        self.dismiss()

    def dismiss(self) -> None:
        """End the aides, before the search."""
        for bench in self.aides:
            bench.close()
