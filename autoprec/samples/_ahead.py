"""Reading samples while the engine is busy with earlier ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from autoprec.samples._base import Sample, Samples

DEPTH = 4


def ahead(samples: Samples, start: int = 0) -> Iterator[Sample]:
    """The samples from `start` on, in order; up to `DEPTH` are read before they are asked for.

    Raises `SamplesError` where a broken sample is reached.
    """
    with ThreadPoolExecutor(1, "samples") as pool:
        waiting: deque[Future[Sample]] = deque()
        for index in range(start, len(samples)):
            waiting.append(pool.submit(samples.__getitem__, index))
            if len(waiting) > DEPTH:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
