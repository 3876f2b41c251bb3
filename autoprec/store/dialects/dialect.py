"""What differs between kinds of databases: opening, locking, the clock, and the meaning of errors."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa


class Dialect(Protocol):
    """One database of a kind.

    Attributes:
        name: what messages call it: a path, or an address without its password.
        address: for Optuna, and for any other tool that takes SQLAlchemy's addresses.
        reader: for transactions that see one state of the database.
        writer: for transactions that write.
    """

    name: str
    address: str
    reader: sa.Engine
    writer: sa.Engine
    is_shared: bool
    """Whether several processes, on any host, may search in it at once."""
    optuna_options: dict[str, object]
    """Keyword arguments of the engine that Optuna makes for itself."""

    def admitted(self) -> AbstractContextManager[sa.Connection]:
        """A first look at the database, which changes nothing; raises `StudyError` for a damaged one."""

    def prepare(self) -> None:
        """What is set once on a database that may be written, outside any transaction."""

    def lock(self, connection: sa.Connection, study: str) -> None:
        """Lock a study ("" for the tables) until the transaction ends, waiting for its other writers."""

    def statement(self, text: str) -> str:
        """A statement of the schema, written for SQLite, in this kind's SQL."""

    def seconds(self, connection: sa.Connection) -> float:
        """The database's own clock, in seconds since 1970: one clock for all workers."""

    def reason(self, error: BaseException) -> str | None:
        """What an error of the database means to the user; None for a fault of autoprec."""

    def is_passing(self, error: BaseException) -> bool:
        """Whether the database was only out of reach for a moment, such as during a restart."""
