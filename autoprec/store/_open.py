"""An open database: its transactions, who is connected, and closing it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import optuna
import sqlalchemy as sa

from autoprec.closing import Closing
from autoprec.records import Worker
from autoprec.store._artifacts import Artifacts
from autoprec.store._database import Database
from autoprec.store._optuna import JoiningStorage
from autoprec.store._schema import OF_A_STUDY
from autoprec.store._seals import CHECKSUM, check, sealed
from autoprec.store._totals import add
from autoprec.store._workers import Membership, living

D = TypeVar("D", bound="OpenDatabase")
T = TypeVar("T")
P = ParamSpec("P")


def patient(method: Callable[Concatenate[D, P], T]) -> Callable[Concatenate[D, P], T]:
    """One transaction, which waits for a database that restarts."""

    @wraps(method)
    def call(self: D, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.patiently(lambda: method(self, *args, **kwargs))

    return call


class OpenDatabase(Closing):
    """A database of evidence; use in a `with` block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, where: Path | str, *, read_only: bool = False) -> Self:
        """Open a study's database, a SQLite file or SQLAlchemy's address of one; make its tables, or bring
        them up to date, unless `read_only`.

        Raises `StudyError` for a database that is not ours, newer, damaged, locked or out of reach.
        """
        return cls(Database(where, read_only=read_only))

    @property
    def name(self) -> str:
        """What messages call the database: its path, or its address without the password."""
        return self._database.name

    def optuna(self) -> JoiningStorage:
        """Optuna's tables in the same database; what it writes in `transaction` is a part of that."""
        return self._database.optuna()

    @property
    def is_shared(self) -> bool:
        """Whether several processes may search in it at a time, on any host."""
        return self._database.is_shared

    @contextmanager
    def transaction(self, study: str) -> Iterator[None]:
        """All calls of this thread in the block, and Optuna's, are one transaction on `study`.

        It does not wait for a database that restarts: hand the whole block to `patiently`.
        """
        with self._database.writing(study):
            yield

    def patiently(self, work: Callable[[], T]) -> T:
        """Do one transaction, again while the database restarts; doing it twice must do no harm."""
        return self._database.patiently(work)

    def join(self, study: str, devices: Sequence[str], version: str) -> Membership:
        """Take part in a study: see `Membership`."""
        return Membership(self._database, study, devices, version)

    def artifacts(self, study: str) -> Artifacts:
        """Files that the workers of a study share: see `Artifacts`."""
        return Artifacts(self._database, study)

    @patient
    def workers(self, study: str) -> tuple[Worker, ...]:
        """Who takes part in a study now."""
        return living(self._database, study)

    @patient
    def remove(self, study: str) -> None:
        """Remove everything of a study, Optuna's part too; nothing of other studies."""
        with self._database.writing(study) as connection:
            for table in OF_A_STUDY:
                connection.execute(sa.delete(table).where(table.c.study == study))
        with suppress(KeyError):  # it is not there: its first search was stopped before
            optuna.delete_study(study_name=study, storage=self._database.optuna())

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._database.close()

    def _change(self, table: sa.TableClause, where: sa.ColumnElement[bool], **values: Any) -> None:
        """Change one row, if it is there; its checksum goes with it."""
        with self._database.reading() as connection:
            study = connection.scalar(sa.select(table.c.study).where(where))
        if study is None:
            return
        with self._database.writing(study) as connection:
            row = connection.execute(sa.select(table).where(where)).mappings().one_or_none()
            if row is not None:
                check(table, row)
                new = sealed({**row, **values})
                connection.execute(sa.update(table).where(where).values(new))
                add(connection, table, new, row[CHECKSUM])
