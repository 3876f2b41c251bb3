"""Legality before the first trial: which precisions the engine takes for the patterns of a model.

Each pair is tried in the worker, where it may die, and its verdict is kept in the study by the engine's
fingerprint: the next night asks for what is missing, another engine or driver for everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from autoprec.backends import Backend
from autoprec.errors import TrialError
from autoprec.legality.patterns import node_patterns
from autoprec.legality.probe import Legality, Verdict, patterns_of, refused_precisions
from autoprec.measurement import Bench, Probe
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
        kind = f"legality {backend.fingerprint().digest} {base}"
        verdicts = self._store.facts(self._spec.name, kind, Verdict)
        missing = Legality(base=base, verdicts=tuple(verdicts.values())).lacks(patterns, names)
        if missing:
            self._say(f"trying {len(missing)} operator patterns and precisions on the engine (once)")
        for pattern, precision in missing:
            probe = Probe(backend=self._spec.backend, base=base, pattern=pattern, precision=precision)
            try:
                verdict = self._bench.probe(probe)
            except TrialError as error:  # it says nothing about the engine
                self._say(f"{pattern} in {precision} could not be tried ({error.kind}: {error})")
                continue
            verdicts[f"{pattern}|{precision}"] = verdict
            self._store.put_fact(self._spec.name, kind, f"{pattern}|{precision}", verdict)
        legality = Legality(base=base, verdicts=tuple(verdicts.values()))
        return refused_precisions(blocks, model, legality, names)
