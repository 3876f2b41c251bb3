"""The public `Study`: what the command line does, as a class."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec
import optuna

from autoprec.errors import BLAMELESS, StudyError
from autoprec.measurement import Bench
from autoprec.records import Block, Departure, Explanation, Findings, Reference, TrialRecord
from autoprec.spec import Budget, StudySpec, aimed, load_spec, parse_budget
from autoprec.store import Store, exclusive, searching
from autoprec.study.definition import as_begun, find_spec
from autoprec.study.events import Quiet, Watcher
from autoprec.study.following import follow
from autoprec.study.night import Night
from autoprec.study.night.mirror import Mirror
from autoprec.study.night.priors import sensitivities
from autoprec.study.preparation import load_blocks, prepare
from autoprec.study.preparation.fidelity import Fidelity, departures
from autoprec.study.preparation.probing import Prober
from autoprec.study.refining import refined, serve_refined
from autoprec.study.reporting import explain_trial, gather, look_ahead
from autoprec.study.shipping import export_point


class Study:
    """One study: its definition, and the folder that holds its evidence.

    Every method raises `UserError` children, one line each, for what the user can mend.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.folder = Path(spec.folder)
        self.database = self.folder / "study.db"
        self.spec = as_begun(spec, self.database)

    @classmethod
    def load(cls, path: Path | str) -> Study:
        """The study that a TOML file defines."""
        return cls(load_spec(Path(path)))

    @classmethod
    def find(cls, where: str | None = None) -> Study:
        """A study by name or path; without one the only study of `studies/`, or its default."""
        return cls(find_spec(where))

    def on(self, target: str) -> Study:
        """This study with its engine on a target: `ssh://user@host:port`, or `local:`."""
        section = msgspec.structs.replace(self.spec.target, address=target)
        return Study(aimed(self.spec, section))

    def blocks(self) -> tuple[Block, ...]:
        """The model's blocks, and the precisions that each may have."""
        return load_blocks(self.spec)[1]

    def search(self, budget: str | None = None, watcher: Watcher | None = None) -> tuple[TrialRecord, ...]:
        """Search on until the budget is spent; returns the front. The first Ctrl-C ends it after the trial
        in hand, a second one at once.

        Args:
            budget: trials (`50`) or time (`90s`, `30m`, `8h`) of this run; None takes the definition's.
            watcher: is told of every step.
        """
        text = self.spec.search.budget if budget is None else budget
        allowed = parse_budget(text)
        watcher = watcher or Quiet()
        _make_folder(self.folder)
        with (
            exclusive(self.folder),
            Store.open(self.database) as store,
            Bench(self.folder / "worker.log", watcher.say) as bench,
        ):
            prober = Prober(self.spec, bench, store, watcher.say)
            fidelity = Fidelity(self.spec, bench, store, watcher.say)
            prepared = prepare(
                self.spec, watcher.say, prober, store.basis(self.spec.name), fidelity.check_loaded
            )
            fidelity.check_reference(Path(prepared.reference_candidate.model_path))
            store.bind(self.spec.name, prepared.identity, prepared.blocks)
            run, before = _open_run(store, self.spec.name, text, watcher)
            if allowed.trials is not None:
                allowed = Budget(trials=max(0, allowed.trials - before))
            night = Night(prepared, store, self._mirror(prepared.blocks), bench, watcher)
            with _stopping(night, watcher):
                done = night.run(allowed)
                look_ahead(prepared, store, bench, watcher.say, lambda: not night.is_stopping)
            store.end_run(run, before + done)
            return store.front(self.spec.name)

    def refine(self, number: int, seconds: float = 3600.0, watcher: Watcher | None = None) -> TrialRecord:
        """Fine-tune a trial's weights and ranges for so long, by distillation from the float model on the
        calibration samples, and measure the result as a new trial, which is returned. Needs PyTorch.

        A trial's operators must be known to training; otherwise train with Q/DQ in your own code, and search
        the ONNX that comes out: its scales are kept.
        """
        watcher = watcher or Quiet()
        with (
            exclusive(self.folder),
            Store.open(self.database) as store,
            Bench(self.folder / "worker.log", watcher.say) as bench,
        ):
            record = store.trial(self.spec.name, number)
            prober = Prober(self.spec, bench, store, watcher.say)
            prepared = prepare(self.spec, watcher.say, prober, store.basis(self.spec.name))
            store.bind(self.spec.name, prepared.identity, prepared.blocks)
            assignment = refined(prepared, record, seconds, watcher)
            night = Night(prepared, store, self._mirror(prepared.blocks), bench, watcher)
            return serve_refined(night, store, self.spec.name, number, assignment)

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

    def _as_it_stands(self, record: TrialRecord) -> TrialRecord:
        """A trial that was running when its search was killed runs no more."""
        return record if searching(Path(self.spec.folder)) else record.settled()

    @contextmanager
    def _stored(self) -> Iterator[Store]:
        """The study's evidence, for reading."""
        if not self.database.exists():
            raise StudyError(
                f"study {self.spec.name!r} has measured nothing yet ({self.database} is not there): "
                f"run `autoprec search --study {self.spec.name}`"
            )
        with Store.open(self.database, read_only=True) as store:
            yield store

    def _mirror(self, blocks: Sequence[Block]) -> Mirror:
        """The study in Optuna's tables, in the same file."""
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{self.database}", engine_kwargs={"connect_args": {"timeout": 30}}
        )
        limited = self.spec.search.max_memory_mb is not None
        return Mirror(storage, self.spec.name, blocks, limited=limited)


def _open_run(store: Store, study: str, budget: str, watcher: Watcher) -> tuple[int, int]:
    """The run to write to, and how many trials it has already.

    A run that was killed is gone on with if the budget is the same; otherwise a new one begins.
    """
    runs = store.runs(study)
    if runs and not runs[-1].end and runs[-1].budget == budget:
        done = sum(
            record.number >= runs[-1].first and record.state != "running" and record.origin != "reused"
            for record in store.trials(study)
            if record.failure is None or record.failure.kind not in BLAMELESS
        )
        watcher.say(f"going on with the run that was stopped after {done} trials")
        return runs[-1].id, done
    return store.begin_run(study, budget), 0


def _make_folder(folder: Path) -> None:
    """Make the study's folder. Raises `StudyError` where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"{folder}: cannot be made ({error.strerror}); give the study another `folder`"
        ) from error


@contextmanager
def _stopping(night: Night, watcher: Watcher) -> Iterator[None]:
    """Ctrl-C ends the night after the trial in hand; a second one is not held back."""

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        night.stop()
        watcher.say("stopping after the trial in hand; press Ctrl-C again to stop at once")
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
