"""The public `Study`: what the command line does, as a class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from autoprec.errors import StudyError
from autoprec.records import Block, Departure, Explanation, Findings, Reference, TrialRecord, Worker
from autoprec.spec import StudySpec, aimed, load_spec, parse_budget, stored_at
from autoprec.store import Health, Store, exclusive
from autoprec.study.definition import as_begun, find_spec
from autoprec.study.events import Quiet, Watcher
from autoprec.study.findings.reporting import explain_trial, gather, look_ahead
from autoprec.study.following import follow, is_searched
from autoprec.study.mending import health, repair
from autoprec.study.night.priors import adopt, sensitivities
from autoprec.study.preparation import load_blocks
from autoprec.study.preparation.fidelity import departures
from autoprec.study.refining import refined
from autoprec.study.session import Parallel, close_run, open_run, session, stopping
from autoprec.study.shipping import export_point


class Study:
    """One study: its definition, and the folder that holds its evidence.

    Every method raises `UserError` children, one line each, for what the user can mend.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.folder = Path(spec.folder)
        self.database = self.folder / "study.db"
        self.spec = as_begun(spec)

    @classmethod
    def load(cls, path: Path | str) -> Study:
        """The study that a TOML file defines."""
        return cls(load_spec(Path(path)))

    @classmethod
    def find(cls, where: str | None = None, storage: str | None = None) -> Study:
        """A study by name or path; without one the only study of `studies/`, or its default.

        `storage` is the address of its database, in place of the definition's.
        """
        spec = find_spec(where)
        if storage is not None:
            spec = msgspec.structs.replace(spec, storage=stored_at(storage, Path()))
        return cls(spec)

    @property
    def address(self) -> str:
        """SQLAlchemy's address of the database, for other tools."""
        where = self.spec.database
        # Unquoted, a path with `?`, `#` or `%` in it would name another file.
        return f"sqlite:///{quote(str(where.absolute()))}" if isinstance(where, Path) else where

    def on(self, target: str) -> Study:
        """This study with its engine on a target: `ssh://user@host:port`, or `local:`."""
        section = msgspec.structs.replace(self.spec.target, address=target)
        return Study(aimed(self.spec, section))

    def blocks(self) -> tuple[Block, ...]:
        """The model's blocks, and the precisions that each may have."""
        return load_blocks(self.spec)[1]

    def search(
        self,
        budget: str | None = None,
        watcher: Watcher | None = None,
        *,
        jobs: int | None = None,
        devices: str | None = None,
        prior: Study | None = None,
    ) -> tuple[TrialRecord, ...]:
        """Search on until the budget is spent; returns the front. The first Ctrl-C ends it after the trials
        in hand, a second one at once.

        Args:
            budget: trials (`50`) or time (`90s`, `30m`, `8h`) of this run; None takes the definition's.
            watcher: is told of every step.
            jobs: candidates that are built at a time for each device; None is by cores and memory.
            devices: GPUs to measure on, as `0,1` or `all`; None is one device.
            prior: another study of the same model, on another engine, size or version, whose losses serve as
                this one's prior; they stay for every later run.
        """
        text = self.spec.search.budget if budget is None else budget
        allowed, watcher = parse_budget(text), watcher or Quiet()
        parallel = Parallel(jobs=jobs, devices=devices)
        with session(self.spec, watcher, parallel, checks=True) as made:
            if prior is not None:
                self._adopt(prior, made.store, watcher)
            run = open_run(made, text, watcher)
            with stopping(made.night, watcher):
                made.night.run(run, allowed)
                if len(made.store.workers(self.spec.name)) == 1:
                    going = lambda: not made.night.is_stopping  # noqa: E731
                    look_ahead(made.prepared, made.store, made.crew.first.bench, watcher.say, going)
            close_run(made, run, allowed.trials)
            return made.store.front(self.spec.name)

    def refine(self, number: int, seconds: float = 3600.0, watcher: Watcher | None = None) -> TrialRecord:
        """Fine-tune a trial's weights and ranges for so long, by distillation from the float model on the
        calibration samples, and measure the result as a new trial, which is returned. Needs PyTorch.

        A trial's operators must be known to training; otherwise train with Q/DQ in your own code, and search
        the ONNX that comes out: its scales are kept.
        """
        watcher = watcher or Quiet()
        with self._stored() as store:
            record = store.trial(self.spec.name, number)
        with session(self.spec, watcher, Parallel(jobs=1), checks=False) as made:
            assignment = refined(made.prepared, record, seconds, watcher)
            return made.store.trial(self.spec.name, made.night.refine(assignment, f"refined-{number}"))

    def health(self) -> Health:
        """Whether the evidence is as it was written; `repair` mends what follows from the rest."""
        with self._stopped() as database:
            return health(self.spec, database)

    def repair(self) -> Path:
        """Write the evidence anew: every intact row, the front, and Optuna's tables; what is damaged is left
        out, and measured again if the search wants it. Returns where the damaged file is kept.
        """
        with self._stopped() as database:
            return repair(self.spec, database)

    def follow(self, watcher: Watcher) -> tuple[TrialRecord, ...]:
        """Watch a search of this study that runs elsewhere until it is over; returns the front."""
        return follow(self.spec, watcher)

    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials, by number."""
        with self._stored() as store:
            return tuple(map(self._as_it_stands, store.trials(self.spec.name)))

    def trial(self, number: int) -> TrialRecord:
        """One trial."""
        with self._stored() as store:
            return self._as_it_stands(store.trial(self.spec.name, number))

    def front(self) -> tuple[TrialRecord, ...]:
        """The Pareto front, fastest first."""
        with self._stored() as store:
            return store.front(self.spec.name)

    def workers(self) -> tuple[Worker, ...]:
        """The processes that search the study now, and what each of their devices is at."""
        with self._stored() as store:
            return store.workers(self.spec.name)

    def reference(self) -> Reference | None:
        """The engine that all are compared with; None before it is measured."""
        with self._stored() as store:
            return store.reference(self.spec.name)

    def fidelity(self) -> tuple[Departure, ...]:
        """How far each step to a measurement is from the model as it was given; empty before a search."""
        with self._stored() as store:
            return departures(store, self.spec.name)

    def stored_blocks(self) -> tuple[Block, ...]:
        """The blocks that the study is bound to."""
        with self._stored() as store:
            return store.blocks(self.spec.name)

    def mismatches(self) -> tuple[str, ...]:
        """Front points with a block that did not run in what it was asked to, one line each."""
        return tuple(
            f"trial {record.number}, block {row.block}: asked {row.asked}, ran {row.ran}"
            for record in self.front()
            if record.measurement is not None
            for row in record.measurement.audit
            if row.matches is False
        )

    def sensitivity(self) -> dict[str, dict[str, float]]:
        """Block name, then precision name, to the mask loss with that block alone in that precision."""
        with self._stored() as store:
            return sensitivities(store, self.spec.name)

    def export(
        self,
        folder: Path | None = None,
        *,
        pick: str = "knee",
        max_loss: float | None = None,
        trial: int | None = None,
        targets: Sequence[str] | None = None,
        examples: int = 4,
    ) -> tuple[Path, ...]:
        """Write one point for build tools: the typed ONNX, the manifest, build scripts; returns the files.

        Args:
            folder: where to; by default `exports/trial-NUMBER` in the study's folder.
            pick: "knee" or "fastest", within `max_loss`.
            max_loss: the largest mask loss to accept; for "fastest" by default the definition's
                `accepted_loss`, for the knee any.
            trial: this trial instead of picking one.
            targets: names of `exporters.EXPORTERS`; all by default.
            examples: so many samples travel with it, to verify it by; 0 runs no engine.
        """
        with self._stored() as store:
            return export_point(
                self.spec,
                store,
                folder,
                pick=pick,
                max_loss=max_loss,
                trial=trial,
                targets=targets,
                examples=examples,
            )

    def findings(self, *, runs: bool = True, say: Callable[[str], None] = lambda _: None) -> Findings:
        """Everything that a report shows; `autoprec.report.page` makes one HTML document of it.

        Args:
            runs: run the best points once more, to profile them and to draw their masks; what was run for
                an earlier report is not run again.
            say: is told what takes time.
        """
        with self._stored() as store:
            return gather(self.spec, store, runs=runs, say=say)

    def explain(
        self, number: int, *, runs: bool = True, say: Callable[[str], None] = lambda _: None
    ) -> Explanation:
        """Why a trial is as fast and as good as it is, block by block; `runs` and `say` as in `findings`."""
        with self._stored() as store:
            return explain_trial(self.spec, store, number, runs=runs, say=say)

    def _adopt(self, prior: Study, store: Store, watcher: Watcher) -> None:
        """Take another study's losses as this one's prior."""
        if prior.database.resolve() == self.database.resolve() and prior.spec.name == self.spec.name:
            raise StudyError(f"study {self.spec.name!r} cannot be its own prior: name another one")
        name, blocks = self.spec.name, store.blocks(self.spec.name)
        count = adopt(
            store, name, blocks, prior.trials(), prior.sensitivity(), self.spec.search.accepted_loss
        )
        watcher.say(f"{count} losses of study {prior.spec.name!r} serve as the prior")

    def _as_it_stands(self, record: TrialRecord) -> TrialRecord:
        """A trial that was running when its search was killed runs no more."""
        return record if is_searched(self.spec) else record.settled()

    @contextmanager
    def _stopped(self) -> Iterator[Path]:
        """The database's file while nobody searches the study."""
        if not isinstance(self.spec.database, Path):
            raise StudyError(f"study {self.spec.name!r} is on a server, which mends its own files")
        if not self.spec.database.exists():
            raise StudyError(f"study {self.spec.name!r} has measured nothing yet: there is nothing to mend")
        with exclusive(self.folder):
            yield self.spec.database

    @contextmanager
    def _stored(self) -> Iterator[Store]:
        """The study's evidence, for reading."""
        if isinstance(self.spec.database, Path) and not self.spec.database.exists():
            raise StudyError(
                f"study {self.spec.name!r} has measured nothing yet ({self.spec.database} is not there): "
                f"run `autoprec search --study {self.spec.name}`"
            )
        with Store.open(self.spec.database, read_only=True) as store:
            yield store
