"""The priors of a search: each block's effect on the masks, and its time in the anchors.

A block's effect is measured twice: alone in a quantised precision, and back in float with all others
quantised. Neither is the truth, since losses of single blocks do not add up. Another study of the same model
may replace both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

from autoprec.backends.timing import Deadline
from autoprec.errors import BLAMELESS, StudyError, TrialError
from autoprec.precisions import PRECISIONS
from autoprec.records import Assignment, Block, Measurement, Record, TrialRecord
from autoprec.search import Priors, RoughScore, transferred
from autoprec.store import Membership, Run, Store
from autoprec.study.night.candidates import loss_of
from autoprec.study.night.crew import Crew, Slot
from autoprec.study.preparation import Prepared

KIND = "sensitivity"
BACK, PRIOR, PRIOR_ALONE = "sensitivity_back", "prior", "prior_sensitivity"
"""Kinds of facts: one block back in float; trials of another study; its sensitivities."""
MEASURED = "priors"
"""Kind of the facts that tell which runs have measured theirs."""
SAMPLES = 8
"""Few, since a prior may be rough: what matters is the order of the blocks."""
_TRIALS = 5
"""Measuring sensitivities may cost as much as this many trials."""
_RUINED = 0.5
"""From this loss on with all blocks quantised, one block back in float shows little."""


class BlockLoss(Record, frozen=True, kw_only=True):
    """The loss with one block alone in a precision: the stored fact of kind `KIND`."""

    block: str
    precision: str
    loss: float

    @property
    def key(self) -> str:
        """Key of the fact. It is not parsed, except by `_losses` for facts of earlier versions."""
        return _key_of(self.block, self.precision)


def _key_of(block: str, precision: str) -> str:
    return f"{block}|{precision}"


class _Probe(NamedTuple):
    """An assignment to score, and the fact to store its loss as."""

    kind: str
    key: str
    assignment: Assignment
    block: str
    precision: str = ""

    def fact(self, loss: float) -> BlockLoss | RoughScore:
        """The fact to store."""
        if self.kind == KIND:
            return BlockLoss(block=self.block, precision=self.precision, loss=loss)
        return RoughScore(assignment=self.assignment, loss=loss)


class SensitivityAnalysis:
    """Measures the sensitivities that a strategy begins with.

    Args:
        prepared: rewrites the candidates.
        store: receives the figures.
        crew: measures them.
        membership: keeps other processes from measuring the same.
        say: receives a line about each slow step.
    """

    def __init__(
        self,
        prepared: Prepared,
        store: Store,
        crew: Crew[TrialRecord, Measurement],
        membership: Membership,
        say: Callable[[str], None],
    ) -> None:
        self._prepared, self._store, self._crew = prepared, store, crew
        self._membership, self._say = membership, say

    def measure(self, run: Run, going: Callable[[], bool], seconds_left: Callable[[], float]) -> bool:
        """Measure what is missing, once in a run and by one process; false while that is not done.

        Args:
            run: the run that is to begin its search.
            going: called before each figure; False ends the measurement.
            seconds_left: how many seconds it may take at most.
        """
        if not self._crew.is_idle:
            return False
        name = self._prepared.spec.name
        with self._membership.holding("priors") as is_mine:
            if is_mine and str(run.id) not in self._store.facts(name, MEASURED, bool):
                self._measure_missing(going, seconds_left())
                if going():
                    self._store.put_fact(name, MEASURED, str(run.id), value=True)
        return is_mine

    def _measure_missing(self, going: Callable[[], bool], most_seconds: float) -> None:
        """Measure missing figures, heaviest blocks first, for the cost of 5 trials at most. Each is stored at
        once, so that a killed run loses none."""
        store, say, name = self._store, self._say, self._prepared.spec.name
        measured = {fact.key for kind in (KIND, PRIOR_ALONE) for fact in _losses(store, name, kind)}
        measured |= store.facts(name, BACK, RoughScore).keys()
        missing = [probe for probe in _probes(self._prepared, store) if probe.key not in measured]
        budget = min(_TRIALS * _mean_trial_seconds(store.trials(name)), most_seconds)
        if not missing or not budget:
            return
        say(f"sensitivity: {len(missing)} assignments, one block at a time; takes {budget:.0f} s at most")
        deadline = Deadline(budget)
        in_time = takewhile(lambda _: going() and not deadline.is_over, missing)
        for probe, loss in self._crew.each(in_time, partial(_loss, self._prepared)):
            if isinstance(loss, TrialError):
                say(f"{probe.key} could not be measured: {loss}")
            else:
                store.put_fact(name, probe.kind, probe.key, probe.fact(loss))


def _loss(prepared: Prepared, slot: Slot, probe: _Probe) -> float | TrialError:
    """The loss of a probe's assignment: 1 if it fails by its own fault, the error if by another's."""
    try:
        return loss_of(prepared, slot, probe.assignment, SAMPLES)
    except TrialError as error:
        return error if error.kind in BLAMELESS else 1.0


def adopt(
    store: Store,
    study: str,
    blocks: Sequence[Block],
    trials: Sequence[TrialRecord],
    alone: Mapping[str, Mapping[str, float]],
    accepted_loss: float,
) -> int:
    """Store another study's measurements as this one's prior, for this run and all later ones.

    Args:
        store: this study's evidence.
        study: name of this study.
        blocks: blocks of this study.
        trials: trials of the other study.
        alone: sensitivities of the other study, by block and precision.
        accepted_loss: accepted loss of this study.

    Returns how many trials and sensitivities could be used. Raises `StudyError` if none can.
    """
    scored = transferred(trials, blocks, accepted_loss)
    legal = {(block.name, precision) for block in blocks for precision in block.allowed}
    figures = [
        BlockLoss(block=block, precision=precision, loss=loss)
        for block, losses in alone.items()
        for precision, loss in losses.items()
        if (block, precision) in legal
    ]
    if not scored and not figures:
        raise StudyError(
            "the prior study has no trial with this study's blocks and precisions: it must be of the same "
            "model, split into the same blocks"
        )
    for score in scored:
        store.put_fact(study, PRIOR, score.assignment.digest, score)
    for figure in figures:
        store.put_fact(study, PRIOR_ALONE, figure.key, figure)
    return len(scored) + len(figures)


def sensitivities(store: Store, study: str, kind: str = KIND) -> dict[str, dict[str, float]]:
    """The loss with one block alone in a precision, by block name, then precision name."""
    table: dict[str, dict[str, float]] = {}
    for fact in _losses(store, study, kind):
        table.setdefault(fact.block, {})[fact.precision] = fact.loss
    return table


def _losses(store: Store, study: str, kind: str) -> Iterator[BlockLoss]:
    """The stored losses of a kind."""
    # Earlier versions stored a bare loss, with block and precision in the key alone.
    form: Any = BlockLoss | float
    for key, fact in store.facts(study, kind, form).items():
        block, _, precision = key.rpartition("|")
        yield fact if isinstance(fact, BlockLoss) else BlockLoss(block=block, precision=precision, loss=fact)


def load_priors(store: Store, study: str, accepted_loss: float) -> Priors:
    """The stored priors: sensitivities, rough scores, and block times from the profiles of the anchors."""
    reference = store.reference(study)
    alone = sensitivities(store, study, PRIOR_ALONE)
    # This study's own figures replace those of the other one.
    for block, losses in sensitivities(store, study).items():
        alone.setdefault(block, {}).update(losses)
    scored = (*store.facts(study, BACK, RoughScore).values(), *store.facts(study, PRIOR, RoughScore).values())
    return Priors(
        sensitivity=alone,
        latency_ms=_profiles(store, study),
        reference_latency_ms=reference.latency_ms if reference else None,
        scored=scored,
        accepted_loss=accepted_loss,
    )


def _probes(prepared: Prepared, store: Store) -> Iterator[_Probe]:
    """For each block, the heaviest first: alone in each quantised precision, then back in float."""
    times, usual = _profiles(store, prepared.spec.name), prepared.reference.as_dict()
    base = _best_quantised(store.trials(prepared.spec.name))
    for block in sorted(prepared.blocks, key=lambda block: -block.macs):
        for precision in block.allowed:
            # Slower than the reference among blocks of its own precision, it would be slower still alone,
            # with casts around it: no search will want it.
            slower = _is_slower(times.get(block.name, {}), precision, usual[block.name])
            if PRECISIONS[precision].is_quantized and not slower:
                alone = Assignment.from_mapping(prepared.blocks, usual | {block.name: precision})
                yield _Probe(KIND, _key_of(block.name, precision), alone, block.name, precision)
        if base is not None and PRECISIONS[base[block.name]].is_quantized:
            back = Assignment.from_mapping(prepared.blocks, base | {block.name: usual[block.name]})
            yield _Probe(BACK, f"{block.name}|back", back, block.name)


def _best_quantised(trials: Sequence[TrialRecord]) -> dict[str, str] | None:
    """Choices of the quantised anchor with the least loss; None if all of them ruin the masks."""
    anchors = [
        trial
        for trial in trials
        if trial.origin == "anchor" and trial.measurement is not None and trial.loss < _RUINED
        if any(PRECISIONS[precision].is_quantized for _, precision in trial.assignment.choices)
    ]
    return min(anchors, key=lambda trial: trial.loss).assignment.as_dict() if anchors else None


def _profiles(store: Store, study: str) -> dict[str, dict[str, float]]:
    """Milliseconds of a block in the anchor of a precision, by block name, then precision name."""
    times: dict[str, dict[str, float]] = {}
    for record in store.trials(study):
        if record.origin != "anchor" or record.measurement is None:
            continue
        for row in record.measurement.audit:
            if row.time_ms > 0:
                times.setdefault(row.block, {})[row.asked] = row.time_ms
    return times


def _is_slower(times: Mapping[str, float], precision: str, usual: str) -> bool:
    """Whether a block was profiled in both precisions, and took longer in `precision` than in `usual`."""
    return precision in times and usual in times and times[precision] > times[usual]


def _mean_trial_seconds(trials: tuple[TrialRecord, ...]) -> float:
    """Mean wall time of the measured trials; 0 without any."""
    seconds = [
        t.measurement.seconds.total for t in trials if t.measurement is not None and t.origin != "reused"
    ]
    return sum(seconds) / len(seconds) if seconds else 0.0
