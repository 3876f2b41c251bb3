"""An open database: its transactions, its workers, and its end."""

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
    """Make a method one transaction that waits for a database that is restarting."""

    @wraps(method)
    def call(self: D, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._database.patiently(lambda: method(self, *args, **kwargs))

    return call


class OpenDatabase(Closing):
    """A database of evidence; use in a `with` block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(
        cls, where: Path | str, *, read_only: bool = False, say: Callable[[str], None] = lambda _: None
    ) -> Self:
        """Open a SQLite file or the database at an SQLAlchemy address, creating or migrating its tables.

        With `read_only` nothing is created; `say` hears what is waited for. Raises `StudyError` for
        a database that is not autoprec's, newer, damaged, locked or out of reach.
        """
        return cls(Database(where, read_only=read_only, say=say))

    @property
    def name(self) -> str:
        """The database's name in messages: its path, or its address without the password."""
        return self._database.name

    def optuna(self) -> JoiningStorage:
        """Optuna's storage on the same database; inside `transaction` it takes part in that transaction."""
        return self._database.optuna()

    @property
    def is_shared(self) -> bool:
        """Whether several processes, on any host, may search in it at once."""
        return self._database.is_shared

    @contextmanager
    def transaction(self, study: str) -> Iterator[None]:
        """Make all calls of this thread in the block, Optuna's included, one transaction on `study`.

        It does not wait for a database that is restarting: pass the whole block to `patiently` for that.
        """
        with self._database.writing(study):
            yield

    def patiently(self, work: Callable[[], T]) -> T:
        """Run one transaction, repeating it while the database restarts; it must be idempotent."""
        return self._database.patiently(work)

    def join(self, study: str, devices: Sequence[str], version: str) -> Membership:
        """Take part in a study: see `Membership`."""
        return Membership(self._database, study, devices, version)

    def artifacts(self, study: str) -> Artifacts:
        """Files that the workers of a study share: see `Artifacts`."""
        return Artifacts(self._database, study)

    @patient
    def workers(self, study: str) -> tuple[Worker, ...]:
        """The workers that take part in a study now."""
        return living(self._database, study)

    @patient
    def remove(self, study: str) -> None:
        """Delete a study, in Optuna's tables too."""
        with self._database.writing(study) as connection:
            for table in OF_A_STUDY:
                connection.execute(sa.delete(table).where(table.c.study == study))
        with suppress(KeyError):  # Optuna lacks it if the first search was stopped before its first trial
            optuna.delete_study(study_name=study, storage=self._database.optuna())

    def close(self) -> None:
        """Close the database; a second call does nothing."""
        self._database.close()

    def _change(self, table: sa.TableClause, where: sa.ColumnElement[bool], **values: Any) -> None:
        """Change one row, if it exists, along with its checksum and the totals."""
        with self._database.reading() as connection:
            study = connection.scalar(sa.select(table.c.study).where(where))
        if study is None:
            return
        with self._database.writing(study) as connection:
            # Read again under the lock, whose study had to be known first. Checked before it is sealed
            # anew, or a damaged row would get a valid checksum.
            row = connection.execute(sa.select(table).where(where)).mappings().one_or_none()
            if row is not None:
                check(table, row)
                new = sealed({**row, **values})
                connection.execute(sa.update(table).where(where).values(new))
                add(connection, table, new, row[CHECKSUM])
