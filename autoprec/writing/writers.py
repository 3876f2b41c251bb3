"""The search's side: a pool of writing processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import LifoQueue

from autoprec.errors import StudyError, TrialError, UserError
from autoprec.isolation import WorkerProcess
from autoprec.records import Assignment, Candidate
from autoprec.writing.material import Material
from autoprec.writing.messages import Declined, DiskFull, Load, Unwritten, Write, decode_answer, encode

_SECONDS = 3600.0
"""Time limit of a request: learning the rounding of a large model's weights takes minutes."""
# Each BLAS reads its own when it is loaded: set later, they change nothing.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Writers:
    """Processes that write candidates; thread-safe.

    Args:
        count: number of processes, each started when it is first needed.
        threads: number of threads of each.
        log: receives what the first one prints; the others' logs are numbered.
    """

    def __init__(self, count: int, threads: int, log: Path) -> None:
        environment = {name: os.environ.get(name, str(threads)) for name in _THREADS}
        logs = [log, *(log.with_stem(f"{log.stem}-{number}") for number in range(1, count))]
        self._all = [WorkerProcess("autoprec.writing", path, environment) for path in logs]
        self._free: LifoQueue[WorkerProcess] = LifoQueue()  # the one used last has the most in its caches
        for process in reversed(self._all):
            self._free.put(process)
        self._loading = ThreadPoolExecutor(count, "loading")

    def load(self, material: Material) -> None:
        """Let all processes load the material in the background; the first write reports a failure."""
        request = encode(Load(material=material))

        def loaded() -> None:
            with self._one() as process, suppress(TrialError, StudyError):
                _answer(process, request)

        for _ in self._all:
            self._loading.submit(loaded)

    def write(self, material: Material, assignment: Assignment, path: Path) -> Candidate:
        """Write the typed model of an assignment.

        Raises `TrialError` if it cannot be written, `UserError` if the model or its statistics have changed,
        OSError if the disk is full.
        """
        request = encode(Write(material=material, assignment=assignment, path=str(path)))
        with self._one() as process:
            try:
                line = _answer(process, request)
            except TrialError as error:
                if error.kind not in ("killed", "crash"):
                    raise
                line = _answer(process, request)  # the first death says nothing of the assignment
        match decode_answer(line):
            case Unwritten(kind, message):
                raise TrialError(kind, message)
            case Declined(message):
                raise UserError(message)
            case DiskFull(number, reason):
                raise OSError(number, reason, str(path))
        return Candidate(assignment=assignment, model_path=str(path))

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        for process in self._all:
            process.close()
        self._loading.shutdown(wait=True, cancel_futures=True)
        for process in self._all:  # a loading thread may have started one after the first pass
            process.close()

    @contextmanager
    def _one(self) -> Iterator[WorkerProcess]:
        process = self._free.get()
        try:
            yield process
        finally:
            self._free.put(process)


def _answer(process: WorkerProcess, request: bytes) -> bytes:
    # `backend.memory_mb` is of trials: the model and its statistics are held here whatever is written.
    (line,) = process.ask(request, seconds=_SECONDS, memory_bytes=None, is_last=lambda _: True)
    return line
