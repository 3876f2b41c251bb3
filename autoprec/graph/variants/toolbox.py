"""The tool-box: what calibration knows, turned into the ranges and the edits of each variant.

A variant's edits of a block depend on that block alone, so they are made once and kept, as long as there is
room: they hold weights, and a night tries many variants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from types import MappingProxyType

import onnx_ir as ir

from autoprec.graph.grids.grid import SIGNED, grid_of
from autoprec.graph.statistics.moments import Moments
from autoprec.graph.statistics.ranges import Histogram, Histograms, range_of
from autoprec.graph.variants.edits import Edits, Work
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
        grids: value name to a name of `GRIDS`, for activations that are not on the signed one.
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
        grids: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        nodes = {str(node.name): node for node in model.graph}
        self._nodes = {block.name: [nodes[name] for name in block.nodes] for block in blocks}
        self._histograms = histograms
        self._moments = moments or {}
        self._method, self._percentile = method, percentile
        self.grids = grids
        self._ranges: dict[tuple[str, float, bool], Mapping[str, float]] = {}
        self._edits: dict[tuple[str, str], Edits] = {}
        self._held_bytes = 0

    @property
    def largest(self) -> Mapping[str, float]:
        """Largest magnitude of every float value, by name."""
        return self._histograms.largest

    def ranges(self, precision: Precision) -> Mapping[str, float]:
        """Largest magnitude to represent of every activation, by value name."""
        method, percentile = self._how(precision)
        # INT8 apart: grids of other types do not depend on where an engine wants UINT8.
        key = (method, percentile, precision.quantized_type == ir.DataType.INT8)
        if key not in self._ranges:
            ranges = self._histograms.ranges(method, percentile)
            for name in self._finer(precision):
                histogram, levels = self._histograms.by_value[name], int(self._steps(name, precision))
                ranges[name] = range_of(histogram, method=method, percentile=percentile, levels=levels)
            self._ranges[key] = ranges
        return self._ranges[key]

    def edits(self, block: str, precision: Precision) -> Edits | None:
        """What a variant changes in a block; None for a precision without cures."""
        if not precision.passes:
            return None
        key = (block, precision.name)
        # Popped and put back, so that the dict is in the order of use, and the first is used longest ago.
        edits = self._edits.pop(key, None)
        if edits is None:
            edits = self._cured(block, precision)
            self._held_bytes += _size(edits)
        self._edits[key] = edits
        while self._held_bytes > KEPT_BYTES and len(self._edits) > 1:
            self._held_bytes -= _size(self._edits.pop(next(iter(self._edits))))
        return edits

    def _cured(self, block: str, precision: Precision) -> Edits:
        method, percentile = self._how(precision)
        choose: Callable[[Histogram], float] = partial(range_of, method=method, percentile=percentile)
        nodes, edits = self._nodes[block], Edits({})

        steps = partial(self._widths, nodes, precision)
        work = Work(block, nodes, precision, self._histograms, self._moments, choose, steps)
        # In the order of the precision's name: rounding has to see weights that smoothing has scaled.
        for name in precision.passes:
            edits = import_module(f"autoprec.graph.variants.{name}").cure(edits, work)
        return edits

    def _widths(self, nodes: Sequence[ir.Node], precision: Precision, edits: Edits) -> dict[str, float]:
        """Width of a step of each node's first input, by node name; none where it has no range."""
        scaled = {name: scaling.name for scaling in edits.scalings for name in scaling.nodes}
        ranges, widths = {**self.ranges(precision), **edits.ranges}, {}
        for node in nodes:
            if node.inputs and (value := node.inputs[0]) is not None:
                limit = ranges.get(scaled.get(str(node.name), str(value.name)))
                if limit is not None:
                    widths[str(node.name)] = limit / self._steps(str(value.name), precision)
        return widths

    def _steps(self, value: str, precision: Precision) -> float:
        """Steps of the grid that an activation is written on."""
        return grid_of(precision, self.grids.get(value, SIGNED)).steps

    def _finer(self, precision: Precision) -> Iterator[str]:
        """Names of activations that have more steps than their precision's own grid."""
        for name in self.grids:
            if name in self._histograms.by_value and self._steps(name, precision) > precision.largest:
                yield name

    def _how(self, precision: Precision) -> tuple[str, float]:
        """Range method and percentile."""
        if precision.range_method:
            return precision.range_method, precision.percentile
        return self._method, self._percentile


def _size(edits: Edits) -> int:
    """Bytes of the constants."""
    return sum(tensor.nbytes for tensor in edits.constants.values())
