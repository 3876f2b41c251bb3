"""The workers of a study: their heartbeats, and leases that end with them.

A worker is one process of `autoprec search`. Its leases (on a trial, or on a step of preparing) hold as long
as it sends heartbeats, by the database's clock. What a dead worker held is free for the next one.
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
"""A worker whose last heartbeat is older than this, in seconds, counts as dead."""
BEAT_SECONDS = 10.0
CLOCKS_SECONDS = 30.0
"""Largest difference between clocks of hosts: dates of trials are shown, and decide nothing."""


class Membership:
    """One process's participation in a study, from `enter` to `leave`; its methods are thread-safe.

    Args:
        database: the study's.
        study: its name.
        devices: names of the devices that it measures on.
        version: version of autoprec.
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
        """Join the study.

        Raises `StudyError` if other workers run another version of autoprec, or if clocks differ too much.
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

    def inherit(self) -> None:
        """Free what earlier searches held, however fresh their heartbeats; call it while the folder is held.
        A database that processes share stays as it is.

        A search that died with its machine, or with its container, looks like a living one on another host.
        """
        if self._database.is_shared:
            return

        def free() -> None:
            with self._database.writing(self._study) as connection:
                for table, worker in ((WORKERS, WORKERS.c.id), (LEASES, LEASES.c.worker)):
                    others = (table.c.study == self._study, worker != self._me.id)
                    connection.execute(sa.delete(table).where(*others))

        self._database.patiently(free)

    def beat(self, doing: Sequence[Doing]) -> None:
        """Report that this process lives, and what it is doing; joins again if it was presumed dead."""
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
        """Take a lease that no living worker has; true also if this process has it already."""

        def attempt() -> bool:
            with self._database.writing(self._study) as connection:
                row = {"study": self._study, "name": name, "worker": self._me.id, "token": token}
                insert = adding(connection, LEASES, row, "study", "name")
                options = {"preserve_rowcount": True}  # or SQLAlchemy does not count the rows of an INSERT
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
        """Whether this process still has the lease."""
        key = (LEASES.c.study == self._study, LEASES.c.name == name, LEASES.c.worker == self._me.id)
        with self._database.reading() as connection:
            return connection.scalar(sa.select(LEASES.c.name).where(*key)) is not None

    def give_back(self, name: str) -> None:
        """Release the lease."""

        def free() -> None:
            key = (LEASES.c.study == self._study, LEASES.c.name == name, LEASES.c.worker == self._me.id)
            with self._database.writing(self._study) as connection:
                connection.execute(sa.delete(LEASES).where(*key))

        self._database.patiently(free)

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Hold the lease within the block if it is free; yields whether it was.

        A block that fails keeps it until `leave`: the database may be what failed.
        """
        taken = self.take(name)
        yield taken
        if taken:
            self.give_back(name)

    def held_by_the_living(self) -> frozenset[str]:
        """Names of all leases of living workers, this process included."""
        alive = [worker.id for worker in living(self._database, self._study)]
        with self._database.reading() as connection:
            where = (LEASES.c.study == self._study, LEASES.c.worker.in_(alive))
            return frozenset(connection.scalars(sa.select(LEASES.c.name).where(*where)))

    def leave(self) -> None:
        """Leave the study, and free the leases of this process and of dead ones."""
        # Set first: a heartbeat from another thread must not join again behind the deletion.
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
    """The living workers of a study."""

    def read() -> tuple[float, list[Worker]]:
        with database.reading() as connection:
            query = sa.select(WORKERS).where(WORKERS.c.study == study).order_by(WORKERS.c.start)
            rows = connection.execute(query).mappings()
            return database.seconds(), [worker for row in rows if (worker := _worker(row)) is not None]

    now, workers = database.patiently(read)
    return tuple(worker for worker in workers if now - worker.beat < LEASE_SECONDS and not _is_gone(worker))


def host() -> str:
    """This host's name, with its boot and process namespace, which tell it from others of that name."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Containers share a kernel's boot, and clones of one image share a name; process numbers compare only
    # within one namespace.
    return f"{platform.node()} {boot[:8]} {os.stat('/proc/self/ns/pid').st_ino}"  # noqa: PTH116 - no link


def _worker(row: sa.RowMapping) -> Worker | None:
    """The worker of a row; None if the row is damaged, which the next heartbeat mends."""
    values = {str(name): value for name, value in row.items()}
    try:
        values["devices"] = from_json(values["devices"], tuple[str, ...])
        values["doing"] = from_json(values["doing"], tuple[Doing, ...])
        return msgspec.convert(values, Worker)
    except (msgspec.MsgspecError, TypeError, RecursionError):
        return None


def _process() -> str:
    process = psutil.Process()
    # With the time of its start, because the kernel reuses process numbers.
    return f"{process.pid} {process.create_time():.2f}"


def _is_gone(worker: Worker) -> bool:
    """Whether a worker on this host is dead, so that nobody need wait for its lease to expire."""
    if worker.host != host():
        return False
    number, _, created = worker.process.partition(" ")
    with suppress(psutil.NoSuchProcess, ValueError, OverflowError):
        process = psutil.Process(int(number))
        return f"{process.create_time():.2f}" != created or process.status() == psutil.STATUS_ZOMBIE
    return True


def _host_name(worker: Worker) -> str:
    return worker.host.split()[0]
