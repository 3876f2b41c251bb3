"""Diagnosing this machine: its packages and devices, an engine, and the precisions that it supports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from autoprec.backends import ChecksItself, computes, create_backend
from autoprec.backends.checks import installed_engine, machine_checks
from autoprec.backends.timing import Pace
from autoprec.errors import BackendError, StudyError, TrialError, UserError
from autoprec.files import scratch
from autoprec.legality.patterns import PATTERNS
from autoprec.legality.pieces import WritingStyle, pattern_piece, pattern_question
from autoprec.legality.verdicts import Legality, Verdict
from autoprec.measurement import Bench, Probe
from autoprec.precisions import PLAIN, PRECISIONS
from autoprec.records import Departure, Fingerprint, MachineCheck, Record
from autoprec.spec import SAFE_REFERENCE, BackendSection, StudySpec
from autoprec.store import Store
from autoprec.study.preparation.fidelity import Fidelity, departures
from autoprec.study.preparation.prepared import rewriter_in
from autoprec.study.preparation.probing import Prober
from autoprec.study.preparation.stages import load, uniform

_FAILURES = 3
"""In a row, after which the machine is at fault and not a pattern."""


class Diagnosis(Record, frozen=True, kw_only=True):
    """What was found: the machine, the engine (None without one), the precisions that it supports for each
    pattern, and how far a study's steps to a measurement depart from the original model."""

    checks: tuple[MachineCheck, ...]
    engine: Fingerprint | None = None
    legality: Legality | None = None
    fidelity: tuple[Departure, ...] = ()


def diagnose(
    backend: BackendSection | None = None,
    precisions: Sequence[str] = tuple(PLAIN),
    say: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Examine the machine, and try every operator pattern on its engine, in a worker that may die of it.

    Args:
        backend: the engine; None takes the best one that is installed.
        precisions: names of the precisions to try.
        say: receives a line about each slow step.
    """
    checks = tuple(machine_checks())
    if backend and backend.options.get("target"):
        checks = ()  # what is installed here says nothing about the target
    section = backend or BackendSection(name=installed_engine(checks))
    try:
        engine = create_backend(section.name, section.options)
        if isinstance(engine, ChecksItself):
            checks += tuple(engine.checks())
    except BackendError as error:
        return Diagnosis(checks=(*checks, _failed(section, error)))
    # A simulated engine has no kernels to try.
    if not computes(engine):
        return Diagnosis(checks=checks, engine=engine.fingerprint())
    style = WritingStyle.of(engine, section.base or engine.base_precision)
    try:
        legality = _legality(section, style, precisions, say)
    except UserError as error:  # the engine is installed, and does not start
        return Diagnosis(checks=(*checks, _failed(section, error)))
    return Diagnosis(checks=checks, engine=engine.fingerprint(), legality=legality)


def _failed(section: BackendSection, error: UserError) -> MachineCheck:
    """The check of an engine that cannot be tried, with the reason."""
    name = "target" if section.options.get("target") else f"backend {section.name}"
    return MachineCheck(name=name, found="cannot serve", remedy=str(error))


def compare(spec: StudySpec, say: Callable[[str], None] = lambda _: None) -> tuple[Departure, ...]:
    """How far the steps to a measurement depart from a study's original model; nothing is stored.

    Raises children of `UserError` for a model or samples that cannot be used.
    """
    with scratch("autoprec-doctor-") as folder:
        # Report departures instead of stopping at the first: the user asked for all of them.
        accepting = msgspec.structs.replace(spec.model, departure="tell")
        there = msgspec.structs.replace(spec, folder=str(folder), model=accepting)
        with Store.open(folder / "study.db") as store, Bench(folder / "worker.log") as bench:
            fidelity, loaded = Fidelity(there, bench, store, say), load(there, say, scores=True)
            fidelity.check_loaded(loaded)
            name = Prober(there, [bench], store, say).reference(loaded)
            # Which blocks of that reference stay FP32 is known only after a calibration.
            if name != SAFE_REFERENCE:
                reference = uniform(loaded.blocks, name)
                rewriter_in(loaded, loaded.blocks, {}).write(reference, folder / "reference.onnx")
                fidelity.check_reference(folder / "reference.onnx")
            return departures(store, spec.name)


def _legality(
    section: BackendSection, style: WritingStyle, precisions: Sequence[str], say: Callable[[str], None]
) -> Legality:
    missing = Legality(base=style.base).lacks(PATTERNS, precisions)
    say(f"trying {len(missing)} operator patterns and precisions on {section.name}")
    verdicts: list[Verdict] = []
    pace, failures = Pace(len(missing)), 0
    with scratch("autoprec-doctor-") as folder, Bench(folder / "worker.log") as bench:
        pieces = {pattern: pattern_piece(pattern, folder) for pattern, _ in missing}
        for done, (pattern, precision) in enumerate(missing, 1):
            question = pattern_question(pieces[pattern], PRECISIONS[precision], style, folder)
            try:
                verdicts.append(bench.probe(Probe(backend=section, question=question)))
                failures = 0
            except TrialError as error:
                say(f"{pattern} in {precision} could not be tried: {error}")
                failures += 1
                if failures == _FAILURES:  # each may have taken minutes
                    raise StudyError(
                        f"{failures} patterns in a row could not be tried ({error.kind}); fix that first"
                    ) from error
            if line := pace.line(done):
                say(f"trying patterns: {line}")
    return Legality(base=style.base, verdicts=tuple(verdicts))
