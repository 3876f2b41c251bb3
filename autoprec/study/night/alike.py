"""Ends a run whose trials all fail for one reason: something that they share is at fault."""

from __future__ import annotations

from autoprec.errors import BLAMELESS, InternalError, StudyError
from autoprec.records import Failure, TrialRecord

LIMIT = 4
"""After this many trials in a row with the same failure, the candidates are assumed not to be its cause."""
_NOT_ITS_OWN = BLAMELESS | {"crash"}
"""Kinds of failure that may come from outside the candidate; engines refuse candidates in other kinds."""


class Alike:
    """Counts trials in a row with the same failure."""

    def __init__(self) -> None:
        self._failure: Failure | None = None
        self._times = 0

    def add(self, record: TrialRecord) -> None:
        """Count a finished trial. Raises `StudyError` at the `LIMIT`; `InternalError` if autoprec is at
        fault."""
        failure = record.failure if record.failure and record.failure.kind in _NOT_ITS_OWN else None
        self._times = self._times + 1 if failure is not None and failure == self._failure else 1
        self._failure = failure
        if failure is not None and self._times >= LIMIT:
            kind = InternalError if failure.kind == "internal" else StudyError
            raise kind(
                f"{LIMIT} trials in a row ended alike ({failure.kind}: {failure.message}): what they share "
                "is at fault; `autoprec doctor` and the study's worker.log may say more, then search again"
            )
