"""The search's side of a measurement: asks the worker, and raises what went wrong there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from autoprec.errors import TrialError, UserError
from autoprec.isolation import Worker
from autoprec.measurement.messages import Done, Failed, Job, Refused, Stage, decode_answer, encode
from autoprec.records import Measurement


class Bench:
    """Measures candidates in a worker process; use in a `with` block.

    Args:
        log: file for what the engines print.
    """

    def __init__(self, log: Path) -> None:
        self._worker = Worker("autoprec.measurement", log)

    def measure(self, job: Job, on_stage: Callable[[str], None] = lambda _: None) -> Measurement:
        """Build, score, time and audit one candidate.

        Raises `TrialError` if the candidate failed, `UserError` if nothing can be measured.
        """
        limits = job.setup.backend
        memory = limits.memory_mb * 2**20 if limits.memory_mb else None
        for line in self._worker.ask(
            encode(job),
            seconds=limits.trial_seconds,
            memory_bytes=memory,
            is_last=lambda line: not isinstance(decode_answer(line), Stage),
        ):
            match decode_answer(line):
                case Stage(name):
                    on_stage(name)
                case Done(measurement):
                    return measurement
                case Failed(kind, message):
                    raise TrialError(kind, message)
                case Refused(message):
                    raise UserError(message)
        raise AssertionError("the worker's last answer is never a stage")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()
