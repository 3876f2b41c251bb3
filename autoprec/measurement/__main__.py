"""The worker process: `python -m autoprec.measurement FD` answers jobs on the pipe FD."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from autoprec.backends import Backend
from autoprec.backends.target.faults import UnreachableError
from autoprec.errors import TrialError, UserError, machine_fault, place_of
from autoprec.isolation import Answers, requests
from autoprec.legality.probe import try_question
from autoprec.measurement.fidelity.judge import Judge
from autoprec.measurement.fidelity.layers import locate
from autoprec.measurement.inspection import inspect, write_examples
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
    Probe,
    Probed,
    Race,
    Raced,
    Reach,
    Reached,
    Ready,
    Refused,
    Request,
    Said,
    Score,
    Scored,
    Stage,
    WriteExamples,
    decode_request,
    encode,
)
from autoprec.measurement.racing import race
from autoprec.measurement.reaching import reach
from autoprec.measurement.workbench import Workbench
from autoprec.spec import BackendSection

Say = Callable[[Answer], None]


def main(descriptor: int) -> None:
    """Serve jobs until the search closes the pipe; a job with another setup makes a new workbench."""
    answers = Answers(descriptor)
    desk = _Desk(lambda answer: answers.send(encode(answer)))
    for line in requests():
        answers.send(encode(desk.serve(decode_request(line))))
        desk.clear()  # while the search thinks


class _Desk:
    """The state that stays from request to request."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._bench: Workbench | None = None
        self._judge: Judge | None = None
        self._asked: tuple[BackendSection, Backend] | None = None
        self._told = ""

    def serve(self, request: Request) -> Answer:
        """The last answer to one request."""
        try:
            return self._served(request)
        except TrialError as error:
            return Failed(error.kind, str(error))
        except UnreachableError as error:  # it may come back: the search continues
            return Failed("killed", str(error))
        except UserError as error:
            return Refused(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the search must hear of it
            return _unforeseen(error)

    def clear(self) -> None:
        """Let go of what the last request needed."""
        if self._bench is not None:
            self._bench.clear()

    def _tell(self, words: str) -> None:
        """Report once that a target is waited for: it is tried every few seconds."""
        if words != self._told:
            self._say(Said(words))
        self._told = words

    def _engine(self, section: BackendSection) -> Backend:
        """The engine, kept from question to question: a target is reached once."""
        if self._asked is None or self._asked[0] != section:
            self._asked = section, reach(section, self._tell)
        return self._asked[1]

    def _served(self, request: Request) -> Answer:
        if isinstance(request, Probe):
            return Probed(try_question(self._engine(request.backend), request.question))
        if isinstance(request, Reach):
            self._engine(request.backend)
            return Reached()
        if isinstance(request, Race):
            return Raced(race(request, self._tell))
        if isinstance(request, Locate):
            return locate(request, self._tell)
        if isinstance(request, Compare):
            if self._judge is None or self._judge.original != request.original:
                self._judge = Judge(request.original, self._tell)
            return Compared(self._judge.compare(request))
        # Whatever differs in the setup, the reference's engine or masks would be another one's.
        if self._bench is None or not self._bench.setup.is_as(request.setup):
            self._judge = self._asked = None  # the night begins: what they hold is not needed
            self._bench = Workbench(
                request.setup,
                lambda name: self._say(Stage(name)),
                lambda words: self._say(Said(words)),
                Path(request.candidate_path) if isinstance(request, Job | Score) else None,
            )
        return _answer(self._bench, request, self._say)


def _answer(bench: Workbench, request: Job | Score | Ready | Inspect | WriteExamples, say: Say) -> Answer:
    match request:
        case Job():
            return Done(bench.measure(request, lambda name: say(Stage(name))))
        case Ready():
            return Reached()
        case Score():
            return Scored(bench.score(request))
        case Inspect():
            return Inspected(inspect(bench, request))
        case WriteExamples():
            return write_examples(bench, request)


def _unforeseen(error: Exception) -> Failed | Refused:
    """The answer to an unexpected error: the machine's limits, or else a bug in autoprec."""
    if isinstance(error, MemoryError):
        return Failed("memory", machine_fault(error))
    if fault := machine_fault(error):
        return Refused(fault)
    words = f"{type(error).__name__}: {error}, at {place_of(error)}"
    return Failed("internal", f"{words}; this is a bug in autoprec, please report it")


if __name__ == "__main__":
    main(int(sys.argv[1]))
