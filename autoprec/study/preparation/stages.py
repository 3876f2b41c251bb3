"""The steps from a definition to a search space, each with a frozen result: load and judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec
import onnx_ir as ir

from autoprec.backends import Backend, create_backend
from autoprec.errors import ModelError, StudyError
from autoprec.graph.blocks.partition import partition
from autoprec.graph.model.load import input_shapes, load_model, model_digest, notes
from autoprec.graph.model.outputs import model_outputs
from autoprec.graph.statistics.moments import Moments
from autoprec.graph.statistics.ranges import Histograms
from autoprec.legality.judge import judge as judge_blocks
from autoprec.measurement.pipeline import check_prompts, decoder_outputs
from autoprec.measurement.reaching import reach
from autoprec.quality import create_metric, cuts, refuse, structure_refusal
from autoprec.records import Assignment, Basis, Block
from autoprec.samples import Samples, check_whole, load_samples, warnings_of
from autoprec.search import anchors
from autoprec.spec import SAFE_REFERENCE, StudySpec

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model, engine and samples that a definition names.

    Attributes:
        definition: digest of the definition as it was written.
        blocks: each with the precisions that its operators allow on any engine.
        shapes: of the model's inputs.
        digests: of the model, the calibration and the evaluation samples.
    """

    spec: StudySpec
    definition: str
    backend: Backend
    model: ir.Model
    blocks: tuple[Block, ...]
    shapes: dict[str, tuple[int, ...]]
    calibration: Samples
    evaluation: Samples
    digests: tuple[str, str, str]

    @property
    def inputs(self) -> dict[str, str]:
        """The fields of `Identity` that are known before calibration."""
        model, calibration, evaluation = self.digests
        decoder = self.spec.pipeline.decoder
        return {
            "model": model + (f"+{model_digest(Path(decoder))}" if decoder else ""),
            "samples": f"{calibration}+{evaluation}",
            "spec": self.definition,
        }


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Statistics from one pass over the calibration set.

    Attributes:
        overflow: block name to the reason why it overflows FP16.
        files: paths of the stored histograms and moments; "" for no moments.
        of: what they are made of, as the files record it.
    """

    histograms: Histograms
    moments: dict[str, Moments]
    overflow: Mapping[str, str]
    files: tuple[str, str]
    of: str


@dataclass(frozen=True, slots=True)
class Judged:
    """The blocks with their allowed precisions on this engine, the reference, and the labelled anchors."""

    blocks: tuple[Block, ...]
    reference: Assignment
    anchors: tuple[tuple[str, Assignment], ...]


def load_blocks(
    spec: StudySpec, refused: Mapping[tuple[str, str], str] | None = None
) -> tuple[ir.Model, tuple[Block, ...]]:
    """The model and its blocks, with their allowed precisions.

    Raises `ModelError` or `SpecError`.
    """
    model = load_model(Path(spec.model.path), spec.model.shapes)
    section = spec.blocks
    blocks = partition(model, minimum=section.minimum, maximum=section.maximum, depth=section.depth)
    return model, judge_blocks(blocks, model, spec.search.precisions, pin=section.pin, refused=refused)


def load(spec: StudySpec, say: Say, *, scores: bool) -> Loaded:
    """Open what the definition names; with `scores` also check what is used after calibration, and warn.

    Raises children of `UserError` for what is wrong with the definition, the model or the samples.
    """
    backend = (
        reach(spec.backend, say, at_once=True)
        if scores
        else create_backend(spec.backend.name, spec.backend.options)
    )
    model, blocks = load_blocks(spec)
    shapes = dict(input_shapes(model))
    # Now, not when they are used: the user should not wait for a calibration to learn of a typing error.
    if scores:
        _check_scoring(spec, model)
    calibration = load_samples(spec.samples, "calibration", shapes)
    evaluation = load_samples(spec.samples, "evaluation", shapes)
    if scores:
        for words in (*notes(model), *warnings_of(spec.samples, calibration, evaluation)):
            say(words)
        decoder = Path(spec.pipeline.decoder) if spec.pipeline.decoder else None
        for words in check_prompts(decoder, [str(value.name) for value in model.graph.outputs], evaluation):
            say(f"samples.evaluation: {words}")
        check_whole(evaluation, {str(v.name): v.dtype.numpy() for v in model.graph.inputs if v.dtype})
    return Loaded(
        spec=spec,
        definition=spec.digest,
        backend=backend,
        model=model,
        blocks=blocks,
        shapes=shapes,
        calibration=calibration,
        evaluation=evaluation,
        digests=(model_digest(Path(spec.model.path)), calibration.digest, evaluation.digest),
    )


class Asks(Protocol):
    """Asks the engine of a study."""

    def basis(self, loaded: Loaded, calibrated: Calibrated) -> Basis:
        """How a new study writes candidates, and what it compares them with."""

    def refused(self, loaded: Loaded, calibrated: Calibrated, basis: Basis) -> Mapping[tuple[str, str], str]:
        """(block, precision) to the reason why the engine does not support it."""


def silent_basis(loaded: Loaded) -> Basis:
    """The basis if the engine is not asked: every activation on the signed grid."""
    spec = loaded.spec
    base = spec.backend.base or loaded.backend.base_precision
    return Basis(base=base, reference=spec.search.reference or "fp16")


def based(loaded: Loaded, basis: Basis) -> Loaded:
    """With the basis' reference, where the definition leaves it open."""
    search = loaded.spec.search
    reference = search.reference or basis.reference or "fp16"
    spec = msgspec.structs.replace(loaded.spec, search=msgspec.structs.replace(search, reference=reference))
    return replace(loaded, spec=spec)


