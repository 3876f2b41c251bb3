"""The reading half of a study: its stored evidence as records, tables and charts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from autoprec.backends.clocks import clock_of
from autoprec.errors import StudyError, UserError
from autoprec.precisions import PRECISIONS
from autoprec.records import (
    Block,
    Departure,
    Explanation,
    Findings,
    Layerwise,
    Reference,
    TrialRecord,
    Worker,
)
from autoprec.report import Chart, Front, front_chart, study_html, trials_dataframe
from autoprec.spec import StudySpec
from autoprec.store import Store
from autoprec.study.definition import as_begun
from autoprec.study.findings.locating import TOLERANCE, locate
from autoprec.study.findings.reporting import explain_trial, gather
from autoprec.study.following import is_searched
from autoprec.study.night.priors import sensitivities
from autoprec.study.preparation.fidelity import departures
from autoprec.study.shipping.picks import choose

if TYPE_CHECKING:
    import pandas


class StoredStudy:
    """A stored study, for reading: its definition, and the folder that holds its evidence.

    Whatever the user can fix raises a child of `UserError`, with a message of one line. A study may be read
    while it is being searched.
    """

    def __init__(self, spec: StudySpec) -> None:
        self.folder = Path(spec.folder)
        self.database = self.folder / "study.db"
        self.spec = as_begun(spec)

    def __repr__(self) -> str:
        try:
            trials, front = self.trials(), self.front()
        except UserError:
            return f"Study({self.spec.name!r}, nothing measured yet)"
        return f"Study({self.spec.name!r}, {len(trials)} trials, {len(front)} on the front)"

    def _repr_html_(self) -> str:
        """What a notebook shows: the study's name and its front."""
        try:
            return study_html(self.spec.name, self.trials(), self.front())
        except UserError as error:
            return study_html(self.spec.name, (), Front(), note=str(error))

    @property
    def address(self) -> str:
        """The SQLAlchemy URL of the database, for other tools."""
        where = self.spec.database
        # Unquoted, a path with `?`, `#` or `%` in it would name another file.
        return f"sqlite:///{quote(str(where.absolute()))}" if isinstance(where, Path) else where

    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials, by number."""
        with self._stored() as store:
            return tuple(map(self._as_it_stands, store.trials(self.spec.name)))

    def trial(self, number: int) -> TrialRecord:
        """One trial."""
        with self._stored() as store:
            return self._as_it_stands(store.trial(self.spec.name, number))

    def front(self) -> Front:
        """The Pareto front, fastest first: a tuple of trials that a notebook shows as a table."""
        with self._stored() as store:
            return Front(store.front(self.spec.name), store.reference(self.spec.name))

    def best(self, max_loss: float | None = None) -> TrialRecord:
        """The fastest point of the front within a mask loss, by default the definition's `accepted_loss`.

        Raises `StudyError` if no point within that loss is faster than the reference, beyond its noise.
        """
        front = self.front()
        if front.reference is None:
            raise StudyError(f"study {self.spec.name!r} has no reference yet: search it first")
        limit = self.spec.search.accepted_loss if max_loss is None else max_loss
        return choose(front, front.reference, pick="fastest", max_loss=limit)

    def trials_dataframe(self) -> pandas.DataFrame:
        """All trials as a pandas table, a row for each, sorted by number; `block.NAME` columns hold the
        precisions. Raises `BackendError` where pandas is not installed."""
        return trials_dataframe(self.trials(), self.front())

    def plot_front(self) -> Chart:
        """The front as a chart that a notebook shows; `save` writes it as HTML, JSON, PNG or SVG."""
        return Chart(front_chart(self.findings(runs=False)), title=f"{self.spec.name}: latency and mask loss")

    def workers(self) -> tuple[Worker, ...]:
        """The processes that search the study now, and what each of their devices is doing."""
        with self._stored() as store:
            return store.workers(self.spec.name)

    def reference(self) -> Reference | None:
        """The reference that all trials are compared with; None before it is measured."""
        with self._stored() as store:
            return store.reference(self.spec.name)

    def clock(self) -> str:
        """What latencies measure, such as "processor time on one thread"; empty before a search."""
        with self._stored() as store:
            is_bound = self.spec.name in store.studies()
            return clock_of(store.identity(self.spec.name).fingerprint) if is_bound else ""

    def fidelity(self) -> tuple[Departure, ...]:
        """How far each step towards a measurement departs from the original model; empty before a search."""
        with self._stored() as store:
            return departures(store, self.spec.name)

    def stored_blocks(self) -> tuple[Block, ...]:
        """The blocks that the study is bound to."""
        with self._stored() as store:
            return store.blocks(self.spec.name)

    def mismatches(self) -> tuple[str, ...]:
        """Blocks of front points that did not run in the requested precision, one line each."""
        # A float that this engine never runs as itself, such as FP16 on a CPU, is no mismatch: the user
        # cannot mend that, and `--strict` would fail on every study.
        audits = [(t.number, row) for t in self.trials() if t.measurement for row in t.measurement.audit]
        taken = {row.asked for _, row in audits if row.matches}
        best = {record.number for record in self.front()}
        return tuple(
            f"trial {number}, block {row.block}: asked {row.asked}, ran {row.ran}"
            for number, row in audits
            if number in best and row.matches is False
            if row.asked in taken or PRECISIONS[row.asked].is_quantized
        )

    def sensitivity(self) -> dict[str, dict[str, float]]:
        """Mask loss with one block alone in a precision, by block name, then precision name."""
        with self._stored() as store:
            return sensitivities(store, self.spec.name)

    def findings(self, *, runs: bool = True, say: Callable[[str], None] = lambda _: None) -> Findings:
        """Gather all that a report shows; `autoprec.report.page` makes an HTML document of it.

        Args:
            runs: run the best points again, for profiles and masks, unless an earlier report did.
            say: receives a line about each slow step.
        """
        with self._stored() as store:
            return gather(self.spec, store, runs=runs, say=say)

    def explain(
        self, number: int, *, runs: bool = True, say: Callable[[str], None] = lambda _: None
    ) -> Explanation:
        """Explain a trial's speed and loss, block by block; `runs` and `say` as in `findings`."""
        with self._stored() as store:
            return explain_trial(self.spec, store, number, runs=runs, say=say)

    def _as_it_stands(self, record: TrialRecord) -> TrialRecord:
        """The trial; one that is stored as running although no search is was interrupted."""
        return record if is_searched(self.spec) else record.settled()

    def where(
        self,
        number: int,
        *,
        tolerance: float = TOLERANCE,
        samples: int = 3,
        layers: bool = False,
        exactly: bool = False,
    ) -> Layerwise:
        """Find where a trial departs from the reference, by comparing the values where blocks meet.

        Args:
            number: of the trial, which may have failed.
            tolerance: a block breaks if one of its values is off by more than this share of its spread.
            samples: how many evaluation samples to run, spread over the set.
            layers: compare the values of every node, not only those between blocks.
            exactly: run both in exact arithmetic, without the engine.

        Raises `StudyError` if neither can run them, or the study is being searched.
        """
        with self._stored() as store:
            return locate(
                self.spec,
                store,
                number,
                tolerance=tolerance,
                samples=samples,
                layers=layers,
                exactly=exactly,
            )

    @contextmanager
    def _stored(self) -> Iterator[Store]:
        """The study's evidence, for reading."""
        if isinstance(self.spec.database, Path) and not self.spec.database.exists():
            raise StudyError(
                f"study {self.spec.name!r} has measured nothing yet ({self.spec.database} is not there): "
                f"run `autoprec search --study {shlex.quote(self.spec.name)}`"
            )
        with Store.open(self.spec.database, read_only=True) as store:
            yield store
