"""Legality before the first trial: which precisions the engine takes for the patterns of a model.

Each question is put in the worker, where it may die, and its verdict is kept in the study by the engine's
fingerprint and the question's digest: the next night asks for what is missing, another engine, driver or
version of the writer for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir

from autoprec.backends import Backend
from autoprec.errors import TrialError
from autoprec.legality.patterns import node_patterns
from autoprec.legality.pieces import Dialect, Question, pattern_piece, pattern_question
from autoprec.legality.verdicts import Legality, Verdict, patterns_of, refused_precisions
from autoprec.measurement import Bench, Probe
from autoprec.precisions import PRECISIONS
from autoprec.records import Block
from autoprec.spec import StudySpec
from autoprec.store import Store

Refused = dict[tuple[str, str], str]
"""(block, precision) to the reason why the engine does not take it."""


class Prober:
    """Tries the patterns of a study's model on its engine, and remembers.

    Args:
        spec: the definition.
        bench: the worker.
        store: keeps verdicts.
        say: is told what takes time.
    """

    def __init__(self, spec: StudySpec, bench: Bench, store: Store, say: Callable[[str], None]) -> None:
        self._spec, self._bench, self._store, self._say = spec, bench, store, say

    def refused(self, backend: Backend, base: str, model: ir.Model, blocks: Sequence[Block]) -> Refused:
        """What the engine does not take; nothing where costs are known and nothing is built.

        `base` types the float parts of quantised patterns. Raises `BackendError` if the engine is not there.
        """
        if backend.stopwatch == "known":
            return {}
        if others := backend.clocks().other_processes:
            self._say(f"{others} other processes use the GPU: they disturb timings, stop them if you can")
        names = self._spec.search.precisions
        nodes = node_patterns(model)
        patterns = {pattern for block in blocks for pattern in patterns_of(block, nodes)}
        wanted = Legality(base=base).lacks(patterns, names)
        with TemporaryDirectory() as scratch:
            folder, dialect = Path(scratch), Dialect.of(backend, base)
            pieces = {pattern: pattern_piece(pattern, folder) for pattern, _ in wanted}
            questions = [
                pattern_question(pieces[pattern], PRECISIONS[name], dialect, folder)
                for pattern, name in wanted
            ]
            verdicts = self._answers(backend, questions)
        return refused_precisions(blocks, model, Legality(base=base, verdicts=verdicts), names)

    def _answers(self, backend: Backend, questions: Sequence[Question]) -> tuple[Verdict, ...]:
        """The verdicts on questions: what the study knows of this engine, and what is asked now.

        A verdict is kept under the digest of its question: another version of the writer asks anew.
        """
        kind = f"verdict {backend.fingerprint().digest}"
        known = self._store.facts(self._spec.name, kind, Verdict)
        missing = [question for question in questions if question.digest not in known]
        if missing:
            self._say(f"trying {len(missing)} uses of operators on the engine (once)")
        for question in missing:
            try:
                verdict = self._bench.probe(Probe(backend=self._spec.backend, question=question))
            except TrialError as error:  # it says nothing about the engine
                what = f"{question.pattern} in {question.precision}"
                self._say(f"{what} could not be tried ({error.kind}: {error})")
                continue
            known[question.digest] = verdict
            self._store.put_fact(self._spec.name, kind, question.digest, verdict)
        return tuple(known[question.digest] for question in questions if question.digest in known)
