"""One process's participation in a study: opens the database, reaches the devices, starts workers, prepares.

With a SQLite file the process has the study's folder to itself. With a shared database it joins others: the
first process prepares, and the others wait for its results.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

import autoprec
from autoprec.backends import Device, create_backend
from autoprec.backends.devices import devices
from autoprec.backends.target.address import TARGET
from autoprec.errors import StudyError, cannot
from autoprec.files import scratch
from autoprec.legality.probe import Planner
from autoprec.measurement.reaching import reach
from autoprec.records import Fingerprint, Measurement, TrialRecord
from autoprec.spec import StudySpec
from autoprec.store import Membership, Store, exclusive, host
from autoprec.study.events import Watcher
from autoprec.study.night import Night
from autoprec.study.night.crew import Crew, default_aides, default_jobs
from autoprec.study.night.early import EarlyReference, scores_alone
from autoprec.study.night.heart import Heart
from autoprec.study.night.priors import SensitivityAnalysis
from autoprec.study.night.reference import Establishing
from autoprec.study.night.runner import TrialRunner
from autoprec.study.preparation import Prepared
from autoprec.study.preparation.alongside import Asides
from autoprec.study.preparation.duties import Duties
from autoprec.study.preparation.stages import load
from autoprec.study.runs import Binding, Bound, Course

_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """How much a search does in parallel: builds for each device (None decides by cores and memory), and the
    devices (`0,1` or `all`; None is one)."""

    jobs: int | None = None
    devices: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Everything that a search or a refinement works with."""

    bound: Bound
    prepared: Prepared
    crew: Crew[TrialRecord, Measurement]
    night: Night


@dataclass(frozen=True, kw_only=True, slots=True)
class _Joined:
    """A study that this process takes part in, its workers, and the folder of models that they are given;
    `established` ends the aides, and lets other processes go on."""

    spec: StudySpec
    store: Store
    binding: Binding
    membership: Membership
    heart: Heart
    crew: Crew[TrialRecord, Measurement]
    early: EarlyReference
    asides: Asides
    work: Path
    established: Callable[[], None]


@contextmanager
def session(
    spec: StudySpec, watcher: Watcher, parallel: Parallel, *, checks: bool, course: Course | None = None
) -> Iterator[Session]:
    """Join a study, prepare it if nobody has, and yield everything in working order; until the night has
    established the reference of a new study, others wait.

    Args:
        spec: the study's definition.
        watcher: receives what happens.
        parallel: how much to do in parallel.
        checks: compare the steps of preparing with the original model.
        course: of the run, to which the reference's own trial belongs; None outside all runs.

    Raises children of `UserError` for what the user can fix.
    """
    with _joined(spec, watcher, parallel) as joined:
        yield _prepared(joined, watcher, course, checks=checks)


@contextmanager
def _joined(spec: StudySpec, watcher: Watcher, parallel: Parallel) -> Iterator[_Joined]:
    """Open the database, reach the devices, start workers, and wait for this process's turn to prepare."""
    folder = make_folder(Path(spec.folder))
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(spec.database, say=watcher.say))
        if not store.is_shared:
            stack.enter_context(exclusive(folder))
        chosen = devices(spec.backend.name, spec.backend.options, parallel.devices)
        is_known = spec.name in store.studies() and store.reference(spec.name) is not None
        _refuse_unlike(spec, chosen, watcher.say, is_known=is_known)
        stack.enter_context(_seeing(chosen[0]))  # calibration runs in this process, on the first device
        backend = create_backend(spec.backend.name, spec.backend.options)
        if isinstance(backend, Planner):
            backend.require_device()  # before a calibration of minutes, of which nothing could be measured
        jobs = parallel.jobs or default_jobs(backend, len(chosen))
        work, log = folder, "worker"
        if store.is_shared:
            log = f"worker-{host().split()[0]}-{os.getpid()}"
            # Hosts may share the study's folder: candidates of one name would overwrite one another there.
            work = stack.enter_context(scratch("autoprec-work-"))
        membership = store.join(spec.name, [device.name for device in chosen], autoprec.__version__)
        membership.inherit()
        binding = Binding(store, membership, spec)
        heart = stack.enter_context(Heart(membership))
        crew: Crew[TrialRecord, Measurement] = stack.enter_context(
            Crew(chosen, jobs, folder, log, watcher.say, default_aides(backend, jobs * len(chosen)))
        )
        early = stack.enter_context(EarlyReference(crew.first, work / "early", watcher))
        asides = stack.enter_context(Asides(crew.end_workers))
        if not spec.target.address:  # that one is waited for, once
            crew.warm(spec.backend)
        if len(crew.slots) > 1:
            names = ", ".join(device.name for device in chosen)
            watcher.say(f"{jobs} builds at a time for each of: {names}")

        turn = stack.enter_context(ExitStack())
        turn.enter_context(_turn(store, membership, spec.name, watcher))
        turn.callback(crew.dismiss)
        yield _Joined(
            spec=spec, store=store, binding=binding, membership=membership, heart=heart, crew=crew,
            early=early, asides=asides, work=work, established=turn.close,
        )  # fmt: skip


