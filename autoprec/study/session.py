"""One process's part in a study: the database, the devices, the workers, and what all share, made ready.

With a database of its own (a SQLite file) the process has the study's folder alone. In a shared one it joins:
the first process prepares, the others wait for it and find what it made.
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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType

import msgspec

from autoprec.backends import create_backend
from autoprec.backends.devices import Device, devices
from autoprec.backends.tensorrt.neighbours import VISIBLE
from autoprec.errors import StudyError
from autoprec.files import scratch
from autoprec.measurement.reaching import reach
from autoprec.records import Fingerprint, Measurement, TrialRecord
from autoprec.spec import StudySpec
from autoprec.store import Membership, Run, Store, exclusive, host
from autoprec.study.events import Watcher
from autoprec.study.night import Night
from autoprec.study.night.crew import Crew, default_jobs
from autoprec.study.night.heart import Heart
from autoprec.study.night.ledger import Ledger
from autoprec.study.night.mirror import Mirror
from autoprec.study.preparation import Prepared, prepare
from autoprec.study.preparation.alongside import alongside, nothing
from autoprec.study.preparation.fidelity import Fidelity
from autoprec.study.preparation.probing import Prober
from autoprec.study.preparation.stages import Loaded

_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Parallel:
    """How much a search does in parallel: builds for each device (None is by cores and memory), and which
    devices (`0,1` or `all`; None is one)."""

    jobs: int | None = None
    devices: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What a search or a refinement works with."""

    store: Store
    membership: Membership
    prepared: Prepared
    ledger: Ledger
    crew: Crew[TrialRecord, Measurement]
    night: Night


@contextmanager
def session(spec: StudySpec, watcher: Watcher, parallel: Parallel, *, checks: bool) -> Iterator[Session]:
    """Join a study; with `checks`, compare the steps of preparing with the original model.

    Args:
        spec: the study's definition.
        watcher: receives what happens.
        parallel: how much is done at a time.
        checks: whether the steps of preparing are compared with the original model.

    Raises `UserError` children for what the user can fix.
    """
    folder = make_folder(Path(spec.folder))
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(spec.database))
        if not store.is_shared:
            stack.enter_context(exclusive(folder))
        chosen = devices(spec.backend.name, spec.backend.options, parallel.devices)
        is_known = spec.name in store.studies() and store.reference(spec.name) is not None
        _refuse_unlike(spec, chosen, watcher.say, is_known=is_known)
        if chosen[0].visible:
            os.environ[VISIBLE] = chosen[0].visible  # this process calibrates, on the first one
        jobs = parallel.jobs or default_jobs(
            create_backend(spec.backend.name, spec.backend.options), len(chosen)
        )
        work, log = folder, "worker"
        if store.is_shared:
            log = f"worker-{host().split()[0]}-{os.getpid()}"
            work = stack.enter_context(scratch("autoprec-work-"))
        membership = store.join(spec.name, [device.name for device in chosen], _version())
        heart = stack.enter_context(Heart(membership))
        crew: Crew[TrialRecord, Measurement] = stack.enter_context(
            Crew(chosen, jobs, folder, log, watcher.say)
        )
        if not spec.target.address:  # that one is waited for, once
            crew.warm(spec.backend)
        if len(crew.slots) > 1:
            names = ", ".join(device.name for device in chosen)
            watcher.say(f"{jobs} builds at a time for each of: {names}")

        def prepared_parts() -> tuple[Prepared, Ledger, Night]:
            prepared, check = _prepared(spec, store, crew, watcher, work, checks=checks)
            limit = spec.search.max_memory_mb
            mirror = Mirror.of(store, spec.name, prepared.blocks, limited=limit is not None)
            digest = prepared.identity.fingerprint.digest
            ledger = Ledger(store, mirror, membership, spec.name, digest, limit)
            night = Night(prepared, store, ledger, membership, crew, heart, watcher)
            with stopping(night, watcher):
                night.establish(check)
            crew.load(prepared.material)  # not before: the first trial would wait for processors
            return prepared, ledger, night

        with _turn(store, membership, spec.name, watcher):
            prepared, ledger, night = prepared_parts()
        yield Session(
            store=store, membership=membership, prepared=prepared, ledger=ledger, crew=crew, night=night
        )


