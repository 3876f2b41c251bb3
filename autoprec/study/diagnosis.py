"""What this machine can search with: its parts, an engine, and what that engine takes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from autoprec.backends import create_backend
from autoprec.backends.checks import Check, machine_checks
from autoprec.errors import BackendError, TrialError
from autoprec.legality.patterns import PATTERNS
from autoprec.legality.probe import Legality, Verdict
from autoprec.measurement import Bench, Probe
from autoprec.precisions import PLAIN
from autoprec.records import Fingerprint, Record
from autoprec.spec import BackendSection


class Diagnosis(Record, frozen=True, kw_only=True):
    """The machine, the engine (None if there is none), and which patterns it takes in which precision."""

    checks: tuple[Check, ...]
    engine: Fingerprint | None = None
    legality: Legality | None = None


def diagnose(
    backend: BackendSection | None = None,
    precisions: Sequence[str] = tuple(PLAIN),
    say: Callable[[str], None] = lambda _: None,
) -> Diagnosis:
    """Look at the machine and try every operator pattern on its engine, in a worker where that may die.

    Args:
        backend: the engine; None takes TensorRT where it is installed, else OpenVINO.
        precisions: to try.
        say: is told what takes time.
    """
    checks = tuple(machine_checks())
    has_tensorrt = any(check.name.startswith("tensorrt") and not check.remedy for check in checks)
    section = backend or BackendSection(name="tensorrt" if has_tensorrt else "openvino")
    try:
        engine = create_backend(section.name, section.options)
    except BackendError as error:
        failed = Check(name=f"backend {section.name}", found="cannot serve", remedy=str(error))
        return Diagnosis(checks=(*checks, failed))
    if engine.stopwatch == "known":
        return Diagnosis(checks=checks, engine=engine.fingerprint())
    legality = _legality(section, section.base or engine.base_precision, precisions, say)
    return Diagnosis(checks=checks, engine=engine.fingerprint(), legality=legality)


def _legality(
    section: BackendSection, base: str, precisions: Sequence[str], say: Callable[[str], None]
) -> Legality:
    missing = Legality(base=base).lacks(PATTERNS, precisions)
    say(f"trying {len(missing)} operator patterns and precisions on {section.name}")
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder) / "worker.log") as bench:
        for pattern, precision in missing:
            probe = Probe(backend=section, base=base, pattern=pattern, precision=precision)
            try:
                verdicts.append(bench.probe(probe))
            except TrialError as error:
                say(f"{pattern} in {precision} could not be tried: {error}")
    return Legality(base=base, verdicts=tuple(verdicts))
