"""Block by block, how far a candidate's values are from the reference's."""

from __future__ import annotations

from autoprec.records._base import Record


class BlockDifference(Record, frozen=True, kw_only=True):
    """The worst value that one block gives to others, in the candidate against the reference.

    Attributes:
        node: the node that gives it, where nodes are compared; else empty.
        block, precision, usual: the block, and what it runs in in the candidate and in the reference.
        value: name of the value; empty where both do not have one of the same name.
        error: root mean square of the difference over the standard deviation of the reference's value.
        before: the largest such error among the values that are read; 0 for the model's inputs.
        max_abs, mean_abs: of the difference.
        max_rel, mean_rel: of the difference over the reference's magnitude, where that is not 0.
        cosine: similarity of both as vectors; 1 is the same direction.
    """

    block: str
    precision: str
    usual: str
    node: str = ""
    value: str = ""
    error: float = 0.0
    # Beside `error`: a block that is fed what is wrong already need not be what breaks.
    before: float = 0.0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    max_rel: float = 0.0
    mean_rel: float = 0.0
    cosine: float = 1.0


class Layerwise(Record, frozen=True, kw_only=True):
    """A trial's values against the reference's, block by block.

    Attributes:
        study, number: the trial.
        ran: what computed both, an engine or exact arithmetic.
        samples: how many samples.
        tolerance: a block breaks where its error is beyond it.
        blocks: in graph order, a row for each, or for each node.
        first: name of the first block that breaks; empty if none does.
    """

    study: str
    number: int
    ran: str
    samples: int
    tolerance: float
    blocks: tuple[BlockDifference, ...]
    first: str = ""
