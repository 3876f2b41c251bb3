"""Ends a run whose trials all fail for one reason: something that they share is at fault."""

from __future__ import annotations

import re

from autoprec.errors import BLAMELESS, InternalError, StudyError
from autoprec.records import TrialRecord

LIMIT = 4
"""After this many trials in a row with the same failure, the candidates are assumed not to be its cause."""
_NOT_ITS_OWN = BLAMELESS | {"crash"}
"""Kinds of failure that may come from outside the candidate; engines refuse candidates in other kinds."""
_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9a-f]*\d[0-9a-f]*", re.IGNORECASE)
"""An address, a process or a time of day: other words each time for one and the same fault."""


class Alike:
    """Counts trials in a row with the same failure."""

    def __init__(self) -> None:
        self._reason: tuple[str, str] | None = None
        self._times = 0

    def add(self, record: TrialRecord) -> None:
        """Count a finished trial. Raises `StudyError` at the `LIMIT`; `InternalError` if autoprec is at
        fault."""
        failure = record.failure if record.failure and record.failure.kind in _NOT_ITS_OWN else None
        reason = None if failure is None else (failure.kind, _NUMBER.sub("N", failure.message))
        self._times = self._times + 1 if reason == self._reason else 1
        self._reason = reason
        if failure is not None and self._times >= LIMIT:
            kind = InternalError if failure.kind == "internal" else StudyError
            raise kind(
                f"{LIMIT} trials in a row ended alike ({failure.kind}: {failure.message}): what they share "
                "is at fault; `autoprec doctor` and the study's worker.log may say more, then search again"
            )
