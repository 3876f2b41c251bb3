"""An explanation says of a block what trials and profiles show of it, and no more."""

from __future__ import annotations

import msgspec
import pytest

from autoprec.errors import StudyError
from autoprec.records import Block, BlockReasons, Inspection, KernelTime, TrialRecord
from autoprec.study.findings.explanation import Explainer
from trial_records import REFERENCE, complete, failed

BLOCKS = (
    Block(name="stem", nodes=("conv",), outputs=("a", "b")),
    Block(name="neck", nodes=("mul", "add"), inputs=("a", "b")),
)
BOTH = complete(5, 5.0, 0.02, choices="int8 int8")
ANCHOR = msgspec.structs.replace(complete(0, 10.0, 0.0, choices="fp16 fp16"), label="all-fp16")


def explained(trials: tuple[TrialRecord, ...] = (), *, base: str = "fp16") -> dict[str, BlockReasons]:
    explainer = Explainer(BLOCKS, (ANCHOR, BOTH, *trials), REFERENCE, base=base, sensitivity={})
    return {reasons.block: reasons for reasons in explainer.explain(BOTH).blocks}


def test_a_trial_that_differs_in_one_block_measures_it() -> None:
    reasons = explained((complete(6, 6.0, 0.005, choices="fp16 int8"),))
    (nearest, other) = reasons["stem"].neighbours
    assert (nearest.number, nearest.choices) == (6, (("stem", "fp16"),))
    assert (nearest.latency_ms, nearest.latency_is_sure) == (1.0, True)
    assert nearest.loss == pytest.approx(-0.015)
    assert nearest.loss_is_sure
    assert other.number == 0, "the anchor differs in both"
    assert (reasons["stem"].sureness, reasons["neck"].sureness) == ("measured", "indicated")


def test_a_difference_within_the_noise_is_not_sure() -> None:
    nearest = explained((complete(6, 5.05, 0.02, choices="fp16 int8"),))["stem"].neighbours[0]
    assert (nearest.latency_is_sure, nearest.loss_is_sure) == (False, False)


def test_what_a_block_was_tried_in_elsewhere_is_counted() -> None:
    reasons = explained(
        (complete(6, 6.0, 0.0, choices="bf16 fp16"), complete(7, 6.0, 0.0, choices="bf16 fp32"))
    )
    assert reasons["stem"].tried == (("bf16", 2), ("fp16", 1))
    assert reasons["stem"].usual == "fp16"


@pytest.mark.parametrize(("base", "converts"), [("bf16", True), ("fp16", False)])
def test_tensors_are_converted_where_float_types_meet(base: str, converts: bool) -> None:
    mixed = complete(8, 6.0, 0.01, choices="int8 fp16")
    explainer = Explainer(BLOCKS, (ANCHOR, mixed), REFERENCE, base=base, sensitivity={})
    stem, neck = explainer.explain(mixed).blocks
    assert [(b.other, b.enters, b.tensors) for b in stem.borders] == [("neck", False, 2)] * converts
    assert [(b.other, b.enters, b.there) for b in neck.borders] == [("stem", True, "int8")] * converts


def test_times_are_shares_of_the_latency_that_was_measured() -> None:
    profile = Inspection(
        kernels=(
            KernelTime(nodes=("conv",), kernel="c", precision="i8", time_ms=4),
            KernelTime(nodes=("conv/part1",), kernel="c", precision="i8", time_ms=2),
            KernelTime(nodes=("mul",), kernel="m", precision="f16", time_ms=1),
            KernelTime(nodes=("add",), kernel="a", precision="f16", time_ms=1),
            KernelTime(nodes=("cast",), kernel="reorder", precision="f16", time_ms=2),
        )
    )
    fused = Inspection(
        kernels=(KernelTime(nodes=("conv", "mul", "add"), kernel="c", precision="f16", time_ms=9),)
    )
    explainer = Explainer(BLOCKS, (ANCHOR, BOTH), REFERENCE, base="fp16", sensitivity={}, usual=fused)
    explanation = explainer.explain(BOTH, profile)
    stem, neck = explanation.blocks
    assert (stem.time_ms, neck.time_ms, explanation.conversion_ms) == (3.0, 1.0, 1.0)
    assert stem.usual_ms == pytest.approx(10 / 3)
    assert explanation.usual_conversion_ms == 0
    assert (neck.kernels, neck.usual_kernels) == (2, 1)


def test_sensitivity_alone_is_a_prior() -> None:
    explainer = Explainer(BLOCKS, (BOTH,), REFERENCE, base="fp16", sensitivity={"stem": {"int8": 0.01}})
    stem, neck = explainer.explain(BOTH).blocks
    assert (stem.alone, stem.sureness) == (0.01, "prior")
    assert (neck.alone, neck.sureness) == (None, "unknown")
    assert stem.time_ms is None


def test_a_failed_trial_cannot_be_explained() -> None:
    with pytest.raises(StudyError, match="trial 9 of study 'demo' has no measurement"):
        Explainer(BLOCKS, (), REFERENCE, base="fp16", sensitivity={}).explain(failed(9))


def test_a_trial_of_other_blocks_is_damaged() -> None:
    with pytest.raises(StudyError, match="trial 5 of study 'demo' is damaged"):
        Explainer(BLOCKS[:1], (BOTH,), REFERENCE, base="fp16", sensitivity={})
    with pytest.raises(StudyError, match="trial 5 of study 'demo' is damaged"):
        Explainer(BLOCKS[:1], (), REFERENCE, base="fp16", sensitivity={}).explain(BOTH)
