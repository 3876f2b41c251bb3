"""What a study's trials say so far, as arrays.

Owns reading Optuna's trials; leaves learning from them to the surrogates and to `failures.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from autoprec.errors import BLAMELESS
from autoprec.search.fronts import front_mask
from autoprec.search.space import Codes, Floats, Space

FIXED = "fixed_params"
"""Where Optuna keeps the parameters of a trial that `enqueue_trial` made."""
REFINED = "refined"
"""User attribute of a trial with refined weights: it says little of its assignment without them."""
FAILURE_KIND = "failure_kind"
"""User attribute of a failed trial; some kinds say that the assignment is not to blame."""


@dataclass(frozen=True, slots=True)
class History:
    """Trials of a study in its search space; trials outside it are left out.

    Attributes:
        measured: (n, blocks) codes of complete trials.
        values: (n, 2) their latency_ms and loss.
        excess: (n,) by how much they broke the limit that they broke most (Optuna's constraints); 0 or less
            is within it.
        pending: codes of running and queued trials.
        failed: codes of failed trials that are to blame and have never been measured.
        known: every row that has been or is being tried.
    """

    measured: Codes
    values: Floats
    excess: Floats
    pending: Codes
    failed: Codes
    known: frozenset[tuple[int, ...]]

    @property
    def front(self) -> NDArray[np.bool_]:
        """(n,) which of the measured are on the front: those within all limits count."""
        mask = self.feasible
        mask[mask] = front_mask(self.values[mask])
        return mask

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """(n,) which of the measured are within all limits."""
        return np.asarray(self.excess <= 0)

    @classmethod
    def of(cls, space: Space, trials: Sequence[FrozenTrial], current: int) -> History:
        """Everything but the trial numbered `current`, which is the one being proposed."""
        measured: list[tuple[int, ...]] = []
        values: list[Sequence[float]] = []
        excess: list[float] = []
        pending: list[tuple[int, ...]] = []
        failed: list[tuple[int, ...]] = []
        for trial in trials:
            row = space.encode({**trial.system_attrs.get(FIXED, {}), **trial.params})
            if row is None or trial.number == current or trial.user_attrs.get(REFINED):
                continue
            if trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all():
                measured.append(row)
                values.append(trial.values)
                excess.append(max(trial.constraints.values(), default=0.0))
            elif trial.state in (TrialState.RUNNING, TrialState.WAITING):
                pending.append(row)
            elif trial.user_attrs.get(FAILURE_KIND) not in BLAMELESS:
                failed.append(row)
        known = frozenset((*measured, *pending, *failed))
        failed = sorted(set(failed) - set(measured))
        pending = sorted(set(pending) - set(measured))
        blocks = len(space.names)
        return cls(
            measured=np.array(measured, dtype=np.intp).reshape(-1, blocks),
            values=np.array(values, dtype=float).reshape(-1, 2),
            excess=np.array(excess, dtype=float),
            pending=np.array(pending, dtype=np.intp).reshape(-1, blocks),
            failed=np.array(failed, dtype=np.intp).reshape(-1, blocks),
            known=known,
        )
