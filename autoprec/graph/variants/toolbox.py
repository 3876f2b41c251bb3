"""The tool-box: what calibration knows, turned into the ranges and the edits of each variant.

A variant's edits of a block depend on that block alone, so they are made once and kept, as long as there is
room: they hold weights, and a night tries many variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import onnx_ir as ir

from autoprec.graph.statistics.moments import Moments
from autoprec.graph.statistics.ranges import Histogram, Histograms, range_of
from autoprec.graph.variants.edits import Edits
from autoprec.graph.variants.rounding import refine
from autoprec.graph.variants.smoothing import smooth
from autoprec.precisions import Precision
from autoprec.records import Block

KEPT_BYTES = 1 << 29
"""Weights of edits that are kept; beyond it, those used longest ago are made again when they are wanted."""


class Toolbox:
    """Ranges and edits of one model's variants.

    Args:
        model: loaded; untouched.
        blocks: a partition of its nodes.
        histograms: from calibration, channels included.
        method: the study's range method, for precisions that name none.
        percentile: for that method, in percent.
        moments: by node name, for variants that learn from data.
    """

    def __init__(
        self,
        model: ir.Model,
        blocks: Sequence[Block],
        histograms: Histograms,
        *,
        method: str,
        percentile: float,
        moments: Mapping[str, Moments] | None = None,
    ) -> None:
        nodes = {str(node.name): node for node in model.graph}
        self._nodes = {block.name: [nodes[name] for name in block.nodes] for block in blocks}
        self._histograms = histograms
        self._moments = moments or {}
        self._method, self._percentile = method, percentile
        self._ranges: dict[tuple[str, float], Mapping[str, float]] = {}
        self._edits: dict[tuple[str, str], Edits] = {}

    @property
    def largest(self) -> Mapping[str, float]:
        """Largest magnitude of every float value, by name."""
        return self._histograms.largest

    def ranges(self, precision: Precision) -> Mapping[str, float]:
        """Largest magnitude to represent of every activation, by value name."""
        key = self._how(precision)
        if key not in self._ranges:
            self._ranges[key] = self._histograms.ranges(*key)
        return self._ranges[key]

    def edits(self, block: str, precision: Precision) -> Edits | None:
        """What a variant changes in a block; None for a precision without cures."""
        if not (precision.smooths or learns(precision)):
            return None
        key = (block, precision.name)
        found = self._edits.pop(key, None) or self._made(block, precision)
        self._edits[key] = found
        held = sum(map(_size, self._edits.values()))
        while held > KEPT_BYTES and len(self._edits) > 1:
            held -= _size(self._edits.pop(next(iter(self._edits))))
        return found

    def _made(self, block: str, precision: Precision) -> Edits:
        method, percentile = self._how(precision)
        choose: Callable[[Histogram], float] = partial(range_of, method=method, percentile=percentile)
        nodes, edits = self._nodes[block], Edits({})
        if precision.smooths:
            channels = self._histograms.channels
            edits = smooth(block, nodes, channels, choose, precision.largest, precision.name)
        if learns(precision):
            limits = self._limits(nodes, edits, self.ranges(precision))
            steps = {name: limit / precision.largest for name, limit in limits.items()}
            edits = refine(edits, nodes, self._moments, steps, precision)
        return edits

    def _limits(
        self, nodes: Sequence[ir.Node], edits: Edits, ranges: Mapping[str, float]
    ) -> dict[str, float]:
        """Largest magnitude to represent of each node's first input, by node name."""
        scaled = {name: scaling.name for scaling in edits.scalings for name in scaling.nodes}
        everything = {**ranges, **edits.ranges}
        read = {str(n.name): str(n.inputs[0].name) for n in nodes if n.inputs and n.inputs[0] is not None}
        names = {name: scaled.get(name, value) for name, value in read.items()}
        return {name: everything[value] for name, value in names.items() if value in everything}

    def _how(self, precision: Precision) -> tuple[str, float]:
        """Range method and percentile."""
        if precision.range_method:
            return precision.range_method, precision.percentile
        return self._method, self._percentile


def _size(edits: Edits) -> int:
    """Bytes of the constants."""
    return sum(tensor.nbytes for tensor in edits.constants.values())


def learns(precision: Precision) -> bool:
    """Whether a precision needs second moments of the data."""
    return precision.learns_rounding or precision.corrects_bias
