"""The tables that hold the evidence, and the migrations that lead to them.

`MIGRATIONS[n]` leads from version n to n + 1 and is never edited once released; the tables below it describe
the newest version for queries. Optuna's tables in the same file are Optuna's alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from autoprec.store._seals import DamagedRowError, seal_all, seal_numbers

Step = str | Callable[[sa.Connection], None]
"""An SQL statement, or a function for what SQL cannot express."""


def _first_trials(connection: sa.Connection) -> None:
    """Fill in the first trial of each run, from dates, which older versions went by."""
    for run in connection.execute(sa.select(RUNS.c.id, RUNS.c.study, RUNS.c.start)).all():
        earlier = sa.select(sa.func.max(TRIALS.c.number)).where(
            TRIALS.c.study == run.study, TRIALS.c.start < run.start
        )
        last = connection.scalar(earlier)
        first = 0 if last is None else last + 1
        connection.execute(sa.update(RUNS).where(RUNS.c.id == run.id).values(first=first))


def _seal(connection: sa.Connection) -> None:
    seal_all(connection, KEYS)


def _seal_runs(connection: sa.Connection) -> None:
    seal_numbers(connection, RUNS)


MIGRATIONS: tuple[tuple[Step, ...], ...] = (
    (
        """CREATE TABLE autoprec_studies (
            study TEXT NOT NULL PRIMARY KEY,
            identity TEXT NOT NULL,
            blocks TEXT NOT NULL,
            reference TEXT
        )""",
        """CREATE TABLE autoprec_trials (
            study TEXT NOT NULL REFERENCES autoprec_studies (study),
            number INTEGER NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'failed')),
            origin TEXT NOT NULL,
            label TEXT NOT NULL,
            assignment TEXT NOT NULL,
            model TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            latency_ms REAL,
            loss REAL,
            reused_from INTEGER,
            start TEXT NOT NULL,
            "end" TEXT NOT NULL,
            record TEXT NOT NULL,
            PRIMARY KEY (study, number)
        )""",
        "CREATE INDEX autoprec_trials_assignment ON autoprec_trials (study, assignment)",
        """CREATE TABLE autoprec_choices (
            study TEXT NOT NULL,
            number INTEGER NOT NULL,
            block TEXT NOT NULL,
            precision TEXT NOT NULL,
            PRIMARY KEY (study, number, block),
            FOREIGN KEY (study, number) REFERENCES autoprec_trials (study, number)
        )""",
        """CREATE TABLE autoprec_front (
            study TEXT NOT NULL,
            number INTEGER NOT NULL,
            PRIMARY KEY (study, number),
            FOREIGN KEY (study, number) REFERENCES autoprec_trials (study, number)
        )""",
        """CREATE TABLE autoprec_runs (
            id INTEGER PRIMARY KEY,
            study TEXT NOT NULL,
            start TEXT NOT NULL,
            "end" TEXT NOT NULL DEFAULT '',
            budget TEXT NOT NULL,
            trials INTEGER NOT NULL DEFAULT 0
        )""",
        """CREATE TABLE autoprec_facts (
            study TEXT NOT NULL,
            kind TEXT NOT NULL,
            key TEXT NOT NULL,
            value TEXT NOT NULL,
            PRIMARY KEY (study, kind, key)
        )""",
    ),
    ("ALTER TABLE autoprec_trials ADD COLUMN excess_mb REAL NOT NULL DEFAULT 0",),
    (
        "ALTER TABLE autoprec_runs ADD COLUMN first INTEGER NOT NULL DEFAULT 0",
        _first_trials,
        *(
            f"ALTER TABLE autoprec_{name} ADD COLUMN checksum TEXT NOT NULL DEFAULT ''"
            for name in ("studies", "trials", "runs", "facts")
        ),
        _seal,
    ),
    (
        """CREATE TABLE autoprec_workers (
            id TEXT NOT NULL PRIMARY KEY,
            study TEXT NOT NULL,
            host TEXT NOT NULL,
            process TEXT NOT NULL,
            devices TEXT NOT NULL,
            version TEXT NOT NULL,
            start TEXT NOT NULL,
            beat REAL NOT NULL,
            doing TEXT NOT NULL DEFAULT '[]'
        )""",
        """CREATE TABLE autoprec_leases (
            study TEXT NOT NULL,
            name TEXT NOT NULL,
            worker TEXT NOT NULL,
            token TEXT NOT NULL,
            PRIMARY KEY (study, name)
        )""",
        """CREATE TABLE autoprec_artifacts (
            study TEXT NOT NULL,
            name TEXT NOT NULL,
            part INTEGER NOT NULL,
            content BLOB NOT NULL,
            PRIMARY KEY (study, name, part)
        )""",
    ),
    (),  # the front pools all measurements of an assignment: it is derived anew, as after every step
    (
        """CREATE TABLE autoprec_counts (
            study TEXT NOT NULL PRIMARY KEY,
            trials INTEGER NOT NULL,
            runs INTEGER NOT NULL,
            checksum TEXT NOT NULL
        )""",
        _seal_runs,
    ),
    (
        """CREATE TABLE autoprec_totals (
            study TEXT NOT NULL,
            name TEXT NOT NULL,
            rows INTEGER NOT NULL,
            digest BIGINT NOT NULL,
            PRIMARY KEY (study, name)
        )""",
        "INSERT INTO autoprec_totals SELECT study, 'trials', trials, 0 FROM autoprec_counts",
        "INSERT INTO autoprec_totals SELECT study, 'runs', runs, 0 FROM autoprec_counts",
        "DROP TABLE autoprec_counts",
    ),
)
VERSION, COUNTED = len(MIGRATIONS), 6
"""The newest version, and the first one that counted rows: losses of an older file cannot be detected."""

SCHEMA = sa.table("autoprec_schema", sa.column("version", sa.Integer), sa.column("applied", sa.String))
"""One row for each migration that the file has been through, with its date."""
STUDIES = sa.table(
    "autoprec_studies",
    *(sa.column(name, sa.String) for name in ("study", "identity", "blocks", "reference", "checksum")),
)
"""One row for each study: what its measurements are bound to (digests of model, samples and definition, and
the engine's fingerprint), its blocks, and the reference, all JSON."""
TRIALS = sa.table(
    "autoprec_trials",
    *(sa.column(name, sa.String) for name in ("study", "state", "origin", "label", "assignment", "model")),
    *(sa.column(name, sa.String) for name in ("fingerprint", "start", "end", "record", "checksum")),
    *(sa.column(name, sa.Integer) for name in ("number", "reused_from")),
    *(sa.column(name, sa.Float) for name in ("latency_ms", "loss", "excess_mb")),
)
"""One row for each trial: its state (running, complete or failed), assignment and engine, the two objectives,
the MB by which it exceeds `search.max_memory_mb`, and the whole record as JSON."""
CHOICES = sa.table(
    "autoprec_choices",
    sa.column("number", sa.Integer),
    *(sa.column(name, sa.String) for name in ("study", "block", "precision")),
)
"""One row for each block of each trial: the precision that it was assigned, for queries."""
FRONT = sa.table("autoprec_front", sa.column("study", sa.String), sa.column("number", sa.Integer))
"""The trials on the Pareto front."""
RUNS = sa.table(
    "autoprec_runs",
    *(sa.column(name, sa.Integer) for name in ("id", "trials", "first")),
    *(sa.column(name, sa.String) for name in ("study", "start", "end", "budget", "checksum")),
)
"""One row for each run of `autoprec search`: its budget, its first trial, and how many trials it added."""
FACTS = sa.table(
    "autoprec_facts", *(sa.column(name, sa.String) for name in ("study", "kind", "key", "value", "checksum"))
)
"""What is found out once and kept, by kind and key, as JSON: legality verdicts, sensitivities, priors,
departures."""
WORKERS = sa.table(
    "autoprec_workers",
    *(sa.column(name, sa.String) for name in ("id", "study", "host", "process", "devices", "version")),
    *(sa.column(name, sa.String) for name in ("start", "doing")),
    sa.column("beat", sa.Float),
)
"""One row for each process that searches now: where, on which devices, its last heartbeat (seconds since
1970), and what each of its workers is doing."""
LEASES = sa.table(
    "autoprec_leases", *(sa.column(name, sa.String) for name in ("study", "name", "worker", "token"))
)
"""Who holds what only one process may do at a time: preparing a study, or a trial."""
TOTALS = sa.table(
    "autoprec_totals",
    *(sa.column(name, sa.String) for name in ("study", "name")),
    sa.column("rows", sa.Integer),
    sa.column("digest", sa.BigInteger),
)
"""For each study and table with checksums: how many rows were written, and the sum of their digests. It needs
no checksum of its own, since damaged totals match no rows."""
ARTIFACTS = sa.table(
    "autoprec_artifacts",
    *(sa.column(name, sa.String) for name in ("study", "name")),
    sa.column("part", sa.Integer),
    sa.column("content", sa.LargeBinary),
)
"""Files that machines without a common disk share through the database, in parts: calibration statistics."""
OF_A_STUDY = (CHOICES, FRONT, TRIALS, RUNS, TOTALS, FACTS, WORKERS, LEASES, ARTIFACTS, STUDIES)
"""All tables with rows of studies, referring ones before those that they refer to."""
KEYS: dict[sa.TableClause, tuple[str, ...]] = {
    STUDIES: ("study",),
    TRIALS: ("study", "number"),
    RUNS: ("id",),
    FACTS: ("study", "kind", "key"),
}
"""The tables whose rows carry a checksum, with the columns that name a row."""


def version_of(connection: sa.Connection) -> int:
    """The version of the schema; 0 without autoprec's tables. Raises `DamagedRowError` if it is damaged."""
    if not sa.inspect(connection).has_table(SCHEMA.name):
        return 0
    version = connection.scalar(sa.select(sa.func.max(SCHEMA.c.version)))
    if not isinstance(version, int | None):
        raise DamagedRowError("the schema's version")
    return version or 0


def migrate(connection: sa.Connection, in_words_of: Callable[[str], str] = str) -> None:
    """Migrate to `VERSION` in the caller's transaction: every step and its mark, or none of them.

    The steps are written for SQLite; `in_words_of` translates one for another database.
    """
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS autoprec_schema (version INTEGER PRIMARY KEY, applied TEXT NOT NULL)"
    )
    for version in range(version_of(connection), VERSION):
        for statement in MIGRATIONS[version]:
            if isinstance(statement, str):
                connection.exec_driver_sql(in_words_of(statement))
            else:
                statement(connection)
        mark = {"version": version + 1, "applied": datetime.now(UTC).isoformat(timespec="seconds")}
        connection.execute(sa.insert(SCHEMA).values(mark))
