"""The evidence of all studies in one database: records are read and written in one transaction per call."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ParamSpec, TypeVar

import msgspec
import sqlalchemy as sa

from autoprec.errors import StudyError
from autoprec.records import (
    Basis,
    Block,
    Identity,
    Reference,
    TrialRecord,
    counting,
    to_json,
)
from autoprec.store._front import add_to_front, front_numbers, kept_numbers
from autoprec.store._identity import differences
from autoprec.store._open import patient
from autoprec.store._runs import RunTable
from autoprec.store._schema import CHOICES, FACTS, STUDIES, TRIALS
from autoprec.store._seals import CHECKSUM, DamagedRowError, check, read, sealed
from autoprec.store._totals import add, ensure_complete, known_studies
from autoprec.store.dialects.inserts import replacing

T = TypeVar("T")
_NUMBERS = 1 << 31
"""Larger numbers do not fit PostgreSQL's INTEGER."""
P = ParamSpec("P")


class Store(RunTable):
    """Trials, their Pareto front, and what a study is bound to; use in a `with` block.

    A finished trial is never changed. Every method may raise `StudyError` if the database is locked,
    read-only, full, damaged or out of reach; nothing of the call is then written.
    """

    @patient
    def bind(self, study: str, identity: Identity, blocks: Sequence[Block]) -> None:
        """Bind a new study to its inputs, or check that they are still the same.

        Allowed precisions, which are no part of the identity, are updated. Raises `StudyError` that names
        every difference.
        """
        row = {"study": study, "identity": to_json(identity), "blocks": to_json(blocks), "reference": None}
        query = sa.select(STUDIES).where(STUDIES.c.study == study)
        with self._database.writing(study) as connection:
            stored = connection.execute(query).mappings().one_or_none()
            if stored is not None:
                old = read(STUDIES, stored, "identity", Identity).typed()
                was = read(STUDIES, stored, "blocks", tuple[Block, ...])
                row["reference"] = stored["reference"]
                self._refuse(study, differences(old, identity, was, blocks))
            # Its row is gone, while the totals say that it was written: binding anew would hide the loss.
            elif study in known_studies(connection, STUDIES):
                raise DamagedRowError(f"study {study!r}")
            new = sealed(row)
            connection.execute(replacing(connection, STUDIES, new, "study"))
            add(connection, STUDIES, new, stored and stored[CHECKSUM])

    def check_inputs(self, study: str, inputs: Mapping[str, str]) -> None:
        """Refuse early what `bind` would refuse, given some fields of the identity. Raises `StudyError`."""
        if study in self.studies():
            old = self.identity(study)
            self._refuse(study, differences(old, msgspec.structs.replace(old, **inputs)))

    def _refuse(self, study: str, changes: Sequence[str]) -> None:
        if changes:
            raise StudyError(
                f"{self.name}: study {study!r} was measured with something else: {'; '.join(changes)}; "
                "restore it, or copy the definition under a new name and search that with `--study NAME`"
            )

    def check(self, study: str, identity: Identity, blocks: Sequence[Block]) -> None:
        """Refuse to rebuild trials of `study` from other inputs; the engine may be another one.

        Raises `StudyError` that names every difference.
        """
        old = self.identity(study)
        here = msgspec.structs.replace(identity, fingerprint=old.fingerprint)
        if changes := differences(old, here, self.blocks(study), blocks):
            raise StudyError(
                f"{self.name}: study {study!r} was measured with something else: {'; '.join(changes)}; "
                "restore it, or search a copy of the definition: its trials cannot be rebuilt from another"
            )

    @patient
    def identity(self, study: str) -> Identity:
        """What `study` is bound to. Raises `StudyError` for an unknown study."""
        return read(STUDIES, self._study(study), "identity", Identity).typed()

    def basis(self, study: str) -> Basis | None:
        """How candidates are written for the engine, as found in the first run; None before that."""
        return self.identity(study).basis if study in self.studies() else None

    @patient
    def blocks(self, study: str) -> tuple[Block, ...]:
        """The blocks of `study` in graph order. Raises `StudyError` for an unknown study."""
        return read(STUDIES, self._study(study), "blocks", tuple[Block, ...])

    @patient
    def studies(self) -> tuple[str, ...]:
        """Names of all bound studies."""
        with self._database.reading() as connection:
            names = tuple(connection.scalars(sa.select(STUDIES.c.study).order_by(STUDIES.c.study)))
            if known_studies(connection, STUDIES) != set(names):
                raise DamagedRowError("the list of studies")
            return names

    @patient
    def put_reference(self, study: str, reference: Reference) -> None:
        """Store the reference that all trials of a bound study are compared with."""
        self._change(STUDIES, STUDIES.c.study == study, reference=to_json(reference))

    @patient
    def reference(self, study: str) -> Reference | None:
        """What `put_reference` stored; None before. Raises `StudyError` for an unknown study."""
        row = self._study(study)
        return None if row["reference"] is None else read(STUDIES, row, "reference", Reference)

    @patient
    def begin(self, record: TrialRecord, *, model_digest: str = "") -> None:
        """Write a running trial, so that the next run knows what a killed one was working on."""
        with self._database.writing(record.study) as connection:
            self._write(connection, record, model_digest)

    @patient
    def finish(self, record: TrialRecord, *, model_digest: str = "") -> None:
        """Write a complete or failed trial together with the resulting front.

        `model_digest` is that of the candidate, if there is one. The trial need not have begun.
        Raises `StudyError` if the trial has finished already: evidence is never overwritten.
        """
        with self._database.writing(record.study) as connection:
            self._write(connection, record, model_digest)
            add_to_front(connection, record)

    @patient
    def trials(self, study: str) -> tuple[TrialRecord, ...]:
        """All trials by number."""
        with self._database.reading() as connection:
            checksums: list[object] = []
            records = self._records(TRIALS.c.study == study, seen=checksums)
            ensure_complete(connection, study, TRIALS, checksums)
        return records

    @patient
    def news(self, study: str, last: int, numbers: Sequence[int]) -> tuple[TrialRecord, ...]:
        """Trials with numbers above `last`, and those of `numbers` that have ended."""
        ended = sa.and_(TRIALS.c.number.in_(numbers), TRIALS.c.state != "running")
        which = sa.or_(TRIALS.c.number > last, ended)
        return self._records(TRIALS.c.study == study, which)

    @patient
    def running(self, study: str) -> tuple[TrialRecord, ...]:
        """Trials that began and have not finished; after a kill, those that were in flight."""
        return self._records(TRIALS.c.study == study, TRIALS.c.state == "running")

    @patient
    def trial(self, study: str, number: int) -> TrialRecord:
        """The trial of that number. Raises `StudyError` if there is none."""
        which = (TRIALS.c.study == study, TRIALS.c.number == number)
        if abs(number) < _NUMBERS and (records := self._records(*which)):
            return records[0]
        with self._database.reading() as connection:
            last = connection.scalar(sa.select(sa.func.max(TRIALS.c.number)).where(TRIALS.c.study == study))
        range_told = "it has none yet" if last is None else f"they go up to {last}"
        raise StudyError(f"{self.name}: study {study!r} has no trial {number}; {range_told}")

    @patient
    def front(self, study: str) -> tuple[TrialRecord, ...]:
        """The Pareto front, fastest first, with measurements pooled as by `records.counting`."""
        with self._database.reading() as connection:
            # Derived anew and compared, since the table of the front carries no checksums.
            numbers = front_numbers(connection, study)
            if numbers != kept_numbers(connection, study):
                raise DamagedRowError(f"the front of study {study!r}")
        same = sa.select(TRIALS.c.assignment).where(TRIALS.c.study == study, TRIALS.c.number.in_(numbers))
        records = counting(self._records(TRIALS.c.study == study, TRIALS.c.assignment.in_(same)))
        return tuple(sorted((r for r in records if r.number in numbers), key=lambda r: r.latency_ms))

    @patient
    def put_fact(self, study: str, kind: str, key: str, value: object) -> None:
        """Store anything that msgspec can encode, such as a verdict, in place of an earlier value.

        Args:
            study: name of the study.
            kind: kind of fact, such as `legality`.
            key: names the fact within its kind.
            value: the fact itself.
        """
        names = {"study": study, "kind": kind, "key": key}
        row = sealed({**names, "value": to_json(value)})
        with self._database.writing(study) as connection:
            before = connection.scalar(sa.select(FACTS.c.checksum).filter_by(**names))
            connection.execute(replacing(connection, FACTS, row, *names))
            add(connection, FACTS, row, before)

    def fact(self, study: str, kind: str, key: str, form: type[T]) -> T | None:
        """What `put_fact` stored, as a `form`; None if there is nothing.

        Args:
            study: name of the study.
            kind: kind of fact.
            key: names the fact within its kind.
            form: type of the value.
        """
        return self.facts(study, kind, form).get(key)

    @patient
    def facts(self, study: str, kind: str, form: type[T]) -> dict[str, T]:
        """All facts of a kind, by key."""
        query = sa.select(FACTS).where(FACTS.c.study == study)
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings().all()
            # Rows of all kinds: one that is damaged may have lost the name of its kind.
            for row in rows:
                check(FACTS, row)
            ensure_complete(connection, study, FACTS, (row[CHECKSUM] for row in rows))
        return {row["key"]: read(FACTS, row, "value", form) for row in rows if row["kind"] == kind}

    def _study(self, study: str) -> sa.RowMapping:
        query = sa.select(STUDIES).where(STUDIES.c.study == study)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
            if row is not None:
                check(STUDIES, row)
                ensure_complete(connection, study, STUDIES, [row[CHECKSUM]])
        if row is None:
            names = ", ".join(self.studies())
            if not names:
                raise StudyError(
                    f"{self.name}: study {study!r} has begun, and nothing is measured yet: let its search go "
                    "on, or run `autoprec search` again"
                )
            raise StudyError(f"{self.name}: has no study {study!r}; it holds: {names}")
        return row

    def _records(
        self, *where: sa.ColumnElement[bool], seen: list[object] | None = None
    ) -> tuple[TrialRecord, ...]:
        """Trials by number; `seen` receives the checksums of their rows."""
        query = sa.select(TRIALS).where(*where).order_by(TRIALS.c.number)
        with self._database.reading() as connection:
            records = []
            for row in connection.execute(query).mappings():
                records.append(read(TRIALS, row, "record", TrialRecord))
                if seen is not None:
                    seen.append(row[CHECKSUM])
            return tuple(records)

    def _write(self, connection: sa.Connection, record: TrialRecord, model_digest: str) -> None:
        row = {
            **{field: getattr(record, field) for field in ("study", "number", "state", "origin", "label")},
            **{field: getattr(record, field) for field in ("fingerprint", "reused_from", "start", "end")},
            "assignment": record.assignment.digest,
            "model": model_digest,
            "latency_ms": _finite(record.latency_ms),
            "loss": _finite(record.loss),
            "excess_mb": record.excess_mb,
            "record": to_json(record),
        }
        mine = (TRIALS.c.study == record.study, TRIALS.c.number == record.number)
        before = connection.scalar(sa.select(TRIALS.c.checksum).where(*mine))
        # Checked by the statement itself: if two workers finish the same trial, one of them must notice.
        is_open = TRIALS.c.state == "running"
        new = sealed(row)
        upsert = replacing(connection, TRIALS, new, "study", "number", where=is_open)
        # Without the option SQLAlchemy does not count the rows of an INSERT on PostgreSQL.
        if connection.execute(upsert, execution_options={"preserve_rowcount": True}).rowcount != 1:
            if connection.scalar(sa.select(TRIALS.c.record).where(*mine)) == row["record"]:
                return  # an earlier attempt was committed, and only its answer was lost
            raise StudyError(
                f"{self.name}: trial {record.number} of {record.study!r} is finished already; "
                "start the search again, it resumes with the next one"
            )
        add(connection, TRIALS, new, before)
        if before is not None:
            return  # its choices were written when it began
        key = {"study": record.study, "number": record.number}
        rows = [{**key, "block": block, "precision": chosen} for block, chosen in record.assignment.choices]
        if rows:
            connection.execute(sa.insert(CHOICES), rows)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
