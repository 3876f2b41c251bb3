"""The worker process: `python -m autoprec.measurement FD` answers jobs on the pipe FD."""

from __future__ import annotations

import sys
from collections.abc import Callable

from autoprec.backends import create_backend
from autoprec.errors import TrialError, UserError, machine_fault, place_of
from autoprec.isolation import Answers, requests
from autoprec.legality.probe import Verdict, try_pattern
from autoprec.measurement.inspection import inspect, write_examples
from autoprec.measurement.messages import (
    Answer,
    Done,
    Examples,
    Failed,
    Inspect,
    Inspected,
    Job,
    Probe,
    Probed,
    Refused,
    Request,
    Score,
    Scored,
    Stage,
    decode_request,
    encode,
)
from autoprec.measurement.workbench import Workbench
from autoprec.precisions import PRECISIONS

Say = Callable[[Answer], None]


def main(descriptor: int) -> None:
    """Serve jobs until the search closes the pipe; a job with another setup makes a new workbench."""
    answers = Answers(descriptor)
    bench: Workbench | None = None

    def say(answer: Answer) -> None:
        answers.send(encode(answer))

    def work(request: Request) -> Answer:
        nonlocal bench
        try:
            if isinstance(request, Probe):
                return Probed(_verdict(request))
            if bench is None or bench.setup != request.setup:
                say(Stage("reference"))
                bench = Workbench(request.setup, lambda name: say(Stage(name)))
            return _answer(bench, request, say)
        except TrialError as error:
            return Failed(error.kind, str(error))
        except UserError as error:
            return Refused(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the search must hear of it
            return _unforeseen(error)

    for line in requests():
        say(work(decode_request(line)))
        if bench is not None:
            bench.clear()  # while the search thinks


def _answer(bench: Workbench, request: Job | Score | Inspect | Examples, say: Say) -> Answer:
    match request:
        case Job():
            return Done(bench.measure(request, lambda name: say(Stage(name))))
        case Score():
            return Scored(bench.score(request))
        case Inspect():
            return Inspected(inspect(bench, request))
        case Examples():
            return Scored(write_examples(bench, request))


def _unforeseen(error: Exception) -> Failed | Refused:
    """What nobody raised on purpose: the machine's limits, or else a fault of autoprec."""
    if isinstance(error, MemoryError):
        return Failed("memory", machine_fault(error))
    if fault := machine_fault(error):
        return Refused(fault)
    words = f"{type(error).__name__}: {error}, at {place_of(error)}"
    return Failed("internal", f"{words}; this is a fault of autoprec, please report it")


def _verdict(probe: Probe) -> Verdict:
    backend = create_backend(probe.backend.name, probe.backend.options)
    return try_pattern(backend, probe.pattern, PRECISIONS[probe.precision], PRECISIONS[probe.base])


if __name__ == "__main__":
    main(int(sys.argv[1]))
