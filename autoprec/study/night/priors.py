"""What the search believes before it measures: each block's effect alone, and its time in the anchors.

Sensitivity is a prior, not the truth: losses of single blocks do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import takewhile

from autoprec.backends.timing import Deadline
from autoprec.errors import BLAMELESS, TrialError
from autoprec.measurement import Score
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block, Measurement, TrialRecord
from autoprec.search import Priors
from autoprec.store import Store
from autoprec.study.night.candidates import setup_for
from autoprec.study.night.crew import Crew, Slot
from autoprec.study.preparation import Prepared

KIND = "sensitivity"
SAMPLES = 8
"""A prior may be rough: the order of the blocks shows on few samples."""
_TRIALS = 5
"""Measuring sensitivities may cost as much as so many trials."""


def measure_sensitivity(
    prepared: Prepared,
    store: Store,
    crew: Crew[TrialRecord, Measurement],
    say: Callable[[str], None],
    going: Callable[[], bool] = lambda: True,
) -> None:
    """Measure what is missing, while `going`: the loss with one block alone in each quantised precision.

    Heaviest blocks first, until the cost of 5 trials is spent; each figure is stored when it is there, so
    a killed run loses none. A candidate that fails counts as a loss of 1, unless it is not to blame. What the
    profiles of the anchors show to be slower than the reference is left out: alone in a float model it would
    be slower still.
    """
    name = prepared.spec.name
    known, times = store.facts(name, KIND, float), _profiles(store, name)
    usual = prepared.reference.as_dict()
    missing = [
        (block, precision)
        for block, precision in _single_choices(prepared)
        if _key(block, precision) not in known
        and not _is_slower(times.get(block.name, {}), precision, usual[block.name])
    ]
    budget = _TRIALS * _mean_trial_seconds(store.trials(name))
    if not missing or not budget:
        return
    say(f"sensitivity of {len(missing)} (block, precision) pairs alone; takes {budget:.0f} s at most")
    deadline = Deadline(budget)
    in_time = takewhile(lambda _: going() and not deadline.is_over, missing)
    for (block, precision), loss in crew.each(in_time, partial(_loss_alone, prepared)):
        if isinstance(loss, TrialError):
            say(f"{block.name} alone in {precision} could not be measured: {loss}")
        else:
            store.put_fact(name, KIND, _key(block, precision), loss)


def _loss_alone(prepared: Prepared, slot: Slot, alone: tuple[Block, str]) -> float | TrialError:
    """The loss with one block in a precision; or what went wrong, if that is not to blame."""
    block, precision = alone
    choices = prepared.reference.as_dict() | {block.name: precision}
    assignment = Assignment.from_mapping(prepared.blocks, choices)
    try:
        with prepared.scratch(slot.scratch) as path:
            with slot.rewriting:
                candidate = prepared.rewrite(assignment, path)
            setup = setup_for(prepared, slot)
            score = Score(setup=setup, candidate_path=candidate.model_path, samples=SAMPLES)
            return slot.bench.score(score).loss
    except TrialError as error:
        return error if error.kind in BLAMELESS else 1.0


def sensitivities(store: Store, study: str) -> dict[str, dict[str, float]]:
    """Block name, then precision name, to the loss with that block alone in that precision."""
    table: dict[str, dict[str, float]] = {}
    for key, loss in store.facts(study, KIND, float).items():
        block, _, precision = key.rpartition("|")
        table.setdefault(block, {})[precision] = loss
    return table


def load_priors(store: Store, study: str, accepted_loss: float) -> Priors:
    """Sensitivities, and the time of each block from the profiles of the anchors."""
    reference = store.reference(study)
    return Priors(
        sensitivity=sensitivities(store, study),
        latency_ms=_profiles(store, study),
        reference_latency_ms=reference.latency_ms if reference else None,
        accepted_loss=accepted_loss,
    )


def _profiles(store: Store, study: str) -> dict[str, dict[str, float]]:
    """Block name, then precision name, to its milliseconds in the anchor of that precision."""
    times: dict[str, dict[str, float]] = {}
    for record in store.trials(study):
        if record.origin != "anchor" or record.measurement is None:
            continue
        for row in record.measurement.audit:
            if row.time_ms > 0:
                times.setdefault(row.block, {})[row.asked] = row.time_ms
    return times


def _is_slower(times: Mapping[str, float], precision: str, usual: str) -> bool:
    """Whether both were profiled in a block, and the precision took longer than the usual one."""
    return precision in times and usual in times and times[precision] > times[usual]


def _single_choices(prepared: Prepared) -> Iterator[tuple[Block, str]]:
    """Each block with each quantised precision that it may have, heaviest blocks first."""
    for block in sorted(prepared.blocks, key=lambda block: -block.macs):
        for precision in block.allowed:
            if PRECISIONS[precision].is_quantized:
                yield block, precision


def _mean_trial_seconds(trials: tuple[TrialRecord, ...]) -> float:
    """Mean wall time of the trials that were measured; 0 if there is none."""
    seconds = [
        t.measurement.seconds.total for t in trials if t.measurement is not None and t.origin != "reused"
    ]
    return sum(seconds) / len(seconds) if seconds else 0.0


def _key(block: Block, precision: str) -> str:
    return f"{block.name}|{precision}"
