"""What another study of the same model says about this one's losses.

Only losses carry over: how a block's rounding moves the masks is a property of the model, its speed one of
the engine. They are rough, since another engine, version or input size rounds in other places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoprec.records import Block, TrialRecord
from autoprec.search._base import RoughScore
from autoprec.search.finalists import pooled
from autoprec.search.history import Trials
from autoprec.search.space import Space
from autoprec.search.subset import subset

DOUBT = 0.3
"""Standard deviation of a loss on another engine, in log loss."""
MOST = 96
"""Most trials taken from the other study: in a fit each costs as much as a trial of this study."""


def transferred(
    records: Sequence[TrialRecord], blocks: Sequence[Block], accepted_loss: float
) -> tuple[RoughScore, ...]:
    """Losses of those trials of another study whose blocks and precisions exist here by the same names.

    At most `MOST`, preferring the front and what is near the accepted loss; empty where the studies have no
    assignment in common.
    """
    space = Space(blocks)
    fitting = [record for record in records if space.encode(record.assignment.as_dict()) is not None]
    trials = Trials(space)
    trials.learn(fitting)
    history = trials.history()
    kept = set(map(tuple, history.measured[subset(history, accepted_loss, MOST)].tolist()))
    return tuple(
        RoughScore(assignment=assignment, loss=mean.loss, doubt=DOUBT)
        for assignment, mean in pooled(fitting).items()
        if space.encode(assignment.as_dict()) in kept and np.isfinite(mean.loss)
    )
