"""The copy of a study in Optuna's tables, for optuna-dashboard and other tools that open them.

Owns writing it, and the numbers of trials, which are Optuna's. No decision depends on what is in these
tables; where a kill left them different from the evidence, they are corrected from it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState, create_trial

from autoprec.errors import StudyError
from autoprec.records import Assignment, Block, Proposal, TrialRecord
from autoprec.search import search_space
from autoprec.store import JoiningStorage, Mirrored, Store

LIMIT = "max_memory_mb"
"""Name of the constraint that holds the MB by which a trial exceeds the limit of memory."""


class Mirror:
    """One study in Optuna's tables.

    Args:
        storage: the tables.
        name: of the study, which is created if missing.
        blocks: each becomes a categorical parameter.
        limited: whether the definition limits memory.

    Methods that read the tables raise `StudyError` if those are not as Optuna writes them.
    """

    def __init__(self, storage: JoiningStorage, name: str, blocks: Sequence[Block], *, limited: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = storage
        self._take(blocks)
        self._identifiers: dict[int, int] = {}
        """Optuna's ids of trials opened here, by number; looking one up reads all trials of the study."""
        self._limited = limited
        with _reading():
            self._study = optuna.create_study(
                storage=storage,
                study_name=name,
                sampler=optuna.samplers.RandomSampler(),  # never used; TPE would read all trials
                directions=["minimize", "minimize"],
                load_if_exists=True,
            )
            self._id = storage.get_study_id_from_name(name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._study.set_metric_names(["latency_ms", "mask_loss"])

    @classmethod
    def of(cls, store: Store, name: str, blocks: Sequence[Block], *, limited: bool) -> Mirror:
        """The study's copy in Optuna's tables of a store's database.

        Args:
            store: the open database.
            name: of the study.
            blocks: of the study.
            limited: whether the definition limits memory.
        """
        storage = store.optuna()

        def mirror() -> Mirror:
            with store.transaction(name):
                return cls(storage, name, blocks, limited=limited)

        return store.patiently(mirror)

    def adapt(self, blocks: Sequence[Block]) -> None:
        """Let the parameters of all trials have the choices that blocks allow now, as Optuna wants it."""
        self._take(blocks)
        with _reading():
            self._storage.adapt(self._id, {block.name: block.allowed for block in blocks})

    def _take(self, blocks: Sequence[Block]) -> None:
        self._blocks = {block.name: block for block in blocks}

    def _distributions(self, assignment: Assignment) -> dict[str, BaseDistribution]:
        """A parameter for each block: what it allows, and its precision if it has lost that since."""
        chosen = assignment.as_dict()
        had = [
            msgspec.structs.replace(block, allowed=tuple(dict.fromkeys((*block.allowed, chosen[name]))))
            for name, block in self._blocks.items()
        ]
        return search_space(had)

    def open(self, proposal: Proposal) -> int:
        """Write a running trial of exactly this assignment; returns its number."""
        chosen, distributions = proposal.assignment.as_dict(), self._distributions(proposal.assignment)
        params = {
            name: (one.to_internal_repr(chosen[name]), distribution_to_json(one))
            for name, one in distributions.items()
        }
        attributes = {"origin": proposal.origin, "label": proposal.label}
        # Not by `enqueue_trial` and `ask`: whatever waits in the tables would be handed out first.
        number, self._identifiers[number] = self._storage.begin(self._id, params, attributes)
        return number

    def close(self, record: TrialRecord) -> None:
        """Write the outcome of a trial, unless it is there already."""
        # Not by `tell`: what it remembers of a transaction that is rolled back would be wrong.
        likely = self._identifiers.pop(record.number, None)
        trial_id = self._storage.identifier(self._id, record.number, likely)
        values = (record.latency_ms, record.loss)
        if record.state != "complete" or math.isnan(sum(values)):  # Optuna accepts no NaN
            self._storage.finish(trial_id, TrialState.FAIL)
            return
        if self._limited and not self._storage.get_trial(trial_id).constraints:
            # First, since Optuna accepts no constraint for a trial that is finished.
            optuna.Trial(self._study, trial_id).set_constraint(LIMIT, record.excess_mb)
        self._storage.finish(trial_id, TrialState.COMPLETE, values)

    def rebuild(self, records: Iterable[TrialRecord]) -> None:
        """Write all finished trials into an empty study, by number; gaps become failed trials."""
        evidence = {record.number: record for record in records}
        for number in range(max(evidence, default=-1) + 1):
            record = evidence.get(number)
            trial = create_trial(state=TrialState.FAIL) if record is None else self._finished(record)
            self._storage.create_new_trial(self._id, template_trial=trial)

    def faults(self, records: Iterable[TrialRecord]) -> list[str]:
        """One line for each finished trial whose copy differs from the evidence."""
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
            distributions=self._distributions(record.assignment),
            user_attrs={"origin": record.origin, "label": record.label},
        )

    def repair(self, records: Iterable[TrialRecord]) -> None:
        """Close trials that are open in Optuna's tables while nobody measures them, given all records."""
        evidence = {record.number: record for record in records}
        with _reading():
            left = self._storage.told(self._id, TrialState.RUNNING, TrialState.WAITING)
        for number, told in left.items():
            record = evidence.get(number)
            if record is not None and record.state == "running":
                continue  # a living worker measures it
            if record is not None and record.state == "complete" and told.values:
                continue  # values without an end are damage: see `ensure_told`
            if told.state == TrialState.RUNNING and record is not None:
                self.close(record)
            else:
                # A trial without a record was cut off before it had one. One that waits was queued by another
                # tool, and will never be measured, because nothing is read from here.
                self._storage.finish(self._storage.identifier(self._id, number), TrialState.FAIL)

    def ensure_told(self, records: Iterable[TrialRecord]) -> None:
        """Raises `StudyError` if the copy of a finished trial differs from the evidence."""
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
    """Whether Optuna's copy has a finished trial's values, or is still to receive them."""
    if told is None or told.state == TrialState.WAITING:
        return False
    if told.state == TrialState.RUNNING:
        return not told.values
    if not math.isfinite(record.latency_ms + record.loss):
        return True
    return told.values == (record.latency_ms, record.loss)
