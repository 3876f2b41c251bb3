"""The search's side of a measurement: asks the worker, and raises what went wrong there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from autoprec.closing import Closing
from autoprec.errors import BLAMELESS, StudyError, TrialError, UserError
from autoprec.isolation import WorkerProcess
from autoprec.legality.probe import refusal
from autoprec.legality.verdicts import Verdict
from autoprec.measurement.messages import (
    Answer,
    Compare,
    Compared,
    Done,
    Failed,
    Inspect,
    Inspected,
    Job,
    Locate,
    Located,
    Probe,
    Probed,
    Race,
    Raced,
    Reach,
    Ready,
    Refused,
    Request,
    Said,
    Score,
    Scored,
    Setup,
    Stage,
    WriteExamples,
    Written,
    decode_answer,
    encode,
)
from autoprec.records import Departure, Inspection, Latency, Measurement, Quality
from autoprec.spec import BackendSection

_ONCE_MORE: Mapping[str, str] = {
    "killed": "again, the worker was killed from outside",
    "crash": "again, the worker died",
}
"""Deaths that say nothing the first time: what kills a worker may be another program, or an accident of its
engine's that has nothing to do with the request. One that crashes twice of a request crashes of that."""


class Bench(Closing):
    """Measures candidates in a worker process; use in a `with` block.

    Args:
        log: file for what the engines print.
        say: receives what the user should know.
        environment: variables of the worker's, as which GPU it sees.
    """

    def __init__(
        self,
        log: Path,
        say: Callable[[str], None] = lambda _: None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._say = say
        self._worker = WorkerProcess("autoprec.measurement", log, environment)
        # Answers carry no number of their request, so one is asked at a time.
        self._turn = threading.Lock()
        self._is_over = False

    def measure(self, job: Job, on_stage: Callable[[str], None] = lambda _: None) -> Measurement:
        """Build, score, time and audit one candidate.

        Raises `TrialError` if the candidate failed, `UserError` if nothing can be measured.
        """
        answer = self._ask(job, job.setup.backend, on_stage)
        assert isinstance(answer, Done)
        return answer.measurement

    def score(self, score: Score) -> Quality:
        """Score one candidate's masks without timing it. Raises as `measure` does."""
        answer = self._ask(score, score.setup.backend)
        assert isinstance(answer, Scored)
        return answer.quality

    def inspect(self, request: Inspect) -> Inspection:
        """Profile one candidate and draw its masks. Raises as `measure` does."""
        answer = self._ask(request, request.setup.backend)
        assert isinstance(answer, Inspected)
        return answer.inspection

    def write_examples(self, request: WriteExamples) -> Written:
        """Write samples with the logits of all. Raises as `measure` does."""
        answer = self._ask(request, request.setup.backend)
        assert isinstance(answer, Written)
        return answer

    def compare(self, request: Compare) -> Departure:
        """Judge one step against the original model. Raises as `measure` does."""
        answer = self._ask(request, request.original.backend)
        assert isinstance(answer, Compared)
        return answer.departure

    def locate(self, request: Locate) -> Located:
        """Compare a candidate's values with the reference's. Raises as `measure` does."""
        answer = self._ask(request, request.setup.backend)
        assert isinstance(answer, Located)
        return answer

    def probe(self, probe: Probe) -> Verdict:
        """Put one question to the engine.

        Raises `UserError` if the engine is not there, `TrialError` for what says nothing about the pattern.
        """
        try:
            answer = self._ask(probe, probe.backend)
        except TrialError as error:
            if error.kind in ("timeout", "memory") or error.kind in BLAMELESS:
                raise
            # A crash is the engine's answer: no block may hold what ends the process.
            return refusal(probe.question, error)
        assert isinstance(answer, Probed)
        return answer.verdict

    def reach(self, section: BackendSection) -> None:
        """Open the engine while the search does something else; the first request waits for it, and tells
        what went wrong."""
        self._ahead(Reach(backend=section), section)

    def ready(self, setup: Setup) -> None:
        """Build the reference and the decoder, as `reach` opens the engine."""
        self._ahead(Ready(setup=setup), setup.backend)

    def race(self, race: Race) -> Latency:
        """Time one model against another. Raises as `measure` does."""
        answer = self._ask(race, race.backend)
        assert isinstance(answer, Raced)
        return answer.latency

    def _ahead(self, request: Reach | Ready, limits: BackendSection) -> None:
        with self._turn, contextlib.suppress(TrialError, UserError):
            self._asked(request, limits, lambda _: None)

    def _ask(
        self, request: Request, limits: BackendSection, on_stage: Callable[[str], None] = lambda _: None
    ) -> Answer:
        """The worker's last answer; failures are raised. A request whose worker dies gets one more try."""
        with self._turn:
            try:
                return self._asked(request, limits, on_stage)
            except TrialError as error:
                if error.kind not in _ONCE_MORE:
                    raise
                on_stage(_ONCE_MORE[error.kind])
            return self._asked(request, limits, on_stage)

    def _asked(self, request: Request, limits: BackendSection, on_stage: Callable[[str], None]) -> Answer:
        if self._is_over:
            raise StudyError("the search is over, and its workers are gone; open the study again")
        memory = limits.memory_mb * 2**20 if limits.memory_mb else None
        for line in self._worker.ask(
            encode(request),
            seconds=limits.trial_seconds,
            memory_bytes=memory,
            is_last=lambda line: not isinstance(decode_answer(line), Stage | Said),
        ):
            match answer := decode_answer(line):
                case Stage(name):
                    on_stage(name)
                case Said(message):
                    self._say(message)
                case Failed(kind, message):
                    # Whatever this process runs next may fail too; a cut line to a target is "killed".
                    if kind in ("crash", "internal", "killed"):
                        self._worker.close()
                    raise TrialError(kind, message)
                case Refused(message):
                    raise UserError(message)
                case _:
                    return answer
        raise AssertionError("the worker's last answer is never a stage")

    def close(self) -> None:
        """End the worker for good; a request that another thread waits for ends by an error."""
        # First: whoever waits for the worker would else take its end for a death, and start another for one
        # more try.
        self._is_over = True
        self._worker.close()
