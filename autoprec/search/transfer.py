"""What another study of the same model says of this one's losses.

Only losses travel: how a block's rounding moves the masks is the model's, its speed is the engine's. They are
rough, since another engine, size of input or version rounds elsewhere.
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
"""Most trials taken from the other study: each costs every fit as much as one of this study's."""


def transferred(
    records: Sequence[TrialRecord], blocks: Sequence[Block], accepted_loss: float
) -> tuple[RoughScore, ...]:
    """Losses of another study's trials that are assignments of these blocks: names and precisions alike.

    The front and what is near the accepted loss first, at most `MOST`; empty where the two have nothing in
    common.
    """
    space = Space(blocks)
    fitting = [record for record in records if space.encode(record.assignment.as_dict()) is not None]
    trials = Trials(space)
    trials.learn(fitting)
    history = trials.history()
    kept = set(map(tuple, history.measured[subset(history, accepted_loss, MOST)].tolist()))
    return tuple(
        RoughScore(assignment=assignment, loss=loss, doubt=DOUBT)
        for assignment, (_, loss, _) in pooled(fitting).items()
        if space.encode(assignment.as_dict()) in kept and np.isfinite(loss)
    )
