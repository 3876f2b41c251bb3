"""Work beside the engine: samples are read before it needs them, and results looked at behind it."""

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
"""More would wait for the interpreter: about a third of a sample's time is its own."""


def ahead(samples: Samples, start: int = 0) -> Iterator[Sample]:
    """The samples from `start` on, in order; some are read before they are requested.

    One processor is left to the engine, the others read; samples that are not `shareable` are read by one
    thread. No more than `DEPTH` samples wait, plus one for each further reader. Closing the iterator ends its
    threads.

    Raises `SamplesError` where a broken sample is reached.
    """
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
    """Work on each result, in order, on a thread of its own while the next one is made.

    Yields after each, when no work is under way. Raises what `work` raises, one result later.
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
