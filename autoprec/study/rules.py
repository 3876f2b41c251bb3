"""Rules that end a search before its budget is spent: callbacks for `Study.search`.

A search that a rule ends still measures its best points again, as at the end of a budget.
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
"""A front counts as better if its area grows by more than this fraction of the rectangle up to the
reference's latency and the useful loss."""


class Patience:
    """Ends a search after `trials` trials in a row that did not improve the front."""

    def __init__(self, trials: int) -> None:
        self._patience, self._without, self._best = trials, 0, -1.0

    def __call__(self, study: Study, trial: TrialRecord) -> None:
        """Count a trial, unless it is a second measurement or a refined one."""
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
    """Ends a search once a point within the accepted loss is `speedup` times as fast as the reference."""

    def __init__(self, speedup: float) -> None:
        self._speedup = speedup

    def __call__(self, study: Study, _: TrialRecord) -> None:
        """Check the front after a trial."""
        reference = study.reference()
        if reference is None:
            return
        best = picks(study.front(), reference, study.spec.search.accepted_loss).get("fastest")
        measured = best.measurement if best is not None else None
        if measured is not None and 1 / measured.latency.ratio >= self._speedup:
            study.wind_up()
