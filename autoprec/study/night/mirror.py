"""The copy of a study in Optuna's tables, for optuna-dashboard and every other tool that opens them.

Owns writing it, and the numbers of trials, which Optuna counts. It is written and never read: nothing that
decides what is measured is read from here. What a kill left different from the evidence is fixed from it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import optuna
import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprec.errors import StudyError
from autoprec.records import Block, TrialRecord
from autoprec.search import search_space
from autoprec.store import JoiningStorage, Mirrored, Store
from autoprec.study.night.proposal import Proposal

LIMIT = "max_memory_mb"
"""Name of the constraint that says by how much a trial is over its limit of memory."""


class Mirror:
    """One study in Optuna's tables.

    Args:
        storage: the tables.
        name: of the study; it is made where it is missing.
        blocks: each becomes a categorical parameter.
        limited: whether the definition limits memory.

    What reads the tables raises `StudyError` where they are not as Optuna writes them.
    """

    def __init__(self, storage: JoiningStorage, name: str, blocks: Sequence[Block], *, limited: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = storage
        self._distributions = search_space(blocks)
        self._written = {name: distribution_to_json(one) for name, one in self._distributions.items()}
        self._identifiers: dict[int, int] = {}
        """Optuna's own of trials that were opened here, by number; searching for one looks at all trials."""
        self._limited = limited
        with _reading():
            self._study = optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=optuna.samplers.RandomSampler(),  # never asked; TPE would look at all trials
                directions=["minimize", "minimize"],
                load_if_exists=True,
            )
            self._id = storage.get_study_id_from_name(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names(["latency_ms", "mask_loss"])

    @classmethod
    def of(cls, store: Store, name: str, blocks: Sequence[Block], *, limited: bool) -> Mirror:
        """The study in Optuna's tables of a store's database.

        Args:
            store: the open database.
            name: the study's.
            blocks: of the study.
            limited: whether engines' memory is limited.
        """
        storage = store.optuna()

        def mirror() -> Mirror:
            with store.transaction(name):
                return cls(storage, name, blocks, limited=limited)

        return store.patiently(mirror)

    def open(self, proposal: Proposal) -> int:
        """Write down a running trial of just this assignment; returns its number.

        Not by enqueueing and asking: whatever else is queued there would be handed out first.
        """
        params = {
            name: (self._distributions[name].to_internal_repr(precision), self._written[name])
            for name, precision in proposal.assignment.choices
        }
        attributes = {"origin": proposal.origin, "label": proposal.label}
        number, self._identifiers[number] = self._storage.begin(self._id, params, attributes)
        return number

    def close(self, record: TrialRecord) -> None:
        """Write down the outcome of a trial, if it is not there already."""
        # Not by `tell`: what it remembers of a transaction that was rolled back would be wrong.
        likely = self._identifiers.pop(record.number, None)
        trial_id = self._storage.identifier(self._id, record.number, likely)
        values = (record.latency_ms, record.loss)
        if record.state != "complete" or math.isnan(sum(values)):  # Optuna accepts no NaN
            self._storage.finish(trial_id, TrialState.FAIL)
            return
        if self._limited and not self._storage.get_trial(trial_id).constraints:
            # Before it is finished: a kill in between loses nothing, and a finished trial takes none.
            optuna.Trial(self._study, trial_id).set_constraint(LIMIT, record.excess_mb)
        self._storage.finish(trial_id, TrialState.COMPLETE, values)

    def rebuild(self, records: Iterable[TrialRecord]) -> None:
        """Write all finished trials into an empty study, each under its own number; a gap is a failed one."""
        evidence = {record.number: record for record in records}
        for number in range(max(evidence, default=-1) + 1):
            record = evidence.get(number)
            trial = create_trial(state=TrialState.FAIL) if record is None else self._finished(record)
            self._storage.create_new_trial(self._id, template_trial=trial)

    def faults(self, records: Iterable[TrialRecord]) -> list[str]:
        """One line for each finished trial that is not there as the evidence has it."""
        with _reading():
            told = self._storage.told(self._id)
        return [
            f"trial {record.number} is not in Optuna's tables as it was measured"
            for record in records
            if record.state == "complete" and not _is_as(record, told.get(record.number))
        ]

    def _finished(self, record: TrialRecord) -> FrozenTrial:
        is_complete = record.state == "complete" and math.isfinite(record.latency_ms + record.loss)
        return create_trial(
            state=TrialState.COMPLETE if is_complete else TrialState.FAIL,
            values=(record.latency_ms, record.loss) if is_complete else None,
            params=record.assignment.as_dict(),
            distributions=self._distributions,
            user_attrs={"origin": record.origin, "label": record.label},
        )

    def repair(self, records: Iterable[TrialRecord]) -> None:
        """Close what is still open there though nobody works on it; `records` are all of the study.

        A trial without a record failed: its search was killed before it wrote one. So did one that waits
        there, for it is nobody's: what is measured next is not read from here.
        """
        evidence = {record.number: record for record in records}
        with _reading():
            left = self._storage.told(self._id, TrialState.RUNNING, TrialState.WAITING)
        for number, told in left.items():
            record = evidence.get(number)
            if record is not None and record.state == "running":
                continue  # by a worker that is alive
            if record is not None and record.state == "complete" and told.values:
                continue  # they were written with its end: `ensure_told` says so
            if told.state == TrialState.RUNNING and record is not None:
                self.close(record)
            else:
                self._storage.finish(self._storage.identifier(self._id, number), TrialState.FAIL)

    def ensure_told(self, records: Iterable[TrialRecord]) -> None:
        """Raises `StudyError` if a finished trial is not there as the evidence has it."""
        if faults := self.faults(records):
            raise StudyError(
                f"{faults[0]}, and {len(faults) - 1} more are not; "
                "`autoprec doctor --study NAME --repair` rewrites them"
            )


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (LookupError, ValueError, sa.exc.IntegrityError) as error:
        raise StudyError(
            "the study in Optuna's tables is not as it was written; "
            "`autoprec doctor --study NAME --repair` rewrites it"
        ) from error


def _is_as(record: TrialRecord, told: Mirrored | None) -> bool:
    """Whether Optuna has a finished trial's values, or is still to be told of it."""
    if told is None or told.state == TrialState.WAITING:
        return False
    if told.state == TrialState.RUNNING:
        return not told.values
    if not math.isfinite(record.latency_ms + record.loss):
        return True
    return told.values == (record.latency_ms, record.loss)
