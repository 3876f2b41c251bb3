"""Small models in a precision, as the writer of candidates writes them, and the questions put to an engine
with them: what is probed is what is searched."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

import onnx_ir as ir

from autoprec.backends import Backend
from autoprec.backends.exact import Exact
from autoprec.calibration import calibrate
from autoprec.graph.model.files import write_model
from autoprec.graph.rewrite.rewrite import Rewriter
from autoprec.legality.inputs import Span, feeds_of
from autoprec.legality.patterns import DECIDING_NODES, PATTERNS, PRODUCTS, float_model, quantises
from autoprec.precisions import PRECISIONS, Precision
from autoprec.records import Assignment, Block, Record

_PROBED = 4
"""Counts up when the questions about a piece change, or how answers are judged: verdicts of earlier versions
are not used again."""


class WritingStyle(NamedTuple):
    """How an engine has its candidates written: see `Backend`; `base` is the float type around integers."""

    base: str
    widened: frozenset[tuple[str, str]] = frozenset()
    splits_projections: bool = False

    @classmethod
    def of(cls, backend: Backend, base: str) -> Self:
        """The style of a backend, with quantised blocks in the float precision `base`."""
        return cls(base, backend.widened, backend.splits_projections)


class Piece(NamedTuple):
    """A small float model.

    Attributes:
        name: of the pattern, or of the activation that it was cut out for.
        model: loaded, or cut out of one that was.
        ranges: largest magnitude to represent of its activations, by value name.
        deciding: names of the nodes whose kernels show what it ran in.
        spans: lowest and largest of what its inputs are fed, by name; the others take standard normals.
    """

    name: str
    model: ir.Model
    ranges: Mapping[str, float]
    deciding: tuple[str, ...]
    spans: tuple[Span, ...] = ()


_MADE: dict[str, Piece] = {}
"""Pieces of patterns, by name."""


class Question(Record, frozen=True, kw_only=True):
    """The question put to an engine: whether it takes a model, and what it computes.

    Attributes:
        pattern, precision: the choice in question.
        model_path: the typed model.
        exact_path: the same with FP32 between its integers, which says what is right.
        asked: the kernel precision that a quantised product must run in; empty where any float will do.
        deciding: names of the nodes whose kernels decide; empty where others decide.
        digest: of the typed model, and of the question: autoprec's version of the question.
        spans: as in `Piece`.
    """

    pattern: str
    precision: str
    model_path: str
    exact_path: str
    asked: str
    deciding: tuple[str, ...]
    digest: str
    spans: tuple[Span, ...] = ()


def pattern_piece(pattern: str, folder: Path) -> Piece:
    """The model of a pattern, with the ranges of its activations on drawn inputs; `folder` takes its files.

    Made once in a process, as it is asked for anew for every base and every kind of precision.
    """
    if pattern not in _MADE:
        model = float_model(pattern, folder)
        feeds = feeds_of(folder / f"{pattern}.onnx")
        histograms = calibrate(model, Exact(threads=1), [feeds], folder / "observed.onnx")
        ranges = histograms.ranges("min-max", 100)
        _MADE[pattern] = Piece(pattern, model, ranges, tuple(sorted(DECIDING_NODES)))
    return _MADE[pattern]


def pattern_question(piece: Piece, precision: Precision, style: WritingStyle, folder: Path) -> Question:
    """Write a pattern in a precision; all of it is in the base where the precision does not quantise it.

    Args:
        piece: one of `pattern_piece`.
        precision: the one that is asked for.
        style: how the engine has its candidates written.
        folder: takes the model.
    """
    pattern, quantised = piece.name, quantises(precision, piece.name)
    own = precision if quantised or not precision.is_quantized else PRECISIONS[style.base]
    asked = precision.runs_as if quantised and PATTERNS[pattern].op_type in PRODUCTS else ""
    # In other operators Q/DQ only rounds: the float kernel that they run in is no fault.
    deciding = piece.deciding if asked or not precision.is_quantized else ()
    return question(piece._replace(deciding=deciding), own, style, folder, asked=asked, name=precision.name)


def question(
    piece: Piece,
    precision: Precision,
    style: WritingStyle,
    folder: Path,
    *,
    asked: str,
    name: str = "",
    grids: Mapping[str, str] = MappingProxyType({}),
) -> Question:
    """Write a piece, all of it in one precision.

    Args:
        piece: what is written.
        precision: in what.
        style: how the engine has it.
        folder: where the files go.
        asked: the kernel precision that its deciding nodes must run in.
        name: of the precision that is asked about, if that is another one.
        grids: as the rewriter takes them.
    """
    block = Block(name="piece", nodes=tuple(str(node.name) for node in piece.model.graph))
    typed = _written(piece, block, precision, style, grids)
    # With FP32 around its integers the typed model is the exact one already.
    exact = typed if style.base == "fp32" and precision.is_quantized else None
    if exact is None:
        exact_precision = precision if precision.is_quantized else PRECISIONS["fp32"]
        exact = _written(piece, block, exact_precision, WritingStyle("fp32"), grids)
    # Hashed, since a value's name need not do as a file's.
    stem = hashlib.sha256(f"{piece.name} {precision.name} {sorted(grids.items())}".encode()).hexdigest()[:16]
    model_path, exact_path = folder / f"{stem}.onnx", folder / f"{stem}-exact.onnx"
    write_model(typed, model_path)
    write_model(exact, exact_path)
    # Verdicts that are stored without this word are of masks of nothing but False, and say nothing.
    masks = " masks" if any(value.dtype == ir.DataType.BOOL for value in piece.model.graph.inputs) else ""
    spans = f" {piece.spans}" if piece.spans else ""
    told = f"{_PROBED} {asked} {piece.deciding}{masks}{spans}".encode()
    digest = hashlib.sha256(told + model_path.read_bytes() + exact_path.read_bytes()).hexdigest()[:16]
    return Question(
        pattern=piece.name,
        precision=name or precision.name,
        model_path=str(model_path),
        exact_path=str(exact_path),
        asked=asked,
        deciding=piece.deciding,
        digest=digest,
        spans=piece.spans,
    )


def _written(
    piece: Piece, block: Block, precision: Precision, style: WritingStyle, grids: Mapping[str, str]
) -> ir.Model:
    rewriter = Rewriter(
        piece.model,
        (block,),
        piece.ranges,
        base=style.base,
        widened=style.widened,
        splits_projections=style.splits_projections,
        grids=grids,
    )
    return rewriter.rewrite(Assignment(choices=(("piece", precision.name),)))
