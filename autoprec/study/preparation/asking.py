"""Questions to an engine, answered by the study, by other studies of that engine, or by the engine itself.

The engine is asked in a worker, which may die of the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from autoprec.backends import Backend
from autoprec.backends.timing import Pace
from autoprec.errors import TrialError
from autoprec.legality.pieces import Question
from autoprec.legality.verdicts import Verdict
from autoprec.measurement import Bench, Probe
from autoprec.spec import StudySpec
from autoprec.store import Store
from autoprec.study.preparation.shared import SharedVerdicts

_EACH = 8
"""Questions for which another worker pays: the demo's 49 took one of them 4 s, and loading takes 2 to 4."""


class Asker:
    """Asks the engine of a study, each question once.

    Args:
        spec: the definition.
        benches: the workers, used in parallel, the first of them alone for few questions.
        store: keeps the verdicts.
        say: receives a line about each slow step.
    """

    def __init__(
        self, spec: StudySpec, benches: Sequence[Bench], store: Store, say: Callable[[str], None]
    ) -> None:
        self._spec, self._benches, self._store, self._say = spec, tuple(benches), store, say

    def answers(self, backend: Backend, questions: Iterable[Question]) -> list[Verdict]:
        """The verdicts on questions, known or asked now; questions that could not be tried have none."""
        engine, study = backend.fingerprint(), self._spec.name
        # By engine and by the digest of the question, which contains the model that was written: another
        # engine or another version of the writer asks again.
        kind, shared = f"verdict {engine.digest}", SharedVerdicts(engine)
        verdicts = self._store.facts(study, kind, Verdict)
        wanted = {one.digest: one for one in questions}
        elsewhere = shared.verdicts() if wanted.keys() - verdicts.keys() else {}
        for digest in wanted.keys() - verdicts.keys():
            if digest in elsewhere:
                verdicts[digest] = elsewhere[digest]
                self._store.put_fact(study, kind, digest, verdicts[digest])
        missing = [one for digest, one in wanted.items() if digest not in verdicts]
        if not missing:
            return [verdicts[digest] for digest in wanted]
        uses = "1 use" if len(missing) == 1 else f"{len(missing)} uses"
        self._say(f"trying {uses} of operators on the engine (once)")
        pace = Pace(len(missing))
        for done, (one, verdict) in enumerate(self._asked(missing), 1):
            if isinstance(verdict, TrialError):  # says nothing about the engine
                words = f"({verdict.kind}: {verdict})"
                self._say(f"{one.pattern} in {one.precision} could not be tried {words}")
                continue
            if verdict.state == "unseen":
                self._say(f"{one.pattern} in {one.precision} is not shown to be right: {verdict.reason}")
            verdicts[one.digest] = verdict
            self._store.put_fact(study, kind, one.digest, verdict)
            if line := pace.line(done):
                self._say(f"trying uses of operators: {line}")
        shared.add({one.digest: verdicts[one.digest] for one in missing if one.digest in verdicts})
        return [verdicts[digest] for digest in wanted if digest in verdicts]

    def _asked(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Verdict | TrialError]]:
        """Each question with its verdict or error, in order; every worker has one at a time."""
        asked, free = self._benches[: max(1, len(questions) // _EACH)], SimpleQueue[Bench]()
        for bench in asked:
            free.put(bench)

        def ask(question: Question) -> Verdict | TrialError:
            bench = free.get()
            try:
                return bench.probe(Probe(backend=self._spec.backend, question=question))
            except TrialError as error:
                return error
            finally:
                free.put(bench)

        with ThreadPoolExecutor(len(asked)) as pool:
            yield from zip(questions, pool.map(ask, questions), strict=True)
