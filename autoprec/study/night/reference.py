"""Establishing the reference: timed against a second build of itself, which gives the noise, and FP32 against
it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import msgspec

from autoprec.errors import BLAMELESS, StudyError, TrialError
from autoprec.records import Assignment, Measurement, Reference
from autoprec.store import Store
from autoprec.study.events import Watcher
from autoprec.study.night.candidates import ALL_SAMPLES, EarlyMeasurement, loss_of, make, setup_for
from autoprec.study.night.crew import Slot
from autoprec.study.night.early import scores_alone
from autoprec.study.night.queue import Allowance
from autoprec.study.night.runner import TrialRunner
from autoprec.study.preparation import Prepared
from autoprec.study.preparation.alongside import Asides, nothing

_NEAR = 0.5
"""A reference's own loss is worth a warning from this share of the accepted loss."""
_TRIES = 4
_ROOMY = 3
"""Workers needed to measure the reference and FP32, and compare the reference with the original, at once."""
_ANOTHER = "in a copy of the definition name another search.reference"
"""The study itself is bound to the one that it has."""
T = TypeVar("T")


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
        return f"; {_ANOTHER}, as 'fp32'"
    return f"; where the reason is the precision, {_ANOTHER}, as 'fp32'"


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


class Establishing:
    """How a new study gets its reference: measured against a second build of itself, then FP32 against it.

    Args:
        prepared: the reference's assignment, and the definition.
        store: the open store.
        runner: has the workers, and runs the reference's own trial.
        watcher: receives every step.
        check: compares the reference's model with the original one, in parallel if a worker is free for it;
            once it has passed, the study is bound to its inputs.
        early: gives what was measured during the calibration, as soon as it is.
        early_loss: gives FP32's loss where that alone was scored meanwhile, else None.
        established: called once the study has a reference.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        runner: TrialRunner,
        watcher: Watcher,
        check: Callable[[], None] = nothing,
        early: Callable[[Prepared], Iterable[tuple[Assignment, EarlyMeasurement]]] = lambda _: (),
        early_loss: Callable[[], float | None] = lambda: None,
        established: Callable[[], None] = nothing,
    ) -> None:
        self._prepared, self._store, self._runner, self._watcher = prepared, store, runner, watcher
        self._check, self._early, self._early_loss, self._established = check, early, early_loss, established

    def reference(self, begin: Callable[[], Allowance] | None = None) -> Reference:
        """The study's reference: the stored one, or else measured and stored.

        Args:
            begin: begins the run of a new study, whose first trial is the reference's own, as soon as that is
                measured and the study is bound; None outside all runs.

        Raises `StudyError` if the reference cannot be measured, departs from the original model, or loses too
        much against FP32.
        """
        reference = self._stored() or self._measured(begin)
        self._established()
        # Not earlier: the first trial would wait for processors.
        self._runner.crew.load(self._prepared.material)
        return reference

    def _stored(self) -> Reference | None:
        """The stored reference, once the check has passed; None before it was measured."""
        name = self._prepared.spec.name
        stored = self._store.reference(name) if name in self._store.studies() else None
        if stored is not None:
            self._check()
        return stored

    def _measured(self, begin: Callable[[], Allowance] | None) -> Reference:
        """Measure and store the reference."""
        prepared, outcomes, stored = self._prepared, dict[str, EarlyMeasurement](), self._own_measurement()
        crew = self._runner.crew
        is_roomy = len(crew.slots) >= _ROOMY
        if not is_roomy:
            self._bound()
        with Asides(crew.end_workers) as asides:
            asides.begin(self._bound if is_roomy else nothing)
            try:
                for assignment, outcome in self._outcomes(is_stored=stored is not None):
                    outcomes[assignment.digest] = outcome
                    if assignment == prepared.reference:
                        asides.wait()
                        if begin is not None:
                            self._runner.settle_own(outcome, begin())
                own = stored or outcomes[prepared.reference.digest].measurement
                float_loss = self._float_loss(own, outcomes)
            except TrialError as error:
                precision = prepared.spec.search.reference
                if error.kind in BLAMELESS:
                    raise StudyError(f"the reference could not be measured: {error}; run it again") from error
                words = f"the {precision} reference cannot be measured ({error.kind}: {error})"
                raise StudyError(words + _way_out(error, precision)) from error
            asides.wait()
        reference = _reference(prepared, own, float_loss)
        self._store.put_reference(prepared.spec.name, reference)
        if words := warning_of(reference, prepared.spec.search.accepted_loss):
            self._watcher.say(words)
        self._runner.accept(outcomes)
        return reference

    def _own_measurement(self) -> Measurement | None:
        """The reference's own measurement, if a run that was cut off has stored it as a trial."""
        ledger = self._runner.ledger
        ledger.sync()
        trial = ledger.settled.get(self._prepared.reference.digest)
        is_ours = trial is not None and trial.fingerprint == self._prepared.identity.fingerprint.digest
        return trial.measurement if trial is not None and is_ours else None

    def _bound(self) -> None:
        self._check()
        self._store.bind(self._prepared.spec.name, self._prepared.identity, self._prepared.blocks)

    def _outcomes(self, *, is_stored: bool) -> Iterator[tuple[Assignment, EarlyMeasurement]]:
        """The reference and FP32, each measured in full as soon as it is; those that need not be are left
        out."""
        left = dict.fromkeys((self._prepared.reference, self._prepared.uniform("fp32")))
        if is_stored:
            del left[self._prepared.reference]
        for assignment, outcome in self._early(self._prepared):
            if assignment in left:
                del left[assignment]
                yield assignment, outcome
                if left:  # beside FP32, which is timed while nothing else runs on the device
                    self._runner.crew.ready(partial(setup_for, self._prepared))
        if scores_alone(self._prepared, len(self._runner.crew.slots)):
            left.pop(self._prepared.uniform("fp32"), None)

        def one(slot: Slot, assignment: Assignment) -> EarlyMeasurement:
            return insisting(partial(make, self._prepared, slot, assignment, self._watcher.stage))

        yield from self._runner.crew.each(left, one)

    def _float_loss(self, own: Measurement, outcomes: dict[str, EarlyMeasurement]) -> float:
        """FP32's loss; where it was measured in full, its latency is made comparable with the trials'."""
        floats = self._prepared.uniform("fp32")
        if floats == self._prepared.reference:
            return own.quality.loss
        if (exact := outcomes.get(floats.digest)) is None:
            self._watcher.stage("score FP32")
            if (loss := self._early_loss()) is not None:
                return loss
            return insisting(partial(loss_of, self._prepared, self._runner.crew.first, floats, ALL_SAMPLES))
        # Both may have been timed in parallel, each against a reference of its own; trials count in the
        # study's one latency.
        alike = exact.measurement.latency.ratio * own.latency.reference_median_ms
        exact = exact._replace(measurement=msgspec.structs.replace(exact.measurement, latency_ms=alike))
        outcomes[floats.digest] = exact
        return exact.measurement.quality.loss


def _reference(prepared: Prepared, own: Measurement, float_loss: float) -> Reference:
    """The reference by its own measurement. Raises `StudyError` if it loses too much against FP32."""
    precision, limit = prepared.spec.search.reference, prepared.spec.quality.reference_limit
    if float_loss > limit:
        raise StudyError(
            f"the {precision} reference loses {float_loss:.3f} against FP32, more than "
            f"quality.reference_limit ({limit:g}): {_ANOTHER}, as 'bf16' or 'fp32'"
        )
    latency = own.latency
    return Reference(
        precision=precision,
        model_digest=prepared.reference_digest,
        latency_ms=latency.reference_median_ms,
        # Two builds of one model: how far their ratio is from 1, or how uncertain it is, whichever is
        # larger.
        latency_noise=max(abs(latency.ratio - 1), latency.ratio_interval.high - latency.ratio),
        loss_noise=own.quality.loss,
        float_loss=float_loss,
    )
