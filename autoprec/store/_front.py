"""The table of the Pareto front: derived from the trials, and checked against them."""

from __future__ import annotations

import sqlalchemy as sa

from autoprec.records import Point, TrialRecord, pareto_numbers
from autoprec.store._schema import FRONT, STUDIES, TRIALS
from autoprec.store._seals import DamagedRowError

_WRONG = '"failure":{"kind":"wrong"'
"""Marks the record of such a trial; it cannot occur in a message, where quotes are escaped."""


def front_numbers(connection: sa.Connection, study: str) -> set[int]:
    """Numbers of the trials on the front, computed from the stored points."""
    points = _points(connection, study)
    # An engine found wrong on an assignment was wrong in its earlier trials, too; see `wrong_assignments`.
    wrong = _latest(connection, study, TRIALS.c.state == "failed", TRIALS.c.record.contains(_WRONG))
    if wrong:
        measured = (TRIALS.c.state == "complete", TRIALS.c.reused_from.is_(None))
        later = _latest(connection, study, *measured, TRIALS.c.assignment.in_(wrong))
        wrong = {digest: number for digest, number in wrong.items() if number > later.get(digest, -1)}
    return set(pareto_numbers(point for point in points if point.assignment not in wrong))


def kept_numbers(connection: sa.Connection, study: str) -> set[int]:
    """Numbers of the trials on the front, as the table has them."""
    return set(connection.scalars(sa.select(FRONT.c.number).where(FRONT.c.study == study)))


def update_front(connection: sa.Connection, study: str) -> None:
    """Compute a study's front from all its points, and write the changes."""
    _put(connection, study, front_numbers(connection, study), kept_numbers(connection, study))


def add_to_front(connection: sa.Connection, record: TrialRecord) -> None:
    """Update the front with a trial that has just been written."""
    # Judging all points for each trial would make trials slower the more there are. It is needed only where
    # the trial changes earlier ones: their pooled figures, or the verdict on their assignment.
    study, number, digest = record.study, record.number, record.assignment.digest
    others = sa.select(TRIALS.c.number).where(
        TRIALS.c.study == study, TRIALS.c.assignment == digest, TRIALS.c.number != number
    )
    if connection.scalar(others.limit(1)) is not None:
        update_front(connection, study)
    elif record.state == "complete":
        was = kept_numbers(connection, study)
        # All measurements of an assignment are pooled, so every trial of the front's assignments is needed.
        same = sa.select(TRIALS.c.assignment).where(TRIALS.c.study == study, TRIALS.c.number.in_(was))
        points = _points(connection, study, sa.or_(TRIALS.c.assignment.in_(same), TRIALS.c.number == number))
        _put(connection, study, set(pareto_numbers(points)), was)


def _latest(connection: sa.Connection, study: str, *which: sa.ColumnElement[bool]) -> dict[str, int]:
    """The number of the latest of some trials, by the digest of their assignment."""
    columns = (TRIALS.c.assignment, sa.func.max(TRIALS.c.number))
    query = sa.select(*columns).where(TRIALS.c.study == study, *which).group_by(TRIALS.c.assignment)
    return {row[0]: row[1] for row in connection.execute(query)}


def _points(connection: sa.Connection, study: str, *which: sa.ColumnElement[bool]) -> list[Point]:
    """The points of trials that may be on the front."""
    columns = (TRIALS.c.number, TRIALS.c.assignment, TRIALS.c.latency_ms, TRIALS.c.loss)
    counting = (TRIALS.c.study == study, TRIALS.c.state == "complete", TRIALS.c.reused_from.is_(None))
    fit = (TRIALS.c.latency_ms.is_not(None), TRIALS.c.loss.is_not(None), TRIALS.c.excess_mb <= 0)
    points = [Point(*row) for row in connection.execute(sa.select(*columns).where(*counting, *fit, *which))]
    for point in points:  # SQLite keeps text in columns of numbers
        if not isinstance(point.latency_ms, float) or not isinstance(point.loss, float):
            raise DamagedRowError(f"trial {point.number} of {study!r}")
    return points


def _put(connection: sa.Connection, study: str, now: set[int], was: set[int]) -> None:
    """Write the difference between the new numbers and the old."""
    if gone := was - now:
        connection.execute(sa.delete(FRONT).where(FRONT.c.study == study, FRONT.c.number.in_(gone)))
    if new := now - was:
        connection.execute(sa.insert(FRONT), [{"study": study, "number": number} for number in new])


def update_fronts(connection: sa.Connection) -> None:
    """Compute the fronts of all studies: an older autoprec may have judged by another rule."""
    for study in connection.scalars(sa.select(STUDIES.c.study)).all():
        update_front(connection, study)