def _prepared(place: _Joined, watcher: Watcher, course: Course | None, *, checks: bool) -> Session:
    """Prepare the study. The trial of a new one's reference comes first, before the engine is asked for what
    that does not depend on; arguments as those of `session`."""
    spec, store, crew, name, say = place.spec, place.store, place.crew, place.spec.name, watcher.say
    is_new = name not in store.studies() or store.reference(name) is None
    # What a run that was cut off has stored of the reference is not measured again.
    early, is_first = place.early, checks and is_new and not store.trials(name)
    benches = [slot.bench for slot in crew.slots]
    measures = early if is_first else None
    duties = Duties(spec, store, benches, crew.aides, measures, place.asides, crew.end_workers, say)

    loaded = load(spec, say, scores=True)
    calibrated = duties.calibrate(loaded, store.artifacts(name), checks=checks)
    first = duties.reference(loaded, calibrated)
    if course and first and (own := next(early.results(first), None)):
        duties.check(Path(first.reference_candidate.model_path))
        bound = place.binding.bind(first)
        runner = TrialRunner(first, store, bound.ledger, crew, place.heart, watcher)
        runner.settle_own(own[1], course.begin(bound))
        if scores_alone(first, len(crew.slots)):
            early.score_floats(first)
    prepared = duties.rest(loaded, calibrated, place.work)

    # A new study is bound only once its reference has passed the check.
    bound = place.binding.bind(prepared) if name in store.studies() else place.binding.open(prepared)
    runner = TrialRunner(prepared, store, bound.ledger, crew, place.heart, watcher)
    check = partial(duties.check, Path(prepared.reference_candidate.model_path))
    establishing = Establishing(
        prepared, store, runner, watcher, check, early.results, early.float_loss, place.established
    )
    analysis = SensitivityAnalysis(prepared, store, crew, place.membership, say)
    night = Night(prepared, store, runner, establishing, analysis, watcher)
    return Session(bound=bound, prepared=prepared, crew=crew, night=night)


def _refuse_unlike(
    spec: StudySpec, chosen: Sequence[Device], say: Callable[[str], None], *, is_known: bool
) -> None:
    """Reach all targets and compare them; wait for targets that the study has measured on.

    Args:
        spec: the definition.
        chosen: the devices, which may be targets.
        say: receives a line whenever a target is waited for.
        is_known: whether the study has been measured on them; if not, an address that does not answer may be
            wrong, and is an error at once.

    Raises `StudyError` if a target differs from the first in engine or device.
    """
    kinds: dict[str, Fingerprint] = {}
    if not spec.target.address:
        return
    for device in chosen:
        options = {**spec.backend.options, **_address(device)}
        section = msgspec.structs.replace(spec.backend, options=options)
        kinds[device.name] = reach(section, say, at_once=not is_known).fingerprint()
    # Latencies of different engines or devices would mix in one front.
    for target, kind in kinds.items():
        first = kinds[chosen[0].name]
        if kind != first:
            raise StudyError(
                f"{target} is {kind.version} on {kind.device}, and {chosen[0].name} is {first.version} on "
                f"{first.device}: search a study on each, and compare them with `autoprec compare`"
            )


def _address(device: Device) -> dict[str, str]:
    """The option of a device that is one target of several."""
    return {"target": device.environment[TARGET]} if TARGET in device.environment else {}


def make_folder(folder: Path) -> Path:
    """Create the study's folder. Raises `StudyError` if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            cannot(folder, error, "give the study another `folder`", what="be created")
        ) from error
    return folder


@contextmanager
def _seeing(device: Device) -> Iterator[None]:
    """In the block, this process sees that device and no other; the next search may be on others."""
    before = {name: os.environ.get(name) for name in device.environment}
    os.environ |= device.environment
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _turn(store: Store, membership: Membership, study: str, watcher: Watcher) -> Iterator[None]:
    """Let one process at a time prepare the study, until there is a reference."""
    is_told = False
    while True:
        with membership.holding("preparation") as is_mine:
            if is_mine or (study in store.studies() and store.reference(study) is not None):
                yield
                return
        if not is_told:
            is_told = True
            watcher.say("waiting for another process that is preparing the study")
        time.sleep(_PAUSE_SECONDS)
