"""The public `Study`: what the command line does, as a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from autoprec.backends.timing import Deadline
from autoprec.errors import StudyError
from autoprec.files import resolved
from autoprec.records import Block, TrialRecord
from autoprec.report import Front
from autoprec.spec import StudySpec, aimed, load_spec, parse_budget, stored_at, with_search
from autoprec.store import Health, Store, exclusive
from autoprec.study.callbacks import Calling
from autoprec.study.definition import find_spec
from autoprec.study.events import Quiet, Watcher
from autoprec.study.findings.reporting import look_ahead
from autoprec.study.following import follow
from autoprec.study.logged import Logged
from autoprec.study.mending import health, repair
from autoprec.study.night.own import enqueue
from autoprec.study.night.priors import adopt
from autoprec.study.overview.plan import judged_blocks
from autoprec.study.preparation import load_blocks
from autoprec.study.refining import refined
from autoprec.study.runs import Course, close_run, stopping
from autoprec.study.session import Parallel, Session, session
from autoprec.study.shipping.export import export_point
from autoprec.study.stored import StoredStudy

_LONG_SECONDS = 600.0
"""Shorter runs gather nothing for the report beforehand: they must end when their time is over."""


class Study(StoredStudy):
    """One study: its definition, and the folder that holds its evidence.

    Whatever the user can fix raises a child of `UserError`, with a message of one line.
    """

    def __init__(self, spec: StudySpec) -> None:
        super().__init__(spec)
        self._course: Course | None = None

    @classmethod
    def load(cls, path: Path | str) -> Study:
        """Load the study that a TOML file defines."""
        return cls(load_spec(Path(path)))

    @classmethod
    def find(cls, where: Path | str | None = None, storage: str | None = None) -> Study:
        """Find a study by name or path; without either, the only one in `studies/`, or the default one.

        `storage` replaces the address of the database in the definition.
        """
        spec = find_spec(None if where is None else str(where))
        if storage is not None:
            spec = msgspec.structs.replace(spec, storage=stored_at(storage, Path()))
        return cls(spec)

    def on(self, target: str) -> Study:
        """Return this study with its engine on a target: `ssh://user@host:port`, or `local:`."""
        section = msgspec.structs.replace(self.spec.target, address=target)
        return Study(aimed(self.spec, section))

    def with_search(
        self,
        *,
        seed: int | None = None,
        strategy: str | None = None,
        precisions: str | None = None,
        accepted_loss: float | None = None,
    ) -> Study:
        """This study with other settings of its search, for as long as this object exists.

        Args:
            seed: of the strategy.
            strategy: `autoprec`, `tpe`, `nsga2` or `random`.
            precisions: names, separated by commas.
            accepted_loss: within which the search looks hardest for speed.
        """
        return Study(
            with_search(
                self.spec, seed=seed, strategy=strategy, precisions=precisions, accepted_loss=accepted_loss
            )
        )

    def blocks(self) -> tuple[Block, ...]:
        """Split the model into blocks, with the precisions that each may have: as the engine has judged them
        once a search has asked it, until then as their operators allow on any engine."""
        return judged_blocks(self.spec) or load_blocks(self.spec)[1]

    def search(
        self,
        budget: int | str | None = None,
        watcher: Watcher | None = None,
        *,
        jobs: int | None = None,
        devices: str | None = None,
        prior: Study | None = None,
        callbacks: Sequence[Callable[[Study, TrialRecord], None]] = (),
    ) -> Front:
        """Search, or resume, until the budget is spent; returns the front.

        In the main thread of a program the first Ctrl-C ends it after the running trials, a second one, or
        one while the study is being prepared, immediately. In other threads and in notebooks no signal is
        handled: call `stop`.

        Args:
            budget: trials (`50`) or time (`"90s"`, `"30m"`, `"8h"`) of this run; None takes the definition's.
            watcher: receives every step.
            jobs: candidates to build in parallel for each device; None decides by cores and memory.
            devices: GPUs to measure on, as `0,1` or `all`; None is one device.
            prior: another study of the same model, on another engine, size or version, whose losses serve as
                this one's prior; they stay for every later run.
            callbacks: called after each trial, once it is stored, with this study and the trial. What one
                raises ends the search.
        """
        text = self.spec.search.budget if budget is None else str(budget)
        parse_budget(text)
        told = Calling(Logged(watcher or Quiet()), [partial(call, self) for call in callbacks])
        course = Course(self.spec, text, told, partial(self._adopt, prior, told))
        parallel = Parallel(jobs=jobs, devices=devices)
        with (
            self._stoppable(course),
            session(self.spec, told, parallel, checks=True, course=course) as opened,
            stopping(course, told),
        ):
            self._spend(opened, course, told.say)
            store = opened.bound.store
            return Front(store.front(self.spec.name), store.reference(self.spec.name))

    def stop(self) -> None:
        """End the running search after the running trials: from a callback, or from another thread.

        Does nothing if no search is running.
        """
        if self._course is not None:
            self._course.stop()

    def wind_up(self) -> None:
        """Let the running search try nothing new, measure its best points again, and end.

        Does nothing if no search is running.
        """
        if self._course is not None:
            self._course.wind_up()

    def enqueue(self, choices: Mapping[str, str]) -> None:
        """Queue a mix of your own: it is measured next in a running search, else first in the next one.

        Args:
            choices: block name to precision name; blocks left out stay as in the reference.

        Raises `StudyError` for an unknown block or precision.
        """
        with Store.open(self.spec.database) as store:
            has_begun = self.spec.name in store.studies()
            blocks = store.blocks(self.spec.name) if has_begun else self.blocks()
            enqueue(store, self.spec.name, blocks, choices)

    def refine(self, number: int, seconds: float = 3600.0, watcher: Watcher | None = None) -> TrialRecord:
        """Fine-tune a trial's weights and ranges for `seconds`, by distillation from the float model on the
        calibration samples; measure the result as a new trial and return that. Needs PyTorch.

        Training must support all of the trial's operators; otherwise train with Q/DQ in your own code, and
        search the resulting ONNX file: its scales are kept.
        """
        watcher = watcher or Quiet()
        with self._stored() as store:
            record = store.trial(self.spec.name, number)
        with session(self.spec, watcher, Parallel(jobs=1), checks=False) as opened:
            assignment = refined(opened.prepared, record, seconds, watcher)
            return opened.bound.store.trial(
                self.spec.name, opened.night.refine(assignment, f"refined-{number}")
            )

    def health(self) -> Health:
        """Check whether the evidence is as it was written; see `repair`."""
        with self._stopped() as database:
            return health(self.spec, database)

    def repair(self) -> Path:
        """Rewrite the evidence from its intact rows, with the front and Optuna's tables. Damaged rows are
        left out, and measured again if the search needs them. Returns where the damaged file is kept.
        """
        with self._stopped() as database:
            return repair(self.spec, database)

    def follow(self, watcher: Watcher) -> tuple[TrialRecord, ...]:
        """Watch a search of this study in another process until it ends; returns the front."""
        return follow(self.spec, watcher)

    def export(
        self,
        folder: Path | str | None = None,
        *,
        pick: str = "knee",
        max_loss: float | None = None,
        trial: int | None = None,
        targets: Sequence[str] | None = None,
        examples: int = 4,
    ) -> tuple[Path, ...]:
        """Write one point for build tools: the typed ONNX, the manifest, build scripts; returns the files.

        Args:
            folder: where to write; by default `exports/trial-NUMBER` in the study's folder.
            pick: "knee" or "fastest", within `max_loss`.
            max_loss: the largest mask loss to accept; for "fastest" by default the definition's
                `accepted_loss`, for the knee any.
            trial: this trial instead of picking one.
            targets: names of `exporters.EXPORTERS`; all by default.
            examples: how many samples to include for verification; 0 runs no engine.
        """
        with self._stored() as store:
            return export_point(
                self.spec,
                store,
                None if folder is None else Path(folder),
                pick=pick,
                max_loss=max_loss,
                trial=trial,
                targets=targets,
                examples=examples,
            )

    def _adopt(self, prior: Study | None, watcher: Watcher, store: Store) -> None:
        """Take another study's losses as this one's prior."""
        if prior is None:
            return
        if resolved(prior.database) == resolved(self.database) and prior.spec.name == self.spec.name:
            raise StudyError(f"study {self.spec.name!r} cannot be its own prior: name another one")
        name, blocks = self.spec.name, store.blocks(self.spec.name)
        count = adopt(
            store, name, blocks, prior.trials(), prior.sensitivity(), self.spec.search.accepted_loss
        )
        watcher.say(f"{count} losses of study {prior.spec.name!r} are used as the prior")

    def _spend(self, opened: Session, course: Course, say: Callable[[str], None]) -> None:
        """Search until the run's budget is spent, then gather what the report shows."""
        bound = opened.bound
        run = opened.night.run(partial(course.begin, bound), lambda: course.is_stopping)
        if run.end:
            return
        # Only the last process gathers what the report shows, within a fiftieth of the time and while nobody
        # stops it.
        if len(bound.store.workers(self.spec.name)) == 1:
            seconds = parse_budget(run.budget).seconds
            patience = Deadline(None if seconds is None else seconds / 50)
            going = lambda: not (course.is_stopping or patience.is_over)  # noqa: E731
            if seconds is None or seconds >= _LONG_SECONDS:
                look_ahead(opened.prepared, bound.store, opened.crew.first.bench, say, going)
        close_run(bound, course, run)

    @contextmanager
    def _stoppable(self, course: Course) -> Iterator[None]:
        """`stop` ends this run."""
        self._course = course
        try:
            yield
        finally:
            self._course = None

    @contextmanager
    def _stopped(self) -> Iterator[Path]:
        """The database's file while nobody searches the study."""
        if not isinstance(self.spec.database, Path):
            raise StudyError(f"study {self.spec.name!r} is on a database server, which repairs its own files")
        if not self.spec.database.exists():
            raise StudyError(f"study {self.spec.name!r} has measured nothing yet: there is nothing to repair")
        with exclusive(self.folder):
            yield self.spec.database