def judge(loaded: Loaded, calibrated: Calibrated, basis: Basis, asks: Asks | None) -> Judged:
    """Determine the allowed precisions of all blocks, the reference and the anchors.

    Args:
        loaded: model and engine.
        calibrated: statistics of the model.
        basis: how the study writes candidates for its engine.
        asks: asks the engine what it supports; None skips that, if nothing will be searched.

    Raises `BackendError` if the engine is not there, `StudyError` where a plain FP16 reference overflows.
    """
    spec, overflow = loaded.spec, calibrated.overflow
    refuse_overflow(spec, overflow)
    refused = dict(asks.refused(loaded, calibrated, basis)) if asks else {}
    refused |= {(block, "fp16"): reason for block, reason in overflow.items()}
    blocks = judge_blocks(
        loaded.blocks, loaded.model, spec.search.precisions, pin=spec.blocks.pin, refused=refused
    )
    return Judged(blocks, reference_of(spec, blocks, overflow), _anchors(spec, blocks, basis.base))


def _check_scoring(spec: StudySpec, model: ir.Model) -> None:
    """Check metric, decoder and output. Raises children of `UserError`."""
    create_metric(spec.quality)
    wanted, decoder = spec.pipeline.output, spec.pipeline.decoder
    listed = decoder_outputs(Path(decoder)) if decoder else model_outputs(model.graph)
    outputs = {output.name: output for output in listed}
    if wanted not in outputs:
        whose = "decoder" if decoder else "model"
        raise ModelError(
            f"pipeline.output is {wanted!r}, but the {whose}'s outputs are: {', '.join(outputs)}"
        )
    refuse(structure_refusal(spec.quality, outputs[wanted], cuts=cuts(spec.quality.metric)))


def refuse_overflow(spec: StudySpec, overflow: Mapping[str, str]) -> None:
    """Raises `StudyError` if FP16 is the reference and cannot hold the model's values."""
    if overflow and spec.search.reference == "fp16":
        name, reason = next(iter(overflow.items()))
        raise StudyError(
            f"FP16 overflows in {len(overflow)} blocks ({name}: {reason}), so it is no reference: "
            f'set search.reference = "{SAFE_REFERENCE}", which keeps those blocks in FP32'
        )


def reference_of(spec: StudySpec, blocks: Sequence[Block], overflow: Mapping[str, str]) -> Assignment:
    """The reference's assignment; FP16-safe leaves blocks that overflow in FP32."""
    name = spec.search.reference
    if name != SAFE_REFERENCE:
        return uniform(blocks, name)
    return Assignment(
        choices=tuple((block.name, "fp32" if block.name in overflow else "fp16") for block in blocks)
    )


def _anchors(spec: StudySpec, blocks: Sequence[Block], base: str) -> tuple[tuple[str, Assignment], ...]:
    """Uniform assignments, the reference's own precision first."""
    reference = spec.search.reference.removesuffix("-safe")
    names = sorted(spec.search.precisions, key=lambda name: name != reference)
    return anchors(blocks, names, reference=reference, base=base)


def uniform(blocks: Sequence[Block], precision: str) -> Assignment:
    """Every block in one precision, whether or not the study allows it."""
    return Assignment(choices=tuple((block.name, precision) for block in blocks))
