"""From an assignment to a candidate: a strongly typed ONNX model that every engine takes.

Precision lives in the ONNX alone: Casts where types meet, Q/DQ where integers compute, weights converted
here. What is promised is checked each time: valid for the ONNX checker, sorted, types that match at every
border, inputs and outputs as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import onnx_ir as ir
from onnx_ir.passes.common import CheckerPass

from autoprec.errors import TrialError
from autoprec.graph.grids.given import given, given_precisions
from autoprec.graph.model.files import write_model
from autoprec.graph.ops.placement import places
from autoprec.graph.ops.pointwise import becomes_product
from autoprec.graph.ops.support import mistyped
from autoprec.graph.rewrite.fused import projection
from autoprec.graph.rewrite.implicit import implicit
from autoprec.graph.rewrite.products import write_products
from autoprec.graph.rewrite.projections import split_projections
from autoprec.graph.rewrite.writer import Writer
from autoprec.graph.variants.edits import Edits, edited
from autoprec.graph.variants.refined import load_refined
from autoprec.graph.variants.toolbox import Toolbox
from autoprec.precisions import PRECISIONS, Precision
from autoprec.records import Assignment, Block, Candidate, Implicit

METADATA_KEY = "autoprec.assignment"


class Source(NamedTuple):
    """The float model of an assignment.

    Attributes:
        model: with the edits of its variants in it.
        home: block of each node.
        ranges: largest magnitude to represent of values that are new or changed, by name.
        grids: value name to a name of `GRIDS`, new values among them.
    """

    model: ir.Model
    home: Mapping[str, str]
    ranges: Mapping[str, float]
    grids: Mapping[str, str]


class Rewriter:
    """Rewrites one model for any assignment. Converted weights are made as they are written, and let go.

    Args:
        model: loaded by `load_model`; untouched.
        blocks: a partition of its nodes.
        ranges: largest magnitude to represent of each activation, by value name; variants need a tool-box.
        base: name of the float precision that quantised blocks compute their float parts in.
        refined: folder of refined weights.
        widened: (op type, float precision) that compute in FP32 between Casts: see `Backend.widened`.
        splits_projections: see `Backend.splits_projections`.
        grids: value name to a name of `GRIDS`, for activations that are not on the signed one; a tool-box
            brings its own.
    """

    def __init__(
        self,
        model: ir.Model,
        blocks: Sequence[Block],
        ranges: Mapping[str, float] | Toolbox,
        *,
        base: str,
        widened: Iterable[tuple[str, str]] = (),
        splits_projections: bool = False,
        refined: Path | None = None,
        grids: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._model = model
        self._home = {node: block.name for block in blocks for node in block.nodes}
        nodes = {str(node.name): node for node in model.graph}
        self._quantised = frozenset(
            block.name for block in blocks if given_precisions(nodes[name] for name in block.nodes)
        )
        self._ranges = ranges
        self._grids = ranges.grids if isinstance(ranges, Toolbox) else grids
        self._refined = refined
        self._splits_projections = splits_projections
        base_type = PRECISIONS[base].float_type
        assert base_type is not None, f"{base} is not a float precision"
        self._base = base_type
        types = ((op, PRECISIONS[name].float_type) for op, name in widened)
        self._widened = frozenset((op, float_type) for op, float_type in types if float_type is not None)

    def rewrite(self, assignment: Assignment) -> ir.Model:
        """The typed model. Raises `TrialError("rewrite", ...)` if it breaks a promise."""
        choices = assignment.as_dict()
        edited_source = self.source(assignment)
        source, home = edited_source.model, dict(edited_source.home)

        def ranges_in(precision: Precision) -> Mapping[str, float]:
            return {**self.ranges_in(precision), **edited_source.ranges}

        # Behind the cures, which know nodes by name and learn on whole products.
        if self._splits_projections:
            source, parts = self._split(source, lambda node: self._precision(node, choices, home), ranges_in)
            home |= {part: home[whole] for part, whole in parts.items()}
        writer = Writer(source, self._base, ranges_in, self._widened, edited_source.grids)
        result = writer.write(lambda node: self._precision(node, choices, home))
        result.metadata_props[METADATA_KEY] = msgspec.json.encode(assignment.choices).decode()
        _ensure(self._model, result)
        return result

    def _split(
        self,
        source: ir.Model,
        precision_of: Callable[[ir.Node], Precision],
        ranges_in: Callable[[Precision], Mapping[str, float]],
    ) -> tuple[ir.Model, dict[str, str]]:
        """The float model with a product for each part of fused projections whose activations are quantised,
        and the origin of each node that is new."""
        quantized = set()
        for node in source.graph:
            precision = precision_of(node)
            if precision.is_quantized and not precision.weights_only and projection(node) is not None:
                quantized |= {str(node.name)} if places(node, precision, ranges_in(precision)) else set()
        if not quantized:
            return source, {}
        # Without variants `source` is the loaded model itself, which all candidates share.
        copy = source.clone()
        return copy, split_projections(copy, quantized)

    def implicit(self, assignment: Assignment, path: Path) -> Implicit:
        """The assignment for builders with flags; saves the float model. Raises as `write` does."""
        edited_source = self.source(assignment)
        write_model(edited_source.model, path)
        largest = {**self.largest, **edited_source.ranges}
        return implicit(
            edited_source.model, self.rewrite(assignment), edited_source.home, assignment, largest, str(path)
        )

    @property
    def largest(self) -> Mapping[str, float]:
        """Largest observed magnitude of each float value, by name."""
        return self._ranges.largest if isinstance(self._ranges, Toolbox) else self._ranges

    def source(self, assignment: Assignment) -> Source:
        """The float model with the edits of variants and refined weights.

        Raises `TrialError("rewrite", ...)` if refined weights are gone.
        """
        choices = assignment.as_dict()
        edits, products = self._edits(choices), self._products(choices)
        changed = {name: limit for changes in edits.values() for name, limit in changes.ranges.items()}
        grids = dict(self._grids)
        for scaling in (scaling for changes in edits.values() for scaling in changes.scalings):
            _take_grid(grids, scaling.name, scaling.value)  # factors are positive: the sign stays
        # A plain assignment changes no constant, and needs no copy of the graph.
        source, added = edited(self._model, edits) if edits or products else (self._model, {})
        if products:
            written = write_products(source, products)
            added |= {node: self._home[convolution] for node, convolution in written.nodes.items()}
            for name, (convolution, value) in written.values.items():
                # Of the convolution's own precision: another variant of another block may range the same
                # value differently.
                ranges = {**self.ranges_in(products[convolution]), **changed}
                changed |= {name: ranges[value]} if value in ranges else {}
                _take_grid(grids, name, value)
        if assignment.weights:
            assert self._refined is not None
            learned = load_refined(self._refined, assignment.weights)
            source, changed = edited(source, {"": learned}).model, {**changed, **learned.ranges}
        return Source(source, self._home | added, changed, grids)

    def _precision(self, node: ir.Node, choices: Mapping[str, str], home: Mapping[str, str]) -> Precision:
        """The precision of a node. In a block that came quantised, nodes that came in floats stay so."""
        block = home[str(node.name)]
        precision = PRECISIONS[choices[block]]
        # So that the block computes what the file does, and can be compared with it.
        if block in self._quantised and not given(node):
            return msgspec.structs.replace(precision, quantized_ops=frozenset())
        return precision

    def write(self, assignment: Assignment, path: Path) -> Candidate:
        """Rewrite and save; weights of models near 2 GB go into a file beside it.

        Raises `TrialError("rewrite", ...)`, or OSError if the disk is full.
        """
        write_model(self.rewrite(assignment), path)
        return Candidate(assignment=assignment, model_path=str(path))

    def _edits(self, choices: Mapping[str, str]) -> dict[str, Edits]:
        """What variants change, by block name."""
        if not isinstance(self._ranges, Toolbox):
            return {}
        by_block = {block: self._ranges.edits(block, PRECISIONS[name]) for block, name in choices.items()}
        return {block: edits for block, edits in by_block.items() if edits is not None}

    def _products(self, choices: Mapping[str, str]) -> dict[str, Precision]:
        """Nodes that may be written as products of matrices, to their precision."""
        typed = ((node, self._precision(node, choices, self._home)) for node in self._model.graph)
        return {str(node.name): p for node, p in typed if becomes_product(node, p)}

    def ranges_in(self, precision: Precision) -> Mapping[str, float]:
        """Largest magnitude to represent of each activation, by value name, in a precision."""
        return self._ranges.ranges(precision) if isinstance(self._ranges, Toolbox) else self._ranges


def _take_grid(grids: dict[str, str], name: str, origin: str) -> None:
    """Give a value the grid of the one that it is made from."""
    if origin in grids:
        grids[name] = grids[origin]


def _ensure(source: ir.Model, result: ir.Model) -> None:
    """Check what a candidate promises: validity, order, types at every node, unchanged inputs and outputs.

    Raises `TrialError("rewrite", ...)`.
    """
    # Types are compared with schemas below: the checker's own way is shape inference, which has faults.
    try:
        CheckerPass(full_check=False)(result)
    except Exception as error:
        lines = str(error.__cause__ or error).strip().splitlines()
        raise TrialError(
            "rewrite", f"the rewritten model is not valid: {lines[0] if lines else error}"
        ) from error
    opset = result.graph.opset_imports[""]
    for node in result.graph:
        if reason := mistyped(node, opset):
            raise TrialError("rewrite", f"the rewritten model is not valid: node {node.name!r}: {reason}")
    for before, after in zip(_borders(source), _borders(result), strict=True):
        if before != after:
            raise TrialError("rewrite", f"the rewriter changed {before} into {after}")


def _borders(model: ir.Model) -> list[tuple[str | None, ir.DataType | None, str]]:
    """Name, type and shape of the graph's inputs and outputs."""
    return [(v.name, v.dtype, str(v.shape)) for v in (*model.graph.inputs, *model.graph.outputs)]
