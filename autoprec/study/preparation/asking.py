"""Questions to an engine, and who knows the answers: the study, all studies of that engine, or the engine.

Each question is put in a worker, where it may die.
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


class Asker:
    """Asks the engine of a study, once.

    Args:
        spec: the definition.
        benches: the workers, which are asked in parallel.
        store: keeps verdicts.
        say: receives a line about each slow step.
    """

    def __init__(
        self, spec: StudySpec, benches: Sequence[Bench], store: Store, say: Callable[[str], None]
    ) -> None:
        self._spec, self._benches, self._store, self._say = spec, tuple(benches), store, say

    def answers(self, backend: Backend, questions: Iterable[Question]) -> list[Verdict]:
        """The verdicts on questions: what is known of this engine, and what is asked now.

        A verdict is kept under the digest of its question: another version of the writer asks again.
        """
        engine, study = backend.fingerprint(), self._spec.name
        kind, shared = f"verdict {engine.digest}", SharedVerdicts(engine)
        verdicts = self._store.facts(study, kind, Verdict)
        wanted = {one.digest: one for one in questions}
        elsewhere = shared.known() if wanted.keys() - verdicts.keys() else {}
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
            if isinstance(verdict, TrialError):  # it says nothing about the engine
                words = f"({verdict.kind}: {verdict})"
                self._say(f"{one.pattern} in {one.precision} could not be tried {words}")
                continue
            verdicts[one.digest] = verdict
            self._store.put_fact(study, kind, one.digest, verdict)
            if line := pace.line(done):
                self._say(f"trying uses of operators: {line}")
        shared.add({one.digest: verdicts[one.digest] for one in missing if one.digest in verdicts})
        return [verdicts[digest] for digest in wanted if digest in verdicts]

    def _asked(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Verdict | TrialError]]:
        """Each question with its verdict, or what went wrong, in order; every worker has one at a time."""
        free: SimpleQueue[Bench] = SimpleQueue()
        for bench in self._benches:
            free.put(bench)

        def ask(question: Question) -> Verdict | TrialError:
            bench = free.get()
            try:
                return bench.probe(Probe(backend=self._spec.backend, question=question))
            except TrialError as error:
                return error
            finally:
                free.put(bench)

        with ThreadPoolExecutor(len(self._benches)) as pool:
            yield from zip(questions, pool.map(ask, questions), strict=True)
