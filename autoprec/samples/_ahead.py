"""Work in parallel with the engine: reading samples ahead of it, and processing results behind it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from autoprec.samples._base import Sample, Samples

T = TypeVar("T")
DEPTH = 4
_MOST_READERS = 4
"""More readers would wait for the interpreter lock, which a sample holds for about a third of its time."""


def ahead(samples: Samples, start: int = 0) -> Iterator[Sample]:
    """The samples from `start` on, in order, read ahead of time.

    Samples that are not `shareable` are read by one thread. At most `DEPTH` samples plus one for each reader
    are held. Closing the iterator ends its threads. Raises `SamplesError` when a broken sample is reached.
    """
    # One processor is left to the engine.
    # Those that this process may use: a container or a batch job has fewer than the machine.
    processors = len(os.sched_getaffinity(0))
    readers = max(1, min(processors - 1, _MOST_READERS)) if samples.shareable else 1
    pool = ThreadPoolExecutor(readers, "samples")
    waiting: deque[Future[Sample]] = deque()
    try:
        for index in range(start, len(samples)):
            waiting.append(pool.submit(samples.__getitem__, index))
            if len(waiting) >= DEPTH + readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def behind(results: Iterable[T], work: Callable[[T], None]) -> Iterator[None]:
    """Do `work` on each result, in order, in a thread, while the next result is made.

    Yields after each, when no work is in progress. Raises what `work` raised, one result later.
    """
    with ThreadPoolExecutor(1, "results") as pool:
        last: Future[None] | None = None
        for result in results:
            if last is not None:
                last.result()
                yield
            last = pool.submit(work, result)
        if last is not None:
            last.result()
            yield
