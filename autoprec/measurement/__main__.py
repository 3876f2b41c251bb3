"""The worker process: `python -m autoprec.measurement FD` answers jobs on the pipe FD."""

from __future__ import annotations

import sys

from autoprec.backends import create_backend
from autoprec.backends.probe import Verdict, try_pattern
from autoprec.errors import TrialError, UserError
from autoprec.isolation import Answers, requests
from autoprec.measurement.messages import (
    Answer,
    Done,
    Failed,
    Job,
    Probe,
    Probed,
    Refused,
    Request,
    Scored,
    Stage,
    decode_request,
    encode,
)
from autoprec.measurement.workbench import Workbench
from autoprec.precisions import PRECISIONS


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
                bench = Workbench(request.setup)
            if isinstance(request, Job):
                return Done(bench.measure(request, lambda name: say(Stage(name))))
            return Scored(bench.score(request))
        except TrialError as error:
            return Failed(error.kind, str(error))
        except UserError as error:
            return Refused(str(error))

    for line in requests():
        say(work(decode_request(line)))


def _verdict(probe: Probe) -> Verdict:
    backend = create_backend(probe.backend.name, probe.backend.options)
    return try_pattern(backend, probe.pattern, PRECISIONS[probe.precision], PRECISIONS[probe.base])


if __name__ == "__main__":
    main(int(sys.argv[1]))
