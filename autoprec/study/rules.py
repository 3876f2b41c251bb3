"""Rules that end a search before its budget: callbacks for `Study.search`.

A search that a rule ends measures its best points again, as at the end of a budget.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autoprec.records import TrialRecord
from autoprec.search.fronts import hypervolume
from autoprec.study.findings.reporting import USEFUL_LOSS
from autoprec.study.shipping.picks import picks

if TYPE_CHECKING:
    from autoprec.study.study import Study

GAIN = 0.001
"""A front whose area grows by less of the rectangle up to the reference's latency is as good as before."""


class Patience:
    """Ends a search after that many trials in a row without a better front."""

    def __init__(self, trials: int) -> None:
        self._patience, self._without, self._best = trials, 0, -1.0

    def __call__(self, study: Study, trial: TrialRecord) -> None:
        """Count the trial; a second measurement is none."""
        reference = study.reference()
        if reference is None or trial.origin in ("finalist", "refined"):
            return
        values = np.array([(t.latency_ms, t.loss) for t in study.front()]).reshape(-1, 2)
        corner = np.array((reference.latency_ms, USEFUL_LOSS))
        area = hypervolume(values, corner) / float(corner.prod())
        self._without = 0 if area > self._best + GAIN else self._without + 1
        self._best = max(self._best, area)
        if self._without >= self._patience:
            study.wind_up()


class TargetSpeedup:
    """Ends a search when a point within the accepted loss is that many times as fast as the reference."""

    def __init__(self, speedup: float) -> None:
        self._speedup = speedup

    def __call__(self, study: Study, _: TrialRecord) -> None:
        """Look at the front after a trial."""
        reference = study.reference()
        if reference is None:
            return
        best = picks(study.front(), reference, study.spec.search.accepted_loss).get("fastest")
        measured = best.measurement if best is not None else None
        if measured is not None and 1 / measured.latency.ratio >= self._speedup:
            study.wind_up()
