"""The workers of a study and the trials that they hold: heartbeats, and leases that end with them.

A worker is one process of `autoprec search`. It beats; what it has taken (a trial, a step of preparing) is
its own as long as it does, by the database's clock. What a dead worker held is free for the next one.
"""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.records import Doing, Worker, from_json, to_json
from autoprec.store._database import Database
from autoprec.store._schema import LEASES, WORKERS
from autoprec.store.dialects.inserts import adding

LEASE_SECONDS = 60.0
"""A worker that whose heartbeat is older than this, in seconds, is dead."""
BEAT_SECONDS = 10.0
CLOCKS_SECONDS = 30.0
"""Clocks of hosts may differ by so much: dates of trials are shown, nothing is decided by them."""


class Membership:
    """One process's part in a study, from `enter` to `leave`; methods may be called from any thread.

    Args:
        database: the study's.
        study: its name.
        devices: names of the devices that it measures on.
        version: autoprec's.
    """

    def __init__(self, database: Database, study: str, devices: Sequence[str], version: str) -> None:
        self._database, self._study, self._has_left = database, study, False
        self._me = Worker(
            id=uuid.uuid4().hex,
            study=study,
            host=host(),
            process=_process(),
            devices=tuple(devices),
            version=version,
            start=datetime.now(UTC).isoformat(timespec="milliseconds"),
            beat=0.0,
        )

    def enter(self) -> None:
        """Take part from now on.

        Raises `StudyError` if others take part with another version of autoprec, or another clock.
        """
        off = abs(self._database.patiently(self._database.seconds) - datetime.now(UTC).timestamp())
        if off > CLOCKS_SECONDS:
            raise StudyError(
                f"{self._database.name}: its clock and the one of {platform.node()} are {off:.0f} s apart; "
                "synchronise both with a time server (NTP)"
            )
        for other in living(self._database, self._study):
            if other.version != self._me.version:
                raise StudyError(
                    f"study {self._study!r} is being searched with autoprec {other.version} on "
                    f"{_host_name(other)}, this is {self._me.version}; install the same version everywhere"
                )
        self.beat(())

    def beat(self, doing: Sequence[Doing]) -> None:
        """Say that this process lives, and what it does. Joins again if it was presumed dead."""
        if self._has_left:
            return
        row = msgspec.structs.asdict(self._me) | {
            "devices": to_json(self._me.devices),
            "doing": to_json(tuple(doing)),
        }

        def write() -> None:
            with self._database.writing(None) as connection:  # heartbeats must not wait for trials
                row["beat"] = self._database.seconds()
                mine = WORKERS.c.id == self._me.id
                if connection.execute(sa.update(WORKERS).where(mine).values(row)).rowcount == 0:
                    connection.execute(sa.insert(WORKERS).values(row))

        self._database.patiently(write)

    def take(self, name: str, token: str = "") -> bool:
        """Take what nobody living has; true also for what is taken by this process already."""

        def attempt() -> bool:
            with self._database.writing(self._study) as connection:
                row = {"study": self._study, "name": name, "worker": self._me.id, "token": token}
                insert = adding(connection, LEASES, row, "study", "name")
                options = {"preserve_rowcount": True}  # else SQLAlchemy does not count an INSERT's
                if connection.execute(insert, execution_options=options).rowcount == 1:
                    return True
                key = (LEASES.c.study == self._study, LEASES.c.name == name)
                holder = connection.scalar(sa.select(LEASES.c.worker).where(*key))
                if holder == self._me.id:
                    return True
                if holder in {worker.id for worker in living(self._database, self._study)}:
                    return False
                connection.execute(sa.update(LEASES).where(*key).values(row))
                return True

        return self._database.patiently(attempt)

    def holds(self, name: str) -> bool:
        """Whether it is still this process's."""
        key = (LEASES.c.study == self._study, LEASES.c.name == name, LEASES.c.worker == self._me.id)
        with self._database.reading() as connection:
            return connection.scalar(sa.select(LEASES.c.name).where(*key)) is not None

    def give_back(self, name: str) -> None:
        """Let the next one have it."""

        def free() -> None:
            key = (LEASES.c.study == self._study, LEASES.c.name == name, LEASES.c.worker == self._me.id)
            with self._database.writing(self._study) as connection:
                connection.execute(sa.delete(LEASES).where(*key))

        self._database.patiently(free)

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Have it in the block, if nobody else has: yields whether."""
        taken = self.take(name)
        try:
            yield taken
        finally:
            if taken:
                self.give_back(name)

    def held_by_the_living(self) -> frozenset[str]:
        """Names of all that is taken, by this process or by another that lives."""
        alive = [worker.id for worker in living(self._database, self._study)]
        with self._database.reading() as connection:
            where = (LEASES.c.study == self._study, LEASES.c.worker.in_(alive))
            return frozenset(connection.scalars(sa.select(LEASES.c.name).where(*where)))

    def leave(self) -> None:
        """Take part no more; what is still held is free, and so is what the dead held."""
        self._has_left = True

        def go() -> None:
            with self._database.writing(self._study) as connection:
                connection.execute(sa.delete(WORKERS).where(WORKERS.c.id == self._me.id))
                alive = [worker.id for worker in living(self._database, self._study)]
                mine = WORKERS.c.study == self._study
                connection.execute(sa.delete(WORKERS).where(mine, WORKERS.c.id.not_in(alive)))
                theirs = (LEASES.c.study == self._study, LEASES.c.worker.not_in(alive))
                connection.execute(sa.delete(LEASES).where(*theirs))

        self._database.patiently(go)


def living(database: Database, study: str) -> tuple[Worker, ...]:
    """Who takes part in a study and lives."""

    def read() -> tuple[float, list[Worker]]:
        with database.reading() as connection:
            query = sa.select(WORKERS).where(WORKERS.c.study == study).order_by(WORKERS.c.start)
            rows = connection.execute(query).mappings()
            return database.seconds(), [worker for row in rows if (worker := _worker(row)) is not None]

    now, workers = database.patiently(read)
    return tuple(worker for worker in workers if now - worker.beat < LEASE_SECONDS and not _is_gone(worker))


def host() -> str:
    """This host's name, and what sets it apart from another of that name: its boot and process namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{platform.node()} {boot[:8]} {os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - no link


def _worker(row: sa.RowMapping) -> Worker | None:
    """None for a row that is damaged: whoever wrote it beats again."""
    values = {str(name): value for name, value in row.items()}
    try:
        values["devices"] = from_json(values["devices"], tuple[str, ...])
        values["doing"] = from_json(values["doing"], tuple[Doing, ...])
        return msgspec.convert(values, Worker)
    except (msgspec.MsgspecError, TypeError, RecursionError):
        return None


def _process() -> str:
    process = psutil.Process()
    return f"{process.pid} {process.create_time():.2f}"


def _is_gone(worker: Worker) -> bool:
    """Whether its process on this host is dead, so that nobody need wait for its lease to run out."""
    if worker.host != host():
        return False
    number, _, created = worker.process.partition(" ")
    with suppress(psutil.NoSuchProcess, ValueError, OverflowError):
        process = psutil.Process(int(number))
        return f"{process.create_time():.2f}" != created or process.status() == psutil.STATUS_ZOMBIE
    return True


def _host_name(worker: Worker) -> str:
    return worker.host.split()[0]
