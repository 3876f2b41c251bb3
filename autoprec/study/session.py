"""One process's participation in a study: opens the database, reaches the devices, starts workers, prepares.

With a SQLite file the process has the study's folder to itself. With a shared database it joins others: the
first process prepares, and the others wait for its results.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import msgspec

import autoprec
from autoprec.backends import Device, create_backend
from autoprec.backends.devices import devices
from autoprec.backends.target.address import TARGET
from autoprec.backends.timing import Deadline
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
from autoprec.study.night.early import EarlyReference
from autoprec.study.night.heart import Heart
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from autoprec.study.night.priors import SensitivityAnalysis
from autoprec.study.night.reference import Establishing
from autoprec.study.night.runner import TrialRunner
from autoprec.study.preparation import Prepared, prepare
from autoprec.study.preparation.alongside import Asides, nothing
from autoprec.study.preparation.duties import Duties

_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """How much a search does in parallel: builds for each device (None decides by cores and memory), and the
    devices (`0,1` or `all`; None is one)."""

    jobs: int | None = None
    devices: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Everything that a search or a refinement works with; `ended` are the runs over before it began."""

    store: Store
    membership: Membership
    prepared: Prepared
    ledger: Ledger
    crew: Crew[TrialRecord, Measurement]
    night: Night
    ended: frozenset[int]


@contextmanager
def session(spec: StudySpec, watcher: Watcher, parallel: Parallel, *, checks: bool) -> Iterator[Session]:
    """Join a study, prepare it if nobody has, and yield everything in working order; until the night has
    established the reference of a new study, others wait.

    Args:
        spec: the study's definition.
        watcher: receives what happens.
        parallel: how much to do in parallel.
        checks: compare the steps of preparing with the original model.

    Raises children of `UserError` for what the user can fix.
    """
    begun, folder = Deadline(None), make_folder(Path(spec.folder))
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
        ended = frozenset(run.id for run in store.runs(spec.name) if run.end)
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
        prepared, check = _prepared(spec, store, crew, early, asides, watcher, work, checks=checks)
        limit = spec.search.max_memory_mb
        mirror = Mirror.of(store, spec.name, prepared.blocks, limited=limit is not None)
        ledger = Ledger(store, mirror, membership, spec.name, prepared.identity.fingerprint.digest, limit)
        runner = TrialRunner(prepared, store, ledger, crew, heart, watcher)
        establishing = Establishing(prepared, store, runner, watcher, check, early.results, turn.close)
        analysis = SensitivityAnalysis(prepared, store, crew, membership, watcher.say)
        night = Night(prepared, store, runner, establishing, analysis, watcher, begun)
        yield Session(
            store=store, membership=membership, prepared=prepared, ledger=ledger, crew=crew, night=night,
            ended=ended,
        )  # fmt: skip


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
def stopping(night: Night, watcher: Watcher) -> Iterator[None]:
    """Let the first Ctrl-C in the block end the run after its running trials, and a second one at once."""
    # Python delivers signals to the main thread alone, and a notebook's kernel has its own use for SIGINT.
    if threading.current_thread() is not threading.main_thread() or "ipykernel" in sys.modules:
        yield
        return

    # Not by the handler itself: it may have interrupted a print, and a stream refuses a print within one.
    telling = threading.Thread(target=watcher.stops, name="stopping", daemon=True)

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        # From now on, Ctrl-C raises KeyboardInterrupt as usual.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        night.stop()
        telling.start()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if telling.ident is not None:
            telling.join(_PAUSE_SECONDS)


def _prepared(
    spec: StudySpec,
    store: Store,
    crew: Crew[TrialRecord, Measurement],
    early: EarlyReference | None,
    asides: Asides,
    watcher: Watcher,
    work: Path,
    *,
    checks: bool,
) -> tuple[Prepared, Callable[[], None]]:
    """Prepare the study; also returns the check that compares the reference's model with the original one."""
    is_new = spec.name not in store.studies() or store.reference(spec.name) is None
    # What a run that was cut off has stored of the reference is not measured again.
    early = early if checks and is_new and not store.trials(spec.name) else None
    benches, say = [slot.bench for slot in crew.slots], watcher.say
    duties = Duties(spec, store, benches, crew.aides, early, asides, crew.end_workers, say)
    prepared = prepare(
        spec,
        say,
        duties.prober,
        store.basis(spec.name),
        duties.look if checks else lambda _: nothing,
        duties.first,
        crew.end_workers,
        work=work,
        artifacts=store.artifacts(spec.name),
    )
    crew.dismiss()
    # A new study is bound only once its reference has passed the check.
    if spec.name in store.studies():
        store.bind(spec.name, prepared.identity, prepared.blocks)
    return prepared, partial(duties.check, Path(prepared.reference_candidate.model_path))


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
