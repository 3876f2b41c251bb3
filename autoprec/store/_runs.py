"""The stored runs of a study."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from autoprec.records import Record
from autoprec.store._open import OpenDatabase, patient
from autoprec.store._schema import RUNS, TRIALS
from autoprec.store._seals import CHECKSUM, Row, check, sealed
from autoprec.store._totals import add, ensure_complete


class Run(Record, frozen=True, kw_only=True):
    """One run of a search: when it ran, its budget, how many trials it finished. `end` is empty if it was
    killed.

    `first` is the number of its first trial. Numbers tell which trials belong to a run; dates would not,
    since clocks may be set back.
    """

    id: int
    study: str
    start: str
    end: str
    budget: str
    trials: int
    first: int


class RunTable(OpenDatabase):
    """Begins, ends and lists runs."""

    @patient
    def begin_run(self, study: str, budget: str) -> int:
        """Store the start of a run; returns its id."""
        last = sa.select(sa.func.max(TRIALS.c.number)).where(TRIALS.c.study == study)
        row = {"study": study, "start": _now(), "end": "", "budget": budget, "trials": 0}
        with self._database.writing(study) as connection:
            number = connection.scalar(last)
            row["first"] = 0 if number is None else number + 1
            blank = {**row, CHECKSUM: ""}  # the real one covers the id, which the database assigns
            run = connection.execute(sa.insert(RUNS).values(blank).returning(RUNS.c.id)).scalar_one()
            whole = sealed({**row, "id": run})
            connection.execute(sa.update(RUNS).where(RUNS.c.id == run).values(whole))
            add(connection, RUNS, whole)
            return int(run)

    @patient
    def end_run(self, run: int, trials: int) -> None:
        """Store the end of a run, and how many trials it finished."""
        self._change(RUNS, RUNS.c.id == run, end=_now(), trials=trials)

    @patient
    def runs(self, study: str) -> tuple[Run, ...]:
        """All runs of a study, in order."""
        query = sa.select(RUNS).where(RUNS.c.study == study).order_by(RUNS.c.id)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
            runs = tuple(_run_of(row) for row in rows)
            ensure_complete(connection, study, RUNS, (row[CHECKSUM] for row in rows))
        return runs


def _run_of(row: Row) -> Run:
    """The run of a row. Raises `StudyError` if the row is damaged."""
    check(RUNS, row)
    return Run(**{name: row[name] for name in Run.__struct_fields__})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")  # as precise as trials': they are compared