def _refuse_unlike(
    spec: StudySpec, chosen: Sequence[Device], say: Callable[[str], None], *, is_known: bool
) -> None:
    """Reach all targets, and compare them; those that a study has measured on are waited for.

    Args:
        spec: the definition.
        chosen: devices, which may be targets.
        say: receives a line for each time that one is waited for.
        is_known: whether the study has measured on them: a new address may be wrong.

    Raises `StudyError` for targets of which one is not what the first is: figures of both would mix.
    """
    kinds: dict[str, Fingerprint] = {}
    if not spec.target.address:
        return
    for device in chosen:
        options = {**spec.backend.options, **({"target": device.target} if device.target else {})}
        section = msgspec.structs.replace(spec.backend, options=options)
        kinds[device.name] = reach(section, say, at_once=not is_known).fingerprint()
    for target, kind in kinds.items():
        first = kinds[chosen[0].name]
        if kind != first:
            raise StudyError(
                f"{target} is {kind.version} on {kind.device}, and {chosen[0].name} is {first.version} on "
                f"{first.device}: search a study on each, and compare them with `autoprec compare`"
            )


def open_run(session: Session, budget: str, watcher: Watcher) -> Run:
    """The run to join: the last one, if it has no end and the same budget; otherwise a new one."""
    store, study = session.store, session.prepared.spec.name

    def opened() -> Run:
        with store.transaction(study):
            runs = store.runs(study)
            if not (runs and not runs[-1].end and runs[-1].budget == budget):
                store.begin_run(study, budget)
            return store.runs(study)[-1]

    run = store.patiently(opened)
    session.ledger.reconcile()
    done = sum(record.state != "running" for record in session.ledger.spent(run))
    if done:
        others = len(store.workers(study)) - 1
        if others:
            watcher.say(f"joining {others} others, who have done {done} trials")
        else:
            watcher.say(f"resuming the run of {run.start[:16].replace('T', ' ')}: {done} trials are done")
    return run


def close_run(session: Session, run: Run, allowed: int | None) -> None:
    """Note that the run ended, unless others are still running, or it was stopped: then it can be resumed."""
    store, ledger, study = session.store, session.ledger, run.study

    def closed() -> None:
        with store.transaction(study):
            ledger.sync()
            done = sum(record.state != "running" for record in ledger.spent(run))
            session.membership.leave()
            is_spent = allowed is not None and done >= allowed
            if is_spent or (not store.workers(study) and not session.night.is_stopping):
                store.end_run(run.id, done)

    store.patiently(closed)


def make_folder(folder: Path) -> Path:
    """Make the study's folder. Raises `StudyError` where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"{folder}: cannot be created ({error.strerror}); give the study another `folder`"
        ) from error
    return folder


@contextmanager
def stopping(night: Night, watcher: Watcher) -> Iterator[None]:
    """Ctrl-C ends the night after the trials in progress; a second one is not held back.

    Signals are the main thread's business, and in a notebook its kernel's: there none is handled.
    """
    if threading.current_thread() is not threading.main_thread() or "ipykernel" in sys.modules:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        night.stop()
        watcher.stops()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _prepared(
    spec: StudySpec,
    store: Store,
    crew: Crew[TrialRecord, Measurement],
    watcher: Watcher,
    work: Path,
    *,
    checks: bool,
) -> tuple[Prepared, Callable[[], None]]:
    """Prepare; also returns what compares the reference's model with the original one."""
    benches, say = [slot.bench for slot in crew.slots], watcher.say
    basis, artifacts = store.basis(spec.name), store.artifacts(spec.name)
    prober, fidelity = Prober(spec, benches, store, say), Fidelity(spec, benches[-1], store, say)

    def look(loaded: Loaded) -> None:
        """One worker compares, the others ask meanwhile."""
        if not checks:
            return
        store.check_inputs(spec.name, loaded.inputs)
        others = Prober(spec, benches[:-1] or benches, store, say)
        ask = partial(others.anticipate, loaded, basis)
        with alongside(ask if benches[1:] else nothing, say):
            fidelity.check_loaded(loaded)
        if not benches[1:]:
            ask()

    prepared = prepare(spec, say, prober, basis, look, work=work, artifacts=artifacts)
    if spec.name in store.studies():
        store.bind(spec.name, prepared.identity, prepared.blocks)
    return prepared, partial(fidelity.check_reference, Path(prepared.reference_candidate.model_path))


def _version() -> str:
    """autoprec's; a source tree that is on the path has none."""
    try:
        return version("autoprec")
    except PackageNotFoundError:
        return "not installed"


@contextmanager
def _turn(store: Store, membership: Membership, study: str, watcher: Watcher) -> Iterator[None]:
    """One process prepares at a time, until there is a reference; then nobody has to wait."""
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
