"""Establishing the reference: timed against a second build of itself, which gives the noise, and FP32 against
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from autoprec.errors import BLAMELESS, StudyError, TrialError
from autoprec.records import Assignment, Reference
from autoprec.study.night.candidates import Made
from autoprec.study.preparation import Prepared

_NEAR = 0.5
"""A reference's own loss is worth a warning from this share of the accepted loss."""
_TRIES = 4
T = TypeVar("T")
Measure = Callable[[Sequence[Assignment]], Mapping[str, Made]]
"""Measures assignments, each paired with the reference; returns what was measured by digest."""


def warning_of(reference: Reference, accepted_loss: float) -> str:
    """A warning about a reference whose own loss is near the accepted one; empty if it is not."""
    if reference.float_loss <= _NEAR * accepted_loss:
        return ""
    return (
        f"the {reference.precision} reference itself loses {reference.float_loss:.4f} against FP32, near "
        f"search.accepted_loss ({accepted_loss:g}): a candidate may be no worse than FP32 and lose as much; "
        'search.reference = "fp32" compares with FP32'
    )


def _way_out(error: TrialError, precision: str) -> str:
    """What to do next, as the end of a message; empty where another reference would not help."""
    if precision == "fp32" or error.kind not in ("build", "run", "nan", "wrong"):
        return ""
    if error.kind in ("nan", "wrong"):
        return "; name another search.reference, as 'fp32'"
    return "; where the reason is the precision, name another search.reference, as 'fp32'"


def insisting(measure: Callable[[], T]) -> T:
    """Measure, again if something outside ended it, such as a lost connection to a target."""
    # Other trials are queued again later; without a reference there is no search at all.
    for _ in range(_TRIES - 1):
        try:
            return measure()
        except TrialError as error:
            if error.kind != "killed":
                raise
    return measure()


def establish(
    prepared: Prepared, measure: Measure, score: Callable[[Assignment], float] | None = None
) -> tuple[Reference, dict[str, Made]]:
    """The reference, and the measurements made for it, by digest of their assignment.

    Args:
        prepared: the reference's assignment, and the definition.
        measure: measures assignments in full.
        score: gives an assignment's loss, where that is all that is wanted of FP32; None measures it in full.

    Raises `StudyError` if it cannot be measured, or if it loses too much against FP32.
    """
    precision, floats = prepared.spec.search.reference, prepared.uniform("fp32")
    wanted = dict.fromkeys((prepared.reference,) if score else (prepared.reference, floats))
    try:
        outcomes = dict(measure(list(wanted)))
        exact = outcomes.get(floats.digest)
        float_loss = (
            score(floats) if score and not exact else outcomes[floats.digest].measurement.quality.loss
        )
    except TrialError as error:
        if error.kind in BLAMELESS:
            raise StudyError(f"the reference could not be measured: {error}; run it again") from error
        words = f"the {precision} reference cannot be measured ({error.kind}: {error})"
        raise StudyError(words + _way_out(error, precision)) from error
    again = outcomes[prepared.reference.digest].measurement
    latency_ms = again.latency.reference_median_ms
    if exact is not None:
        # Both were timed in parallel, each against a reference of its own; trials count in the study's one
        # latency.
        alike = exact.measurement.latency.ratio * latency_ms
        exact = exact._replace(measurement=msgspec.structs.replace(exact.measurement, latency_ms=alike))
        outcomes[floats.digest] = exact
    limit = prepared.spec.quality.reference_limit
    if float_loss > limit:
        raise StudyError(
            f"the {precision} reference loses {float_loss:.3f} against FP32, more than "
            f"quality.reference_limit ({limit:g}): name another search.reference, as 'bf16' or 'fp32'"
        )
    latency = again.latency
    reference = Reference(
        precision=precision,
        model_digest=prepared.reference_digest,
        latency_ms=latency_ms,
        # Two builds of one model: how far their ratio is from 1, or how uncertain it is, whichever is
        # larger.
        latency_noise=max(abs(latency.ratio - 1), latency.ratio_interval.high - latency.ratio),
        loss_noise=again.quality.loss,
        float_loss=float_loss,
    )
    return reference, outcomes
